//! What lies around packages: files and links that their scripts and the package manager leave behind, which no downgrade takes back.
//!
//! Configuration and its remnants (`.dpkg-dist`, `.rpmnew`), links of units and alternatives, systemd's record of which links came from
//! packages, and accounts. They are listed before and after a transaction, with their bytes kept before it; a way back gives back what
//! differs. What libvirt itself writes below `/etc/libvirt` belongs to guests, and is none of this.

use crate::host::Host;
use crate::host::files::{self, Attributes, FileError, blob, digest_of_file, keep_bytes};
use replank_common::undo::{FileBefore, FileChange};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Directories that are listed.
const WATCHED: [&str; 8] = [
    "/etc",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked",
    "/var/lib/systemd/deb-systemd-user-helper-enabled",
    "/var/lib/systemd/deb-systemd-user-helper-masked",
    "/var/lib/dpkg/alternatives",
    "/var/lib/alternatives",
    "/var/lib/ucf",
];
/// Written by the running system, by the agent itself, or by libvirt for its guests; not by packages.
const LIVING: [&str; 10] = [
    "/etc/ld.so.cache",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/etc/adjtime",
    "/etc/.pwd.lock",
    "/etc/replank",
    "/etc/libvirt/qemu",
    "/etc/libvirt/nwfilter",
    "/etc/libvirt/secrets",
    "/etc/libvirt/storage",
];
/// Files of accounts, and the copies that the tools make of them.
const ACCOUNTS: [&str; 12] = [
    "/etc/passwd",
    "/etc/passwd-",
    "/etc/group",
    "/etc/group-",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/subuid",
    "/etc/subuid-",
    "/etc/subgid",
    "/etc/subgid-",
];
/// Files of packages that stay as the package brought them.
const FIXED: [&str; 7] = ["/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/opt"];
/// Larger files are no configuration.
const KEEP_LIMIT: u64 = 64 << 20;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Thing {
    Directory {
        mode: u32,
        uid: u32,
        gid: u32,
    },
    File {
        sha256: String,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Symlink {
        target: PathBuf,
    },
    /// Sockets, devices, and files too large to keep: never given back.
    Other,
}

/// Everything around packages at one time.
pub(super) type Around = BTreeMap<PathBuf, Thing>;

/// What a way back needs to know of the time before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) around: Around,
    /// Files of the installed packages that stay as they were brought: digest, or a link's target.
    pub(super) owned: BTreeMap<PathBuf, String>,
    /// Configuration files that packages of either side bring: listed also where libvirt keeps its own.
    pub(super) configuration: BTreeSet<PathBuf>,
}

/// Lists what lies around packages. `configuration` is listed also where libvirt keeps its own.
///
/// # Errors
/// A file cannot be looked at, or its bytes cannot be kept.
pub(super) fn list(host: &Host, configuration: &BTreeSet<PathBuf>, keep: bool) -> Result<Around, FileError> {
    let mut found = Around::new();
    for top in WATCHED {
        let walk = walkdir::WalkDir::new(host.at(top)).sort_by_file_name().into_iter();
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                // What goes away under the walk belongs to somebody who is at work there.
                Err(e) if e.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => continue,
                Err(e) => return Err(FileError::new("list", host.at(top), e)),
            };
            let Some(path) = host_path(host, entry.path()) else { continue };
            let living = LIVING.iter().any(|living| path.starts_with(living));
            if living && !configuration.contains(&path) {
                continue;
            }
            if let Some(thing) = look(host, &path, keep)? {
                found.insert(path, thing);
            }
        }
    }
    if keep && let Ok(directory) = fs::File::open(host.directories.blobs()) {
        rustix::fs::syncfs(&directory)
            .map_err(|e| FileError::new("sync the file system of", host.directories.blobs(), e))?;
    }
    Ok(found)
}

fn host_path(host: &Host, here: &Path) -> Option<PathBuf> {
    let path = Path::new("/").join(here.strip_prefix(host.directories.root()).ok()?);
    // Names that are no text are none of a package's, and have no place in a list.
    path.to_str().is_some().then_some(path)
}

fn look(host: &Host, path: &Path, keep: bool) -> Result<Option<Thing>, FileError> {
    let here = host.at(path);
    let metadata = match fs::symlink_metadata(&here) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(FileError::new("look at", &here, e)),
    };
    let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    Ok(Some(if metadata.is_symlink() {
        let target = fs::read_link(&here).map_err(|e| FileError::new("read the link", &here, e))?;
        if target.to_str().is_some() { Thing::Symlink { target } } else { Thing::Other }
    } else if metadata.is_dir() {
        Thing::Directory { mode, uid, gid }
    } else if metadata.is_file() && metadata.len() <= KEEP_LIMIT {
        let sha256 = digest_of_file(&here)?;
        if keep {
            keep_file(host, &here, &sha256)?;
        }
        Thing::File { sha256, mode, uid, gid }
    } else {
        Thing::Other
    }))
}

