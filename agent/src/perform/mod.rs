//! Carrying out one command at a time: epoch, ledger, policy, guard, check, intent, act, verify, outcome.
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
//! neither begun nor gone on with any more: its command may come once more after its undo. An attempt at a step that an earlier
//! attempt began keeps the earlier one's undo record: that one says what was there before replank came.

mod dispatch;
mod performer;

pub use performer::{Command, Event, Performer, PerformerSettings};
