//! Whose the files of each daemon are today, and who its host's user `ceph` is.

use crate::fleet_file::{Canary, FleetFile, FleetHost, OwnershipTarget};
use crate::inventory::{CephInventory, Inventory};
use crate::plan::strand::Strands;
use replank_ceph::redundancy::Consents;
use replank_ceph::seen::Cluster;
use replank_common::ceph::CephKind;
use replank_common::facts::{CephDaemonFact, CephFacts, CephUser, Facts};
use replank_common::ids::HostName;

/// A daemon on its host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owned<'a> {
    pub(super) host: &'a FleetHost,
    pub(super) ceph: &'a CephFacts,
    pub(super) fact: &'a CephDaemonFact,
}

impl<'a> Owned<'a> {
    pub(super) fn user(&self) -> Option<&'a CephUser> {
        self.ceph.ceph_user.as_ref()
    }

    /// Whether its directory, which is given last, is not the ceph user's.
    pub(super) fn is_foreign(&self) -> bool {
        match (self.fact.data_owner, self.user()) {
            (Some(owner), Some(user)) => owner != (user.uid, user.gid),
            // Who cannot be told, or has nobody to belong to, is the survey's to tell of.
            (Some(_) | None, _) => true,
        }
    }
}

/// Everything that the plan is made from.
pub(super) struct Plot<'a> {
    pub(super) goal: &'a OwnershipTarget,
    pub(super) fleet: &'a FleetFile,
    inventory: &'a Inventory,
    pub(super) via: &'a HostName,
    pub(super) cluster: &'a Cluster,
    /// By host, the canary's first, then by kind and name.
    pub(super) daemons: Vec<Owned<'a>>,
    pub(super) consents: Consents,
}

impl<'a> Plot<'a> {
    /// `None`: nothing is known of the cluster.
    pub(super) fn new(
        fleet: &'a FleetFile,
        goal: &'a OwnershipTarget,
        inventory: &'a Inventory,
    ) -> Option<Self> {
        let CephInventory { via, cluster, .. } = inventory.ceph.as_ref()?;
        let mut daemons = Vec::new();
        for host in hosts(fleet) {
            let Some(ceph) = inventory.hosts.get(&host.name).and_then(|facts| facts.ceph.as_ref()) else {
                continue;
            };
            let mut own: Vec<&CephDaemonFact> = ceph.daemons.iter().collect();
            own.sort_by_key(|fact| (fact.daemon.kind, fact.daemon.osd_number(), &fact.daemon.id));
            daemons.extend(own.into_iter().map(|fact| Owned { host, ceph, fact }));
        }
        let known = |name: &String| cluster.osds.pool(name).map(|pool| pool.id);
        let consents = goal.consent.iter().filter_map(known).collect();
        Some(Self { goal, fleet, inventory, via, cluster, daemons, consents })
    }

    /// The daemons whose files are to change their owner.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &Owned<'a>> {
        self.daemons.iter().filter(|owned| owned.is_foreign())
    }

    pub(super) fn running_mds(&self) -> usize {
        let runs = |owned: &&Owned<'_>| owned.fact.pid.is_some() && owned.fact.daemon.kind == CephKind::Mds;
        self.daemons.iter().filter(runs).count()
    }

    pub(super) fn facts(&self, host: &HostName) -> Option<&'a Facts> {
        self.inventory.hosts.get(host)
    }

    /// None yet.
    pub(super) fn strands(&self) -> Strands<'a> {
        Strands::new(self.fleet, self.inventory)
    }
}

/// Those that take part, the canary's first.
pub(super) fn hosts(fleet: &FleetFile) -> Vec<&FleetHost> {
    let all = fleet.hosts.iter().filter(|host| fleet.takes_part(host));
    let (mut first, rest): (Vec<_>, Vec<_>) = match &fleet.pace.canary {
        Canary::Count(_) => (Vec::new(), all.collect()),
        Canary::Hosts(chosen) => all.partition(|host| chosen.contains(&host.name)),
    };
    first.extend(rest);
    first
}

/// The sections of `ceph.conf` in which `setuser match path` stands.
pub(super) fn matched_sections(ceph: &CephFacts) -> impl Iterator<Item = &str> {
    ceph.config.keys().filter_map(|key| key.strip_suffix("/setuser_match_path"))
}
