//! Copies of the files that guests use, with a manifest. Knows how they are found, copied, made immutable and removed; never decides
//! when.

use super::Host;
use super::files::{Attributes, FileError, digest_of_file, make_directories, replace, sync_directory};
use super::mapped;
use crate::guests::usage::Lazy;
use rustix::fs::IFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";

/// A file as it was when it was kept. Its numbers tell whether a copy is still that of the file in use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// As the guest's process, or the host, sees it.
    pub path: PathBuf,
    /// A process maps it, and no name leads to it any more.
    pub deleted: bool,
    pub device: u64,
    pub inode: u64,
    /// Since the epoch.
    pub modified_ns: i64,
    pub size: u64,
}

impl Identity {
    fn of(path: PathBuf, deleted: bool, metadata: &fs::Metadata) -> Self {
        Self {
            path,
            deleted,
            device: metadata.dev(),
            inode: metadata.ino(),
            modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }
}

/// A kept file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(flatten)]
    pub identity: Identity,
    pub sha256: String,
    /// Relative to the directory.
    pub copy: PathBuf,
}

/// What a directory of kept files holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    /// Directories of which every file is kept: the guard takes a change to them for neutralised.
    pub lazy: BTreeSet<PathBuf>,
    pub files: Vec<Kept>,
    /// Symbolic links, with their targets.
    pub links: BTreeMap<PathBuf, PathBuf>,
}

impl Manifest {
    /// The manifest in `directory`; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn read(directory: &Path) -> Result<Option<Self>, FileError> {
        let path = directory.join(MANIFEST);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| FileError::new("understand", &path, io::Error::other(e))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(FileError::new("read", &path, e)),
        }
    }

    /// Whether everything that is wanted is kept, as it is now.
    pub fn covers(&self, wanted: &Wanted) -> bool {
        let kept: BTreeSet<&Identity> = self.files.iter().map(|file| &file.identity).collect();
        wanted.lazy.is_subset(&self.lazy)
            && wanted.sources.keys().all(|identity| kept.contains(identity))
            && wanted.links.iter().all(|(path, target)| self.links.get(path) == Some(target))
    }

    /// Whether everything below `place` is kept, as the host whose files are below `root` has it now: what came or changed since has no copy.
    pub fn holds(&self, root: &Path, place: &Path) -> bool {
        if !self.lazy.iter().any(|kept| place.starts_with(kept)) {
            return false;
        }
        let kept: BTreeSet<&Identity> = self.files.iter().map(|file| &file.identity).collect();
        let here = root.join(place.strip_prefix("/").unwrap_or(place));
        walkdir::WalkDir::new(&here).min_depth(1).into_iter().all(|entry| {
            let Ok(entry) = entry else { return false };
            let Ok(below) = entry.path().strip_prefix(&here) else { return false };
            let path = place.join(below);
            if entry.path_is_symlink() {
                let target = fs::read_link(entry.path());
                return target.is_ok_and(|target| self.links.get(&path) == Some(&target));
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => kept.contains(&Identity::of(path, false, &metadata)),
                Ok(_) => true,
                Err(_) => false,
            }
        })
    }

    /// Whether each copy is there with its size: they are immutable, so that reading them all is left to [`Manifest::damage`].
    pub fn is_whole(&self, directory: &Path) -> bool {
        self.files.iter().all(|file| {
            fs::metadata(directory.join(&file.copy))
                .is_ok_and(|copy| copy.is_file() && copy.len() == file.identity.size)
        })
    }

    /// The first copy that is not what was kept, and why.
    pub fn damage(&self, directory: &Path) -> Option<String> {
        self.files.iter().find_map(|file| match digest_of_file(&directory.join(&file.copy)) {
            Ok(sha256) if sha256 == file.sha256 => None,
            Ok(_) => Some(format!("{} has other bytes than were kept", file.copy.display())),
            Err(error) => Some(error.full()),
        })
    }
}

/// What is to be kept now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Each file, and where it can be read from here: perhaps through a process that maps it.
    sources: BTreeMap<Identity, PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
    lazy: BTreeSet<PathBuf>,
}

impl Wanted {
    pub fn bytes(&self) -> u64 {
        self.sources.keys().map(|identity| identity.size).sum()
    }

    fn add(&mut self, path: &Path, deleted: bool, from: PathBuf) -> io::Result<()> {
        let metadata = File::open(&from)?.metadata()?;
        if metadata.is_file() {
            self.sources.insert(Identity::of(path.to_owned(), deleted, &metadata), from);
        }
        Ok(())
    }

