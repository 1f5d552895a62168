//! `PackagesInstall`: the staged packages, from their files alone, with every daemon left as it is.
//!
//! Debian's scripts run, and are refused every start, stop and restart by policy-rc.d ([`held`]); RPM's do not run, and what of them is
//! needed is done here. A note ([`passage`]) marks the time from before the first change to after the last.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | the note | nothing changed | half: begun anew |
//! | the policy | daemons held | half: goes on, and lets go |
//! | some packages changed | the package manager's own unfinished state | half: finished by it, then the rest from the files |
//! | all packages changed | daemons held or let go, the note | half: finds nothing left, lists what lies around |
//! | what lies around listed | the note | half: the note goes |
//! | the note removed | all | done |
//!
//! Going back: the same passage with the old files. Then files that went with a package that had taken them over are brought once more, traces
//! of packages that came along are removed without running their purge scripts, and what lies around is given back byte by byte
//! ([`around`]).
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | the note, with what lay around | nothing changed | goes on; what lay around is that of the note |
//! | some packages back, daemons held | as above | goes on |
//! | some files given back | the rest | goes on with the rest |
//! | the note removed | all as before | nothing to do |

use super::answer::{failure, file_failure, file_refusal, foreign_record, note, refusal};
use super::around::{self, Around, Before};
use super::packages_stage::{packages_refusal, refuse_unfinished};
use super::passage::{self, Open, Passage, WayBack};
use super::staged::{Side, StagedSet};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, held, staged, transaction};
use crate::codes;
use crate::guard::Transaction;
use crate::host::notes;
use crate::host::packages::{self, Installed, Packages, Resolved};
use replank_common::action::{PackagePin, PackagesInstall};
use replank_common::facts::PackageManager;
use replank_common::finding::Finding;
use replank_common::outcome::{Change, Refusal};
use replank_common::undo::{PackageChange, PackagesBefore, UndoRecord};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Notes what lay around after the transaction, under the digest of what lay around before.
const AFTER: &str = "packages-after";

fn recorded(record: &UndoRecord) -> Result<&PackagesBefore, ActError> {
    match record {
        UndoRecord::Packages(before) => Ok(before),
        UndoRecord::Nothing
        | UndoRecord::Files(_)
        | UndoRecord::Tree { .. }
        | UndoRecord::Unit(_)
        | UndoRecord::Libvirtd { .. }
        | UndoRecord::CephFlags { .. }
        | UndoRecord::CephConfig { .. }
        | UndoRecord::CephOwner { .. } => Err(foreign_record("packages-install")),
    }
}

/// The first pin that is not installed at its version, and what is.
fn off_pin<'p>(pins: &'p [PackagePin], installed: &[Installed]) -> Option<(&'p PackagePin, String)> {
    pins.iter().find_map(|pin| {
        let found: Vec<&str> =
            installed.iter().filter(|p| p.name == pin.name).map(|p| p.version.as_str()).collect();
        let is = found.contains(&pin.version.as_str());
        (!is).then(|| (pin, if found.is_empty() { "absent".to_owned() } else { found.join(", ") }))
    })
}

/// The set must be staged for the host as it is, so that what is recorded is what was there.
fn refuse_other_start(set: &StagedSet, remaining: &[Resolved]) -> Result<(), Refusal> {
    if remaining.len() == set.items.len() {
        return Ok(());
    }
    let odd = set.items.iter().find(|item| !remaining.iter().any(|r| r.name == item.name));
    Err(refusal(
        codes::PACKAGES_DIFFER,
        format!(
            "{} is at its new version already, and the others are not",
            odd.map(|item| item.name.as_str()).unwrap_or_default()
        ),
        "find out who changed packages, run the step that fetches the packages again, then retry",
    ))
}

fn opened(host: &Host, action: &PackagesInstall) -> Result<Option<Open>, Refusal> {
    passage::opened(host, action.manager, &action.install).map_err(|e| file_refusal(&e))
}

