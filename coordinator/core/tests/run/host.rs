//! A simulated host: guests with lives of their own, and an agent with a durable ledger.

use replank_common::census::{
    Census, CensusSource, Disagreement, EndCause, Guest, GuestEnd, GuestState, Incarnation,
};
use replank_common::ids::{ActionId, BootId, Direction, Epoch, GuestUuid, HostName, StepId};
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::reading::{LibvirtdSeen, Reading, ReadingRequest, ReadingValue};
use replank_common::version::Version;
use replank_core::run::{Hello, Order};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

use crate::plans::{NEW, OLD};

/// What the agent was told to do.
#[derive(Debug, Clone)]
pub struct Task {
    pub action: ActionId,
    pub order: Order,
}

/// How an action goes, drawn when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fortune {
    Well,
    Refused,
    FailedRestored,
    FailedHalfWay,
    /// Done, and then the agent dies before its ledger has the outcome.
    DiesAfterwards,
}

#[derive(Debug, Clone)]
struct Entry {
    outcome: Option<Outcome>,
}

#[derive(Debug)]
pub struct SimHost {
    pub name: HostName,
    pub boot: u64,
    pub agent_up: bool,
    pub agent_start_ms: u64,
    /// The link's number while it is up.
    pub link: Option<u64>,
    sequence: u64,
    pub epoch_seen: Epoch,
    ledger: BTreeMap<ActionId, Entry>,
    pub running: Option<Task>,
    pub queue: VecDeque<Task>,
    /// What is changed on the host: step and attempt, in the order of the changes.
    pub applied: Vec<(StepId, u32)>,
    /// How often each action was really carried out.
    pub executed: BTreeMap<ActionId, u32>,
    pub guests: BTreeMap<GuestUuid, Guest>,
    ended: Vec<GuestEnd>,
    next_pid: u32,
    pub libvirtd_new: bool,
    /// While set, a guest has a job, or the census does not agree: since when.
    pub job_since: Option<u64>,
    pub disagrees_since: Option<u64>,
    /// The old libvirt cannot read a guest: guards refuse.
    pub way_back_closed: bool,
    pub guards_asked: BTreeSet<ActionId>,
    /// What it answers when it is asked whether OSDs may stop.
    pub cluster: ReadingValue,
    pub quorum: ReadingValue,
}

impl SimHost {
    pub fn new(name: HostName, number: u128, guests: u128) -> Self {
        let mut host = Self {
            name,
            boot: 1,
            agent_up: true,
            agent_start_ms: 1,
            link: None,
            sequence: 0,
            epoch_seen: Epoch(0),
            ledger: BTreeMap::new(),
            running: None,
            queue: VecDeque::new(),
            applied: Vec::new(),
            executed: BTreeMap::new(),
            guests: BTreeMap::new(),
            ended: Vec::new(),
            next_pid: 100,
            libvirtd_new: false,
            job_since: None,
            disagrees_since: None,
            way_back_closed: false,
            guards_asked: BTreeSet::new(),
            cluster: ReadingValue::CannotTell { why: "it is no cluster".to_owned() },
            quorum: ReadingValue::CannotTell { why: "it is no cluster".to_owned() },
        };
        for guest in 0..guests {
            host.start_guest(GuestUuid(Uuid::from_u128(number * 1000 + guest + 1)), GuestState::Running);
        }
        host
    }

    fn boot_id(&self) -> BootId {
        BootId(Uuid::from_u128(u128::from(self.boot)))
    }

    pub fn start_guest(&mut self, uuid: GuestUuid, state: GuestState) {
        self.next_pid += 1;
        let version = if self.libvirtd_new { "10.0.2" } else { "7.2.0" };
        let guest = Guest {
            uuid,
            name: format!("vm{}", uuid.0.as_u128()),
            incarnation: Incarnation {
                boot_id: self.boot_id(),
                pid: self.next_pid,
                start_ticks: u64::from(self.next_pid) * 10,
            },
            state,
            emulator: format!("/opt/qemu/{version}/bin/qemu-system-x86_64").into(),
            emulator_deleted: false,
            qemu_version: Some(Version::new(version)),
            machine: Some("pc-i440fx-7.2".to_owned()),
            persistent: Some(true),
            seen_by: CensusSource::ALL.into_iter().collect(),
        };
        self.guests.insert(uuid, guest);
    }

