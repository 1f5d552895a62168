//! `TreeRetain`: copies of every file that guests map, and of what they may load later, in an immutable directory of the agent's own.
//!
//! ```text
//! retained/NAME/files/usr/lib/…      copies at their own paths, links as links
//!               deleted/<digest>     files that are mapped and have no name any more
//!               manifest.json        what each was, and which places are kept whole (read by `guard::kept`)
//! ```
//!
//! Bytes are copied, never linked: who writes into a file in place would change the copy too. A copy does not lie where a guest looks
//! for it. It keeps the exact files to be put back, and to be looked into, when the host's own have been replaced.
//!
//! A directory that no longer covers what guests use (guests were started since) stays, and another is made beside it. Nothing removes one
//! but the undo of the run that made it, and that only when no process uses anything of it.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | some files copied | a hidden directory without manifest, perhaps partly immutable | removed and made anew; undo removes it |
//! | renamed | the whole | `check` says done |
//! | undo: the manifest removed | copies that count for nothing | undo removes them |

use super::answer::{change, failure, file_failure, file_refusal, foreign_record, note, refusal};
use super::staged::{self, Side, StagedSet};
use super::tree_use::refuse_in_use;
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, transaction};
use crate::codes;
use crate::host::dirs;
use crate::host::files::FileError;
use crate::host::packages::{self, Resolved};
use crate::host::retain::{self, Manifest, Wanted};
use crate::host::space;
use replank_common::action::TreeRetain;
use replank_common::finding::Finding;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use std::fs;
use std::path::{Path, PathBuf};

/// Stays available beside what is copied.
const SPARE_BYTES: u64 = 128 << 20;
/// More directories of one name than this are a sign that something is wrong.
const GENERATIONS: u32 = 64;

fn directory(action: &TreeRetain, host: &Host, generation: u32) -> PathBuf {
    let name = if generation == 1 { action.name.clone() } else { format!("{}-{generation}", action.name) };
    host.directories.retained().join(name)
}

fn wanted_now(action: &TreeRetain, host: &Host) -> Result<Wanted, Refusal> {
    retain::wanted(host, &action.lazy).map_err(|why| {
        refusal(
            codes::RETAIN,
            format!("what guests use cannot be told: {why}"),
            "see the message, then retry; nothing is installed before it is kept",
        )
    })
}

fn refuse_odd_name(action: &TreeRetain) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !action.name.is_empty() && !action.name.starts_with('.') && action.name.bytes().all(plain) {
        return Ok(());
    }
    let reason = format!("`{}` cannot be the name of a directory", action.name.escape_debug());
    Err(refusal(codes::RETAIN, reason, "this is a fault of the plan: plan again"))
}

