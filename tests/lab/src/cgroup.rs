//! A cgroup for each host, so that everything it ever started can be found and ended.
//!
//! systemd needs its named v1 hierarchy or the unified one; a machine may have both mounted, and a host then gets
//! a group in each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::wait_for;
use crate::error::{IoContext, LabError, Result};
use crate::process::{self, Process};

const END_LIMIT: Duration = Duration::from_secs(15);

/// The mount points of the hierarchies that hosts get a group in.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").doing("read", "/proc/self/mountinfo")?;
    let found = parse_hierarchies(&table);
    if found.is_empty() {
        return Err(LabError::Refused(
            "no cgroup hierarchy that systemd can use is mounted on this machine (cgroup2, or v1 name=systemd)"
                .to_owned(),
        ));
    }
    Ok(found)
}

fn parse_hierarchies(table: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut words = file_system.split(' ');
        let kind = words.next()?;
        let fits =
            kind == "cgroup2" || kind == "cgroup" && words.nth(1)?.split(',').any(|o| o == "name=systemd");
        fits.then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    };
    let mut found: Vec<PathBuf> = table.lines().filter_map(of_line).collect();
    found.dedup();
    found
}

/// Makes a group in every hierarchy, and gives their directories.
///
/// # Errors
/// When the machine has no hierarchy for systemd, or refuses the group.
pub(crate) fn create(group: &Path) -> Result<Vec<PathBuf>> {
    hierarchies()?
        .into_iter()
        .map(|hierarchy| {
            let directory = hierarchy.join(group);
            fs::create_dir_all(&directory).doing("create", &directory)?;
            Ok(directory)
        })
        .collect()
}

/// Kills everything in a group and removes it; absent is fine.
///
/// # Errors
/// [`LabError::Deadline`] with the processes that do not end.
pub(crate) fn remove(group: &Path) -> Result<()> {
    for hierarchy in hierarchies()? {
        let directory = hierarchy.join(group);
        // Killing and removing in turn: a process that was just about to join when the group looked empty is
        // met by the next round, and once the group is gone none can join.
        wait_for(&format!("removal of {}", directory.display()), END_LIMIT, || {
            let alive: Vec<Process> =
                process::in_cgroup(&directory).into_iter().filter_map(Process::find).collect();
            alive.iter().for_each(Process::kill);
            remove_directories(&directory);
            let names: Vec<String> =
                alive.iter().map(|one| format!("{} ({})", one.pid, one.name())).collect();
            Ok(if directory.exists() { Err(format!("processes: {}", names.join(", "))) } else { Ok(()) })
        })?;
        // The parent is shared by all labs: the last one takes it along.
        if let Some(parent) = directory.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
    Ok(())
}

/// Whether any hierarchy still has the group.
pub(crate) fn exists(group: &Path) -> Result<bool> {
    Ok(hierarchies()?.iter().any(|hierarchy| hierarchy.join(group).exists()))
}

fn remove_directories(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_directories(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_are_recognised_and_other_controllers_left_alone() {
        let table = "30 29 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                     31 29 0:27 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
                     32 29 0:28 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup rw\n\
                     33 29 0:29 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(
            parse_hierarchies(table),
            [Path::new("/sys/fs/cgroup/systemd"), Path::new("/sys/fs/cgroup/unified")]
        );
    }
}
