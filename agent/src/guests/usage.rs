//! What live guests use of the host, as its processes, cgroups and directories show it.

use super::Roots;
use super::processes::{self, QemuProcess, strip_deleted};
use super::scopes;
use procfs::process::{MMapPath, Process};
use replank_agent_core::usage::beside_library;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use replank_agent_core::usage::{FileId, Helper, Lazy, LazyKind, Role, Usage, UsedFile};

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
        usage.add(executable.path.clone(), file, executable.deleted, Role::Emulator, &qemu.name);
    }
    for (path, file, deleted) in mapped {
        usage.lazy.extend(beside_library(&path, &|path| is_directory(root, path)));
        usage.add(path, file, deleted, Role::Mapped, &qemu.name);
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
        usage.add(executable.path.clone(), file, executable.deleted, Role::Helper, guest);
    }
    for (path, file, deleted) in mapped {
        usage.add(path, file, deleted, Role::Helper, guest);
    }
    usage.helpers.push(Helper { pid, executable: executable.path, scope: scope.to_owned() });
    Ok(())
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

fn is_directory(root: &Path, path: &Path) -> bool {
    root.join(path.strip_prefix("/").unwrap_or(path)).is_dir()
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
        .map(|directory| Lazy::new(directory, "", LazyKind::Modules));
    let roms =
        ["share/qemu", "share/qemu-kvm", "share/seabios", "share/seavgabios", "share/ipxe", "lib/ipxe/qemu"]
            .into_iter()
            .map(|directory| Lazy::new(prefix.join(directory), "", LazyKind::Roms));
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
        found.push(Lazy::new(
            PathBuf::from(String::from_utf8_lossy(&pair[1]).into_owned()),
            "",
            LazyKind::Roms,
        ));
    }
    if let Some(directory) = process
        .environ()
        .ok()
        .and_then(|mut environ| environ.remove("QEMU_MODULE_DIR".as_ref() as &std::ffi::OsStr))
    {
        found.push(Lazy::new(PathBuf::from(directory), "", LazyKind::Modules));
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
    fn maps_that_cannot_be_read_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let roots = guest(dir.path());
        fs::remove_file(roots.proc.join("40/maps")).unwrap();
        fs::create_dir(roots.proc.join("40/maps")).unwrap();
        assert!(collect(&roots, dir.path()).unwrap_err().contains("process 40"));
    }
}
