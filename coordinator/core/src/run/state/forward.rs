//! Transitions of steps: commands, answers, gates.

use super::{Course, Flight, GateWait, Held, IllegalEvent, State, StepPhase};
use crate::gate::WaitReason;
use crate::plan::Undo;
use crate::run::event::{Purpose, When};
use crate::run::index::is_change;
use replank_common::UnixMs;
use replank_common::ids::{ActionId, Direction, StepId};
use replank_common::outcome::Outcome;

impl State {
    /// Whether the run may begin `step` on its way forward, as far as the journal can tell: P6, P7, P8 and the order of
    /// steps, checked apart from the decisions in `machine`.
    pub(crate) fn may_begin(&self, step: usize) -> Result<(), IllegalEvent> {
        let host = self.index.host_of[step];
        let (plan, state) = (self.index.step_at(step), &self.hosts[host]);
        let id = || plan.id.clone();
        self.only_forward("a step's beginning")?;
        self.may_command(host)?;
        if self.steps[step].phase != StepPhase::Pending {
            return Err(self.wrong_phase(step, "a beginning"));
        }
        if self.current(host) != Some(step) {
            return Err(IllegalEvent::NotNext { step: id() });
        }
        if !self.index.step_needs[step].iter().all(|need| self.is_met(*need)) {
            return Err(IllegalEvent::NeedNotMet { step: id() });
        }
        if is_change(plan.stage) && !state.change_begun {
            if !self.held.is_empty() {
                return Err(IllegalEvent::NotAllowed { why: "waiting for an operator about a held step" });
            }
            if !self.unbased.is_empty() {
                return Err(IllegalEvent::NotAllowed { why: "without the baseline of every host" });
            }
        }
        Ok(())
    }

    /// Whether anything may be commanded on `host` now.
    pub(super) fn may_command(&self, host: usize) -> Result<(), IllegalEvent> {
        let name = || self.index.host_name(host).clone();
        if self.stopped() {
            return Err(IllegalEvent::NotAllowed { why: "halted" });
        }
        if self.paused.is_some() {
            return Err(IllegalEvent::NotAllowed { why: "paused" });
        }
        if self.hosts[host].flight.is_some() {
            return Err(IllegalEvent::Busy { host: name() });
        }
        if self.hosts[host].baseline_due {
            return Err(IllegalEvent::NoBaseline { host: name() });
        }
        Ok(())
    }

