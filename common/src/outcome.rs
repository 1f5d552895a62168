//! What became of an action.

use crate::finding::Finding;
use serde::{Deserialize, Serialize};

/// How an action came to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Carried out now.
    Applied,
    /// The host was already as the action wants it.
    FoundDone,
    /// A half-done one, interrupted before, was finished.
    Finished,
    /// Taken back.
    Undone,
    /// There was nothing to take back.
    NothingToUndo,
}

/// A line of proof or of change, for the report: `package libvirt-daemon` `9.0.0-4` → `11.3.0-1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub what: String,
    pub before: String,
    pub after: String,
}

/// An answer of "no", before anything was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {reason}; {remedy}")]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// A documented code, `RP` and four digits.
    pub code: String,
    pub reason: String,
    pub remedy: String,
    /// What was found, when the refusal rests on more than one thing.
    pub findings: Vec<Finding>,
}

/// The code of a refusal that says nothing of the action: the command was of an earlier coordinator than one that the agent has obeyed (P9).
pub const OLD_EPOCH: &str = "RP4020";

/// What an agent answers for an action, kept in its ledger and answered again to the same action id (P5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    Done {
        how: How,
        took_ms: u64,
        changes: Vec<Change>,
        findings: Vec<Finding>,
    },
    /// Nothing was changed.
    Refused(Refusal),
    /// Something went wrong after the first change. `restored` tells whether the agent put everything back already;
    /// if not, the undo record is in the ledger.
    Failed {
        code: String,
        error: String,
        remedy: String,
        restored: bool,
        took_ms: u64,
    },
}

impl Outcome {
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done { .. } => true,
            Self::Refused(_) | Self::Failed { .. } => false,
        }
    }
}
