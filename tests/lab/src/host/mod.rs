//! Hosts: systemd as the first process over an overlay of a cached root, and a way to work in them.

mod boot;
mod kind;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::command::{self, command, wait_for};
use crate::error::{IoContext, LabError, Result};
use crate::process::Process;
use crate::state::HostState;

pub(crate) use boot::{Booting, boot, hosts_file};
pub use kind::Kind;

/// How long a command in a host may take, unless the caller says otherwise.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// The exit code of timeout(1) when it had to end the command.
const TIMED_OUT: i32 = 124;

/// A host that runs.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    kind: Kind,
    address: Ipv4Addr,
    leader: Process,
}

impl Host {
    /// The host of a lab's record, to be used from another process than the one that booted it.
    #[must_use]
    pub fn of_state(state: &HostState) -> Self {
        Self { name: state.name.clone(), kind: state.kind, address: state.address, leader: state.leader }
    }

    /// Its name, which every host of the lab resolves.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its address on the lab's bridge.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The pid, on the machine, of the host's first process.
    #[must_use]
    pub fn leader_pid(&self) -> i32 {
        self.leader.pid
    }

    /// Whether the host still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.leader.is_alive()
    }

    /// A command inside the host, not yet started; for what runs long beside a test. It is in all of the host's
    /// namespaces but in the caller's cgroup: start services with `systemd-run`, not with this.
    #[must_use]
    pub fn command(&self, argv: &[&str]) -> Command {
        let leader = self.leader.pid.to_string();
        let mut command =
            command("nsenter", [&["-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"], argv].concat());
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a command to its end; whatever its status was is in the output. It may take two minutes.
    ///
    /// # Errors
    /// When the host is gone, or the command did not end in time (it is killed).
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        self.run_within(argv, COMMAND_LIMIT)
    }

    /// As [`Host::run`], with a limit of the caller's.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_within(&self, argv: &[&str], limit: Duration) -> Result<Output> {
        self.look_alive()?;
        let since = Instant::now();
        let output = command::output(self.command(&with_limit(&limit_text(limit), argv)))?;
        if output.status.code() == Some(TIMED_OUT) && since.elapsed() >= limit {
            let said = [output.stdout, output.stderr].concat();
            let last = command::tail(&String::from_utf8_lossy(&said));
            return Err(LabError::Deadline {
                what: format!("{}: end of `{}`", self.name, argv.join(" ")),
                limit,
                last,
            });
        }
        Ok(output)
    }

    /// Runs a command that must succeed, and gives its standard output.
    ///
    /// # Errors
    /// As [`Host::run`], and when it ends with another status than 0.
    pub fn must(&self, argv: &[&str]) -> Result<String> {
        let output = self.run(argv)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(command::failed(format!("{}: {}", self.name, argv.join(" ")), output.status, &output))
    }

    /// Runs a shell script that must succeed (`set -eu` is in force), and gives its standard output.
    ///
    /// # Errors
    /// As [`Host::must`].
    pub fn sh(&self, script: &str) -> Result<String> {
        self.must(&["sh", "-euc", script])
    }

    /// The content of a file on the host.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let output = self.run(&["cat", "--", path])?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(command::failed(format!("{}: read {path}", self.name), output.status, &output))
    }

    /// Writes a file on the host by renaming a new one into place, with the mode given; makes its directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.look_alive()?;
        let script = "mkdir -p \"$(dirname \"$1\")\" && cat >\"$1.lab-new\" && chmod \"$2\" \"$1.lab-new\" && \
                      mv -T \"$1.lab-new\" \"$1\"";
        let (limit, mode) = (limit_text(COMMAND_LIMIT), format!("{mode:o}"));
        let argv = with_limit(&limit, &["sh", "-euc", script, "sh", path, &mode]);
        command::must_with_input(self.command(&argv), content).map(drop)
    }

    /// Copies a file of the machine to the host, with the mode given.
    ///
    /// # Errors
    /// When either cannot be read or written.
    pub fn push(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        self.write(to, &std::fs::read(from).doing("read", from)?, mode)
    }

    /// Unpacks the files of an RPM on a host that has no rpm: none of its scripts run, and no database knows of it.
    ///
    /// # Errors
    /// When the package cannot be read or its files not be written.
    pub fn unpack_rpm(&self, package: &Path) -> Result<()> {
        self.look_alive()?;
        let rpm = std::fs::File::open(package).doing("open", package)?;
        let mut unpack = Command::new("rpm2archive");
        unpack.args(["--nocompression", "-"]).stdin(rpm);
        let archive = command::output(unpack)?;
        if !archive.status.success() {
            return Err(command::failed(
                format!("rpm2archive of {}", package.display()),
                archive.status,
                &archive,
            ));
        }
        let limit = limit_text(COMMAND_LIMIT);
        let argv = with_limit(&limit, &["tar", "-x", "-C", "/", "--no-overwrite-dir", "--same-owner"]);
        command::must_with_input(self.command(&argv), &archive.stdout).map(drop)
    }

    /// The pid, as the host sees it, of the qemu process of a running guest.
    ///
    /// # Errors
    /// When libvirt has written none down.
    pub fn qemu_pid(&self, guest: &str) -> Result<i32> {
        let path = format!("/run/libvirt/qemu/{guest}.pid");
        let text = String::from_utf8_lossy(&self.read(&path)?).trim().to_owned();
        text.parse().map_err(|_| LabError::Refused(format!("{}: {path} holds `{text}`, no pid", self.name)))
    }

    /// Waits until systemd has started everything (`running` or `degraded`) and, on a compute host, libvirtd answers.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with the state seen last and the units that failed or are still starting.
    pub fn wait_until_up(&self, limit: Duration) -> Result<()> {
        let since = Instant::now();
        wait_for(&format!("{}: system up", self.name), limit, || {
            let state = self.run(&["systemctl", "is-system-running"])?;
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            if state == "running" || state == "degraded" {
                return Ok(Ok(()));
            }
            let jobs = self.run(&["systemctl", "--no-legend", "--plain", "list-jobs"])?;
            Ok(Err(format!("`{state}`, jobs: {}", String::from_utf8_lossy(&jobs.stdout).trim())))
        })?;
        let left = limit.saturating_sub(since.elapsed());
        match self.kind {
            Kind::Compute => self.wait_for_libvirtd(left),
            Kind::Ceph | Kind::Client => Ok(()),
        }
    }

    fn wait_for_libvirtd(&self, limit: Duration) -> Result<()> {
        wait_for(&format!("{}: libvirtd answering", self.name), limit, || {
            let active = self.run(&["systemctl", "is-active", "libvirtd.service"])?;
            if !active.status.success() {
                let state = String::from_utf8_lossy(&active.stdout).trim().to_owned();
                let log =
                    self.run(&["journalctl", "-b", "-n", "20", "--no-pager", "-u", "libvirtd.service"])?;
                return Ok(Err(format!("the unit is `{state}`: {}", String::from_utf8_lossy(&log.stdout))));
            }
            let version = self.run(&["virsh", "version", "--daemon"])?;
            Ok(match version.status.success() {
                true => Ok(()),
                false => Err(command::tail(&String::from_utf8_lossy(&version.stderr))),
            })
        })
    }

    fn look_alive(&self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        Err(LabError::Refused(format!(
            "host `{}` no longer runs (its first process was {})",
            self.name, self.leader.pid
        )))
    }
}

fn limit_text(limit: Duration) -> String {
    format!("{:.3}", limit.as_secs_f64())
}

/// The limit is kept inside the host, where the command itself can be ended and not only the way to it.
fn with_limit<'a>(limit: &'a str, argv: &[&'a str]) -> Vec<&'a str> {
    [&["timeout", "--kill-after=5", limit], argv].concat()
}
