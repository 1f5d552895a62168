//! A simulated host: guests with lives of their own, what actions change, and an agent with a durable ledger.
//!
//! The agent carries commands out by the rules of `replank_agent_core`, as a real one does; this room owns what those rules call
//! ([`hands`](self)) and the world that they change; its guard judges by theirs too, what guests depend on in [`site`](self). What waits on the agent's desk and what it answers to questions is a model.

mod agent;
mod ceph;
mod hands;
mod site;
mod things;

use agent::AtWork;
pub(crate) use agent::{Look, Weather};
pub(crate) use ceph::Seat;
pub(crate) use hands::Fortune;
pub(crate) use site::{Blueprint, KINDS, Site};
pub(crate) use things::Things;

use crate::plans::{NEW, OLD};
use replank_agent_core::ledger::MemoryLedger;
use replank_agent_core::{Command, Ledger};
use replank_common::census::{
    Census, CensusSource, Disagreement, EndCause, Guest, GuestEnd, GuestState, Incarnation,
};
use replank_common::ids::{ActionId, BootId, Epoch, GuestUuid, HostName};
use replank_common::reading::{LibvirtdSeen, Reading, ReadingRequest, ReadingValue};
use replank_common::version::Version;
use replank_core::run::Hello;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use uuid::Uuid;

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
    pub(crate) ledger: MemoryLedger,
    /// The highest epoch that was obeyed, whatever the ledger believes.
    pub(crate) obeyed: Epoch,
    at_work: Option<AtWork>,
    waiting: VecDeque<Command>,
    pub(crate) things: Things,
    pub(crate) site: Site,
    /// How often each action was really carried out.
    executed: BTreeMap<ActionId, u32>,
    /// Actions whose end could not be written down, as often as that happened.
    unrecorded: BTreeMap<ActionId, u32>,
    pub(crate) guests: BTreeMap<GuestUuid, Guest>,
    ended: Vec<GuestEnd>,
    next_pid: u32,
    /// The libvirtd that ran before the passage, and the one that the passage is to.
    pub(crate) began_with: Version,
    aim: Version,
    /// The emulator that new guests get after the passage, by type.
    pub(crate) emulators: BTreeMap<String, PathBuf>,
    /// While set, a guest has a job, or the census does not agree: since when, by the true clock.
    pub(crate) job_since: Option<u64>,
    pub(crate) disagrees_since: Option<u64>,
    /// While the census does not agree: one of its sources does not see the last guest's process.
    pub(crate) hides_a_guest: bool,
    /// Until when nothing passes to the agent, and from it.
    pub(crate) deaf_until: u64,
    pub(crate) mute_until: u64,
    pub(crate) disk_full_until: u64,
}

impl SimHost {
    pub(crate) fn new(name: HostName, number: u128, guests: u128, blueprint: &Blueprint) -> Self {
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
            ledger: MemoryLedger::default(),
            obeyed: Epoch(0),
            at_work: None,
            waiting: VecDeque::new(),
            things: Things::new(),
            site: Site::new(blueprint),
            executed: BTreeMap::new(),
            unrecorded: BTreeMap::new(),
            guests: BTreeMap::new(),
            ended: Vec::new(),
            next_pid: 100,
            began_with: Version::new(OLD),
            aim: Version::new(NEW),
            emulators: BTreeMap::new(),
            job_since: None,
            disagrees_since: None,
            hides_a_guest: false,
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
        self.things.libvirtd == self.aim
    }

    /// The libvirtd that runs, and the one that the passage is to.
    pub(crate) fn is_to_go(&mut self, from: Version, to: Version) {
        self.things.libvirtd = from.clone();
        (self.began_with, self.aim) = (from, to);
    }

