//! One restart of libvirtd with every guest under watch: what [`super::libvirt_restart`] does on the way forward and
//! [`super::libvirt_anchor`] on the way back.
//!
//! A libvirtd that starts takes over the guests that run, and kills a guest that it cannot take over
//! (`qemuProcessReconnect` ends in `qemuProcessStop`). Nothing here can hinder that; so everything that is known to make it fail is
//! looked at before the daemon is stopped ([`super::libvirt_safe`]), and every guest is watched until the new daemon has saved its status file, which is the
//! last thing it does for a guest that it has taken over.
//!
//! The order is: sockets, daemon, then sockets, daemon. A socket unit does not start while its daemon runs, and a socket that listens
//! while the daemon is stopped lets any client start the daemon before the other sockets do.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | note written | the old daemon running | begun anew, with the sockets of the note |
//! | some sockets stopped | the old daemon running, deaf on some | the same |
//! | daemon stopped | no daemon, guests running | `Half`: sockets and daemon are started, the guests of the note compared |
//! | sockets started | no daemon, or one that a client started | `Half`, or the new daemon is found |
//! | daemon started | the new daemon | `Half`: not restarted again; waited for, and its guests compared |

use super::answer::{change, failure, refusal, systemd_failure};
use super::{ActError, Failure, Host, Progress, Report};
use crate::codes;
use crate::host::files::FileError;
use crate::host::libvirt::{Libvirt, sockets_of};
use crate::host::proc::{self, ProcessId};
use crate::host::{notes, os};
use replank_common::census::{Census, Guest};
use replank_common::ids::BootId;
use replank_common::outcome::Change;
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// libvirtd's own limit for one guest: 30 s, and since libvirt 3.2 1 s more a GiB of the guest.
const TAKE_OVER: Duration = Duration::from_secs(30);
/// systemd ends a stop by force after `TimeoutStopSec`, 90 s unless told otherwise.
const STOP: Duration = Duration::from_secs(120);
const SOCKET: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// How often each guest's process is looked at.
const WATCH: Duration = Duration::from_millis(10);
const STATUS_FILES: &str = "/run/libvirt/qemu";

/// What has to outlive a crash between stop and start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    boot_id: BootId,
    /// The restart has begun and not been verified.
    open: bool,
    guests: Vec<Guest>,
    /// The daemon that is to be stopped.
    old: Option<(u32, u64)>,
    /// Sockets that listened.
    sockets: BTreeSet<String>,
    /// The daemon that a finished restart left.
    left: Option<(u32, u64)>,
}

/// Which restart of libvirtd this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restart<'a> {
    /// Names the note, one for each kind of action.
    pub(super) kind: &'static str,
    pub(super) unit: &'a str,
    /// What the daemon must say of itself afterwards.
    pub(super) expect: &'a Version,
    /// Sockets that must listen afterwards, besides those that listened before.
    pub(super) listening: &'a [String],
    /// Sockets that must not listen afterwards.
    pub(super) silent: &'a [String],
}

/// The daemon's process, if it runs.
pub(super) fn daemon(
    host: &Host,
    unit: &str,
) -> Result<Option<ProcessId>, crate::host::systemd::SystemdError> {
    let status = host.systemd.status(unit)?;
    let running = matches!(status.active_state.as_str(), "active" | "reloading");
    Ok(status.main_pid.filter(|_| running).and_then(|pid| proc::alive(host, pid)))
}

/// The note of a restart that has begun in this boot and not been verified.
pub(super) fn begun(
    host: &Host,
    kind: &str,
    unit: &str,
    boot_id: BootId,
) -> Result<Option<Before>, FileError> {
    let note: Option<Before> = notes::read(host, kind, unit)?;
    Ok(note.filter(|note| note.open && note.boot_id == boot_id))
}

/// Whether the running daemon is the one that a finished restart of this kind left.
pub(super) fn is_left_by(host: &Host, kind: &str, unit: &str, daemon: ProcessId) -> Result<bool, FileError> {
    let note: Option<Before> = notes::read(host, kind, unit)?;
    let boot_id = host.guests.census().boot_id;
    Ok(note.is_some_and(|note| {
        !note.open && note.boot_id == boot_id && note.left == Some((daemon.pid, daemon.start_ticks))
    }))
}

/// How long the new daemon may take until it has taken every guest over.
fn allowance(host: &Host) -> Duration {
    let bytes = os::memory(host).map_or(0, |(total, _)| total);
    TAKE_OVER + Duration::from_secs(bytes.div_ceil(1 << 30))
}

