//! A second reader of the journal: it knows the plan and the records, and nothing of how the machine decides.

use replank_common::ids::{ActionId, GuestUuid, HoldId, StepId};
use replank_common::outcome::Outcome;
use replank_core::plan::{Need, Plan, Undo, Work};
use replank_core::run::{End, Event, Purpose, Record};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Watcher {
    done: BTreeSet<StepId>,
    approved: BTreeSet<HoldId>,
    pub halted: bool,
    halted_before_rollback: bool,
    end_before_rollback: Option<End>,
    paused: bool,
    retries: BTreeMap<StepId, u32>,
    sent: BTreeMap<StepId, u32>,
    in_flight: BTreeMap<ActionId, StepId>,
    waits: BTreeSet<StepId>,
    pub lost: BTreeSet<GuestUuid>,
    pub end: Option<End>,
    /// When the run ended, each time.
    pub ends: Vec<u64>,
    pub rollbacks_refused: usize,
    pub undone: Vec<StepId>,
    pub guards_at: Vec<u64>,
    pub first_undo_at: Option<u64>,
    going_back: bool,
}

impl Watcher {
    pub fn read(&mut self, plan: &Plan, record: &Record) {
        match &record.event {
            Event::Halted { .. } => self.halted = true,
            Event::Resumed { .. } => (self.halted, self.paused) = (false, false),
            Event::AbortAsked { .. } => (self.halted, self.paused) = (false, false),
            Event::RollbackAsked { .. } => {
                (self.halted_before_rollback, self.end_before_rollback) = (self.halted, self.end);
                (self.halted, self.paused, self.end) = (false, false, None);
            }
            Event::RollbackRefused { refusals } => {
                assert!(!refusals.is_empty());
                self.halted |= self.halted_before_rollback;
                self.end = self.end_before_rollback;
                self.rollbacks_refused += 1;
            }
            Event::RollbackBegun {} => self.going_back = true,
            Event::Paused { .. } => self.paused = true,
            Event::GateWaits { step, .. } => {
                self.waits.insert(step.clone());
            }
            Event::GatePassed { step, .. } => {
                assert!(self.waits.remove(step), "{step}'s gate passed without having waited");
            }
            Event::Sent { step, purpose, action, of } => {
                self.sent(plan, record, (step, *purpose, action, of.as_ref()));
            }
            Event::Outcome { action, outcome } => {
                let step = self.in_flight.remove(action).expect("an outcome of what was sent");
                if matches!(outcome, Outcome::Done { .. }) && self.going_back {
                    self.undone.push(step);
                }
            }
            Event::StepDone { step } => {
                assert!(!self.in_flight.values().any(|other| other == step), "{step} done in flight");
                assert!(!self.waits.contains(step), "{step} done at a red gate");
                assert!(self.done.insert(step.clone()), "{step} done twice");
            }
            Event::Approved { hold, .. } => {
                self.approved.insert(hold.clone());
            }
            Event::RetryAsked { step, .. } => *self.retries.entry(step.clone()).or_default() += 1,
            Event::GuestLost { guest, .. } => {
                self.lost.insert(*guest);
            }
            Event::Finished { end } => {
                assert!(self.in_flight.is_empty(), "finished with commands in flight");
                assert!(!self.halted, "finished while halted");
                self.end = Some(*end);
                self.ends.push(record.at_ms);
                self.going_back = false;
            }
            _ => {}
        }
        if !matches!(record.event, Event::GateWaits { .. } | Event::GatePassed { .. })
            && let Event::AbortAsked { .. }
            | Event::RollbackAsked { .. }
            | Event::RollbackRefused { .. }
            | Event::RollbackBegun {}
            | Event::Closing { .. } = record.event
        {
            self.waits.clear();
        }
    }

    /// P1, P5, P6, P8 at the moment of the intent.
    fn sent(
        &mut self,
        plan: &Plan,
        record: &Record,
        (id, purpose, action, of): (&StepId, Purpose, &ActionId, Option<&ActionId>),
    ) {
        assert!(!self.halted, "{action} sent while halted");
        assert!(!self.paused, "{action} sent while paused");
        assert!(self.end.is_none(), "{action} sent after the end");
        assert!(!self.waits.contains(id), "{action} sent past a red gate");
        let step = plan.steps.iter().find(|step| step.id == *id).expect("a step of the plan");
        let same_host = |other: &StepId| plan.steps.iter().any(|s| s.id == *other && s.host == step.host);
        assert!(!self.in_flight.values().any(same_host), "two commands in flight on {}", step.host);
        match purpose {
            Purpose::Do | Purpose::GiveBack => {
                self.check_needs(plan, id, &step.needs);
                for point in plan.points_of_no_return.iter().filter(|point| point.step == *id) {
                    assert!(self.approved.contains(&point.hold), "P8: {id} without {}", point.hold);
                }
                let sent = self.sent.entry(id.clone()).or_default();
                *sent += 1;
                let allowed = 1 + self.retries.get(id).copied().unwrap_or(0);
                // Giving back what several attempts left takes one command for each.
                let borrowed = match &*step.work {
                    Work::GiveBack(subject) => self.retries.get(subject).copied().unwrap_or(0),
                    Work::Act(_) | Work::Observe => 0,
                };
                assert!(*sent <= allowed + borrowed, "{id} sent {sent} times with {allowed} permissions");
                assert_eq!(of.is_some(), purpose == Purpose::GiveBack);
            }
            Purpose::Undo => {
                assert!(matches!(step.undo, Undo::Record | Undo::Borrowed), "{id} cannot be taken back");
                if self.going_back {
                    self.first_undo_at.get_or_insert(record.seq);
                }
                assert!(of.is_some());
            }
            Purpose::Guard | Purpose::SetGuard => {
                assert_eq!(step.undo, Undo::Guard);
                self.guards_at.push(record.seq);
            }
        }
        self.in_flight.insert(action.clone(), id.clone());
    }

    fn check_needs(&self, plan: &Plan, id: &StepId, needs: &[Need]) {
        for need in needs {
            match need {
                Need::Step(step) => assert!(self.done.contains(step), "P6: {id} before {step}"),
                Need::Hold(hold) => {
                    assert!(self.approved.contains(hold), "P8: {id} without {hold}");
                    let hold = plan.holds.iter().find(|other| other.id == *hold).expect("a hold of the plan");
                    self.check_needs(plan, id, &hold.needs);
                }
            }
        }
    }
}
