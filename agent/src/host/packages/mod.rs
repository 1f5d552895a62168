//! Package managers: what is installed, what a transaction would do, and carrying one out from files that were fetched before.
//!
//! One trait, two backends: [`Apt`] (apt and dpkg) and [`Dnf`] (dnf, or yum on EL7, over rpm). Nothing here decides whether a
//! transaction may run; a transaction is only ever carried out from files, so that what was looked at is what is installed.

mod apt;
mod apt_text;
mod dnf;
mod dnf_text;
mod rpm_text;

pub use apt::Apt;
pub use dnf::Dnf;

use super::Host;
use super::command::{Command, CommandError, Output};
use super::files::FileError;
use crate::guard::{Phase, Scriptlet};
use replank_common::action::PackagePin;
use replank_common::facts::PackageManager;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For questions that a package manager answers from what it has on disk.
pub(super) const ASK: Duration = Duration::from_secs(120);
/// For fetching indexes and packages.
pub(super) const FETCH: Duration = Duration::from_secs(30 * 60);
/// For carrying a transaction out. Ending one half way is worse than waiting.
pub(super) const COMMIT: Duration = Duration::from_secs(60 * 60);

/// A package in the package manager's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub name: String,
    pub architecture: String,
    /// The package manager's full spelling.
    pub version: String,
    /// Installed on behalf of others; `None` where the manager does not keep this apart.
    pub automatic: Option<bool>,
    pub held: bool,
    /// What is wrong with its state, when an earlier transaction was interrupted.
    pub unfinished: Option<String>,
}

/// One package of a transaction that was worked out and not run. Both `None` does not occur.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resolved {
    pub name: String,
    pub architecture: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Resolved {
    /// The package as a pin of the version that comes; `None` when it goes.
    pub fn pin(&self) -> Option<PackagePin> {
        Some(PackagePin { name: self.name.clone(), version: self.after.clone()? })
    }
}

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    pub name: String,
    pub architecture: String,
    pub version: String,
    /// Bytes that its files take when unpacked.
    pub installed_bytes: u64,
}

/// What a package owns and runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Files and links, not directories; absolute, as the package spells them.
    pub files: Vec<PathBuf>,
    pub scriptlets: Vec<Scriptlet>,
}

