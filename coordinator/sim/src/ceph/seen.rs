//! The cluster of an inventory: daemons, what they run, pools, and where its placement groups are.
//!
//! A plan made from the inventory says what stops together, and so what a failure domain is.

use super::OPERATORS_FLAGS;
use super::drawn::domains;
use super::layout::{Layout, Origin, Place, Seated};
use super::named::{NotEnough, Road, Said, in_domains};
use replank_ceph::documents::Pg;
use replank_ceph::{OsdId, PgId};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::CephDaemonFact;
use replank_common::ids::HostName;
use replank_common::version::Version;
use replank_core::inventory::Inventory;
use replank_core::plan::Plan;
use std::collections::{BTreeMap, BTreeSet};

/// More groups than this are of no use to see, and slow.
const GROUPS: usize = 1_024;

/// The hosts of the plan, and after them those that only the cluster knows.
struct Hosts(Vec<HostName>);

impl Hosts {
    fn at(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.0.iter().position(|host| host.as_str() == name) {
            return Some(at);
        }
        self.0.push(HostName::new(name).ok()?);
        Some(self.0.len() - 1)
    }
}

pub(super) fn layout(
    plan: &Plan,
    said: &Said,
    inventory: &Inventory,
    salt: u64,
) -> Result<Layout, NotEnough> {
    let Some(ceph) = &inventory.ceph else {
        return Err(NotEnough { why: "the inventory holds no cluster".to_owned() });
    };
    let cluster = &ceph.cluster;
    let Road { from, to, map_flags, required_release, health_has_codes } = said.road(plan);
    let mut hosts = Hosts(plan.hosts.iter().map(|host| host.name.clone()).collect());
    let mut runs: BTreeMap<String, Version> = BTreeMap::new();
    let mut daemons: BTreeMap<CephDaemon, usize> = BTreeMap::new();
    for (name, facts) in &inventory.hosts {
        for CephDaemonFact { daemon, running, .. } in facts.ceph.iter().flat_map(|ceph| &ceph.daemons) {
            let Some(host) = hosts.at(name.as_str()) else { continue };
            daemons.insert(daemon.clone(), host);
            runs.extend(running.clone().map(|version| (daemon.to_string(), version)));
        }
    }
    // What the cluster has on hosts that gave no facts.
    for leaf in &cluster.tree.leaves {
        let above = leaf.above.iter().find(|bucket| bucket.kind == "host");
        let host = above.and_then(|bucket| hosts.at(&bucket.name));
        if let Some(host) = host {
            daemons.entry(CephDaemon::osd(leaf.osd.0)).or_insert(host);
        }
    }
    for mon in cluster.quorum.mons.keys() {
        if let Some(host) = hosts.at(mon) {
            daemons.entry(CephDaemon::mon(mon.clone())).or_insert(host);
        }
    }
    let exists = |osd: &OsdId| cluster.osds.osds.contains_key(osd);
    let osd = |(daemon, host): (&CephDaemon, &usize)| Some((OsdId(daemon.osd_number()?), *host));
    let places: BTreeMap<OsdId, usize> =
        daemons.iter().filter_map(osd).filter(|(osd, _)| exists(osd)).collect();
    let osds = in_domains(&places, &said.waves);
    let seated = |kind: CephKind| -> Vec<Seated> {
        let own = daemons.iter().filter(|(daemon, _)| daemon.kind == kind);
        own.map(|(daemon, host)| Seated { name: daemon.id.clone(), host: *host }).collect()
    };
    let mons: Vec<Seated> =
        seated(CephKind::Mon).into_iter().filter(|mon| cluster.quorum.mons.contains_key(&mon.name)).collect();
    let groups = some(&cluster.pgs.pgs, &osds);
    if mons.is_empty() || groups.is_empty() {
        let why = "the inventory holds no MONs, or no placement groups on OSDs that it knows".to_owned();
        return Err(NotEnough { why });
    }
    let operators = |flag: &String| OPERATORS_FLAGS.contains(&flag.as_str());
    let (operators_flags, for_good): (BTreeSet<String>, BTreeSet<String>) =
        cluster.osds.flags.iter().cloned().partition(operators);
    let pools = cluster.osds.pools.values().cloned().collect();
    let known = |name: &String| cluster.osds.pool(name).map(|pool| pool.id);
    // What is on the disk of a host without new packages is what its daemons run, or will.
    let of_host = |host: usize| {
        let own = daemons.iter().filter(|(daemon, at)| **at == host && !said.restarted.contains(daemon));
        own.filter_map(|(daemon, _)| runs.get(&daemon.to_string())).next().unwrap_or(&to).clone()
    };
    let before = |host: usize| {
        let own = daemons.iter().filter(|(_, at)| **at == host);
        own.filter_map(|(daemon, _)| runs.get(&daemon.to_string())).next().unwrap_or(&from).clone()
    };
    let installed = (0..hosts.0.len())
        .map(|host| (host, if said.installs.contains(&host) { before(host) } else { of_host(host) }));
    Ok(Layout {
        installed: installed.collect(),
        domains: domains(&osds),
        racks: false,
        mgrs: seated(CephKind::Mgr),
        others: daemons
            .iter()
            .filter(|(daemon, _)| matches!(daemon.kind, CephKind::Mds | CephKind::Rgw))
            .map(|(daemon, host)| (daemon.clone(), *host))
            .collect(),
        consents: said.consents.iter().filter_map(known).collect(),
        origin: Origin::Inventory { groups: cluster.pgs.pgs.len() },
        map_flags: for_good.union(&map_flags).cloned().collect(),
        operators_flags,
        required_release: cluster.osds.require_osd_release.clone().or(required_release),
        hosts: hosts.0,
        osds,
        mons,
        pools,
        groups,
        salt,
        from,
        to,
        runs,
        health_has_codes,
    })
}

/// As many groups as are of use, spread over all, each where it is.
fn some(pgs: &[Pg], osds: &BTreeMap<OsdId, Place>) -> BTreeMap<PgId, Vec<OsdId>> {
    let every = pgs.len().div_ceil(GROUPS).max(1);
    let known = |pg: &Pg| {
        let up = pg.up.as_ref()?;
        (!up.is_empty() && up.iter().all(|osd| osds.contains_key(osd))).then(|| (pg.id, up.clone()))
    };
    pgs.iter().step_by(every).filter_map(known).collect()
}
