//! `CephRestart`: daemons of this host stop side by side and start from what is on disk now.
//!
//! Everything slow (packages, configuration, units) was done before, so the outage is stop, start. A daemon that runs the new version already is left
//! alone: a manager of Nautilus becomes new by itself when the first new MON leads (it execs its own program once more).
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | note written | all daemons running | begun anew, and judged anew |
//! | some stopped | those down | `Half`: they are started first, then the rest is judged and done |
//! | all stopped | all down | `Half`: started |
//! | some started | those new | `Half`: the rest is started, the new ones are left alone |
//! | all started | done | `check` says done |
//!
//! Whatever goes wrong with one daemon, every other one that was stopped is started again: one that could serve is never left down. replank ends none by force. One that does
//! not end in its time may end later, by itself or because systemd's own patience with its unit ends: it is waited for as long as a start may take, and started then.

use super::answer::{change, failure, file_refusal, refusal, systemd_failure, systemd_refusal};
use super::ceph_daemon::{Life, POLL, Wrong};
use super::ceph_safe::{Asked, may_stop};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use crate::host::ceph::{Ceph, Daemon, Identity, installed_version};
use crate::host::notes;
use crate::host::systemd::SystemdError;
use replank_common::action::CephRestart;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::outcome::{Change, Refusal};
use replank_common::undo::UndoRecord;
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const KIND: &str = "ceph-restart";
const REMEDY: &str = "see `systemctl status` and the log of the daemon on the host; the rest of the list was brought up, and nothing else is touched";

/// That the daemons of a list are being restarted.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    daemons: Vec<CephDaemon>,
}

/// How one daemon stands.
#[derive(Debug)]
struct Standings<'h> {
    name: &'h CephDaemon,
    running: Option<Identity>,
    /// `None`: it does not run, or does not answer.
    version: Option<Version>,
}

/// The action on this host.
#[derive(Clone, Copy)]
struct Restart<'a> {
    of: &'a CephRestart,
    host: &'a Host,
}

impl<'a> Restart<'a> {
    fn key(self) -> String {
        let names: Vec<String> = self.of.daemons.iter().map(ToString::to_string).collect();
        names.join(" ")
    }

