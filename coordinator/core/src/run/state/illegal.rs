//! Why an event cannot follow the records before it.

use crate::run::event::JOURNAL_FORMAT;
use replank_common::ids::{ActionId, Epoch, HoldId, HostName, PlanId, StepId};

/// An event that the state refuses. When met while reading a journal back, the journal is not of this plan, or damaged, or of
/// a newer program; the run must not be driven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    #[error("the record has format {found}; this coordinator reads up to {JOURNAL_FORMAT}")]
    Format { found: u32 },
    #[error("record {found} follows record {last}")]
    Sequence { last: u64, found: u64 },
    #[error("a record of epoch {found} follows one of epoch {last}")]
    OldEpoch { last: Epoch, found: Epoch },
    #[error("the journal does not begin with the creation of its run")]
    NotCreated,
    #[error("the run is created twice")]
    CreatedTwice,
    #[error("the journal is of plan {found}, not of {expected}")]
    OtherPlan { expected: PlanId, found: PlanId },
    #[error("{what} `{id}` is not in the plan")]
    Unknown { what: &'static str, id: String },
    #[error("a command would leave while the run is {why}")]
    NotAllowed { why: &'static str },
    #[error("step `{step}` is {phase}: {event} cannot follow")]
    Step { step: StepId, phase: &'static str, event: &'static str },
    #[error("step `{step}` needs what is not met yet")]
    NeedNotMet { step: StepId },
    #[error("step `{step}` is not the next one of its host")]
    NotNext { step: StepId },
    #[error("step `{step}` waits at a gate")]
    RedGate { step: StepId },
    #[error("{host} has no baseline of its guests")]
    NoBaseline { host: HostName },
    #[error("{host} already has a command in flight")]
    Busy { host: HostName },
    #[error("action `{found}` is not the one that follows; that would be `{expected}`")]
    WrongAction { expected: String, found: ActionId },
    #[error("no command `{action}` is in flight")]
    NotInFlight { action: ActionId },
    #[error("the run does not answer for this guest on {host}")]
    NotWatched { host: HostName },
    #[error("hold `{hold}`: {why}")]
    Hold { hold: HoldId, why: &'static str },
    #[error("{event} cannot follow here: {why}")]
    Order { event: &'static str, why: &'static str },
}