    /// Everything that a process maps and nobody writes to: programs and libraries, not the memory of a guest.
    fn add_process(&mut self, host: &Host, pid: u32) -> Result<(), String> {
        let process = host.at(format!("/proc/{pid}"));
        let mappings = match mapped::mappings(host, pid) {
            Ok(mappings) => mappings,
            Err(_) if !process.exists() => return Ok(()),
            Err(e) => return Err(format!("failed to read which files process {pid} maps: {e}")),
        };
        for mapping in mappings {
            let of_kernel = ["/dev", "/proc", "/sys"].iter().any(|not| mapping.path.starts_with(not));
            if mapping.shared || of_kernel {
                continue;
            }
            // The very file that is mapped, whatever has its name by now.
            let mut ways = vec![process.join("map_files").join(&mapping.range)];
            if !mapping.deleted {
                let below = mapping.path.strip_prefix("/").unwrap_or(&mapping.path);
                ways.push(process.join("root").join(below));
            } else if fs::metadata(process.join("exe")).is_ok_and(|exe| exe.ino() == mapping.inode) {
                ways.push(process.join("exe"));
            }
            let mut why = String::new();
            let found = ways.into_iter().any(|way| match self.add(&mapping.path, mapping.deleted, way) {
                Ok(()) => true,
                Err(e) => {
                    why = e.to_string();
                    false
                }
            });
            if !found && process.exists() {
                return Err(format!(
                    "{}, which process {pid} maps, cannot be read: {why}",
                    mapping.path.display()
                ));
            }
        }
        Ok(())
    }

    /// A directory with all that is in it, or those files of it whose names fit a pattern with one `*`.
    fn add_lazy(&mut self, host: &Host, place: &Path) -> Result<(), String> {
        let pattern = place.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('*'));
        let (directory, pattern) = match (pattern, place.parent()) {
            (Some(pattern), Some(parent)) => (parent, Some(pattern)),
            _ => (place, None),
        };
        if !host.at(directory).is_dir() {
            return Ok(());
        }
        let depth = if pattern.is_some() { 1 } else { usize::MAX };
        for entry in walkdir::WalkDir::new(host.at(directory)).min_depth(1).max_depth(depth) {
            let entry = entry.map_err(|e| format!("failed to look through {}: {e}", directory.display()))?;
            let name = entry.file_name().to_string_lossy();
            let fits = pattern.is_none_or(|(begin, end)| {
                name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
            });
            if fits {
                let below = entry.path().strip_prefix(host.at(directory)).unwrap_or(entry.path());
                self.add_path(host, &directory.join(below))
                    .map_err(|e| format!("{} cannot be read: {e}", entry.path().display()))?;
            }
        }
        if pattern.is_none() {
            self.lazy.insert(place.to_owned());
        }
        Ok(())
    }

    fn add_path(&mut self, host: &Host, path: &Path) -> io::Result<()> {
        let here = host.at(path);
        let kind = fs::symlink_metadata(&here)?.file_type();
        if kind.is_file() {
            return self.add(path, false, here);
        }
        if kind.is_symlink() {
            self.links.insert(path.to_owned(), fs::read_link(&here)?);
            // What the link leads to may lie outside of every place that is kept. A link that leads nowhere is as it was.
            if let (Ok(target), Ok(root)) = (here.canonicalize(), host.directories.root().canonicalize())
                && let Ok(below) = target.strip_prefix(root)
                && target.is_file()
            {
                return self.add(&Path::new("/").join(below), false, target);
            }
        }
        Ok(())
    }
}

/// What the guests of this host map, what the plan says that they may load later, and what they themselves tell of it.
///
/// # Errors
/// What cannot be told or read.
pub fn wanted(host: &Host, lazy: &[PathBuf]) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for guest in host.guests.census().guests.values() {
        for pid in mapped::guest_processes(host, guest.incarnation.pid) {
            wanted.add_process(host, pid)?;
        }
    }
    for place in lazy {
        wanted.add_lazy(host, place)?;
    }
    for Lazy { directory, prefix, kind: _ } in host.guests.usage()?.lazy {
        let place = if prefix.is_empty() { directory } else { directory.join(format!("{prefix}*")) };
        wanted.add_lazy(host, &place)?;
    }
    Ok(wanted)
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    pub manifest: Manifest,
    /// Whether the file system took the immutable attribute.
    pub immutable: bool,
}