/// As `keep_bytes`, for many files: durable only once the whole file system is synced.
fn keep_file(host: &Host, here: &Path, sha256: &str) -> Result<(), FileError> {
    let kept = blob(host, sha256);
    if digest_of_file(&kept).ok().as_deref() == Some(sha256) {
        return Ok(());
    }
    let directory = host.directories.blobs();
    fs::create_dir_all(&directory).map_err(|e| FileError::new("make", &directory, e))?;
    fs::copy(here, &kept)
        .and_then(|_| fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)))
        .map_err(|e| FileError::new("keep", here, e))
}

/// What stands for a file of a package that stays as it was brought; `None` where there is none.
fn print_of(host: &Host, path: &Path) -> Result<Option<String>, FileError> {
    let here = host.at(path);
    let Ok(metadata) = fs::symlink_metadata(&here) else { return Ok(None) };
    if metadata.is_symlink() {
        let target = fs::read_link(&here).map_err(|e| FileError::new("read the link", &here, e))?;
        return Ok(Some(format!("-> {}", target.display())));
    }
    if metadata.is_file() { digest_of_file(&here).map(Some) } else { Ok(None) }
}

impl Before {
    /// Looks, and keeps what a way back needs. `present` are the files of the packages as they are installed, `coming` those of the
    /// packages that come.
    ///
    /// # Errors
    /// As [`list`].
    pub(super) fn take(
        host: &Host,
        present: &BTreeSet<PathBuf>,
        coming: &BTreeSet<PathBuf>,
    ) -> Result<Self, FileError> {
        let text = |path: &&PathBuf| path.to_str().is_some();
        let mut owned = BTreeMap::new();
        for path in present.iter().filter(text) {
            if FIXED.iter().any(|top| path.starts_with(top))
                && let Some(print) = print_of(host, path)?
            {
                owned.insert(path.clone(), print);
            }
        }
        let configuration: BTreeSet<PathBuf> =
            present.union(coming).filter(text).filter(|path| path.starts_with("/etc")).cloned().collect();
        Ok(Self { around: list(host, &configuration, true)?, owned, configuration })
    }

    /// Writes the list beside what it lists; its digest.
    ///
    /// # Errors
    /// The agent's directory cannot be written.
    pub(super) fn keep(&self, host: &Host) -> Result<String, FileError> {
        let bytes = serde_json::to_vec(self)
            .map_err(|e| FileError::new("write", host.directories.blobs(), io::Error::other(e)))?;
        keep_bytes(host, &bytes)
    }

    /// The list kept under this digest.
    ///
    /// # Errors
    /// It is not there or is damaged.
    pub(super) fn kept(host: &Host, sha256: &str) -> Result<Self, FileError> {
        let path = blob(host, sha256);
        let damaged = |why: String| FileError::new("use the list", &path, io::Error::other(why));
        let bytes = fs::read(&path).map_err(|e| FileError::new("read the list", &path, e))?;
        if files::digest_of_bytes(&bytes) != sha256 {
            return Err(damaged("it is not what was kept: the agent's directory is damaged".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))
    }

    /// Files of packages that are not there, and those that are not as they were.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn compare(&self, host: &Host) -> Result<Compared, FileError> {
        let mut compared = Compared::default();
        for (path, print) in &self.owned {
            match print_of(host, path)? {
                Some(now) if now == *print => {}
                Some(_) => compared.altered.push(path.clone()),
                None => compared.missing.push(path.clone()),
            }
        }
        Ok(compared)
    }
}

/// How files of packages differ from what they were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) missing: Vec<PathBuf>,
    pub(super) altered: Vec<PathBuf>,
}

