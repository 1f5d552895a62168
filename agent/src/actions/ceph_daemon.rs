//! One daemon that is stopped and started, for every action that restarts some. None is ended by force.

use super::answer::{failure, systemd_failure};
use super::{Failure, Host};
use crate::codes;
use crate::host::ceph::{Ceph, Daemon, Identity};
use crate::host::proc;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::planted::{self, Planted};
use std::time::{Duration, Instant};

pub(super) const POLL: Duration = Duration::from_millis(200);

/// Why a daemon that runs is not what it was started to be.
pub(super) struct Wrong {
    pub(super) code: &'static str,
    /// After the daemon's name: `runs 14.2.21 and not 16.2.15`.
    pub(super) is: String,
}

/// The daemon on its host, and what to tell whoever has to mend it.
#[derive(Clone, Copy)]
pub(super) struct Life<'a> {
    pub(super) host: &'a Host,
    pub(super) name: &'a CephDaemon,
    pub(super) remedy: &'static str,
}

impl<'a> Life<'a> {
    pub(super) fn daemon(self) -> Daemon<'a> {
        Daemon::new(self.host, self.name)
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// It has not within `deadline`, and may end yet: see [`Life::has_ended`].
    pub(super) fn end(self, running: Identity, deadline: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        let asked = self.daemon().stop(running, deadline);
        let left = if asked.is_ok() { deadline.saturating_sub(begun.elapsed()) } else { Duration::ZERO };
        if self.has_ended(running, left) {
            return Ok(());
        }
        let why = asked.err().map(|error| format!(": {error}")).unwrap_or_default();
        let text = format!(
            "{} still runs {} s after it was asked to end, and may end yet; a retry starts it then{why}",
            self.name,
            deadline.as_secs()
        );
        Err(failure(codes::CEPH_STOP, text, self.remedy))
    }

    /// Waits for the end of a process: of its own, or because systemd's patience with its unit is over.
    pub(super) fn has_ended(self, running: Identity, patience: Duration) -> bool {
        let begun = Instant::now();
        let process = running.process();
        while proc::alive(self.host, process.pid) == Some(process) {
            if begun.elapsed() > patience {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Starts it and waits until `is_up` says that it does its work, and an OSD until the map has its boot: until then the map may call it up that was stopped, and
    /// whoever judges by it would stop the next one beside. What keeps one from booting for as long as `deadline` is for the gates to tell.
    ///
    /// # Errors
    /// It does not within `deadline`, with its last words.
    pub(super) fn start(
        self,
        deadline: Duration,
        is_up: impl Fn(Identity) -> Result<bool, Wrong>,
    ) -> Result<(), Failure> {
        let (daemon, systemd) = (self.daemon(), &self.host.systemd);
        let begun = Instant::now();
        let fails = |code: &'static str, is: &str| {
            let said = daemon.last_words();
            let said = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
            failure(code, format!("{} {is}{said}", self.name), self.remedy)
        };
        // A daemon that crashed often enough before is not started by systemd until its count is reset.
        systemd.reset_failed(&daemon.unit()).map_err(|error| systemd_failure(&error))?;
        systemd
            .start(&daemon.unit(), deadline)
            .map_err(|error| fails(codes::CEPH_START, &format!("was not started: {error}")))?;
        loop {
            let over = begun.elapsed() > deadline;
            let status = systemd.status(&daemon.unit()).map_err(|error| systemd_failure(&error))?;
            match daemon.running().map_err(|error| systemd_failure(&error))? {
                Some(running) => match is_up(running) {
                    Ok(true) if over || self.is_in_the_map() => return Ok(()),
                    Ok(true | false) => {}
                    Err(Wrong { code, is }) => return Err(fails(code, &is)),
                },
                None if matches!(status.active_state.as_str(), "failed" | "inactive") => {
                    return Err(fails(codes::CEPH_START, "ended after its start"));
                }
                None => {}
            }
            if over {
                let is = format!("does not answer {} s after its start", deadline.as_secs());
                return Err(fails(codes::CEPH_START, &is));
            }
            std::thread::sleep(POLL);
        }
    }

    fn is_in_the_map(self) -> bool {
        self.name.kind != CephKind::Osd
            || Ceph::new(self.host).is_active(self.name).unwrap_or(false)
            || planted::is(Planted::BootUnawaited)
    }
}
