//! What can go wrong while a repository is built.

use std::path::{Path, PathBuf};

/// Why a repository could not be prepared, copied or changed.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// A file operation failed.
    #[error("failed to {what} `{}`", path.display())]
    Io {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A tool could not be started.
    #[error("failed to start `{program}`; `tests/lab/setup.sh` installs what the lab needs")]
    Start {
        /// The program's name.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A tool ran and failed.
    #[error("failed to {what}: `{program}` ended with {status}: {stderr}")]
    Tool {
        /// What was tried, as a verb phrase.
        what: String,
        /// The program's name.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        stderr: String,
    },
    /// The machine's apt has no source that serves the suite.
    #[error(
        "no apt source of this machine serves suite `{suite}`, component `{component}`: the lab needs Debian's own"
    )]
    NoMirror {
        /// The suite that was looked for, as its codename.
        suite: String,
        /// The component that was looked for.
        component: String,
    },
    /// A tool's output or a file of ours does not read as expected.
    #[error("failed to read {what}: {detail}")]
    Unreadable {
        /// What was being read.
        what: String,
        /// What was found instead.
        detail: String,
    },
    /// The upgrade would touch packages that it must not touch.
    #[error("the step to the new libvirt would also {detail}: the recipe's pins are too wide")]
    Drags {
        /// What apt would do beyond the wanted packages.
        detail: String,
    },
    /// The relocated qemu uses files outside of its own tree.
    #[error("the relocated qemu is not self-contained: {detail}")]
    NotSelfContained {
        /// The paths, or the libraries, that it wants.
        detail: String,
    },
    /// A package to be built has a name, version or path that its format does not allow.
    #[error("package `{name}` cannot be built: {detail}")]
    BadSpec {
        /// The package.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Names the path that an I/O error is about.
pub(super) fn io(what: &'static str, path: &Path, source: std::io::Error) -> RepoError {
    RepoError::Io { what, path: path.to_path_buf(), source }
}
