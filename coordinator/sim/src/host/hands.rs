//! What the rules of the agent call, on a simulated host. Each call that would change something is judged here, against the ledger and the
//! host as they are at that instant.

use super::ceph::{Deed, Seat};
use super::site::Site;
use super::things::{About, State, Things};
use crate::promise::{Judge, Promise};
use replank_agent_core::act::{ActError, Failure, Report, Standing};
use replank_agent_core::ledger::{MemoryLedger, Stage, Work, is_wanted_back};
use replank_agent_core::{Command, Hands, Ledger, Moment, guard};
use replank_common::UnixMs;
use replank_common::action::{Action, TrialOf};
use replank_common::census::Census;
use replank_common::finding::Finding;
use replank_common::ids::{ActionId, Epoch};
use replank_common::outcome::Refusal;
use replank_common::undo::{FileBefore, FileChange, UndoRecord};
use replank_common::version::Version;
use std::collections::BTreeMap;
use std::time::Duration;

/// What goes wrong while an agent looks at its host, or acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fortune {
    Well,
    /// The policy says no.
    Forbidden,
    /// The guard cannot tell.
    CannotTell,
    /// The host is not as the action expects.
    Unexpected,
    /// What is there cannot be recorded.
    Unprepared,
    /// It turns out on the way that it must not be.
    Refused,
    /// It fails before it changes anything.
    Failed,
    /// It fails half way, and the agent puts back what it puts back at once.
    FailedHalfWay,
    /// It fails half way, and so does putting back.
    FailedForGood,
    /// It is done, and does not look so.
    Unverified,
}

/// The hands of one agent for one command.
pub(crate) struct SimHands<'a> {
    pub(super) things: &'a mut Things,
    pub(super) site: &'a mut Site,
    /// What the sources of a census taken now would say.
    pub(super) census: Census,
    pub(super) executed: &'a mut BTreeMap<ActionId, u32>,
    pub(super) unrecorded: &'a BTreeMap<ActionId, u32>,
    pub(super) ledger: &'a MemoryLedger,
    pub(super) obeyed: &'a mut Epoch,
    pub(super) judge: &'a mut Judge,
    pub(super) command: &'a Command,
    pub(super) fortune: Fortune,
    /// A later coordinator is welcomed while the host is looked at.
    pub(super) welcome: Option<Epoch>,
    /// Why libvirtd must not be restarted now.
    pub(super) restart_hurts: Option<&'static str>,
    pub(super) clock_ms: UnixMs,
    /// Something of the host was changed.
    pub(super) changed: bool,
    /// The cluster that daemons of this host belong to.
    pub(super) ceph: Option<Seat<'a>>,
}

impl SimHands<'_> {
    /// What daemons of a cluster are when they start again.
    fn installs(&mut self, action: &Action, back: bool) {
        if let (Action::PackagesInstall(_), Some(seat)) = (action, &mut self.ceph) {
            let layout = &seat.cluster.layout;
            let version = if back { layout.from.clone() } else { layout.to.clone() };
            seat.cluster.install(seat.machine, &version);
        }
    }

    /// What is judged of every change: P4 and P5.
    fn touches(&mut self, record: &UndoRecord) {
        let id = &self.command.id;
        let entry = self.ledger.look_up(id).ok().flatten();
        let intent = entry.as_ref().is_some_and(|entry| {
            let same = entry.work == self.command.work;
            same && matches!(&entry.stage, Stage::Intended { undo } if undo == record)
        });
        self.judge.check(Promise::P4, intent, || format!("{id} acts without its intent in the ledger"));
        let late = matches!(self.command.work, Work::Do(_))
            && self.ledger.of_step(&id.run, &id.step).is_ok_and(|entries| is_wanted_back(id, &entries));
        self.judge.check(Promise::P5, !late, || format!("{id} is carried out after it was wanted back"));
    }

    pub(super) fn carried_out(&mut self) {
        let id = &self.command.id;
        let times = self.executed.entry(id.clone()).or_default();
        *times += 1;
        let (times, allowed) = (*times, 1 + self.unrecorded.get(id).copied().unwrap_or(0));
        self.judge.check(Promise::P5, times <= allowed, || format!("{id} was carried out {times} times"));
    }

    fn restart(&mut self, version: &Version) -> Result<(), Refusal> {
        if let Some(why) = self.restart_hurts {
            return Err(refusal("RP5505", why));
        }
        self.changed = true;
        self.things.libvirtd = version.clone();
        self.things.restart_begun = false;
        self.site.libvirtd_starts();
        Ok(())
    }
}

