//! How a cluster is laid out: hosts, failure domains, daemons, what each of them runs, pools, and where each placement group belongs.
//!
//! A layout is drawn from a seed (`drawn`), or taken from what a plan says of its cluster (`named`), or from the inventory that a plan was made
//! from (`seen`).

use replank_ceph::documents::{Pool, PoolKind};
use replank_ceph::redundancy::Consents;
use replank_ceph::{OsdId, PgId};
use replank_common::ceph::CephDaemon;
use replank_common::ids::HostName;
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// A daemon of which each host has one at most for each name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seated {
    pub name: String,
    /// Of [`Layout::hosts`].
    pub host: usize,
}

/// Where an OSD is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub host: usize,
    pub domain: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The hosts of the fleet, in its order; not each of them has a daemon.
    pub hosts: Vec<HostName>,
    pub osds: BTreeMap<OsdId, Place>,
    /// OSDs that never share a group.
    pub domains: Vec<Vec<OsdId>>,
    /// Several hosts make one domain.
    pub racks: bool,
    pub mons: Vec<Seated>,
    /// The releases before Luminous need none.
    pub mgrs: Vec<Seated>,
    /// MDS and gateways.
    pub others: Vec<(CephDaemon, usize)>,
    pub pools: Vec<Pool>,
    /// Thin pools: the operator accepts them.
    pub consents: Consents,
    /// Groups that were seen where they are. Empty: `pg_num` of each pool, placed by the salt.
    pub groups: BTreeMap<PgId, Vec<OsdId>>,
    pub salt: u64,
    /// What was there before, and where the voyage goes.
    pub from: Version,
    pub to: Version,
    /// Daemons that run something else than `from`, by name.
    pub runs: BTreeMap<String, Version>,
    /// By host: what is on its disk, where it is not `from`.
    pub installed: BTreeMap<usize, Version>,
    /// Flags of the OSD map that are there for good.
    pub map_flags: BTreeSet<String>,
    /// Flags that the operator has set before.
    pub operators_flags: BTreeSet<String>,
    pub required_release: Option<String>,
    /// The health tells its reasons by the codes of checks; before Luminous it did not.
    pub health_has_codes: bool,
    pub origin: Origin,
}

/// Where a layout is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A seed.
    Drawn,
    /// What a plan names, and daemons that stand for those that it does not.
    Plan { stand_ins: Vec<String> },
    /// The inventory that the plan was made from; of its groups so many are there, spread over all of them, where they are.
    Inventory { groups: usize },
}

impl Layout {
    pub fn osds_of(&self, host: usize) -> Vec<OsdId> {
        self.osds.iter().filter(|(_, place)| place.host == host).map(|(osd, _)| *osd).collect()
    }

    /// The nth OSD, counted round.
    pub(crate) fn some_osd(&self, number: u64) -> Option<OsdId> {
        let at = number.checked_rem(self.osds.len() as u64)?;
        self.osds.keys().nth(usize::try_from(at).ok()?).copied()
    }

    pub fn mon_of(&self, host: usize) -> Option<&str> {
        self.mons.iter().find(|mon| mon.host == host).map(|mon| mon.name.as_str())
    }

    pub(crate) fn domain_of(&self, osd: OsdId) -> usize {
        self.osds.get(&osd).map_or(0, |place| place.domain)
    }

    /// Every daemon of the host.
    pub(crate) fn daemons_of(&self, host: usize) -> Vec<CephDaemon> {
        use replank_common::ceph::CephKind;
        let seated = |all: &[Seated], kind: CephKind| -> Vec<CephDaemon> {
            let own = all.iter().filter(|at| at.host == host);
            own.map(|at| CephDaemon { kind, id: at.name.clone() }).collect()
        };
        let mut daemons: Vec<CephDaemon> =
            self.osds_of(host).into_iter().map(|osd| CephDaemon::osd(osd.0)).collect();
        daemons.extend(seated(&self.mons, CephKind::Mon));
        daemons.extend(seated(&self.mgrs, CephKind::Mgr));
        daemons.extend(self.others.iter().filter(|(_, at)| *at == host).map(|(daemon, _)| daemon.clone()));
        daemons
    }