/// Paths that are not the same in both lists.
pub(super) fn differing(one: &Around, other: &Around) -> BTreeSet<PathBuf> {
    one.keys().chain(other.keys()).filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

pub(super) fn is_account(path: &Path) -> bool {
    ACCOUNTS.iter().any(|account| path == Path::new(account))
}

/// Puts these paths back as they were. What is as it was already is left alone, so it can be called again after a crash.
///
/// # Errors
/// The first operation that failed.
pub(super) fn restore(
    host: &Host,
    before: &Around,
    paths: &BTreeSet<PathBuf>,
) -> Result<Vec<PathBuf>, FileError> {
    let mut changes = Vec::new();
    let mut restored = Vec::new();
    let mut new_directories = Vec::new();
    for path in paths {
        let now = look(host, path, false)?;
        if now.as_ref() == before.get(path) {
            continue;
        }
        let was = match before.get(path) {
            Some(Thing::Other) => continue,
            Some(Thing::Directory { mode, uid, gid }) => {
                // In the order of paths a directory comes before what is in it.
                let attributes = Attributes { mode: *mode, uid: *uid, gid: *gid, extended: Vec::new() };
                put_directory(host, path, &attributes)?;
                restored.push(path.clone());
                continue;
            }
            None => FileBefore::Absent,
            Some(Thing::File { sha256, mode, uid, gid }) => {
                FileBefore::File { sha256: sha256.clone(), mode: *mode, uid: *uid, gid: *gid }
            }
            Some(Thing::Symlink { target }) => FileBefore::Symlink { target: target.clone() },
        };
        let after_sha256 = match now {
            Some(Thing::Directory { .. }) => {
                new_directories.push(path.clone());
                continue;
            }
            Some(Thing::Other) => continue,
            Some(Thing::File { sha256, .. }) => Some(sha256),
            Some(Thing::Symlink { target }) => Some(files::link_digest(&target)),
            None => None,
        };
        changes.push(FileChange {
            path: path.clone(),
            before: was,
            after_sha256,
            made_directories: Vec::new(),
        });
    }
    restored.extend(files::give_back(host, &changes)?.paths);
    for path in new_directories.iter().rev() {
        // Not empty: something of somebody else's is in it.
        if fs::remove_dir(host.at(path)).is_ok() {
            restored.push(path.clone());
        }
    }
    Ok(restored)
}

fn put_directory(host: &Host, path: &Path, attributes: &Attributes) -> Result<(), FileError> {
    let here = host.at(path);
    if !here.is_dir() {
        fs::create_dir(&here).map_err(|e| FileError::new("make the directory", &here, e))?;
    }
    fs::set_permissions(&here, fs::Permissions::from_mode(attributes.mode))
        .and_then(|()| std::os::unix::fs::chown(&here, Some(attributes.uid), Some(attributes.gid)))
        .map_err(|e| FileError::new("give back the directory", &here, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn what_differs_is_given_back_and_nothing_else() {
        let world = World::new();
        world.file("/etc/a.conf", "old\n");
        world.file("/etc/gone.d/x", "x\n");
        world.file("/etc/libvirt/qemu/guest.xml", "<domain/>\n");
        std::os::unix::fs::symlink("/lib/a", world.host.at("/etc/link")).unwrap();
        let host = &world.host;
        let before = list(host, &BTreeSet::new(), true).unwrap();
        assert!(!before.contains_key(Path::new("/etc/libvirt/qemu/guest.xml")), "libvirt's own");
        let world_before = world.snapshot();

        world.file("/etc/a.conf", "new\n");
        world.file("/etc/a.conf.dpkg-dist", "new\n");
        world.file("/etc/new.d/y/z", "z\n");
        fs::remove_dir_all(host.at("/etc/gone.d")).unwrap();
        fs::remove_file(host.at("/etc/link")).unwrap();
        fs::set_permissions(host.at("/etc"), fs::Permissions::from_mode(0o700)).unwrap();
        let after = list(host, &BTreeSet::new(), false).unwrap();
        let paths = differing(&before, &after);
        assert_eq!(paths.len(), 9, "{paths:?}");
        restore(host, &before, &paths).unwrap();
        assert_eq!(world.snapshot(), world_before);
        assert!(restore(host, &before, &paths).unwrap().is_empty());
    }

    #[test]
    fn files_of_packages_are_compared() {
        let world = World::new();
        world.file("/usr/lib/a", "a");
        world.file("/usr/lib/b", "b");
        let owned = ["/usr/lib/a", "/usr/lib/b", "/usr/lib/never", "/etc/c"].map(PathBuf::from).into();
        let before = Before::take(&world.host, &owned, &BTreeSet::new()).unwrap();
        let sha256 = before.keep(&world.host).unwrap();
        world.file("/usr/lib/a", "other");
        fs::remove_file(world.host.at("/usr/lib/b")).unwrap();
        let kept = Before::kept(&world.host, &sha256).unwrap();
        assert_eq!(kept, before);
        let compared = kept.compare(&world.host).unwrap();
        assert_eq!(compared.altered, [Path::new("/usr/lib/a")]);
        assert_eq!(compared.missing, [Path::new("/usr/lib/b")]);
        fs::write(blob(&world.host, &sha256), "{}").unwrap();
        assert!(Before::kept(&world.host, &sha256).is_err());
    }
}