    fn no_wait(&self, step: usize, when: When) -> Result<(), IllegalEvent> {
        match &self.steps[step].wait {
            Some(wait) if wait.when == when => {
                Err(IllegalEvent::RedGate { step: self.index.step_at(step).id.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn wrong_phase(&self, step: usize, event: &'static str) -> IllegalEvent {
        let phase = match self.steps[step].phase {
            StepPhase::Pending => "not begun",
            StepPhase::Acting => "in flight",
            StepPhase::Verifying => "at its gates after",
            StepPhase::Done => "done",
            StepPhase::Held => "held",
            StepPhase::Undoing => "being taken back",
            StepPhase::UndoHeld => "held on the way back",
            StepPhase::Undone => "taken back",
        };
        IllegalEvent::Step { step: self.index.step_at(step).id.clone(), phase, event }
    }

    pub(super) fn on_began(&mut self, id: &StepId, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        let step = self.known_step(id)?;
        self.may_begin(step)?;
        self.no_wait(step, When::Before)?;
        let acts = match self.index.gives_back[step] {
            Some(subject) => !self.steps[subject].leftovers.is_empty(),
            None => *self.index.step_at(step).work != crate::plan::Work::Observe,
        };
        if acts {
            return Err(self.wrong_phase(step, "a beginning without its command"));
        }
        self.begin(step, StepPhase::Verifying, at_ms);
        Ok(())
    }

    pub(super) fn on_sent(
        &mut self,
        id: &StepId,
        purpose: Purpose,
        action: &ActionId,
        of: Option<&ActionId>,
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let step = self.known_step(id)?;
        let host = self.index.host_of[step];
        let subject = match purpose {
            Purpose::Do => {
                self.may_begin(step)?;
                self.no_wait(step, When::Before)?;
                if !matches!(*self.index.step_at(step).work, crate::plan::Work::Act(_)) {
                    return Err(self.wrong_phase(step, "a command"));
                }
                step
            }
            Purpose::GiveBack => {
                self.may_begin(step)?;
                self.no_wait(step, When::Before)?;
                self.index.gives_back[step].ok_or_else(|| self.wrong_phase(step, "a giving back"))?
            }
            Purpose::Undo | Purpose::Guard | Purpose::SetGuard => {
                self.may_command(host)?;
                self.may_take_back(step, purpose)?;
                self.no_wait(step, When::Undo)?;
                step
            }
        };
        let (direction, taken) = match purpose {
            Purpose::Do | Purpose::SetGuard => (Direction::Do, None),
            Purpose::GiveBack | Purpose::Undo | Purpose::Guard => (Direction::Undo, self.leftover(subject)),
        };
        let next = self.next_action(subject, direction);
        if next.as_ref() != Some(action) || taken.as_ref() != of {
            let expected = next.map(|next| next.to_string()).unwrap_or_default();
            return Err(IllegalEvent::WrongAction { expected, found: action.clone() });
        }
        match direction {
            Direction::Do => self.steps[subject].attempts += 1,
            Direction::Undo => self.steps[subject].undo_attempts += 1,
        }
        match purpose {
            Purpose::Do | Purpose::GiveBack => self.begin(step, StepPhase::Acting, at_ms),
            Purpose::Undo => {
                self.steps[step].phase = StepPhase::Undoing;
                self.steps[step].undo_begun_ms.get_or_insert(at_ms);
                self.active.insert(step);
            }
            Purpose::Guard | Purpose::SetGuard => {
                self.active.insert(step);
            }
        }
        let (action, of) = (action.clone(), of.cloned());
        self.hosts[host].flight = Some(Flight { action, of, purpose, sent_ms: at_ms, step, subject });
        self.flying.insert(host);
        Ok(())
    }

    fn begin(&mut self, step: usize, phase: StepPhase, at_ms: UnixMs) {
        let host = self.index.host_of[step];
        self.hosts[host].change_begun |= is_change(self.index.step_at(step).stage);
        self.steps[step].phase = phase;
        self.steps[step].wait = None;
        self.steps[step].begun_ms.get_or_insert(at_ms);
        self.active.insert(step);
    }

    pub(super) fn on_outcome(
        &mut self,
        action: &ActionId,
        outcome: &Outcome,
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let not_flying = || IllegalEvent::NotInFlight { action: action.clone() };
        let subject = self.known_step(&action.step)?;
        let host = self.index.host_of[subject];
        let flight =
            self.hosts[host].flight.take_if(|flight| flight.action == *action).ok_or_else(not_flying)?;
        self.flying.remove(&host);
        self.steps[flight.step].wait = None;
        match flight.purpose {
            Purpose::Do => self.done_to(flight.step, action.attempt, outcome, at_ms),
            Purpose::GiveBack => self.given_back(&flight, outcome, at_ms),
            Purpose::Undo => self.taken_back(flight.step, outcome, at_ms),
            Purpose::SetGuard => self.guarded(flight.step, Some(action.attempt), outcome),
            Purpose::Guard => self.guarded(flight.step, None, outcome),
        }
        self.after_outcome(host);
        Ok(())
    }

    /// What carrying a step out came to.
    fn done_to(&mut self, step: usize, attempt: u32, outcome: &Outcome, at_ms: UnixMs) {
        match outcome {
            Outcome::Done { how, changes, findings, took_ms: _ } => {
                let state = &mut self.steps[step];
                state.phase = StepPhase::Verifying;
                state.acted_ms = Some(at_ms);
                state.how = Some(*how);
                state.changes.clone_from(changes);
                state.findings.clone_from(findings);
                state.leftovers.push(attempt);
            }
            Outcome::Refused(_) => {
                // An agent whose ledger cannot be written refuses without an entry, and a command that was sent again may still be
                // carried out after that. Taking back what never began is answered with "nothing to undo"; a guard must not be
                // answered so, and changes nothing.
                if matches!(self.undo_of(step), Undo::Record | Undo::Borrowed) {
                    self.steps[step].leftovers.push(attempt);
                }
                self.hold_step(step, StepPhase::Held, outcome, at_ms);
            }
            Outcome::Failed { restored, .. } => {
                if !restored {
                    self.steps[step].leftovers.push(attempt);
                }
                self.hold_step(step, StepPhase::Held, outcome, at_ms);
            }
        }
    }

    fn given_back(&mut self, flight: &Flight, outcome: &Outcome, at_ms: UnixMs) {
        let Outcome::Done { how, changes, findings, took_ms: _ } = outcome else {
            self.hold_step(flight.step, StepPhase::Held, outcome, at_ms);
            return;
        };
        self.steps[flight.subject].leftovers.pop();
        let whole = self.steps[flight.subject].leftovers.is_empty();
        let state = &mut self.steps[flight.step];
        state.phase = if whole { StepPhase::Verifying } else { StepPhase::Pending };
        state.how = Some(*how);
        state.changes.extend_from_slice(changes);
        state.findings.extend_from_slice(findings);
    }

    pub(super) fn hold_step(&mut self, step: usize, phase: StepPhase, outcome: &Outcome, at_ms: UnixMs) {
        let (code, reason, remedy, unchanged) = match outcome {
            Outcome::Refused(refusal) => (&refusal.code, &refusal.reason, &refusal.remedy, true),
            Outcome::Failed { code, error, remedy, restored, took_ms: _ } => (code, error, remedy, *restored),
            Outcome::Done { .. } => unreachable!("a step that is done is not held"),
        };
        self.steps[step].phase = phase;
        self.steps[step].held = Some(Box::new(Held {
            since_ms: at_ms,
            code: code.clone(),
            reason: reason.clone(),
            remedy: remedy.clone(),
            unchanged,
        }));
        self.active.remove(&step);
        if phase == StepPhase::Held {
            self.held.insert(step);
        }
    }

    pub(super) fn on_gate_waits(
        &mut self,
        id: &StepId,
        when: When,
        reason: &WaitReason,
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let step = self.known_step(id)?;
        self.not_finished("a wait")?;
        let since_ms = match &self.steps[step].wait {
            Some(wait) if wait.when == when => wait.since_ms,
            Some(_) | None => at_ms,
        };
        self.steps[step].wait = Some(Box::new(GateWait { when, reason: reason.clone(), since_ms }));
        Ok(())
    }

    pub(super) fn on_gate_passed(&mut self, id: &StepId, when: When) -> Result<(), IllegalEvent> {
        let step = self.known_step(id)?;
        if self.steps[step].wait.as_ref().is_none_or(|wait| wait.when != when) {
            return Err(IllegalEvent::Order { event: "a gate's passing", why: "it did not wait" });
        }
        self.steps[step].wait = None;
        Ok(())
    }

    pub(super) fn on_step_done(&mut self, id: &StepId, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        let step = self.known_step(id)?;
        self.only_forward("a step's completion")?;
        if self.steps[step].phase != StepPhase::Verifying {
            return Err(self.wrong_phase(step, "its completion"));
        }
        self.no_wait(step, When::After)?;
        self.steps[step].phase = StepPhase::Done;
        self.steps[step].done_ms = Some(at_ms);
        self.active.remove(&step);
        self.done += 1;
        for hold in &self.index.step_wakes[step].holds {
            self.hold_unmet[*hold] -= 1;
        }
        self.hosts[self.index.host_of[step]].cursor += 1;
        Ok(())
    }

    /// A held step is tried again with the next attempt; on the way back, only where something is still to be taken back.
    pub(super) fn on_retry(&mut self, id: &StepId) -> Result<(), IllegalEvent> {
        let step = self.known_step(id)?;
        if !self.can_retry(step) {
            return Err(self.wrong_phase(step, "a retry"));
        }
        let state = &mut self.steps[step];
        state.held = None;
        state.phase = match state.phase {
            StepPhase::Held => StepPhase::Pending,
            _ => StepPhase::Undoing,
        };
        self.held.remove(&step);
        Ok(())
    }

    pub(crate) fn can_retry(&self, step: usize) -> bool {
        match (&self.course, self.steps[step].phase) {
            (Course::Forward, StepPhase::Held) | (Course::RollingBack { .. }, StepPhase::UndoHeld) => true,
            (Course::Closing { .. }, StepPhase::UndoHeld) => self.is_borrowed(step),
            _ => false,
        }
    }
}