    /// The agent, if it lives, sees the end.
    pub fn end_guest(&mut self, uuid: GuestUuid, cause: EndCause, at_ms: u64) {
        if let Some(guest) = self.guests.remove(&uuid)
            && self.agent_up
        {
            self.ended.push(GuestEnd {
                uuid,
                name: guest.name,
                incarnation: guest.incarnation,
                at_ms,
                cause,
            });
        }
    }

    pub fn hello(&self) -> Hello {
        let unfinished = self.ledger.iter().filter(|(_, entry)| entry.outcome.is_none());
        Hello {
            boot_id: self.boot_id(),
            agent_start_ms: self.agent_start_ms,
            epoch_seen: self.epoch_seen,
            observe_only: false,
            unfinished: unfinished.map(|(action, _)| action.clone()).collect(),
        }
    }

    /// The agent process dies; its ledger stays.
    pub fn agent_dies(&mut self) {
        self.agent_up = false;
        self.link = None;
        self.running = None;
        self.queue.clear();
        self.ended.clear();
    }

    pub fn agent_starts(&mut self, now_ms: u64) {
        self.agent_up = true;
        self.agent_start_ms = now_ms;
        self.sequence = 0;
    }

    pub fn reboots(&mut self) {
        self.agent_dies();
        self.guests.clear();
        self.boot += 1;
        self.job_since = None;
    }

    pub fn census(&mut self, now_ms: u64) -> Census {
        self.sequence += 1;
        let why = "libvirtd does not answer".to_owned();
        let silent = Disagreement::Silent { source: CensusSource::LibvirtApi, why };
        Census {
            host: self.name.clone(),
            boot_id: self.boot_id(),
            sequence: self.sequence,
            agent_start_ms: self.agent_start_ms,
            taken_at_ms: now_ms,
            guests: self.guests.clone(),
            ended: self.ended.clone(),
            disagreements: self.disagrees_since.map(|_| silent).into_iter().collect(),
        }
    }

    pub fn read(&mut self, request: &ReadingRequest, peer_answers: bool, now_ms: u64) -> Reading {
        let version = Version::new(if self.libvirtd_new { NEW } else { OLD });
        let value = match request {
            ReadingRequest::Census => ReadingValue::Census(self.census(now_ms)),
            ReadingRequest::GuestJobs => {
                let job = ("vm".to_owned(), "migration".to_owned());
                ReadingValue::GuestJobs(self.job_since.map(|_| job).into_iter().collect())
            }
            ReadingRequest::Libvirtd => ReadingValue::Libvirtd(LibvirtdSeen {
                active_state: "active".to_owned(),
                pid: Some(1),
                start_ticks: Some(1),
                running_version: Some(version.clone()),
                installed_version: Some(version),
            }),
            ReadingRequest::LibvirtTcp { .. } => {
                ReadingValue::LibvirtTcp { answered: peer_answers, detail: "refused".to_owned() }
            }
            ReadingRequest::CephStop { .. } => self.cluster.clone(),
            ReadingRequest::CephMons => self.quorum.clone(),
            ReadingRequest::EmulatorForNewGuests { .. }
            | ReadingRequest::Facts
            | ReadingRequest::CephDaemons
            | ReadingRequest::CephSettle { .. }
            | ReadingRequest::CephMap
            | ReadingRequest::CephMds { .. }
            | ReadingRequest::CephGroups
            | ReadingRequest::CephHealth
            | ReadingRequest::CephCluster => ReadingValue::CannotTell { why: "not simulated".to_owned() },
        };
        Reading { host: self.name.clone(), request: request.clone(), taken_at_ms: now_ms, value }
    }

