//! What live guests use of the host: the files that their processes map, what they may load later, their sockets, their scopes and
//! the helpers beside them.
//!
//! Replacing a mapped file by a rename leaves the old one to the process; what hurts is writing into the same file, and taking away
//! what a process has not opened *yet*: modules, plug-ins, boot ROMs (the "lazy" places).

use super::Roots;
use super::processes::{self, FileId, QemuProcess, strip_deleted};
use super::scopes;
use procfs::process::{MMapPath, Process};
use replank_common::ids::GuestUuid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

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
    /// The file at `path`, if a guest uses it by that name.
    pub fn file(&self, path: &Path) -> Option<&UsedFile> {
        self.files.get(path)
    }

    /// The places that `path` lies in.
    pub fn lazy_of<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Lazy> {
        self.lazy.iter().filter(move |lazy| lazy.holds(path))
    }
}

/// Collects what the guests use. `root` is where the host's files are found, `/` on a real host. A guest that ends meanwhile is left out.
///
/// # Errors
/// What cannot be read, so that nothing can be said.
pub fn collect(roots: &Roots, root: &Path) -> Result<Usage, String> {
    let mut usage = Usage::default();
    let scan = processes::scan(&roots.proc)?;
    for qemu in &scan.qemus {
        usage.guests.insert(qemu.uuid, qemu.name.clone());
        of_qemu(&mut usage, roots, root, qemu)?;
    }
    let qemus: BTreeMap<u32, &QemuProcess> = scan.qemus.iter().map(|qemu| (qemu.pid, qemu)).collect();
    // A host without guests may have no machine.slice hierarchy that matters; one with guests must have its scopes read.
    match scopes::read(&roots.cgroup) {
        Ok(scopes) => {
            for (scope, pids) in scopes {
                let name = pids.iter().find_map(|pid| Some(qemus.get(pid)?.name.clone()));
                let name = name.unwrap_or_else(|| scopes::machine_name(&scope));
                for pid in pids.iter().filter(|pid| !qemus.contains_key(pid)) {
                    of_helper(&mut usage, roots, *pid, &scope, &name)?;
                }
                usage.scopes.insert(scope);
            }
        }
        Err(why) if !scan.qemus.is_empty() => return Err(why),
        Err(_) => {}
    }
    Ok(usage)
}

fn of_qemu(usage: &mut Usage, roots: &Roots, root: &Path, qemu: &QemuProcess) -> Result<(), String> {
    let Some(process) = open(roots, qemu.pid) else { return Ok(()) };
    let Some(mapped) = mapped(&process, qemu.pid)? else { return Ok(()) };
    let executable = &qemu.executable;
    if let Some(file) = executable.file {
        add(usage, executable.path.clone(), file, executable.deleted, Role::Emulator, &qemu.name);
    }
    for (path, file, deleted) in mapped {
        usage.lazy.extend(beside_library(&path, root));
        add(usage, path, file, deleted, Role::Mapped, &qemu.name);
    }
    usage.lazy.extend(of_build(&executable.path, root));
    usage.lazy.extend(told_at_start(&process, root));
    for socket in sockets(&process, roots, qemu.pid) {
        usage.sockets.entry(socket).or_default().insert(qemu.name.clone());
    }
    Ok(())
}

fn of_helper(usage: &mut Usage, roots: &Roots, pid: u32, scope: &str, guest: &str) -> Result<(), String> {
    let Some(process) = open(roots, pid) else { return Ok(()) };
    let Some(mapped) = mapped(&process, pid)? else { return Ok(()) };
    let executable = processes::executable(&process);
    if let Some(file) = executable.file {
        add(usage, executable.path.clone(), file, executable.deleted, Role::Helper, guest);
    }
    for (path, file, deleted) in mapped {
        add(usage, path, file, deleted, Role::Helper, guest);
    }
    usage.helpers.push(Helper { pid, executable: executable.path, scope: scope.to_owned() });
    Ok(())
}

fn add(usage: &mut Usage, path: PathBuf, file: FileId, deleted: bool, role: Role, guest: &str) {
    let entry =
        usage.files.entry(path).or_insert_with(|| UsedFile { file, deleted, role, guests: BTreeSet::new() });
    // A name that still leads to a file in use matters more than one that does not.
    if entry.deleted && !deleted {
        (entry.file, entry.deleted) = (file, false);
    }
    entry.role = entry.role.min(role);
    entry.guests.insert(guest.to_owned());
}

