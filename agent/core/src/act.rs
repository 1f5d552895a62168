//! What an action says of itself.

use replank_common::finding::Finding;
use replank_common::outcome::{Change, Refusal};

/// Where the host stands with regard to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Already as the action wants it.
    Done,
    /// As expected before the action.
    Ready,
    /// Begun and not ended, by an earlier try of this very action: `apply` finishes it.
    Half,
}

/// What an action did or found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub changes: Vec<Change>,
    pub findings: Vec<Finding>,
}

/// Something went wrong after the first change may have been made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {error}; {remedy}")]
pub struct Failure {
    /// A documented code, `RP` and four digits.
    pub code: &'static str,
    pub error: String,
    pub remedy: String,
}

/// Why an action was not carried out, or not taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Failed(#[from] Failure),
}
