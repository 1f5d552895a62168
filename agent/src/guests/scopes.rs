//! The fourth source of a census: the processes in `machine-qemu*.scope`, as the kernel's cgroup tree lists them.
//!
//! On cgroup v1 systemd's own hierarchy (`systemd/`) has the scopes; on v2 the one tree has them. Below a scope libvirt makes cgroups
//! of its own (`libvirt/`, `emulator/`, `vcpu0/`), so the whole subtree is read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Scope's directory name to the processes in it and below.
pub type Scopes = BTreeMap<String, BTreeSet<u32>>;

/// Reads the scopes below `cgroup`, where the hierarchies are mounted. Without `machine.slice` there are none: systemd makes it with the
/// first guest and removes it after the last.
///
/// # Errors
/// No hierarchy of systemd's is found, or one cannot be read.
pub fn read(cgroup: &Path) -> Result<Scopes, String> {
    let slice = hierarchy(cgroup)?.join("machine.slice");
    let mut scopes = Scopes::new();
    for directory in directories(&slice)? {
        let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with("machine-qemu") && name.ends_with(".scope") {
            let mut pids = BTreeSet::new();
            collect(&directory, &mut pids)?;
            scopes.insert(name.to_owned(), pids);
        }
    }
    Ok(scopes)
}

/// The tree in which systemd keeps its units.
fn hierarchy(cgroup: &Path) -> Result<PathBuf, String> {
    if cgroup.join("cgroup.controllers").exists() {
        return Ok(cgroup.to_path_buf());
    }
    for name in ["systemd", "unified"] {
        let tree = cgroup.join(name);
        // An empty mount point is no hierarchy.
        if tree.join("cgroup.procs").exists() {
            return Ok(tree);
        }
    }
    Err(format!("no cgroup hierarchy of systemd's is mounted below {}", cgroup.display()))
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        // It may go away with its guest while we look.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => return Ok(Vec::new()),
        Err(error) => return Err(format!("failed to list {}: {error}", path.display())),
    };
    Ok(entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect())
}

fn collect(directory: &Path, pids: &mut BTreeSet<u32>) -> Result<(), String> {
    let file = directory.join("cgroup.procs");
    match std::fs::read_to_string(&file) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.trim().parse::<u32>().ok())),
        // Gone with its guest; or a threaded cgroup, whose processes the nearest domain above lists.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                || matches!(error.raw_os_error(), Some(libc_errno::ENODEV | libc_errno::EOPNOTSUPP)) => {}
        Err(error) => return Err(format!("failed to read {}: {error}", file.display())),
    }
    for below in directories(directory)? {
        collect(&below, pids)?;
    }
    Ok(())
}

/// The two numbers that the kernel answers here, on every architecture that libvirt runs qemu on.
mod libc_errno {
    pub(super) const ENODEV: i32 = 19;
    pub(super) const EOPNOTSUPP: i32 = 95;
}

/// The machine name inside a scope's name, with systemd's escapes undone: `machine-qemu\x2d1\x2dweb.scope` is `qemu-1-web`.
pub fn machine_name(scope: &str) -> String {
    let bare = scope.strip_prefix("machine-").unwrap_or(scope);
    let bare = bare.strip_suffix(".scope").unwrap_or(bare).as_bytes();
    let mut bytes = Vec::with_capacity(bare.len());
    let mut at = 0;
    while at < bare.len() {
        let escaped = bare[at..].strip_prefix(b"\\x").and_then(|rest| rest.get(..2));
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                at += 4;
            }
            None => {
                bytes.push(bare[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn cgroup(path: PathBuf, pids: &str) {
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cgroup.procs"), pids).unwrap();
    }

    #[test]
    fn both_versions_are_read_with_everything_below_a_scope() {
        let scope = r"machine-qemu\x2d1\x2dweb.scope";
        for tree in ["", "systemd"] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join(tree);
            cgroup(root.clone(), "1\n");
            if tree.is_empty() {
                fs::write(root.join("cgroup.controllers"), "cpu io\n").unwrap();
            } else {
                fs::create_dir_all(dir.path().join("unified")).unwrap();
            }
            assert_eq!(read(dir.path()).unwrap(), Scopes::new());
            cgroup(root.join("machine.slice").join(scope), "40\n");
            cgroup(root.join("machine.slice").join(scope).join("libvirt/emulator"), "41\n42\n");
            cgroup(root.join("machine.slice/machine-lxc.scope"), "99\n");
            let scopes = read(dir.path()).unwrap();
            assert_eq!(scopes, Scopes::from([(scope.to_owned(), BTreeSet::from([40, 41, 42]))]));
        }
    }

    #[test]
    fn no_hierarchy_is_an_error_and_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().contains("no cgroup hierarchy"));
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(
            machine_name(r"machine-qemu\x2d12\x2dinstance\x2d00000001.scope"),
            "qemu-12-instance-00000001"
        );
        assert_eq!(machine_name(r"machine-a\x2.scope"), r"a\x2");
    }
}
