//! What live guests use of a host, as values: the files that their processes map, what they may load later, their sockets, their scopes
//! and the helpers beside them.
//!
//! Replacing a mapped file by a rename leaves the old one to the process; what hurts is writing into the same file, and taking away
//! what a process has not opened *yet*: modules, plug-ins, boot ROMs (the "lazy" places).

use replank_common::ids::GuestUuid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// A file by the numbers that outlive its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// Everything that the guests of a host use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Names by uuid.
    pub guests: BTreeMap<GuestUuid, String>,
    /// By path as the processes see it.
    pub files: BTreeMap<PathBuf, UsedFile>,
    pub lazy: BTreeSet<Lazy>,
    /// Bound paths of UNIX sockets that guests hold, with the names of the guests.
    pub sockets: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Names of `machine-qemu*.scope` units.
    pub scopes: BTreeSet<String>,
    pub helpers: Vec<Helper>,
}

/// A file that at least one process of a guest has mapped or runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedFile {
    pub file: FileId,
    /// No name leads to it any more.
    pub deleted: bool,
    pub role: Role,
    /// Names of the guests.
    pub guests: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Emulator,
    Mapped,
    /// Run or mapped by a process beside the qemu.
    Helper,
}

/// A place that guests may load from later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lazy {
    pub directory: PathBuf,
    /// Only files whose names begin so; empty: every file in and below the directory.
    pub prefix: String,
    pub kind: LazyKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LazyKind {
    /// qemu's own modules: refused unless of the same build.
    Modules,
    /// Plug-ins of a mapped library (Ceph, NSS of NSPR and of glibc, gconv, SASL): may refuse another version.
    PlugIns,
    /// Boot ROMs and keymaps, read when a device is plugged in: another version will do, none will not.
    Roms,
}

impl Lazy {
    pub fn new(directory: PathBuf, prefix: &str, kind: LazyKind) -> Self {
        Self { directory, prefix: prefix.to_owned(), kind }
    }

    /// Whether a file is in this place.
    pub fn holds(&self, path: &Path) -> bool {
        if self.prefix.is_empty() {
            return path.starts_with(&self.directory) && path != self.directory;
        }
        path.parent() == Some(self.directory.as_path())
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.prefix))
    }
}

impl fmt::Display for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = if self.prefix.is_empty() { String::new() } else { format!("/{}*", self.prefix) };
        write!(f, "{}{any}", self.directory.display())
    }
}

/// A process in a guest's scope that is not its qemu: swtpm, virtiofsd, pr-helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    pub pid: u32,
    pub executable: PathBuf,
    pub scope: String,
}

impl Usage {
    /// Adds that a process of `guest` has the file mapped, or runs it.
    pub fn add(&mut self, path: PathBuf, file: FileId, deleted: bool, role: Role, guest: &str) {
        let entry = self.files.entry(path).or_insert_with(|| UsedFile {
            file,
            deleted,
            role,
            guests: BTreeSet::new(),
        });
        // A name that still leads to a file in use matters more than one that does not.
        if entry.deleted && !deleted {
            (entry.file, entry.deleted) = (file, false);
        }
        entry.role = entry.role.min(role);
        entry.guests.insert(guest.to_owned());
    }

    /// The file at `path`, if a guest uses it by that name.
    pub fn file(&self, path: &Path) -> Option<&UsedFile> {
        self.files.get(path)
    }

    /// The places that `path` lies in.
    pub fn lazy_of<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Lazy> {
        self.lazy.iter().filter(move |lazy| lazy.holds(path))
    }
}

/// What a mapped library loads by name at run time. Sources: librbd's and librados's tracing and plug-in loaders, NSPR's softoken,
/// glibc's `nsswitch` and `iconv`, SASL's mechanisms. `is_directory`
/// tells whether the host has one at a path.
pub fn beside_library(path: &Path, is_directory: &dyn Fn(&Path) -> bool) -> Vec<Lazy> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let here = |prefix| Lazy::new(directory.to_path_buf(), prefix, LazyKind::PlugIns);
    let below = |folder: &str| {
        Some(directory.join(folder))
            .filter(|below| is_directory(below))
            .map(|below| Lazy::new(below, "", LazyKind::PlugIns))
    };
    let mut found = Vec::new();
    if name.starts_with("librbd.so") || name.starts_with("librados.so") || name.starts_with("libceph-common")
    {
        found.extend([here("librbd_tp.so"), here("librados_tp.so"), here("libos_tp.so")]);
        found.extend(below("ceph"));
    } else if name.starts_with("libnss3.so") {
        found.extend([here("libsoftokn3.so"), here("libfreebl"), here("libnssdbm3.so")]);
    } else if name.starts_with("libc.so.6") || name.starts_with("libc-2.") {
        found.push(here("libnss_"));
        found.extend(below("gconv"));
    } else if name.starts_with("libsasl2.so") {
        found.extend(below("sasl2"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_by_directory_or_by_the_beginning_of_a_name() {
        let all = Lazy::new("/m".into(), "", LazyKind::Modules);
        assert!(
            all.holds(Path::new("/m/a/b.so"))
                && !all.holds(Path::new("/m"))
                && !all.holds(Path::new("/mm/a"))
        );
        let some = Lazy::new("/lib".into(), "libnss_", LazyKind::PlugIns);
        assert!(some.holds(Path::new("/lib/libnss_dns.so.2")));
        assert!(!some.holds(Path::new("/lib/libc.so.6")) && !some.holds(Path::new("/lib/x/libnss_dns.so.2")));
    }
}