/// The directory that holds all of `wanted`.
fn covering(action: &TreeRetain, host: &Host, wanted: &Wanted) -> Result<Option<PathBuf>, Refusal> {
    for generation in 1..=GENERATIONS {
        let directory = directory(action, host, generation);
        let manifest = Manifest::read(&directory).map_err(|e| file_refusal(&e))?;
        if manifest.is_some_and(|manifest| manifest.covers(wanted)) {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

fn refuse_without_space(host: &Host, wanted: &Wanted) -> Result<(), Refusal> {
    let path = Path::new(dirs::STATE);
    let needed = wanted.bytes() + SPARE_BYTES;
    let room = space::of(host, path).map_err(|e| {
        refusal(
            codes::RETAIN_SPACE,
            format!("{}: {e}", path.display()),
            "look at the file system, then retry",
        )
    })?;
    if room.available_bytes >= needed && !room.read_only {
        return Ok(());
    }
    Err(refusal(
        codes::RETAIN_SPACE,
        format!(
            "the file system of {} has {} bytes available and {needed} are needed, {SPARE_BYTES} of them to spare",
            path.display(),
            room.available_bytes
        ),
        "make room there, then retry",
    ))
}

/// What staged packages would do to places from which guests load later. A copy does not help a guest that looks in the old place, so it is
/// said here, before anything is installed.
fn not_found_later(host: &Host, directory: &Path) -> Vec<Finding> {
    let one = |place: String, cause: String| {
        note(
            host,
            codes::RETAIN_NOT_FOUND,
            place,
            format!(
                "{cause}. A guest looks in the compiled-in directory first and stops at the first file that is there, so after the \
                 installation those that run now do not find theirs; a copy is in {}",
                directory.display()
            ),
            "plug no device of a new kind into those guests until they run the new emulator, or leave the package out",
        )
    };
    let mut findings = Vec::new();
    for entry in fs::read_dir(host.directories.staged()).into_iter().flatten().flatten() {
        let Ok(Some(set)) = staged::read(&entry.path()) else { continue };
        match judged(host, &set) {
            Ok(lost) => findings.extend(lost.into_iter().map(|lost| one(lost.subject, lost.cause))),
            Err(why) => {
                let names: Vec<&str> = set.items.iter().map(|item| item.name.as_str()).collect();
                let cause = format!(
                    "whether {} replace what guests load later cannot be told: {why}",
                    names.join(", ")
                );
                findings.push(one("staged packages".to_owned(), cause));
            }
        }
    }
    findings
}

/// The guard's findings on places that guests load from later, for the staged packages that are not installed yet.
fn judged(host: &Host, set: &StagedSet) -> Result<Vec<Finding>, String> {
    let packages = packages::of(host, set.manager);
    let packages = packages.as_ref();
    let installed = packages.installed().map_err(|e| e.to_string())?;
    let is_there = |item: &Resolved| {
        installed.iter().any(|p| p.name == item.name && Some(&p.version) == item.after.as_ref())
    };
    let coming: Vec<Resolved> = set.resolved().into_iter().filter(|item| !is_there(item)).collect();
    if coming.is_empty() {
        return Ok(Vec::new());
    }
    let contents = |item: &Resolved| set.contents(host, packages, item, Side::New);
    let transaction =
        transaction::gather(host, packages, &coming, &installed, contents).map_err(|e| e.to_string())?;
    let findings = host.guests.judge(&transaction)?;
    Ok(findings.into_iter().filter(|finding| finding.code == codes::GUARD_LAZY).collect())
}

impl Perform for TreeRetain {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        refuse_odd_name(self)?;
        let wanted = wanted_now(self, host)?;
        Ok(match covering(self, host, &wanted)? {
            Some(_) => Standing::Done,
            None => Standing::Ready,
        })
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let free = (1..=GENERATIONS).map(|generation| directory(self, host, generation));
        let path = free.into_iter().find(|path| fs::symlink_metadata(path).is_err()).ok_or_else(|| {
            refusal(
                codes::RETAIN,
                format!("there are {GENERATIONS} directories of kept files named {}", self.name),
                "remove those in the agent's directory `retained` that no guest needs, then retry",
            )
        })?;
        Ok(UndoRecord::Tree { path })
    }

    fn apply(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let UndoRecord::Tree { path } = record else { return Err(foreign_record("tree-retain")) };
        if Manifest::read(path).map_err(|e| file_failure(&e))?.is_some() {
            return Ok(Report::default());
        }
        progress(Some(20), "looking at what guests map and may load");
        let wanted = wanted_now(self, host)?;
        refuse_without_space(host, &wanted)?;
        let kept = retain::keep(host, path, &self.name, &wanted, &|done, total| {
            let permille = 50 + 900 * done / total.max(1);
            progress(u32::try_from(permille).ok(), "copying files that guests use");
        })
        .map_err(|e| failure(codes::RETAIN, e.full(), "see the message, then retry"))?;
        let mut findings = not_found_later(host, path);
        if !kept.immutable {
            findings.push(note(
                host,
                codes::RETAIN_MUTABLE,
                path.display().to_string(),
                "the file system has no immutable attribute, so the kept files are only read-only",
                "nothing is needed; do not write below that directory",
            ));
        }
        let what = format!("{} files, {} bytes", kept.manifest.files.len(), wanted.bytes());
        let changes = vec![change(format!("kept in {}", path.display()), "nothing", what)];
        Ok(Report { changes, findings })
    }

    fn verify(&self, host: &Host, record: &UndoRecord) -> Result<(), Failure> {
        let UndoRecord::Tree { path } = record else { return Ok(()) };
        let directory = match wanted_now(self, host).and_then(|wanted| covering(self, host, &wanted)) {
            Ok(Some(covering)) => covering,
            // Guests were started while the copies were made: what was to be kept is kept all the same.
            Ok(None) => path.clone(),
            Err(refusal) => return Err(failure(codes::RETAIN, refusal.reason, refusal.remedy)),
        };
        let manifest = Manifest::read(&directory).map_err(|e| file_failure(&e))?;
        let damage = match manifest {
            Some(manifest) => manifest.damage(&directory),
            None => Some("there is no manifest".to_owned()),
        };
        match damage {
            None => Ok(()),
            Some(why) => {
                let error = format!("the files kept in {} are not whole: {why}", directory.display());
                Err(failure(codes::RETAIN, error, "roll the step back, then retry"))
            }
        }
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let UndoRecord::Tree { path } = record else { return Err(foreign_record("tree-retain")) };
        let was_there = path.exists();
        if was_there {
            refuse_in_use(
                host,
                path,
                "the kept files stay until those guests have ended or moved to another host; then roll back again",
            )?;
        }
        retain::remove(host, path).map_err(|e: FileError| file_failure(&e))?;
        let changes = if was_there {
            vec![change(path.display().to_string(), "kept files", "absent")]
        } else {
            Vec::new()
        };
        Ok(Report { changes, findings: Vec::new() })
    }
}

#[cfg(test)]
#[path = "tree_retain_tests.rs"]
mod tests;