impl Perform for PackagesInstall {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        if opened(host, self)?.is_some() {
            return Ok(Standing::Half);
        }
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        refuse_unfinished(&installed)?;
        if off_pin(&self.install, &installed).is_none() {
            return Ok(Standing::Done);
        }
        let set = staged::exactly(host, self.manager, &self.install)?;
        let passage = Passage { host, packages, set: &set, to: Side::New };
        let remaining = passage.remaining(&installed)?;
        refuse_other_start(&set, &remaining)?;
        passage.look(&installed, &remaining)?;
        Ok(Standing::Ready)
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let set = staged::exactly(host, self.manager, &self.install)?;
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        let coming = |item: &Resolved| set.contents(host, packages, item, Side::New);
        let transaction = transaction::gather(host, packages, &set.resolved(), &installed, coming)
            .map_err(|e| packages_refusal(&e))?;
        let paths = |of: fn(&crate::guard::TransactionItem) -> &Vec<PathBuf>| -> BTreeSet<PathBuf> {
            transaction.items.iter().flat_map(of).cloned().collect()
        };
        let (present, coming) = (paths(|i| &i.files_before), paths(|i| &i.files_after));
        let around_sha256 = Before::take(host, &present, &coming)
            .and_then(|before| before.keep(host))
            .map_err(|e| file_refusal(&e))?;
        let changes = set
            .items
            .iter()
            .map(|item| PackageChange {
                name: item.name.clone(),
                architecture: item.architecture.clone(),
                before: item.before.clone(),
                after: item.after.clone(),
                automatic_before: item.automatic_before,
            })
            .collect();
        Ok(UndoRecord::Packages(PackagesBefore { changes, around_sha256 }))
    }

    fn apply(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let before = recorded(record)?;
        let set = staged::exactly(host, self.manager, &self.install)?;
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let passage = Passage { host, packages, set: &set, to: Side::New };
        let earlier = opened(host, self)?;
        let began = earlier.is_some();
        let kept = kept(host, before)?;
        let mut report = Report::default();
        if !began {
            let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
            refuse_unfinished(&installed)?;
            let remaining = passage.remaining(&installed)?;
            if remaining.is_empty() && after(host, before)?.is_some() {
                return Ok(report);
            }
            let (transaction, findings) = passage.look(&installed, &remaining)?;
            report.findings = findings;
            report.findings.extend(scripts_left_out(host, &transaction));
        }
        let open = passage.open(earlier, &self.undisturbed_units, None)?;
        host.boundary.reached("packages-install: begun");
        report.changes = held::held(host, open.policy.as_ref(), || {
            let changes = passage.carry_out(!began, progress)?;
            mark_forward(packages, &set)?;
            host.boundary.reached("packages-install: marks given back");
            passage.settle()?;
            Ok(changes)
        })?;
        let now = around::list(host, &kept.configuration, false).map_err(|e| file_failure(&e))?;
        notes::write(host, AFTER, &before.around_sha256, &now).map_err(|e| file_failure(&e))?;
        host.boundary.reached("packages-install: what lies around listed");
        let undisturbed = passage.undisturbed(&open);
        passage.close()?;
        host.boundary.reached("packages-install: ended");
        undisturbed?;
        Ok(report)
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let packages = packages::of(host, self.manager);
        let installed = packages.installed().map_err(|e| passage::packages_failure(&e))?;
        refuse_unfinished(&installed).map_err(|r| failure(codes::PACKAGES_UNFINISHED, r.reason, r.remedy))?;
        match off_pin(&self.install, &installed) {
            None => Ok(()),
            Some((pin, found)) => Err(failure(
                codes::PACKAGES_ABSENT,
                format!("{} is {found} and not {}", pin.name, pin.version),
                "see the package manager's log, then retry the step",
            )),
        }
    }

    fn undo(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let before = recorded(record)?;
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let earlier = opened(host, self)?;
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        if earlier.is_none() && is_before(before, &installed) {
            return Ok(Report::default());
        }
        let set = staged_for(host, self.manager, &self.install, before)?;
        let kept = kept(host, before)?;
        let passage = Passage { host, packages, set: &set, to: Side::Old };
        let begun = earlier.as_ref().filter(|open| open.to == Side::Old).and_then(|open| open.back.clone());
        let unfinished = installed.iter().any(|p| p.unfinished.is_some());
        let mut report = Report::default();
        let back = match &begun {
            Some(back) => back.clone(),
            None => {
                if earlier.is_none() {
                    refuse_unfinished(&installed)?;
                }
                if !unfinished {
                    let remaining = passage.remaining(&installed)?;
                    report.findings = passage.look(&installed, &remaining)?.1;
                }
                let started = around::list(host, &kept.configuration, false).map_err(|e| file_refusal(&e))?;
                let back =
                    WayBack { after: after(host, before)?.unwrap_or_else(|| started.clone()), started };
                refuse_foreign(&kept.around, &back)?;
                back
            }
        };
        let open = passage.open(earlier, &self.undisturbed_units, Some(back.clone()))?;
        host.boundary.reached("packages-install: going back begun");
        held::held(host, open.policy.as_ref(), || {
            report.changes = passage.carry_out(begun.is_none() && !unfinished, progress)?;
            report.findings.extend(bring_lost(&passage, &kept, progress)?);
            forget_and_mark(packages, &set)?;
            host.boundary.reached("packages-install: traces forgotten");
            let (changes, findings) = give_back(host, &kept, &back)?;
            report.changes.extend(changes);
            report.findings.extend(findings);
            host.boundary.reached("packages-install: what lies around given back");
            passage.settle()?;
            Ok(())
        })?;
        let undisturbed = passage.undisturbed(&open);
        notes::forget(host, AFTER, &before.around_sha256).map_err(|e| file_failure(&e))?;
        passage.close()?;
        host.boundary.reached("packages-install: going back ended");
        undisturbed?;
        Ok(report)
    }
}

