//! The simulated fleet: a network that loses, doubles and delays, agents and coordinators that die, one true clock, one seed.

use crate::fault::Fault;
use crate::host::{Fortune, Link, SimHost, Task};
use crate::plans::run_id;
use crate::profile::Profile;
use crate::promise::{Judge, Promise};
use crate::seat::Seat;
use crate::trace::{LAST, Trace};
use crate::watcher::Watcher;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank_common::ids::{ActionId, Epoch, GuestUuid, HostName};
use replank_common::outcome::Outcome;
use replank_common::reading::{Reading, ReadingRequest};
use replank_core::gate::Gate;
use replank_core::plan::{Undo, Work};
use replank_core::run::{
    Command, Decided, End, Event, Index, Input, MAX_READING_AGE_MS, Machine, Operate, OperatorRefusal,
    ReadingWant, Record,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A message or an event of the simulated world.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    ToAgent {
        host: usize,
        message: ToAgent,
    },
    ToCoordinator {
        host: usize,
        link: Link,
        message: ToCoordinator,
    },
    Dial {
        host: usize,
    },
    LinkBreaks {
        host: usize,
        link: Link,
    },
    TaskEnds {
        host: usize,
        life: u64,
    },
    AgentStarts {
        host: usize,
    },
    PowerReturns {
        host: usize,
    },
    CoordinatorStarts,
    StaleWakes,
    Wake {
        seat: u64,
    },
    /// A guest that moves is gone from where it was.
    MoveEnds {
        host: usize,
        guest: GuestUuid,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum ToAgent {
    Do(Box<Command>),
    Read { ask: u64, request: ReadingRequest },
}

#[derive(Debug, Clone)]
pub(crate) enum ToCoordinator {
    Accepted(ActionId),
    Outcome(ActionId, Outcome),
    Reading(u64, Box<Reading>),
    Census(Box<replank_common::census::Census>),
}

/// A watched guest that died, and the run has to tell of it.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) at_ms: u64,
    pub(crate) host: usize,
    pub(crate) guest: GuestUuid,
}

pub(crate) struct Fleet {
    pub(crate) now: u64,
    rng: StdRng,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    pub(crate) events: u64,
    links: u64,
    seats: u64,
    pub(crate) hosts: Vec<SimHost>,
    names: BTreeMap<HostName, usize>,
    /// By host: the highest epoch of which a command was answered or begun, whatever its agent believes.
    obeyed: Vec<Epoch>,
    pub(crate) index: Arc<Index>,
    pub(crate) journal: Vec<Record>,
    hasher: Sha256,
    pub(crate) leader: Option<Seat>,
    stale: Option<Seat>,
    wake_queued: Option<u64>,
    epoch: u64,
    pub(crate) profile: Profile,
    pub(crate) quiet: bool,
    pub(crate) injected: BTreeMap<Fault, u64>,
    pub(crate) watcher: Watcher,
    pub(crate) judge: Judge,
    pub(crate) trace: Trace,
    /// The coordinator dies once the journal has this many records.
    dies_at: Option<usize>,
    pub(crate) store_full_until: u64,
    pub(crate) deaths: Vec<Death>,
    /// By an aborted run's end, or a rollback's that was refused: the hosts not heard of late, for which it does not wait.
    pub(crate) unheard: Vec<(u64, BTreeSet<usize>)>,
    /// Guests that ever were active on two hosts.
    pub(crate) twins: BTreeSet<GuestUuid>,
    pub(crate) next_guest: u128,
}

pub(crate) const START_MS: u64 = 1_000_000_000;
const REDIAL_MS: u64 = 2_000;
/// A link whose other end is silent is given up after about this long.
const SILENCE_MS: u64 = 12_000;

impl Fleet {
    pub(crate) fn new(index: Arc<Index>, guests: u128, profile: Profile, seed: u64) -> Self {
        let plan = index.plan();
        let mut hosts: Vec<SimHost> = plan
            .hosts
            .iter()
            .zip(1..)
            .map(|(host, at)| SimHost::new(host.name.clone(), at, guests))
            .collect();
        let names: BTreeMap<HostName, usize> =
            hosts.iter().enumerate().map(|(at, host)| (host.name.clone(), at)).collect();
        for step in &plan.steps {
            for gate in step.before.iter().chain(&step.after) {
                if let Gate::NewGuestsGet { virt_type, emulator } = gate
                    && let Some(host) = names.get(&step.host)
                {
                    hosts[*host].emulators.insert(virt_type.clone(), emulator.clone());
                }
            }
        }
        Self {
            now: START_MS,
            rng: StdRng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            queued: 0,
            events: 0,
            links: 0,
            seats: 0,
            names,
            obeyed: vec![Epoch(0); hosts.len()],
            watcher: Watcher::new(index.clone()),
            index,
            hosts,
            journal: Vec::new(),
            hasher: Sha256::new(),
            leader: None,
            stale: None,
            wake_queued: None,
            epoch: 0,
            profile,
            quiet: false,
            injected: BTreeMap::new(),
            judge: Judge::default(),
            trace: Trace::of_last(LAST),
            dies_at: None,
            store_full_until: 0,
            deaths: Vec::new(),
            unheard: Vec::new(),
            twins: BTreeSet::new(),
            next_guest: 1 << 100,
        }
    }

    /// The run is created; the coordinator and the agents start.
    pub(crate) fn begin(&mut self) {
        let (_, created) = Machine::create(self.index.clone(), run_id(), "alice", self.now);
        for record in &created.records {
            self.append(record);
        }
        self.at(0, Happening::CoordinatorStarts);
        for host in 0..self.hosts.len() {
            self.dial_soon(host, 10);
        }
    }

    pub(crate) fn at(&mut self, delay_ms: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + delay_ms, self.queued), happening);
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.rng.random_range(0..limit.max(1))
    }

    /// Whether this kind of fault strikes now.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let chance = self.profile.chance(fault);
        !self.quiet && chance > 0 && self.rng.random_range(0..1000) < chance
    }

    pub(crate) fn injected(&mut self, fault: Fault) {
        *self.injected.entry(fault).or_default() += 1;
    }

    fn struck(&mut self, fault: Fault) -> bool {
        let strikes = self.strikes(fault);
        if strikes {
            self.injected(fault);
        }
        strikes
    }

    pub(crate) fn elapsed(&self) -> u64 {
        self.now - START_MS
    }

    pub(crate) fn say(&mut self, who: &str, what: impl Into<String>) {
        self.trace.say(self.now - START_MS, who, what);
    }

    pub(crate) fn say_of(&mut self, host: usize, what: impl Into<String>) {
        self.trace.say(self.now - START_MS, self.hosts[host].name.as_str(), what);
    }

    pub(crate) fn digest(&self) -> String {
        self.hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Lets time pass; stops at a broken promise.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.judge.broken.is_none()
            && let Some((&(at, number), _)) = self.queue.first_key_value()
            && at <= end
        {
            self.now = self.now.max(at);
            self.judge.now_ms = self.elapsed();
            self.events += 1;
            if let Some(happening) = self.queue.remove(&(at, number)) {
                self.happen(happening);
            }
        }
        self.now = end;
        self.judge.now_ms = self.elapsed();
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToAgent { host, message } => self.agent_hears(host, message),
            Happening::ToCoordinator { host, link, message } => self.coordinator_hears(host, link, message),
            Happening::Dial { host } => self.dial(host),
            Happening::LinkBreaks { host, link } => self.link_breaks(host, link),
            Happening::TaskEnds { host, life } => self.task_ends(host, life),
            Happening::AgentStarts { host } => self.agent_starts(host),
            Happening::PowerReturns { host } => {
                self.say_of(host, "has power again");
                self.hosts[host].powered = true;
                self.agent_starts(host);
            }
            Happening::CoordinatorStarts => self.coordinator_starts(),
            Happening::StaleWakes => self.stale_wakes(),
            // A wake that an earlier one has overtaken is none.
            Happening::Wake { .. } if self.wake_queued != Some(self.now) => {}
            Happening::Wake { seat } => {
                self.wake_queued = None;
                if self.leader.as_ref().is_some_and(|leader| leader.number == seat) {
                    self.input(Input::Tick);
                    self.check_wake();
                } else {
                    self.wake_later();
                }
            }
            Happening::MoveEnds { host, guest } => self.move_ends(host, guest),
        }
    }

    fn coordinator_starts(&mut self) {
        if self.leader.is_some() {
            return;
        }
        if self.now < self.store_full_until {
            self.at(1_000, Happening::CoordinatorStarts);
            return;
        }
        self.epoch += 1;
        self.seats += 1;
        let mut skew_ms = 0;
        if self.seats > 1 && self.struck(Fault::CoordinatorClockJumps) {
            skew_ms = i64::try_from(self.below(7_200_000)).unwrap_or(0) - 3_600_000;
        }
        self.say(
            "coordinator",
            format!("starts with epoch {}, its clock is off by {skew_ms} ms", self.epoch),
        );
        let machine = match Machine::replay(self.index.clone(), &self.journal) {
            Ok(machine) => machine,
            Err(illegal) => {
                self.judge.check(Promise::Sound, false, || format!("the journal is refused: {illegal}"));
                return;
            }
        };
        let mut seat = Seat::new(self.seats, self.epoch, machine, skew_ms);
        let led = seat.machine.lead(Epoch(self.epoch), seat.clock(self.now));
        self.leader = Some(seat);
        match led {
            Ok(led) => self.take_in(led),
            Err(illegal) => {
                self.judge.check(Promise::Sound, false, || format!("it cannot lead: {illegal}"));
            }
        }
    }

    /// The process is gone, with all that it knew.
    pub(crate) fn coordinator_dies(&mut self) {
        self.leader = None;
        self.dies_at = None;
        self.say("coordinator", "is dead");
        self.links_lost();
        self.at(500, Happening::CoordinatorStarts);
    }

    fn links_lost(&mut self) {
        for host in 0..self.hosts.len() {
            if self.hosts[host].link.take().is_some() {
                let delay = 100 + self.below(900);
                self.dial_soon(host, delay);
            }
        }
    }

    /// The coordinator will die at one of the next records.
    pub(crate) fn doom_coordinator(&mut self) {
        let records = usize::try_from(1 + self.below(30)).unwrap_or(1);
        self.dies_at = Some(self.journal.len() + records);
    }

    /// The coordinator stops for a while, another one takes over, and the old one wakes up.
    pub(crate) fn depose_coordinator(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        self.say("coordinator", format!("of epoch {} sleeps", leader.epoch));
        self.stale = Some(leader);
        self.links_lost();
        self.at(500, Happening::CoordinatorStarts);
        let wakes = 600 + self.below(20_000);
        self.at(wakes, Happening::StaleWakes);
    }

    /// It repeats whatever it may still want. Its store is not its own any more: the first record that it wants to append ends it.
    fn stale_wakes(&mut self) {
        let Some(mut stale) = self.stale.take() else { return };
        self.say("coordinator", format!("of epoch {} wakes up", stale.epoch));
        let now = stale.clock(self.now);
        for command in stale.machine.wants().commands {
            if let Some(host) = self.names.get(&command.host).copied() {
                self.down(host, ToAgent::Do(Box::new(command)));
            }
        }
        let decided = stale.machine.input(Input::Tick, now);
        if self.epoch > stale.epoch || !decided.records.is_empty() {
            self.say("coordinator", format!("of epoch {} is refused by the store", stale.epoch));
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        let Some(leader) = &mut self.leader else { return };
        let now = leader.clock(self.now);
        let decided = leader.machine.input(input, now);
        self.take_in(decided);
    }

    pub(crate) fn operate(&mut self, command: Operate) -> Result<(), OperatorRefusal> {
        let Some(leader) = &mut self.leader else { return Ok(()) };
        let now = leader.clock(self.now);
        let text = format!("{command:?}");
        let decided = match leader.machine.operate("bob", command, now) {
            Ok(decided) => decided,
            Err(refusal) => {
                self.say("operator", format!("{text}: {refusal}"));
                return Err(refusal);
            }
        };
        self.say("operator", text);
        self.take_in(decided);
        Ok(())
    }

    /// Makes the records durable, unless the coordinator dies in the middle; then sends what is wanted.
    fn take_in(&mut self, decided: Decided) {
        let Decided { records, touched } = decided;
        if !records.is_empty() {
            if self.now < self.store_full_until {
                self.say("coordinator", "cannot write its store");
                self.fold(&records);
                self.coordinator_dies();
                return;
            }
            let early = touched.iter().any(|host| {
                let leader = self.leader.as_ref();
                leader.is_some_and(|leader| !leader.machine.wants_of(host).commands.is_empty())
            });
            self.judge.check(Promise::P4, !early, || "commands before their intent is durable".to_owned());
            if let Some(dies_at) = self.dies_at.filter(|at| *at < self.journal.len() + records.len()) {
                let mut kept = dies_at.saturating_sub(self.journal.len());
                if kept == 0 || !self.struck(Fault::CoordinatorTornTail) {
                    // A batch is durable as a whole or not at all, where the store keeps its word.
                    kept = if self.below(2) == 0 { 0 } else { records.len() };
                }
                self.injected(Fault::CoordinatorKilled);
                self.fold(&records);
                for record in &records[..kept] {
                    self.append(record);
                }
                self.coordinator_dies();
                return;
            }
            for record in &records {
                self.append(record);
            }
        }
        let Some(leader) = &mut self.leader else { return };
        leader.machine.confirm(leader.machine.state().last_seq());
        let mut commands = Vec::new();
        let mut readings = Vec::new();
        for host in &touched {
            let (of_host, asked) = leader.unsent(host);
            commands.extend(of_host);
            readings.extend(asked);
        }
        self.wake_later();
        for command in commands {
            self.send_command(command);
        }
        for want in readings {
            self.send_reading(want);
        }
    }

    /// What is durable and what is not yet fold into the state of the process.
    pub(crate) fn fold(&mut self, unsynced: &[Record]) {
        let Some(leader) = &self.leader else { return };
        let folded = Machine::replay(self.index.clone(), self.journal.iter().chain(unsynced));
        let same = folded.as_ref().is_ok_and(|folded| folded.state() == leader.machine.state());
        self.judge.check(Promise::Fold, same, || match folded {
            Ok(_) => "the fold of the journal is another state than the live one".to_owned(),
            Err(illegal) => format!("the journal does not fold: {illegal}"),
        });
    }

    /// A machine that has just looked at everything that was due has nothing due.
    fn check_wake(&mut self) {
        let Some(leader) = &self.leader else { return };
        let (wake_ms, now) = (leader.machine.wake_at_ms(), leader.clock(self.now));
        self.judge.check(Promise::Quiet, wake_ms.is_none_or(|wake_ms| wake_ms > now), || {
            format!("it is {now}, and the run wants to be woken at {wake_ms:?}: it would never sleep")
        });
    }

    fn wake_later(&mut self) {
        let Some(leader) = &self.leader else { return };
        let Some(wake_ms) = leader.machine.wake_at_ms() else { return };
        let (seat, delay) = (leader.number, wake_ms.saturating_sub(leader.clock(self.now)).max(1));
        let at = self.now + delay;
        if self.wake_queued.is_none_or(|queued| queued > at || queued < self.now) {
            self.wake_queued = Some(at);
            self.at(delay, Happening::Wake { seat });
        }
    }

    fn append(&mut self, record: &Record) {
        let line = serde_json::to_vec(record).unwrap_or_default();
        // What is written is what is read back; in a large fleet, of some.
        if self.hosts.len() < 200 || record.seq.is_multiple_of(16) {
            let back: Option<Record> = serde_json::from_slice(&line).ok();
            self.judge.check(Promise::Sound, back.as_ref() == Some(record), || {
                format!("record {} is not read back as it was written", record.seq)
            });
        }
        self.hasher.update(&line);
        self.hasher.update(b"\n");
        self.trace.record(self.now - START_MS, record);
        self.against_the_world(record);
        self.watcher.read(record, self.now, &mut self.judge);
        self.journal.push(record.clone());
    }

    /// What the record says, compared with the world itself.
    fn against_the_world(&mut self, record: &Record) {
        let now = self.now;
        match &record.event {
            Event::Sent { step: id, .. } => {
                let index = self.index.clone();
                let Some(step) = self.watcher.step(index.plan(), id) else { return };
                let host = &self.hosts[self.names[&step.host]];
                // No gate before was red for longer than a reading may be old and late.
                let red = |since: Option<u64>| since.is_some_and(|at| now - at > MAX_READING_AGE_MS + 10_000);
                let disagrees = red(host.disagrees_since);
                let jobs = step.before.contains(&Gate::NoGuestJobs)
                    && step.work != Work::Observe
                    && red(host.job_since);
                self.judge.check(Promise::P6, !disagrees, || {
                    format!("{id} sent over a census that does not agree")
                });
                self.judge.check(Promise::P6, !jobs, || format!("{id} sent over a guest's job"));
            }
            Event::StepDone { step: id } => {
                let index = self.index.clone();
                let Some(step) = self.watcher.step(index.plan(), id) else { return };
                let host = &self.hosts[self.names[&step.host]];
                for gate in &step.after {
                    if let Gate::LibvirtdIs { version } = gate {
                        self.judge.check(Promise::P6, host.libvirtd == *version, || {
                            format!("{id} is done and libvirtd is {}", host.libvirtd)
                        });
                    }
                }
            }
            Event::GuestLost { host, guest, incarnation, .. } => {
                let host = &self.hosts[self.names[host]];
                let lives = host.guests.get(guest).is_some_and(|guest| guest.incarnation == *incarnation);
                self.judge.check(Promise::P1, !lives, || format!("{guest} is told lost and lives"));
            }
            Event::HostRebooted { host, boot_id, .. } => {
                let host = &self.hosts[self.names[host]];
                let first = *boot_id == host.first_boot_id();
                self.judge.check(Promise::P1, !first, || format!("{} did not reboot", host.name));
            }
            Event::Finished { end: End::Aborted } | Event::RollbackRefused { .. } => {
                let unheard = self
                    .hosts
                    .iter()
                    .enumerate()
                    .filter(|(_, host)| host.link.is_none() || now - host.linked_since < 60_000);
                self.unheard.push((now, unheard.map(|(at, _)| at).collect()));
            }
            Event::GuestTwice { guest, .. } => {
                let was = self.twins.contains(guest);
                self.judge.check(Promise::P2, was, || format!("{guest} is told twice and never was"));
            }
            _ => {}
        }
    }

    fn send_command(&mut self, command: Command) {
        let action = &command.action;
        self.judge.check(Promise::P1, !self.watcher.halted, || format!("{action} leaves while halted"));
        let durable = self.watcher.intents.contains(action);
        self.judge.check(Promise::P4, durable, || format!("{action} leaves without a durable intent"));
        let host = self.names[&command.host];
        self.down(host, ToAgent::Do(Box::new(command)));
    }

    fn send_reading(&mut self, want: ReadingWant) {
        let host = self.names[&want.host];
        self.down(host, ToAgent::Read { ask: want.ask, request: want.request });
    }

    /// How often and how late a message arrives.
    fn arrivals(&mut self) -> Vec<u64> {
        if self.struck(Fault::MessageLost) {
            return Vec::new();
        }
        let copies = if self.struck(Fault::MessageDoubled) { 2 } else { 1 };
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let late = if self.struck(Fault::MessageLate) { self.below(8_000) } else { 0 };
            let overtaken = if self.struck(Fault::MessageReordered) { self.below(300) } else { 0 };
            arrivals.push(5 + self.below(20) + late + overtaken);
        }
        arrivals
    }

    fn down(&mut self, host: usize, message: ToAgent) {
        if self.now < self.hosts[host].deaf_until {
            return;
        }
        for delay in self.arrivals() {
            self.at(delay, Happening::ToAgent { host, message: message.clone() });
        }
    }

    fn up(&mut self, host: usize, message: ToCoordinator) {
        let Some(link) = self.hosts[host].link else { return };
        if self.now < self.hosts[host].mute_until {
            return;
        }
        for delay in self.arrivals() {
            self.at(delay, Happening::ToCoordinator { host, link, message: message.clone() });
        }
    }

    pub(crate) fn dial_soon(&mut self, host: usize, delay_ms: u64) {
        if !std::mem::replace(&mut self.hosts[host].dialling, true) {
            self.at(delay_ms, Happening::Dial { host });
        }
    }

    fn dial(&mut self, host: usize) {
        self.hosts[host].dialling = false;
        let at = &self.hosts[host];
        if at.link.is_some() || !at.agent_up {
            return;
        }
        let cut = self.now < at.deaf_until || self.now < at.mute_until;
        let name = at.name.clone();
        let Some(leader) = self.leader.as_mut().filter(|_| !cut) else {
            self.dial_soon(host, REDIAL_MS);
            return;
        };
        self.links += 1;
        let link = Link { seat: leader.number, number: self.links };
        leader.linked(&name);
        self.hosts[host].link = Some(link);
        self.hosts[host].linked_since = self.now;
        let hello = self.hosts[host].hello();
        self.input(Input::LinkUp { host: name, hello });
        if self.struck(Fault::LinkBroken) {
            let life = self.below(20_000);
            self.at(life, Happening::LinkBreaks { host, link });
        }
        self.push_census(host);
    }

    pub(crate) fn link_breaks(&mut self, host: usize, link: Link) {
        if self.hosts[host].link != Some(link) {
            return;
        }
        self.hosts[host].link = None;
        self.dial_soon(host, 100);
        let name = self.hosts[host].name.clone();
        self.input(Input::LinkDown { host: name });
    }

    pub(crate) fn cut(&mut self, host: usize) {
        if let Some(link) = self.hosts[host].link {
            self.link_breaks(host, link);
        }
    }

    /// Both ends give a silent link up after a while.
    pub(crate) fn silence(&mut self, host: usize) {
        if let Some(link) = self.hosts[host].link {
            let delay = SILENCE_MS + self.below(8_000);
            self.at(delay, Happening::LinkBreaks { host, link });
        }
    }

    pub(crate) fn push_census(&mut self, host: usize) {
        if self.hosts[host].agent_up && self.hosts[host].link.is_some() {
            let census = self.hosts[host].census(self.now);
            self.up(host, ToCoordinator::Census(Box::new(census)));
        }
    }

    fn agent_hears(&mut self, host: usize, message: ToAgent) {
        if !self.hosts[host].agent_up {
            return;
        }
        match message {
            ToAgent::Do(command) => {
                if command.epoch < self.hosts[host].epoch_seen {
                    self.say_of(host, format!("refuses {} of epoch {}", command.action, command.epoch));
                    return;
                }
                self.hosts[host].epoch_seen = command.epoch;
                let Command { action, order, epoch, .. } = *command;
                let obeyed = self.obeyed[host];
                self.obeyed[host] = epoch.max(obeyed);
                self.judge.check(Promise::P9, epoch >= obeyed, || {
                    format!("{action} of epoch {epoch} taken, after epoch {obeyed} was obeyed")
                });
                match self.hosts[host].take(Task { action: action.clone(), order, epoch }) {
                    Some(outcome) => self.up(host, ToCoordinator::Outcome(action, outcome)),
                    None => {
                        self.up(host, ToCoordinator::Accepted(action));
                        self.begin_task(host);
                    }
                }
            }
            ToAgent::Read { ask, request } => {
                let peer_answers = match &request {
                    ReadingRequest::LibvirtTcp { peer, .. } => {
                        let peer = self.names.get(peer).map(|peer| &self.hosts[*peer]);
                        peer.is_some_and(|peer| peer.powered && peer.is_renewed())
                    }
                    _ => true,
                };
                let reading = self.hosts[host].read(&request, peer_answers, self.now);
                self.up(host, ToCoordinator::Reading(ask, Box::new(reading)));
            }
        }
    }

    fn coordinator_hears(&mut self, host: usize, link: Link, message: ToCoordinator) {
        if self.leader.as_ref().is_none_or(|leader| leader.number != link.seat) {
            return;
        }
        // What an older link still carried arrives too, sometimes.
        if self.hosts[host].link != Some(link) && !self.strikes(Fault::MessageLate) {
            return;
        }
        let name = self.hosts[host].name.clone();
        self.input(match message {
            ToCoordinator::Accepted(action) => Input::Accepted { host: name, action },
            ToCoordinator::Outcome(action, outcome) => Input::Outcome { host: name, action, outcome },
            ToCoordinator::Reading(ask, reading) => Input::Reading { host: name, ask, reading: *reading },
            ToCoordinator::Census(census) => Input::Census { host: name, census: *census },
        });
    }

    fn begin_task(&mut self, host: usize) {
        let now = self.now;
        let Some(task) = self.hosts[host].begin_next(now) else { return };
        let (text, epoch) = (format!("begins {}", task.action), task.epoch);
        let obeyed = self.obeyed[host];
        self.obeyed[host] = epoch.max(obeyed);
        self.judge.check(Promise::P9, epoch >= obeyed, || {
            format!("{text} of epoch {epoch}, after epoch {obeyed} was obeyed")
        });
        self.say_of(host, text);
        let mut takes = 300 + self.below(2_500);
        if self.struck(Fault::ActionSlow) {
            takes += self.below(60_000);
        }
        let life = self.hosts[host].life;
        self.at(takes, Happening::TaskEnds { host, life });
    }

    fn fortune(&mut self, host: usize) -> Fortune {
        if !self.hosts[host].has_intent() {
            self.injected(Fault::LedgerDiskFull);
            Fortune::NoRoom
        } else if self.struck(Fault::ActionRefused) {
            Fortune::Refused
        } else if self.struck(Fault::ActionFailed) {
            Fortune::Failed
        } else if self.struck(Fault::ActionFailedHalfWay) {
            Fortune::FailedHalfWay
        } else {
            Fortune::Well
        }
    }

    fn task_ends(&mut self, host: usize, life: u64) {
        if !self.hosts[host].agent_up || self.hosts[host].life != life {
            return;
        }
        let Some(task) = self.hosts[host].running.clone() else { return };
        if self.struck(Fault::AgentKilledBeforeAct) {
            self.agent_dies(host);
            return;
        }
        let fortune = self.fortune(host);
        let lives = self.hosts[host].lives();
        let acted: u32 = self.hosts[host].executed.get(&task.action).copied().unwrap_or(0);
        let Some(outcome) = self.hosts[host].act(fortune) else { return };
        let at = &self.hosts[host];
        let times = at.executed.get(&task.action).copied().unwrap_or(0);
        let intent = at.has_intent() || times == acted;
        let all_live = lives == at.lives();
        let name = at.name.clone();
        let action = &task.action;
        self.judge.check(Promise::P3, all_live, || format!("{action} ended a guest of {name}"));
        self.judge
            .check(Promise::P4, intent, || format!("{action} acted without an intent in {name}'s ledger"));
        self.judge.check(Promise::P5, times <= 1, || format!("{action} was carried out {times} times"));
        if self.struck(Fault::AgentKilledAfterAct) {
            self.agent_dies(host);
            return;
        }
        let keep = fortune != Fortune::NoRoom;
        let Some(action) = self.hosts[host].settle(&outcome, keep) else { return };
        self.say_of(host, format!("ends {action}: {}", if outcome.is_done() { "done" } else { "not done" }));
        if self.struck(Fault::AgentKilledAfterLedger) {
            self.agent_dies(host);
            return;
        }
        if !self.struck(Fault::ActionWithoutReply) {
            self.up(host, ToCoordinator::Outcome(action, outcome));
        }
        self.push_census(host);
        self.begin_task(host);
    }

    pub(crate) fn agent_dies(&mut self, host: usize) {
        self.say_of(host, "its agent dies");
        self.hosts[host].agent_dies();
        self.cut(host);
        let down = 200 + self.below(3_000);
        self.at(down, Happening::AgentStarts { host });
    }

    fn agent_starts(&mut self, host: usize) {
        if !self.hosts[host].agent_up && self.hosts[host].powered {
            self.hosts[host].agent_starts(self.now);
            self.say_of(host, "its agent starts");
            self.dial_soon(host, 50);
        }
    }

    /// P7: nothing borrowed is left on a host; after a whole rollback, nothing at all.
    pub(crate) fn check_given_back(&mut self, taken_back: bool) {
        let index = self.index.clone();
        for host in &self.hosts {
            for (id, attempt) in &host.applied {
                let Some(step) = self.watcher.step(index.plan(), id) else { continue };
                let left = match step.undo {
                    Undo::Borrowed => true,
                    Undo::Record => taken_back,
                    Undo::Nothing | Undo::Guard | Undo::NoWayBack { .. } => false,
                };
                self.judge.check(Promise::P7, !left, || format!("{id}/{attempt} is not given back"));
            }
            if taken_back {
                self.judge.check(Promise::P7, !host.is_renewed(), || {
                    format!("{} still has the new libvirtd", host.name)
                });
            }
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.watcher.end.is_some() && self.leader.is_some()
    }
}
