//! Transitions of the way back: abort, guards, rollback, closing.

use super::{Before, Course, IllegalEvent, State, StepPhase};
use crate::plan::{Stage, Undo};
use crate::run::event::{End, Purpose, WayBackClosed};
use replank_common::UnixMs;
use replank_common::outcome::{Outcome, Refusal};
use replank_common::planted::{self, Planted};
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// Whether the step borrowed something that has not been given back.
    pub(crate) fn is_borrowed(&self, step: usize) -> bool {
        *self.undo_of(step) == Undo::Borrowed && !self.steps[step].leftovers.is_empty()
    }

    /// The next borrowed step of the host to give back, the last one first.
    pub(crate) fn borrowed_next(&self, host: usize) -> Option<usize> {
        let forgets = planted::is(Planted::BorrowedForgotten);
        self.index.steps_back(host).find(|step| self.is_borrowed(*step)).filter(|_| !forgets)
    }

    /// The next step of the host to take back down to `to`, the last one first.
    pub(crate) fn undo_next(&self, host: usize, to: Option<Stage>) -> Option<usize> {
        self.index.steps_back(host).find(|step| self.step_goes_back(*step, to))
    }

    /// Whether a rollback to `to` has this step to take back.
    pub(crate) fn step_goes_back(&self, step: usize, to: Option<Stage>) -> bool {
        let takes = match self.undo_of(step) {
            Undo::Record | Undo::Borrowed => true,
            Undo::Guard | Undo::Nothing | Undo::NoWayBack { .. } => false,
        };
        takes && self.goes(step, to) && !self.steps[step].leftovers.is_empty()
    }

    /// The next guard of the host to ask: every guard that was set, whatever its stage, where something is to be taken back.
    ///
    /// A host that was stopped between its switch and its guard has none set, and is in the very danger that the guard is there for. So
    /// where a step of the switch is to be taken back, a guard that was not come to is set first.
    pub(crate) fn guard_next(&self, host: usize, to: Option<Stage>) -> Option<(usize, Purpose)> {
        self.undo_next(host, to)?;
        let mut steps = self.index.steps_back(host);
        let switched = steps
            .any(|step| self.index.step_at(step).stage == Stage::Switch && self.step_goes_back(step, to));
        self.index.steps_back(host).find_map(|step| {
            let state = &self.steps[step];
            if *self.undo_of(step) != Undo::Guard || state.guard_agreed {
                return None;
            }
            match (state.leftovers.is_empty(), switched) {
                (false, _) => Some((step, Purpose::Guard)),
                (true, true) => Some((step, Purpose::SetGuard)),
                (true, false) => None,
            }
        })
    }

    /// Steps that a rollback to `to` would have to take back and cannot.
    pub(crate) fn no_way_back(&self, to: Option<Stage>) -> Vec<WayBackClosed> {
        let mut closed = Vec::new();
        for (step, plan) in self.index.plan.steps.iter().enumerate() {
            let Undo::NoWayBack { reason, alternative } = &plan.undo else { continue };
            if !self.goes(step, to) || self.steps[step].leftovers.is_empty() {
                continue;
            }
            closed.push(WayBackClosed {
                step: plan.id.clone(),
                host: plan.host.clone(),
                refusal: Refusal {
                    code: crate::codes::ROLLBACK_NO_WAY_BACK.to_owned(),
                    reason: reason.clone(),
                    remedy: alternative.clone(),
                    findings: Vec::new(),
                },
            });
        }
        closed
    }

    /// Whether a rollback to `to` would change anything, now or once what is in flight has ended.
    pub(crate) fn has_way_to_go_back(&self, to: Option<Stage>) -> bool {
        !self.flying.is_empty()
            || !self.no_way_back(to).is_empty()
            || (0..self.hosts.len()).any(|host| self.undo_next(host, to).is_some())
    }

    fn goes(&self, step: usize, to: Option<Stage>) -> bool {
        to.is_none_or(|last_kept| self.index.step_at(step).stage > last_kept)
    }

    /// The host that may be taken back in its lane, given that every later wave is back.
    pub(crate) fn may_go_back_now(&self, host: usize) -> bool {
        let Some((last_wave, _)) = self.lanes_back.last_key_value().map(|(key, _)| *key) else {
            return false;
        };
        let plan = &self.index.plan.hosts[host];
        plan.wave == last_wave
            && self.lanes_back.get(&(plan.wave, plan.lane)).and_then(|lane| lane.last()) == Some(&host)
    }

    pub(super) fn may_take_back(&self, step: usize, purpose: Purpose) -> Result<(), IllegalEvent> {
        let host = self.index.host_of[step];
        let next = match (&self.course, purpose) {
            (Course::Guarding { to, refusals, .. }, Purpose::Guard | Purpose::SetGuard)
                if refusals.is_empty() =>
            {
                self.guard_next(host, *to).filter(|(_, wanted)| *wanted == purpose).map(|(step, _)| step)
            }
            (Course::RollingBack { to }, Purpose::Undo) if self.may_go_back_now(host) => {
                self.undo_next(host, *to)
            }
            (Course::Closing { .. }, Purpose::Undo) => self.borrowed_next(host),
            _ => {
                return Err(IllegalEvent::Order {
                    event: "taking a step back",
                    why: "the run is not at that point",
                });
            }
        };
        if next != Some(step) || self.steps[step].phase == StepPhase::UndoHeld {
            return Err(self.wrong_phase(step, "taking it back"));
        }
        Ok(())
    }

    pub(super) fn taken_back(&mut self, step: usize, outcome: &Outcome, at_ms: UnixMs) {
        let Outcome::Done { changes, .. } = outcome else {
            self.hold_step(step, StepPhase::UndoHeld, outcome, at_ms);
            return;
        };
        let state = &mut self.steps[step];
        state.leftovers.pop();
        state.undo_changes.extend_from_slice(changes);
        if state.leftovers.is_empty() {
            state.phase = StepPhase::Undone;
            state.undone_ms = Some(at_ms);
            state.held = None;
            self.active.remove(&step);
            self.held.remove(&step);
        }
    }

    /// A guard's answer; `set`: the attempt that set it, when that is what was answered.
    pub(super) fn guarded(&mut self, step: usize, set: Option<u32>, outcome: &Outcome) {
        self.active.remove(&step);
        let refusal = match outcome {
            Outcome::Done { .. } => {
                match set {
                    Some(attempt) => self.steps[step].leftovers.push(attempt),
                    None => self.steps[step].guard_agreed = true,
                }
                return;
            }
            Outcome::Refused(refusal) => refusal.clone(),
            Outcome::Failed { code, error, remedy, .. } => Refusal {
                code: code.clone(),
                reason: error.clone(),
                remedy: remedy.clone(),
                findings: Vec::new(),
            },
        };
        let plan = self.index.step_at(step);
        let closed = WayBackClosed { step: plan.id.clone(), host: plan.host.clone(), refusal };
        if let Course::Guarding { refusals, .. } = &mut self.course {
            refusals.push(closed);
            if refusals.len() == 1 {
                // Nobody is asked any more; what is in flight ends.
                self.guarding.retain(|host| self.hosts[*host].flight.is_some());
            }
        }
    }

    /// What an answer means for the sets that the course is waiting on.
    pub(super) fn after_outcome(&mut self, host: usize) {
        match &self.course {
            Course::Guarding { to, refusals, .. } => {
                let (to, refused) = (*to, !refusals.is_empty());
                if refused || self.guard_next(host, to).is_none() {
                    self.guarding.remove(&host);
                }
            }
            Course::RollingBack { to } => {
                if self.undo_next(host, *to).is_none() {
                    let plan = &self.index.plan.hosts[host];
                    let key = (plan.wave, plan.lane);
                    if let Some(lane) = self.lanes_back.get_mut(&key) {
                        if lane.last() == Some(&host) {
                            lane.pop();
                        } else {
                            lane.retain(|other| *other != host);
                        }
                        if lane.is_empty() {
                            self.lanes_back.remove(&key);
                        }
                    }
                }
            }
            Course::Closing { .. } => {
                if self.borrowed_next(host).is_none() {
                    self.unclosed.remove(&host);
                }
            }
            Course::Forward | Course::Finished { .. } => {}
        }
    }

    pub(super) fn on_abort(&mut self, by: &str, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        self.not_finished("an abort")?;
        if let Course::Closing { .. } = self.course {
            return Err(IllegalEvent::Order { event: "an abort", why: "the run is closing" });
        }
        self.decide_halt(by, "abort", at_ms);
        self.close(End::Aborted);
        Ok(())
    }

    pub(super) fn on_rollback(
        &mut self,
        to: Option<Stage>,
        by: &str,
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        if matches!(self.course, Course::Guarding { .. } | Course::RollingBack { .. }) {
            return Err(IllegalEvent::Order { event: "a rollback", why: "one is under way" });
        }
        if let Course::Finished { .. } = self.course {
            // Nobody watched since the end; what is there now is what the way back answers for.
            for state in &mut self.hosts {
                state.baseline_due = true;
            }
            self.unbased = (0..self.hosts.len()).collect();
        }
        let before = Before {
            course: self.course.clone(),
            halt: self.halt.clone(),
            open: self.open.clone(),
            paused: self.paused.clone(),
        };
        self.decide_halt(by, "rollback", at_ms);
        self.turn(Course::Guarding { to, before: Box::new(before), refusals: Vec::new() });
        for state in &mut self.steps {
            state.guard_agreed = false;
        }
        self.guarding = (0..self.hosts.len())
            .filter(|host| self.hosts[*host].flight.is_some() || self.guard_next(*host, to).is_some())
            .collect();
        Ok(())
    }

    pub(super) fn on_rollback_refused(&mut self, closed: &[WayBackClosed]) -> Result<(), IllegalEvent> {
        let Course::Guarding { to, before, refusals } = &self.course else {
            return Err(IllegalEvent::Order { event: "a refusal to roll back", why: "none was asked for" });
        };
        if !self.guarding.is_empty() {
            let why = "guards are still being asked";
            return Err(IllegalEvent::Order { event: "a refusal to roll back", why });
        }
        if closed.is_empty() {
            return Err(IllegalEvent::Order { event: "a refusal to roll back", why: "it has no reason" });
        }
        let in_all = refusals.len() + self.no_way_back(*to).len();
        let before = before.as_ref().clone();
        self.turn(before.course);
        if let Course::Closing { .. } = self.course {
            self.unclosed = self.find_unclosed();
        }
        self.paused = before.paused;
        for note in &mut self.halts {
            if before.open.iter().any(|loss| loss.reason == note.reason) {
                note.decided = None;
            }
        }
        // What was lost meanwhile stands beside what was open before.
        self.halt = before.halt.or(self.halt.take());
        self.unhalted += before.open.iter().filter(|loss| !loss.halted).count();
        self.open.splice(0..0, before.open);
        self.way_back_closed = closed.to_vec();
        self.way_back_closed_more = in_all.saturating_sub(closed.len());
        Ok(())
    }

    pub(super) fn on_rollback_begun(&mut self, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        let Course::Guarding { to, refusals, .. } = &self.course else {
            return Err(IllegalEvent::Order { event: "going back", why: "nobody asked for it" });
        };
        let to = *to;
        if !refusals.is_empty() || !self.guarding.is_empty() || !self.no_way_back(to).is_empty() {
            return Err(IllegalEvent::Order { event: "going back", why: "not every guard has agreed" });
        }
        if self.stopped() {
            return Err(IllegalEvent::NotAllowed { why: "halted" });
        }
        let mut lanes: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
        for (host, plan) in self.index.plan.hosts.iter().enumerate() {
            if self.undo_next(host, to).is_some() {
                lanes.entry((plan.wave, plan.lane)).or_default().push(host);
            }
        }
        self.lanes_back = lanes;
        for step in 0..self.steps.len() {
            if *self.undo_of(step) == Undo::Guard && self.steps[step].guard_agreed && self.goes(step, to) {
                self.steps[step].phase = StepPhase::Undone;
                self.steps[step].undone_ms = Some(at_ms);
                self.steps[step].leftovers.clear();
            }
        }
        self.turn(Course::RollingBack { to });
        Ok(())
    }

    pub(super) fn on_closing(&mut self, end: End) -> Result<(), IllegalEvent> {
        let done = match (&self.course, end) {
            (Course::Forward, End::Completed) => self.done == self.steps.len(),
            (Course::RollingBack { to }, End::RolledBack { to: down_to }) => {
                *to == down_to && self.lanes_back.is_empty()
            }
            _ => false,
        };
        if !done {
            return Err(IllegalEvent::Order { event: "closing", why: "something is left to do" });
        }
        self.close(end);
        Ok(())
    }

    pub(super) fn on_finished(&mut self, end: End, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        if self.course != (Course::Closing { end }) {
            return Err(IllegalEvent::Order { event: "an end", why: "the run is not closing to it" });
        }
        if self.stopped() {
            return Err(IllegalEvent::NotAllowed { why: "halted" });
        }
        if !self.unclosed.is_empty() {
            return Err(IllegalEvent::Order { event: "an end", why: "something borrowed is not given back" });
        }
        // A host that is gone must not keep an operator from leaving; the report says that it was not counted.
        if end != End::Aborted && !self.uncounted.is_empty() {
            return Err(IllegalEvent::Order { event: "an end", why: "not every host's guests are counted" });
        }
        self.turn(Course::Finished { end, at_ms });
        Ok(())
    }

    fn close(&mut self, end: End) {
        self.turn(Course::Closing { end });
        self.unclosed = self.find_unclosed();
        self.uncounted = (0..self.hosts.len()).collect();
        for host in &mut self.hosts {
            host.recounted = false;
        }
    }

    fn find_unclosed(&self) -> BTreeSet<usize> {
        (0..self.hosts.len())
            .filter(|host| self.hosts[*host].flight.is_some() || self.borrowed_next(*host).is_some())
            .collect()
    }

    /// A new course: what waited at a gate asks anew, and only what is in flight counts as in flight.
    fn turn(&mut self, course: Course) {
        self.course = course;
        self.paused = None;
        self.guarding.clear();
        for step in &mut self.steps {
            step.wait = None;
        }
        let forward = self.course == Course::Forward;
        self.active = (0..self.steps.len())
            .filter(|step| {
                let verifying = forward && self.steps[*step].phase == StepPhase::Verifying;
                let host = &self.hosts[self.index.host_of[*step]];
                verifying || host.flight.as_ref().is_some_and(|flight| flight.step == *step)
            })
            .collect();
    }
}
