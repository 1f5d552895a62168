//! The outage of one daemon: between its stop and its start its files are looked at once more, and the directory itself is given.

use super::super::answer::refusal;
use super::super::ceph_daemon::{Life, Wrong};
use super::super::ceph_safe::{Asked, may_stop};
use super::super::{ActError, Failure, Progress, Standing};
use super::pass::Pace;
use super::{Before, Note, Own, REMEDY};
use crate::codes;
use crate::host::ceph::{Ceph, Identity, installed_version};
use crate::host::owners::{Owner, Tree, Walked};
use replank_common::action::OwnSwitch;
use replank_common::ceph::CephKind;
use replank_common::outcome::Refusal;
use replank_common::planted::{self, Planted};
use replank_common::version::Version;
use std::time::{Duration, Instant};

/// The release that knows `setuser match path` with the daemon's own words in it.
const FIRST: &str = "10.2";

impl<'a> Own<'a> {
    fn life(self) -> Life<'a> {
        Life { host: self.host, name: &self.of.daemon, remedy: REMEDY }
    }

    /// Stops it. One that ends late is started as it was, whose directory is `top`'s.
    pub(super) fn stop(self, switch: &OwnSwitch, running: Identity, top: Owner) -> Result<(), Failure> {
        let life = self.life();
        let Err(failed) = life.end(running, Duration::from_millis(switch.stop_ms)) else { return Ok(()) };
        match life.has_ended(running, Duration::from_millis(switch.start_ms)) {
            true => Err(self.as_it_was(switch, top, failed, "it has ended since, and ")),
            false => Err(failed),
        }
    }

    /// Starts it and waits until it answers, as `user`.
    pub(super) fn start(self, switch: &OwnSwitch, user: u32) -> Result<(), Failure> {
        self.life().start(Duration::from_millis(switch.start_ms), |running| match self.answers(switch) {
            Ok(false) => Ok(false),
            Ok(true) if self.runs_as(running) == Some(user) => Ok(true),
            Ok(true) => {
                let is = self.runs_as(running).map_or_else(|| "nobody".to_owned(), |is| is.to_string());
                Err(Wrong { code: codes::CEPH_OWN_USER, is: format!("runs as the user {is} and not {user}") })
            }
            Err(other) => {
                let is = format!("runs {other} and not {}", switch.expect);
                Err(Wrong { code: codes::CEPH_START, is })
            }
        })
    }

    /// Starts it while its directory is `top`'s, after something failed; what failed, with what became of it. `since` comes before that.
    fn as_it_was(self, switch: &OwnSwitch, top: Owner, failed: Failure, since: &str) -> Failure {
        match self.start(switch, self.user_of(top)) {
            Ok(()) => Failure { error: format!("{}; {since}it runs as before", failed.error), ..failed },
            Err(also) => {
                Failure { error: format!("{}; {since}as before, {}", failed.error, also.error), ..also }
            }
        }
    }

    /// Whether it does its work, as what is expected. `Err`: it is of another release.
    pub(super) fn answers(self, switch: &OwnSwitch) -> Result<bool, Version> {
        let ceph = Ceph::new(self.host);
        match ceph.running_version(&self.of.daemon) {
            Ok(version) if version != switch.expect => Err(version),
            Ok(_) if self.of.daemon.kind == CephKind::Mon => {
                Ok(ceph.in_quorum(&self.of.daemon).unwrap_or(false))
            }
            Ok(_) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    pub(super) fn may_stop(self, switch: &OwnSwitch, progress: Progress<'_>) -> Result<(), Refusal> {
        if planted::is(Planted::OwnerAsksNoCluster) {
            return Ok(());
        }
        progress(None, "seeing whether it may stop");
        let patience = Duration::from_millis(switch.start_ms);
        let asked = Asked { beside: &[], consents: &switch.consents, patience };
        may_stop(self.host, asked, &[&self.of.daemon], progress)
    }

    /// The outage. The daemon runs afterwards, whatever became of its files.
    pub(super) fn switch(
        self,
        switch: &OwnSwitch,
        tree: &Tree,
        before: &Before<'_>,
        progress: Progress<'_>,
    ) -> Result<Walked, Failure> {
        let old = before.owner;
        let until = Some(Instant::now() + Duration::from_millis(switch.down_ms));
        let pace = Pace { per_second: 0, until, of: before.entries, what: "while it is down", progress };
        let given = self.pass(tree, &pace).and_then(|walked| {
            self.host.boundary.reached("ceph-own: all files given");
            tree.give(self.wanted())?;
            Ok(walked)
        });
        let walked = match given {
            Ok(walked) => walked,
            Err(error) => {
                progress(None, "starting it as it was");
                return Err(self.as_it_was(switch, old, self.failed(&error), ""));
            }
        };
        self.host.boundary.reached("ceph-own: the directory given");
        progress(None, "starting");
        match self.start(switch, self.of.uid) {
            Ok(()) => Ok(walked),
            Err(failed) => Err(self.start_as_it_was(switch, tree, old, failed)),
        }
    }

    /// One that runs is left to run; one that does not come up as its new user is tried as its old one.
    pub(super) fn start_as_it_was(
        self,
        switch: &OwnSwitch,
        tree: &Tree,
        old: Owner,
        failed: Failure,
    ) -> Failure {
        if old == self.wanted() || self.runs().is_ok_and(|running| running.is_some()) {
            return failed;
        }
        // systemd may be about to start it once more; ended it has already.
        let unit = self.life().daemon().unit();
        self.host.systemd.stop(&unit, Duration::from_millis(switch.stop_ms)).ok();
        match tree.give(old) {
            Ok(()) => self.as_it_was(switch, old, failed, &format!("its directory is {old}'s again, and ")),
            Err(error) => {
                Failure { error: format!("{}; {}", failed.error, self.failed(&error).error), ..failed }
            }
        }
    }

    pub(super) fn check_switch(self, switch: &OwnSwitch, top: Owner) -> Result<Standing, Refusal> {
        let name = &self.of.daemon;
        let note = self.note()?;
        let running = self.runs()?;
        let Some(running) = running else {
            return match note {
                Some(Note::Switching | Note::Back) => Ok(Standing::Half),
                Some(Note::Ahead) | None => Err(refusal(
                    codes::CEPH_DOWN,
                    format!("{name} does not run, and replank did not stop it"),
                    "see why it is down, and start it; then retry",
                )),
            };
        };
        let version = Ceph::new(self.host).running_version(name).ok();
        if top == self.wanted()
            && self.runs_as(running) == Some(top.uid)
            && version.as_ref() == Some(&switch.expect)
        {
            return Ok(if self.answers(switch) == Ok(true) { Standing::Done } else { Standing::Half });
        }
        if switch.expect < Version::new(FIRST) {
            return Err(refusal(
                codes::CEPH_OWN_SETUP,
                format!("{name} of {} always runs as root", switch.expect),
                "bring the cluster to Jewel or later first",
            ));
        }
        let on_disk = installed_version(self.host, name.kind).map_err(|why| {
            refusal(codes::CEPH_ON_DISK, why, "see whether Ceph's packages are installed whole, then retry")
        })?;
        if on_disk != switch.expect || version.is_some_and(|version| version != switch.expect) {
            return Err(refusal(
                codes::CEPH_ON_DISK,
                format!("{name} would not come back as {}: {on_disk} is installed", switch.expect),
                "bring every daemon to the installed release first; then take the inventory and make the plan again",
            ));
        }
        self.may_begin(top)?;
        self.behind(top)?;
        Ok(if note == Some(Note::Switching) { Standing::Half } else { Standing::Ready })
    }

    /// The way back begins with the directory itself. Whether the daemon was restarted for it.
    pub(super) fn back_as_it_was(
        self,
        switch: &OwnSwitch,
        tree: &Tree,
        top: Owner,
        old: Owner,
        progress: Progress<'_>,
    ) -> Result<bool, ActError> {
        let left_down = self.note()?.is_some();
        let running = self.runs()?;
        let gives = || tree.give(old).map_err(|error| ActError::Failed(self.failed(&error)));
        match running {
            None => {
                self.may_begin(old)?;
                gives()?;
                if left_down {
                    self.start(switch, self.user_of(old))?;
                }
                Ok(left_down)
            }
            // It runs as root, or never was anybody else's.
            Some(running) if top != self.wanted() || self.runs_as(running) == Some(self.user_of(old)) => {
                gives()?;
                Ok(false)
            }
            Some(running) => {
                self.may_begin(old)?;
                self.may_stop(switch, progress)?;
                self.remember(Note::Back)?;
                progress(None, "stopping");
                self.stop(switch, running, top)?;
                self.host.boundary.reached("ceph-own: stopped, to go back");
                gives()?;
                self.host.boundary.reached("ceph-own: the directory given back");
                progress(None, "starting it as it was");
                self.start(switch, self.user_of(old))?;
                Ok(true)
            }
        }
    }
}
