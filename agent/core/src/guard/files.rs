//! What a transaction would do to files that guests use, by the packages' own file lists.
//!
//! Both rpm and dpkg put a new file beside the old one and rename it into place, so a process keeps what it has mapped. What a guest has
//! *not* opened yet is another matter: modules and plug-ins of another build are refused when it comes to load them, and what is
//! gone cannot be loaded at all.

use super::{Situation, Transaction, finding};
use crate::codes;
use crate::usage::{LazyKind, Role};
use replank_common::finding::{Finding, Severity};
use replank_common::planted::{self, Planted};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The daemon that must be there to take guests over.
const MANAGERS: [&str; 2] = ["libvirtd", "virtqemud"];

pub(super) fn judge(transaction: &Transaction, situation: &Situation<'_>) -> Vec<Finding> {
    if planted::is(Planted::FilesUnjudged) {
        return Vec::new();
    }
    let usage = situation.usage;
    let brings: BTreeMap<PathBuf, &str> = transaction
        .items
        .iter()
        .filter(|item| item.before != item.after)
        .flat_map(|item| item.files_after.iter().map(|path| ((situation.resolve)(path), item.name.as_str())))
        .collect();
    let stays: BTreeSet<PathBuf> = transaction
        .items
        .iter()
        .flat_map(|item| &item.files_after)
        .map(|path| (situation.resolve)(path))
        .collect();
    let goes: BTreeMap<PathBuf, &str> = transaction
        .items
        .iter()
        .flat_map(|item| item.files_before.iter().map(|path| ((situation.resolve)(path), item.name.as_str())))
        .filter(|(path, _)| !stays.contains(path))
        .collect();
    let mut findings = Vec::new();

    for (path, package) in &goes {
        if let Some(file) = usage.file(path).filter(|file| !file.deleted && file.role == Role::Emulator) {
            findings.push(finding(
                situation,
                codes::GUARD_EMULATOR_REMOVED,
                Severity::Blocks,
                path.display(),
                format!(
                    "the transaction removes the emulator of {} with package {package}; libvirt must run it again to take the \
                     guest over",
                    names(&file.guests)
                ),
                "install the new emulator beside the old one, and remove the old one when no guest runs it",
            ));
        }
        if let Some(guests) = usage.sockets.get(path) {
            findings.push(finding(
                situation,
                codes::GUARD_SOCKET_REMOVED,
                Severity::Blocks,
                path.display(),
                format!("the transaction removes a socket of {} with package {package}", names(guests)),
                "leave the package as it is while the guest runs",
            ));
        }
        let is_manager = path.file_name().is_some_and(|name| MANAGERS.iter().any(|manager| name == *manager));
        if is_manager
            && path.parent().is_some_and(|parent| parent.ends_with("sbin") || parent.ends_with("bin"))
            && !usage.guests.is_empty()
        {
            findings.push(finding(
                situation,
                codes::GUARD_MANAGER_REMOVED,
                Severity::Blocks,
                path.display(),
                format!(
                    "the transaction removes the daemon that manages {} guests with package {package}",
                    usage.guests.len()
                ),
                "pin the package to a version that the repository has, or leave it out of the transaction",
            ));
        }
    }
    findings.extend(lazy(&brings, &goes, situation));
    let mapped: BTreeSet<&str> = brings
        .iter()
        .filter(|(path, _)| usage.file(path).is_some_and(|file| !file.deleted))
        .map(|(_, package)| *package)
        .collect();
    for package in mapped {
        let count = brings.iter().filter(|(path, of)| **of == package && usage.file(path).is_some()).count();
        findings.push(finding(
            situation,
            codes::GUARD_FILE_IN_USE,
            Severity::Notes,
            package,
            format!("it replaces {count} files that guests have mapped; each is replaced by a rename, so the guests keep theirs"),
            "nothing is needed; the guests use the new files once they run the new emulator",
        ));
    }
    findings
}

fn lazy(
    brings: &BTreeMap<PathBuf, &str>,
    goes: &BTreeMap<PathBuf, &str>,
    situation: &Situation<'_>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for lazy in &situation.usage.lazy {
        let removed: Vec<(&PathBuf, &&str)> = goes.iter().filter(|(path, _)| lazy.holds(path)).collect();
        let replaced: Vec<(&PathBuf, &&str)> = brings.iter().filter(|(path, _)| lazy.holds(path)).collect();
        let (what, matters) = match lazy.kind {
            LazyKind::Modules => ("qemu loads its modules from", true),
            LazyKind::PlugIns => ("libraries of guests load plug-ins from", true),
            // Another version of a ROM will do when a device is plugged in; none will not.
            LazyKind::Roms => ("qemu reads boot ROMs from", false),
        };
        let hits = if matters { removed.iter().chain(&replaced) } else { removed.iter().chain(&[]) };
        let hits: Vec<_> = hits.collect();
        let Some((first, package)) = hits.first() else { continue };
        let does = if removed.is_empty() { "replaces" } else { "removes" };
        let cause = format!(
            "{what} it when it needs them, and the transaction {does} {} files of it, such as {} of {package}",
            hits.len(),
            first.display()
        );
        let severity = if (situation.kept)(&lazy.directory) {
            Severity::Neutralised {
                how: "the files as they are now are kept in the agent's own directory".to_owned(),
            }
        } else {
            Severity::Blocks
        };
        findings.push(finding(
            situation,
            codes::GUARD_LAZY,
            severity,
            lazy,
            cause,
            "leave the package out of the fleet file, or take a version that leaves these files as they are, and plan again; or \
             move the guests of this host away first",
        ));
    }
    findings
}

fn names(guests: &BTreeSet<String>) -> String {
    let list: Vec<&str> = guests.iter().map(String::as_str).take(3).collect();
    let more = guests.len().saturating_sub(list.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", list.join(", "))
}
