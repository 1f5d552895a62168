//! Processes by pid and start time, so that a reused pid is never taken for the one that was meant.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// One life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The pid on the machine.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    pub start_ticks: u64,
}

impl Process {
    /// The process that has this pid now; none when there is none, or only a zombie.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start_ticks) = parse_stat(&stat)?;
        (state != 'Z' && state != 'X').then_some(Self { pid, start_ticks })
    }

    /// This process itself.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::find(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether this very life goes on.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::find(self.pid).as_ref() == Some(self)
    }

    /// Sends SIGKILL if this very life goes on.
    pub fn kill(&self) {
        if self.is_alive() {
            // It may have ended in between; then there is nothing to do.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// The command name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.pid))
            .map(|s| s.trim().to_owned())
            .unwrap_or_default()
    }
}

/// State and start time of a `/proc/PID/stat` line; the command in parentheses may hold anything.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the start time field 22.
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// All processes whose main thread lives in one of these network namespaces, except the caller.
#[must_use]
pub(crate) fn in_namespaces(inodes: &[u64]) -> Vec<Process> {
    use std::os::unix::fs::MetadataExt;
    let own = std::process::id();
    pids()
        .filter(|pid| u32::try_from(*pid) != Ok(own))
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|net| inodes.contains(&net.ino()))
        })
        .filter_map(Process::find)
        .collect()
}

/// The direct children of a process.
#[must_use]
pub(crate) fn children(pid: i32) -> Vec<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
        .unwrap_or_default()
}

/// Whether a process is the first of a PID namespace below the machine's.
#[must_use]
pub(crate) fn is_first_of_namespace(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        status.lines().find_map(|line| line.strip_prefix("NSpid:")).is_some_and(|pids| {
            let pids: Vec<_> = pids.split_whitespace().collect();
            pids.len() > 1 && pids.last() == Some(&"1")
        })
    })
}

/// The pids of a `cgroup.procs` file and of all below its directory.
#[must_use]
pub(crate) fn in_cgroup(directory: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_to_string(directory.join("cgroup.procs"))
        .map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect())
        .unwrap_or_default();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(in_cgroup(&entry.path()));
        }
    }
    found
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_spaces_and_parentheses_is_no_trap() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 1";
        assert_eq!(parse_stat(stat), Some(('S', 987_654)));
    }

    #[test]
    fn another_life_under_the_same_pid_is_not_this_one() {
        let here = Process::current().unwrap();
        assert!(here.is_alive());
        assert!(!Process { start_ticks: here.start_ticks + 1, ..here }.is_alive());
    }
}
