//! `TreeInstall`: a relocated build beside the old one, from one staged package that owns nothing outside its prefix.
//!
//! Nothing that is there is overwritten: the prefix must be free, and a build that a process uses is neither written to nor removed.
//! On the way back a guest that has been started on the new build meanwhile keeps it: the undo refuses until that guest has ended or
//! moved.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | a note that the prefix is replank's, and which directories above it were missing | prepared again |
//! | some files unpacked | a part of the tree, no package | `check` says half: `apply` installs it over; undo removes it |
//! | the package installed | all | `check` says done |
//! | undo: the package removed | perhaps files that the package did not own | undo removes them |
//! | undo: the prefix removed | empty directories that were made for it, named in the note | undo removes them |
//! | undo: the note removed | nothing | undo finds nothing to do |

use super::answer::{change, failure, file_failure, file_refusal, foreign_record, refusal};
use super::packages_stage::{packages_refusal, refuse_unfinished};
use super::staged::{self, Side, StagedItem, StagedSet};
use super::tree_use::refuse_in_use;
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, transaction};
use crate::codes;
use crate::host::files::FileError;
use crate::host::notes;
use crate::host::packages::{self, Commit, Contents, Installed, Packages, PackagesError, Resolved};
use replank_common::action::TreeInstall;
use replank_common::facts::PackageManager;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

const KIND: &str = "tree-install";
const STAYS: &str = "the build stays until those guests have ended or moved to another host: it is beside the old one and harms nothing. \
     Let their owners shut them down, or move them, then roll back again";

/// That a prefix is replank's.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    package: String,
    version: String,
    /// Directories above the prefix that were not there, outermost first.
    missing_directories: Vec<PathBuf>,
}

fn key(action: &TreeInstall) -> String {
    format!("{} {}", action.manager.as_str(), action.prefix.display())
}

/// The note of this very build at this prefix.
fn own_note(action: &TreeInstall, host: &Host) -> Result<Option<Note>, FileError> {
    let note: Option<Note> = notes::read(host, KIND, &key(action))?;
    Ok(note.filter(|note| note.package == action.package.name && note.version == action.package.version))
}

fn staged_build(action: &TreeInstall, host: &Host) -> Result<(StagedSet, StagedItem), Refusal> {
    let set = staged::exactly(host, action.manager, std::slice::from_ref(&action.package))?;
    match set.items.as_slice() {
        [item] if item.name == action.package.name && item.before.is_none() => {
            Ok((set.clone(), item.clone()))
        }
        items => {
            let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
            Err(refusal(
                codes::TREE_NOT_ALONE,
                format!(
                    "{} would be installed together with, or over, other packages: {}",
                    action.package.name,
                    names.join(", ")
                ),
                "build it as one package that needs no other and has a name of its own (`qemu-10.0.2`)",
            ))
        }
    }
}

/// Insists that the package owns nothing outside the prefix.
fn refuse_outside(action: &TreeInstall, contents: &Contents) -> Result<(), Refusal> {
    let climbs = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    let outside = |path: &&PathBuf| !path.starts_with(&action.prefix) || climbs(path);
    let outside: Vec<&PathBuf> = contents.files.iter().filter(outside).collect();
    if contents.files.is_empty() {
        return Err(refusal(codes::TREE_OUTSIDE, format!("{} owns no file", action.package.name), REBUILD));
    }
    let Some(first) = outside.first() else { return Ok(()) };
    Err(refusal(
        codes::TREE_OUTSIDE,
        format!(
            "{} owns {} files outside {}, such as {}",
            action.package.name,
            outside.len(),
            action.prefix.display(),
            first.display()
        ),
        REBUILD,
    ))
}

fn installed_build(
    action: &TreeInstall,
    packages: &dyn Packages,
) -> Result<Option<Installed>, PackagesError> {
    Ok(packages.installed()?.into_iter().find(|package| package.name == action.package.name))
}

fn commit(action: &TreeInstall, host: &Host, set: &StagedSet) -> Commit {
    Commit {
        files: set.files(host, Side::New),
        no_scripts: match action.manager {
            PackageManager::Dnf | PackageManager::Yum => true,
            PackageManager::Apt => false,
        },
        ..Commit::default()
    }
}