fn not_written(error: &FileError) -> Failure {
    failure(
        codes::FILE_IO,
        error.full(),
        "look at the file system of the agent's directory, then retry; libvirtd was not touched",
    )
}

/// Restarts the daemon, or starts it when an earlier try was interrupted in between.
///
/// # Errors
/// A refusal when the guests cannot be told before anything was touched. `Failure` says what is not as it must be; libvirtd is running
/// then unless it could not be started.
pub(super) fn carry_out(
    host: &Host,
    restart: Restart<'_>,
    progress: Progress<'_>,
) -> Result<Report, ActError> {
    let started = Instant::now();
    let unit = restart.unit;
    let census = host.guests.census();
    let old = daemon(host, unit).map_err(|e| systemd_failure(&e))?;
    let earlier = begun(host, restart.kind, unit, census.boot_id).map_err(|e| not_written(&e))?;
    let started_before = match (&earlier, old) {
        (Some(earlier), Some(daemon)) => {
            earlier.old != Some((daemon.pid, daemon.start_ticks)) && all_listen(host, restart, earlier)?
        }
        _ => false,
    };
    let before = match earlier {
        Some(earlier) if started_before => earlier,
        earlier => remember(host, restart, &census, old, earlier)?,
    };
    let old_version = Libvirt::new(host).running_version().ok().filter(|_| old.is_some());

    let watch = Watch::over(&before.guests);
    let (result, lost) = watch.during(host, || -> Result<Taken, Failure> {
        let since = Instant::now();
        if started_before {
            return await_daemon(host, restart, &before, since);
        }
        if old.is_some() {
            progress(Some(100), "stopping libvirtd; guests run on");
            stop(host, unit)?;
        }
        progress(Some(300), "starting libvirtd");
        start(host, restart, &before)?;
        progress(Some(500), "waiting for libvirtd to take over its guests");
        await_daemon(host, restart, &before, since)
    });
    if let Some(failed) = name_lost(host, &before.guests, &lost) {
        return Err(failed.into());
    }
    let taken = result?;
    let left = Some((taken.daemon.pid, taken.daemon.start_ticks));
    notes::write(host, restart.kind, unit, &Before { open: false, left, ..before.clone() })
        .map_err(|e| not_written(&e))?;
    let said = |version: Option<&Version>, process: Option<ProcessId>| match (version, process) {
        (_, None) => "stopped".to_owned(),
        (Some(version), Some(process)) => format!("{version}, pid {}", process.pid),
        (None, Some(process)) => format!("pid {}", process.pid),
    };
    let count = before.guests.len();
    let changes: Vec<Change> = vec![
        change(unit, said(old_version.as_ref(), old), said(Some(restart.expect), Some(taken.daemon))),
        change("guests under watch", count.to_string(), format!("{count}, each the same process")),
        change(
            "libvirtd away",
            "0 ms",
            format!(
                "{} ms until it answered, {} ms until every guest was taken over, {} ms in all",
                taken.answered.as_millis(),
                taken.complete.as_millis(),
                started.elapsed().as_millis()
            ),
        ),
    ];
    Ok(Report { changes, findings: Vec::new() })
}

/// Writes down what was there, or reads what an interrupted try wrote.
fn remember(
    host: &Host,
    restart: Restart<'_>,
    census: &Census,
    old: Option<ProcessId>,
    earlier: Option<Before>,
) -> Result<Before, ActError> {
    let earlier_old = earlier.as_ref().and_then(|before| before.old);
    let mut sockets: BTreeSet<String> = earlier.iter().flat_map(|before| before.sockets.clone()).collect();
    let mut guests = earlier.map(|before| before.guests).unwrap_or_default();
    if old.is_some() {
        if let Some(disagreement) = census.disagreements.first() {
            return Err(ActError::Refused(refusal(
                "RP5504",
                format!("the census does not agree: {disagreement}"),
                "see `virsh list --all` and the status files on the host",
            )));
        }
        guests = census.guests.values().cloned().collect();
        for socket in sockets_of(restart.unit) {
            let status = host.systemd.status(&socket).map_err(|e| systemd_failure(&e))?;
            if status.is_active() {
                sockets.insert(socket);
            }
        }
    }
    let old = old.map(|daemon| (daemon.pid, daemon.start_ticks)).or(earlier_old);
    let before = Before { boot_id: census.boot_id, open: true, guests, old, sockets, left: None };
    notes::write(host, restart.kind, restart.unit, &before).map_err(|e| not_written(&e))?;
    host.boundary.reached("libvirt-restart: note written");
    Ok(before)
}

