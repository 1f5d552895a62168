//! What is wrong with a document, where, and what to do.

use crate::codes;
use std::fmt;

/// Which document was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    OsdDump,
    PgDump,
    OsdTree,
    QuorumStatus,
    Health,
    OsdMetadata,
    Versions,
    FsDump,
    MgrDump,
    SessionLs,
}

impl Kind {
    /// How it is taken.
    pub const fn command(self) -> &'static str {
        match self {
            Self::OsdDump => "ceph osd dump --format json",
            Self::PgDump => "ceph pg dump --format json",
            Self::OsdTree => "ceph osd tree --format json",
            Self::QuorumStatus => "ceph quorum_status --format json",
            Self::Health => "ceph status --format json",
            Self::OsdMetadata => "ceph osd metadata --format json",
            Self::Versions => "ceph versions --format json",
            Self::FsDump => "ceph fs dump --format json",
            Self::MgrDump => "ceph mgr dump --format json",
            Self::SessionLs => "ceph tell mds.NAME session ls",
        }
    }
}

/// Where in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Whole,
    /// Both counted from 1, over the whole file.
    Line {
        line: usize,
        column: usize,
    },
    /// `pools[2].size`, counted from 0 as `jq` does.
    Path(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Line { line, column } => write!(f, ":{line}:{column}"),
            Self::Path(path) => write!(f, " at `{path}`"),
        }
    }
}

/// A document that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: `{file}`{place}: {problem}; {remedy}")]
pub struct DocumentError {
    /// `RP12xx`.
    pub code: &'static str,
    /// The file's name as the operator gave it, or the command that was asked.
    pub file: String,
    pub place: Place,
    pub problem: String,
    pub remedy: String,
}

/// A document while it is read: what its mistakes have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) kind: Kind,
    pub(super) file: &'a str,
}

impl Reading<'_> {
    pub(super) fn not_json(&self, place: Place, problem: impl Into<String>) -> DocumentError {
        let remedy = format!("take it again: `{} > FILE`", self.kind.command());
        self.error(codes::CEPH_NOT_JSON, place, problem, remedy)
    }

    /// Another document than the one that was asked for.
    pub(super) fn other(&self, missing: &str) -> DocumentError {
        let problem = format!("it has no `{missing}`, so it is another document");
        let remedy = format!("give the output of `{}`", self.kind.command());
        self.error(codes::CEPH_OTHER_DOCUMENT, Place::Whole, problem, remedy)
    }

    /// A field without which, or with which, the document makes no sense.
    pub(super) fn field(&self, path: impl Into<String>, problem: impl Into<String>) -> DocumentError {
        let remedy = format!("take it again: `{}`", self.kind.command());
        self.error(codes::CEPH_FIELD, Place::Path(path.into()), problem, remedy)
    }

    pub(super) fn error(
        &self,
        code: &'static str,
        place: Place,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> DocumentError {
        DocumentError {
            code,
            file: self.file.to_owned(),
            place,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
