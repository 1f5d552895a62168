//! `PackagesStage`: fetch the packages of both directions, and find out everything that can go wrong before anything is changed.
//!
//! Writes below the agent's own directory only. A refusal from `apply` therefore means that the host is as it was.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | resolving | nothing | staged anew |
//! | some files fetched | a set without manifest | wiped and staged anew |
//! | the manifest written | the staged set | `check` says done, after reading every file again |

use super::answer::{change, failure, file_refusal, note, refusal};
use super::staged::{Side, StagedFile, StagedItem, StagedSet};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, staged, transaction};
use crate::codes;
use crate::host::files::{FileError, digest_of_file, sync_directory};
use crate::host::packages::{self, Installed, Packages, PackagesError, Resolved};
use crate::host::space;
use replank_common::action::PackagesStage;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

const MAKE_ROOM: &str = "make room (or mount it writable), then retry";

/// What a package manager's error means before anything is changed.
pub(super) fn packages_refusal(error: &PackagesError) -> Refusal {
    let (code, remedy) = match error {
        PackagesError::Locked { .. } => {
            (codes::PACKAGES_LOCKED, "wait until the other package manager is done, then retry")
        }
        PackagesError::NotFound { .. } => {
            (codes::PACKAGES_NOT_FOUND, "check the versions in the fleet file and the repository, then retry")
        }
        PackagesError::Unresolvable { .. } => (
            codes::PACKAGES_UNRESOLVED,
            "name the packages that go together in the fleet file and plan again",
        ),
        PackagesError::Tool(error) if tells_of_no_room(&error.to_string()) => {
            (codes::PACKAGES_SPACE, MAKE_ROOM)
        }
        PackagesError::Tool(_) | PackagesError::Unreadable { .. } => {
            (codes::PACKAGES_UNRESOLVED, "see the message, then retry")
        }
        PackagesError::File(error) => return disk_refusal(error),
    };
    refusal(code, error.to_string(), remedy)
}

/// As the C library, apt (`apt-pkg/acquire.cc`) and rpm (`lib/rpmps.cc`) say it.
fn tells_of_no_room(said: &str) -> bool {
    ["No space left on device", "enough free space", "more space needed on", "Disk quota exceeded"]
        .iter()
        .any(|words| said.contains(words))
}

/// What the agent's own disk says while nothing else is touched: the host is as it was, and whoever makes room retries.
fn disk_refusal(error: &FileError) -> Refusal {
    match error.source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
            refusal(codes::PACKAGES_SPACE, error.full(), MAKE_ROOM)
        }
        _ => file_refusal(error),
    }
}

/// Whether a resolved transaction does what was asked and nothing else to what is installed.
fn refuse_surprises(
    resolved: &[Resolved],
    action: &PackagesStage,
    installed: &[Installed],
) -> Result<Vec<Resolved>, Refusal> {
    let mut extra = Vec::new();
    for item in resolved {
        let pinned = action.install.iter().any(|pin| pin.name == item.name);
        let may_go = !pinned && action.removals.contains(&item.name);
        let what = format!("{} {}", item.name, item.before.as_deref().unwrap_or_default());
        if item.after.is_none() && !may_go {
            return Err(refusal(
                codes::PACKAGES_SURPRISE,
                format!("the transaction would remove {what}"),
                "find out what it conflicts with (`apt-get -s install` or `dnf --assumeno install` with the same versions); name it in `removals` of the fleet file if it may go",
            ));
        }
        if item.after.is_some() && !pinned && item.before.is_some() {
            return Err(refusal(
                codes::PACKAGES_SURPRISE,
                format!("the transaction would also change {what}, which the plan does not name"),
                "pin that package too in the fleet file, or keep it out, and plan again",
            ));
        }
        if item.after.is_some() && !pinned {
            extra.push(item.clone());
        }
        if installed.iter().any(|p| p.name == item.name && p.held) {
            return Err(refusal(
                codes::PACKAGES_HELD,
                format!("{} is on hold and would change", item.name),
                "release the hold (`apt-mark unhold`), or leave the package out",
            ));
        }
    }
    Ok(extra)
}

