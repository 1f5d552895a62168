//! The transition function: who may follow whom.
//!
//! Each handler checks everything before it changes anything, so that a refused event leaves the state as it was.

use super::{Course, Halt, HaltNote, IllegalEvent, Paused, State};
use crate::run::event::{Event, JOURNAL_FORMAT, Record};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, GuestUuid, HoldId, HostName, PlanId, RunId, StepId};
use replank_common::planted::{self, Planted};

impl State {
    /// Takes one record in.
    ///
    /// # Errors
    /// `IllegalEvent` when the record cannot follow those before it; the state is then unchanged.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalEvent> {
        self.check_head(record)?;
        self.dispatch(&record.event, record.at_ms)?;
        self.last_seq = record.seq;
        self.last_ms = record.at_ms;
        Ok(())
    }

    fn check_head(&self, record: &Record) -> Result<(), IllegalEvent> {
        if record.format > JOURNAL_FORMAT {
            return Err(IllegalEvent::Format { found: record.format });
        }
        if record.seq != self.last_seq + 1 {
            return Err(IllegalEvent::Sequence { last: self.last_seq, found: record.seq });
        }
        match (&record.event, &self.run) {
            (Event::Created { .. }, None) => return Ok(()),
            (Event::Created { .. }, Some(_)) => return Err(IllegalEvent::CreatedTwice),
            (_, None) => return Err(IllegalEvent::NotCreated),
            (_, Some(_)) => {}
        }
        let follows = match &record.event {
            Event::Led { epoch } => {
                let later = record.epoch > self.epoch || planted::is(Planted::LeadsAgain);
                *epoch == record.epoch && later
            }
            _ => record.epoch == self.epoch && self.epoch > Epoch(0),
        };
        if follows { Ok(()) } else { Err(IllegalEvent::OldEpoch { last: self.epoch, found: record.epoch }) }
    }

    fn dispatch(&mut self, event: &Event, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        match event {
            Event::Created { run, plan, by } => self.on_created(run, plan, by, at_ms),
            Event::Led { epoch } => {
                self.epoch = *epoch;
                Ok(())
            }
            Event::Baseline { host, boot_id, taken_at_ms: _, guests } => {
                self.on_baseline(host, *boot_id, guests, at_ms)
            }
            Event::GuestAppeared { host, life } => self.on_appeared(host, life, at_ms),
            Event::GuestLeft { host, guest, incarnation, cause, at_ms: left_ms } => {
                self.on_left(host, *guest, *incarnation, cause, *left_ms)
            }
            Event::GuestMoved { host, guest, incarnation, to } => {
                self.on_moved(host, *guest, *incarnation, to, at_ms)
            }
            Event::GuestLost { host, guest, incarnation, known, died_at_ms, during, name: _ } => {
                self.on_lost(host, (*guest, *incarnation), known, *died_at_ms, during, at_ms)
            }
            Event::GuestTwice { guest, name, hosts, during } => self.on_twice(*guest, name, hosts, during),
            Event::HostRebooted { host, boot_id, during } => self.on_rebooted(host, *boot_id, during, at_ms),
            Event::Halted { reason } => self.on_halted(reason, at_ms),
            Event::Began { step } => self.on_began(step, at_ms),
            Event::Sent { step, purpose, action, of } => {
                self.on_sent(step, *purpose, action, of.as_ref(), at_ms)
            }
            Event::Outcome { action, outcome } => self.on_outcome(action, outcome, at_ms),
            Event::GateWaits { step, when, reason } => self.on_gate_waits(step, *when, reason, at_ms),
            Event::GatePassed { step, when } => self.on_gate_passed(step, *when),
            Event::StepDone { step } => self.on_step_done(step, at_ms),
            Event::HoldReached { hold } => self.on_hold_reached(hold, at_ms),
            Event::Approved { hold, by } => self.on_approved(hold, by, at_ms),
            Event::Paused { by } => self.on_paused(by, at_ms),
            Event::Resumed { by, acknowledged } => self.on_resumed(by, acknowledged, at_ms),
            Event::RetryAsked { step, by: _ } => self.on_retry(step),
            Event::AbortAsked { by } => self.on_abort(by, at_ms),
            Event::RollbackAsked { to, by } => self.on_rollback(*to, by, at_ms),
            Event::RollbackRefused { refusals } => self.on_rollback_refused(refusals),
            Event::RollbackBegun {} => self.on_rollback_begun(at_ms),
            Event::Closing { end } => self.on_closing(*end),
            Event::Recounted { host, taken_at_ms: _, guests } => self.on_recounted(host, guests),
            Event::Finished { end } => self.on_finished(*end, at_ms),
        }
    }

    fn on_created(
        &mut self,
        run: &RunId,
        plan: &PlanId,
        by: &str,
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        if plan != self.index.id() {
            let expected = self.index.id().clone();
            return Err(IllegalEvent::OtherPlan { expected, found: plan.clone() });
        }
        self.run = Some(run.clone());
        by.clone_into(&mut self.by);
        self.created_ms = at_ms;
        Ok(())
    }

    fn on_halted(&mut self, reason: &crate::gate::HaltReason, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        let Some(loss) = self.open.iter_mut().find(|loss| !loss.halted && loss.reason == *reason) else {
            return Err(IllegalEvent::Order { event: "a halt", why: "no loss is recorded for it" });
        };
        loss.halted = true;
        self.unhalted -= 1;
        self.halts.push(HaltNote {
            reason: reason.clone(),
            halted_ms: at_ms,
            during: loss.during.clone(),
            decided: None,
        });
        self.halt.get_or_insert_with(|| Halt { reason: reason.clone(), since_ms: at_ms });
        Ok(())
    }

    fn on_hold_reached(&mut self, id: &HoldId, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        let hold = self.known_hold(id)?;
        self.only_forward("a hold is reached")?;
        if self.holds[hold].reached_ms.is_some() {
            return Err(IllegalEvent::Hold { hold: id.clone(), why: "it is reached already" });
        }
        if !self.index.hold_needs[hold].iter().all(|need| self.is_met(*need)) {
            return Err(IllegalEvent::Hold { hold: id.clone(), why: "what it needs is not met" });
        }
        self.holds[hold].reached_ms = Some(at_ms);
        Ok(())
    }

    fn on_approved(&mut self, id: &HoldId, by: &str, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        let hold = self.known_hold(id)?;
        self.only_forward("an approval")?;
        if self.stopped() {
            return Err(IllegalEvent::NotAllowed { why: "halted" });
        }
        if self.holds[hold].reached_ms.is_none() {
            return Err(IllegalEvent::Hold { hold: id.clone(), why: "it is not reached" });
        }
        if self.holds[hold].approved.is_some() {
            return Err(IllegalEvent::Hold { hold: id.clone(), why: "it is approved already" });
        }
        self.holds[hold].approved = Some((by.to_owned(), at_ms));
        for other in &self.index.hold_wakes[hold].holds {
            self.hold_unmet[*other] -= 1;
        }
        Ok(())
    }

    fn on_paused(&mut self, by: &str, at_ms: UnixMs) -> Result<(), IllegalEvent> {
        self.not_finished("a pause")?;
        if self.paused.is_some() {
            return Err(IllegalEvent::Order { event: "a pause", why: "the run is paused" });
        }
        self.paused = Some(Paused { by: by.to_owned(), since_ms: at_ms });
        Ok(())
    }

    fn on_resumed(
        &mut self,
        by: &str,
        acknowledged: &[GuestUuid],
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        self.not_finished("a resumption")?;
        if !self.stopped() && self.paused.is_none() {
            return Err(IllegalEvent::Order { event: "a resumption", why: "nothing is stopped" });
        }
        if self.unacknowledged(acknowledged).next().is_some() {
            let why = "a loss is not acknowledged";
            return Err(IllegalEvent::Order { event: "a resumption", why });
        }
        self.decide_halt(by, "resume", at_ms);
        self.paused = None;
        Ok(())
    }

    /// Guests lost or seen twice that `acknowledged` does not name.
    pub(crate) fn unacknowledged<'a>(
        &'a self,
        acknowledged: &'a [GuestUuid],
    ) -> impl Iterator<Item = &'a (GuestUuid, String)> {
        self.open.iter().flat_map(|loss| &loss.guests).filter(|(guest, _)| !acknowledged.contains(guest))
    }

    /// An operator has decided what follows the losses so far.
    pub(super) fn decide_halt(&mut self, by: &str, what: &'static str, at_ms: UnixMs) {
        self.halt = None;
        self.open.clear();
        self.unhalted = 0;
        for note in self.halts.iter_mut().filter(|note| note.decided.is_none()) {
            note.decided = Some((by.to_owned(), what, at_ms));
        }
    }

    pub(super) fn only_forward(&self, event: &'static str) -> Result<(), IllegalEvent> {
        match &self.course {
            Course::Forward => Ok(()),
            Course::Guarding { .. } | Course::RollingBack { .. } => {
                Err(IllegalEvent::Order { event, why: "the run is going back" })
            }
            Course::Closing { .. } => Err(IllegalEvent::Order { event, why: "the run is closing" }),
            Course::Finished { .. } => Err(IllegalEvent::Order { event, why: "the run is finished" }),
        }
    }

    pub(super) fn not_finished(&self, event: &'static str) -> Result<(), IllegalEvent> {
        match &self.course {
            Course::Finished { .. } => Err(IllegalEvent::Order { event, why: "the run is finished" }),
            Course::Forward
            | Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Closing { .. } => Ok(()),
        }
    }

    pub(super) fn known_step(&self, id: &StepId) -> Result<usize, IllegalEvent> {
        self.index.step(id).ok_or_else(|| IllegalEvent::Unknown { what: "step", id: id.to_string() })
    }

    pub(super) fn known_host(&self, name: &HostName) -> Result<usize, IllegalEvent> {
        self.index.host(name).ok_or_else(|| IllegalEvent::Unknown { what: "host", id: name.to_string() })
    }

    fn known_hold(&self, id: &HoldId) -> Result<usize, IllegalEvent> {
        self.index.hold(id).ok_or_else(|| IllegalEvent::Unknown { what: "hold", id: id.to_string() })
    }
}
