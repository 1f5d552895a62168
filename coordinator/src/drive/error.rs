//! Why the drive ends, and why a request is not granted.

use crate::codes;
use crate::store::StoreError;
use replank_common::ids::{HostName, RunId};
use replank_core::codes as core_codes;
use replank_core::lint::LintNote;
use replank_core::plan::PlanFileError;
use replank_core::run::{IllegalEvent, OperatorRefusal, UnsoundPlan};
use replank_core::runs::Refusal;
use tonic::{Code, Status};

/// Why the drive ended. The process ends with it and is started again; the journals say where it was.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the plan of {run} cannot be used; restore the coordinator's folder from a backup")]
    PlanFile { run: RunId, source: PlanFileError },
    #[error("the plan of {run} cannot be carried out; restore the coordinator's folder from a backup")]
    Plan { run: RunId, source: UnsoundPlan },
    #[error("the journal of {run} breaks the rules of a run; restore the coordinator's folder from a backup")]
    Journal { run: RunId, source: IllegalEvent },
}

impl DriveError {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::PlanFile { .. } => codes::JOURNAL_DAMAGED,
            Self::Plan { .. } => core_codes::RUN_PLAN_UNSOUND,
            Self::Journal { .. } => core_codes::RUN_JOURNAL_ILLEGAL,
        }
    }
}

/// Why a request is not granted. Nothing has changed then, but for [`Refused::Stopped`], after which it must be looked.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the coordinator is stopping; look with `replank status` before asking again")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text begins with its code.
    #[error("{}", without_code(.0))]
    PlanFile(PlanFileError),
    #[error("the plan breaks {}: {}; make it again, and report the planner's mistake", count(.notes.len(), "promise"), first(.notes))]
    Lint { notes: Vec<LintNote> },
    #[error("the plan cannot be carried out: {source}; make it again with `replank plan`")]
    Unsound { source: UnsoundPlan },
    #[error("{hosts} of the plan {}; enrol with `replank host token`, or plan without", .why)]
    NotEnrolled { hosts: String, why: &'static str },
    #[error("{run} is under way on {hosts}; wait for its end, or end it with `replank abort {run}`")]
    Busy { run: RunId, hosts: String },
    #[error(
        "{later} changed {hosts} after {run}; roll {later} back first, or make a plan to the release that you want"
    )]
    LaterRun { run: RunId, later: RunId, hosts: String },
    #[error("there is no run yet; `replank apply PLAN` starts one")]
    NoRun,
    #[error(transparent)]
    Operator(#[from] OperatorRefusal),
    #[error(transparent)]
    Damaged(DriveError),
}

impl From<DriveError> for Refused {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Store(error) => Self::Store(error),
            DriveError::PlanFile { .. } | DriveError::Plan { .. } | DriveError::Journal { .. } => {
                Self::Damaged(error)
            }
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoRun => Self::NoRun,
            Refusal::Busy { run, hosts } => Self::Busy { run, hosts: names(&hosts) },
            Refusal::Operator(refusal) => Self::Operator(refusal),
        }
    }
}

impl Refused {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stopped => codes::NOT_SERVING,
            Self::Store(error) => error.code(),
            Self::PlanFile(error) => error.code(),
            Self::Lint { .. } => codes::PLAN_LINT,
            Self::Unsound { .. } => core_codes::RUN_PLAN_UNSOUND,
            Self::NotEnrolled { .. } => codes::HOST_NOT_ENROLLED,
            Self::Busy { .. } => codes::HOSTS_BUSY,
            Self::LaterRun { .. } => codes::LATER_RUN,
            Self::NoRun => codes::RUN_UNKNOWN,
            Self::Operator(refusal) => refusal.code(),
            Self::Damaged(error) => error.code(),
        }
    }
}

impl From<Refused> for Status {
    /// `CODE: text`, under the status that says whether asking again can help.
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::Stopped | Refused::Store(StoreError::Closed) => Code::Unavailable,
            Refused::Store(StoreError::UnknownRun { .. } | StoreError::UnknownPlan { .. })
            | Refused::NoRun => Code::NotFound,
            Refused::Store(_) | Refused::Damaged(_) => Code::Internal,
            Refused::PlanFile(_) => Code::InvalidArgument,
            Refused::Lint { .. }
            | Refused::Unsound { .. }
            | Refused::NotEnrolled { .. }
            | Refused::Busy { .. }
            | Refused::LaterRun { .. }
            | Refused::Operator(_) => Code::FailedPrecondition,
        };
        Self::new(code, format!("{}: {refused}", refused.code()))
    }
}

fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

fn first(notes: &[LintNote]) -> String {
    notes.first().map(|note| note.to_string()).unwrap_or_default()
}

/// At most three names, and how many more.
pub(super) fn names<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    let hosts: Vec<&str> = hosts.into_iter().map(HostName::as_str).collect();
    match hosts.as_slice() {
        [a, b, c, rest @ ..] if !rest.is_empty() => format!("{a}, {b}, {c} and {} more", rest.len()),
        few => few.join(", "),
    }
}

/// The core puts the code into the text; here it is said once, in front.
fn without_code(error: &PlanFileError) -> String {
    error.to_string().replacen(&format!("{}: ", error.code()), "", 1)
}
