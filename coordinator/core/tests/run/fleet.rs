//! The simulated fleet: a network that loses, doubles and delays, agents and a coordinator that die, one clock, one seed.

use crate::host::{Fortune, SimHost, Task};
use crate::plans::{self, Shape};
use crate::watcher::Watcher;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank_common::ids::{ActionId, Epoch};
use replank_common::outcome::Outcome;
use replank_common::reading::{Reading, ReadingRequest};
use replank_core::gate::Gate;
use replank_core::plan::{Undo, Work};
use replank_core::run::{
    Command, Decided, Event, Index, Input, MAX_READING_AGE_MS, Machine, Operate, OperatorRefusal,
    ReadingWant, Record,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A message or an event of the simulated world.
#[derive(Debug, Clone)]
enum Happening {
    ToAgent { host: usize, message: ToAgent },
    ToCoordinator { host: usize, link: u64, message: ToCoordinator },
    Dial { host: usize },
    LinkBreaks { host: usize, link: u64 },
    TaskEnds { host: usize, life: u64 },
    AgentStarts { host: usize },
    CoordinatorStarts,
    Wake,
    Beat,
}

#[derive(Debug, Clone)]
enum ToAgent {
    Do(Box<Command>),
    Read { ask: u64, request: ReadingRequest },
}

#[derive(Debug, Clone)]
enum ToCoordinator {
    Accepted(ActionId),
    Outcome(ActionId, Outcome),
    Reading(u64, Box<Reading>),
    Census(Box<replank_common::census::Census>),
}

/// Chances in 1000.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub lost: u32,
    pub doubled: u32,
    pub late: u32,
    pub agent_dies: u32,
    pub link_breaks: u32,
    pub coordinator_dies: u32,
    pub refused: u32,
    pub failed: u32,
}

pub struct Fleet {
    pub now: u64,
    rng: StdRng,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    links: u64,
    pub hosts: Vec<SimHost>,
    pub index: Arc<Index>,
    pub journal: Vec<Record>,
    pub machine: Option<Machine>,
    epoch: u64,
    sent: Vec<BTreeSet<String>>,
    pub faults: Faults,
    pub watcher: Watcher,
    /// The coordinator dies once the journal has this many records.
    pub dies_at: Option<usize>,
    pub commands: usize,
    /// What agents take long to measure.
    pub measuring_ms: BTreeMap<ReadingRequest, u64>,
}

const START_MS: u64 = 1_000_000;

impl Fleet {
    pub fn new(shape: Shape, guests: u128, seed: u64) -> Self {
        Self::sailing(plans::index(shape), shape, guests, seed)
    }

    /// With a plan that is one of the shape but for its gates.
    pub fn sailing(index: Arc<Index>, shape: Shape, guests: u128, seed: u64) -> Self {
        let hosts = (0..shape.hosts)
            .map(|host| SimHost::new(plans::host_name(host), host as u128 + 1, guests))
            .collect();
        let mut fleet = Self {
            now: START_MS,
            rng: StdRng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            queued: 0,
            links: 0,
            hosts,
            index,
            journal: Vec::new(),
            machine: None,
            epoch: 0,
            sent: vec![BTreeSet::new(); shape.hosts],
            faults: Faults::default(),
            watcher: Watcher::default(),
            dies_at: None,
            commands: 0,
            measuring_ms: BTreeMap::new(),
        };
        let (_, created) = Machine::create(fleet.index.clone(), plans::run_id(), "alice", fleet.now);
        fleet.append(&created.records);
        fleet.at(0, Happening::CoordinatorStarts);
        for host in 0..shape.hosts {
            fleet.at(10, Happening::Dial { host });
        }
        fleet.at(5_000, Happening::Beat);
        fleet
    }

