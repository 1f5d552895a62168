//! Whose the files below a directory are, and the way to give them to another owner while somebody works in them.
//!
//! The walk holds a handle on each directory that it is in, and an owner is changed through a handle on the very file that was looked at: no name is trusted
//! twice. It follows no symlink, stays on the file system of the top, and takes as much memory as the tree is deep. What vanishes meanwhile is nothing to it.
//!
//! Where the tree shares its file system with others, a file with several names is left until all of them were seen: one that has a name elsewhere is not
//! the tree's to give away.

use super::Host;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, IFlags, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Filestore nests 20 deep at most.
const DEEPEST: usize = 128;
/// Files with several names that are waited for.
const MOST_LINKED: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("failed to {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: Errno },
    #[error("{0} is immutable or append-only (`lsattr`), and nobody can change its owner")]
    Immutable(PathBuf),
    #[error("{0} is no directory, or a symlink to one")]
    NoDirectory(PathBuf),
    #[error("another file system is mounted at {0}, inside of the directory")]
    MountInside(PathBuf),
    #[error("{0} is a device")]
    Device(PathBuf),
    #[error("{path} has {links} names, and {seen} of them are in the directory")]
    LinkedElsewhere { path: PathBuf, links: u64, seen: u64 },
    #[error("more than {MOST_LINKED} files have several names each")]
    TooManyLinked,
    #[error("{0} is deeper than {DEEPEST} directories")]
    TooDeep(PathBuf),
    #[error("it took too long")]
    TooLate,
}

impl TreeError {
    /// Something cannot be looked at.
    pub fn look(path: &Path, source: Errno) -> Self {
        Self::io("look at", path, source)
    }

    fn io(what: &'static str, path: &Path, source: Errno) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    fn of(stat: &Stat) -> Self {
        Self { uid: stat.st_uid, gid: stat.st_gid }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// What the walk shows of a file.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Below the top.
    pub path: &'a Path,
    pub owner: Owner,
}

/// What is to become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Leave,
    Give(Owner),
}

/// What a walk came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walked {
    pub seen: u64,
    pub given: u64,
}

/// A directory with everything below it.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    top: OwnedFd,
    device: u64,
    /// Nothing else is on its file system, so no file of it has a name elsewhere.
    alone: bool,
}

/// A file with several names.
struct Linked {
    path: PathBuf,
    links: u64,
    seen: u64,
    wish: Option<Owner>,
}

struct Level {
    directory: Dir,
    /// How long the path was before it.
    length: usize,
}

impl Tree {
    /// The directory `below` the directory `base`, of which only the latter may be reached through symlinks.
    ///
    /// # Errors
    /// It is no directory, or something is mounted below it.
    pub fn open(host: &Host, base: &Path, below: &Path) -> Result<Self, TreeError> {
        let path = base.join(below);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut top = rustix::fs::openat(CWD, host.at(base), flags, Mode::empty())
            .map_err(|error| TreeError::io("open", base, error))?;
        for part in below.components() {
            let next = rustix::fs::openat(&top, part.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty());
            top = match next {
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(TreeError::NoDirectory(path)),
                next => next.map_err(|error| TreeError::io("open", &path, error))?,
            };
        }
        let stat = rustix::fs::fstat(&top).map_err(|error| TreeError::io("look at", &path, error))?;
        let above = rustix::fs::statat(&top, c"..", AtFlags::empty());
        let above = above.map_err(|error| TreeError::io("look above", &path, error))?;
        if let Some(inside) = mounted_inside(host, &path) {
            return Err(TreeError::MountInside(inside));
        }
        Ok(Self { path, top, device: stat.st_dev, alone: stat.st_dev != above.st_dev })
    }

    /// About how many files are in it, where nothing else is on its file system and that one counts.
    pub fn about(&self) -> Option<u64> {
        let found = rustix::fs::fstatvfs(&self.top).ok().filter(|_| self.alone)?;
        // btrfs says that it has none at all.
        found.f_files.checked_sub(found.f_ffree).filter(|files| *files > 0)
    }

    /// # Errors
    /// It cannot be looked at.
    pub fn owner(&self) -> Result<Owner, TreeError> {
        let stat = rustix::fs::fstat(&self.top);
        Ok(Owner::of(&stat.map_err(|error| TreeError::io("look at", &self.path, error))?))
    }

