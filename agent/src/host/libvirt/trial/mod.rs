//! A libvirtd of another version reads copies of the status files, where it can reach nothing of the host.
//!
//! It runs as the first process of a pid namespace of its own, so no signal of it reaches a process of the host; in a mount namespace
//! with `/run`, `/var` and `/etc/libvirt` of its own, so it meets neither a monitor socket nor a disk image nor the host's hooks; and in
//! network and IPC namespaces of its own, so it meets neither bus nor bridge. It is ended as soon as it has read the status files, which is
//! before it takes anything over.
//!
//! The namespaces belong to one thread and its children. When they end, of themselves or because the agent was killed, every mount is gone
//! with them; what stays is an empty directory in the agent's scratch space.

mod log;
mod root;

pub use log::{Read, Verdicts};

use super::LibvirtError;
use crate::host::Host;
use crate::host::command::{Command, CommandError, prepared};
use crate::host::packages::PackagesError;
use nix::sched::{CloneFlags, unshare};
use replank_common::facts::PackageManager;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// From the daemon's start until it has read the status files. It takes some hundredths of a second; a full machine may take longer.
const DEADLINE: Duration = Duration::from_secs(30);
/// More than this says a libvirtd only that is not asked to; the rest is dropped.
const LOG_LIMIT: usize = 32 << 20;

/// What is tried.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    pub manager: PackageManager,
    /// systemd's unit of the daemon, whose stem is the program's name.
    pub unit: &'a str,
    /// Package files that hold the libvirt to be tried.
    pub files: Vec<PathBuf>,
    /// Names of all packages whose installed files must not be seen by it, of any version.
    pub names: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("failed to {what}: {source}")]
    Step {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Tool(#[from] CommandError),
    #[error(transparent)]
    Packages(#[from] PackagesError),
    #[error(transparent)]
    Libvirt(#[from] LibvirtError),
    #[error("the thread of the trial ended without an answer")]
    Lost,
}

fn step<T>(what: impl Into<String>, result: Result<T, impl Into<io::Error>>) -> Result<T, TrialError> {
    result.map_err(|error| TrialError::Step { what: what.into(), source: error.into() })
}

/// Runs the trial, at most some minutes for unpacking and [`DEADLINE`] for the daemon.
///
/// # Errors
/// It could not be carried out. A daemon that starts and does not read the files is no error but a verdict.
pub fn run(host: &Host, trial: &Trial<'_>) -> Result<Verdicts, TrialError> {
    std::thread::scope(|scope| {
        // Namespaces are entered by a thread that ends with the trial; the rest of the agent stays where it is.
        scope.spawn(|| in_namespaces(host, trial)).join().map_err(|_| TrialError::Lost)?
    })
}

fn in_namespaces(host: &Host, trial: &Trial<'_>) -> Result<Verdicts, TrialError> {
    step("enter a mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
    let built = root::build(host, trial)?;
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    step("enter network and IPC namespaces", unshare(spaces))?;
    root::mount_sys(&built.root);
    // From here on this thread can start one process and no thread.
    step("enter a pid namespace", unshare(CloneFlags::CLONE_NEWPID))?;
    let stem = trial.unit.strip_suffix(".service").unwrap_or(trial.unit);
    let text = observe(&built.root, &format!("/usr/sbin/{stem}"))?;
    tracing::debug!(log = %text, "what the trial's libvirtd said");
    Ok(log::judge(&text, &built.guests))
}

/// Runs the daemon until it has read the status files, ended or passed the deadline; what it wrote to standard error.
fn observe(root: &Path, program: &str) -> Result<String, TrialError> {
    let command = Command::new(program).args(["-f", "/etc/libvirt/replank-trial.conf", "--timeout", "60"]);
    let mut process = prepared(&command);
    process.stdout(std::process::Stdio::null());
    let enter = root::entry(root)?;
    // SAFETY: between fork and exec only system calls are made, on memory allocated before.
    unsafe {
        process.pre_exec(move || enter.go());
    }
    let mut child = step(format!("start {program}"), process.spawn())?;
    let result = listen(&mut child);
    // The first process of the namespace: with it ends everything that it started.
    let killed = child.kill().and_then(|()| child.wait());
    step(format!("end {program}"), killed)?;
    result
}

fn listen(child: &mut std::process::Child) -> Result<String, TrialError> {
    let Some(mut pipe) = child.stderr.take() else { return Err(TrialError::Lost) };
    let until = Instant::now() + DEADLINE;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&timeout));
        if step("wait for the trial's libvirtd", ready)? == 0 {
            break;
        }
        let count = step("read what the trial's libvirtd says", pipe.read(&mut buffer))?;
        bytes.extend_from_slice(&buffer[..count]);
        if count == 0 || bytes.len() > LOG_LIMIT || log::is_complete(&String::from_utf8_lossy(&bytes)) {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
