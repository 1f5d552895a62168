//! May these MONs stop, and which MONs stand on the machines of OSDs that stop.
//!
//! A quorum is more than half of all MONs in the map, whether they run or not. A MON may stop if the others in quorum are still one, and MONs stop on one
//! machine at a time. A MON on the machine of an OSD that stops counts as stopping: what is done to the machine is done to both.

use super::OsdId;
use super::documents::{OsdDump, OsdTree, QuorumStatus};
use super::redundancy::{Objection, StopSet};
use replank_common::planted::{self, Planted};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Where OSDs are, as far as the documents say: by the address of the machine, and by the name of the bucket that they stand in.
#[derive(Debug, Clone, Default)]
pub struct Machines {
    addresses: BTreeMap<OsdId, IpAddr>,
    buckets: BTreeMap<OsdId, String>,
}

impl Machines {
    pub fn new(osds: &OsdDump, tree: Option<&OsdTree>) -> Self {
        let address = |(id, osd): (&OsdId, &super::documents::Osd)| Some((*id, osd.address?));
        let addresses = osds.osds.iter().filter_map(address).collect();
        let lowest = |leaf: &super::documents::Leaf| Some((leaf.osd, leaf.above.first()?.name.clone()));
        let buckets = tree.map(|tree| tree.leaves.iter().filter_map(lowest).collect()).unwrap_or_default();
        Self { addresses, buckets }
    }

    /// A MON has the address of its machine, and mostly the name.
    pub fn together(&self, osd: OsdId, mon: &str, address: Option<IpAddr>) -> bool {
        let same_address = address.is_some() && self.addresses.get(&osd).copied() == address;
        same_address || self.buckets.get(&osd).is_some_and(|bucket| bucket == mon)
    }
}

/// The MONs that stop with `set`: those that are named, and those on the machines of its OSDs.
pub fn mons_with(quorum: &QuorumStatus, machines: &Machines, set: &StopSet) -> BTreeSet<String> {
    let with = |(mon, address): &(&String, &Option<IpAddr>)| {
        set.mons.contains(*mon) || set.osds.iter().any(|osd| machines.together(*osd, mon, **address))
    };
    quorum.mons.iter().filter(with).map(|(mon, _)| mon.clone()).collect()
}

/// Why the MONs keep `set` from stopping.
pub fn mon_objections(quorum: &QuorumStatus, machines: &Machines, set: &StopSet) -> Vec<Objection> {
    let mut objections = Vec::new();
    if !set.osds.is_empty() {
        let nowhere = quorum.mons.iter().filter(|(_, address)| address.is_none());
        objections.extend(nowhere.map(|(mon, _)| Objection::MonUnclear { mon: mon.clone() }));
    }
    let stopping = mons_with(quorum, machines, set);
    let majority = majority(quorum.mons.len());
    let left = quorum.in_quorum.difference(&stopping).count();
    if !stopping.is_empty() && left < majority && !planted::is(Planted::QuorumUncounted) {
        objections.push(Objection::MonQuorum {
            stopping: stopping.iter().cloned().collect(),
            in_quorum: quorum.in_quorum.len(),
            majority,
            mons: quorum.mons.len(),
        });
    }
    // Two MONs of one address are one machine's; without addresses each has its own.
    let places: BTreeSet<_> = stopping.iter().map(|mon| quorum.mons[mon].ok_or(mon)).collect();
    if places.len() > 1 {
        objections.push(Objection::MonHosts { stopping: stopping.iter().cloned().collect() });
    }
    objections
}

/// More than half of `mons`.
pub const fn majority(mons: usize) -> usize {
    mons / 2 + 1
}