    /// Gives away the directory itself, and nothing below it.
    ///
    /// # Errors
    /// As the system says.
    pub fn give(&self, owner: Owner) -> Result<(), TreeError> {
        chown(self.top.as_fd(), owner).map_err(|error| self.refused(self.top.as_fd(), Path::new(""), error))
    }

    /// Shows everything below the directory to `visit` and does as it wishes.
    ///
    /// # Errors
    /// The first thing that is not as it may be. What was done before stays done.
    pub fn walk(
        &self,
        visit: &mut dyn FnMut(&Entry<'_>) -> Result<Wish, TreeError>,
    ) -> Result<Walked, TreeError> {
        let mut walked = Walked::default();
        let mut linked: BTreeMap<u64, Linked> = BTreeMap::new();
        let mut path = PathBuf::new();
        let top = Dir::read_from(&self.top).map_err(|error| TreeError::io("list", &self.path, error))?;
        let mut levels = vec![Level { directory: top, length: 0 }];
        while let Some(level) = levels.last_mut() {
            path = shortened(path, level.length);
            let entry = match level.directory.read() {
                None => {
                    levels.pop();
                    continue;
                }
                Some(Err(Errno::NOENT)) => {
                    levels.pop();
                    continue;
                }
                Some(entry) => entry.map_err(|error| TreeError::io("list", &self.at(&path), error))?,
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            path.push(OsStr::from_bytes(name.to_bytes()));
            let directory =
                level.directory.fd().map_err(|error| TreeError::io("list", &self.at(&path), error))?;
            let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(|error| TreeError::io("look at", &self.at(&path), error))?,
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            self.may_be(&path, &stat, kind)?;
            walked.seen += 1;
            let wish = match visit(&Entry { path: &path, owner: Owner::of(&stat) })? {
                Wish::Give(owner) if owner != Owner::of(&stat) => Some(owner),
                Wish::Give(_) | Wish::Leave => None,
            };
            if !self.alone && kind != FileType::Directory && stat.st_nlink > 1 {
                let file = linked.entry(stat.st_ino).or_insert_with(|| Linked {
                    path: path.clone(),
                    links: 0,
                    seen: 0,
                    wish: None,
                });
                (file.links, file.seen, file.wish) = (stat.st_nlink, file.seen + 1, wish);
                if linked.len() > MOST_LINKED {
                    return Err(TreeError::TooManyLinked);
                }
            } else if let Some(owner) = wish {
                walked.given += u64::from(self.give_one(directory, name.to_owned(), &path, &stat, owner)?);
            }
            if kind == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
                    // Gone, or something else by now.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                    below => below.map_err(|error| TreeError::io("open", &self.at(&path), error))?,
                };
                if levels.len() >= DEEPEST {
                    return Err(TreeError::TooDeep(self.at(&path)));
                }
                let same = rustix::fs::fstat(&below).is_ok_and(|stat| stat.st_dev == self.device);
                if !same {
                    return Err(TreeError::MountInside(self.at(&path)));
                }
                let directory =
                    Dir::new(below).map_err(|error| TreeError::io("list", &self.at(&path), error))?;
                levels.push(Level { directory, length: path.as_os_str().len() });
            }
        }
        walked.given += self.give_linked(linked)?;
        Ok(walked)
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.path.join(path)
    }

    fn may_be(&self, path: &Path, stat: &Stat, kind: FileType) -> Result<(), TreeError> {
        if stat.st_dev != self.device {
            return Err(TreeError::MountInside(self.at(path)));
        }
        match kind {
            FileType::BlockDevice | FileType::CharacterDevice => Err(TreeError::Device(self.at(path))),
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::Unknown => Ok(()),
        }
    }

