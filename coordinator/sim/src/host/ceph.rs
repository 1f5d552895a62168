//! What the actions on a cluster do, on a simulated one. The agent's own judgement before a stop is made by the rules that a real agent uses, of what
//! the cluster says at that instant; what it does is judged by what is true.

use super::hands::{Fortune, SimHands, failure, refusal};
use crate::ceph::{Cluster, Daemons};
use replank_agent_core::act::{ActError, Failure, Report, Standing};
use replank_agent_core::ledger::Work;
use replank_ceph::OsdId;
use replank_ceph::documents::Health;
use replank_ceph::last_word;
use replank_ceph::redundancy::{Answer, show_objection};
use replank_ceph::seen::{Groups, Look, Map, Seen, Settle, Stop};
use replank_common::action::{Action, CephConfig, CephFlags, CephRequire};
use replank_common::ceph::{CephDaemon, CephFlag, CephKind, Requirement};
use replank_common::outcome::Refusal;
use replank_common::reading::{CephDaemonSeen, ReadingRequest, ReadingValue};
use replank_common::undo::UndoRecord;
use replank_common::version::Version;
use std::collections::BTreeSet;

/// The cluster of a host, and which of its machines the host is.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) machine: usize,
}

impl Seat<'_> {
    /// One look at OSDs that settle, if it misses nothing.
    pub(crate) fn looks_settled(&self, osds: &[u32], version: &Version) -> Option<Look> {
        let of: BTreeSet<OsdId> = osds.iter().copied().map(OsdId).collect();
        let look = self.look(&of).ok()?;
        look.misses(&of, version).is_empty().then_some(look)
    }

    fn look(&self, of: &BTreeSet<OsdId>) -> Result<Look, String> {
        let documents = self.cluster.documents()?;
        let (metadata, groups) = (documents.metadata(), documents.groups);
        let groups = groups.ok_or(NO_GROUPS)?;
        Ok(Look::new(0, documents.osds, metadata, groups, of))
    }

    /// Measures what an agent measures, of a cluster or of its own daemons.
    pub(super) fn read(mut self, request: &ReadingRequest) -> ReadingValue {
        if *request == ReadingRequest::CephDaemons {
            return ReadingValue::CephDaemons(self.daemons());
        }
        match self.see(request) {
            Ok(seen) => ReadingValue::Ceph(seen.to_text()),
            Err(why) => ReadingValue::CannotTell { why },
        }
    }

    fn see(&mut self, request: &ReadingRequest) -> Result<Seen, String> {
        self.cluster.is_asked();
        let documents = self.cluster.documents()?;
        let metadata = documents.metadata();
        Ok(match request {
            ReadingRequest::CephStop { osds } => {
                let of = osds.iter().copied().map(OsdId).collect();
                let groups = documents.groups.ok_or(NO_GROUPS)?;
                let (map, tree) = (documents.osds, documents.tree);
                Seen::Stop(Box::new(Stop::new(map, groups, documents.quorum, Some(tree), of)))
            }
            ReadingRequest::CephSettle { osds, .. } => {
                let look = self.look(&osds.iter().copied().map(OsdId).collect())?;
                Seen::Settle(Settle { looks: vec![look] })
            }
            ReadingRequest::CephMap => {
                let mons = documents.quorum.mons.keys();
                let second_messenger =
                    Some(mons.map(|mon| (mon.clone(), documents.required.msgr2)).collect());
                Seen::Map(Box::new(Map { osds: documents.osds, metadata, second_messenger }))
            }
            ReadingRequest::CephMons => Seen::Mons(documents.quorum),
            // No simulated cluster has a file system.
            ReadingRequest::CephMds { .. } => Seen::Mds(self.cluster.mds()),
            ReadingRequest::CephGroups => Seen::Groups(Groups::new(&documents.groups.ok_or(NO_GROUPS)?)),
            ReadingRequest::CephHealth => {
                Seen::Health(Health { level: "HEALTH_WARN".to_owned(), reasons: documents.health })
            }
            ReadingRequest::CephCluster
            | ReadingRequest::CephDaemons
            | ReadingRequest::Census
            | ReadingRequest::Facts
            | ReadingRequest::Libvirtd
            | ReadingRequest::EmulatorForNewGuests { .. }
            | ReadingRequest::LibvirtTcp { .. }
            | ReadingRequest::GuestJobs => return Err("it is asked for planning alone".to_owned()),
        })
    }

    fn daemons(&self) -> Vec<CephDaemonSeen> {
        let running = self.cluster.running(self.machine);
        let of = |daemon: CephDaemon| CephDaemonSeen {
            unit: Some(format!("ceph-{}@{}.service", daemon.kind.as_str(), daemon.id)),
            pid: running.contains_key(&daemon.to_string()).then_some(1),
            start_ticks: None,
            running_version: running.get(&daemon.to_string()).cloned(),
            installed_version: self.cluster.installed(self.machine).cloned(),
            executable_deleted: false,
            detail: String::new(),
            daemon,
        };
        self.cluster.layout.daemons_of(self.machine).into_iter().map(of).collect()
    }
}

