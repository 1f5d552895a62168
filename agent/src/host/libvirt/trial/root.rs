//! The root file system in which a trial's libvirtd runs: the host's programs and libraries, read-only, with the files of one set of
//! packages replaced by those of another version, and nothing else of the host's.

use super::{Trial, TrialError, step};
use crate::host::Host;
use crate::host::command::Command;
use crate::host::packages;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::chroot;
use replank_common::facts::PackageManager;
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

const UNPACK: Duration = Duration::from_secs(120);
/// Directories of the host that hold programs, libraries and their configuration.
const SHARED: [&str; 7] = ["usr", "etc", "bin", "sbin", "lib", "lib64", "lib32"];
const EMPTY: [&str; 10] = [
    "run/libvirt/qemu",
    "var/lib/libvirt/qemu",
    "var/cache/libvirt/qemu",
    "var/log/libvirt/qemu",
    "var/tmp",
    "tmp",
    "root",
    "proc",
    "sys",
    "dev",
];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const STATUS: &str = "run/libvirt/qemu";
/// The unpacked packages and the copies are small; this bounds a mistake.
const SCRATCH_OPTIONS: &str = "mode=0700,size=1g";

/// Log what [`super::log`] reads; ask nobody for authentication; and be no host that anybody knows.
const CONFIGURATION: &str = "log_filters = \"2:conf.domain_conf 2:conf.virdomainobjlist\"\n\
    log_level = 3\n\
    log_outputs = \"1:stderr\"\n\
    auth_unix_ro = \"none\"\n\
    auth_unix_rw = \"none\"\n\
    host_uuid = \"7e91a4c0-0000-4000-8000-000000000001\"\n";

pub(super) struct Built {
    pub(super) root: PathBuf,
    /// Names of the guests whose status files were copied.
    pub(super) guests: Vec<String>,
}

const NONE: Option<&str> = None;

fn private() -> Result<(), TrialError> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step("keep mounts to ourselves", mount(Some("none"), "/", NONE, flags, NONE))
}

fn make(path: &Path) -> Result<(), TrialError> {
    step(format!("make {}", path.display()), fs::create_dir_all(path))
}

fn tmpfs(path: &Path) -> Result<(), TrialError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step(
        format!("mount a file system in memory at {}", path.display()),
        mount(Some("replank-trial"), path, Some("tmpfs"), flags, Some(SCRATCH_OPTIONS)),
    )
}

/// Builds it. The calling thread must be in a mount namespace of its own.
pub(super) fn build(host: &Host, trial: &Trial<'_>) -> Result<Built, TrialError> {
    private()?;
    let base = host.directories.scratch().join("libvirt-trial");
    make(&base)?;
    tmpfs(&base)?;
    let tree = base.join("tree");
    let root = base.join("root");
    make(&tree)?;
    make(&root)?;
    for file in &trial.files {
        unpack(host, trial.manager, file, &tree)?;
    }
    merge_links(host, &tree)?;
    hide_installed(host, trial, &tree)?;
    for name in SHARED {
        share(host, name, &tree, &root)?;
    }
    for directory in EMPTY {
        make(&root.join(directory))?;
    }
    step("link /var/run", symlink("/run", root.join("var/run")))?;
    for device in DEVICES {
        let here = root.join("dev").join(device);
        step(format!("make {}", here.display()), fs::write(&here, ""))?;
        let flags = MsFlags::MS_BIND;
        step(
            format!("bring in /dev/{device}"),
            mount(Some(&Path::new("/dev").join(device)), &here, NONE, flags, NONE),
        )?;
    }
    configure(host, &root)?;
    let guests = copy_status(host, &root)?;
    Ok(Built { root, guests })
}

/// Unpacks one package, running none of its scripts.
fn unpack(host: &Host, manager: PackageManager, file: &Path, tree: &Path) -> Result<(), TrialError> {
    match manager {
        PackageManager::Apt => {
            host.programs.run_ok(&Command::new("dpkg-deb").arg("-x").arg(file).arg(tree).deadline(UNPACK))?;
        }
        PackageManager::Dnf | PackageManager::Yum => {
            let archive = host.programs.run_ok(&Command::new("rpm2cpio").arg(file).deadline(UNPACK))?;
            let cpio = Command::new("cpio")
                .args(["-idmu", "--quiet", "--no-absolute-filenames"])
                .input(archive.stdout)
                .directory(tree)
                .deadline(UNPACK);
            host.programs.run_ok(&cpio)?;
        }
    }
    Ok(())
}

/// Where the host has `/lib` as a link to `usr/lib`, packages may still bring files for `/lib`.
fn merge_links(host: &Host, tree: &Path) -> Result<(), TrialError> {
    for name in SHARED {
        let here = tree.join(name);
        let Ok(target) = fs::read_link(host.at(Path::new("/").join(name))) else { continue };
        if !here.is_dir() || here.is_symlink() {
            continue;
        }
        let target = tree.join(target.strip_prefix("/").unwrap_or(&target));
        make(&target)?;
        host.programs
            .run_ok(&Command::new("cp").args(["-a", "-T"]).arg(&here).arg(&target).deadline(UNPACK))?;
        step(format!("remove {}", here.display()), fs::remove_dir_all(&here))?;
    }
    Ok(())
}