/// Sockets that must listen when the restart is over.
fn wanted(restart: Restart<'_>, before: &Before) -> Vec<String> {
    let mut sockets = sockets_of(restart.unit);
    sockets.retain(|socket| {
        before.sockets.contains(socket) && !restart.silent.contains(socket)
            || restart.listening.contains(socket)
    });
    sockets
}

fn all_listen(host: &Host, restart: Restart<'_>, before: &Before) -> Result<bool, Failure> {
    for socket in wanted(restart, before) {
        let status = host.systemd.status(&socket).map_err(|e| systemd_failure(&e))?;
        if status.exists() && !status.is_active() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn stop(host: &Host, unit: &str) -> Result<(), Failure> {
    // Stopping the first one stops those that are bound to it.
    for socket in sockets_of(unit) {
        let status = host.systemd.status(&socket).map_err(|e| systemd_failure(&e))?;
        if status.exists() && status.active_state != "inactive" {
            host.systemd.stop(&socket, SOCKET).map_err(|e| systemd_failure(&e))?;
            host.boundary.reached("libvirt-restart: socket stopped");
        }
    }
    host.systemd.stop(unit, STOP).map_err(|e| systemd_failure(&e))?;
    host.boundary.reached("libvirt-restart: daemon stopped");
    Ok(())
}

fn start(host: &Host, restart: Restart<'_>, before: &Before) -> Result<(), Failure> {
    let status = host.systemd.status(restart.unit).map_err(|e| systemd_failure(&e))?;
    if status.needs_reload {
        host.systemd.reload().map_err(|e| systemd_failure(&e))?;
    }
    for socket in wanted(restart, before) {
        let status = host.systemd.status(&socket).map_err(|e| systemd_failure(&e))?;
        if status.is_active() || (!status.exists() && !restart.listening.contains(&socket)) {
            continue;
        }
        // A client may have started the daemon through a socket that listened; then the others are told at the end.
        if let Err(error) = host.systemd.start(&socket, SOCKET) {
            tracing::warn!(%socket, %error, "a socket of libvirtd did not start");
        }
        host.boundary.reached("libvirt-restart: socket started");
    }
    host.systemd.start(restart.unit, allowance(host)).map_err(|error| {
        failure(
            "RP5508",
            format!("libvirtd did not start: {error}; guests run on without it"),
            format!("see `journalctl -u {}` on the host; then retry, or roll back", restart.unit),
        )
    })?;
    host.boundary.reached("libvirt-restart: daemon started");
    Ok(())
}

/// The new daemon, and how long it took since the old one was gone.
struct Taken {
    daemon: ProcessId,
    answered: Duration,
    complete: Duration,
}

/// Waits until the daemon answers with the expected version, has saved every guest's status file, and the census agrees.
///
/// `Type=notify-reload` (libvirt 11 and later) is unknown to systemd before 253, which then takes the service for started at once; so
/// only the daemon's own answer counts.
fn await_daemon(
    host: &Host,
    restart: Restart<'_>,
    before: &Before,
    since: Instant,
) -> Result<Taken, Failure> {
    let until = Instant::now() + allowance(host);
    let libvirt = Libvirt::new(host).within(Duration::from_secs(5));
    let answered = loop {
        match libvirt.running_version() {
            Ok(version) if version == *restart.expect => break since.elapsed(),
            Ok(version) => {
                return Err(failure(
                    "RP5508",
                    format!("libvirtd says that it is {version} and not {}", restart.expect),
                    "see which libvirt is installed on the host; then roll back",
                ));
            }
            Err(error) if Instant::now() >= until => {
                return Err(failure(
                    "RP5508",
                    format!(
                        "libvirtd does not answer {} s after its start: {error}",
                        since.elapsed().as_secs()
                    ),
                    format!("see `journalctl -u {}` on the host; then retry, or roll back", restart.unit),
                ));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    };
    let daemon = daemon(host, restart.unit).map_err(|e| systemd_failure(&e))?.ok_or_else(|| {
        failure(
            "RP5508",
            "libvirtd answered and is gone",
            format!("see `journalctl -u {}` on the host", restart.unit),
        )
    })?;
    loop {
        let missing = not_taken_over(host, before, daemon);
        if missing.is_empty() {
            return Ok(Taken { daemon, answered, complete: since.elapsed() });
        }
        if Instant::now() >= until {
            return Err(failure(
                "RP5510",
                format!("libvirtd {} has not taken over every guest: {}", restart.expect, missing.join("; ")),
                "the guests still run; compare `virsh list --all` with their processes, and do not start any of them anew",
            ));
        }
        std::thread::sleep(POLL);
    }
}

/// Why the new daemon is not known to manage every guest yet.
fn not_taken_over(host: &Host, before: &Before, daemon: ProcessId) -> Vec<String> {
    let census = host.guests.census();
    let mut missing: Vec<String> = census.disagreements.iter().map(ToString::to_string).collect();
    let started = started_at(host, daemon);
    for guest in &before.guests {
        if census.end_of(guest.uuid, guest.incarnation).is_some() {
            continue;
        }
        let path: PathBuf = host.at(STATUS_FILES).join(format!("{}.xml", guest.name));
        let saved = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        match (saved, started) {
            (Some(saved), Some(started)) if saved >= started => {}
            (Some(_), Some(_)) => {
                missing.push(format!("the status file of guest {} is still the old daemon's", guest.name))
            }
            (None, _) => missing.push(format!("guest {} has no status file", guest.name)),
            (_, None) => missing.push("when the daemon started cannot be told".to_owned()),
        }
        if census.guests.get(&guest.uuid).is_none_or(|now| now.incarnation != guest.incarnation) {
            missing.push(format!("guest {} is not in the census as the same process", guest.name));
        }
    }
    missing
}

/// When a process started, by the clock that stamps files: rounded down to the tick, and a little more for the stamps' own grain.
fn started_at(host: &Host, process: ProcessId) -> Option<SystemTime> {
    let uptime = std::fs::read_to_string(host.at("/proc/uptime")).ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    #[allow(clippy::cast_precision_loss)]
    let age = uptime - process.start_ticks as f64 / procfs::ticks_per_second() as f64;
    SystemTime::now()
        .checked_sub(Duration::try_from_secs_f64(age.max(0.0)).ok()?)?
        .checked_sub(Duration::from_millis(30))
}

/// Guests that were there and are not, unless their owners ended them.
fn name_lost(host: &Host, guests: &[Guest], lost: &BTreeMap<u32, Duration>) -> Option<Failure> {
    if lost.is_empty() {
        return None;
    }
    let census = host.guests.census();
    let names: Vec<String> = guests
        .iter()
        .filter(|guest| lost.contains_key(&guest.incarnation.pid))
        .filter(|guest| {
            !census.end_of(guest.uuid, guest.incarnation).is_some_and(|end| end.cause.is_owners_doing())
        })
        .map(|guest| {
            let after = lost.get(&guest.incarnation.pid).map_or(0, Duration::as_millis);
            format!("{} ({}, {}) after {after} ms", guest.name, guest.uuid, guest.incarnation)
        })
        .collect();
    (!names.is_empty()).then(|| {
        failure(
            "RP5509",
            format!("lost during the restart of libvirtd: {}", names.join(", ")),
            "the fleet is halted; see the guest's log in /var/log/libvirt/qemu and the journal of libvirtd before anything is started again",
        )
    })
}

/// A look at every guest's process, again and again, while something is done.
struct Watch {
    watched: Vec<ProcessId>,
}

impl Watch {
    fn over(guests: &[Guest]) -> Self {
        let watched = guests.iter().map(|guest| ProcessId {
            pid: guest.incarnation.pid,
            start_ticks: guest.incarnation.start_ticks,
        });
        Self { watched: watched.collect() }
    }

    /// What `work` gave, and the pids that were gone, with the time after the beginning at which that was seen.
    fn during<T>(&self, host: &Host, work: impl FnOnce() -> T) -> (T, BTreeMap<u32, Duration>) {
        let began = Instant::now();
        let over = AtomicBool::new(false);
        let lost: Mutex<BTreeMap<u32, Duration>> = Mutex::default();
        let look = || {
            for process in &self.watched {
                if proc::alive(host, process.pid) != Some(*process) {
                    let mut lost = lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    lost.entry(process.pid).or_insert_with(|| began.elapsed());
                }
            }
        };
        let done = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    look();
                    std::thread::sleep(WATCH);
                }
            });
            let ending = Ending(&over);
            let done = work();
            drop(ending);
            done
        });
        look();
        (done, lost.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Ends the watch also when the work panics, which would otherwise wait for it for ever.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
