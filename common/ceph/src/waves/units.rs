//! What stops together, and what keeps two of them apart.

use crate::documents::{OsdDump, OsdTree, QuorumStatus};
use crate::quorum::{Machines, mon_objections, mons_with};
use crate::redundancy::{Group, Redundancy, StopSet};
use crate::{OsdId, PgId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How large a unit may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// The highest bucket that may stop whole: the failure domain.
    Domain,
    /// A machine, also where a whole rack could stop.
    Machine,
}

/// A bucket of the tree, or one OSD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// `rack1`, `alpha`, or `osd.7` of a machine that was taken apart.
    pub(super) name: String,
    pub(super) osds: Vec<OsdId>,
    /// The MONs on its machines.
    pub(super) mons: BTreeSet<String>,
}

/// At most `spare` of the weight of these units may be in one wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constraint {
    pub(super) why: Why,
    /// Unit and weight: how many members of the group it has. In order of the units.
    pub(super) units: Vec<(u32, u32)>,
    pub(super) spare: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Group(PgId),
    Mons,
}

/// What units are made from.
#[derive(Clone, Copy)]
pub(super) struct Documents<'a> {
    pub(super) redundancy: &'a Redundancy<'a>,
    pub(super) osds: &'a OsdDump,
    pub(super) tree: Option<&'a OsdTree>,
    pub(super) quorum: Option<(&'a QuorumStatus, &'a Machines)>,
}

/// All units and what binds them.
#[derive(Debug, Default)]
pub(super) struct Field {
    pub(super) units: Vec<Unit>,
    /// Those that bind: weights that can never exceed `spare` together are left out.
    pub(super) constraints: Vec<Constraint>,
    /// For each unit, its constraints and its weight in each.
    pub(super) of_unit: Vec<Vec<(u32, u32)>>,
    /// OSDs that may not stop even alone.
    pub(super) stuck: Vec<OsdId>,
}

impl Field {
    /// The OSDs of `among` that are up, as units in the order of the tree.
    pub(super) fn new(grain: Grain, documents: Documents<'_>, among: impl Fn(OsdId) -> bool) -> Self {
        let Documents { redundancy, osds, tree, .. } = documents;
        let groups = redundancy.groups();
        let wanted = |osd: &OsdId| among(*osd) && osds.osds.get(osd).is_some_and(|osd| osd.up == Some(true));
        let mut leaves = places(osds, tree);
        leaves.retain(|place| wanted(&place.osd));
        let mut field = Self::default();
        let height = match grain {
            Grain::Domain => leaves.iter().map(|place| place.above.len()).max().unwrap_or(0),
            Grain::Machine => 1,
        };
        field.divide(documents, &groups, height, &leaves);
        field.bind(redundancy, &groups);
        field
    }

    /// Each bucket of that height whole if it may stop, else what is in it.
    fn divide(&mut self, documents: Documents<'_>, groups: &[Group], height: usize, places: &[Place]) {
        let Documents { redundancy, quorum, .. } = documents;
        for bucket in places.chunk_by(|a, b| a.at(height) == b.at(height)) {
            let osds: Vec<OsdId> = bucket.iter().map(|place| place.osd).collect();
            if may_stop(redundancy, groups, quorum, &osds) {
                let set = stop_set(&osds);
                let mons = quorum.map(|(quorum, machines)| mons_with(quorum, machines, &set));
                let name = bucket[0].name(height);
                self.units.push(Unit { name, osds, mons: mons.unwrap_or_default() });
            } else if height > 0 {
                self.divide(documents, groups, height - 1, bucket);
            } else {
                self.stuck.extend(osds);
            }
        }
    }

