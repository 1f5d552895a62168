//! The watch on each incarnation: who ended, noticed at once; why, as far as it can be known; and who is new.
//!
//! | kernel | an end is noticed by |
//! | --- | --- |
//! | with pidfd | the handle of the incarnation, within milliseconds |
//! | without | the process connector where it is to be had; and (pid, start time) looked at every [`TICK`] |
//!
//! An end is given to [`Attributor`], which waits a little for libvirt's word.

use super::HostGuests;
use super::attribution::{Attributor, DaemonThen, Death, LifecycleEvent, steady_ms};
use super::events;
use super::pidfd::{self, Exit, Opened};
use super::proc_events;
use super::processes::{self, Daemon, Scan};
use crate::clock::now_ms;
use replank_common::census::Incarnation;
use replank_common::ids::GuestUuid;
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two looks at incarnations without a handle, at libvirtd, and at ends that wait for their cause.
pub const TICK: Duration = Duration::from_millis(200);
/// While an end waits for its cause.
const QUICK_TICK: Duration = Duration::from_millis(25);
/// Every how many ticks all processes are looked at for new guests.
const SCAN_EVERY: u32 = 5;

/// Which means the watch may use; all, except in tests of the poorer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    pub pidfd: bool,
    pub connector: bool,
    pub libvirt_events: bool,
}

impl Default for Means {
    fn default() -> Self {
        Self { pidfd: true, connector: true, libvirt_events: true }
    }
}

/// Watches until `stop`.
///
/// # Errors
/// The operating system gives no thread for libvirt's events.
pub async fn run(guests: Arc<HostGuests>, means: Means, stop: CancellationToken) -> std::io::Result<()> {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let (said, mut words) = mpsc::unbounded_channel();
    if means.libvirt_events {
        events::listen(guests.roots().clone(), said)?;
    }
    let has_pidfd = means.pidfd && pidfd::is_available();
    let connector = if has_pidfd || !means.connector { None } else { connector() };
    tracing::info!(pidfd = has_pidfd, connector = connector.is_some(), "watching guests");
    let mut watcher = Watcher::new(guests, has_pidfd, ended);
    watcher.guests.set_watched();
    watcher.look().await;
    let mut ticks: u32 = 0;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let quick = watcher.attributor.waits();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(end) = ends.recv() => watcher.died(end),
            Some(word) = next_word(&mut words, means) => watcher.said(word),
            exits = exits(connector.as_ref()) => watcher.exited(&exits),
            () = tokio::time::sleep(QUICK_TICK), if quick => {}
            _ = tick.tick() => {
                ticks = ticks.wrapping_add(1);
                watcher.look_again();
                if ticks.is_multiple_of(SCAN_EVERY) || watcher.daemon.is_none() || watcher.scan_soon {
                    watcher.look().await;
                }
            }
        }
        watcher.decide();
    }
}

async fn next_word(words: &mut UnboundedReceiver<LifecycleEvent>, means: Means) -> Option<LifecycleEvent> {
    if means.libvirt_events { words.recv().await } else { pending().await }
}

fn connector() -> Option<AsyncFd<OwnedFd>> {
    readable(proc_events::subscribe()?)
}

/// `None` when there is no room in epoll.
fn readable(descriptor: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor from here until it is dropped, and nobody else owns it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.ok()
}

async fn exits(connector: Option<&AsyncFd<OwnedFd>>) -> Vec<proc_events::Ended> {
    let Some(connector) = connector else { return pending().await };
    match connector.readable().await {
        Ok(mut ready) => {
            let ended = proc_events::drain(connector.get_ref());
            ready.clear_ready();
            ended
        }
        Err(_) => pending().await,
    }
}

/// An incarnation under watch.
#[derive(Debug)]
struct Watched {
    uuid: GuestUuid,
    name: String,
    /// See [`steady_ms`]; read while the process lives.
    steady_ms: u64,
    /// Waits for the handle; absent where the kernel gives none.
    handle: Option<JoinHandle<()>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

/// The end of an incarnation, and how, as far as the kernel told.
type End = (Incarnation, Option<Exit>);

struct Watcher {
    guests: Arc<HostGuests>,
    has_pidfd: bool,
    ended: UnboundedSender<End>,
    watched: BTreeMap<Incarnation, Watched>,
    /// Ended, and perhaps still in the last census.
    dead: BTreeSet<Incarnation>,
    attributor: Attributor,
    daemon: Option<Daemon>,
    scan_soon: bool,
    begun: Instant,
}

impl Watcher {
    fn new(guests: Arc<HostGuests>, has_pidfd: bool, ended: UnboundedSender<End>) -> Self {
        Self {
            guests,
            has_pidfd,
            ended,
            watched: BTreeMap::new(),
            dead: BTreeSet::new(),
            attributor: Attributor::default(),
            daemon: None,
            scan_soon: false,
            begun: Instant::now(),
        }
    }

