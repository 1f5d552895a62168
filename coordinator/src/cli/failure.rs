//! Why a command did not do what was asked, said in one line with a code and a remedy.

use super::codes;
use super::exit::Exit;
use crate::codes as own;
use replank_ceph::documents::DocumentError;
use replank_ceph::redundancy::NameError;
use replank_cli::PageError;
use replank_core::catalog::CatalogError;
use replank_core::fleet_file::Mistakes;
use replank_core::inventory::InventoryError;
use replank_core::plan::PlanFileError;
use replank_core::run::UnsoundPlan;
use replank_sim::{NotEnough, Profile};
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;

/// Any way for a command to fail. Its text is `what; remedy`; texts from the core begin with their own code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("failed to read the {what} `{}`: {source}; check the path and its permissions", .path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to write `{}`: {source}; check free space and the permissions of its folder", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{0}; check free space and the permissions of its folder")]
    Page(#[from] PageError),
    #[error("`{}` is there already; name another, what holds a key is never overwritten", .path.display())]
    Taken { path: PathBuf },
    #[error("the fleet file {} has {}; mend what is listed above", .0.file, count(.0.mistakes.len(), "mistake"))]
    FleetFile(Mistakes),
    #[error("`{}`: {source}", .path.display())]
    Inventory { path: PathBuf, source: InventoryError },
    #[error("`{}`: {source}", .path.display())]
    Plan { path: PathBuf, source: PlanFileError },
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("`{}` is not a file of beats: {why}; it must be a JSON object from guests to milliseconds or text", .path.display())]
    Beats { path: PathBuf, why: String },
    #[error("{}, and so no plan; do what is listed for each", blockers(*.0))]
    Blocked(usize),
    #[error("lint found {} in the plan; do not apply it, and report the planner's mistake", count(*.0, "broken promise"))]
    Unsound(usize),
    #[error("{what}; {remedy}")]
    Settings { what: String, remedy: String },
    #[error("{what}; {remedy}")]
    Identity { what: String, remedy: String },
    #[error(
        "failed to reach the coordinator at {address}: {why}; see that `replank serve` runs there and that nothing lies between"
    )]
    Unreachable { address: String, why: String },
    #[error("no connection to the coordinator at {address}: {0}", .refusal)]
    TlsRefused { address: String, refusal: replank_identity::tls::TlsRefusal },
    #[error("the connection broke before the coordinator answered: {why}; {remedy}")]
    OutcomeUnknown { why: String, remedy: &'static str },
    /// `code`: the coordinator's own, where it gave one.
    #[error("{text}")]
    Refused { code: Option<String>, text: String },
    #[error("the coordinator failed: {text}; look at its journal: `journalctl -u replank-coordinator`")]
    Coordinator { code: Option<String>, text: String },
    #[error(
        "the coordinator's answer to {what} cannot be read: {why}; use the `replank` of the coordinator's version"
    )]
    Answer { what: &'static str, why: String },
    #[error("{run} is halted; see why: `replank why {run}`")]
    Halted { run: String },
    #[error("{run} waits for an operator; see for what: `replank why {run}`")]
    Waits { run: String },
    #[error("{run} ended {how}; see what was done: `replank report {run}`")]
    NotCompleted { run: String, how: String },
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    CephName(#[from] NameError),
    #[error("the set may not stop now; each reason is listed with what to do")]
    NotSafe,
    #[error("the documents do not tell whether the set may stop; each reason is listed with what to do")]
    CannotTell,
    #[error("there is no profile of faults `{name}`; give one of {}", Profile::NAMES.join(", "))]
    Profile { name: String },
    #[error("the plan cannot be carried out: {0}; make it again with `replank plan`")]
    Unsailable(#[from] UnsoundPlan),
    #[error(
        "{why}; nothing was simulated: give the inventory that the plan was made from with --inventory, or plan again"
    )]
    SimulatedCluster { why: String },
    #[error("a simulated run was held; see by what: `{replay}`")]
    SimulationHeld { replay: String },
    #[error("a simulated run broke {promise}; report it with the plan and this command: `{replay}`")]
    SimulationBroke { promise: &'static str, replay: String },
    /// The coordinator's own commands: init, serve.
    #[error("{text}")]
    Local { code: &'static str, text: String },
    #[error("{0}")]
    Unexpected(String),
}

impl From<NotEnough> for Failure {
    fn from(NotEnough { why }: NotEnough) -> Self {
        Self::SimulatedCluster { why }
    }
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { .. }
            | Self::Taken { .. }
            | Self::FleetFile(_)
            | Self::Inventory { .. }
            | Self::Plan { .. }
            | Self::Catalog(_)
            | Self::Beats { .. }
            | Self::Document(_)
            | Self::CephName(_)
            | Self::CannotTell
            | Self::Settings { .. }
            | Self::Identity { .. } => Exit::BadFile,
            Self::Write { .. }
            | Self::Page(_)
            | Self::Coordinator { .. }
            | Self::Answer { .. }
            | Self::Unexpected(_) => Exit::Unexpected,
            Self::Local { code, .. } => match *code {
                own::STORE_FAILED | own::LISTEN | own::NOT_SERVING => Exit::Unexpected,
                own::JOURNAL_MOVED_ON => Exit::Deposed,
                _ => Exit::BadFile,
            },
            Self::Blocked(_) | Self::NotSafe => Exit::Blocked,
            Self::Unsound(_) | Self::Unsailable(_) => Exit::Unsound,
            Self::Profile { .. } => Exit::Usage,
            Self::SimulatedCluster { .. } => Exit::BadFile,
            Self::SimulationHeld { .. } => Exit::SimulationHeld,
            Self::SimulationBroke { .. } => Exit::SimulationBroke,
            Self::Unreachable { .. } | Self::OutcomeUnknown { .. } => Exit::Unreachable,
            Self::TlsRefused { .. } | Self::Refused { .. } => Exit::Refused,
            Self::Halted { .. } | Self::NotCompleted { .. } => Exit::Halted,
            Self::Waits { .. } => Exit::Waits,
        }
    }

    /// The documented code; its page is `docs/errors/<code>.md`.
    pub fn code(&self) -> &str {
        match self {
            Self::Read { .. } => codes::FILE_READ,
            Self::Write { .. } | Self::Page(_) => codes::FILE_WRITE,
            Self::Taken { .. } => codes::OUTPUT_TAKEN,
            Self::FleetFile(mistakes) => {
                mistakes.mistakes.first().map_or(codes::UNEXPECTED, |mistake| mistake.code)
            }
            Self::Inventory { source, .. } => match source {
                InventoryError::Form { .. } => replank_core::codes::INVENTORY_FORM,
                InventoryError::Newer { .. } => replank_core::codes::INVENTORY_NEWER,
            },
            Self::Plan { source, .. } => source.code(),
            Self::Catalog(_) => replank_core::codes::CATALOG_FILE,
            Self::Beats { .. } => codes::BEATS,
            Self::Blocked(_) => codes::BLOCKED,
            Self::Unsound(_) => codes::UNSOUND,
            Self::Unsailable(_) => replank_core::codes::RUN_PLAN_UNSOUND,
            Self::Profile { .. } => codes::PROFILE,
            Self::SimulatedCluster { .. } => codes::CLUSTER_UNSIMULATED,
            Self::SimulationHeld { .. } => codes::SIMULATION_HELD,
            Self::SimulationBroke { .. } => codes::SIMULATION_BROKE,
            Self::Settings { .. } => codes::SETTINGS,
            Self::Identity { .. } => codes::IDENTITY,
            Self::Unreachable { .. } => codes::UNREACHABLE,
            Self::TlsRefused { .. } => codes::TLS_REFUSED,
            Self::OutcomeUnknown { .. } => codes::OUTCOME_UNKNOWN,
            Self::Refused { code, .. } => code.as_deref().unwrap_or(codes::REFUSED),
            Self::Coordinator { code, .. } => code.as_deref().unwrap_or(codes::COORDINATOR_FAILED),
            Self::Answer { .. } => codes::ANSWER_UNREADABLE,
            Self::Halted { .. } => codes::RUN_HALTED,
            Self::Waits { .. } => codes::RUN_WAITS,
            Self::NotCompleted { .. } => codes::RUN_NOT_COMPLETED,
            Self::Document(error) => error.code,
            Self::CephName(_) => replank_ceph::codes::CEPH_NAME,
            Self::NotSafe => codes::NOT_SAFE,
            Self::CannotTell => codes::CANNOT_TELL,
            Self::Local { code, .. } => code,
            Self::Unexpected(_) => codes::UNEXPECTED,
        }
    }

    /// What and remedy, without the code, in one line.
    pub fn message(&self) -> String {
        let text = self.to_string().replace('\n', " ");
        text.replace(&format!("{}: ", self.code()), "")
    }

    /// For machines; fleet file mistakes are listed with file, line and column.
    pub fn json(&self) -> Value {
        let mut error = json!({ "code": self.code(), "message": self.message(), "exit": self.exit().code() });
        if let Self::FleetFile(mistakes) = self {
            error["mistakes"] = json!(mistakes.mistakes);
        }
        json!({ "error": error })
    }
}

/// `RP` and four digits with which a text begins, followed by a colon.
pub fn leading_code(text: &str) -> Option<&str> {
    let (code, _) = text.split_once(':')?;
    let digits = code.strip_prefix("RP")?;
    (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(code)
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        next = cause.source();
    }
    text
}

/// `1 mistake`, `3 mistakes`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

fn blockers(number: usize) -> String {
    if number == 1 { "there is 1 blocker".to_owned() } else { format!("there are {number} blockers") }
}
