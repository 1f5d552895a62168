//! Single processes, told apart for good.

use super::Host;
use procfs::process::Process;

/// A process by pid and start, so that a pid used again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`, clock ticks since boot.
    pub start_ticks: u64,
}

fn process(host: &Host, pid: u32) -> Option<Process> {
    Process::new_with_root(host.at("/proc").join(pid.to_string())).ok()
}

/// The process with this pid; `None` when there is none, or only its remains.
pub fn alive(host: &Host, pid: u32) -> Option<ProcessId> {
    let stat = process(host, pid)?.stat().ok()?;
    let dead = matches!(stat.state, 'Z' | 'X' | 'x');
    (!dead).then_some(ProcessId { pid, start_ticks: stat.starttime })
}

/// The user that a process acts as, proc(5): the second number of `Uid:` in its `status`. `None`: it is gone.
pub fn user(host: &Host, pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(host.at("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