    fn proc(&self) -> &Path {
        &self.guests.roots().proc
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Looks at all processes: for new guests, for libvirtd, and for guests of a census that ended before they were watched.
    async fn look(&mut self) {
        let proc = self.proc().to_path_buf();
        let Ok(Ok(Scan { qemus, daemon })) =
            tokio::task::spawn_blocking(move || processes::scan(&proc)).await
        else {
            return;
        };
        self.scan_soon = false;
        self.daemon = daemon;
        let boot_id = self.guests.boot_id();
        let alive: BTreeMap<Incarnation, (GuestUuid, String)> = qemus
            .into_iter()
            .map(|qemu| {
                (
                    Incarnation { boot_id, pid: qemu.pid, start_ticks: qemu.start_ticks },
                    (qemu.uuid, qemu.name),
                )
            })
            .collect();
        let in_census = self.guests.in_census();
        self.dead
            .retain(|incarnation| in_census.contains_key(incarnation) || alive.contains_key(incarnation));
        let mut new = false;
        for (incarnation, (uuid, name)) in in_census.into_iter().chain(alive) {
            if !self.watched.contains_key(&incarnation) && !self.dead.contains(&incarnation) {
                new = true;
                self.follow(incarnation, uuid, name);
            }
        }
        if new {
            self.guests.changed();
        }
    }

    fn follow(&mut self, incarnation: Incarnation, uuid: GuestUuid, name: String) {
        let steady_ms = steady_ms(processes::memory_mib(self.proc(), incarnation.pid));
        let mut watched = Watched { uuid, name, steady_ms, handle: None };
        if self.has_pidfd {
            match pidfd::open(self.proc(), incarnation) {
                Opened::Handle(handle) => {
                    let (ended, proc) = (self.ended.clone(), self.proc().to_path_buf());
                    watched.handle = Some(tokio::spawn(async move {
                        let exit = wait(handle, &proc, incarnation).await;
                        // Nobody receives only when the watch itself is being stopped.
                        let _ = ended.send((incarnation, exit));
                    }));
                }
                Opened::Ended => {
                    let _ = self.ended.send((incarnation, None));
                }
                // Looked at every tick instead.
                Opened::Unavailable => {}
            }
        }
        self.watched.insert(incarnation, watched);
    }

    /// Looks at what has no handle.
    fn look_again(&mut self) {
        let gone: Vec<End> = self
            .watched
            .iter()
            .filter(|(_, watched)| watched.handle.is_none())
            .filter(|(incarnation, _)| {
                processes::start_ticks(self.proc(), incarnation.pid) != Some(incarnation.start_ticks)
            })
            .map(|(incarnation, _)| {
                (*incarnation, pidfd::exit_of(self.proc(), incarnation.pid, None::<OwnedFd>))
            })
            .collect();
        for end in gone {
            self.died(end);
        }
        if let Some(daemon) = self.daemon
            && processes::start_ticks(self.proc(), daemon.pid) != Some(daemon.start_ticks)
        {
            self.daemon = None;
        }
    }

    fn exited(&mut self, exits: &[proc_events::Ended]) {
        for ended in exits {
            let incarnation = self.watched.keys().find(|incarnation| incarnation.pid == ended.pid).copied();
            if let Some(incarnation) = incarnation {
                self.died((incarnation, Some(ended.exit)));
            }
        }
    }

    fn said(&mut self, word: LifecycleEvent) {
        tracing::debug!(guest = word.name, event = word.event, detail = word.detail, "libvirt said");
        self.scan_soon |= word.event == "Started";
        self.attributor.happened(self.now(), word);
    }

    fn died(&mut self, (incarnation, exit): End) {
        let Some(watched) = self.watched.remove(&incarnation) else { return };
        self.dead.insert(incarnation);
        tracing::info!(guest = %watched.uuid, name = watched.name, %incarnation, ?exit, "the process of a guest ended");
        // libvirt speaks of guests by the name that it gave them; the census has it from the status file.
        let name = self
            .guests
            .in_census()
            .remove(&incarnation)
            .map_or_else(|| watched.name.clone(), |(_, name)| name);
        let death = Death {
            uuid: watched.uuid,
            name,
            incarnation,
            at_ms: now_ms(),
            exit,
            steady_ms: watched.steady_ms,
        };
        self.attributor.died(self.now(), death);
    }

    fn decide(&mut self) {
        let daemon = self.daemon_then();
        for end in self.attributor.decided(self.now(), daemon) {
            tracing::info!(guest = %end.uuid, name = end.name, cause = ?end.cause, "why a guest ended");
            self.guests.record(end);
        }
    }

    /// How long libvirtd has run, asked of the kernel now.
    fn daemon_then(&self) -> DaemonThen {
        let Some(daemon) = self.daemon else { return DaemonThen::Absent };
        if processes::start_ticks(self.proc(), daemon.pid) != Some(daemon.start_ticks) {
            return DaemonThen::Absent;
        }
        match uptime_ms(self.proc()) {
            Some(uptime) => {
                let started = daemon.start_ticks.saturating_mul(1000) / procfs::ticks_per_second().max(1);
                DaemonThen::RunsFor { ms: uptime.saturating_sub(started) }
            }
            None => DaemonThen::RunsFor { ms: 0 },
        }
    }
}

/// Waits for the end behind a handle, and a moment longer for how it ended.
async fn wait(handle: OwnedFd, proc: &Path, incarnation: Incarnation) -> Option<Exit> {
    let Some(handle) = readable(handle) else {
        while processes::start_ticks(proc, incarnation.pid) == Some(incarnation.start_ticks) {
            tokio::time::sleep(TICK).await;
        }
        return None;
    };
    if handle.readable().await.is_err() {
        return None;
    }
    // As a zombie it tells; once reaped, the handle does on new kernels. Between the two, neither.
    for _ in 0..4 {
        if let Some(exit) = pidfd::exit_of(proc, incarnation.pid, Some(handle.get_ref())) {
            return Some(exit);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

fn uptime_ms(proc: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(proc.join("uptime")).ok()?;
    let (seconds, rest) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = rest.get(..2)?.parse().ok()?;
    Some(seconds.parse::<u64>().ok()? * 1000 + hundredths * 10)
}

#[cfg(test)]
mod tests;
