//! A cluster of which the seed decides everything.

use super::layout::{Layout, Origin, Place, Seated, enough_to_read};
use crate::plans::ceph::machine_name;
use rand::Rng;
use rand::rngs::StdRng;
use replank_ceph::documents::{Pool, PoolKind, Profile};
use replank_ceph::redundancy::Consents;
use replank_ceph::{OsdId, PoolId};
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// What drawn clusters run, and where they go.
const OLD_CEPH: &str = "14.2.21";
const NEW_CEPH: &str = "16.2.15";
const PGS: u32 = 8;

impl Layout {
    /// Whatever the seed says: three to six machines, of which racks may be made, replicated and erasure-coded pools.
    pub(crate) fn drawn(rng: &mut StdRng) -> Self {
        let hosts = rng.random_range(3..=6);
        let hosts_per_domain = if hosts == 6 && rng.random_range(0..2) == 0 { 2 } else { 1 };
        let domains = hosts / hosts_per_domain;
        let mons = if domains >= 5 && rng.random_range(0..2) == 0 { 5 } else { 3 };
        let osds_per_host = rng.random_range(1..=2);
        let mut layout = Self::regular(hosts, osds_per_host, mons, hosts_per_domain);
        if domains >= 4 && rng.random_range(0..2) == 0 {
            layout.pools.push(coded(2, "archive", 2, 2, 3));
        }
        if rng.random_range(0..3) == 0 {
            layout.pools.push(replicated(3, "scratch", 2, PGS));
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

    /// Three hosts with a MON, a manager and two OSDs each.
    pub fn of_a_lab() -> Self {
        Self::regular(3, 2, 3, 1)
    }

    /// Machines of one kind in rows; each of the first `mons` domains has a MON and a MGR.
    fn regular(hosts: usize, osds_per_host: usize, mons: usize, hosts_per_domain: usize) -> Self {
        let number = |osd: usize| OsdId(u32::try_from(osd).unwrap_or(u32::MAX));
        let place = |osd: usize| {
            let host = osd / osds_per_host;
            (number(osd), Place { host, domain: host / hosts_per_domain })
        };
        let osds: BTreeMap<OsdId, Place> = (0..hosts * osds_per_host).map(place).collect();
        let seats = (0..mons).map(|mon| mon * hosts_per_domain);
        let seats: Vec<Seated> = seats.map(|host| Seated { name: mon_name(host), host }).collect();
        let map_flags = ["sortbitwise", "recovery_deletes", "purged_snapdirs", "pglog_hardlimit"];
        Self {
            hosts: (0..hosts).map(machine_name).collect(),
            domains: domains(&osds),
            osds,
            racks: hosts_per_domain > 1,
            mons: seats.clone(),
            mgrs: seats,
            others: Vec::new(),
            pools: vec![replicated(1, "rbd", 3, PGS)],
            consents: Consents::new(),
            groups: BTreeMap::new(),
            salt: 0,
            from: Version::new(OLD_CEPH),
            to: Version::new(NEW_CEPH),
            runs: BTreeMap::new(),
            installed: BTreeMap::new(),
            map_flags: map_flags.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(),
            operators_flags: BTreeSet::new(),
            required_release: Some("nautilus".to_owned()),
            health_has_codes: true,
            origin: Origin::Drawn,
        }
    }
}

/// The OSDs of each domain.
pub(super) fn domains(osds: &BTreeMap<OsdId, Place>) -> Vec<Vec<OsdId>> {
    let number = osds.values().map(|place| place.domain + 1).max().unwrap_or(0);
    let mut domains = vec![Vec::new(); number];
    for (osd, place) in osds {
        domains[place.domain].push(*osd);
    }
    domains
}

fn mon_name(host: usize) -> String {
    char::from(b'a' + u8::try_from(host % 26).unwrap_or(0)).to_string()
}

pub(super) fn replicated(id: u32, name: &str, size: u32, groups: u32) -> Pool {
    Pool {
        id: PoolId(id),
        name: name.to_owned(),
        kind: PoolKind::Replicated,
        size: Some(size),
        min_size: Some(size - size / 2),
        pg_num: Some(groups),
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn no_group_has_two_shards_in_one_domain_and_a_lost_osd_moves_nobody_elses_shard() {
        for seed in 0..200 {
            let layout = Layout::drawn(&mut StdRng::seed_from_u64(seed));
            for (pool, group) in layout.all_groups() {
                let pool = &layout.pools[pool];
                let placed = layout.place(pool, group, |_| true);
                let osds: Vec<OsdId> = placed.iter().flatten().copied().collect();
                let domains: BTreeSet<usize> = osds.iter().map(|osd| layout.domain_of(*osd)).collect();
                assert_eq!(domains.len(), pool.size.unwrap() as usize, "{layout:?}");
                let lost = osds[0];
                let without = layout.place(pool, group, |osd| osd != lost);
                assert_eq!(placed[1..], without[1..]);
                assert_ne!(without[0], Some(lost));
            }
        }
    }
}
