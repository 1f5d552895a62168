//! What an operator may ask for, and when the answer is no.

use super::Machine;
use crate::codes;
use crate::plan::Stage;
use crate::run::event::{End, Event};
use crate::run::state::{Course, StepPhase};
use replank_common::ids::{GuestUuid, HoldId, StepId};
use std::collections::BTreeSet;

/// An operator's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operate {
    Approve {
        hold: HoldId,
    },
    Pause,
    /// Ends a pause. Ends a halt when `acknowledged` names every guest that was lost or runs twice.
    Resume {
        acknowledged: Vec<GuestUuid>,
    },
    /// Tries a held step again.
    Retry {
        step: StepId,
    },
    Abort,
    /// `to`: the last stage that stays done; `None`: take everything back.
    Rollback {
        to: Option<Stage>,
    },
}

/// Why a wish is not granted, and what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorRefusal {
    #[error("the run is not led by this coordinator; ask the one that leads")]
    NotLeading,
    #[error("the run is finished; only a rollback can follow")]
    Finished,
    #[error("the plan has no hold `{hold}`; `replank status` lists the holds")]
    UnknownHold { hold: HoldId },
    #[error("hold `{hold}` is not reached: {waits}; it can be approved once it is")]
    HoldNotReached { hold: HoldId, waits: String },
    #[error("hold `{hold}` was approved already, by {by}")]
    HoldApproved { hold: HoldId, by: String },
    #[error("the plan has no step `{step}`; `replank status` lists the steps")]
    UnknownStep { step: StepId },
    #[error("step `{step}` is not held; only a step that was refused or failed can be tried again")]
    NotHeld { step: StepId },
    #[error("the run is halted: {reason}; decide with resume, abort or rollback first")]
    Halted { reason: String },
    #[error(
        "guest {names} must be acknowledged by name before the run goes on; abort or rollback need no acknowledgement"
    )]
    NotAcknowledged { names: String },
    #[error("the run is neither paused nor halted; there is nothing to resume")]
    NothingToResume,
    #[error("the run is paused already, by {by}")]
    AlreadyPaused { by: String },
    #[error("the run is {course}; {wish} is only possible on the way forward")]
    NotForward { course: &'static str, wish: &'static str },
    #[error("the run is closing already; it ends by itself once everything borrowed is given back")]
    Closing,
    #[error("a rollback is under way already")]
    RollbackUnderWay,
    #[error("nothing that the run did is left to take back")]
    NothingToTakeBack,
    #[error("step `{step}` cannot be taken back: {reason}; {alternative}")]
    NoWayBack { step: StepId, reason: String, alternative: String },
}

impl OperatorRefusal {
    /// The documented code; its page is `docs/errors/<code>.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLeading => codes::RUN_NOT_LED,
            Self::Finished => codes::RUN_FINISHED,
            Self::UnknownHold { .. } | Self::UnknownStep { .. } => codes::RUN_UNKNOWN_NAME,
            Self::HoldNotReached { .. } => codes::HOLD_NOT_REACHED,
            Self::HoldApproved { .. } => codes::HOLD_APPROVED_ALREADY,
            Self::NotHeld { .. } => codes::STEP_NOT_HELD,
            Self::Halted { .. } => codes::RUN_HALTED,
            Self::NotAcknowledged { .. } => codes::LOSS_NOT_ACKNOWLEDGED,
            Self::NothingToResume => codes::NOTHING_TO_RESUME,
            Self::AlreadyPaused { .. } => codes::RUN_PAUSED_ALREADY,
            Self::NotForward { .. } => codes::RUN_NOT_FORWARD,
            Self::Closing => codes::RUN_CLOSING,
            Self::RollbackUnderWay => codes::ROLLBACK_UNDER_WAY,
            Self::NothingToTakeBack => codes::NOTHING_TO_TAKE_BACK,
            Self::NoWayBack { .. } => codes::ROLLBACK_NO_WAY_BACK,
        }
    }
}

impl Machine {
    pub(super) fn accept(&mut self, by: &str, command: Operate) -> Result<(), OperatorRefusal> {
        if !self.leads {
            return Err(OperatorRefusal::NotLeading);
        }
        let by = by.to_owned();
        let event = match command {
            Operate::Approve { hold } => self.approve(by, hold)?,
            Operate::Pause => self.pause(by)?,
            Operate::Resume { acknowledged } => self.resume(by, acknowledged)?,
            Operate::Retry { step } => self.retry(by, step)?,
            Operate::Abort => self.abort(by)?,
            Operate::Rollback { to } => self.rollback(by, to)?,
        };
        self.record(event);
        Ok(())
    }