const NO_GROUPS: &str = "the manager has heard of no placement group yet";

/// What an action does to a cluster.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Flags(Vec<CephFlag>),
    Setting { key: (String, String), value: String },
    Restart(Restart),
    Require(Requirement),
}

#[derive(Debug, Clone)]
pub(super) struct Restart {
    daemons: Daemons,
    /// What may be down at the same time.
    beside: BTreeSet<OsdId>,
    expect: Version,
    consents: Vec<String>,
}

impl Deed {
    pub(super) fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::CephFlags(CephFlags { flags }) => Self::Flags(flags.clone()),
            Action::CephConfig(CephConfig { section, name, value, way: _ }) => {
                Self::Setting { key: (section.clone(), name.clone()), value: value.clone() }
            }
            Action::CephRestart(restart) => {
                let of = |kind| {
                    let ids = restart.daemons.iter().filter(move |daemon| daemon.kind == kind);
                    ids.map(|daemon| daemon.id.clone()).collect()
                };
                let osds = restart.daemons.iter().filter_map(CephDaemon::osd_number).map(OsdId).collect();
                let is_other = |daemon: &&CephDaemon| matches!(daemon.kind, CephKind::Mds | CephKind::Rgw);
                let others = restart.daemons.iter().filter(is_other).cloned().collect();
                Self::Restart(Restart {
                    daemons: Daemons { osds, mons: of(CephKind::Mon), mgrs: of(CephKind::Mgr), others },
                    beside: restart.beside.iter().copied().map(OsdId).collect(),
                    expect: restart.expect.clone(),
                    consents: restart.consents.clone(),
                })
            }
            Action::CephRequire(CephRequire { what }) => Self::Require(what.clone()),
            Action::RepositoryPin(_)
            | Action::PackagesStage(_)
            | Action::PackagesInstall(_)
            | Action::TreeInstall(_)
            | Action::TreeRetain(_)
            | Action::TreeTrial(_)
            | Action::FileEdit(_)
            | Action::FileWrite(_)
            | Action::UnitMask(_)
            | Action::UnitEnable(_)
            | Action::UnitDropIn(_)
            | Action::CephOwn(_)
            | Action::LibvirtTrial(_)
            | Action::LibvirtAnchor(_)
            | Action::LibvirtRestart(_) => return None,
        })
    }
}

fn silent(why: &str) -> Refusal {
    refusal("RP5601", why)
}

