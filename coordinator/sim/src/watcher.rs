//! A second reader of the journal: it knows the plan and the records, and nothing of how the machine decides.

use crate::promise::{Judge, Promise};
use replank_common::census::Incarnation;
use replank_common::ids::{ActionId, GuestUuid, HoldId, HostName, StepId};
use replank_common::outcome::Outcome;
use replank_core::plan::{Need, Plan, Step, Undo, Work};
use replank_core::run::{End, Event, Index, Purpose, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Watcher {
    index: Arc<Index>,
    places: BTreeMap<StepId, usize>,
    holds: BTreeMap<HoldId, usize>,
    points: BTreeMap<StepId, Vec<HoldId>>,
    done: BTreeSet<StepId>,
    approved: BTreeSet<HoldId>,
    pub(crate) reached: BTreeSet<HoldId>,
    pub(crate) halted: bool,
    /// A loss is told, and no halt follows it yet.
    loss_untold: bool,
    before_rollback: (bool, Option<End>),
    paused: bool,
    retries: BTreeMap<StepId, u32>,
    sent: BTreeMap<StepId, u32>,
    in_flight: BTreeMap<HostName, (ActionId, StepId)>,
    /// Actions with a durable intent.
    pub(crate) intents: BTreeSet<ActionId>,
    waits: BTreeSet<StepId>,
    /// Steps that were refused or failed, until they are tried again.
    pub(crate) held: BTreeSet<StepId>,
    pub(crate) lost: BTreeSet<GuestUuid>,
    /// Lives that their owners ended or moved.
    pub(crate) left: BTreeSet<(GuestUuid, Incarnation)>,
    pub(crate) end: Option<End>,
    /// When the run ended, each time, by the true clock.
    pub(crate) ends: Vec<u64>,
}

impl Watcher {
    pub(crate) fn new(index: Arc<Index>) -> Self {
        let plan = index.plan();
        let places = plan.steps.iter().enumerate().map(|(at, step)| (step.id.clone(), at)).collect();
        let holds = plan.holds.iter().enumerate().map(|(at, hold)| (hold.id.clone(), at)).collect();
        let mut points: BTreeMap<StepId, Vec<HoldId>> = BTreeMap::new();
        for point in &plan.points_of_no_return {
            points.entry(point.step.clone()).or_default().push(point.hold.clone());
        }
        Self {
            index,
            places,
            holds,
            points,
            done: BTreeSet::new(),
            approved: BTreeSet::new(),
            reached: BTreeSet::new(),
            halted: false,
            loss_untold: false,
            before_rollback: (false, None),
            paused: false,
            retries: BTreeMap::new(),
            sent: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            intents: BTreeSet::new(),
            waits: BTreeSet::new(),
            held: BTreeSet::new(),
            lost: BTreeSet::new(),
            left: BTreeSet::new(),
            end: None,
            ends: Vec::new(),
        }
    }

    fn plan(&self) -> &Plan {
        self.index.plan()
    }

    pub(crate) fn step<'a>(&self, plan: &'a Plan, id: &StepId) -> Option<&'a Step> {
        self.places.get(id).and_then(|at| plan.steps.get(*at))
    }

    pub(crate) fn read(&mut self, record: &Record, now_ms: u64, judge: &mut Judge) {
        match &record.event {
            Event::Halted { .. } => (self.halted, self.loss_untold) = (true, false),
            Event::Resumed { .. } | Event::AbortAsked { .. } => (self.halted, self.paused) = (false, false),
            Event::RollbackAsked { .. } => {
                self.before_rollback = (self.halted, self.end);
                (self.halted, self.paused, self.end) = (false, false, None);
            }
            Event::RollbackRefused { refusals } => {
                judge.check(Promise::Quiet, !refusals.is_empty(), || {
                    "a rollback was refused without a reason".into()
                });
                self.halted |= self.before_rollback.0;
                self.end = self.before_rollback.1;
                // Back at the end that it had.
                self.ends.extend(self.end.map(|_| now_ms));
            }
            Event::Paused { .. } => self.paused = true,
            Event::GateWaits { step, .. } => {
                self.waits.insert(step.clone());
            }
            Event::GatePassed { step, .. } => {
                let waited = self.waits.remove(step);
                judge.check(Promise::P6, waited, || format!("{step}'s gate passed without having waited"));
            }
            Event::Sent { step, purpose, action, of } => {
                self.sent((step, *purpose, action, of.as_ref()), judge);
            }
            Event::Outcome { action, outcome } => self.outcome(action, outcome, judge),
            Event::StepDone { step } => {
                let flying = self.step(self.plan(), step).and_then(|step| self.in_flight.get(&step.host));
                let flying = flying.is_some_and(|(_, other)| other == step);
                judge
                    .check(Promise::P6, !flying, || format!("{step} is done while its command is in flight"));
                judge.check(Promise::P6, !self.waits.contains(step), || format!("{step} done at a red gate"));
                let first = self.done.insert(step.clone());
                judge.check(Promise::P5, first, || format!("{step} is done twice"));
            }
            Event::HoldReached { hold } => {
                self.reached.insert(hold.clone());
            }
            Event::Approved { hold, .. } => {
                self.approved.insert(hold.clone());
                self.reached.remove(hold);
            }
            Event::RetryAsked { step, .. } => {
                self.held.remove(step);
                *self.retries.entry(step.clone()).or_default() += 1;
            }
            Event::GuestLost { guest, .. } => {
                self.lost.insert(*guest);
                self.loss_untold = true;
            }
            Event::GuestLeft { guest, incarnation, .. } => {
                self.left.insert((*guest, *incarnation));
            }
            Event::GuestTwice { .. } => self.loss_untold = true,
            Event::Finished { end } => {
                judge.check(Promise::P5, self.in_flight.is_empty(), || {
                    format!("finished with commands in flight: {:?}", self.in_flight.values().next())
                });
                let told = !self.halted && !self.loss_untold;
                judge.check(Promise::P1, told, || "finished while halted".to_owned());
                self.end = Some(*end);
                self.ends.push(now_ms);
            }
            Event::Created { .. }
            | Event::Led { .. }
            | Event::Baseline { .. }
            | Event::GuestAppeared { .. }
            | Event::GuestMoved { .. }
            | Event::HostRebooted { .. }
            | Event::Began { .. }
            | Event::RollbackBegun {}
            | Event::Closing { .. }
            | Event::Recounted { .. } => {}
        }
        if let Event::AbortAsked { .. }
        | Event::RollbackAsked { .. }
        | Event::RollbackRefused { .. }
        | Event::RollbackBegun {}
        | Event::Closing { .. } = record.event
        {
            self.waits.clear();
        }
    }

    fn outcome(&mut self, action: &ActionId, outcome: &Outcome, judge: &mut Judge) {
        let flying = self.step(self.plan(), &action.step).map(|step| step.host.clone());
        let flying = flying.and_then(|host| self.in_flight.remove(&host));
        let asked = flying.as_ref().is_some_and(|(flying, _)| flying == action);
        judge.check(Promise::P5, asked, || format!("an outcome of {action}, and {flying:?} is in flight"));
        if let Some((_, step)) = flying.filter(|_| !outcome.is_done()) {
            self.held.insert(step);
        }
    }

    /// P1, P5, P6, P8 at the moment of the intent.
    fn sent(
        &mut self,
        (id, purpose, action, of): (&StepId, Purpose, &ActionId, Option<&ActionId>),
        judge: &mut Judge,
    ) {
        let told = !self.halted && !self.loss_untold;
        judge.check(Promise::P1, told, || format!("{action} sent while halted"));
        judge.check(Promise::P6, !self.paused, || format!("{action} sent while paused"));
        judge.check(Promise::P6, self.end.is_none(), || format!("{action} sent after the end"));
        judge.check(Promise::P6, !self.waits.contains(id), || format!("{action} sent past a red gate"));
        let index = self.index.clone();
        let Some(step) = self.step(index.plan(), id) else {
            judge.check(Promise::P6, false, || format!("{id} is no step of the plan"));
            return;
        };
        let free = !self.in_flight.contains_key(&step.host);
        judge.check(Promise::P5, free, || format!("two commands in flight on {}", step.host));
        match purpose {
            Purpose::Do | Purpose::GiveBack => {
                self.check_needs(id, &step.needs, judge);
                for hold in self.points.get(id).into_iter().flatten() {
                    let approved = self.approved.contains(hold);
                    judge.check(Promise::P8, approved, || format!("{id} without an approval of {hold}"));
                }
                let sent = self.sent.entry(id.clone()).or_default();
                *sent += 1;
                let retries = |step: &StepId| self.retries.get(step).copied().unwrap_or(0);
                // Giving back what several attempts left takes one command for each.
                let borrowed = match &*step.work {
                    Work::GiveBack(subject) => retries(subject),
                    Work::Act(_) | Work::Observe => 0,
                };
                let allowed = 1 + retries(id) + borrowed;
                let sent = *sent;
                judge.check(Promise::P5, sent <= allowed, || {
                    format!("{id} sent {sent} times with {allowed} permissions")
                });
                let fits = of.is_some() == (purpose == Purpose::GiveBack);
                judge.check(Promise::P5, fits, || format!("{action} takes {of:?} back"));
            }
            Purpose::Undo => {
                let can = matches!(step.undo, Undo::Record | Undo::Borrowed) && of.is_some();
                judge.check(Promise::P7, can, || format!("{id} cannot be taken back"));
            }
            Purpose::Guard | Purpose::SetGuard => {
                judge.check(Promise::P6, step.undo == Undo::Guard, || format!("{id} is no guard"));
            }
        }
        self.intents.insert(action.clone());
        self.in_flight.insert(step.host.clone(), (action.clone(), id.clone()));
    }

    fn check_needs(&self, id: &StepId, needs: &[Need], judge: &mut Judge) {
        for need in needs {
            match need {
                Need::Step(step) => {
                    judge.check(Promise::P6, self.done.contains(step), || format!("{id} before {step}"));
                }
                Need::Hold(hold) => {
                    let approved = self.approved.contains(hold);
                    judge.check(Promise::P8, approved, || format!("{id} without an approval of {hold}"));
                    // What the hold itself needs was judged when it was reached; it is judged again for small plans.
                    if let Some(hold) = self.holds.get(hold).and_then(|at| self.plan().holds.get(*at))
                        && hold.needs.len() <= 64
                    {
                        self.check_needs(id, &hold.needs, judge);
                    }
                }
            }
        }
    }
}