/// # Errors
/// `RP5101` when an earlier transaction was interrupted.
pub(super) fn refuse_unfinished(installed: &[Installed]) -> Result<(), Refusal> {
    let Some(package) = installed.iter().find(|p| p.unfinished.is_some()) else { return Ok(()) };
    Err(refusal(
        codes::PACKAGES_UNFINISHED,
        format!(
            "{} {} is {}: an earlier transaction was interrupted",
            package.name,
            package.version,
            package.unfinished.as_deref().unwrap_or_default()
        ),
        "finish it first (`dpkg --configure -a` and `apt-get -f install`, or `dnf check`), then retry",
    ))
}

/// Whether all packages of a set are where it starts, or all where it ends. Where some are here and some there, the set's way back is
/// not the one to what is there now.
fn still_fits(set: &StagedSet, installed: &[Installed]) -> bool {
    let now = |item: &StagedItem| installed.iter().find(|p| p.name == item.name).map(|p| p.version.clone());
    set.items.iter().all(|item| now(item) == item.before)
        || set.items.iter().all(|item| now(item) == item.after)
}

impl Perform for PackagesStage {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let packages = packages::of(host, self.manager);
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        refuse_unfinished(&installed)?;
        match staged::exactly(host, self.manager, &self.install) {
            Ok(set) if still_fits(&set, &installed) => Ok(Standing::Done),
            Ok(_) | Err(_) => Ok(Standing::Ready),
        }
    }

    fn prepare(&self, _host: &Host) -> Result<UndoRecord, Refusal> {
        Ok(UndoRecord::Nothing)
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let packages = packages::of(host, self.manager);
        let packages = packages.as_ref();
        let installed = packages.installed().map_err(|e| packages_refusal(&e))?;
        refuse_unfinished(&installed)?;
        progress(Some(50), "working out the transaction");
        let resolved = packages.resolve(&self.install).map_err(|e| packages_refusal(&e))?;
        let extra = refuse_surprises(&resolved, self, &installed)?;

        let directory = StagedSet::directory(host, self.manager, &self.install);
        fresh(&directory).map_err(|e| disk_refusal(&e))?;
        let mut items = Vec::with_capacity(resolved.len());
        for (done, item) in resolved.iter().enumerate() {
            let permille = 100 + 600 * done as u32 / resolved.len().max(1) as u32;
            progress(Some(permille), &format!("fetching {}", item.name));
            items.push(fetch_both(host, packages, item, &directory, &installed)?);
            host.boundary.reached("packages-stage: a package fetched");
        }
        let mut set = StagedSet { manager: self.manager, pins: self.install.clone(), items };

        progress(Some(750), "reading what the packages own and run");
        for file in set.items.iter_mut().filter_map(|item| item.new.as_mut()) {
            let contents = packages.contents_of_file(&directory.join(&file.path));
            file.contents = Some(contents.map_err(|e| packages_refusal(&e))?);
        }
        let coming = |item: &Resolved| set.contents(host, packages, item, Side::New);
        let transaction = transaction::gather(host, packages, &resolved, &installed, coming)
            .map_err(|e| packages_refusal(&e))?;
        let mut findings = transaction::judged(host, &transaction)?;
        for item in &extra {
            findings.push(note(
                host,
                codes::PACKAGES_DEPENDENCY,
                item.name.clone(),
                format!("{} comes along as a dependency", item.after.as_deref().unwrap_or_default()),
                "nothing to do; going back removes it again",
            ));
        }

        progress(Some(900), "comparing the space");
        refuse_without_space(host, &set, &transaction, self.spare_bytes)?;
        for side in ["new", "old"] {
            sync_directory(&directory.join(side)).map_err(|e| disk_refusal(&e))?;
        }
        set.write(host).map_err(|e| disk_refusal(&e))?;
        host.boundary.reached("packages-stage: manifest written");
        let changes = resolved
            .iter()
            .map(|item| {
                let before = item.before.clone().unwrap_or_else(|| "absent".to_owned());
                change(
                    format!("package {} (staged)", item.name),
                    before,
                    item.after.clone().unwrap_or_else(|| "absent".to_owned()),
                )
            })
            .collect();
        Ok(Report { changes, findings })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        staged::exactly(host, self.manager, &self.install)
            .map(|_| ())
            .map_err(|r| failure(codes::PACKAGES_NOT_STAGED, r.reason, r.remedy))
    }

    fn undo(&self, _host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        // The staged files stay: they are the way back of the steps that installed them.
        Ok(Report::default())
    }
}