fn is_before(before: &PackagesBefore, installed: &[Installed]) -> bool {
    let unfinished = installed.iter().any(|p| p.unfinished.is_some());
    !unfinished
        && before.changes.iter().all(|change| {
            let same = |p: &&Installed| {
                p.name == change.name && packages::compatible(&p.architecture, &change.architecture)
            };
            installed.iter().find(same).map(|p| &p.version) == change.before.as_ref()
        })
}

/// The set whose old files are the ones that the record names.
fn staged_for(
    host: &Host,
    manager: PackageManager,
    pins: &[PackagePin],
    before: &PackagesBefore,
) -> Result<StagedSet, Refusal> {
    let set = staged::exactly(host, manager, pins)?;
    let mut recorded: Vec<Resolved> = before
        .changes
        .iter()
        .map(|change| Resolved {
            name: change.name.clone(),
            architecture: change.architecture.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
        })
        .collect();
    recorded.sort();
    if recorded == set.resolved() {
        return Ok(set);
    }
    Err(refusal(
        codes::PACKAGES_NOT_STAGED,
        "the staged packages are of another transaction than the one to take back",
        "the packages were fetched again since; put the versions that the agent's ledger names back by hand",
    ))
}

fn kept(host: &Host, before: &PackagesBefore) -> Result<Before, Refusal> {
    Before::kept(host, &before.around_sha256).map_err(|e| {
        refusal(
            codes::PACKAGES_NOT_STAGED,
            format!("what was there before the transaction cannot be told any more: {}", e.full()),
            "restore the agent's directory from a backup, or go back by hand",
        )
    })
}

fn after(host: &Host, before: &PackagesBefore) -> Result<Option<Around>, Refusal> {
    notes::read(host, AFTER, &before.around_sha256).map_err(|e| file_refusal(&e))
}

/// Packages that were there on behalf of others, or come along, count as such again: naming their files made them explicit.
fn mark_forward(packages: &dyn Packages, set: &StagedSet) -> Result<(), Failure> {
    let names: Vec<String> = set
        .items
        .iter()
        .filter(|item| item.after.is_some())
        .filter(|item| match item.automatic_before {
            Some(automatic) => automatic,
            None => item.before.is_none() && !set.pins.iter().any(|pin| pin.name == item.name),
        })
        .map(|item| item.name.clone())
        .collect();
    packages.mark_automatic(&names, true).map_err(|e| passage::packages_failure(&e))
}

/// With RPM none of the scripts ran.
fn scripts_left_out(host: &Host, transaction: &Transaction) -> Vec<Finding> {
    match transaction.manager {
        PackageManager::Apt => return Vec::new(),
        PackageManager::Dnf | PackageManager::Yum => {}
    }
    let mut findings = Vec::new();
    for item in &transaction.items {
        let names: Vec<String> = item
            .scriptlets
            .iter()
            .filter(|script| script.text.trim() != "/sbin/ldconfig")
            .map(|script| format!("{} of {}", script.name, script.version))
            .collect();
        if !names.is_empty() {
            findings.push(note(
                host,
                codes::PACKAGES_SCRIPTS,
                item.name.clone(),
                format!(
                    "left out: {}; `ldconfig` and a reload of systemd were done instead",
                    names.join(", ")
                ),
                "read them (`rpm -q --scripts`), and do by hand what else is needed",
            ));
        }
    }
    findings
}

