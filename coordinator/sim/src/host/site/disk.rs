//! The files of a host that guests depend on: one picture for every host, and what has changed on this one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file as it lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct File {
    pub(super) inode: u64,
    /// Which build its bytes are of.
    pub(super) build: u64,
}

/// The build that every host begins with.
pub(super) const FIRST: u64 = 1;
/// Bytes that are of no build of these files.
pub(super) const FOREIGN: u64 = 99;

pub(super) const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
pub(super) const LIBRBD: &str = "/usr/lib/x86_64-linux-gnu/librbd.so.1.17.0";
pub(super) const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
pub(super) const LIBVIRTD: &str = "/usr/sbin/libvirtd";
pub(super) const DRIVER: &str = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so";
/// Files of a relocated build of qemu, below its prefix.
pub(super) const OF_A_TREE: [&str; 4] = [
    "bin/qemu-system-x86_64",
    "lib/qemu/block-rbd.so",
    "lib/qemu/hw-usb-redirect.so",
    "share/qemu/efi-virtio.rom",
];

#[derive(Debug)]
pub(super) struct Disk {
    first: Arc<BTreeMap<PathBuf, File>>,
    changed: BTreeMap<PathBuf, Option<File>>,
    next_inode: u64,
    /// Grows with each change.
    changes: u64,
}

/// What every host has when a voyage begins. `prefix` is that of its build of qemu.
pub(super) fn first(prefix: &Path) -> BTreeMap<PathBuf, File> {
    let libraries = [
        "ceph/libceph_snappy.so",
        "ceph/libceph_zstd.so",
        "librbd_tp.so.1",
        "libnss_files.so.2",
        "libnss_dns.so.2",
        "gconv/UTF-16.so",
    ];
    let paths = libraries.map(|name| Path::new(LIBRARIES).join(name));
    let paths = paths.into_iter().chain([LIBRBD, LIBC, LIBVIRTD, DRIVER].map(PathBuf::from));
    let paths = paths.chain(OF_A_TREE.map(|name| prefix.join(name)));
    paths.zip(1..).map(|(path, inode)| (path, File { inode, build: FIRST })).collect()
}

impl Disk {
    pub(super) fn new(first: Arc<BTreeMap<PathBuf, File>>) -> Self {
        Self { first, changed: BTreeMap::new(), next_inode: 1_000, changes: 0 }
    }

    /// Whether nothing was changed yet.
    pub(super) fn is_first(&self) -> bool {
        self.changed.is_empty()
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn get(&self, path: &Path) -> Option<File> {
        self.changed.get(path).copied().unwrap_or_else(|| self.first.get(path).copied())
    }

    /// Every file in and below a directory.
    pub(super) fn below(&self, directory: &Path) -> Vec<(PathBuf, File)> {
        let from = (Bound::Included(directory), Bound::Unbounded);
        let first = self.first.range::<Path, _>(from).map(|(path, _)| path);
        let changed = self.changed.range::<Path, _>(from).map(|(path, _)| path);
        let inside = |path: &&PathBuf| path.starts_with(directory);
        let paths: std::collections::BTreeSet<&PathBuf> =
            first.take_while(inside).chain(changed.take_while(inside)).collect();
        paths.into_iter().filter_map(|path| Some((path.clone(), self.get(path)?))).collect()
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        let from = (Bound::Excluded(path), Bound::Unbounded);
        let first = self.first.range::<Path, _>(from).map(|(path, _)| path);
        let changed = self.changed.range::<Path, _>(from).map(|(path, _)| path);
        let is_inside = |inside: &&PathBuf| inside.starts_with(path);
        first.take_while(is_inside).chain(changed.take_while(is_inside)).any(|path| self.get(path).is_some())
    }

    /// A new file by this name; who has the old one open keeps it.
    pub(super) fn put(&mut self, path: &Path, build: u64) {
        self.changes += 1;
        self.next_inode += 1;
        self.changed.insert(path.to_owned(), Some(File { inode: self.next_inode, build }));
    }

    /// Other bytes in the same file.
    pub(super) fn overwrite(&mut self, path: &Path, build: u64) {
        match self.get(path) {
            Some(File { inode, .. }) => {
                self.changes += 1;
                self.changed.insert(path.to_owned(), Some(File { inode, build }));
            }
            None => self.put(path, build),
        }
    }

    pub(super) fn remove(&mut self, path: &Path) {
        let paths: Vec<PathBuf> = self.below(path).into_iter().map(|(path, _)| path).collect();
        self.changes += 1;
        for path in paths {
            self.changed.insert(path, None);
        }
    }
}

/// A path without links in its directories: `/lib` is one to `/usr/lib`.
pub(super) fn resolve(path: &Path) -> PathBuf {
    path.strip_prefix("/lib").map_or_else(|_| path.to_owned(), |rest| Path::new("/usr/lib").join(rest))
}

/// The file that is written to by writing to a path.
pub(super) fn follow(path: &Path) -> PathBuf {
    let path = resolve(path);
    let is_link = path.parent() == Some(Path::new(LIBRARIES)) && path.ends_with("librbd.so.1");
    if is_link { LIBRBD.into() } else { path }
}