/// An empty directory for a set, with nothing of an earlier try.
fn fresh(directory: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(directory) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(FileError::new("remove", directory, e)),
    }
    for side in ["new", "old"] {
        let path = directory.join(side);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755).create(&path).map_err(|e| FileError::new("make", &path, e))?;
    }
    Ok(())
}

/// Fetches what comes and, for the way back, what is there.
fn fetch_both(
    host: &Host,
    packages: &dyn Packages,
    item: &Resolved,
    directory: &Path,
    installed: &[Installed],
) -> Result<StagedItem, ActError> {
    let present = installed.iter().find(|p| p.name == item.name && p.architecture == item.architecture);
    let new = match &item.after {
        Some(version) => {
            Some(fetch(packages, item, version, directory, Side::New).map_err(|e| packages_refusal(&e))?)
        }
        None => None,
    };
    let old = match &item.before {
        Some(version) => Some(fetch(packages, item, version, directory, Side::Old).map_err(|e| match e {
            PackagesError::NotFound { said } => refusal(
                codes::PACKAGES_NO_WAY_BACK,
                format!("{} {version} is installed and cannot be had again, so there would be no way back: {said}", item.name),
                "put that version into a repository of the host (or its file into the package manager's cache), then retry",
            ),
            other => packages_refusal(&other),
        })?),
        None => None,
    };
    let staged = [(&item.after, &new), (&item.before, &old)];
    for (version, file) in staged {
        if let (Some(version), Some(file)) = (version, file) {
            check_file(host, packages, item, version, directory, file)?;
        }
    }
    Ok(StagedItem {
        name: item.name.clone(),
        architecture: item.architecture.clone(),
        before: item.before.clone(),
        after: item.after.clone(),
        automatic_before: present.and_then(|p| p.automatic),
        new,
        old,
    })
}

fn fetch(
    packages: &dyn Packages,
    item: &Resolved,
    version: &str,
    directory: &Path,
    side: Side,
) -> Result<StagedFile, PackagesError> {
    let below = match side {
        Side::New => "new",
        Side::Old => "old",
    };
    let path = packages.fetch(item, version, &directory.join(below))?;
    let file = packages.read_file(&path)?;
    Ok(StagedFile {
        path: Path::new(below).join(path.file_name().unwrap_or_default()),
        sha256: digest_of_file(&path)?,
        installed_bytes: file.installed_bytes,
        contents: None,
    })
}

/// The file must be the package that was asked for, with the bytes that the index promised.
fn check_file(
    host: &Host,
    packages: &dyn Packages,
    item: &Resolved,
    version: &str,
    directory: &Path,
    file: &StagedFile,
) -> Result<(), ActError> {
    let promised = packages.index_digest(item, version).map_err(|e| packages_refusal(&e))?;
    let found = packages.read_file(&directory.join(&file.path)).map_err(|e| packages_refusal(&e))?;
    let altered = promised.is_some_and(|sha256| sha256 != file.sha256);
    if altered || found.name != item.name || found.version != version {
        return Err(refusal(
            codes::PACKAGES_ALTERED,
            format!(
                "{} on host {} is not the package that the index promised",
                file.path.display(),
                host.name
            ),
            "repair or replace the repository: its index and its files do not belong together",
        )
        .into());
    }
    let path = directory.join(&file.path);
    fs::File::open(&path)
        .and_then(|f| f.sync_all())
        .map_err(|e| disk_refusal(&FileError::new("sync", &path, e)))?;
    Ok(())
}

