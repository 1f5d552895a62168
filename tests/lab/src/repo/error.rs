//! What can go wrong with a repository, beside what can go wrong with any tool of the lab.

use crate::error::LabError;

/// A result of this module.
pub type Result<T> = std::result::Result<T, RepoError>;

/// Why a repository could not be prepared, copied or changed.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// A tool or a file operation failed.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A tool's output or a file of ours does not read as expected.
    #[error("failed to read {what}: {detail}")]
    Unreadable {
        /// What was being read.
        what: String,
        /// What was found instead.
        detail: String,
    },
    /// The upgrade would touch packages that it must not touch.
    #[error("the step to the new {step} would also {detail}: the recipe's pins are too wide")]
    Drags {
        /// The step: of libvirt, of Ceph.
        step: &'static str,
        /// What apt would do beyond the wanted packages.
        detail: String,
    },
    /// The relocated qemu uses files outside of its own tree.
    #[error("the relocated qemu is not self-contained: {detail}")]
    NotSelfContained {
        /// The paths that it wants.
        detail: String,
    },
    /// A package has a name, a version, a path or a script that its format does not allow.
    #[error("package `{name}` cannot be built or added: {detail}")]
    BadSpec {
        /// The package.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// The error of a text that is not what it should be.
pub(super) fn unreadable(what: impl Into<String>, detail: impl ToString) -> RepoError {
    RepoError::Unreadable { what: what.into(), detail: detail.to_string() }
}
