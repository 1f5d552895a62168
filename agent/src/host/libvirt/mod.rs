//! libvirt, asked through `virsh` with a deadline for every call.
//!
//! Owns what libvirtd is asked and what its answers mean. Opens no monitor socket of qemu and changes no guest (P3). And starts no
//! daemon: a question to a socket of a libvirtd that is stopped would make systemd start one, over all guests that run, so systemd is
//! asked first whether it runs.

mod answers;
pub mod hooks;
mod network;
pub mod trial;

pub use network::{Answered, speaks_libvirt};

use super::Host;
use super::command::{Command, CommandError, Output, failed};
use super::systemd::SystemdError;
use answers::Job;
use replank_common::version::Version;
use std::path::PathBuf;
use std::time::Duration;

/// For one question.
const ASK: Duration = Duration::from_secs(15);
/// The daemons that manage qemu guests; one of them runs.
pub const DAEMONS: [&str; 2] = ["libvirtd.service", "virtqemud.service"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibvirtError {
    #[error(transparent)]
    Tool(#[from] CommandError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    #[error("libvirt's daemon does not run")]
    NotRunning,
    #[error("the answer of `{command}` cannot be understood: {said}")]
    Unreadable { command: String, said: String },
}

/// The host's own libvirtd, over its local sockets.
#[derive(Debug)]
pub struct Libvirt<'a> {
    host: &'a Host,
    deadline: Duration,
}

impl<'a> Libvirt<'a> {
    pub fn new(host: &'a Host) -> Self {
        Self { host, deadline: ASK }
    }

    /// With another deadline for each question.
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Runs the question, if there is a daemon to be asked.
    fn ask(&self, command: &Command) -> Result<Output, LibvirtError> {
        for unit in DAEMONS {
            let status = self.host.systemd.status(unit)?;
            // `activating`: it is being started already.
            if matches!(status.active_state.as_str(), "active" | "reloading" | "activating") {
                return Ok(self.host.programs.run(command)?);
            }
        }
        Err(LibvirtError::NotRunning)
    }

    fn ask_ok(&self, command: &Command) -> Result<Output, LibvirtError> {
        let output = self.ask(command)?;
        if output.success() { Ok(output) } else { Err(failed(command, &output).into()) }
    }

    fn reader(&self) -> Command {
        Command::new("virsh").arg("-r").deadline(self.deadline)
    }

    /// What the running daemon says of itself.
    ///
    /// # Errors
    /// It does not answer in time.
    pub fn running_version(&self) -> Result<Version, LibvirtError> {
        let command = self.reader().args(["version", "--daemon"]);
        let text = self.ask_ok(&command)?.text();
        answers::daemon_version(&text).ok_or_else(|| unreadable(&command, &text))
    }

    /// The emulator that a new guest of this virtualisation type (`kvm`, `qemu`) gets on the host's own architecture; `None` when
    /// libvirt offers no such guests here.
    ///
    /// # Errors
    /// libvirt does not answer, or answers something else.
    pub fn default_emulator(&self, virt_type: &str) -> Result<Option<PathBuf>, LibvirtError> {
        // libvirt allows this question on its read-write socket only.
        let command =
            Command::new("virsh").args(["domcapabilities", "--virttype", virt_type]).deadline(self.deadline);
        let output = self.ask(&command)?;
        if output.success() {
            let text = output.text();
            return answers::emulator(&text).map(Some).ok_or_else(|| unreadable(&command, &text));
        }
        if answers::is_not_offered(&output.complaint()) {
            return Ok(None);
        }
        Err(failed(&command, &output).into())
    }

    /// Names of all guests that run.
    ///
    /// # Errors
    /// libvirt does not answer.
    pub fn active(&self) -> Result<Vec<String>, LibvirtError> {
        self.names(&["list", "--name"])
    }

    /// Names of all domains that libvirt starts by itself.
    ///
    /// # Errors
    /// libvirt does not answer.
    pub fn autostarted(&self) -> Result<Vec<String>, LibvirtError> {
        self.names(&["list", "--all", "--autostart", "--name"])
    }

    fn names(&self, arguments: &[&str]) -> Result<Vec<String>, LibvirtError> {
        let output = self.ask_ok(&self.reader().args(arguments))?;
        Ok(answers::lines(&output.text()))
    }

    /// Guests with a migration, save, dump or block job in flight, and the job in words.
    ///
    /// # Errors
    /// A guest cannot be asked in time. A guest that ended meanwhile has no job.
    pub fn jobs(&self) -> Result<Vec<(String, String)>, LibvirtError> {
        let mut jobs = Vec::new();
        for name in self.active()? {
            match self.jobs_of(&name) {
                Ok(found) => jobs.extend(found.into_iter().map(|job| (name.clone(), job))),
                Err(LibvirtError::Tool(CommandError::Failed { said, .. })) if answers::is_gone(&said) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(jobs)
    }

    fn jobs_of(&self, name: &str) -> Result<Vec<String>, LibvirtError> {
        let domain = format!("--domain={name}");
        let mut jobs = Vec::new();
        let command = self.reader().args(["domjobinfo", &domain]);
        let text = self.ask_ok(&command)?.text();
        match answers::domain_job(&text).ok_or_else(|| unreadable(&command, &text))? {
            Job::None => {}
            Job::Running(what) => jobs.push(what),
        }
        let disks = self.ask_ok(&self.reader().args(["domblklist", &domain, "--details"]))?;
        for disk in answers::disks(&disks.text()) {
            let path = format!("--path={disk}");
            let command = self.reader().args(["blockjob", &domain, &path, "--info"]);
            let output = self.ask_ok(&command)?;
            match answers::block_job(&output.text(), &String::from_utf8_lossy(&output.stderr)) {
                Job::None => {}
                Job::Running(what) => jobs.push(format!("{what} of disk {disk}")),
            }
        }
        Ok(jobs)
    }
}

fn unreadable(command: &Command, said: &str) -> LibvirtError {
    LibvirtError::Unreadable { command: command.to_string(), said: said.chars().take(200).collect() }
}

/// Every socket unit that can start this daemon; those that a host does not have are not found by systemd.
pub fn sockets_of(unit: &str) -> Vec<String> {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let tails: &[&str] =
        if stem == "libvirtd" { &["", "-ro", "-admin", "-tcp", "-tls"] } else { &["", "-ro", "-admin"] };
    tails.iter().map(|tail| format!("{stem}{tail}.socket")).collect()
}

/// The version of the daemon's program on disk, as it prints it of itself; the running one may be another.
///
/// # Errors
/// Why it cannot be told.
pub fn installed_version(host: &Host, unit: &str) -> Result<Version, String> {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let command = Command::new(host.at(format!("/usr/sbin/{stem}"))).arg("--version").deadline(ASK);
    let text = host.programs.run_ok(&command).map_err(|error| error.to_string())?.text();
    answers::program_version(&text).ok_or_else(|| format!("`{command}` prints no version: {text}"))
}
