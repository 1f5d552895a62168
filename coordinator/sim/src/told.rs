//! What an operator would hear of a voyage, in order, as data: what went wrong, what the journal says of it, what was not granted.

use crate::fault::Fault;
use replank_common::ids::HostName;
use replank_core::run::{Event, Operate};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Simulated time since the voyage began.
    pub at_ms: u64,
    /// Of a fault: the host that it struck, if it was one.
    pub host: Option<HostName>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Something was made to go wrong.
    Fault(Fault),
    /// A record of the journal that tells of more than progress.
    Record(Box<Event>),
    /// An operator's wish that the run did not grant, and why.
    NotGranted { wish: Operate, why: String },
    /// From here on nothing new goes wrong.
    Quiet,
}

/// Whether a record is worth telling; [`Event::GatePassed`] ends what [`Event::GateWaits`] began.
pub(crate) fn is_worth_telling(event: &Event) -> bool {
    use replank_common::outcome::Outcome;
    match event {
        Event::Outcome { outcome: Outcome::Done { .. }, .. }
        | Event::Created { .. }
        | Event::Baseline { .. }
        | Event::Began { .. }
        | Event::Sent { .. }
        | Event::StepDone { .. }
        | Event::Recounted { .. } => false,
        // The first coordinator is no news.
        Event::Led { epoch } => epoch.0 > 1,
        Event::Outcome { outcome: Outcome::Refused(_) | Outcome::Failed { .. }, .. }
        | Event::GuestAppeared { .. }
        | Event::GuestLeft { .. }
        | Event::GuestMoved { .. }
        | Event::GuestLost { .. }
        | Event::GuestTwice { .. }
        | Event::HostRebooted { .. }
        | Event::Halted { .. }
        | Event::GateWaits { .. }
        | Event::GatePassed { .. }
        | Event::HoldReached { .. }
        | Event::Approved { .. }
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::RetryAsked { .. }
        | Event::AbortAsked { .. }
        | Event::RollbackAsked { .. }
        | Event::RollbackRefused { .. }
        | Event::RollbackBegun {}
        | Event::Closing { .. }
        | Event::Finished { .. } => true,
    }
}
