//! One command in the ledger, and the only ways in which it may change.

use replank_common::UnixMs;
use replank_common::action::Action;
use replank_common::ids::{ActionId, Epoch, PlanId};
use replank_common::outcome::Outcome;
use replank_common::undo::UndoRecord;
use serde::{Deserialize, Serialize};

/// What was commanded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    Do(Action),
    /// Take back what this other command did.
    Undo(ActionId),
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The action may have begun; `undo` is what was there before it.
    Intended { undo: UndoRecord },
    /// It ended. `undo` is absent where it ended before anything could change.
    Ended { undo: Option<UndoRecord>, outcome: Outcome, at_ms: UnixMs },
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: ActionId,
    pub plan: PlanId,
    pub work: Work,
    pub intended_at_ms: UnixMs,
    pub stage: Stage,
}

/// What is written before an action begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIntent {
    /// Of the coordinator that commands it.
    pub epoch: Epoch,
    pub id: ActionId,
    pub plan: PlanId,
    pub work: Work,
    pub undo: UndoRecord,
    pub at_ms: UnixMs,
}

/// A command that ended before anything was changed: refused, or found done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbegun {
    pub id: ActionId,
    pub plan: PlanId,
    pub work: Work,
    /// The record of an earlier attempt at the same step, if there was one.
    pub undo: Option<UndoRecord>,
    pub outcome: Outcome,
    pub at_ms: UnixMs,
}

/// A change of the ledger that may not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEntry {
    #[error("the intent of {0} is in the ledger already")]
    IntendedTwice(ActionId),
    #[error("{0} has ended already, and an outcome is written once")]
    EndedTwice(ActionId),
    #[error("a later coordinator was obeyed before {0} began")]
    OldEpoch(ActionId),
    #[error("{0} ended without an intent and yet not with a refusal or as found done")]
    EndedUnintended(ActionId),
    #[error("{0} is to be gone on with and was never begun")]
    NeverIntended(ActionId),
}

impl Entry {
    /// The record to take it back by; `None` where nothing can have been changed.
    pub fn undo(&self) -> Option<&UndoRecord> {
        match &self.stage {
            Stage::Intended { undo } => Some(undo),
            Stage::Ended { undo, .. } => undo.as_ref(),
        }
    }

    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.stage {
            Stage::Intended { .. } => None,
            Stage::Ended { outcome, .. } => Some(outcome),
        }
    }
}