    fn approve(&self, by: String, hold: HoldId) -> Result<Event, OperatorRefusal> {
        let Some(at) = self.state.index.hold(&hold) else {
            return Err(OperatorRefusal::UnknownHold { hold });
        };
        self.going_forward("an approval")?;
        self.not_halted()?;
        let state = &self.state.holds[at];
        if let Some((by, _)) = &state.approved {
            return Err(OperatorRefusal::HoldApproved { hold, by: by.clone() });
        }
        if state.reached_ms.is_none() {
            let needs = &self.state.index.hold_needs[at];
            let waiting = needs.iter().filter(|need| !self.state.is_met(**need)).count();
            let waits = format!("{waiting} of {} things before it are not done", needs.len());
            return Err(OperatorRefusal::HoldNotReached { hold, waits });
        }
        Ok(Event::Approved { hold, by })
    }

    fn pause(&self, by: String) -> Result<Event, OperatorRefusal> {
        self.not_finished()?;
        match &self.state.paused {
            Some(paused) => Err(OperatorRefusal::AlreadyPaused { by: paused.by.clone() }),
            None => Ok(Event::Paused { by }),
        }
    }

    fn resume(&self, by: String, mut acknowledged: Vec<GuestUuid>) -> Result<Event, OperatorRefusal> {
        self.not_finished()?;
        if !self.state.stopped() && self.state.paused.is_none() {
            return Err(OperatorRefusal::NothingToResume);
        }
        let mut missing: Vec<String> = self
            .state
            .unacknowledged(&acknowledged)
            .map(|(guest, name)| format!("{name} ({guest})"))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            return Err(OperatorRefusal::NotAcknowledged { names: missing.join(", ") });
        }
        // Only these are answered for: the journal names no guest more often than it was lost.
        let open: BTreeSet<GuestUuid> = self.state.unacknowledged(&[]).map(|(guest, _)| *guest).collect();
        acknowledged.retain(|guest| open.contains(guest));
        acknowledged.sort_unstable();
        acknowledged.dedup();
        Ok(Event::Resumed { by, acknowledged })
    }

    fn retry(&self, by: String, step: StepId) -> Result<Event, OperatorRefusal> {
        let Some(at) = self.state.index.step(&step) else {
            return Err(OperatorRefusal::UnknownStep { step });
        };
        self.not_finished()?;
        self.not_halted()?;
        if self.state.can_retry(at) {
            return Ok(Event::RetryAsked { step, by });
        }
        match self.state.steps[at].phase {
            StepPhase::Held => {
                Err(OperatorRefusal::NotForward { course: self.course_word(), wish: "a retry of this step" })
            }
            StepPhase::Pending
            | StepPhase::Acting
            | StepPhase::Verifying
            | StepPhase::Done
            | StepPhase::Undoing
            | StepPhase::UndoHeld
            | StepPhase::Undone => Err(OperatorRefusal::NotHeld { step }),
        }
    }

    fn abort(&self, by: String) -> Result<Event, OperatorRefusal> {
        self.not_finished()?;
        match &self.state.course {
            Course::Closing { .. } => Err(OperatorRefusal::Closing),
            Course::Forward
            | Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Finished { .. } => Ok(Event::AbortAsked { by }),
        }
    }

    fn rollback(&self, by: String, to: Option<Stage>) -> Result<Event, OperatorRefusal> {
        if matches!(self.state.course, Course::Guarding { .. } | Course::RollingBack { .. }) {
            return Err(OperatorRefusal::RollbackUnderWay);
        }
        if let Some(closed) = self.state.no_way_back(to).into_iter().next() {
            return Err(OperatorRefusal::NoWayBack {
                step: closed.step,
                reason: closed.refusal.reason,
                alternative: closed.refusal.remedy,
            });
        }
        // A halted or held run may be ended by a rollback even before it has changed anything.
        let ended = self.state.finished().is_some();
        if ended && !self.state.has_way_to_go_back(to) {
            return Err(OperatorRefusal::NothingToTakeBack);
        }
        Ok(Event::RollbackAsked { to, by })
    }

    fn not_finished(&self) -> Result<(), OperatorRefusal> {
        match self.state.finished() {
            Some(_) => Err(OperatorRefusal::Finished),
            None => Ok(()),
        }
    }

    fn not_halted(&self) -> Result<(), OperatorRefusal> {
        match self.state.open.first() {
            Some(loss) => Err(OperatorRefusal::Halted { reason: loss.reason.to_string() }),
            None => Ok(()),
        }
    }

    fn going_forward(&self, wish: &'static str) -> Result<(), OperatorRefusal> {
        self.not_finished()?;
        match self.state.course {
            Course::Forward => Ok(()),
            Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Closing { .. }
            | Course::Finished { .. } => {
                Err(OperatorRefusal::NotForward { course: self.course_word(), wish })
            }
        }
    }

    fn course_word(&self) -> &'static str {
        match self.state.course {
            Course::Forward => "going forward",
            Course::Guarding { .. } => "asking whether the way back is safe",
            Course::RollingBack { .. } => "going back",
            Course::Closing { end: End::Aborted } => "being aborted",
            Course::Closing { .. } => "closing",
            Course::Finished { .. } => "finished",
        }
    }
}
