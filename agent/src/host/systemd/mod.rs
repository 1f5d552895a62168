//! systemd over D-Bus: states are properties, changes are jobs; no text of `systemctl` is read.
//!
//! Owns the calls and their deadlines. What it can never do is stop a guest (P3): only the daemons and sockets of libvirt and the daemons of
//! Ceph may be stopped through it, by name, and a guest's scope or slice is refused before anything is sent.

mod bus;
mod proxy;
#[cfg(test)]
mod tests;

pub use bus::Bus;

use replank_common::planted::{self, Planted};
use std::path::PathBuf;
use std::time::Duration;

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitStatus {
    pub name: String,
    /// `loaded`, `not-found`, `masked`, `error`, …
    pub load_state: String,
    /// `active`, `inactive`, `activating`, `deactivating`, `failed`, `reloading`.
    pub active_state: String,
    pub sub_state: String,
    /// `enabled`, `disabled`, `masked`, `static`, …; empty when there is no unit file.
    pub file_state: String,
    pub fragment: Option<PathBuf>,
    pub drop_ins: Vec<PathBuf>,
    /// The files on disk are newer than what systemd has loaded.
    pub needs_reload: bool,
    /// Services only.
    pub kill_mode: Option<String>,
    /// Services only; `None` when it has no main process now.
    pub main_pid: Option<u32>,
}

impl UnitStatus {
    pub fn is_active(&self) -> bool {
        self.active_state == "active"
    }

    pub fn exists(&self) -> bool {
        self.load_state != "not-found"
    }
}

/// A link that systemd made or removed for a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkChange {
    /// `symlink` or `unlink`.
    pub kind: String,
    pub path: PathBuf,
    pub target: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemdError {
    #[error("systemd cannot be reached over D-Bus: {why}")]
    Unreachable { why: String },
    #[error("systemd refused to {what}: {why}")]
    Refused { what: String, why: String },
    /// systemd's own word for how the job ended: `failed`, `timeout`, `canceled`, `dependency`, `skipped`.
    #[error("the job to {what} ended as `{result}`")]
    Job { what: String, result: String },
    #[error("systemd did not finish to {what} within {} s", .deadline.as_secs())]
    TimedOut { what: String, deadline: Duration },
    /// Stopping it could end a guest.
    #[error(
        "unit `{unit}` is none that replank may {what}: only daemons and sockets of libvirt and daemons of Ceph are"
    )]
    Forbidden { unit: String, what: &'static str },
}

/// systemd's manager: [`Bus`], or a fake in the tests of actions.
pub trait Systemd: std::fmt::Debug + Send + Sync {
    /// # Errors
    /// systemd does not answer. A unit that does not exist is no error but a load state.
    fn status(&self, unit: &str) -> Result<UnitStatus, SystemdError>;

    /// Starts the unit and waits for the job.
    ///
    /// # Errors
    /// The job did not end as `done` within the deadline.
    fn start(&self, unit: &str, deadline: Duration) -> Result<(), SystemdError>;

    /// Stops the unit and waits for the job.
    ///
    /// # Errors
    /// As [`Systemd::start`]; `Forbidden` for anything but libvirt's daemons and sockets and Ceph's daemons.
    fn stop(&self, unit: &str, deadline: Duration) -> Result<(), SystemdError>;

    /// Masks the unit file, in `/run` if `runtime`. Stops nothing. Forces nothing: a unit file of the administrator in the
    /// way is a refusal.
    ///
    /// # Errors
    /// systemd refused.
    fn mask(&self, unit: &str, runtime: bool) -> Result<Vec<LinkChange>, SystemdError>;

    /// Enables the unit file for the next boot. Starts nothing.
    ///
    /// # Errors
    /// systemd refused.
    fn enable(&self, unit: &str) -> Result<Vec<LinkChange>, SystemdError>;

    /// Disables the unit file for the next boot. Stops nothing.
    ///
    /// # Errors
    /// systemd refused.
    fn disable(&self, unit: &str) -> Result<Vec<LinkChange>, SystemdError>;

    /// Forgets that the unit failed, and how often it was started: a start limit that was reached counts anew. A unit that did not fail is no error.
    ///
    /// # Errors
    /// systemd refused or does not answer.
    fn reset_failed(&self, unit: &str) -> Result<(), SystemdError>;

    /// Makes systemd read its unit files again.
    ///
    /// # Errors
    /// systemd refused or does not answer.
    fn reload(&self) -> Result<(), SystemdError>;
}

/// The daemons of libvirt that replank may stop, without their ending. `virtlogd` and `virtlockd` are not among them: they hold
/// what guests write to and lock.
const STOPPABLE: [&str; 5] = ["libvirtd", "virtqemud", "libvirtd-tcp", "libvirtd-tls", "virtproxyd"];

/// The daemons of Ceph, by what stands before the `@` of their unit. Whether their data stays redundant is judged before.
const STOPPABLE_INSTANCES: [&str; 5] = ["ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph-radosgw"];

/// # Errors
/// `Forbidden` unless `unit` is a service or socket of libvirt's hypervisor or proxy daemon, or a daemon of Ceph.
pub fn may_stop(unit: &str, what: &'static str) -> Result<(), SystemdError> {
    let stem = unit.strip_suffix(".service").or_else(|| unit.strip_suffix(".socket"));
    let stem = stem.map(|stem| stem.trim_end_matches("-ro").trim_end_matches("-admin"));
    match stem {
        Some(stem) if STOPPABLE.contains(&stem) => Ok(()),
        Some(stem) if stem.split_once('@').is_some_and(|(of, _)| STOPPABLE_INSTANCES.contains(&of)) => Ok(()),
        _ if planted::is(Planted::AnyUnitStops) => Ok(()),
        _ => Err(SystemdError::Forbidden { unit: unit.to_owned(), what }),
    }
}
