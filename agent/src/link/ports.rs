//! What the link needs of the rest of the agent.

use replank_common::action::Action;
use replank_common::census::Census;
use replank_common::ids::{ActionId, CoordinatorId, Epoch};
use replank_common::outcome::{Outcome, Refusal};
use replank_common::reading::{ReadingRequest, ReadingValue};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What is commanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    Do(Action),
    /// Take back what the ledger records of this action.
    Undo {
        of: ActionId,
    },
}

/// One command of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub epoch: Epoch,
    pub id: ActionId,
    /// The id of the plan that commands it, for the ledger and the log.
    pub plan_id: String,
    pub deadline: Duration,
    pub work: Work,
}

/// What is told of an action before its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The intent is durable; the action begins.
    Accepted,
    Progress {
        permille: Option<u32>,
        text: String,
    },
}

/// Does what is commanded: policy, guard, ledger, action.
pub trait Performer: Debug + Send + Sync {
    /// The highest epoch that was ever obeyed.
    fn epoch_seen(&self) -> Epoch;

    /// Of whom that epoch was obeyed, if it was named.
    fn coordinator_seen(&self) -> Option<CoordinatorId>;

    /// Obeys a welcome from now on, durably.
    ///
    /// # Errors
    /// A refusal with the code of an old epoch (P9), also where another coordinator of the same epoch was obeyed; or when the ledger cannot be
    /// written.
    fn obey(&self, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Result<(), Refusal>;

    /// Actions with an intent in the ledger and no outcome.
    fn unfinished(&self) -> Vec<ActionId>;

    /// Answers from the ledger, or does it. Blocking, for as long as the action takes; called for one order at a time. Checks the
    /// epoch itself.
    fn perform(&self, order: &Order, tell: &(dyn Fn(Told) + Sync)) -> Outcome;

    /// Whether the host's policy refuses every action now.
    fn observes_only(&self) -> bool;

    /// How many actions the ledger holds.
    fn ledger_actions(&self) -> u64;
}

/// Takes censuses and tells when one is due.
pub trait GuestSource: Debug + Send + Sync {
    /// Takes a census now. Blocking; bounded by the census's own deadlines.
    fn census(&self) -> Census;

    /// Changes each time a guest starts, ends or changes its state.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Answers a coordinator's questions.
pub trait ReadingSource: Debug + Send + Sync {
    /// Measures. Blocking; should end within `deadline`.
    fn answer(&self, request: &ReadingRequest, deadline: Duration) -> ReadingValue;
}

/// The rest of the agent, as the link sees it.
#[derive(Debug, Clone)]
pub struct Ports {
    pub performer: Arc<dyn Performer>,
    pub guests: Arc<dyn GuestSource>,
    pub readings: Arc<dyn ReadingSource>,
}