fn removal(action: &TreeInstall) -> Commit {
    Commit {
        remove: vec![action.package.name.clone()],
        no_scripts: match action.manager {
            PackageManager::Dnf | PackageManager::Yum => true,
            PackageManager::Apt => false,
        },
        ..Commit::default()
    }
}

/// Takes the package away, when the package manager would take nothing else with it.
fn remove_package(
    action: &TreeInstall,
    host: &Host,
    packages: &dyn Packages,
    package: &Installed,
    installed: &[Installed],
) -> Result<(), ActError> {
    let gone = Resolved {
        name: package.name.clone(),
        architecture: package.architecture.clone(),
        before: Some(package.version.clone()),
        after: None,
    };
    let resolved = packages.rehearse(&removal(action)).map_err(|e| packages_refusal(&e))?;
    if let Some(other) = resolved.iter().find(|item| item.name != package.name) {
        return Err(refusal(
            codes::TREE_NOT_ALONE,
            format!("removing {} would also change {}", package.name, other.name),
            "remove what was installed on top of it since, then roll back again",
        )
        .into());
    }
    let transaction = transaction::gather(host, packages, &[gone], installed, |_| Ok(None))
        .map_err(|e| packages_refusal(&e))?;
    transaction::judged(host, &transaction)?;
    let done =
        packages.commit(&removal(action)).and_then(|_| packages.forget_removed(&removal(action).remove));
    done.map_err(|e| tool_failure(&package.name, "removed", &e))?;
    host.boundary.reached("tree-install: package removed");
    Ok(())
}

const REBUILD: &str = "build the package so that everything in it is below the prefix, and nothing else";

fn tool_failure(name: &str, what: &str, error: &PackagesError) -> Failure {
    failure(
        codes::TREE_INSTALL,
        format!("{name} could not be {what}: {error}"),
        "see the message, then retry",
    )
}

/// Whether there is anything in a directory; a path that is not a directory counts as something.
fn is_occupied(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) => e.kind() != io::ErrorKind::NotFound,
    }
}

