//! Writing a path so that a crash at any instant leaves the old or the new, never a part.
//!
//! A new file is written beside its target under a fixed temporary name, synced, renamed over the target, and the directory
//! synced. The temporary name is the same each time, so a second try overwrites what a crash left of the first.

use super::FileError;
use crate::host::boundary::Boundary;
use rustix::fs::{self as rfs, AtFlags, CWD, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// Owner, mode and extended attributes (POSIX ACLs and the SELinux context are among them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub extended: Vec<(CString, Vec<u8>)>,
}

impl Attributes {
    /// Root's, without extended attributes of its own: the kernel gives the directory's default context.
    pub fn plain(mode: u32) -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { mode, uid, gid, extended: Vec::new() }
    }

    /// Those of the regular file at `path`.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        let failed = |e: Errno| FileError::new("look at", path, e);
        let stat = rfs::lstat(path).map_err(failed)?;
        Ok(Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            extended: extended(path).map_err(failed)?,
        })
    }
}

/// Extended attributes by name; none where the file system has none.
fn extended(path: &Path) -> Result<Vec<(CString, Vec<u8>)>, Errno> {
    let mut names = vec![0; 64 << 10];
    let size = match rfs::llistxattr(path, &mut names) {
        Ok(size) => size,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for name in names[..size].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let mut value = vec![0; 64 << 10];
        let size = rfs::lgetxattr(path, &name, &mut value[..])?;
        value.truncate(size);
        found.push((name, value));
    }
    Ok(found)
}

/// The temporary name beside `path`. Hidden, and with an ending that no reader of `conf.d`-like directories takes.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".replank-new");
    path.with_file_name(name)
}

/// Puts a regular file of `bytes` at `path`, over whatever file or link is there.
///
/// # Errors
/// Names the first operation that failed; the target is then untouched unless that was the sync of its directory.
pub fn replace(
    path: &Path,
    bytes: &[u8],
    attributes: &Attributes,
    boundary: &Boundary,
) -> Result<(), FileError> {
    let temporary = temporary(path);
    remove_if_there(&temporary)?;
    boundary.reached("file: before the temporary file");
    write_synced(&temporary, bytes, attributes)?;
    boundary.reached("file: temporary file synced");
    rfs::rename(&temporary, path).map_err(|e| FileError::new("rename a new file to", path, e))?;
    boundary.reached("file: renamed");
    sync_parent(path)
}

fn write_synced(path: &Path, bytes: &[u8], attributes: &Attributes) -> Result<(), FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rfs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| FileError::new("create", path, e))?;
    let mut file = File::from(file);
    file.write_all(bytes).map_err(|e| FileError::new("write", path, e))?;
    let (uid, gid) = (rfs::Uid::from_raw(attributes.uid), rfs::Gid::from_raw(attributes.gid));
    rfs::fchown(&file, Some(uid), Some(gid)).map_err(|e| FileError::new("give the owner of", path, e))?;
    for (name, value) in &attributes.extended {
        rfs::fsetxattr(&file, name, value, XattrFlags::empty())
            .map_err(|e| FileError::new("set the extended attributes of", path, e))?;
    }
    // After the owner: changing that clears set-user-id bits.
    rfs::fchmod(&file, Mode::from_raw_mode(attributes.mode))
        .map_err(|e| FileError::new("set the mode of", path, e))?;
    file.sync_all().map_err(|e| FileError::new("sync", path, e))
}

/// Puts a symbolic link to `target` at `path`, over whatever file or link is there.
///
/// # Errors
/// Names the first operation that failed.
pub fn replace_link(path: &Path, target: &Path, boundary: &Boundary) -> Result<(), FileError> {
    let temporary = temporary(path);
    remove_if_there(&temporary)?;
    symlink(target, &temporary).map_err(|e| FileError::new("make a link at", &temporary, e))?;
    boundary.reached("link: temporary link made");
    rfs::rename(&temporary, path).map_err(|e| FileError::new("rename a new link to", path, e))?;
    boundary.reached("link: renamed");
    sync_parent(path)
}

/// Removes a file or link, and the left-over temporary file beside it; nothing there is no error.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path, boundary: &Boundary) -> Result<(), FileError> {
    remove_if_there(&temporary(path))?;
    remove_if_there(path)?;
    boundary.reached("file: removed");
    match path.parent() {
        Some(parent) if parent.is_dir() => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Removes what a crash left of a write to `path` that did not get to its end.
pub(super) fn remove_leftover(path: &Path) -> Result<(), FileError> {
    remove_if_there(&temporary(path))
}

fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match rfs::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        // A read-only file system says so before it looks for the name.
        Err(Errno::ROFS) if matches!(rfs::lstat(path), Err(Errno::NOENT | Errno::NOTDIR)) => Ok(()),
        Err(e) => Err(FileError::new("remove", path, e)),
    }
}

/// Makes the directories (0755) that are missing above `path` and syncs each; the ones made, outermost first.
///
/// # Errors
/// A directory cannot be made, or something else has its name.
pub fn make_directories(path: &Path, boundary: &Boundary) -> Result<Vec<PathBuf>, FileError> {
    let missing = missing_directories(path);
    for directory in &missing {
        match std::fs::DirBuilder::new().mode(0o755).create(directory) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && directory.is_dir() => {}
            Err(e) => return Err(FileError::new("make the directory", directory, e)),
        }
        boundary.reached("directory: made");
        sync_parent(directory)?;
    }
    Ok(missing)
}

/// The directories above `path` that do not exist, outermost first.
pub(super) fn missing_directories(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> =
        path.ancestors().skip(1).take_while(|dir| !dir.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    match path.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| FileError::new("sync the directory", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_file_is_replaced_with_its_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("conf");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        rfs::setxattr(&path, c"user.note", b"kept", XattrFlags::empty()).unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let attributes = Attributes::of(&path).unwrap();
        // What a crash left of an earlier try is in nobody's way.
        std::fs::write(temporary(&path), "half").unwrap();
        replace(&path, b"new", &attributes, &Boundary::none()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(Attributes::of(&path).unwrap(), attributes);
        assert_ne!(std::fs::metadata(&path).unwrap().ino(), inode, "never rewritten in place");
        assert!(!temporary(&path).exists());
    }

    #[test]
    fn missing_directories_are_made_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.conf");
        let made = make_directories(&path, &Boundary::none()).unwrap();
        assert_eq!(made, [dir.path().join("a"), dir.path().join("a/b")]);
        assert!(make_directories(&path, &Boundary::none()).unwrap().is_empty());
    }

    #[test]
    fn a_failure_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none/conf");
        let error = replace(&path, b"", &Attributes::plain(0o644), &Boundary::none()).unwrap_err();
        assert!(error.full().contains("none/.conf.replank-new"), "{}", error.full());
    }
}
