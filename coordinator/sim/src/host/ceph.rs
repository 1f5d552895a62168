//! What the actions on a cluster do, on a simulated one. The agent's own judgement before a stop is made by the rules that a real agent uses, of what
//! the cluster says at that instant; what it does is judged by what is true.

use super::hands::{Fortune, SimHands, failure, refusal};
use crate::ceph::{Cluster, Daemons, Required};
use replank_agent_core::act::{ActError, Failure, Report, Standing};
use replank_agent_core::ledger::Work;
use replank_ceph::OsdId;
use replank_ceph::quorum::Machines;
use replank_ceph::redundancy::{Answer, Consents, Redundancy, StopSet};
use replank_common::action::Action;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use replank_common::version::Version;
use std::collections::BTreeSet;

/// The cluster of a host, and which of its machines the host is.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) machine: usize,
}

/// What an action does to a cluster.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Flags(Vec<String>),
    Setting { section: String, name: String, value: String },
    Restart { daemons: Daemons, beside: BTreeSet<OsdId>, expect: Version, consents: Vec<String> },
    Require(Required),
}

impl Deed {
    pub(super) fn of(_action: &Action) -> Option<Self> {
        None
    }
}

fn record_of(before: &Before) -> UndoRecord {
    let _ = before;
    UndoRecord::Nothing
}

fn before_of(_record: &UndoRecord) -> Option<Before> {
    None
}

/// What was there before.
enum Before {
    /// Flags that were not set.
    Flags(Vec<String>),
    Setting(Option<String>),
}

fn silent(why: String) -> Refusal {
    refusal("RP5701", &why)
}

