//! What the shell must make durable.

use crate::run::Record;
use replank_common::ids::{PlanId, RunId};

/// Records for one run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub run: RunId,
    /// The plan, when these are the first records of a new run.
    pub begins: Option<PlanId>,
    pub records: Vec<Record>,
    /// Where the run stands after the records: kept beside the journal for lists, never believed by a run itself.
    pub standing: Standing,
}

/// Where a run stands, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub finished: bool,
    pub phase: String,
    pub steps_done: u32,
    pub steps_total: u32,
}
