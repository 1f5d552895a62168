//! Why the program cannot do what was asked, said in one line with a documented code and a remedy.

use crate::codes;
use crate::host::files::FileError;
use crate::ledger::LedgerError;
use crate::link::LinkError;
use crate::toml_file::BadFile;
use replank_cli::PageError;
use std::io;
use std::path::PathBuf;

/// Any way for the program to fail.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration or the policy; the text has its code.
    #[error(transparent)]
    File(#[from] BadFile),
    /// Enrolment, identity or link; the text has its code.
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{code}: {0}", code = codes::LEDGER)]
    Ledger(#[from] LedgerError),
    #[error("{code}: `replank-agent {what}` needs to run as root; run it with sudo, or let systemd start it", code = codes::NOT_ROOT)]
    NotRoot { what: &'static str },
    #[error(
        "{code}: no coordinator is named; set `coordinator` in {path}, or enrol this host again",
        code = codes::CONFIG,
        path = .path.display()
    )]
    NoCoordinator { path: PathBuf },
    #[error("{code}: {what}; see the space and the permissions there", code = codes::WRITE, what = .0.full())]
    Write(#[from] FileError),
    #[error("{code}: {0}; see the space and the permissions there", code = codes::WRITE)]
    Page(#[from] PageError),
    #[error("failed to write to standard output: {0}; see where it goes")]
    Output(#[source] io::Error),
    #[error(
        "{code}: the sources of the census do not agree; see the lines above, and mend nothing before you know why",
        code = codes::GUARD_DISAGREEMENT
    )]
    Disagreement,
    #[error("the operating system does not give what the agent needs: {what}: {why}")]
    System { what: &'static str, why: String },
}

impl Failure {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::System { what, why: why.to_string() }
    }
}
