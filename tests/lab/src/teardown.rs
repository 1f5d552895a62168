//! The removal of a lab: everything that bears its name, whoever left it and however far they had come.

use std::time::Duration;

use crate::command::wait_for;
use crate::error::{LabError, Result};
use crate::name::LabName;
use crate::process::Process;
use crate::state::LabState;
use crate::{cgroup, mounts, net};

const END_LIMIT: Duration = Duration::from_secs(15);
const ROUNDS: usize = 3;

/// Removes every trace of a lab: processes, mounts, namespaces, cgroups, directories. Nothing there is fine.
///
/// Each part is found by name, so no record is needed; the record only adds processes that may have left their
/// group or namespace. The caller holds the lab's lock.
///
/// # Errors
/// [`LabError::Left`] with what could not be removed.
pub(crate) fn remove(lab: &LabName) -> Result<()> {
    // A tool that a killed owner had just started may still end its work, behind our back: then once more.
    for _ in 0..ROUNDS {
        remove_once(lab)?;
        if traces(lab)?.is_empty() {
            return Ok(());
        }
    }
    Err(LabError::Left { lab: lab.to_string(), left: traces(lab)? })
}

fn remove_once(lab: &LabName) -> Result<()> {
    if let Some(state) = LabState::load(lab) {
        // The recorder first, so that the silence of dying guests is not taken for news.
        state.recorder.iter().for_each(Process::kill);
        for host in &state.hosts {
            host.leader.kill();
            host.supervisor.kill();
        }
    }
    cgroup::remove(&lab.cgroup())?;
    wait_for(&format!("lab `{lab}`: end of all processes in its namespaces"), END_LIMIT, || {
        let alive = net::processes(lab);
        alive.iter().for_each(Process::kill);
        Ok(if alive.is_empty() { Ok(()) } else { Err(describe(&alive).join(", ")) })
    })?;
    mounts::remove_tree(&lab.data_dir())?;
    net::remove(lab)?;
    mounts::remove_tree(&lab.state_dir())
}

/// What there is of a lab on this machine, in words; empty when there is nothing.
///
/// # Errors
/// When the kernel's tables cannot be read.
pub fn traces(lab: &LabName) -> Result<Vec<String>> {
    let mut found = describe(&net::processes(lab));
    found.extend(mounts::below(&lab.data_dir())?.iter().map(|point| format!("mount {}", point.display())));
    found.extend(net::namespaces(lab).iter().map(|name| format!("namespace {name}")));
    if cgroup::exists(&lab.cgroup())? {
        found.push(format!("cgroup {}", lab.cgroup().display()));
    }
    for directory in [lab.data_dir(), lab.state_dir()] {
        if directory.exists() {
            found.push(format!("directory {}", directory.display()));
        }
    }
    Ok(found)
}

fn describe(processes: &[Process]) -> Vec<String> {
    processes.iter().map(|process| format!("process {} ({})", process.pid, process.name())).collect()
}