    /// The true time as this host tells it.
    pub(crate) fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew_ms).max(1)
    }

    pub(crate) fn start_guest(&mut self, uuid: GuestUuid, state: GuestState) {
        self.next_pid += 1;
        let renewed = self.is_renewed();
        let emulator = self.site.start(uuid, self.next_pid, renewed);
        let version = if renewed { "10.0.2" } else { "7.2.0" };
        let guest = Guest {
            uuid,
            name: site::guest_name(uuid),
            incarnation: Incarnation {
                boot_id: self.boot_id(),
                pid: self.next_pid,
                start_ticks: u64::from(self.next_pid) * 10,
            },
            state,
            emulator,
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
        self.site.forget(uuid);
        if let Some(guest) = self.guests.remove(&uuid)
            && self.agent_up
        {
            let Guest { name, incarnation, .. } = guest;
            self.ended.push(GuestEnd { uuid, name, incarnation, at_ms, cause });
        }
    }

    /// Guests that ended by what became of their host, and why.
    pub(crate) fn those_who_ended(&mut self, now_ms: u64) -> Vec<String> {
        let mut said = Vec::new();
        for (uuid, why) in self.site.take_ended() {
            said.push(format!("{} ({why})", site::guest_name(uuid)));
            self.end_guest(uuid, EndCause::Unattributed { known: why }, now_ms);
        }
        said
    }

    pub(crate) fn hello(&self) -> Hello {
        let unfinished = self.ledger.unfinished().unwrap_or_default();
        Hello {
            boot_id: self.boot_id(),
            agent_start_ms: self.agent_start_ms,
            epoch_seen: self.ledger.epoch().unwrap_or_default(),
            observe_only: false,
            unfinished: unfinished.into_iter().map(|entry| entry.id).collect(),
        }
    }

    /// The agent process dies; its ledger stays.
    pub(crate) fn agent_dies(&mut self) {
        self.agent_up = false;
        self.life += 1;
        self.at_work = None;
        self.waiting.clear();
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
        self.site.loses_power();
        self.boot += 1;
        self.job_since = None;
    }

    pub(crate) fn census(&mut self, now_ms: u64) -> Census {
        self.sequence += 1;
        let mut census = self.looks_around(self.clock(now_ms));
        census.guests = self.guests.clone();
        for disagreement in &census.disagreements {
            // Without its process a guest has no incarnation to be counted by: a census leaves it out.
            if let Disagreement::Missing { guest, .. } = disagreement {
                census.guests.remove(guest);
            }
        }
        census.ended = self.ended.clone();
        census
    }

    /// A census without guests: what the guard of an agent needs of one.
    fn looks_around(&self, clock_ms: u64) -> Census {
        let disagreement = self.disagrees_since.map(|_| {
            let hidden = self.guests.last_key_value().filter(|_| self.hides_a_guest);
            match hidden {
                Some((guest, Guest { name, .. })) => {
                    Disagreement::Missing { guest: *guest, name: name.clone(), source: CensusSource::Proc }
                }
                None => {
                    let why = "libvirtd does not answer".to_owned();
                    Disagreement::Silent { source: CensusSource::LibvirtApi, why }
                }
            }
        });
        Census {
            host: self.name.clone(),
            boot_id: self.boot_id(),
            sequence: self.sequence,
            agent_start_ms: self.agent_start_ms,
            taken_at_ms: clock_ms,
            guests: BTreeMap::new(),
            ended: Vec::new(),
            disagreements: disagreement.into_iter().collect(),
        }
    }

    pub(crate) fn read(
        &mut self,
        request: &ReadingRequest,
        peer_answers: bool,
        ceph: Option<Seat<'_>>,
        now_ms: u64,
    ) -> Reading {
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
                running_version: Some(self.things.libvirtd.clone()),
                installed_version: Some(self.things.libvirtd.clone()),
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
            ReadingRequest::CephDaemons
            | ReadingRequest::CephStop { .. }
            | ReadingRequest::CephSettle { .. }
            | ReadingRequest::CephMap
            | ReadingRequest::CephMons
            | ReadingRequest::CephMds { .. }
            | ReadingRequest::CephGroups
            | ReadingRequest::CephHealth
            | ReadingRequest::CephCluster => match ceph {
                Some(seat) => seat.read(request),
                None => ReadingValue::CannotTell { why: "this host has no Ceph".to_owned() },
            },
        };
        let taken_at_ms = self.clock(now_ms);
        Reading { host: self.name.clone(), request: request.clone(), taken_at_ms, value }
    }

    /// The guests' lives, for a comparison.
    pub(crate) fn lives(&self) -> BTreeSet<Incarnation> {
        self.guests.values().map(|guest| guest.incarnation).collect()
    }
}
