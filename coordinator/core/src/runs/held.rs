//! One run in these hands.

use super::append::{Append, Standing};
use crate::run::{Decided, Machine, Record};
use replank_common::ids::{HostName, PlanId, RunId};
use std::collections::BTreeSet;

#[derive(Debug)]
pub(super) struct Held {
    pub(super) machine: Machine,
    /// The plan, until the first records of a new run are durable.
    begins: Option<PlanId>,
    /// Decided, and not handed out to be appended yet.
    out: Vec<Record>,
    /// Hosts whose wants may have changed.
    pub(super) touched: BTreeSet<HostName>,
    /// The wants of every host may have changed.
    pub(super) sweep: bool,
    /// Its hosts are given to it.
    pub(super) settled: bool,
}

impl Held {
    pub(super) fn new(machine: Machine, begins: Option<PlanId>) -> Self {
        Self { machine, begins, out: Vec::new(), touched: BTreeSet::new(), sweep: false, settled: false }
    }

    pub(super) fn take(&mut self, decided: Decided) {
        self.out.extend(decided.records);
        self.touched.extend(decided.touched);
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.machine.index().plan().hosts.iter().map(|host| &host.name)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.machine.state().finished().is_some()
    }

    /// Hands out what was decided since the last time.
    pub(super) fn append(&mut self, run: &RunId) -> Option<Append> {
        if self.out.is_empty() {
            return None;
        }
        Some(Append {
            run: run.clone(),
            begins: self.begins.take(),
            standing: self.standing(),
            records: std::mem::take(&mut self.out),
        })
    }

    /// Everything that was decided is durable.
    pub(super) fn confirm(&mut self) {
        assert!(
            self.out.is_empty(),
            "what was decided is said to be durable, and was never handed out to be appended"
        );
        self.machine.confirm(self.machine.state().last_seq());
    }

    fn standing(&self) -> Standing {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let state = self.machine.state();
        Standing {
            finished: self.is_finished(),
            phase: self.machine.phase().as_str().to_owned(),
            steps_done: count(state.steps_done()),
            steps_total: count(state.steps_total()),
        }
    }
}
