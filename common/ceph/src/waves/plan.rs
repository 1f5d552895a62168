//! The sequence of waves, with its bound and what is in none.

use super::bound::{LowerBound, Reason, lower_bound};
use super::fit::{Waves, count, fit};
use super::search::{Found, search};
use super::units::{Documents, Field, Grain};
use crate::OsdId;
use crate::documents::{OsdDump, OsdTree, QuorumStatus};
use crate::quorum::Machines;
use crate::redundancy::{Answer, Objection, Redundancy, StopSet};
use serde::Serialize;
use std::collections::BTreeSet;

/// Every OSD that is up, each in one wave or stuck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WavePlan {
    /// The largest first. Nothing else orders them: any may be the next.
    pub waves: Vec<Wave>,
    pub lower_bound: LowerBound,
    /// OSDs that may not stop even alone.
    pub stuck: Vec<OsdId>,
    /// Why there are no waves at all, or why some OSDs are stuck.
    pub objections: Vec<Objection>,
    /// OSDs that are down: there is nothing to stop.
    pub left_out: Vec<OsdId>,
}

/// OSDs that may be down at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wave {
    pub osds: BTreeSet<OsdId>,
    /// Racks, machines, and single OSDs of machines that are taken apart.
    pub units: Vec<String>,
    /// MONs on their machines.
    pub mons: BTreeSet<String>,
}

/// Cuts the OSDs of `among` (all, if `None`) into waves.
///
/// # Panics
/// A wave that the rule itself does not find safe is a mistake of the planner, and nothing may be done with it.
pub fn plan_waves(
    redundancy: &Redundancy<'_>,
    osds: &OsdDump,
    tree: Option<&OsdTree>,
    quorum: Option<&QuorumStatus>,
    among: Option<&BTreeSet<OsdId>>,
) -> WavePlan {
    let wanted = |osd: OsdId| among.is_none_or(|among| among.contains(&osd));
    let (left_out, there): (Vec<OsdId>, Vec<OsdId>) =
        osds.osds.keys().filter(|id| wanted(**id)).partition(|id| osds.osds[id].up == Some(false));
    let anywhere = redundancy.objections_anywhere(&BTreeSet::new());
    if !anywhere.is_empty() {
        let lower_bound = LowerBound { waves: 0, reason: Reason::Trivial };
        return WavePlan { waves: Vec::new(), lower_bound, stuck: there, objections: anywhere, left_out };
    }
    let machines = Machines::new(osds, tree);
    let quorum = quorum.map(|quorum| (quorum, &machines));
    let documents = Documents { redundancy, osds, tree, quorum };
    let mut best = Sequence::new(Field::new(Grain::Domain, documents, wanted));
    let machines = Field::new(Grain::Machine, documents, wanted);
    if count(&best.placed) > 1 && machines.units != best.field.units {
        let finer = Sequence::new(machines);
        if count(&finer.placed) < count(&best.placed) {
            best = finer;
        }
    }
    let Sequence { field, placed, lower_bound } = best;
    let waves = waves(&field, &placed);
    for wave in &waves {
        let set = StopSet { osds: wave.osds.clone(), mons: BTreeSet::new() };
        let verdict = redundancy.judge(&set, quorum);
        assert!(verdict.answer == Answer::Safe, "a wave that is not safe was planned: {verdict:?}");
    }
    let mut objections: Vec<Objection> = Vec::new();
    for osd in &field.stuck {
        let set = StopSet { osds: BTreeSet::from([*osd]), mons: BTreeSet::new() };
        objections.extend(redundancy.judge(&set, quorum).objections);
    }
    WavePlan { waves, lower_bound, stuck: field.stuck, objections, left_out }
}

/// The waves of one way to make units.
struct Sequence {
    field: Field,
    placed: Waves,
    lower_bound: LowerBound,
}

impl Sequence {
    fn new(field: Field) -> Self {
        let mut lower_bound = lower_bound(&field);
        let mut placed = fit(&field);
        while count(&placed) > lower_bound.waves {
            match search(&field, count(&placed) - 1) {
                Found::Waves(better) => placed = better,
                Found::Impossible => {
                    lower_bound = LowerBound { waves: count(&placed), reason: Reason::Search }
                }
                Found::TooLong => break,
            }
        }
        Self { field, placed, lower_bound }
    }
}

fn waves(field: &Field, placed: &Waves) -> Vec<Wave> {
    let none = Wave { osds: BTreeSet::new(), units: Vec::new(), mons: BTreeSet::new() };
    let mut waves = vec![none; count(placed) as usize];
    for (unit, wave) in field.units.iter().zip(placed) {
        let wave = &mut waves[*wave as usize];
        wave.osds.extend(&unit.osds);
        wave.units.push(unit.name.clone());
        wave.mons.extend(unit.mons.iter().cloned());
    }
    waves.sort_by_key(|wave| std::cmp::Reverse(wave.osds.len()));
    waves
}
