//! A coordinator process: the runs in its hands and its own clock. The runs are those of production, and are driven in the drive's order:
//! what came, the time, the journal, the links.

use crate::fleet::ToAgent;
use replank_common::ids::{Epoch, HostName, RunId};
use replank_core::run::{Command, Machine, ReadingWant};
use replank_core::runs::{Event, LinkNumber, Outlet, Runs};
use std::cell::RefCell;

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) epoch: Epoch,
    pub(crate) runs: Runs,
    /// How far this process's clock is from the true one: fixed at its start.
    skew_ms: i64,
    /// Stopped: what comes meanwhile waits for it.
    pub(crate) asleep: bool,
    pub(crate) inbox: Vec<Event>,
    /// By the true clock.
    pub(crate) wake_queued: Option<u64>,
}

impl Seat {
    pub(crate) fn new(epoch: Epoch, runs: Runs, skew_ms: i64) -> Self {
        Self { epoch, runs, skew_ms, asleep: false, inbox: Vec::new(), wake_queued: None }
    }

    pub(crate) fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew_ms).max(1)
    }

    /// `None`: the run had finished when this process began, and it was not asked to take it up again.
    pub(crate) fn machine(&self, run: &RunId) -> Option<&Machine> {
        self.runs.machine(run)
    }
}

/// What leaves a process, in its order.
#[derive(Debug, Default)]
pub(crate) struct Outbox(RefCell<Vec<(HostName, ToAgent)>>);

impl Outbox {
    pub(crate) fn into_messages(self) -> Vec<(HostName, ToAgent)> {
        self.0.into_inner()
    }
}

/// The link is not looked at: what was sent over one that is gone may still arrive.
impl Outlet for Outbox {
    fn command(&self, _: LinkNumber, command: &Command) {
        self.0.borrow_mut().push((command.host.clone(), ToAgent::Do(Box::new(command.clone()))));
    }

    fn question(&self, _: LinkNumber, want: &ReadingWant) {
        let message = ToAgent::Read { ask: want.ask, request: want.request.clone() };
        self.0.borrow_mut().push((want.host.clone(), message));
    }
}
