//! One command in the ledger, and the only ways in which it may change.

use replank_common::UnixMs;
use replank_common::action::Action;
use replank_common::ids::{ActionId, PlanId};
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

/// A change of an entry that may not be.
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

    /// The entry after its end.
    ///
    /// # Errors
    /// It has ended before.
    pub fn ended(self, outcome: Outcome, at_ms: UnixMs) -> Result<Self, IllegalEntry> {
        match self.stage {
            Stage::Intended { undo } => {
                Ok(Self { stage: Stage::Ended { undo: Some(undo), outcome, at_ms }, ..self })
            }
            Stage::Ended { .. } => Err(IllegalEntry::EndedTwice(self.id)),
        }
    }
}
