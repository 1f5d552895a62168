//! Why a run is not begun, or an operator's wish not granted.

use crate::run::OperatorRefusal;
use replank_common::ids::{HostName, RunId};

/// Nothing has changed then. Codes, and what to do, are told by the shell, which knows the commands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the run is not held here")]
    NoRun,
    #[error("{run} is under way on {} of the hosts", .hosts.len())]
    Busy { run: RunId, hosts: Vec<HostName> },
    #[error(transparent)]
    Operator(#[from] OperatorRefusal),
}