/// Bytes that unpacking will take, by file system. Old and new files are there at the same time for a while, so nothing is
/// subtracted for what goes.
fn refuse_without_space(
    host: &Host,
    set: &StagedSet,
    transaction: &crate::guard::Transaction,
    spare_bytes: u64,
) -> Result<(), Refusal> {
    let mut needed: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    for item in &transaction.items {
        let bytes = set
            .items
            .iter()
            .find(|i| i.name == item.name)
            .and_then(|i| i.new.as_ref())
            .map_or(0, |f| f.installed_bytes);
        let mut devices: BTreeMap<u64, PathBuf> = BTreeMap::new();
        for path in &item.files_after {
            let here = host.at(path);
            let Some(nearest) = here.ancestors().skip(1).find(|p| p.exists()) else { continue };
            if let Ok(metadata) = fs::metadata(nearest) {
                devices.entry(metadata.dev()).or_insert_with(|| path.clone());
            }
        }
        // Which part goes where is not known, so each file system must hold all of the package.
        for (device, path) in devices {
            needed.entry(device).or_insert((path, 0)).1 += bytes;
        }
    }
    for (path, bytes) in needed.into_values() {
        let room = space::of(host, path.parent().unwrap_or(Path::new("/"))).map_err(|e| {
            refusal(
                codes::PACKAGES_SPACE,
                format!("{}: {e}", path.display()),
                "look at the file system, then retry",
            )
        })?;
        let wanted = bytes.saturating_add(spare_bytes);
        if room.read_only || room.available_bytes < wanted {
            let state = if room.read_only {
                "is read-only".to_owned()
            } else {
                format!("has {} bytes available", room.available_bytes)
            };
            return Err(refusal(
                codes::PACKAGES_SPACE,
                format!(
                    "the file system of {} {state}; {wanted} are needed, {spare_bytes} of them to spare",
                    path.display()
                ),
                MAKE_ROOM,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::command::CommandError;
    use replank_common::action::PackagePin;
    use replank_common::facts::PackageManager;

    #[test]
    fn only_what_is_named_may_go_and_nothing_that_is_to_come() {
        let action = |install: &str, removals: &[&str]| PackagesStage {
            manager: PackageManager::Apt,
            install: vec![PackagePin { name: install.to_owned(), version: "2".to_owned() }],
            removals: removals.iter().map(|name| (*name).to_owned()).collect(),
            spare_bytes: 0,
        };
        let gone = [Resolved {
            name: "libssl3".to_owned(),
            architecture: "amd64".to_owned(),
            before: Some("1".to_owned()),
            after: None,
        }];
        let judged = |action: &PackagesStage, installed: &[Installed]| {
            refuse_surprises(&gone, action, installed).map_err(|refusal| refusal.code)
        };
        assert_eq!(judged(&action("ceph-osd", &["libssl3"]), &[]), Ok(Vec::new()));
        assert_eq!(judged(&action("ceph-osd", &["libcurl4"]), &[]), Err(codes::PACKAGES_SURPRISE.to_owned()));
        assert_eq!(judged(&action("libssl3", &["libssl3"]), &[]), Err(codes::PACKAGES_SURPRISE.to_owned()));
        let held = Installed {
            name: "libssl3".to_owned(),
            architecture: "amd64".to_owned(),
            version: "1".to_owned(),
            automatic: Some(true),
            held: true,
            unfinished: None,
        };
        assert_eq!(judged(&action("ceph-osd", &["libssl3"]), &[held]), Err(codes::PACKAGES_HELD.to_owned()));
    }

    #[test]
    fn a_disk_that_is_full_is_the_operators_to_mend_and_not_a_failure() {
        let at = Path::new("/var/lib/replank-agent/staged/1/new/a.deb");
        for (kind, code) in [
            (ErrorKind::StorageFull, codes::PACKAGES_SPACE),
            (ErrorKind::QuotaExceeded, codes::PACKAGES_SPACE),
            (ErrorKind::ReadOnlyFilesystem, codes::PACKAGES_SPACE),
            (ErrorKind::PermissionDenied, codes::FILE_IO),
        ] {
            let error = PackagesError::File(FileError::new("sync", at, kind));
            assert_eq!(packages_refusal(&error).code, code, "{kind:?}");
        }
        for (said, code) in [
            ("E: You don't have enough free space in /var/cache/apt/archives/.", codes::PACKAGES_SPACE),
            (
                "installing package demo-2 needs 9MB more space needed on the / filesystem",
                codes::PACKAGES_SPACE,
            ),
            ("write: No space left on device", codes::PACKAGES_SPACE),
            ("404 Not Found", codes::PACKAGES_UNRESOLVED),
        ] {
            let error = CommandError::Failed {
                command: "apt-get".into(),
                status: "exit status 100".into(),
                said: said.into(),
            };
            assert_eq!(packages_refusal(&PackagesError::Tool(error)).code, code, "{said}");
        }
    }
}