    fn at(&mut self, delay_ms: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + delay_ms, self.queued), happening);
    }

    pub fn chance(&mut self, in_thousand: u32) -> bool {
        in_thousand > 0 && self.rng.random_range(0..1000) < in_thousand
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.rng.random_range(0..limit)
    }

    /// Lets time pass until `done` or `limit_ms` from now; whether `done`.
    pub fn run_until(&mut self, limit_ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit_ms;
        while !done(self) {
            let Some((&(at, number), _)) = self.queue.first_key_value() else { return false };
            if at > end {
                self.now = end;
                return done(self);
            }
            self.now = self.now.max(at);
            let happening = self.queue.remove(&(at, number)).unwrap();
            self.happen(happening);
        }
        true
    }

    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        self.run_until(ms, |_| false);
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToAgent { host, message } => self.agent_hears(host, message),
            Happening::ToCoordinator { host, link, message } => self.coordinator_hears(host, link, message),
            Happening::Dial { host } => self.dial(host),
            Happening::LinkBreaks { host, link } => {
                if self.hosts[host].link == Some(link) {
                    self.hosts[host].link = None;
                    let name = self.hosts[host].name.clone();
                    self.input(Input::LinkDown { host: name });
                }
            }
            Happening::TaskEnds { host, life } => self.task_ends(host, life),
            Happening::AgentStarts { host } => {
                if !self.hosts[host].agent_up {
                    self.hosts[host].agent_starts(self.now);
                }
            }
            Happening::CoordinatorStarts => self.coordinator_starts(),
            Happening::Wake => self.input(Input::Tick),
            Happening::Beat => {
                for host in 0..self.hosts.len() {
                    self.push_census(host);
                    self.at(1, Happening::Dial { host });
                }
                self.at(5_000, Happening::Beat);
            }
        }
    }

    fn coordinator_starts(&mut self) {
        if self.machine.is_some() {
            return;
        }
        self.epoch += 1;
        let mut machine = Machine::replay(self.index.clone(), &self.journal).unwrap();
        let led = machine.lead(Epoch(self.epoch), self.now).unwrap();
        self.machine = Some(machine);
        self.take_in(led);
    }

    pub fn coordinator_dies(&mut self) {
        self.machine = None;
        for host in 0..self.hosts.len() {
            self.hosts[host].link = None;
            self.sent[host].clear();
        }
        self.at(500, Happening::CoordinatorStarts);
    }

    pub fn input(&mut self, input: Input) {
        let now = self.now;
        if let Some(machine) = &mut self.machine {
            let decided = machine.input(input, now);
            self.take_in(decided);
        }
    }

    pub fn operate(&mut self, command: Operate) -> Result<(), OperatorRefusal> {
        let now = self.now;
        if let Some(machine) = &mut self.machine {
            let decided = machine.operate("bob", command, now)?;
            self.take_in(decided);
        }
        Ok(())
    }

    /// Makes the records durable, unless the coordinator dies in the middle; then sends what is wanted.
    fn take_in(&mut self, decided: Decided) {
        let death = self.chance(self.faults.coordinator_dies).then(|| {
            let kept = self.rng.random_range(0..=decided.records.len());
            self.journal.len() + kept
        });
        let dies_at = self.dies_at.or(death);
        for record in &decided.records {
            if dies_at == Some(self.journal.len()) {
                break;
            }
            self.append(std::slice::from_ref(record));
        }
        if dies_at == Some(self.journal.len()) {
            self.dies_at = None;
            self.coordinator_dies();
            return;
        }
        let Some(machine) = &mut self.machine else { return };
        if !decided.records.is_empty() {
            assert_eq!(machine.wants().commands, Vec::new(), "commands before their intent is durable");
        }
        machine.confirm(machine.state().last_seq());
        let wants = machine.wants();
        for name in &decided.touched {
            let of_host = machine.wants_of(name);
            let all = wants.commands.iter().filter(|command| command.host == *name);
            assert!(all.eq(&of_host.commands));
        }
        if let Some(at_ms) = wants.wake_at_ms {
            self.at(at_ms.saturating_sub(self.now).max(1), Happening::Wake);
        }
        for command in wants.commands {
            self.send_command(command);
        }
        for want in wants.readings {
            self.send_reading(want);
        }
    }

    fn append(&mut self, records: &[Record]) {
        for record in records {
            // What is written is what is read back.
            let line = serde_json::to_string(record).unwrap();
            let back: Record = serde_json::from_str(&line).unwrap();
            assert_eq!(back, *record);
            self.check_gates(record);
            self.watcher.read(self.index.plan(), record);
            self.journal.push(back);
        }
    }

    /// P6 against the world itself: no gate before was red for longer than a reading may be old.
    fn check_gates(&self, record: &Record) {
        let Event::Sent { step: id, .. } = &record.event else { return };
        let step = self.index.plan().steps.iter().find(|step| step.id == *id).unwrap();
        let host = self.hosts.iter().find(|host| host.name == step.host).unwrap();
        let red = |since: Option<u64>| since.is_some_and(|at| self.now - at > MAX_READING_AGE_MS + 5_000);
        assert!(!red(host.disagrees_since), "{id} sent over a census that does not agree");
        let jobs = step.before.contains(&Gate::NoGuestJobs) && *step.work != Work::Observe;
        assert!(!(jobs && red(host.job_since)), "{id} sent over a guest's job");
    }

    fn send_command(&mut self, command: Command) {
        assert!(!self.watcher.halted, "{} leaves while halted", command.action);
        let host = self.place(&command.host.to_string());
        if self.sent[host].insert(format!("{}#{}", command.action, command.asking)) {
            self.commands += 1;
            self.down(host, ToAgent::Do(Box::new(command)));
        }
    }

    fn send_reading(&mut self, want: ReadingWant) {
        let host = self.place(want.host.as_str());
        if self.sent[host].insert(format!("ask {}", want.ask)) {
            self.down(host, ToAgent::Read { ask: want.ask, request: want.request });
        }
    }

    fn place(&self, name: &str) -> usize {
        self.hosts.iter().position(|host| host.name.as_str() == name).unwrap()
    }

    /// How often and how late a message arrives.
    fn arrivals(&mut self) -> Vec<u64> {
        if self.chance(self.faults.lost) {
            return Vec::new();
        }
        let copies = if self.chance(self.faults.doubled) { 2 } else { 1 };
        (0..copies)
            .map(|_| {
                let late = if self.chance(self.faults.late) { self.below(8_000) } else { 0 };
                5 + self.below(20) + late
            })
            .collect()
    }

    fn down(&mut self, host: usize, message: ToAgent) {
        for delay in self.arrivals() {
            self.at(delay, Happening::ToAgent { host, message: message.clone() });
        }
    }

    fn up(&mut self, host: usize, message: ToCoordinator) {
        self.up_after(0, host, message);
    }

    fn up_after(&mut self, ms: u64, host: usize, message: ToCoordinator) {
        let Some(link) = self.hosts[host].link else { return };
        for delay in self.arrivals() {
            self.at(ms + delay, Happening::ToCoordinator { host, link, message: message.clone() });
        }
    }

    fn dial(&mut self, host: usize) {
        if self.hosts[host].link.is_some() || !self.hosts[host].agent_up || self.machine.is_none() {
            return;
        }
        self.links += 1;
        self.hosts[host].link = Some(self.links);
        self.sent[host].clear();
        let hello = self.hosts[host].hello();
        self.input(Input::LinkUp { host: self.hosts[host].name.clone(), hello });
        if self.chance(self.faults.link_breaks) {
            let (link, life) = (self.links, self.below(20_000));
            self.at(life, Happening::LinkBreaks { host, link });
        }
        self.push_census(host);
    }

    pub fn cut(&mut self, host: usize) {
        if let Some(link) = self.hosts[host].link {
            self.happen(Happening::LinkBreaks { host, link });
        }
    }

    pub fn push_census(&mut self, host: usize) {
        if self.hosts[host].agent_up {
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
                    return;
                }
                self.hosts[host].epoch_seen = command.epoch;
                let task = Task { action: command.action.clone(), order: command.order.clone() };
                match self.hosts[host].take(task) {
                    Some(outcome) => self.up(host, ToCoordinator::Outcome(command.action, outcome)),
                    None => {
                        self.up(host, ToCoordinator::Accepted(command.action));
                        self.begin(host);
                    }
                }
            }
            ToAgent::Read { ask, request } => {
                let peer_answers = match &request {
                    ReadingRequest::LibvirtTcp { peer, .. } => {
                        self.hosts[self.place(peer.as_str())].libvirtd_new
                    }
                    _ => true,
                };
                let now = self.now;
                let reading = self.hosts[host].read(&request, peer_answers, now);
                let takes_ms = self.measuring_ms.get(&request).copied().unwrap_or(0);
                self.up_after(takes_ms, host, ToCoordinator::Reading(ask, Box::new(reading)));
            }
        }
    }

    fn coordinator_hears(&mut self, host: usize, link: u64, message: ToCoordinator) {
        // What an older link still carried arrives too, sometimes.
        if self.hosts[host].link != Some(link) && !self.chance(self.faults.late) {
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

    fn begin(&mut self, host: usize) {
        if self.hosts[host].begin_next().is_some() {
            let life = self.hosts[host].agent_start_ms;
            let takes = 200 + self.below(2_000);
            self.at(takes, Happening::TaskEnds { host, life });
        }
    }

    fn task_ends(&mut self, host: usize, life: u64) {
        if !self.hosts[host].agent_up || self.hosts[host].agent_start_ms != life {
            return;
        }
        if self.chance(self.faults.agent_dies) {
            self.agent_dies(host);
            return;
        }
        let fortune = self.fortune();
        match self.hosts[host].end_running(fortune) {
            Some((action, outcome)) => self.up(host, ToCoordinator::Outcome(action, outcome)),
            None if fortune == Fortune::DiesAfterwards => {
                self.agent_dies(host);
                return;
            }
            None => {}
        }
        self.push_census(host);
        self.begin(host);
    }

    fn fortune(&mut self) -> Fortune {
        if self.chance(self.faults.refused) {
            Fortune::Refused
        } else if self.chance(self.faults.failed) {
            if self.below(2) == 0 { Fortune::FailedRestored } else { Fortune::FailedHalfWay }
        } else if self.chance(self.faults.agent_dies) {
            Fortune::DiesAfterwards
        } else {
            Fortune::Well
        }
    }

    pub fn agent_dies(&mut self, host: usize) {
        let link = self.hosts[host].link;
        self.hosts[host].agent_dies();
        if let Some(link) = link {
            self.hosts[host].link = Some(link);
            self.happen(Happening::LinkBreaks { host, link });
        }
        let down = 200 + self.below(3_000);
        self.at(down, Happening::AgentStarts { host });
    }

    pub fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("the coordinator is up")
    }

    pub fn finished(&self) -> bool {
        self.watcher.end.is_some() && self.machine.is_some()
    }

    /// Steps that are changed on the host and have an undo.
    pub fn changed(&self, host: usize) -> Vec<String> {
        let plan = self.index.plan();
        let undoable = |id: &replank_common::ids::StepId| {
            let step = plan.steps.iter().find(|step| step.id == *id).unwrap();
            matches!(step.undo, Undo::Record | Undo::Borrowed)
        };
        let applied = self.hosts[host].applied.iter().filter(|(step, _)| undoable(step));
        applied.map(|(step, attempt)| format!("{step}/{attempt}")).collect()
    }

    /// P7: nothing borrowed is left on a host.
    pub fn check_given_back(&self) {
        let plan = self.index.plan();
        for host in &self.hosts {
            for (step, attempt) in &host.applied {
                let undo = &plan.steps.iter().find(|other| other.id == *step).unwrap().undo;
                assert_ne!(*undo, Undo::Borrowed, "{step}/{attempt} is not given back");
            }
        }
    }

    /// P5: no action was carried out twice.
    pub fn check_done_once(&self) {
        for host in &self.hosts {
            for (action, times) in &host.executed {
                assert_eq!(*times, 1, "{action} was carried out {times} times");
            }
        }
    }

    /// The fold of the journal is the state that the machine has.
    pub fn check_fold(&self) {
        let folded = Machine::replay(self.index.clone(), &self.journal).unwrap();
        assert_eq!(folded.state(), self.machine().state());
    }
}
