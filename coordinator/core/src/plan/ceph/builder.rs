//! The plan while it grows: every step after the one before it on its host, and after what its phase needs of other hosts.

use super::ground::Ground;
use crate::plan::model::{Hold, Need, PointOfNoReturn, Undo, Work};
pub(super) use crate::plan::strand::Draft;
use crate::plan::strand::{Strands, Takes};
use replank_common::ids::{HoldId, HostName, StepId};
use std::collections::BTreeSet;

pub(super) struct Builder<'g, 'a> {
    pub(super) ground: &'g Ground<'a>,
    pub(super) strands: Strands<'a>,
    pub(super) holds: Vec<Hold>,
    pub(super) points: Vec<PointOfNoReturn>,
    /// Hosts in the order in which they are first changed, with wave and lane.
    pub(super) passed: Vec<(HostName, u32, u32)>,
    pub(super) next_wave: u32,
    /// Hosts whose configuration is written and whose packages are in.
    ready: BTreeSet<HostName>,
}

impl<'g, 'a> Builder<'g, 'a> {
    pub(super) fn new(ground: &'g Ground<'a>) -> Self {
        Self {
            ground,
            strands: Strands::new(ground.voyage.fleet, ground.inventory),
            holds: Vec::new(),
            points: Vec::new(),
            passed: Vec::new(),
            next_wave: 0,
            ready: BTreeSet::new(),
        }
    }

    pub(super) fn push(&mut self, host: &HostName, draft: Draft) -> StepId {
        self.push_settling(host, draft, 0)
    }

    /// A step after which the cluster takes a while to settle, beside what the catalog expects of the action.
    pub(super) fn push_settling(&mut self, host: &HostName, draft: Draft, settles_ms: u64) -> StepId {
        let (expected_ms, deadline_ms) = self.time(host, &draft.work);
        let takes =
            Takes { expected_ms: expected_ms + settles_ms, deadline_ms: deadline_ms + 4 * settles_ms };
        self.strands.push(host, draft, takes)
    }

    pub(super) fn guests(&self, host: &HostName) -> u32 {
        self.strands.guests(host)
    }

    fn time(&self, host: &HostName, work: &Work) -> (u64, u64) {
        let kind = match work {
            Work::Act(action) => action.kind(),
            Work::GiveBack(_) => "give-back",
            Work::Observe => "observe",
        };
        let voyage = &self.ground.voyage;
        let time = voyage
            .catalog
            .time(voyage.hop, kind)
            .expect("a loaded catalog has a time for every kind of work");
        let percent = u64::from(voyage.fleet.pace.deadline_percent);
        time.of(u64::from(self.guests(host)), work.packages(), percent)
    }

    pub(super) fn hold(&mut self, id: &str, title: String, why: String, needs: Vec<Need>) -> Need {
        let id = HoldId::new(id).expect("lower-case letters and hyphens make a hold id");
        self.holds.push(Hold { id: id.clone(), title, why, needs });
        Need::Hold(id)
    }

    /// Says of a step that it is a point of no return behind `hold`.
    pub(super) fn point(&mut self, step: StepId, hold: &Need, reason: &str, alternative: &str) {
        if let Need::Hold(hold) = hold {
            self.points.push(PointOfNoReturn {
                step,
                hold: hold.clone(),
                reason: reason.to_owned(),
                alternative: alternative.to_owned(),
            });
        }
    }

    /// Takes the host for changed from now on, unless it was before.
    pub(super) fn pass(&mut self, host: &HostName, wave: u32, lane: u32) {
        if !self.passed.iter().any(|(name, _, _)| name == host) {
            self.passed.push((host.clone(), wave, lane));
        }
    }

    pub(super) fn is_passed(&self, host: &HostName) -> bool {
        self.passed.iter().any(|(name, _, _)| name == host)
    }

    pub(super) fn is_ready(&self, host: &HostName) -> bool {
        self.ready.contains(host)
    }

    pub(super) fn mark_ready(&mut self, host: &HostName) {
        self.ready.insert(host.clone());
    }

    pub(super) fn no_way_back(&self) -> Undo {
        let back = &self.ground.voyage.part.back;
        Undo::NoWayBack { reason: back.reason.clone(), alternative: back.alternative.clone() }
    }
}