impl SimHands<'_> {
    fn cluster(&mut self) -> Result<&mut Cluster, Refusal> {
        let cluster = self.ceph.as_mut().map(|seat| &mut *seat.cluster);
        cluster.ok_or_else(|| refusal("RP5700", "there is no cluster on this host"))
    }

    /// Those that do not run what is expected.
    fn left_to_restart(&mut self, daemons: &Daemons, expect: &Version) -> Result<Daemons, Refusal> {
        let machine = self.ceph.as_ref().map_or(0, |seat| seat.machine);
        let running = self.cluster()?.running(machine);
        let is = |name: String| running.get(&name) == Some(expect);
        Ok(Daemons {
            osds: daemons.osds.iter().filter(|osd| !is(osd.to_string())).copied().collect(),
            mons: daemons.mons.iter().filter(|mon| !is(format!("mon.{mon}"))).cloned().collect(),
            mgrs: daemons.mgrs.iter().filter(|mgr| !is(format!("mgr.{mgr}"))).cloned().collect(),
        })
    }

    pub(super) fn check_cluster(&mut self, deed: &Deed) -> Result<Standing, Refusal> {
        let done = match deed {
            Deed::Flags(flags) => {
                let cluster = self.cluster()?;
                cluster.documents().map_err(silent)?;
                flags.iter().all(|flag| cluster.flags.has(flag))
            }
            Deed::Setting { section, name, value } => {
                let cluster = self.cluster()?;
                cluster.documents().map_err(silent)?;
                cluster.config.get(&(section.clone(), name.clone())) == Some(value)
            }
            Deed::Restart { daemons, expect, .. } => {
                self.left_to_restart(daemons, expect)? == Daemons::default()
            }
            Deed::Require(required) => self.cluster()?.documents().map_err(silent)?.required.has(required),
        };
        Ok(if done { Standing::Done } else { Standing::Ready })
    }

    pub(super) fn prepare_for_cluster(&mut self, deed: &Deed) -> Result<UndoRecord, Refusal> {
        let cluster = self.cluster()?;
        Ok(match deed {
            Deed::Flags(flags) => {
                cluster.documents().map_err(silent)?;
                let unset = flags.iter().filter(|flag| !cluster.flags.has(flag)).cloned();
                record_of(&Before::Flags(unset.collect()))
            }
            Deed::Setting { section, name, .. } => {
                cluster.documents().map_err(silent)?;
                record_of(&Before::Setting(cluster.config.get(&(section.clone(), name.clone())).cloned()))
            }
            Deed::Restart { .. } | Deed::Require(_) => UndoRecord::Nothing,
        })
    }

    /// P10 as the agent decides it.
    fn may_stop(
        &mut self,
        stopping: &Daemons,
        beside: &BTreeSet<OsdId>,
        consents: &[String],
    ) -> Result<(), Refusal> {
        let documents = self.cluster()?.documents().map_err(silent)?;
        let Some(groups) = &documents.groups else {
            return Err(silent("the manager has heard of no placement group yet".to_owned()));
        };
        let consents: Consents =
            consents.iter().filter_map(|name| documents.osds.pool(name)).map(|pool| pool.id).collect();
        let set = StopSet {
            osds: if stopping.osds.is_empty() {
                BTreeSet::new()
            } else {
                stopping.osds.union(beside).copied().collect()
            },
            mons: stopping.mons.clone(),
        };
        let redundancy = Redundancy::new(&documents.osds, groups, &consents);
        let machines = Machines::new(&documents.osds, Some(&documents.tree));
        let verdict = redundancy.judge(&set, Some((&documents.quorum, &machines)));
        match verdict.answer {
            Answer::Safe => Ok(()),
            Answer::NotSafe | Answer::CannotTell => {
                Err(refusal("RP5702", &format!("it may not stop: {:?}", verdict.objections.first())))
            }
        }
    }

    pub(super) fn apply_to_cluster(&mut self, deed: &Deed) -> Result<Report, ActError> {
        let half = matches!(self.fortune, Fortune::FailedHalfWay | Fortune::FailedForGood);
        match deed {
            Deed::Flags(flags) => {
                let cluster = self.cluster()?;
                cluster.documents().map_err(|_| failure())?;
                let some = if half { flags.len() / 2 } else { flags.len() };
                let changed = flags[..some].iter().filter(|flag| cluster.sets(flag, true)).count();
                self.changed |= changed > 0;
            }
            Deed::Setting { section, name, value } => {
                let cluster = self.cluster()?;
                cluster.documents().map_err(|_| failure())?;
                if !half {
                    cluster.config.insert((section.clone(), name.clone()), value.clone());
                    self.changed = true;
                }
            }
            Deed::Restart { daemons, beside, expect, consents } => {
                self.restart_daemons(daemons, beside, expect, consents, half)?;
            }
            Deed::Require(required) => {
                let by = self.command.id.to_string();
                let documents = self.cluster()?.documents().map_err(|_| failure())?;
                let version = required.version();
                if documents.booted.values().any(|booted| booted != &version) {
                    return Err(refusal("RP5703", "an OSD is of an older release").into());
                }
                if let Some(seat) = &mut self.ceph {
                    seat.cluster.check_all_are(&version, &by, self.judge);
                    if !half {
                        seat.cluster.required.add(required);
                        self.changed = true;
                    }
                }
            }
        }
        if half {
            return Err(failure().into());
        }
        self.carried_out();
        Ok(Report::default())
    }

    fn restart_daemons(
        &mut self,
        daemons: &Daemons,
        beside: &BTreeSet<OsdId>,
        expect: &Version,
        consents: &[String],
        half: bool,
    ) -> Result<(), ActError> {
        let left = self.left_to_restart(daemons, expect)?;
        self.may_stop(&left, beside, consents)?;
        let by = self.command.id.to_string();
        let Some(seat) = &mut self.ceph else { return Err(failure().into()) };
        seat.cluster.stop_by_us(&left, &by, self.judge);
        self.changed = true;
        // Half way: stopped, and not started.
        if half {
            return Ok(());
        }
        let dead = seat.cluster.start(&left);
        let other = seat.cluster.installed(seat.machine) != Some(expect);
        if other || !dead.is_empty() { Err(failure().into()) } else { Ok(()) }
    }

    pub(super) fn verify_on_cluster(&mut self, deed: &Deed) -> Result<(), Failure> {
        let done = self.check_cluster(deed).is_ok_and(|standing| standing == Standing::Done);
        if done && self.fortune != Fortune::Unverified { Ok(()) } else { Err(failure()) }
    }

    /// The agent dies in the middle: daemons are stopped and not started, some flags are set.
    pub(super) fn half_do(&mut self, deed: &Deed) {
        self.fortune = Fortune::FailedForGood;
        drop(self.apply_to_cluster(deed));
    }

    pub(super) fn undo_on_cluster(&mut self, deed: &Deed, record: &UndoRecord) -> Result<Report, ActError> {
        let half = self.is_half_way_back();
        let undoing = matches!(self.command.work, Work::Undo(_));
        match (deed, before_of(record)) {
            (Deed::Flags(_), Some(Before::Flags(unset))) => {
                let cluster = self.cluster()?;
                cluster.documents().map_err(|_| failure())?;
                let some = if half { unset.len() / 2 } else { unset.len() };
                let changed = unset[..some].iter().filter(|flag| cluster.sets(flag, false)).count();
                self.changed |= changed > 0;
            }
            (Deed::Setting { section, name, .. }, Some(Before::Setting(before))) => {
                let cluster = self.cluster()?;
                cluster.documents().map_err(|_| failure())?;
                let key = (section.clone(), name.clone());
                if !half {
                    match before {
                        Some(value) => drop(cluster.config.insert(key, value)),
                        None => drop(cluster.config.remove(&key)),
                    }
                    self.changed = true;
                }
            }
            (Deed::Restart { .. } | Deed::Require(_), _) => return Ok(Report::default()),
            (Deed::Flags(_) | Deed::Setting { .. }, _) => {
                return Err(refusal("RP5306", "the undo record is of another kind of action").into());
            }
        }
        if half {
            return Err(failure().into());
        }
        if undoing {
            self.carried_out();
        } else {
            self.executed.remove(&self.command.id);
        }
        Ok(Report::default())
    }
}