fn open(roots: &Roots, pid: u32) -> Option<Process> {
    Process::new_with_root(roots.proc.join(pid.to_string())).ok()
}

type MappedFile = (PathBuf, FileId, bool);

/// The files that a process maps; `None` when it has ended.
fn mapped(process: &Process, pid: u32) -> Result<Option<Vec<MappedFile>>, String> {
    let maps = match process.maps() {
        Ok(maps) => maps,
        Err(procfs::ProcError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(format!("failed to read which files process {pid} maps: {error}")),
    };
    let mut files: BTreeMap<PathBuf, (FileId, bool)> = BTreeMap::new();
    for map in maps {
        let MMapPath::Path(path) = map.pathname else { continue };
        let (path, deleted) = strip_deleted(&path);
        // Shared memory and devices are not files of any package.
        let is_file =
            map.inode != 0 && !["/dev", "/memfd:", "/SYSV", "/proc"].iter().any(|not| path.starts_with(not));
        if is_file
            && !path.to_string_lossy().starts_with("/memfd:")
            && !path.to_string_lossy().starts_with("/SYSV")
        {
            let (major, minor) = (map.dev.0.unsigned_abs(), map.dev.1.unsigned_abs());
            let file = FileId { device: rustix::fs::makedev(major, minor), inode: map.inode };
            // Of a file that was replaced since, a process may have both mapped: the one that is there can still be written into.
            let known = files.entry(path).or_insert((file, deleted));
            if known.1 && !deleted {
                *known = (file, deleted);
            }
        }
    }
    Ok(Some(files.into_iter().map(|(path, (file, deleted))| (path, file, deleted)).collect()))
}

/// Bound UNIX sockets whose descriptors a process holds.
fn sockets(process: &Process, roots: &Roots, pid: u32) -> BTreeSet<PathBuf> {
    let descriptors = std::fs::read_dir(roots.proc.join(pid.to_string()).join("fd"));
    let held: BTreeSet<u64> = descriptors
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect();
    let bound = process.unix().unwrap_or_default();
    bound.into_iter().filter(|entry| held.contains(&entry.inode)).filter_map(|entry| entry.path).collect()
}

fn lazy(directory: PathBuf, prefix: &str, kind: LazyKind) -> Lazy {
    Lazy { directory, prefix: prefix.to_owned(), kind }
}

fn is_directory(root: &Path, path: &Path) -> bool {
    root.join(path.strip_prefix("/").unwrap_or(path)).is_dir()
}

/// What a mapped library loads by name at run time. Sources: librbd's and librados's tracing and plug-in loaders, NSPR's softoken,
/// glibc's `nsswitch` and `iconv`, SASL's mechanisms.
fn beside_library(path: &Path, root: &Path) -> Vec<Lazy> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let here = |prefix| lazy(directory.to_path_buf(), prefix, LazyKind::PlugIns);
    let below = |folder: &str| {
        Some(directory.join(folder))
            .filter(|below| is_directory(root, below))
            .map(|below| lazy(below, "", LazyKind::PlugIns))
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

/// Where a build of qemu looks for modules and ROMs, by the prefix that its emulator is installed below.
fn of_build(emulator: &Path, root: &Path) -> Vec<Lazy> {
    let Some(prefix) = emulator.parent().and_then(Path::parent) else { return Vec::new() };
    let mut libraries = vec![prefix.join("lib"), prefix.join("lib64")];
    let multiarch = root.join(prefix.strip_prefix("/").unwrap_or(prefix)).join("lib");
    for entry in std::fs::read_dir(multiarch).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().contains("-linux-gnu") {
            libraries.push(prefix.join("lib").join(entry.file_name()));
        }
    }
    let modules = libraries
        .iter()
        .flat_map(|library| [library.join("qemu"), library.join("qemu-kvm")])
        .filter(|directory| has_modules(root, directory))
        .map(|directory| lazy(directory, "", LazyKind::Modules));
    let roms =
        ["share/qemu", "share/qemu-kvm", "share/seabios", "share/seavgabios", "share/ipxe", "lib/ipxe/qemu"]
            .into_iter()
            .map(|directory| lazy(prefix.join(directory), "", LazyKind::Roms));
    modules.chain(roms).filter(|lazy| is_directory(root, &lazy.directory)).collect()
}

/// Debian's `/usr/lib/qemu` holds helper programs and no module.
fn has_modules(root: &Path, directory: &Path) -> bool {
    let below = root.join(directory.strip_prefix("/").unwrap_or(directory));
    let entries = std::fs::read_dir(below).into_iter().flatten().filter_map(Result::ok);
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "so"))
}