/// What a package had taken over from another went with it: dpkg leaves a file that is another package's when it unpacks the old one.
fn bring_lost(passage: &Passage<'_>, kept: &Before, progress: Progress<'_>) -> Result<Vec<Finding>, Failure> {
    let host = passage.host;
    let compared = kept.compare(host).map_err(|e| file_failure(&e))?;
    if compared.missing.is_empty() && compared.altered.is_empty() {
        return Ok(Vec::new());
    }
    progress(
        Some(600),
        &format!("bringing {} files once more", compared.missing.len() + compared.altered.len()),
    );
    passage.again(progress)?;
    host.boundary.reached("packages-install: lost files brought once more");
    let compared = kept.compare(host).map_err(|e| file_failure(&e))?;
    if let Some(first) = compared.missing.first() {
        return Err(failure(
            codes::PACKAGES_LOST,
            format!("{} is not there, nor are {} more files", first.display(), compared.missing.len() - 1),
            "take the file out of the old package in the agent's directory, put it in place, then retry",
        ));
    }
    let by_hand = |path: &PathBuf| {
        note(
            host,
            codes::PACKAGES_BY_HAND,
            path.display().to_string(),
            "it had been altered on the host before the run; the old package's own file is there now",
            "alter it again if that is still wanted",
        )
    };
    Ok(compared.altered.iter().map(by_hand).collect())
}

fn forget_and_mark(packages: &dyn Packages, set: &StagedSet) -> Result<(), Failure> {
    let gone: Vec<String> =
        set.items.iter().filter(|item| item.before.is_none()).map(|item| item.name.clone()).collect();
    let marked = |automatic: bool| -> Vec<String> {
        let these = set.items.iter().filter(|item| item.automatic_before == Some(automatic));
        these.map(|item| item.name.clone()).collect()
    };
    packages
        .forget_removed(&gone)
        .and_then(|()| packages.mark_automatic(&marked(true), true))
        .and_then(|()| packages.mark_automatic(&marked(false), false))
        .map_err(|e| passage::packages_failure(&e))
}

/// Files that the transaction changed and somebody else changed since. Accounts are no reason to refuse: they stay.
fn refuse_foreign(before: &Around, back: &WayBack) -> Result<(), Refusal> {
    let foreign: Vec<PathBuf> = around::differing(before, &back.after)
        .into_iter()
        .filter(|path| back.started.get(path) != back.after.get(path))
        .filter(|path| back.started.get(path) != before.get(path) && !around::is_account(path))
        .collect();
    let Some(first) = foreign.first() else { return Ok(()) };
    let more = if foreign.len() == 1 { String::new() } else { format!(" (and {} more)", foreign.len() - 1) };
    Err(refusal(
        codes::PACKAGES_AROUND,
        format!("{} was changed by somebody else since the transaction changed it{more}", first.display()),
        "put it back as it was before the run or as the upgrade left it, then retry",
    ))
}

fn give_back(host: &Host, kept: &Before, back: &WayBack) -> Result<(Vec<Change>, Vec<Finding>), Failure> {
    let now = around::list(host, &kept.configuration, false).map_err(|e| file_failure(&e))?;
    let mut paths = around::differing(&kept.around, &back.after);
    paths.extend(around::differing(&back.started, &now));
    let theirs: Vec<PathBuf> = paths
        .iter()
        .filter(|path| around::is_account(path) && back.started.get(*path) != back.after.get(*path))
        .cloned()
        .collect();
    paths.retain(|path| !theirs.contains(path));
    let restored = around::restore(host, &kept.around, &paths).map_err(|e| file_failure(&e))?;
    let changes = restored
        .iter()
        .map(|path| super::answer::change(path.display().to_string(), "as packages left it", "as it was"))
        .collect();
    let findings = theirs
        .iter()
        .map(|path| {
            note(
                host,
                codes::PACKAGES_ACCOUNTS,
                path.display().to_string(),
                "accounts came with packages, and somebody else changed the file since",
                "remove the accounts by hand if they bother",
            )
        })
        .collect();
    Ok((changes, findings))
}
