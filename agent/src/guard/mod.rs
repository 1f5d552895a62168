//! The guard: the agent's own "no" to anything that would touch what a live guest uses.
//!
//! Owns the comparison of a package transaction with the use that guests make of files. Never resolves or runs a transaction.

use replank_common::facts::PackageManager;
use std::path::PathBuf;

/// When a scriptlet runs in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Before,
    After,
}

/// A maintainer script (Debian) or scriptlet (RPM) that the transaction would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scriptlet {
    pub package: String,
    pub version: String,
    /// `postinst`, `prerm`, `%postun`, `%posttrans`, `trigger`, …
    pub name: String,
    pub phase: Phase,
    /// It belongs to the package that is installed now, not to the one that comes.
    pub of_old_package: bool,
    pub text: String,
}

/// One package of a resolved transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionItem {
    pub name: String,
    pub architecture: String,
    /// `None`: newly installed.
    pub before: Option<String>,
    /// `None`: removed.
    pub after: Option<String>,
    /// Files that the new package brings (absolute).
    pub files_after: Vec<PathBuf>,
    /// Files that the present package owns (absolute).
    pub files_before: Vec<PathBuf>,
    pub scriptlets: Vec<Scriptlet>,
}

/// Everything that a package manager would do, worked out without doing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub manager: PackageManager,
    pub items: Vec<TransactionItem>,
}
