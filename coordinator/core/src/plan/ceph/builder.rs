//! The plan while it grows: every step after the one before it on its host, and after what its phase needs of other hosts.

use super::ground::Ground;
use crate::gate::Gate;
use crate::plan::model::{Hold, Need, PointOfNoReturn, Stage, Step, Undo, Work};
use replank_common::action::Action;
use replank_common::ids::{HoldId, HostName, StepId};
use std::collections::{BTreeMap, BTreeSet};

/// One step before it has its place.
pub(super) struct Draft {
    /// The last part of its id.
    pub(super) what: String,
    pub(super) stage: Stage,
    pub(super) title: String,
    pub(super) work: Work,
    pub(super) before: Vec<Gate>,
    pub(super) after: Vec<Gate>,
    pub(super) undo: Undo,
    /// Beside the step before it on its host.
    pub(super) needs: Vec<Need>,
    /// Added to what the catalog expects of the action: how long the cluster takes to settle.
    pub(super) settles_ms: u64,
}

impl Draft {
    pub(super) fn new(
        what: impl Into<String>,
        stage: Stage,
        title: impl Into<String>,
        work: Work,
        undo: Undo,
    ) -> Self {
        Self {
            what: what.into(),
            stage,
            title: title.into(),
            work,
            before: Vec::new(),
            after: Vec::new(),
            undo,
            needs: Vec::new(),
            settles_ms: 0,
        }
    }

    pub(super) fn act(
        what: impl Into<String>,
        stage: Stage,
        title: impl Into<String>,
        action: Action,
        undo: Undo,
    ) -> Self {
        Self::new(what, stage, title, Work::Act(action), undo)
    }

    pub(super) fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend(needs.iter().cloned());
        self
    }
}

pub(super) struct Builder<'g, 'a> {
    pub(super) ground: &'g Ground<'a>,
    pub(super) steps: Vec<Step>,
    pub(super) holds: Vec<Hold>,
    pub(super) points: Vec<PointOfNoReturn>,
    last: BTreeMap<HostName, StepId>,
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
            steps: Vec::new(),
            holds: Vec::new(),
            points: Vec::new(),
            last: BTreeMap::new(),
            passed: Vec::new(),
            next_wave: 0,
            ready: BTreeSet::new(),
        }
    }

    pub(super) fn push(&mut self, host: &HostName, draft: Draft) -> StepId {
        let Draft { what, stage, title, work, mut before, mut after, undo, needs, settles_ms } = draft;
        let id = StepId::new(format!("{host}.{what}"))
            .expect("a host name and words of lower-case letters, digits and hyphens make a step id");
        let (expected_ms, deadline_ms) = self.time(host, &work);
        if self.has_guests(host) {
            before.insert(0, Gate::CensusHolds);
            after.insert(0, Gate::CensusHolds);
        }
        let mut all: Vec<Need> = self.last.get(host).cloned().map(Need::Step).into_iter().collect();
        all.extend(needs);
        let mut seen = BTreeSet::new();
        all.retain(|need| seen.insert(need.clone()));
        self.last.insert(host.clone(), id.clone());
        self.steps.push(Step {
            id: id.clone(),
            host: host.clone(),
            stage,
            title,
            work: work.into(),
            before,
            after,
            undo,
            needs: all,
            expected_ms: expected_ms + settles_ms,
            deadline_ms: deadline_ms + 4 * settles_ms,
        });
        id
    }

    /// Guests that run, or may come.
    fn has_guests(&self, host: &HostName) -> bool {
        let fleet = self.ground.voyage.fleet;
        let may_come =
            fleet.hosts.iter().any(|h| h.name == *host && h.roles.iter().any(|role| role.runs_guests()));
        may_come || self.guests(host) > 0
    }

    pub(super) fn guests(&self, host: &HostName) -> u32 {
        let guests = self.ground.facts(host).map_or(0, |facts| facts.census.guests.len());
        u32::try_from(guests).unwrap_or(u32::MAX)
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

    pub(super) fn last_of(&self, host: &HostName) -> Option<Need> {
        self.last.get(host).cloned().map(Need::Step)
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