    /// Whether it was given away; a file that has become another one meanwhile is left for the next walk.
    fn give_one(
        &self,
        directory: BorrowedFd<'_>,
        name: CString,
        path: &Path,
        seen: &Stat,
        owner: Owner,
    ) -> Result<bool, TreeError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            file => file.map_err(|error| TreeError::io("open", &self.at(path), error))?,
        };
        let stat =
            rustix::fs::fstat(&file).map_err(|error| TreeError::io("look at", &self.at(path), error))?;
        let same = (stat.st_dev, stat.st_ino, stat.st_mode) == (seen.st_dev, seen.st_ino, seen.st_mode);
        let one_name = self.alone || stat.st_nlink == seen.st_nlink;
        if !same || !one_name {
            return Ok(false);
        }
        chown(file.as_fd(), owner).map_err(|error| self.refused(file.as_fd(), path, error))?;
        Ok(true)
    }

    fn give_linked(&self, linked: BTreeMap<u64, Linked>) -> Result<u64, TreeError> {
        let mut given = 0;
        for (number, Linked { path, links, seen, wish }) in linked {
            let Some(owner) = wish else { continue };
            if seen < links {
                return Err(TreeError::LinkedElsewhere { path: self.at(&path), links, seen });
            }
            let Some(file) = self.open_below(&path)? else { continue };
            let stat = rustix::fs::fstat(&file);
            let stat = stat.map_err(|error| TreeError::io("look at", &self.at(&path), error))?;
            if stat.st_ino == number && stat.st_nlink <= links {
                chown(file.as_fd(), owner).map_err(|error| self.refused(file.as_fd(), &path, error))?;
                given += 1;
            }
        }
        Ok(given)
    }

    /// A handle on a file below the top, through no symlink. `None`: it is not there.
    fn open_below(&self, path: &Path) -> Result<Option<OwnedFd>, TreeError> {
        let mut parts = path.components().peekable();
        let mut directory: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let from = directory.as_ref().map_or(self.top.as_fd(), AsFd::as_fd);
            let kind = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::empty() };
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
            directory = match rustix::fs::openat(from, part.as_os_str(), flags, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                file => Some(file.map_err(|error| TreeError::io("open", &self.at(path), error))?),
            };
        }
        Ok(directory)
    }

    fn refused(&self, file: BorrowedFd<'_>, path: &Path, error: Errno) -> TreeError {
        if error == Errno::PERM && is_immutable(file) {
            return TreeError::Immutable(self.at(path));
        }
        TreeError::io("change the owner of", &self.at(path), error)
    }
}

/// What lies behind a path, and is not in any tree: a device, or a file.
#[derive(Debug)]
pub struct Behind {
    path: PathBuf,
    file: OwnedFd,
    stat: Stat,
}

impl Behind {
    /// Follows symlinks.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        let file = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let file = file.map_err(|error| TreeError::io("open", path, error))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| TreeError::io("look at", path, error))?;
        Ok(Self { path: path.to_owned(), file, stat })
    }

    pub fn owner(&self) -> Owner {
        Owner::of(&self.stat)
    }

    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Major and minor number, of a device.
    pub fn device(&self) -> (u32, u32) {
        (rustix::fs::major(self.stat.st_rdev), rustix::fs::minor(self.stat.st_rdev))
    }

    /// Whether the owner, or its group, may read and write it.
    pub fn serves(&self, owner: Owner) -> bool {
        let mode = self.stat.st_mode;
        self.stat.st_uid == owner.uid && mode & 0o600 == 0o600
            || self.stat.st_gid == owner.gid && mode & 0o060 == 0o060
    }

    /// # Errors
    /// As the system says.
    pub fn give(&self, owner: Owner) -> Result<(), TreeError> {
        chown(self.file.as_fd(), owner)
            .map_err(|error| TreeError::io("change the owner of", &self.path, error))
    }
}

fn chown(file: BorrowedFd<'_>, owner: Owner) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

/// A handle that only names a file tells no flags: it is opened once more, by its number.
fn is_immutable(file: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let again = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, again, flags, Mode::empty());
    let said = opened.and_then(rustix::fs::ioctl_getflags);
    said.is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
}

fn shortened(path: PathBuf, length: usize) -> PathBuf {
    let mut bytes = path.into_os_string().into_encoded_bytes();
    bytes.truncate(length);
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// A bind mount of the same file system cannot be told by its number.
fn mounted_inside(host: &Host, path: &Path) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string(host.at("/proc/self/mountinfo")).ok()?;
    // As the system names it, which follows symlinks.
    let root = std::fs::canonicalize(host.directories.root()).ok()?;
    let real = std::fs::canonicalize(host.at(path)).ok()?;
    let real = Path::new("/").join(real.strip_prefix(root).ok()?);
    mounts.lines().filter_map(mount_point).find(|point| *point != real && point.starts_with(&real))
}

/// The fifth field of a line of proc(5)'s mountinfo, in which a blank is `\040`.
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    Some(PathBuf::from(field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")))
}
