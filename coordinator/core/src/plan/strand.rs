//! The steps of a plan over a cluster while it grows: each comes after the one before it on its host, and between two counts where guests run or may come.

use crate::fleet_file::FleetFile;
use crate::gate::Gate;
use crate::inventory::Inventory;
use crate::plan::model::{Need, Stage, Step, Undo, Work};
use replank_common::action::Action;
use replank_common::ids::{HostName, StepId};
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

/// What a step is expected to take, and after what time it is asked for again. Milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Takes {
    pub(super) expected_ms: u64,
    pub(super) deadline_ms: u64,
}

pub(super) struct Strands<'a> {
    fleet: &'a FleetFile,
    inventory: &'a Inventory,
    pub(super) steps: Vec<Step>,
    last: BTreeMap<HostName, StepId>,
}

impl<'a> Strands<'a> {
    pub(super) fn new(fleet: &'a FleetFile, inventory: &'a Inventory) -> Self {
        Self { fleet, inventory, steps: Vec::new(), last: BTreeMap::new() }
    }

    pub(super) fn push(&mut self, host: &HostName, draft: Draft, takes: Takes) -> StepId {
        let Draft { what, stage, title, work, mut before, mut after, undo, needs } = draft;
        let id = StepId::new(format!("{host}.{what}"))
            .expect("a host name and words of lower-case letters, digits and hyphens make a step id");
        if self.has_guests(host) {
            before.insert(0, Gate::CensusHolds);
            after.insert(0, Gate::CensusHolds);
        }
        let mut all: Vec<Need> = self.last_of(host).into_iter().collect();
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
            expected_ms: takes.expected_ms,
            deadline_ms: takes.deadline_ms,
        });
        id
    }

    /// The step that the next one on the host comes after.
    pub(super) fn last_of(&self, host: &HostName) -> Option<Need> {
        self.last.get(host).cloned().map(Need::Step)
    }

    /// Guests that ran there when the inventory was taken.
    pub(super) fn guests(&self, host: &HostName) -> u32 {
        let guests = self.inventory.hosts.get(host).map_or(0, |facts| facts.census.guests.len());
        u32::try_from(guests).unwrap_or(u32::MAX)
    }

    /// Guests that run, or may come.
    fn has_guests(&self, host: &HostName) -> bool {
        let mut hosts = self.fleet.hosts.iter();
        let may_come = hosts.any(|h| h.name == *host && h.roles.iter().any(|role| role.runs_guests()));
        may_come || self.guests(host) > 0
    }
}