    /// What a daemon runs when the voyage begins.
    pub(crate) fn runs(&self, daemon: &str) -> Version {
        self.runs.get(daemon).unwrap_or(&self.from).clone()
    }

    /// The same cluster on the hosts of a fleet that are in another order. `None`: one of its daemons is on none of them.
    pub(crate) fn on(mut self, hosts: Vec<HostName>) -> Option<Self> {
        let moved: Vec<Option<usize>> =
            self.hosts.iter().map(|name| hosts.iter().position(|host| host == name)).collect();
        for place in self.osds.values_mut() {
            place.host = moved[place.host]?;
        }
        for at in self.mons.iter_mut().chain(&mut self.mgrs) {
            at.host = moved[at.host]?;
        }
        for (_, host) in &mut self.others {
            *host = moved[*host]?;
        }
        let installed = std::mem::take(&mut self.installed);
        self.installed =
            installed.into_iter().filter_map(|(host, version)| Some((moved[host]?, version))).collect();
        self.hosts = hosts;
        Some(self)
    }

    /// Complete copies that each group of it keeps, by the definition of P10 and by nobody else's word: as many as let clients go on, and one more than all data is
    /// read from, unless the operator accepts that there is no such one for the while.
    pub(crate) fn keep(&self, pool: &Pool) -> usize {
        let one_more = usize::from(!self.consents.contains(&pool.id));
        (pool.min_size.unwrap_or(1) as usize).max(enough_to_read(pool) + one_more)
    }

    /// Every group, with its pool's place among the pools.
    pub(crate) fn all_groups(&self) -> Vec<(usize, PgId)> {
        let of = |(at, pool): (usize, &Pool)| -> Vec<(usize, PgId)> {
            if self.groups.is_empty() {
                let (pool, all) = (pool.id, 0..pool.pg_num.unwrap_or(0));
                return all.map(|seed| (at, PgId { pool, seed })).collect();
            }
            self.groups.keys().filter(|id| id.pool == pool.id).map(|id| (at, *id)).collect()
        };
        self.pools.iter().enumerate().flat_map(of).collect()
    }

    /// Where a group belongs, shard by shard; `usable`: OSDs that data is placed on. An OSD that is not usable is replaced in its own domain first,
    /// so that the other shards stay where they are.
    pub(crate) fn place(
        &self,
        pool: &Pool,
        group: PgId,
        usable: impl Fn(OsdId) -> bool,
    ) -> Vec<Option<OsdId>> {
        let number = (u64::from(pool.id.0) << 40) ^ (u64::from(group.seed) << 20) ^ self.salt;
        let straw = |item: u64| mixed(number ^ item);
        let mut domains: Vec<usize> = (0..self.domains.len()).collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(straw(1 << 19 | *domain as u64)));
        let best = |domain: usize, usable: &dyn Fn(OsdId) -> bool| {
            let within = self.domains[domain].iter().filter(|osd| usable(**osd));
            within.max_by_key(|osd| straw(u64::from(osd.0))).copied()
        };
        let size = pool.size.unwrap_or(0) as usize;
        let seen = self.groups.get(&group);
        let chosen: Vec<usize> = match seen {
            Some(seen) => seen.iter().map(|osd| self.domain_of(*osd)).collect(),
            None => domains.iter().take(size).copied().collect(),
        };
        let mut spare = domains.iter().filter(|domain| !chosen.contains(domain));
        let mut placed: Vec<Option<OsdId>> = Vec::with_capacity(size);
        for (shard, domain) in chosen.iter().enumerate() {
            let own = seen.map(|seen| seen[shard]).filter(|osd| usable(*osd));
            // Two that were seen in one domain stay two.
            let free = |osd: OsdId| usable(osd) && seen.is_none_or(|seen| !seen.contains(&osd));
            let other = || best(*domain, &free).or_else(|| spare.find_map(|domain| best(*domain, &usable)));
            placed.push(own.or_else(other));
        }
        placed.resize(size.max(placed.len()), None);
        placed
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
