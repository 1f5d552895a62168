//! How a cluster is laid out: machines, failure domains, OSDs, MONs, pools, and where each placement group belongs.

use rand::Rng;
use rand::rngs::StdRng;
use replank_ceph::documents::{Pool, PoolKind, Profile};
use replank_ceph::redundancy::Consents;
use replank_ceph::{OsdId, PoolId};

/// The rows of machines of one cluster, and its pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Machines; each has OSDs.
    pub hosts: usize,
    pub osds_per_host: usize,
    /// So many machines have a MON and a MGR, each in a domain of its own.
    pub mons: usize,
    /// Machines that share a failure domain stand side by side; 1: each machine is its own.
    pub hosts_per_domain: usize,
    pub pools: Vec<Pool>,
    /// Thin pools: the operator accepts them.
    pub consents: Consents,
}

const PGS: u32 = 8;

impl Layout {
    /// Whatever the seed says: three to six machines, of which racks may be made, replicated and erasure-coded pools.
    pub(crate) fn drawn(rng: &mut StdRng) -> Self {
        let hosts = rng.random_range(3..=6);
        let hosts_per_domain = if hosts == 6 && rng.random_range(0..2) == 0 { 2 } else { 1 };
        let domains = hosts / hosts_per_domain;
        let mons = if domains >= 5 && rng.random_range(0..2) == 0 { 5 } else { 3 };
        let mut layout = Self {
            hosts,
            osds_per_host: rng.random_range(1..=2),
            mons,
            hosts_per_domain,
            pools: vec![replicated(1, "rbd", 3)],
            consents: Consents::new(),
        };
        if domains >= 4 && rng.random_range(0..2) == 0 {
            layout.pools.push(coded(2, "archive", 2, 2, 3));
        }
        if rng.random_range(0..3) == 0 {
            layout.pools.push(replicated(3, "scratch", 2));
            layout.consents.insert(PoolId(3));
        }
        // As they were made long ago: clients go on with as few as can be read from.
        if rng.random_range(0..3) == 0 {
            for pool in &mut layout.pools {
                pool.min_size = u32::try_from(enough_to_read(pool)).ok();
            }
        }
        layout
    }

    pub fn osds(&self) -> usize {
        self.hosts * self.osds_per_host
    }

    pub fn host_of(&self, osd: OsdId) -> usize {
        osd.0 as usize / self.osds_per_host
    }

    pub fn osds_of(&self, host: usize) -> Vec<OsdId> {
        let first = host * self.osds_per_host;
        (first..first + self.osds_per_host).filter_map(|osd| u32::try_from(osd).ok()).map(OsdId).collect()
    }

    pub fn mon_of(&self, host: usize) -> Option<String> {
        self.mon_hosts().any(|with| with == host).then(|| mon_name(host))
    }

    pub fn mon_hosts(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let step = self.hosts_per_domain;
        (0..self.mons).map(move |mon| mon * step)
    }

    pub(crate) fn domain_of(&self, osd: OsdId) -> usize {
        self.host_of(osd) / self.hosts_per_domain
    }

    /// Complete copies that each group of it keeps, by the definition of P10 and by nobody else's word: as many as let clients go on, and one more than all data is
    /// read from, unless the operator accepts that there is no such one for the while.
    pub(crate) fn keep(&self, pool: &Pool) -> usize {
        let one_more = usize::from(!self.consents.contains(&pool.id));
        (pool.min_size.unwrap_or(1) as usize).max(enough_to_read(pool) + one_more)
    }

    /// Where a group belongs, shard by shard; `usable`: OSDs that data is placed on. An OSD that is not usable is replaced in its own domain first,
    /// so that the other shards stay where they are.
    pub(crate) fn place(&self, pool: &Pool, seed: u32, usable: impl Fn(OsdId) -> bool) -> Vec<Option<OsdId>> {
        let all: Vec<OsdId> = (0..self.osds()).filter_map(|osd| u32::try_from(osd).ok()).map(OsdId).collect();
        let straw = |item: u64| mixed((u64::from(pool.id.0) << 40) ^ (u64::from(seed) << 20) ^ item);
        let mut domains: Vec<usize> = (0..self.hosts.div_ceil(self.hosts_per_domain)).collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(straw(1 << 19 | *domain as u64)));
        let best = |domain: usize, usable: &dyn Fn(OsdId) -> bool| {
            let within = all.iter().filter(|osd| self.domain_of(**osd) == domain && usable(**osd));
            within.max_by_key(|osd| straw(u64::from(osd.0))).copied()
        };
        let size = pool.size.unwrap_or(0) as usize;
        let (chosen, spare) = domains.split_at(size.min(domains.len()));
        let mut spare = spare.iter();
        let mut placed: Vec<Option<OsdId>> = Vec::with_capacity(size);
        for domain in chosen {
            let osd = best(*domain, &usable).or_else(|| spare.find_map(|domain| best(*domain, &usable)));
            placed.push(osd);
        }
        placed.resize(size, None);
        placed
    }
}

pub(crate) fn mon_name(host: usize) -> String {
    char::from(b'a' + u8::try_from(host % 26).unwrap_or(0)).to_string()
}

fn replicated(id: u32, name: &str, size: u32) -> Pool {
    Pool {
        id: PoolId(id),
        name: name.to_owned(),
        kind: PoolKind::Replicated,
        size: Some(size),
        min_size: Some(size - size / 2),
        pg_num: Some(PGS),
        rule: Some(0),
    }
}

fn coded(id: u32, name: &str, k: u32, m: u32, min_size: u32) -> Pool {
    let profile = Profile { name: format!("{k}-{m}"), plugin: "jerasure".to_owned(), k, m, c: None };
    Pool {
        id: PoolId(id),
        name: name.to_owned(),
        kind: PoolKind::Erasure(Some(profile)),
        size: Some(k + m),
        min_size: Some(min_size),
        pg_num: Some(PGS),
        rule: Some(1),
    }
}

/// Copies, or shards, that all data can be read from.
pub(crate) fn enough_to_read(pool: &Pool) -> usize {
    match &pool.kind {
        PoolKind::Erasure(Some(profile)) => profile.k as usize,
        PoolKind::Erasure(None) | PoolKind::Unknown => pool.min_size.unwrap_or(1) as usize,
        PoolKind::Replicated => 1,
    }
}

/// SplitMix64's last step: as good as drawn, and the same for ever.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    #[test]
    fn no_group_has_two_shards_in_one_domain_and_a_lost_osd_moves_nobody_elses_shard() {
        for seed in 0..200 {
            let layout = Layout::drawn(&mut StdRng::seed_from_u64(seed));
            for pool in &layout.pools {
                for pg in 0..PGS {
                    let placed = layout.place(pool, pg, |_| true);
                    let osds: Vec<OsdId> = placed.iter().flatten().copied().collect();
                    let domains: BTreeSet<usize> = osds.iter().map(|osd| layout.domain_of(*osd)).collect();
                    assert_eq!(domains.len(), pool.size.unwrap() as usize, "{layout:?}");
                    let lost = osds[0];
                    let without = layout.place(pool, pg, |osd| osd != lost);
                    assert_eq!(placed[1..], without[1..]);
                    assert_ne!(without[0], Some(lost));
                }
            }
        }
    }
}