/// Directories that the process was told when it was started: `-L` and `QEMU_MODULE_DIR`.
fn told_at_start(process: &Process, root: &Path) -> Vec<Lazy> {
    let mut found = Vec::new();
    let arguments = processes::arguments(process);
    for pair in arguments.windows(2).filter(|pair| pair[0] == b"-L") {
        found.push(lazy(PathBuf::from(String::from_utf8_lossy(&pair[1]).into_owned()), "", LazyKind::Roms));
    }
    if let Some(directory) = process
        .environ()
        .ok()
        .and_then(|mut environ| environ.remove("QEMU_MODULE_DIR".as_ref() as &std::ffi::OsStr))
    {
        found.push(lazy(PathBuf::from(directory), "", LazyKind::Modules));
    }
    found.retain(|lazy| lazy.directory.is_absolute() && is_directory(root, &lazy.directory));
    found
}

#[cfg(test)]
mod tests {
    use super::super::processes::tests::{UUID, fake_process};
    use super::*;
    use std::fs;

    const EMULATOR: &str = "/opt/qemu/7/bin/qemu-system-x86_64";

    fn guest(dir: &Path) -> Roots {
        let proc = dir.join("proc");
        let args = [EMULATOR, "-name", "web", "-L", "/opt/roms", "-uuid", UUID];
        fake_process(&proc, 40, 1, "qemu-system-x86", 1, &args, "/bin/sh");
        let maps = "\
            7f0000000000-7f0000001000 r-xp 00000000 fe:01 77 /usr/lib/x86_64-linux-gnu/librbd.so.1.17.0 (deleted)\n\
            7f0000001000-7f0000002000 r--p 00000000 fe:01 78 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f0000002000-7f0000003000 rw-s 00000000 00:01 79 /memfd:ram (deleted)\n\
            7f0000003000-7f0000004000 rw-p 00000000 00:00 0 [heap]\n";
        fs::write(proc.join("40/maps"), maps).unwrap();
        fs::write(proc.join("40/environ"), "QEMU_MODULE_DIR=/opt/qemu/7/modules\0").unwrap();
        fs::create_dir_all(proc.join("40/fd")).unwrap();
        std::os::unix::fs::symlink("socket:[555]", proc.join("40/fd/9")).unwrap();
        fs::create_dir_all(proc.join("40/net")).unwrap();
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 555 /var/lib/libvirt/qemu/domain-1-web/monitor.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 556 /run/other.sock\n";
        fs::write(proc.join("40/net/unix"), unix).unwrap();
        for below in [
            "opt/qemu/7/modules",
            "opt/qemu/7/lib/qemu",
            "opt/qemu/7/share/qemu",
            "opt/roms",
            "usr/lib/x86_64-linux-gnu/ceph",
        ] {
            fs::create_dir_all(dir.join("root").join(below)).unwrap();
        }
        let scope = dir.join("cgroup/machine.slice").join(r"machine-qemu\x2d1\x2dweb.scope");
        fs::create_dir_all(&scope).unwrap();
        fs::write(dir.join("cgroup/cgroup.controllers"), "").unwrap();
        fs::write(scope.join("cgroup.procs"), "40\n41\n").unwrap();
        fake_process(&proc, 41, 1, "swtpm", 2, &["swtpm", "socket"], "/usr/bin/swtpm");
        fs::write(
            proc.join("41/maps"),
            "7f0000000000-7f0000001000 r-xp 00000000 fe:01 99 /usr/lib/libtpms.so.0\n",
        )
        .unwrap();
        Roots { proc, cgroup: dir.join("cgroup"), ..Roots::default() }
    }