impl Hands for SimHands<'_> {
    fn permits(&mut self, _: &Action) -> Result<(), Refusal> {
        if let Some(epoch) = self.welcome
            && self.ledger.obey(epoch).unwrap_or(false)
        {
            *self.obeyed = epoch.max(*self.obeyed);
        }
        match self.fortune {
            Fortune::Forbidden => Err(refusal("RP4103", "the policy of this host does not allow it")),
            _ => Ok(()),
        }
    }

    fn judge(&mut self, action: &Action) -> Result<Vec<Finding>, String> {
        if self.fortune == Fortune::CannotTell {
            return Err("/proc cannot be read".to_owned());
        }
        let mut findings = self.site.judge_action(&self.census.host, action);
        if guard::needs_agreement(action) {
            findings.extend(guard::of_census(&self.census));
        }
        Ok(findings)
    }

    fn check(&mut self, action: &Action) -> Result<Standing, Refusal> {
        if self.fortune == Fortune::Unexpected {
            return Err(refusal("RP5304", "the host is not as expected"));
        }
        if let Some(deed) = Deed::of(action) {
            return self.check_cluster(&deed);
        }
        Ok(match (About::of(action), action) {
            (About::Thing(thing), _) => match self.things.state(thing) {
                None => {
                    self.looks(action, false)?;
                    Standing::Ready
                }
                Some(State::Half) => Standing::Half,
                Some(State::Done) => Standing::Done,
            },
            (About::Restart, Action::LibvirtRestart(restart)) => {
                if self.things.libvirtd == restart.expect && !self.things.restart_begun {
                    return Ok(Standing::Done);
                }
                if let Some(why) = self.restart_hurts {
                    return Err(refusal("RP5505", why));
                }
                if self.things.restart_begun { Standing::Half } else { Standing::Ready }
            }
            (About::Restart | About::Anchor | About::Trial(_) | About::Cluster, _) => Standing::Ready,
        })
    }

    fn prepare(&mut self, action: &Action) -> Result<UndoRecord, Refusal> {
        if self.fortune == Fortune::Unprepared {
            return Err(refusal("RP5301", "a file cannot be read"));
        }
        if let Some(deed) = Deed::of(action) {
            return self.prepare_for_cluster(&deed);
        }
        Ok(match About::of(action) {
            About::Thing(thing) => {
                let state = self.things.state(thing);
                let id = &self.command.id;
                self.judge.check(Promise::P7, state.is_none(), || {
                    format!("{id} records what an earlier attempt left as what was there before")
                });
                UndoRecord::Files(vec![FileChange {
                    path: format!("/{thing:016x}").into(),
                    before: FileBefore::Absent,
                    after_sha256: None,
                    made_directories: Vec::new(),
                }])
            }
            About::Anchor => {
                let version = self.things.libvirtd.as_str().to_owned();
                UndoRecord::Libvirtd { pid: 1, start_ticks: 1, version }
            }
            About::Restart | About::Trial(_) | About::Cluster => UndoRecord::Nothing,
        })
    }

    fn apply(&mut self, action: &Action, record: &UndoRecord) -> Result<Report, ActError> {
        self.touches(record);
        match self.fortune {
            Fortune::Refused => return Err(refusal("RP5103", "it would do more than the plan says").into()),
            Fortune::Failed => return Err(failure().into()),
            _ => {}
        }
        if let Some(deed) = Deed::of(action) {
            return self.apply_to_cluster(&deed, record);
        }
        let half = matches!(self.fortune, Fortune::FailedHalfWay | Fortune::FailedForGood);
        let mut findings = Vec::new();
        match (About::of(action), action) {
            (About::Thing(thing), _) => {
                let id = &self.command.id;
                let done = self.things.state(thing) == Some(State::Done);
                self.judge.check(Promise::P5, !done, || format!("{id} repeats blindly what is done"));
                findings = self.site_changes(action, half)?;
                self.changed = true;
                self.things.set(thing, Some(if half { State::Half } else { State::Done }));
                self.installs(action, false);
            }
            (About::Restart, Action::LibvirtRestart(restart)) => {
                self.restart(&restart.expect)?;
                self.things.restart_begun = half;
            }
            // What changes nothing may be looked at as often as it takes.
            (About::Restart | About::Anchor | About::Trial(_) | About::Cluster, _) => {
                return Ok(Report::default());
            }
        }
        if half {
            return Err(failure().into());
        }
        self.carried_out();
        Ok(Report { changes: Vec::new(), findings })
    }

    fn verify(&mut self, action: &Action, _: &UndoRecord) -> Result<(), Failure> {
        if let Some(deed) = Deed::of(action) {
            return self.verify_on_cluster(&deed);
        }
        let done = match (About::of(action), action) {
            (About::Thing(thing), _) => self.things.state(thing) == Some(State::Done),
            (About::Restart, Action::LibvirtRestart(restart)) => {
                self.things.libvirtd == restart.expect && !self.things.restart_begun
            }
            (About::Restart | About::Anchor | About::Trial(_) | About::Cluster, _) => true,
        };
        if done && self.fortune != Fortune::Unverified { Ok(()) } else { Err(failure()) }
    }

    fn undo(&mut self, action: &Action, record: &UndoRecord) -> Result<Report, ActError> {
        self.touches_back(record)?;
        if let Some(deed) = Deed::of(action) {
            return self.undo_on_cluster(&deed, record);
        }
        match About::of(action) {
            About::Thing(thing) => {
                let half = self.is_half_way_back();
                if self.things.state(thing).is_some() {
                    self.site_changes_back(action, half)?;
                    self.changed = true;
                    self.things.set(thing, half.then_some(State::Half));
                    self.installs(action, true);
                    match &self.command.work {
                        Work::Undo(_) if !half => self.carried_out(),
                        Work::Undo(_) => {}
                        // Put back by the agent that did it: it may be done once more after a crash before its end is written.
                        Work::Do(_) => drop(self.executed.remove(&self.command.id)),
                    }
                }
                if half {
                    return Err(failure().into());
                }
            }
            About::Anchor => {
                let UndoRecord::Libvirtd { version, .. } = record else {
                    return Err(refusal("RP5306", "the undo record is of another kind of action").into());
                };
                if self.things.libvirtd.as_str() != version || self.things.restart_begun {
                    self.restart(&Version::new(version.clone()))?;
                    self.carried_out();
                }
            }
            About::Trial(Some(TrialOf::Old)) if self.things.way_back_closed => {
                return Err(refusal("RP5512", "the old libvirt cannot read guest vm1").into());
            }
            About::Trial(_) | About::Restart | About::Cluster => {}
        }
        Ok(Report::default())
    }

    fn cancelled(&mut self, _: &ActionId) -> bool {
        false
    }

    fn accepted(&mut self) {
        let (id, epoch, obeyed) = (&self.command.id, self.command.epoch, *self.obeyed);
        self.judge.check(Promise::P9, epoch >= obeyed, || {
            format!("{id} of epoch {epoch} begins, after epoch {obeyed} was obeyed")
        });
        *self.obeyed = epoch.max(obeyed);
    }

    fn now_ms(&mut self) -> UnixMs {
        self.clock_ms
    }

    fn elapsed(&mut self) -> Duration {
        Duration::from_millis(self.clock_ms)
    }

    fn reached(&mut self, _: Moment, _: &ActionId) {}
}

