//! The few things that are read of single processes and of memory.

use super::Host;
use procfs::process::{MMapPath, Process};
use procfs::{Current, Meminfo};
use std::path::PathBuf;

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

/// Files that the process maps and that are no longer where they were, its executable included.
///
/// # Errors
/// The process cannot be looked at.
pub fn replaced_files(host: &Host, pid: u32) -> Result<Vec<PathBuf>, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("failed to read the mapped files of process {pid}: {error}");
    let process = process(host, pid).ok_or_else(|| failed(&"there is no such process"))?;
    let maps = process.maps().map_err(|error| failed(&error))?;
    let mut found: Vec<PathBuf> = maps
        .into_iter()
        .filter_map(|map| match map.pathname {
            MMapPath::Path(path) => path.to_str()?.strip_suffix(" (deleted)").map(PathBuf::from),
            _ => None,
        })
        // Anonymous shared memory has such names from the start.
        .filter(|path| {
            !path.starts_with("/memfd:") && !path.starts_with("/dev") && !path.starts_with("/SYSV")
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Bytes of memory in all, and available without swapping.
///
/// # Errors
/// `/proc/meminfo` cannot be read.
pub fn memory() -> Result<(u64, u64), String> {
    let info = Meminfo::current().map_err(|error| format!("failed to read /proc/meminfo: {error}"))?;
    // Linux before 3.14 does not say what is available.
    Ok((info.mem_total, info.mem_available.unwrap_or(info.mem_free + info.cached)))
}

/// A whole GiB begun counts.
pub fn gibibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 30)
}