/// How to carry a transaction out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Package files, all of them below the agent's own directory.
    pub files: Vec<PathBuf>,
    /// Names of packages that go.
    pub remove: Vec<String>,
    /// The files are older than what is installed.
    pub older: bool,
    /// The files are installed already and are unpacked once more.
    pub again: bool,
    /// Run no scriptlets at all (RPM only; dpkg has no such mode, there daemons are held by policy-rc.d).
    pub no_scripts: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    #[error("{0}")]
    Tool(#[from] CommandError),
    #[error("the answer of `{tool}` cannot be understood: {why}")]
    Unreadable { tool: String, why: String },
    #[error("another package manager holds the lock: {said}")]
    Locked { said: String },
    /// A package or version that is not to be had.
    #[error("not in any repository of this host: {said}")]
    NotFound { said: String },
    #[error("the packages cannot be installed together: {said}")]
    Unresolvable { said: String },
    #[error("{}", .0.full())]
    File(#[from] FileError),
}

type Result<T> = std::result::Result<T, PackagesError>;

/// A package manager of the host.
pub trait Packages: std::fmt::Debug {
    fn manager(&self) -> PackageManager;

    /// All installed packages, those in an unfinished state included.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn installed(&self) -> Result<Vec<Installed>>;

    /// Fetches the index of the repository in this file of replank's, and of no other.
    ///
    /// # Errors
    /// The repository cannot be reached or read.
    fn refresh(&self, repository: &Path) -> Result<()>;

    /// The versions of these packages that the repository in this file offers.
    ///
    /// # Errors
    /// The index cannot be asked.
    fn offered(&self, repository: &Path, names: &[&str]) -> Result<Vec<PackagePin>>;

    /// Removes what [`Packages::refresh`] fetched. The repository's file must still be there.
    ///
    /// # Errors
    /// A file cannot be removed.
    fn forget(&self, repository: &Path) -> Result<()>;

    /// What installing these versions would do, worked out from the repositories.
    ///
    /// # Errors
    /// A version is not to be had, or the packages do not go together.
    fn resolve(&self, pins: &[PackagePin]) -> Result<Vec<Resolved>>;

    /// Fetches exactly this version into `directory`, checked against the index; the file.
    ///
    /// # Errors
    /// [`PackagesError::NotFound`] when no repository (and no cache) has it.
    fn fetch(&self, package: &Resolved, version: &str, directory: &Path) -> Result<PathBuf>;

    /// The SHA-256 that the index names for this version; `None` where the index does not say.
    ///
    /// # Errors
    /// The index cannot be asked.
    fn index_digest(&self, package: &Resolved, version: &str) -> Result<Option<String>>;

    /// # Errors
    /// It is not a package file.
    fn read_file(&self, file: &Path) -> Result<PackageFile>;

    /// Reads through the whole file: where it is packed tightly this takes as long as unpacking it.
    ///
    /// # Errors
    /// It is not a package file.
    fn contents_of_file(&self, file: &Path) -> Result<Contents>;

    /// # Errors
    /// The package is not installed.
    fn contents_of_installed(&self, package: &Installed) -> Result<Contents>;

    /// What carrying this out would do, worked out from the files alone.
    ///
    /// # Errors
    /// The files do not go together, or not with what is installed.
    fn rehearse(&self, commit: &Commit) -> Result<Vec<Resolved>>;

    /// Carries it out, with the files alone.
    ///
    /// # Errors
    /// The transaction failed, perhaps half way.
    fn commit(&self, commit: &Commit) -> Result<Output>;

    /// Finishes what an interrupted transaction left, as far as the package manager can. `keep` are the versions that stay where
    /// rpm was interrupted between bringing the new one and removing the old one.
    ///
    /// # Errors
    /// It could not be finished.
    fn finish(&self, keep: &[PackagePin]) -> Result<()>;

    /// Removes every trace of packages that were removed, without running what they would run at a purge: on Debian some of those
    /// scripts delete logs and state that running guests use.
    ///
    /// # Errors
    /// The package manager refused.
    fn forget_removed(&self, names: &[String]) -> Result<()>;

    /// Sets whether packages count as installed on behalf of others.
    ///
    /// # Errors
    /// The package manager refused.
    fn mark_automatic(&self, names: &[String], automatic: bool) -> Result<()>;
}

/// Whether two architectures may be those of one and the same package: between versions it can become independent of it.
pub fn compatible(one: &str, other: &str) -> bool {
    let independent = |architecture: &str| matches!(architecture, "all" | "noarch");
    one == other || independent(one) || independent(other)
}

/// The backend for `manager`.
pub fn of(host: &Host, manager: PackageManager) -> Box<dyn Packages + '_> {
    match manager {
        PackageManager::Apt => Box::new(Apt::new(host)),
        PackageManager::Dnf => Box::new(Dnf::new(host, "dnf")),
        PackageManager::Yum => Box::new(Dnf::new(host, "yum")),
    }
}

/// Runs a package manager's command and sorts its complaints.
fn run(host: &Host, command: &Command) -> Result<Output> {
    let output = host.programs.run(command)?;
    if output.success() { Ok(output) } else { Err(complaint(command, &output)) }
}

/// What a failed package manager meant.
fn complaint(command: &Command, output: &Output) -> PackagesError {
    let said = output.complaint();
    // dnf says on standard output which package it is about.
    let everything = format!("{}{}", String::from_utf8_lossy(&output.stderr), output.text());
    let any = |needles: &[&str]| needles.iter().any(|needle| everything.contains(needle));
    if any(&[
        "Could not get lock",
        "Unable to lock",
        "Unable to acquire the dpkg frontend lock",
        "can't lock",
        "is locked by",
    ]) {
        return PackagesError::Locked { said };
    }
    if any(&[
        "Unable to locate package",
        "Can't find a source to download",
        "was not found",
        "Unable to find a match",
        " not available.",
        "No package ",
        "No packages marked for reinstall",
    ]) {
        return PackagesError::NotFound { said };
    }
    if any(&[
        "unmet dependencies",
        "Unable to correct problems",
        "conflicting requests",
        "nothing provides",
        "Depsolve Error",
    ]) {
        return PackagesError::Unresolvable { said };
    }
    PackagesError::Tool(super::command::failed(command, output))
}

fn unreadable(tool: &str, why: impl Into<String>) -> PackagesError {
    PackagesError::Unreadable { tool: tool.to_owned(), why: why.into() }
}

/// A scriptlet in the words that the guard uses.
fn scriptlet(
    package: &str,
    version: &str,
    name: &str,
    phase: Phase,
    of_old_package: bool,
    text: String,
) -> Scriptlet {
    Scriptlet {
        package: package.to_owned(),
        version: version.to_owned(),
        name: name.to_owned(),
        phase,
        of_old_package,
        text,
    }
}