    fn bind(&mut self, redundancy: &Redundancy<'_>, groups: &[Group]) {
        let mut unit_of: BTreeMap<OsdId, u32> = BTreeMap::new();
        for (index, unit) in (0..).zip(&self.units) {
            unit_of.extend(unit.osds.iter().map(|osd| (*osd, index)));
        }
        let unit_of: Vec<Option<u32>> =
            redundancy.slots().iter().map(|osd| unit_of.get(osd).copied()).collect();
        for group in groups {
            let Ok(spare) = u32::try_from(group.spare) else { continue };
            let mut units: Vec<(u32, u32)> = Vec::with_capacity(group.complete.len());
            for unit in group.complete.iter().filter_map(|slot| unit_of[*slot as usize]) {
                match units.iter_mut().find(|(other, _)| *other == unit) {
                    Some((_, weight)) => *weight += 1,
                    None => units.push((unit, 1)),
                }
            }
            if units.iter().map(|(_, weight)| weight).sum::<u32>() > spare {
                units.sort_unstable();
                self.constraints.push(Constraint { why: Why::Group(group.pg), units, spare });
            }
        }
        // Parts of one machine have the same MONs, and may stop together as far as those go.
        let with_mons: Vec<u32> =
            (0..).zip(&self.units).filter(|(_, u)| !u.mons.is_empty()).map(|(i, _)| i).collect();
        for (at, one) in with_mons.iter().enumerate() {
            for other in &with_mons[at + 1..] {
                if self.units[*one as usize].mons != self.units[*other as usize].mons {
                    let units = vec![(*one, 1), (*other, 1)];
                    self.constraints.push(Constraint { why: Why::Mons, units, spare: 1 });
                }
            }
        }
        self.of_unit = vec![Vec::new(); self.units.len()];
        for (index, constraint) in (0..).zip(&self.constraints) {
            for (unit, weight) in &constraint.units {
                self.of_unit[*unit as usize].push((index, *weight));
            }
        }
    }
}

/// Whether these OSDs may stop when nothing else does.
fn may_stop(
    redundancy: &Redundancy<'_>,
    groups: &[Group],
    quorum: Option<(&QuorumStatus, &Machines)>,
    osds: &[OsdId],
) -> bool {
    let mut touched: Vec<(u32, OsdId)> =
        osds.iter().flat_map(|osd| redundancy.touching(*osd).iter().map(|group| (*group, *osd))).collect();
    touched.sort_unstable();
    let spared = touched.chunk_by(|a, b| a.0 == b.0).all(|members| {
        let group = &groups[members[0].0 as usize];
        let complete = |(_, osd): &&(u32, OsdId)| {
            redundancy.slot(*osd).is_some_and(|slot| group.complete.contains(&slot))
        };
        i64::try_from(members.iter().filter(complete).count()).is_ok_and(|stop| stop <= group.spare)
    });
    let set = stop_set(osds);
    spared && quorum.is_none_or(|(quorum, machines)| mon_objections(quorum, machines, &set).is_empty())
}

fn stop_set(osds: &[OsdId]) -> StopSet {
    StopSet { osds: osds.iter().copied().collect(), ..StopSet::default() }
}

/// Where an OSD stands.
#[derive(Debug)]
struct Place {
    osd: OsdId,
    /// The buckets above it, the machine first.
    above: Vec<String>,
}

impl Place {
    /// What is the same for all that stand in one bucket of that height, and for nobody else. 0 is the OSD itself.
    fn at(&self, height: usize) -> (&[String], Option<OsdId>) {
        match height {
            0 => (&[], Some(self.osd)),
            // A branch that is lower than others is one bucket up to the top.
            _ => (&self.above[(height - 1).min(self.above.len().saturating_sub(1))..], None),
        }
    }

    fn name(&self, height: usize) -> String {
        match self.at(height) {
            ([bucket, ..], None) => bucket.clone(),
            (_, _) => self.osd.to_string(),
        }
    }
}

/// Every OSD: by the tree from left to right; then, of those outside it, by the address of its machine; then those without one.
fn places(osds: &OsdDump, tree: Option<&OsdTree>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(osds.osds.len());
    for leaf in tree.into_iter().flat_map(|tree| &tree.leaves) {
        let above = leaf.above.iter().map(|bucket| bucket.name.clone()).collect();
        places.push(Place { osd: leaf.osd, above });
    }
    let placed: BTreeSet<OsdId> = places.iter().map(|place| place.osd).collect();
    let mut machines: BTreeMap<IpAddr, Vec<OsdId>> = BTreeMap::new();
    let mut rest: Vec<Vec<Place>> = Vec::new();
    for (id, osd) in osds.osds.iter().filter(|(id, _)| !placed.contains(id)) {
        match osd.address {
            Some(address) => machines.entry(address).or_default().push(*id),
            None => rest.push(vec![Place { osd: *id, above: vec![id.to_string()] }]),
        }
    }
    for (address, osds) in machines {
        let on = |osd| Place { osd, above: vec![address.to_string()] };
        rest.push(osds.into_iter().map(on).collect());
    }
    // In the order of their first OSDs, which mostly is that of the machines.
    rest.sort_by_key(|machine| machine.first().map(|place| place.osd));
    places.extend(rest.into_iter().flatten());
    places
}