/// Copies everything that is wanted into `directory`, which appears whole or not at all. `told` is called with the bytes done and
/// their total.
///
/// # Errors
/// Names the first operation that failed.
pub fn keep(
    host: &Host,
    directory: &Path,
    name: &str,
    wanted: &Wanted,
    told: &dyn Fn(u64, u64),
) -> Result<Keeping, FileError> {
    let making = being_made(directory);
    wipe(&making)?;
    make_directories(&making.join(MANIFEST), &host.boundary)?;
    let mut files = Vec::with_capacity(wanted.sources.len());
    let (mut done, total) = (0, wanted.bytes());
    for (identity, from) in &wanted.sources {
        let copy = place_of(identity);
        let sha256 = copy_bytes(from, &making.join(&copy), identity.size)?;
        host.boundary.reached("tree-retain: a file copied");
        files.push(Kept { identity: identity.clone(), sha256, copy });
        done += identity.size;
        told(done, total);
    }
    for (path, target) in &wanted.links {
        let link = making.join("files").join(path.strip_prefix("/").unwrap_or(path));
        make_parent(&link)?;
        symlink(target, &link).map_err(|e| FileError::new("make the link", &link, e))?;
    }
    let manifest =
        Manifest { name: name.to_owned(), lazy: wanted.lazy.clone(), files, links: wanted.links.clone() };
    let path = making.join(MANIFEST);
    let bytes = serde_json::to_vec_pretty(&manifest)
        .map_err(|e| FileError::new("write", &path, io::Error::other(e)))?;
    replace(&path, &bytes, &Attributes::plain(0o444), &host.boundary)?;
    File::open(&making)
        .and_then(|open| rustix::fs::syncfs(&open).map_err(io::Error::from))
        .map_err(|e| FileError::new("sync the file system of", &making, e))?;
    // All but the directory itself, which has yet to get its name.
    let immutable = lock(&making)?;
    host.boundary.reached("tree-retain: made immutable");
    fs::rename(&making, directory).map_err(|e| FileError::new("rename kept files to", directory, e))?;
    host.boundary.reached("tree-retain: renamed");
    if let Some(parent) = directory.parent() {
        sync_directory(parent)?;
    }
    Ok(Keeping { manifest, immutable })
}

/// Removes a directory of kept files and what a crash left of its making; nothing there is no error.
///
/// # Errors
/// Names the first operation that failed.
pub fn remove(host: &Host, directory: &Path) -> Result<(), FileError> {
    wipe(&being_made(directory))?;
    let manifest = directory.join(MANIFEST);
    unlock(&manifest);
    match fs::remove_file(&manifest) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(FileError::new("remove", &manifest, e)),
        Ok(()) | Err(_) => {}
    }
    host.boundary.reached("tree-retain: manifest removed");
    wipe(directory)?;
    host.boundary.reached("tree-retain: removed");
    Ok(())
}

fn being_made(directory: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(directory.file_name().unwrap_or_default());
    name.push(".replank-new");
    directory.with_file_name(name)
}

/// Where a copy lies in the directory.
fn place_of(identity: &Identity) -> PathBuf {
    let below = identity.path.strip_prefix("/").unwrap_or(&identity.path);
    if identity.deleted {
        // Several files without a name may have had the same one.
        Path::new("deleted").join(format!("{:x}-{:x}", identity.device, identity.inode)).join(below)
    } else {
        Path::new("files").join(below)
    }
}

fn make_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|e| FileError::new("make the directory", parent, e))
}

/// Copies to the end; the digest of what was copied.
fn copy_bytes(from: &Path, to: &Path, size: u64) -> Result<String, FileError> {
    make_parent(to)?;
    let failed = |e| FileError::new("copy", from, e);
    let mut source = File::open(from).map_err(failed)?;
    // One that runs can be run from its copy; nothing keeps a set-user-id bit.
    let mode = 0o444 | (source.metadata().map_err(failed)?.permissions().mode() & 0o111);
    let mut options = fs::OpenOptions::new();
    // A mapped file may have the same path in two mount namespaces.
    let mut target = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(to)
        .or_else(|e| {
            if e.kind() != io::ErrorKind::AlreadyExists {
                return Err(e);
            }
            fs::remove_file(to)?;
            options.open(to)
        })
        .map_err(|e| FileError::new("create", to, e))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut copied = 0;
    loop {
        let count = source.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        target.write_all(&buffer[..count]).map_err(|e| FileError::new("write", to, e))?;
        copied += count as u64;
    }
    if copied != size {
        return Err(failed(io::Error::other("it changed while it was copied")));
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes everything below `directory` immutable; whether the file system has that.
fn lock(directory: &Path) -> Result<bool, FileError> {
    let mut immutable = true;
    for entry in walkdir::WalkDir::new(directory).min_depth(1).contents_first(true) {
        let entry = entry.map_err(|e| FileError::new("look through", directory, e))?;
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o555))
                .map_err(|e| FileError::new("set the mode of", entry.path(), e))?;
        }
        if immutable && !kind.is_symlink() {
            immutable = set_immutable(entry.path(), true).is_ok();
        }
    }
    Ok(immutable)
}

fn set_immutable(path: &Path, on: bool) -> io::Result<()> {
    let file = File::open(path)?;
    let mut flags = rustix::fs::ioctl_getflags(&file)?;
    if flags.contains(IFlags::IMMUTABLE) != on {
        flags.set(IFlags::IMMUTABLE, on);
        rustix::fs::ioctl_setflags(&file, flags)?;
    }
    Ok(())
}

fn unlock(path: &Path) {
    // Where it cannot be taken away it was not given, or the removal says what is wrong.
    let _ = set_immutable(path, false);
}

fn wipe(directory: &Path) -> Result<(), FileError> {
    for entry in walkdir::WalkDir::new(directory).into_iter().flatten() {
        if !entry.file_type().is_symlink() {
            unlock(entry.path());
        }
    }
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", directory, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}