/// Hides every file of the installed packages that the tried version does not have: plug-ins of another version end libvirtd.
fn hide_installed(host: &Host, trial: &Trial<'_>, tree: &Path) -> Result<(), TrialError> {
    let backend = packages::of(host, trial.manager);
    for package in backend.installed()? {
        if !trial.names.contains(&package.name) {
            continue;
        }
        for file in backend.contents_of_installed(&package)?.files {
            let Some(real) = real_place(host, &file) else { continue };
            let is_shared = real
                .components()
                .nth(1)
                .is_some_and(|first| SHARED.iter().any(|name| first.as_os_str() == *name));
            let here = tree.join(real.strip_prefix("/").unwrap_or(&real));
            if !is_shared || fs::symlink_metadata(&here).is_ok() {
                continue;
            }
            if let Some(parent) = here.parent() {
                make(parent)?;
            }
            // A character device 0/0 in an upper layer of an overlay hides the name below (Documentation/filesystems/overlayfs.rst).
            step(format!("hide {}", file.display()), mknod(&here, SFlag::S_IFCHR, Mode::empty(), 0))?;
        }
    }
    Ok(())
}

/// Where a file's directory really is, links followed; `None` when it is not there.
fn real_place(host: &Host, file: &Path) -> Option<PathBuf> {
    let parent = fs::canonicalize(host.at(file.parent()?)).ok()?;
    Some(parent.join(file.file_name()?))
}

/// Shows one of the host's directories with the tree's files over it, read-only; or makes the same link.
fn share(host: &Host, name: &str, tree: &Path, root: &Path) -> Result<(), TrialError> {
    let theirs = host.at(Path::new("/").join(name));
    let here = root.join(name);
    if let Ok(target) = fs::read_link(&theirs) {
        return step(format!("link {}", here.display()), symlink(target, &here));
    }
    if !theirs.is_dir() {
        return Ok(());
    }
    let over = tree.join(name);
    make(&over)?;
    make(&here)?;
    let options = format!("lowerdir={}:{}", over.display(), theirs.display());
    step(
        format!("lay the unpacked packages over {}", theirs.display()),
        mount(Some("replank-trial"), &here, Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str())),
    )
}

/// `/etc/libvirt` with the host's own settings of the drivers, and without its hooks, definitions, networks, pools and autostart links.
fn configure(host: &Host, root: &Path) -> Result<(), TrialError> {
    let here = root.join("etc/libvirt");
    tmpfs(&here)?;
    for entry in fs::read_dir(host.at("/etc/libvirt")).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let to = here.join(entry.file_name());
            step(format!("copy {}", entry.path().display()), fs::copy(entry.path(), to))?;
        }
    }
    make(&here.join("qemu"))?;
    step("write the trial's configuration", fs::write(here.join("replank-trial.conf"), CONFIGURATION))
}

/// Copies the status files. One that is unreadable here is an error: it would be missing in the trial and so pass unseen.
fn copy_status(host: &Host, root: &Path) -> Result<Vec<String>, TrialError> {
    let from = host.at(Path::new("/").join(STATUS));
    let mut guests = Vec::new();
    let entries = match fs::read_dir(&from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(guests),
        Err(error) => return step(format!("list {}", from.display()), Err(error)),
    };
    for entry in entries {
        let path = step(format!("list {}", from.display()), entry)?.path();
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        let name = path.file_name().unwrap_or_default();
        step(format!("copy {}", path.display()), fs::copy(&path, root.join(STATUS).join(name)))?;
        guests.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    }
    guests.sort();
    Ok(guests)
}

/// The namespaces' own view of devices, read-only. libvirtd does without when the kernel refuses it.
pub(super) fn mount_sys(root: &Path) {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(error) = mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), flags, NONE) {
        tracing::debug!(%error, "the trial's libvirtd has no /sys");
    }
}

/// What the first process of the pid namespace does before it becomes libvirtd. Allocates nothing.
pub(super) struct Entry {
    root: CString,
    proc: CString,
}

pub(super) fn entry(root: &Path) -> Result<Entry, TrialError> {
    let text = |path: &Path| {
        let bytes = CString::new(path.as_os_str().as_bytes());
        step(format!("name {}", path.display()), bytes.map_err(io::Error::other))
    };
    Ok(Entry { root: text(root)?, proc: text(&root.join("proc"))? })
}

impl Entry {
    pub(super) fn go(&self) -> io::Result<()> {
        const PROC: &CStr = c"proc";
        // The thread that started it ends the trial; so does its end.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(PROC), self.proc.as_c_str(), Some(PROC), flags, None::<&CStr>)?;
        chroot(self.root.as_c_str())?;
        nix::unistd::chdir(c"/")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn status_files_are_copied_and_nothing_else() {
        let world = World::new();
        let root = world.host.directories.scratch();
        fs::create_dir_all(root.join(STATUS)).unwrap();
        assert!(copy_status(&world.host, &root).unwrap().is_empty());
        world.file("/run/libvirt/qemu/web 1.xml", "<domstatus/>");
        world.file("/run/libvirt/qemu/web 1.pid", "7");
        world.file("/run/libvirt/qemu/web 1.xml.new", "<dom");
        assert_eq!(copy_status(&world.host, &root).unwrap(), ["web 1"]);
        assert_eq!(fs::read_dir(root.join(STATUS)).unwrap().count(), 1);
    }
}