impl Perform for TreeInstall {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let deep = self.prefix.components().filter(|part| matches!(part, Component::Normal(_))).count();
        let plain =
            self.prefix.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !self.prefix.is_absolute() || !plain || deep < 2 {
            return Err(refusal(
                codes::TREE_TAKEN,
                format!("{} cannot be the prefix of a build", self.prefix.display()),
                "name a directory of its own in the fleet file, such as /opt/qemu/10.0.2",
            ));
        }
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let here = host.at(&self.prefix);
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        refuse_unfinished(&installed)?;
        if let Some(package) = installed.iter().find(|package| package.name == self.package.name) {
            if package.version == self.package.version && is_occupied(&here) {
                return Ok(Standing::Done);
            }
            return Err(refusal(
                codes::TREE_TAKEN,
                format!("{} {} is installed already, or its files are gone", package.name, package.version),
                "remove that package when no guest uses it, or give the new build a name of its own",
            ));
        }
        let (set, item) = staged_build(self, host)?;
        let contents = set.contents(host, packages, &item.resolved(), Side::New);
        refuse_outside(self, &contents.map_err(|e| packages_refusal(&e))?.unwrap_or_default())?;
        if !is_occupied(&here) {
            return Ok(Standing::Ready);
        }
        if own_note(self, host).map_err(|e| file_refusal(&e))?.is_none() {
            return Err(refusal(
                codes::TREE_TAKEN,
                format!("{} is there already and is not replank's", self.prefix.display()),
                "give the new build a prefix of its own: one that was installed is never written to again",
            ));
        }
        refuse_in_use(host, &here, "end what uses a build that is not installed, then retry")?;
        Ok(Standing::Half)
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let above = self.prefix.ancestors().skip(1);
        let mut missing: Vec<PathBuf> =
            above.take_while(|path| !host.at(path).exists()).map(Path::to_owned).collect();
        missing.reverse();
        let note = Note {
            package: self.package.name.clone(),
            version: self.package.version.clone(),
            missing_directories: missing,
        };
        notes::write(host, KIND, &key(self), &note).map_err(|e| file_refusal(&e))?;
        Ok(UndoRecord::Tree { path: self.prefix.clone() })
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        if installed.iter().any(|p| p.name == self.package.name && p.version == self.package.version) {
            return Ok(Report::default());
        }
        let (set, item) = staged_build(self, host)?;
        let commit = commit(self, host, &set);
        progress(Some(100), "comparing the package with what guests use");
        let resolved = packages.rehearse(&commit).map_err(|e| packages_refusal(&e))?;
        let expected = |found: &Resolved| found.name == item.name && found.before.is_none();
        if resolved.len() != 1 || !resolved.iter().all(expected) {
            let names: Vec<&str> = resolved.iter().map(|found| found.name.as_str()).collect();
            return Err(refusal(
                codes::TREE_NOT_ALONE,
                format!("installing {} would now change: {}", item.name, names.join(", ")),
                "run the step that fetches the package again",
            )
            .into());
        }
        let coming = |_: &Resolved| set.contents(host, packages, &item.resolved(), Side::New);
        let transaction = transaction::gather(host, packages, &resolved, &installed, coming)
            .map_err(|e| packages_refusal(&e))?;
        let findings = transaction::judged(host, &transaction)?;
        progress(Some(200), &format!("installing {}", item.name));
        packages.commit(&commit).map_err(|e| tool_failure(&item.name, "installed", &e))?;
        host.boundary.reached("tree-install: package installed");
        // The package manager does not sync what it unpacks, and says nothing of it when the power goes.
        let here = host.at(&self.prefix);
        fs::File::open(&here)
            .and_then(|directory| rustix::fs::syncfs(&directory).map_err(io::Error::from))
            .map_err(|e| file_failure(&FileError::new("sync the file system of", &here, e)))?;
        host.boundary.reached("tree-install: synced");
        let what = format!("{} {}", item.name, self.package.version);
        let changes = vec![change(self.prefix.display().to_string(), "absent", what)];
        Ok(Report { changes, findings })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let found =
            installed_build(self, packages).map_err(|e| tool_failure(&self.package.name, "looked up", &e))?;
        let Some(package) = found.filter(|package| package.version == self.package.version) else {
            let error = format!("{} {} is not installed", self.package.name, self.package.version);
            return Err(failure(codes::TREE_INSTALL, error, "see the package manager's log, then retry"));
        };
        let contents = packages
            .contents_of_installed(&package)
            .map_err(|e| tool_failure(&self.package.name, "looked up", &e))?;
        match contents.files.iter().find(|path| fs::symlink_metadata(host.at(path)).is_err()) {
            None => Ok(()),
            Some(path) => Err(failure(
                codes::TREE_INSTALL,
                format!("{} of {} is not there", path.display(), package.name),
                "see the package manager's log, roll the step back, then retry",
            )),
        }
    }

    fn undo(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let UndoRecord::Tree { path } = record else { return Err(foreign_record(KIND)) };
        let here = host.at(path);
        refuse_in_use(host, &here, STAYS)?;
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        let package =
            installed.iter().find(|p| p.name == self.package.name && p.version == self.package.version);
        let was_there = package.is_some() || here.exists();
        let note = own_note(self, host).map_err(|e| file_refusal(&e))?;
        if let Some(package) = package {
            progress(Some(200), &format!("removing {}", package.name));
            remove_package(self, host, packages, package, &installed)?;
        }
        if note.is_some() {
            // What an interrupted installation unpacked, or what was put into a directory that was the build's alone.
            removed(fs::remove_dir_all(&here), &here)?;
            host.boundary.reached("tree-install: prefix removed");
        }
        let missing = note.map(|note| note.missing_directories).unwrap_or_default();
        for directory in missing.iter().rev() {
            let directory = host.at(directory);
            if !is_occupied(&directory) {
                removed(fs::remove_dir(&directory), &directory)?;
            }
        }
        notes::forget(host, KIND, &key(self)).map_err(|e| file_failure(&e))?;
        let changes = if was_there {
            vec![change(path.display().to_string(), self.package.version.clone(), "absent")]
        } else {
            Vec::new()
        };
        Ok(Report { changes, findings: Vec::new() })
    }
}

fn removed(result: io::Result<()>, path: &Path) -> Result<(), Failure> {
    match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(file_failure(&FileError::new("remove", path, e)))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[path = "tree_install_tests.rs"]
mod tests;