    #[test]
    fn a_file_that_was_replaced_while_an_older_one_stays_mapped_is_still_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let roots = guest(dir.path());
        let maps = "7f0000000000-7f0000001000 r-xp 00000000 fe:01 80 /usr/lib/libnss_x.so.2\n\
            7f0000001000-7f0000002000 r-xp 00000000 fe:01 77 /usr/lib/libnss_x.so.2 (deleted)\n";
        fs::write(roots.proc.join("40/maps"), maps).unwrap();
        let usage = collect(&roots, &dir.path().join("root")).unwrap();
        let used = usage.file(Path::new("/usr/lib/libnss_x.so.2")).unwrap();
        assert!(!used.deleted && used.file.inode == 80, "{used:?}");
    }

    #[test]
    fn all_that_a_guest_uses_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let usage = collect(&guest(dir.path()), &dir.path().join("root")).unwrap();
        let rbd = usage.file(Path::new("/usr/lib/x86_64-linux-gnu/librbd.so.1.17.0")).unwrap();
        assert!(rbd.deleted && rbd.role == Role::Mapped && rbd.guests.contains("web"));
        assert_eq!(rbd.file, FileId { device: rustix::fs::makedev(0xfe, 1), inode: 77 });
        assert_eq!(usage.file(Path::new("/usr/lib/libtpms.so.0")).unwrap().role, Role::Helper);
        assert!(!usage.files.keys().any(|path| path.to_string_lossy().contains("memfd")));
        let lazy: BTreeSet<String> = usage.lazy.iter().map(ToString::to_string).collect();
        for expected in [
            "/opt/qemu/7/modules",
            "/opt/roms",
            "/usr/lib/x86_64-linux-gnu/ceph",
            "/usr/lib/x86_64-linux-gnu/libnss_*",
        ] {
            assert!(lazy.contains(expected), "{expected} is not in {lazy:?}");
        }
        let socket = Path::new("/var/lib/libvirt/qemu/domain-1-web/monitor.sock");
        assert_eq!(usage.sockets.keys().map(PathBuf::as_path).collect::<Vec<_>>(), [socket]);
        assert_eq!((usage.scopes.len(), usage.helpers.len()), (1, 1));
    }

    #[test]
    fn the_places_of_a_build_go_by_its_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let modules = ["opt/q/lib/x86_64-linux-gnu/qemu", "usr/lib/x86_64-linux-gnu/qemu"];
        for below in modules.into_iter().chain(["opt/q/share/seabios", "opt/q/lib/qemu"]) {
            fs::create_dir_all(dir.path().join(below)).unwrap();
        }
        for below in modules {
            fs::write(dir.path().join(below).join("block-rbd.so"), "").unwrap();
        }
        let found = of_build(Path::new("/opt/q/bin/qemu-system-x86_64"), dir.path());
        let found: Vec<(String, LazyKind)> = found.iter().map(|lazy| (lazy.to_string(), lazy.kind)).collect();
        assert_eq!(
            found,
            [
                ("/opt/q/lib/x86_64-linux-gnu/qemu".to_owned(), LazyKind::Modules),
                ("/opt/q/share/seabios".to_owned(), LazyKind::Roms)
            ]
        );
    }

    #[test]
    fn a_place_holds_by_directory_or_by_the_beginning_of_a_name() {
        let all = lazy("/m".into(), "", LazyKind::Modules);
        assert!(
            all.holds(Path::new("/m/a/b.so"))
                && !all.holds(Path::new("/m"))
                && !all.holds(Path::new("/mm/a"))
        );
        let some = lazy("/lib".into(), "libnss_", LazyKind::PlugIns);
        assert!(some.holds(Path::new("/lib/libnss_dns.so.2")));
        assert!(!some.holds(Path::new("/lib/libc.so.6")) && !some.holds(Path::new("/lib/x/libnss_dns.so.2")));
    }

    #[test]
    fn maps_that_cannot_be_read_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let roots = guest(dir.path());
        fs::remove_file(roots.proc.join("40/maps")).unwrap();
        fs::create_dir(roots.proc.join("40/maps")).unwrap();
        assert!(collect(&roots, dir.path()).unwrap_err().contains("process 40"));
    }
}
