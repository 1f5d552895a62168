//! The guard: the agent's own "no" to anything that would touch what a live guest uses.
//!
//! Owns the comparison of a package transaction with the use that guests make of files. Never resolves or runs a transaction.

mod action;
mod files;
mod scriptlet;
pub mod shell;

pub use action::{is_judged_on_the_way_back, judge_action, needs_agreement, needs_usage};

use crate::codes;
use crate::usage::Usage;
use replank_common::census::{Census, Disagreement};
use replank_common::facts::PackageManager;
use replank_common::finding::{Finding, Severity};
use replank_common::ids::HostName;
use replank_common::outcome::Refusal;
use replank_common::planted::{self, Planted};
use scriptlet::{Harm, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// When a scriptlet runs in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Before,
    After,
}

/// A maintainer script (Debian) or scriptlet (RPM) that the transaction would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scriptlet {
    pub package: String,
    pub version: String,
    /// `postinst`, `prerm`, `%postun`, `%posttrans`, `trigger`, …
    pub name: String,
    pub phase: Phase,
    /// It belongs to the package that is installed now, not to the one that comes.
    pub of_old_package: bool,
    /// A first line `#!` names an interpreter other than a shell.
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

/// What a transaction is compared with.
pub struct Situation<'a> {
    pub host: &'a HostName,
    pub usage: &'a Usage,
    /// Whether the files of a directory, as guests use them, are kept in the agent's own directory.
    pub kept: &'a dyn Fn(&Path) -> bool,
    /// A path without symlinks in its directories, as processes show it: `/lib/x` is `/usr/lib/x` where `/lib` is a link.
    pub resolve: &'a dyn Fn(&Path) -> PathBuf,
    /// The file that is written by writing to a path: as `resolve`, and through the link that the path itself may be.
    pub follow: &'a dyn Fn(&Path) -> PathBuf,
}

impl std::fmt::Debug for Situation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Situation")
            .field("host", self.host)
            .field("usage", self.usage)
            .finish_non_exhaustive()
    }
}

/// Compares a transaction with what guests use. Pure. No finding that [`Severity::Blocks`]: it may run, under the backend's
/// own suppression of scripts (`noscripts` with RPM, policy-rc.d with Debian).
pub fn judge(transaction: &Transaction, situation: &Situation<'_>) -> Vec<Finding> {
    let mut findings = files::judge(transaction, situation);
    let mut seen = BTreeSet::new();
    for item in &transaction.items {
        for script in item.scriptlets.iter().filter(|_| !planted::is(Planted::ScriptsUnread)) {
            for harm in scriptlet::harms(transaction.manager, item, script, situation) {
                let key = (
                    script.package.clone(),
                    script.name.clone(),
                    script.of_old_package,
                    harm.subject.clone(),
                    harm.asks_policy,
                );
                if seen.insert(key) {
                    findings.push(of_harm(transaction.manager, script, &harm, situation.host));
                }
            }
        }
    }
    findings
}

/// Whether a transaction may run with what was found.
///
/// # Errors
/// `RP5108` with all findings when one blocks; `RP5109` when it cannot be told what guests use.
pub fn verdict(judged: Result<Vec<Finding>, String>) -> Result<Vec<Finding>, Refusal> {
    let findings = judged.map_err(|why| Refusal {
        code: codes::PACKAGES_CANNOT_TELL.to_owned(),
        reason: format!("it cannot be told whether the transaction touches what guests use: {why}"),
        remedy: "see the message; nothing is installed while it cannot be told".to_owned(),
        findings: Vec::new(),
    })?;
    let mut blocking = findings.iter().filter(|finding| finding.severity == Severity::Blocks);
    let Some(first) = blocking.next() else { return Ok(findings) };
    let more = blocking.count();
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    let Finding { code, subject, cause, .. } = first;
    Err(Refusal {
        code: codes::PACKAGES_GUARDED.to_owned(),
        reason: format!("the transaction would endanger guests: {code} {subject}: {cause}{more}"),
        remedy: first.remedy.clone(),
        findings,
    })
}

/// What the sources of a census do not agree on, as findings that block.
pub fn of_census(census: &Census) -> Vec<Finding> {
    let remedy = "see `replank-agent census` on the host; nothing is repaired by itself";
    let one = |disagreement: &Disagreement| {
        let subject = match disagreement {
            Disagreement::Missing { name, .. } | Disagreement::PidDiffers { name, .. } => name.clone(),
            Disagreement::Twice { guest, .. } => guest.to_string(),
            Disagreement::Silent { source, .. } => source.describe().to_owned(),
            Disagreement::BadStatusFile { path, .. } => path.display().to_string(),
        };
        finding(
            &census.host,
            codes::GUARD_DISAGREEMENT,
            Severity::Blocks,
            subject,
            disagreement.to_string(),
            remedy,
        )
    };
    census.disagreements.iter().map(one).collect()
}

fn of_harm(manager: PackageManager, script: &Scriptlet, harm: &Harm, host: &HostName) -> Finding {
    let (code, does) = match harm.kind {
        Kind::Daemon => (codes::GUARD_DAEMON, "stops or restarts what guests depend on"),
        Kind::WritesInPlace => {
            (codes::GUARD_IN_PLACE, "writes into a file that guests have mapped or may load")
        }
        Kind::Removes => (codes::GUARD_REMOVES, "removes what guests use"),
        Kind::EndsGuests => (codes::GUARD_ENDS, "may end guests"),
        Kind::CannotTell => {
            (codes::GUARD_CANNOT_TELL, "names what guests depend on in a way that cannot be told beforehand")
        }
    };
    let whose = if script.of_old_package { "the installed" } else { "the new" };
    let cause = format!(
        "{} of {whose} package {} {} {does}: `{}` (line {})",
        script.name, script.package, script.version, harm.command, harm.line
    );
    let severity = match manager {
        PackageManager::Dnf | PackageManager::Yum => {
            Severity::Neutralised { how: "the transaction runs no scriptlets (tsflags=noscripts)".to_owned() }
        }
        PackageManager::Apt if harm.asks_policy => {
            Severity::Neutralised { how: "policy-rc.d refuses it during the transaction".to_owned() }
        }
        PackageManager::Apt => Severity::Blocks,
    };
    let remedy = "leave the package out, take a version without it, or move the guests away first";
    finding(host, code, severity, &harm.subject, cause, remedy)
}

fn finding(
    host: impl AsHost,
    code: &str,
    severity: Severity,
    subject: impl Display,
    cause: String,
    remedy: &str,
) -> Finding {
    Finding {
        code: code.to_owned(),
        host: Some(host.as_host().clone()),
        severity,
        subject: subject.to_string(),
        cause,
        remedy: remedy.to_owned(),
    }
}

/// Where a finding's host is taken from.
trait AsHost {
    fn as_host(&self) -> &HostName;
}

impl AsHost for &HostName {
    fn as_host(&self) -> &HostName {
        self
    }
}

impl AsHost for &Situation<'_> {
    fn as_host(&self) -> &HostName {
        self.host
    }
}

#[cfg(test)]
mod tests;
