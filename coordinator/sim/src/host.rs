//! A simulated host: guests with lives of their own, and an agent with a durable ledger.

use crate::plans::OLD;
use replank_common::action::Action;
use replank_common::census::{
    Census, CensusSource, Disagreement, EndCause, Guest, GuestEnd, GuestState, Incarnation,
};
use replank_common::ids::{ActionId, BootId, Epoch, GuestUuid, HostName, StepId};
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::reading::{LibvirtdSeen, Reading, ReadingRequest, ReadingValue};
use replank_common::version::Version;
use replank_core::run::{Hello, Order};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use uuid::Uuid;

/// What the agent was told to do, and by a coordinator of which epoch.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) action: ActionId,
    pub(crate) order: Order,
    pub(crate) epoch: Epoch,
}

/// How an action goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fortune {
    Well,
    Refused,
    Failed,
    FailedHalfWay,
    /// The ledger cannot take the intent.
    NoRoom,
}

/// The link that an agent has: which coordinator's, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) seat: u64,
    pub(crate) number: u64,
}

#[derive(Debug)]
pub(crate) struct SimHost {
    pub(crate) name: HostName,
    boot: u64,
    number: u128,
    pub(crate) powered: bool,
    pub(crate) agent_up: bool,
    /// Counts the agent's lives.
    pub(crate) life: u64,
    agent_start_ms: u64,
    pub(crate) link: Option<Link>,
    pub(crate) linked_since: u64,
    pub(crate) dialling: bool,
    sequence: u64,
    /// How far the host's clock is from the true one.
    pub(crate) skew_ms: i64,
    /// The epoch that the agent has obeyed: in its ledger.
    pub(crate) epoch_seen: Epoch,
    ledger: BTreeMap<ActionId, Option<Outcome>>,
    /// What the ledger holds as taken back.
    taken_back: BTreeSet<ActionId>,
    pub(crate) running: Option<Task>,
    queue: VecDeque<Task>,
    /// What is changed on the host: step and attempt, in the order of the changes.
    pub(crate) applied: Vec<(StepId, u32)>,
    /// How often each action was really carried out.
    pub(crate) executed: BTreeMap<ActionId, u32>,
    pub(crate) guests: BTreeMap<GuestUuid, Guest>,
    ended: Vec<GuestEnd>,
    next_pid: u32,
    pub(crate) libvirtd: Version,
    /// The emulator that new guests get after the passage, by type.
    pub(crate) emulators: BTreeMap<String, PathBuf>,
    /// While set, a guest has a job, or the census does not agree: since when, by the true clock.
    pub(crate) job_since: Option<u64>,
    pub(crate) disagrees_since: Option<u64>,
    /// The old libvirt cannot read a guest: guards refuse.
    pub(crate) way_back_closed: bool,
    /// Until when nothing passes to the agent, and from it.
    pub(crate) deaf_until: u64,
    pub(crate) mute_until: u64,
    pub(crate) disk_full_until: u64,
}

impl SimHost {
    pub(crate) fn new(name: HostName, number: u128, guests: u128) -> Self {
        let mut host = Self {
            name,
            boot: 1,
            number,
            powered: true,
            agent_up: true,
            life: 1,
            agent_start_ms: 1,
            link: None,
            linked_since: 0,
            dialling: false,
            sequence: 0,
            skew_ms: 0,
            epoch_seen: Epoch(0),
            ledger: BTreeMap::new(),
            taken_back: BTreeSet::new(),
            running: None,
            queue: VecDeque::new(),
            applied: Vec::new(),
            executed: BTreeMap::new(),
            guests: BTreeMap::new(),
            ended: Vec::new(),
            next_pid: 100,
            libvirtd: Version::new(OLD),
            emulators: BTreeMap::new(),
            job_since: None,
            disagrees_since: None,
            way_back_closed: false,
            deaf_until: 0,
            mute_until: 0,
            disk_full_until: 0,
        };
        for guest in 0..guests {
            host.start_guest(GuestUuid(Uuid::from_u128(number * 1_000_000 + guest + 1)), GuestState::Running);
        }
        host
    }

    pub(crate) fn boot_id(&self) -> BootId {
        BootId(Uuid::from_u128(self.number * 1_000_000 + u128::from(self.boot)))
    }

