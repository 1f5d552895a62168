//! One path before and after: which of the two it is now, and giving it back.

use super::atomic::{Attributes, missing_directories, remove, remove_leftover, replace, replace_link};
use super::keep::{blob, look};
use super::{FileError, digest_of_bytes};
use crate::host::Host;
use replank_common::planted::{self, Planted};
use replank_common::undo::{FileBefore, FileChange};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The digest that stands for a symbolic link in `FileChange::after_sha256`: that of its target's text.
pub fn link_digest(target: &Path) -> String {
    digest_of_bytes(target.as_os_str().as_bytes())
}

/// The record of a change that is about to be made: what is at `path` now, with its bytes kept, and the directories
/// that will have to be made for it.
///
/// # Errors
/// As [`look`].
pub fn change_of(host: &Host, path: &Path, after_sha256: Option<String>) -> Result<FileChange, FileError> {
    let before = look(host, path)?;
    let made_directories = match after_sha256 {
        Some(_) => host_paths(host, missing_directories(&host.at(path))),
        None => Vec::new(),
    };
    Ok(FileChange { path: path.to_owned(), before, after_sha256, made_directories })
}

fn host_paths(host: &Host, paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths
        .into_iter()
        .map(|path| match path.strip_prefix(host.directories.root()) {
            Ok(below) => Path::new("/").join(below),
            Err(_) => path,
        })
        .collect()
}

/// Which state of a change a path is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
    /// Neither: somebody else changed it. Says what is there.
    Foreign(String),
}

/// Looks at the path of `change`.
///
/// # Errors
/// As [`look`].
pub fn standing(host: &Host, change: &FileChange) -> Result<Side, FileError> {
    let now = look(host, &change.path)?;
    if now == change.before {
        return Ok(Side::Before);
    }
    let after = match (&now, &change.after_sha256) {
        (FileBefore::Absent, None) => true,
        (FileBefore::File { sha256, .. }, Some(after)) => sha256 == after,
        (FileBefore::Symlink { target }, Some(after)) => link_digest(target) == *after,
        (FileBefore::Absent, Some(_)) | (FileBefore::File { .. } | FileBefore::Symlink { .. }, None) => false,
    };
    if after {
        return Ok(Side::After);
    }
    Ok(Side::Foreign(match now {
        FileBefore::Absent => "nothing is there any more".to_owned(),
        FileBefore::File { sha256, .. } => format!("a file with SHA-256 {sha256} is there"),
        FileBefore::Symlink { target } => format!("a link to {} is there", target.display()),
    }))
}

/// What was given back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    pub paths: Vec<PathBuf>,
    /// Paths that are neither as before nor as replank left them, with what is there; when there are any, nothing was touched.
    pub foreign: Vec<(PathBuf, String)>,
}

/// Puts every path of `changes` back as it was, the last first, provided that each is as replank left it or as it was. Directories that
/// replank made are removed when empty.
///
/// # Errors
/// The first operation that failed; calling again goes on from there.
pub fn give_back(host: &Host, changes: &[FileChange]) -> Result<Restored, FileError> {
    let mut sides = Vec::with_capacity(changes.len());
    let mut restored = Restored::default();
    for change in changes {
        let side = standing(host, change)?;
        if let Side::Foreign(found) = &side {
            restored.foreign.push((change.path.clone(), found.clone()));
        }
        sides.push(side);
    }
    if !restored.foreign.is_empty() && !planted::is(Planted::ForeignOverwritten) {
        return Ok(restored);
    }
    for (change, side) in changes.iter().zip(&sides).rev() {
        let ours = match side {
            Side::Before => false,
            Side::After => !planted::is(Planted::RestoreForgotten),
            Side::Foreign(_) => planted::is(Planted::ForeignOverwritten),
        };
        if ours {
            put_before(host, change)?;
            restored.paths.push(change.path.clone());
        }
        remove_leftover(&host.at(&change.path))?;
        for directory in change.made_directories.iter().rev() {
            // Not empty, or gone already: both are fine.
            if std::fs::remove_dir(host.at(directory)).is_ok() {
                host.boundary.reached("directory: removed");
            }
        }
    }
    Ok(restored)
}

fn put_before(host: &Host, change: &FileChange) -> Result<(), FileError> {
    let here = host.at(&change.path);
    match &change.before {
        FileBefore::Absent => remove(&here, &host.boundary),
        FileBefore::Symlink { target } => replace_link(&here, target, &host.boundary),
        FileBefore::File { sha256, mode, uid, gid } => {
            let kept = blob(host, sha256);
            let bytes = std::fs::read(&kept).map_err(|e| FileError::new("read the kept bytes", &kept, e))?;
            if digest_of_bytes(&bytes) != *sha256 {
                let damaged =
                    std::io::Error::other("they are not what was kept: the agent's directory is damaged");
                return Err(FileError::new("use the kept bytes", &kept, damaged));
            }
            // What replank put there carries the extended attributes of what was there.
            let extended = match std::fs::symlink_metadata(&here) {
                Ok(metadata) if metadata.is_file() => Attributes::of(&here)?.extended,
                _ => Vec::new(),
            };
            replace(
                &here,
                &bytes,
                &Attributes { mode: *mode, uid: *uid, gid: *gid, extended },
                &host.boundary,
            )
        }
    }
}
