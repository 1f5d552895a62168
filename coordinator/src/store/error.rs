//! What can go wrong with the store.

use crate::codes;
use replank_common::ids::{Epoch, PlanId, RunId};
use std::path::PathBuf;

/// Why the store did not do what was asked. After any of these but [`StoreError::UnknownRun`] and [`StoreError::UnknownPlan`] the caller
/// must not believe what it has in memory: it reads again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("failed to open the store `{}`; check the folder's permissions and free space", .path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("`{}` is not a store of replank; check the path, or restore the folder from a backup", .path.display())]
    Foreign { path: PathBuf },
    #[error(
        "the store `{}` has form {found}, this replank knows up to {known}; use the replank that wrote it",
        .path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("failed to {what}; check free space and the disk, then start the coordinator again")]
    Failed { what: &'static str, source: rusqlite::Error },
    #[error("failed to {what}: {why}")]
    Form { what: &'static str, why: String },
    #[error(
        "the journal of {run} is not as it was written: {why}; nothing is done with it; restore the coordinator's folder \
         from a backup"
    )]
    Damaged { run: RunId, why: String },
    #[error(
        "the plan {plan} is not as it was stored: {why}; nothing is done with it; restore the coordinator's folder from a backup"
    )]
    DamagedPlan { plan: PlanId, why: String },
    #[error(
        "the journal of {run} has lines of format {found}, this replank reads up to {known}; nothing is done with it; run the \
         replank that wrote it, or a later one"
    )]
    NewerJournal { run: RunId, found: u32, known: u32 },
    #[error(
        "another coordinator wrote to the store: {why}; this one stops; make sure that only one coordinator uses the folder"
    )]
    MovedOn { why: String },
    #[error(
        "another coordinator (epoch {found}) took the store over from this one (epoch {own}); this one stops"
    )]
    Overtaken { own: Epoch, found: Epoch },
    #[error("another process uses the folder of `{}`; stop it first", .path.display())]
    Locked { path: PathBuf },
    #[error("there is no run {run}; `replank runs` lists them")]
    UnknownRun { run: RunId },
    #[error("there is no plan {plan}; store it first, `replank apply PLANFILE` does")]
    UnknownPlan { plan: PlanId },
    #[error("the store is closed: the coordinator is stopping, or failed before; see its log")]
    Closed,
}

impl StoreError {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => codes::STORE_OPEN,
            Self::Foreign { .. } | Self::Newer { .. } => codes::STORE_FOREIGN,
            Self::Failed { .. } | Self::Form { .. } | Self::Closed => codes::STORE_FAILED,
            Self::Damaged { .. } | Self::DamagedPlan { .. } => codes::JOURNAL_DAMAGED,
            Self::NewerJournal { .. } => codes::JOURNAL_NEWER,
            Self::MovedOn { .. } | Self::Overtaken { .. } => codes::JOURNAL_MOVED_ON,
            Self::Locked { .. } => codes::FOLDER_LOCKED,
            Self::UnknownRun { .. } => codes::RUN_UNKNOWN,
            Self::UnknownPlan { .. } => codes::PLAN_UNKNOWN,
        }
    }

    pub(super) fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Failed { what, source }
    }
}