    pub(crate) fn first_boot_id(&self) -> BootId {
        BootId(Uuid::from_u128(self.number * 1_000_000 + 1))
    }

    pub(crate) fn is_renewed(&self) -> bool {
        self.libvirtd.as_str() != OLD
    }

    /// The true time as this host tells it.
    pub(crate) fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew_ms).max(1)
    }

    pub(crate) fn start_guest(&mut self, uuid: GuestUuid, state: GuestState) {
        self.next_pid += 1;
        let version = if self.is_renewed() { "10.0.2" } else { "7.2.0" };
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
    pub(crate) fn end_guest(&mut self, uuid: GuestUuid, cause: EndCause, now_ms: u64) {
        let at_ms = self.clock(now_ms);
        if let Some(guest) = self.guests.remove(&uuid)
            && self.agent_up
        {
            let Guest { name, incarnation, .. } = guest;
            self.ended.push(GuestEnd { uuid, name, incarnation, at_ms, cause });
        }
    }

    pub(crate) fn hello(&self) -> Hello {
        let unfinished = self.ledger.iter().filter(|(_, outcome)| outcome.is_none());
        Hello {
            boot_id: self.boot_id(),
            agent_start_ms: self.agent_start_ms,
            epoch_seen: self.epoch_seen,
            observe_only: false,
            unfinished: unfinished.map(|(action, _)| action.clone()).collect(),
        }
    }

    /// The agent process dies; its ledger stays.
    pub(crate) fn agent_dies(&mut self) {
        self.agent_up = false;
        self.life += 1;
        self.running = None;
        self.queue.clear();
        self.ended.clear();
    }

    pub(crate) fn agent_starts(&mut self, now_ms: u64) {
        self.agent_up = true;
        self.agent_start_ms = self.clock(now_ms);
        self.sequence = 0;
    }

    /// Power is gone: the guests with it.
    pub(crate) fn loses_power(&mut self) {
        self.agent_dies();
        self.powered = false;
        self.guests.clear();
        self.boot += 1;
        self.job_since = None;
    }

    pub(crate) fn census(&mut self, now_ms: u64) -> Census {
        self.sequence += 1;
        let why = "libvirtd does not answer".to_owned();
        let silent = Disagreement::Silent { source: CensusSource::LibvirtApi, why };
        Census {
            host: self.name.clone(),
            boot_id: self.boot_id(),
            sequence: self.sequence,
            agent_start_ms: self.agent_start_ms,
            taken_at_ms: self.clock(now_ms),
            guests: self.guests.clone(),
            ended: self.ended.clone(),
            disagreements: self.disagrees_since.map(|_| silent).into_iter().collect(),
        }
    }

    pub(crate) fn read(&mut self, request: &ReadingRequest, peer_answers: bool, now_ms: u64) -> Reading {
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
                running_version: Some(self.libvirtd.clone()),
                installed_version: Some(self.libvirtd.clone()),
            }),
            ReadingRequest::LibvirtTcp { .. } => {
                ReadingValue::LibvirtTcp { answered: peer_answers, detail: "refused".to_owned() }
            }
            ReadingRequest::EmulatorForNewGuests { virt_type } => match self.emulators.get(virt_type) {
                Some(path) if self.is_renewed() => {
                    ReadingValue::EmulatorForNewGuests { path: path.clone(), version: None }
                }
                Some(_) | None => ReadingValue::EmulatorForNewGuests {
                    path: "/usr/bin/qemu-system-x86_64".into(),
                    version: None,
                },
            },
            ReadingRequest::Facts => ReadingValue::CannotTell { why: "not simulated".to_owned() },
        };
        let taken_at_ms = self.clock(now_ms);
        Reading { host: self.name.clone(), request: request.clone(), taken_at_ms, value }
    }

    /// What the ledger answers, or `None` after taking the task in.
    pub(crate) fn take(&mut self, task: Task) -> Option<Outcome> {
        if let Some(Some(outcome)) = self.ledger.get(&task.action) {
            return Some(outcome.clone());
        }
        if let Some(known) = self.queue.iter_mut().find(|other| other.action == task.action) {
            known.epoch = task.epoch;
        } else if self.running.as_ref().is_none_or(|running| running.action != task.action) {
            self.queue.push_back(task);
        }
        None
    }

    /// Begins the next task, if the agent is idle: the intent is in the ledger, if that has room.
    pub(crate) fn begin_next(&mut self, now_ms: u64) -> Option<&Task> {
        if self.running.is_some() {
            return None;
        }
        // What waited for its turn while a later coordinator was obeyed is that one's to ask for again.
        self.queue.retain(|task| task.epoch >= self.epoch_seen);
        let task = self.queue.pop_front()?;
        if now_ms >= self.disk_full_until {
            self.ledger.entry(task.action.clone()).or_insert(None);
        }
        self.running = Some(task);
        self.running.as_ref()
    }

    /// Whether the running task's intent is in the ledger.
    pub(crate) fn has_intent(&self) -> bool {
        self.running.as_ref().is_some_and(|task| self.ledger.contains_key(&task.action))
    }

    /// Acts: the world is changed, the ledger does not know it yet.
    pub(crate) fn act(&mut self, fortune: Fortune) -> Option<Outcome> {
        let task = self.running.clone()?;
        Some(match &task.order {
            _ if fortune == Fortune::NoRoom => refused("RP4005", "the ledger cannot be written"),
            Order::Execute(_) if self.was_taken_back(&task.action) => {
                refused("RP4022", "it was taken back already; this command came late")
            }
            Order::Execute(action) => self.execute(&task, action, fortune),
            Order::Undo { of } => self.undo(&task, of, fortune),
        })
    }

    fn was_taken_back(&self, action: &ActionId) -> bool {
        self.taken_back
            .iter()
            .any(|of| (&of.run, &of.step) == (&action.run, &action.step) && of.attempt >= action.attempt)
    }

    /// The outcome is in the ledger, and the agent is idle.
    pub(crate) fn settle(&mut self, outcome: &Outcome, keep: bool) -> Option<ActionId> {
        let task = self.running.take()?;
        if keep {
            if let Order::Undo { of } = &task.order
                && outcome.is_done()
            {
                self.taken_back.insert(of.clone());
            }
            self.ledger.insert(task.action.clone(), Some(outcome.clone()));
        }
        Some(task.action)
    }

    fn execute(&mut self, task: &Task, action: &Action, fortune: Fortune) -> Outcome {
        let what = (task.action.step.clone(), task.action.attempt);
        if self.applied.contains(&what) {
            return done(How::FoundDone);
        }
        match fortune {
            Fortune::Refused | Fortune::NoRoom => refused("RP4001", "the host is not as expected"),
            Fortune::Failed => failed(true),
            Fortune::Well | Fortune::FailedHalfWay => {
                *self.executed.entry(task.action.clone()).or_default() += 1;
                if let Action::LibvirtRestart(restart) = action {
                    self.libvirtd = restart.expect.clone();
                }
                self.applied.push(what);
                if fortune == Fortune::FailedHalfWay { failed(false) } else { done(How::Applied) }
            }
        }
    }

    fn undo(&mut self, task: &Task, of: &ActionId, fortune: Fortune) -> Outcome {
        if !self.ledger.contains_key(of) {
            return done(How::NothingToUndo);
        }
        if of.step.as_str().ends_with(".try-old") {
            return if self.way_back_closed {
                refused("RP4002", "libvirt 9.0.0 cannot read guest vm1")
            } else {
                done(How::NothingToUndo)
            };
        }
        let what = (of.step.clone(), of.attempt);
        let Some(at) = self.applied.iter().position(|applied| *applied == what) else {
            return done(How::NothingToUndo);
        };
        match fortune {
            Fortune::Refused | Fortune::NoRoom => return refused("RP4003", "somebody changed it since"),
            Fortune::Failed | Fortune::FailedHalfWay => return failed(false),
            Fortune::Well => {}
        }
        *self.executed.entry(task.action.clone()).or_default() += 1;
        self.applied.remove(at);
        if of.step.as_str().ends_with(".anchor") {
            self.libvirtd = Version::new(OLD);
        }
        done(How::Undone)
    }

    /// The guests' lives, for a comparison.
    pub(crate) fn lives(&self) -> BTreeSet<Incarnation> {
        self.guests.values().map(|guest| guest.incarnation).collect()
    }
}

fn done(how: How) -> Outcome {
    Outcome::Done { how, took_ms: 1, changes: Vec::new(), findings: Vec::new() }
}

fn refused(code: &str, reason: &str) -> Outcome {
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