impl SimHands<'_> {
    /// The guard's word on a transaction of packages as it is resolved now.
    fn looks(&mut self, action: &Action, back: bool) -> Result<Vec<Finding>, Refusal> {
        match action {
            Action::PackagesInstall(install) => {
                self.site.look(&self.census.host, (install.manager, &install.install), back)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What an action does to the files of the host. A refusal: nothing.
    pub(super) fn site_changes(&mut self, action: &Action, half: bool) -> Result<Vec<Finding>, Refusal> {
        let findings = self.looks(action, false)?;
        match action {
            Action::PackagesStage(stage) => {
                return self.site.stage(&self.census.host, stage.manager, &stage.install);
            }
            Action::PackagesInstall(install) => {
                self.site.install(install.manager, &install.install, false, half);
            }
            _ => self.site.apply(action),
        }
        Ok(findings)
    }

    /// What taking an action back does to them.
    pub(super) fn site_changes_back(&mut self, action: &Action, half: bool) -> Result<(), Refusal> {
        self.looks(action, true)?;
        if self.site.keeps_tree(action) {
            return Err(refusal("RP5204", "a guest uses it"));
        }
        match action {
            Action::PackagesInstall(install) => {
                self.site.install(install.manager, &install.install, true, half);
            }
            _ if half => {}
            _ => self.site.undo(action),
        }
        Ok(())
    }

    /// Before anything is taken back.
    fn touches_back(&mut self, record: &UndoRecord) -> Result<(), ActError> {
        self.touches(record);
        match self.fortune {
            Fortune::Refused if matches!(self.command.work, Work::Undo(_)) => {
                Err(refusal("RP5305", "somebody changed it since").into())
            }
            Fortune::Failed if matches!(self.command.work, Work::Undo(_)) => Err(failure().into()),
            _ => Ok(()),
        }
    }

    pub(super) fn is_half_way_back(&self) -> bool {
        match self.command.work {
            Work::Undo(_) => matches!(self.fortune, Fortune::FailedHalfWay | Fortune::FailedForGood),
            // The agent puts back what it could not do.
            Work::Do(_) => self.fortune == Fortune::FailedForGood,
        }
    }
}

pub(super) fn refusal(code: &str, reason: &str) -> Refusal {
    let [code, reason, remedy] = [code, reason, "look at the host"].map(str::to_owned);
    Refusal { code, reason, remedy, findings: Vec::new() }
}

pub(super) fn failure() -> Failure {
    Failure { code: "RP5301", error: "the disk was full".to_owned(), remedy: "make room".to_owned() }
}