    /// What the ledger answers, or `None` after taking the task in.
    pub fn take(&mut self, task: Task) -> Option<Outcome> {
        if let Some(Entry { outcome: Some(outcome) }) = self.ledger.get(&task.action) {
            return Some(outcome.clone());
        }
        let known = |other: &Task| other.action == task.action;
        if !self.running.iter().any(known) && !self.queue.iter().any(known) {
            self.queue.push_back(task);
        }
        None
    }

    /// Begins the next task, if the agent is idle: the intent is in the ledger.
    pub fn begin_next(&mut self) -> Option<Task> {
        if self.running.is_some() {
            return None;
        }
        let task = self.queue.pop_front()?;
        self.ledger.entry(task.action.clone()).or_insert(Entry { outcome: None });
        self.running = Some(task.clone());
        Some(task)
    }

    /// Ends the running task; `None`: the agent died on the way.
    pub fn end_running(&mut self, fortune: Fortune) -> Option<(ActionId, Outcome)> {
        let task = self.running.take()?;
        let outcome = match &task.order {
            Order::Execute(_) => self.execute(&task, fortune),
            Order::Undo { of } => self.undo(&task, of, fortune),
        };
        if fortune == Fortune::DiesAfterwards {
            return None;
        }
        self.ledger.insert(task.action.clone(), Entry { outcome: Some(outcome.clone()) });
        Some((task.action, outcome))
    }

    fn execute(&mut self, task: &Task, fortune: Fortune) -> Outcome {
        assert_eq!(task.action.direction, Direction::Do);
        let what = (task.action.step.clone(), task.action.attempt);
        let found = self.applied.contains(&what);
        match fortune {
            _ if found => done(How::FoundDone),
            Fortune::Refused => refused("RP4001", "the host is not as expected"),
            Fortune::FailedRestored => failed(true),
            Fortune::Well | Fortune::DiesAfterwards | Fortune::FailedHalfWay => {
                *self.executed.entry(task.action.clone()).or_default() += 1;
                if task.action.step.as_str().ends_with(".restart") {
                    self.libvirtd_new = true;
                }
                self.applied.push(what);
                if fortune == Fortune::FailedHalfWay { failed(false) } else { done(How::Applied) }
            }
        }
    }

    fn undo(&mut self, task: &Task, of: &ActionId, fortune: Fortune) -> Outcome {
        assert_eq!(task.action.direction, Direction::Undo);
        assert_eq!(task.action.step, of.step, "an undo is named after the step that it takes back");
        if !self.ledger.contains_key(of) {
            return done(How::NothingToUndo);
        }
        if of.step.as_str().ends_with(".try-old") {
            self.guards_asked.insert(task.action.clone());
            if self.way_back_closed {
                return refused("RP4002", "libvirt 9.0.0 cannot read guest vm1");
            }
            return done(How::NothingToUndo);
        }
        let what = (of.step.clone(), of.attempt);
        let Some(at) = self.applied.iter().position(|applied| *applied == what) else {
            return done(How::NothingToUndo);
        };
        match fortune {
            Fortune::Refused => return refused("RP4003", "somebody changed it since"),
            Fortune::FailedRestored | Fortune::FailedHalfWay => return failed(false),
            Fortune::Well | Fortune::DiesAfterwards => {}
        }
        *self.executed.entry(task.action.clone()).or_default() += 1;
        self.applied.remove(at);
        if of.step.as_str().ends_with(".anchor") {
            self.libvirtd_new = false;
        }
        done(How::Undone)
    }
}

fn done(how: How) -> Outcome {
    Outcome::Done { how, took_ms: 1, changes: Vec::new(), findings: Vec::new() }
}

pub fn refused(code: &str, reason: &str) -> Outcome {
    Outcome::Refused(Refusal {
        code: code.to_owned(),
        reason: reason.to_owned(),
        remedy: "look at the host".to_owned(),
        findings: Vec::new(),
    })
}

fn failed(restored: bool) -> Outcome {
    Outcome::Failed {
        code: "RP4004".to_owned(),
        error: "the disk was full".to_owned(),
        remedy: "make room".to_owned(),
        restored,
        took_ms: 1,
    }
}
