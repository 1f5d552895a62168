//! What processes have in use of the file system: mapped files, open files, executables.

use super::Host;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that a process maps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// As the process saw it when it mapped it, without ` (deleted)`.
    pub path: PathBuf,
    pub deleted: bool,
    /// The range as `/proc/PID/map_files` names it.
    pub range: String,
    pub inode: u64,
    /// `major:minor` in hexadecimal, as in the maps file.
    pub device: String,
    /// What the process writes into it reaches others: memory of a guest that lies in a file, never code.
    pub shared: bool,
}

fn pids(host: &Host) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(host.at("/proc"))?.flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// The files that a process maps, each once.
///
/// # Errors
/// The process is gone or may not be looked at.
pub fn mappings(host: &Host, pid: u32) -> io::Result<Vec<Mapping>> {
    Ok(parse(&fs::read_to_string(host.at(format!("/proc/{pid}/maps")))?))
}

fn parse(text: &str) -> Vec<Mapping> {
    let mut seen = BTreeSet::new();
    text.lines()
        .filter_map(|line| {
            // address perms offset dev inode path
            let mut fields = line.splitn(6, ' ');
            let (range, permissions) = (fields.next()?, fields.next()?);
            let (device, inode) = (fields.nth(1)?, fields.next()?);
            let path = fields.next()?.trim_start();
            // Memory that has a name but no file: memfd, shared anonymous memory, System V.
            let nameless = ["/memfd:", "/dev/zero", "/SYSV"].iter().any(|prefix| path.starts_with(prefix));
            let inode: u64 = inode.parse().ok()?;
            if !path.starts_with('/') || nameless || !seen.insert((device, inode)) {
                return None;
            }
            let (path, deleted) = match path.strip_suffix(" (deleted)") {
                Some(path) => (path, true),
                None => (path, false),
            };
            Some(Mapping {
                // The kernel writes a line feed in a path as `\012`.
                path: PathBuf::from(path.replace("\\012", "\n")),
                deleted,
                range: range.to_owned(),
                inode,
                device: device.to_owned(),
                shared: permissions.ends_with('s'),
            })
        })
        .collect()
}

/// Processes that run, map, or have open, anything below `prefix`: pid and one such path.
///
/// # Errors
/// /proc cannot be listed. A process that ends meanwhile uses nothing.
pub fn users_of(host: &Host, prefix: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut users = Vec::new();
    for pid in pids(host)? {
        let base = host.at(format!("/proc/{pid}"));
        let mut used: Vec<PathBuf> =
            ["exe", "cwd", "root"].iter().filter_map(|link| fs::read_link(base.join(link)).ok()).collect();
        used.extend(mappings(host, pid).unwrap_or_default().into_iter().map(|m| m.path));
        let descriptors = fs::read_dir(base.join("fd")).into_iter().flatten().flatten();
        used.extend(descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()));
        if let Some(path) = used.into_iter().find(|path| path.starts_with(prefix)) {
            users.push((pid, path));
        }
    }
    Ok(users)
}

/// The processes of a guest: those of the scope in which libvirt put it, or only its own when it has none.
pub fn guest_processes(host: &Host, pid: u32) -> Vec<u32> {
    let mut found = BTreeSet::from([pid]);
    let text = fs::read_to_string(host.at(format!("/proc/{pid}/cgroup"))).unwrap_or_default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let hierarchy = match controllers {
            "" => "/sys/fs/cgroup",
            "name=systemd" => "/sys/fs/cgroup/systemd",
            _ => continue,
        };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let Some(scope) = parts.iter().position(|part| part.starts_with("machine-qemu")) else { continue };
        let base = host.at(hierarchy).join(parts[..=scope].iter().collect::<PathBuf>());
        let files =
            walkdir::WalkDir::new(base).into_iter().flatten().filter(|e| e.file_name() == "cgroup.procs");
        for file in files {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            // A process of another pid namespace is listed as 0.
            found.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()).filter(|pid| *pid != 0));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;
    use crate::host::dirs::Directories;

    #[test]
    fn maps_are_read_with_deleted_and_nameless_ones() {
        let text = "\
559d4a000000-559d4a400000 r--p 00000000 fe:00 1234                       /usr/bin/qemu-system-x86_64 (deleted)
559d4a400000-559d4a800000 r-xp 00400000 fe:00 1234                       /usr/bin/qemu-system-x86_64 (deleted)
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
7f0000100000-7f0000200000 rw-s 00000000 00:01 99                         /memfd:pc.ram (deleted)
7f0000200000-7f0000300000 r--p 00000000 fe:00 77                         /usr/lib/a lib.so
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert!(found[0].deleted);
        assert_eq!(found[0].path, Path::new("/usr/bin/qemu-system-x86_64"));
        assert_eq!(found[0].range, "559d4a000000-559d4a400000");
        assert_eq!((found[1].path.as_path(), found[1].inode), (Path::new("/usr/lib/a lib.so"), 77));
    }

    #[test]
    fn our_own_process_uses_its_own_directory() {
        let host = Host { directories: Directories::real(), ..World::new().host.clone() };
        let here = std::env::current_exe().unwrap();
        let users = users_of(&host, here.parent().unwrap()).unwrap();
        assert!(users.iter().any(|(pid, _)| *pid == std::process::id()), "{users:?}");
        assert_eq!(users_of(&host, Path::new("/no/such/prefix")).unwrap(), []);
    }
}