    fn look(self) -> Result<Vec<Standings<'a>>, SystemdError> {
        let ceph = Ceph::new(self.host);
        let names: Vec<&'a CephDaemon> = self.of.daemons.iter().collect();
        let one = |name: &&'a CephDaemon| {
            let name: &'a CephDaemon = name;
            let running = Daemon::new(self.host, name).running()?;
            let version = running.and_then(|_| ceph.running_version(name).ok());
            Ok(Standings { name, running, version })
        };
        side_by_side(&names, one).into_iter().collect()
    }

    fn is_new(self, standing: &Standings<'_>) -> bool {
        standing.running.is_some() && standing.version.as_ref() == Some(&self.of.expect)
    }

    /// The first MON of the list that does not say itself that it is in quorum. The others may count it in still, right after its restart.
    fn outside(self) -> Option<&'a CephDaemon> {
        let ceph = Ceph::new(self.host);
        let mut mons = self.of.daemons.iter().filter(|daemon| daemon.kind == CephKind::Mon);
        mons.find(|mon| !ceph.in_quorum(mon).unwrap_or(false))
    }

    /// Waits until every MON of the list is in quorum.
    fn join(self, progress: Progress<'_>) -> Result<(), Failure> {
        let begun = Instant::now();
        while let Some(mon) = self.outside() {
            progress(None, &format!("waiting until {mon} is in quorum"));
            if begun.elapsed() > Duration::from_millis(self.of.start_ms) {
                let said = Daemon::new(self.host, mon).last_words();
                let text = format!("{mon} runs and is not in quorum; it said: {said}");
                return Err(failure(codes::CEPH_START, text, REMEDY));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn life(self, name: &'a CephDaemon) -> Life<'a> {
        Life { host: self.host, name, remedy: REMEDY }
    }

    /// Stops `old` side by side. Those that are gone, and what went wrong with the others.
    fn stop(self, old: &[(&'a CephDaemon, Identity)]) -> Vec<Result<(), Failure>> {
        let deadline = Duration::from_millis(self.of.stop_ms);
        side_by_side(old, |(name, running)| self.life(name).end(*running, deadline))
    }

    /// Waits for one that did not end in its time, and starts it. The failure, if it still has not ended.
    fn late(self, name: &'a CephDaemon, running: Identity, failure: Failure) -> Result<(), Failure> {
        match self.life(name).has_ended(running, Duration::from_millis(self.of.start_ms)) {
            true => self.start_one(name),
            false => Err(failure),
        }
    }

    /// Starts `down` side by side and waits until each runs the new version.
    fn start(self, down: &[&'a CephDaemon]) -> Vec<Result<(), Failure>> {
        side_by_side(down, |name| self.start_one(name))
    }

    fn start_one(self, name: &'a CephDaemon) -> Result<(), Failure> {
        let ceph = Ceph::new(self.host);
        self.life(name).start(Duration::from_millis(self.of.start_ms), |_| match ceph.running_version(name) {
            Ok(version) if version == self.of.expect => Ok(true),
            Ok(version) => {
                let is = format!("runs {version} and not {}", self.of.expect);
                Err(Wrong { code: codes::CEPH_START, is })
            }
            Err(_) => Ok(false),
        })
    }
}

/// Does `work` for each at the same time.
fn side_by_side<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|one| scope.spawn(move || work(one))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn first_failure(results: Vec<Result<(), Failure>>) -> Result<(), Failure> {
    results.into_iter().collect()
}

impl Perform for CephRestart {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let of = Restart { of: self, host };
        let standings = of.look().map_err(|error| systemd_refusal(&error))?;
        let begun: Option<Begun> =
            notes::read(host, KIND, &of.key()).map_err(|error| file_refusal(&error))?;
        if standings.iter().all(|standing| of.is_new(standing)) {
            return Ok(if of.outside().is_none() { Standing::Done } else { Standing::Half });
        }
        if let Some(down) = standings.iter().find(|standing| standing.running.is_none())
            && begun.is_none()
        {
            return Err(refusal(
                codes::CEPH_DOWN,
                format!("{} does not run, and replank did not stop it", down.name),
                "see why it is down, and start it; then retry",
            ));
        }
        // What an earlier try left down comes back first, whatever is on disk.
        if begun.is_some() && standings.iter().any(|standing| standing.running.is_none()) {
            return Ok(Standing::Half);
        }
        let kinds: BTreeSet<_> = standings
            .iter()
            .filter(|standing| !of.is_new(standing))
            .map(|standing| standing.name.kind)
            .collect();
        for kind in kinds {
            let on_disk = installed_version(host, kind).map_err(|why| {
                refusal(
                    codes::CEPH_ON_DISK,
                    why,
                    "see whether Ceph's packages are installed whole, then retry",
                )
            })?;
            if on_disk != self.expect {
                return Err(refusal(
                    codes::CEPH_ON_DISK,
                    format!("the installed {} is {on_disk} and not {}", kind.as_str(), self.expect),
                    "see whether the packages of the plan are installed; the fleet file must name the version that they bring",
                ));
            }
        }
        Ok(if begun.is_some() { Standing::Half } else { Standing::Ready })
    }

    fn prepare(&self, _host: &Host) -> Result<UndoRecord, Refusal> {
        Ok(UndoRecord::Nothing)
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let of = Restart { of: self, host };
        // What an earlier try of this very action left down comes back first, whatever is thought of the others.
        let standings = of.look().map_err(|error| systemd_failure(&error))?;
        let down: Vec<&CephDaemon> =
            standings.iter().filter(|one| one.running.is_none()).map(|one| one.name).collect();
        if !down.is_empty() {
            progress(None, "starting what was left stopped");
            first_failure(of.start(&down))?;
        }
        let old: Vec<(&CephDaemon, Identity)> = standings
            .iter()
            .filter(|one| !of.is_new(one))
            .filter_map(|one| Some((one.name, one.running?)))
            .collect();
        let mut changes: Vec<Change> = down.iter().map(|name| restarted(name, None, &self.expect)).collect();
        if !old.is_empty() {
            progress(None, "seeing whether they may stop");
            let names: Vec<&CephDaemon> = old.iter().map(|(name, _)| *name).collect();
            let asked = Asked {
                beside: &self.beside,
                consents: &self.consents,
                patience: Duration::from_millis(self.start_ms),
            };
            let judged = may_stop(host, asked, &names, progress);
            match judged {
                Err(refused) if down.is_empty() => return Err(ActError::Refused(refused)),
                Err(refused) => {
                    return Err(ActError::Failed(failure(codes::CEPH_MAY_NOT, refused.to_string(), REMEDY)));
                }
                Ok(()) => {}
            }
            let note = Begun { daemons: names.iter().map(|name| (*name).clone()).collect() };
            notes::write(host, KIND, &of.key(), &note).map_err(|error| file_refusal(&error))?;
            host.boundary.reached("ceph-restart: note written");
            progress(None, "stopping");
            let stopped = of.stop(&old);
            host.boundary.reached("ceph-restart: stopped");
            let gone: Vec<&CephDaemon> = names
                .iter()
                .zip(&stopped)
                .filter(|(_, result)| result.is_ok())
                .map(|(name, _)| *name)
                .collect();
            progress(None, "starting");
            let started = of.start(&gone);
            host.boundary.reached("ceph-restart: started");
            let late: Vec<(&CephDaemon, Identity, Failure)> = old
                .iter()
                .zip(stopped)
                .filter_map(|((name, running), result)| Some((*name, *running, result.err()?)))
                .collect();
            let ended_late =
                side_by_side(&late, |(name, running, failure)| of.late(name, *running, failure.clone()));
            first_failure(ended_late)?;
            first_failure(started)?;
            for one in standings.iter().filter(|one| names.contains(&one.name)) {
                changes.push(restarted(one.name, one.version.as_ref(), &self.expect));
            }
        }
        of.join(progress)?;
        notes::forget(host, KIND, &of.key()).map_err(|error| file_refusal(&error))?;
        Ok(Report { changes, findings: Vec::new() })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let of = Restart { of: self, host };
        let standings = of.look().map_err(|error| systemd_failure(&error))?;
        for one in &standings {
            if !of.is_new(one) {
                let is = match (&one.running, &one.version) {
                    (None, _) => "does not run".to_owned(),
                    (Some(_), None) => "does not answer".to_owned(),
                    (Some(_), Some(version)) => format!("runs {version} and not {}", self.expect),
                };
                return Err(failure(codes::CEPH_START, format!("{} {is}", one.name), REMEDY));
            }
        }
        match of.outside() {
            None => Ok(()),
            Some(mon) => Err(failure(codes::CEPH_START, format!("{mon} is not in quorum"), REMEDY)),
        }
    }

    fn undo(&self, _host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        Ok(Report::default())
    }
}

fn restarted(name: &CephDaemon, from: Option<&Version>, to: &Version) -> Change {
    let before = from.map_or_else(|| "down".to_owned(), ToString::to_string);
    change(format!("daemon {name}"), before, to.to_string())
}