impl SimHands<'_> {
    /// The cluster, which answers.
    fn cluster(&mut self) -> Result<&mut Cluster, Refusal> {
        let cluster = self.ceph.as_mut().map(|seat| &mut *seat.cluster);
        let cluster = cluster.ok_or_else(|| silent("there is no cluster on this host"))?;
        cluster.documents().map_err(|why| silent(&why))?;
        Ok(cluster)
    }

    /// Those that do not run what is expected.
    fn left_to_restart(&self, restart: &Restart) -> Daemons {
        let Restart { daemons, expect, .. } = restart;
        let running = self.ceph.as_ref().map(|seat| seat.cluster.running(seat.machine)).unwrap_or_default();
        let old = |name: &str| running.get(name) != Some(expect);
        Daemons {
            osds: daemons.osds.iter().filter(|osd| old(&osd.to_string())).copied().collect(),
            mons: daemons.mons.iter().filter(|mon| old(&format!("mon.{mon}"))).cloned().collect(),
            mgrs: daemons.mgrs.iter().filter(|mgr| old(&format!("mgr.{mgr}"))).cloned().collect(),
            others: daemons.others.iter().filter(|other| old(&other.to_string())).cloned().collect(),
        }
    }

    /// Each runs what is expected, and a MON has found the others.
    fn is_restarted(&self, restart: &Restart) -> Result<bool, Refusal> {
        let Some(seat) = &self.ceph else { return Err(silent("there is no cluster on this host")) };
        let left = self.left_to_restart(restart);
        if left != Daemons::default() && seat.cluster.installed(seat.machine) != Some(&restart.expect) {
            return Err(refusal("RP5604", "what is installed is of another version"));
        }
        Ok(left == Daemons::default() && seat.cluster.are_joined(&restart.daemons.mons))
    }

    pub(super) fn check_cluster(&mut self, deed: &Deed) -> Result<Standing, Refusal> {
        let done = match deed {
            Deed::Flags(flags) => {
                let cluster = self.cluster()?;
                flags.iter().all(|flag| cluster.flags.has(flag.as_str()))
            }
            Deed::Setting { key, value } => self.cluster()?.config.get(key) == Some(value),
            Deed::Restart(restart) => self.is_restarted(restart)?,
            Deed::Require(what) => self.cluster()?.required.has(what),
        };
        Ok(if done { Standing::Done } else { Standing::Ready })
    }

    pub(super) fn prepare_for_cluster(&mut self, deed: &Deed) -> Result<UndoRecord, Refusal> {
        Ok(match deed {
            Deed::Flags(flags) => {
                let cluster = self.cluster()?;
                let unset = flags.iter().filter(|flag| !cluster.flags.has(flag.as_str())).copied();
                UndoRecord::CephFlags { unset: unset.collect() }
            }
            Deed::Setting { key, .. } => {
                UndoRecord::CephConfig { before: self.cluster()?.config.get(key).cloned() }
            }
            Deed::Restart(_) | Deed::Require(_) => UndoRecord::Nothing,
        })
    }

    /// P10, as the agent decides it.
    fn may_stop(&mut self, stopping: &Daemons, restart: &Restart) -> Result<(), Refusal> {
        let documents = self.cluster()?.documents().map_err(|why| silent(&why))?;
        let groups = documents.groups.ok_or_else(|| silent(NO_GROUPS))?;
        let mut osds = stopping.osds.clone();
        if !osds.is_empty() {
            osds.extend(&restart.beside);
        }
        let (map, tree) = (documents.osds, documents.tree);
        let stop = Stop::new(map, groups, documents.quorum, Some(tree), osds.clone());
        let verdict = stop.judge(&osds, &stopping.mons, &restart.consents);
        let mut verdict = verdict.map_err(|error| silent(&error.to_string()))?;
        if !stopping.osds.is_empty() {
            verdict = last_word::of_own(verdict, &stopping.osds);
        }
        match verdict.answer {
            Answer::Safe => Ok(()),
            Answer::NotSafe | Answer::CannotTell => {
                let why = verdict.objections.first().map(show_objection).unwrap_or_default();
                Err(refusal("RP5602", &format!("they may not stop: {why}")))
            }
        }
    }

    pub(super) fn apply_to_cluster(&mut self, deed: &Deed, record: &UndoRecord) -> Result<Report, ActError> {
        let half = matches!(self.fortune, Fortune::FailedHalfWay | Fortune::FailedForGood);
        // Each counts as carried out where it changes what was there: what an earlier life of the agent did, and the world has not undone, stays.
        let counts = match (deed, record) {
            (Deed::Flags(_), UndoRecord::CephFlags { unset }) => {
                let some = if half { unset.len() / 2 } else { unset.len() };
                let cluster = self.cluster().map_err(|_| failure())?;
                let set = unset[..some].iter().filter(|flag| cluster.sets(flag.as_str(), true)).count();
                self.changed |= set > 0;
                true
            }
            (Deed::Setting { key, value }, _) => {
                let cluster = self.cluster().map_err(|_| failure())?;
                if !half {
                    cluster.config.insert(key.clone(), value.clone());
                    self.changed = true;
                }
                true
            }
            (Deed::Restart(restart), _) => self.restart_daemons(restart, half)?,
            (Deed::Require(what), _) => {
                self.require(what, half)?;
                true
            }
            (Deed::Flags(_), _) => {
                return Err(refusal("RP5306", "the undo record is of another kind of action").into());
            }
        };
        if half {
            return Err(failure().into());
        }
        if counts {
            self.carried_out();
        }
        Ok(Report::default())
    }

    /// Whether something that ran was stopped for it. What has died by itself since an earlier life of the agent restarted it is only started.
    fn restart_daemons(&mut self, restart: &Restart, half: bool) -> Result<bool, ActError> {
        let left = self.left_to_restart(restart);
        if left != Daemons::default() {
            self.may_stop(&left, restart)?;
        }
        let by = self.command.id.to_string();
        let Some(seat) = &mut self.ceph else { return Err(failure().into()) };
        let running = seat.cluster.running(seat.machine);
        let stops = left.names().iter().any(|name| running.contains_key(name));
        seat.cluster.stop_by_us(&left, &by, self.judge);
        self.changed = true;
        // Half way: stopped, and not started.
        if half {
            return Ok(stops);
        }
        let mut dead = seat.cluster.start(&left);
        // As a real agent waits: until a MON says of itself that it is in quorum. What the others say of it is of the time before, for a while.
        dead.extend(seat.cluster.mons_join(&restart.daemons));
        if dead.is_empty() { Ok(stops) } else { Err(failure().into()) }
    }

    fn require(&mut self, what: &Requirement, half: bool) -> Result<(), ActError> {
        let version = self.ceph.as_ref().map(|seat| seat.cluster.layout.to.clone());
        let version = version.ok_or_else(failure)?;
        let documents = self.cluster().and_then(|cluster| cluster.documents().map_err(|why| silent(&why)));
        let documents = documents.map_err(|_| failure())?;
        if documents.booted.values().any(|booted| *booted != version) {
            return Err(refusal("RP5603", "an OSD is of an older release").into());
        }
        let by = self.command.id.to_string();
        if let Some(seat) = self.ceph.as_mut().filter(|_| !half) {
            seat.cluster.check_all_are(&version, &by, self.judge);
            seat.cluster.required.add(what);
            self.changed = true;
        }
        Ok(())
    }

    pub(super) fn verify_on_cluster(&mut self, deed: &Deed) -> Result<(), Failure> {
        let done = self.check_cluster(deed).is_ok_and(|standing| standing == Standing::Done);
        if done && self.fortune != Fortune::Unverified { Ok(()) } else { Err(failure()) }
    }

    /// The agent dies in the middle: daemons are stopped and not started, some of the flags are set, or given back.
    pub(super) fn half_do(&mut self, deed: &Deed, record: &UndoRecord) {
        self.fortune = Fortune::FailedForGood;
        match self.command.work {
            Work::Do(_) => drop(self.apply_to_cluster(deed, record)),
            Work::Undo(_) => drop(self.undo_on_cluster(deed, record)),
        }
    }

    pub(super) fn undo_on_cluster(&mut self, deed: &Deed, record: &UndoRecord) -> Result<Report, ActError> {
        let half = self.is_half_way_back();
        let gave;
        match (deed, record) {
            (Deed::Flags(_), UndoRecord::CephFlags { unset }) => {
                let some = if half { unset.len() / 2 } else { unset.len() };
                let cluster = self.cluster().map_err(|_| failure())?;
                let given = unset[..some].iter().filter(|flag| cluster.sets(flag.as_str(), false)).count();
                self.changed |= given > 0;
                gave = given > 0;
            }
            (Deed::Setting { key, .. }, UndoRecord::CephConfig { before }) => {
                let cluster = self.cluster().map_err(|_| failure())?;
                gave = cluster.config.get(key) != before.as_ref();
                match before {
                    _ if half => {}
                    Some(value) => drop(cluster.config.insert(key.clone(), value.clone())),
                    None => drop(cluster.config.remove(key)),
                }
                self.changed |= !half;
            }
            (Deed::Restart(_) | Deed::Require(_), _) => return Ok(Report::default()),
            (Deed::Flags(_) | Deed::Setting { .. }, _) => {
                return Err(refusal("RP5306", "the undo record is of another kind of action").into());
            }
        }
        if half {
            return Err(failure().into());
        }
        match self.command.work {
            // What is given back already is given back once more without a change.
            Work::Undo(_) if gave => self.carried_out(),
            Work::Undo(_) => {}
            Work::Do(_) => drop(self.executed.remove(&self.command.id)),
        }
        Ok(Report::default())
    }
}
