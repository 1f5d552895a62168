//! How the cluster is today: where each daemon is and what it runs, and in which sets its OSDs may stop.

use super::voyage::Voyage;
use crate::fleet_file::FleetHost;
use crate::inventory::{CephInventory, Inventory};
use replank_ceph::OsdId;
use replank_ceph::redundancy::{Consents, Redundancy};
use replank_ceph::seen::Cluster;
use replank_ceph::waves::{WavePlan, plan_waves};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::{CephDaemonFact, CephFacts, Facts};
use replank_common::ids::HostName;
use std::collections::{BTreeMap, BTreeSet};

/// What a daemon runs, compared with where it shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Standing {
    /// The release that the hop starts from, or an earlier point release of the one that it leads to.
    Old,
    New,
    /// Another release.
    Other,
    /// Its process does not run, or does not say what it is.
    Unknown,
}

/// A daemon on its host.
#[derive(Debug, Clone, Copy)]
pub(in crate::plan) struct Placed<'a> {
    pub(in crate::plan) host: &'a FleetHost,
    pub(in crate::plan) fact: &'a CephDaemonFact,
    pub(in crate::plan) standing: Standing,
}

impl<'a> Placed<'a> {
    pub(in crate::plan) fn daemon(&self) -> &'a CephDaemon {
        &self.fact.daemon
    }

    fn is(&self, kind: CephKind, standing: Standing) -> bool {
        self.fact.daemon.kind == kind && self.standing == standing
    }
}

/// Everything that the plan is made from.
pub(in crate::plan) struct Ground<'a> {
    pub(in crate::plan) voyage: Voyage<'a>,
    pub(in crate::plan) inventory: &'a Inventory,
    pub(in crate::plan) via: &'a HostName,
    pub(in crate::plan) cluster: &'a Cluster,
    /// By host in the fleet file's order, then by name.
    pub(in crate::plan) daemons: Vec<Placed<'a>>,
    pub(in crate::plan) consents: Consents,
    /// The sets in which the OSDs that are old may stop.
    pub(in crate::plan) waves: WavePlan,
}

impl<'a> Ground<'a> {
    /// `None`: nothing is known of the cluster.
    pub(in crate::plan) fn new(voyage: Voyage<'a>, inventory: &'a Inventory) -> Option<Self> {
        let CephInventory { via, cluster, .. } = inventory.ceph.as_ref()?;
        let mut daemons = Vec::new();
        for host in voyage.fleet.hosts.iter().filter(|host| voyage.fleet.takes_part(host)) {
            let facts = inventory.hosts.get(&host.name).and_then(|facts| facts.ceph.as_ref());
            let mut own: Vec<&CephDaemonFact> = facts.into_iter().flat_map(|facts| &facts.daemons).collect();
            own.sort_by_key(|fact| (fact.daemon.kind, fact.daemon.osd_number(), &fact.daemon.id));
            let placed = |fact| Placed { host, fact, standing: standing(&voyage, fact) };
            daemons.extend(own.into_iter().map(placed));
        }
        let known = |name: &String| cluster.osds.pool(name).map(|pool| pool.id);
        let consents: Consents = voyage.goal.consent.iter().filter_map(known).collect();
        let old = |placed: &&Placed<'_>| placed.is(CephKind::Osd, Standing::Old);
        let among: BTreeSet<OsdId> =
            daemons.iter().filter(old).filter_map(|placed| placed.daemon().osd_number()).map(OsdId).collect();
        let redundancy = Redundancy::new(&cluster.osds, &cluster.pgs, &consents);
        let waves =
            plan_waves(&redundancy, &cluster.osds, Some(&cluster.tree), Some(&cluster.quorum), Some(&among));
        Some(Self { voyage, inventory, via, cluster, daemons, consents, waves })
    }

    pub(in crate::plan) fn facts(&self, host: &HostName) -> Option<&'a Facts> {
        self.inventory.hosts.get(host)
    }

    pub(in crate::plan) fn ceph_facts(&self, host: &HostName) -> Option<&'a CephFacts> {
        self.facts(host)?.ceph.as_ref()
    }

    /// The host's daemons of one kind that are to be restarted.
    pub(in crate::plan) fn old(&self, host: &HostName, kind: CephKind) -> Vec<CephDaemon> {
        let of_host = self.daemons.iter().filter(|placed| placed.host.name == *host);
        of_host
            .filter(|placed| placed.is(kind, Standing::Old))
            .map(|placed| placed.daemon().clone())
            .collect()
    }

    /// Hosts with daemons of this kind that are to be restarted, in the fleet file's order.
    pub(in crate::plan) fn hosts_with_old(&self, kind: CephKind) -> Vec<&'a FleetHost> {
        let mut hosts: Vec<&FleetHost> = Vec::new();
        for placed in self.daemons.iter().filter(|placed| placed.is(kind, Standing::Old)) {
            if hosts.last().is_none_or(|last| last.name != placed.host.name) {
                hosts.push(placed.host);
            }
        }
        hosts
    }

    /// In which sets the old daemons of this kind are restarted, one after the other. Gateways share a service and MDS stand by for each other, so each of them
    /// is a turn of its own; an MDS that holds a rank comes after those that can take it over, which makes for one failover
    /// (doc/cephfs/upgrading.rst). Of the others, all of a host are a turn.
    pub(in crate::plan) fn turns(&self, kind: CephKind) -> Vec<(&'a FleetHost, Vec<CephDaemon>)> {
        let hosts = self.hosts_with_old(kind).into_iter().map(|host| (host, self.old(&host.name, kind)));
        match kind {
            CephKind::Mon | CephKind::Mgr | CephKind::Osd => hosts.collect(),
            CephKind::Mds | CephKind::Rgw => {
                let one = |(host, daemons): (&'a FleetHost, Vec<CephDaemon>)| {
                    daemons.into_iter().map(move |daemon| (host, vec![daemon]))
                };
                let mut turns: Vec<_> = hosts.flat_map(one).collect();
                turns.sort_by_key(|(_, daemons)| daemons.iter().any(|daemon| self.holds_rank(daemon)));
                turns
            }
        }
    }

    /// How many daemons of this kind run, of every release.
    pub(in crate::plan) fn running(&self, kind: CephKind) -> usize {
        self.daemons.iter().filter(|placed| placed.fact.pid.is_some() && placed.daemon().kind == kind).count()
    }

    fn holds_rank(&self, daemon: &CephDaemon) -> bool {
        let mut all = self.cluster.filesystems.iter().flatten();
        daemon.kind == CephKind::Mds && all.any(|one| one.holders.contains_key(&daemon.id))
    }

    /// On which host each OSD is.
    pub(in crate::plan) fn host_of_osd(&self) -> BTreeMap<OsdId, &'a FleetHost> {
        let osd = |placed: &Placed<'a>| Some((OsdId(placed.daemon().osd_number()?), placed.host));
        self.daemons.iter().filter_map(osd).collect()
    }
}

fn standing(voyage: &Voyage<'_>, fact: &CephDaemonFact) -> Standing {
    match &fact.running {
        None => Standing::Unknown,
        Some(running) if *running == voyage.goal.version => Standing::New,
        Some(running) if running.is_of_series(&voyage.hop.from) => Standing::Old,
        Some(running) if running.is_of_series(&voyage.hop.to) && *running < voyage.goal.version => {
            Standing::Old
        }
        Some(_) => Standing::Other,
    }
}
