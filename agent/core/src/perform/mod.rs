//! Carrying out one command: epoch, ledger, policy, guard, check, intent, act, verify, outcome.
//!
//! Owns the order in which a command passes these, and nothing of what it does to the host. What a crash leaves, and what happens when the coordinator asks again with the same id:
//!
//! | crash after | the ledger holds | asked again |
//! | --- | --- | --- |
//! | epoch obeyed | nothing of the command | everything from the start |
//! | check or prepare | nothing of the command (copies of old bytes may lie in the agent's directory) | everything from the start |
//! | intent | intent and undo record | check: done → verified and `Finished`; ready or half → applied with the *first* undo record |
//! | apply, or in the middle of it | intent and undo record | the same |
//! | outcome | the outcome | answered from the ledger; the host is not looked at |
//!
//! An undo passes the same way; its own entry is the intent, and undoing is re-runnable at any point. What was taken back is
//! neither begun nor gone on with any more: its command may come once more after its undo. Neither is what is to be taken back and
//! could not be yet; there nothing is written, so that the record stands for the next undo. An attempt at a step that an earlier
//! attempt began keeps the earlier one's undo record: that one says what was there before replank came.
//!
//! The three phases are apart so that a simulation can let time pass, and kill the agent, between them.

mod begin;
mod hands;
mod phases;
mod say;
#[cfg(test)]
mod tests;

pub use begin::{Begin, begin};
pub use hands::{Hands, Moment};
pub use phases::{Acted, Begun};

use crate::ledger::{Ledger, Work};
use replank_common::ids::{ActionId, Epoch, PlanId};
use replank_common::outcome::Outcome;

/// One command as it came over the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub epoch: Epoch,
    pub id: ActionId,
    pub plan: PlanId,
    pub work: Work,
}

/// Carries a command out, or answers from the ledger.
pub fn perform<L: Ledger>(command: &Command, ledger: &L, hands: &mut dyn Hands) -> Outcome {
    match begin(command, ledger, hands) {
        Begin::Answered(outcome) => outcome,
        Begin::Begun(begun) => begun.act(hands).end(ledger, hands),
    }
}
