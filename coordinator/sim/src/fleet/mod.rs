//! The fleet under way: hosts, coordinator processes and what is between them, one true clock, one seed.
//!
//! This room owns the state and the queue of what will happen; each of its rooms is one part of what happens. None of them decides
//! anything by itself: whatever goes wrong is drawn from the one source of chance.

mod agents;
mod coordinator;
mod network;
mod store;
mod world;

use crate::fault::Fault;
use crate::host::{Link, SimHost};
use crate::plans::run_id;
use crate::profile::Profile;
use crate::promise::Judge;
use crate::seat::Seat;
use crate::trace::{LAST, Trace};
use crate::watcher::Watcher;
pub(crate) use network::ToAgent;
use network::ToCoordinator;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank_common::ids::{GuestUuid, HostName, RunId};
use replank_core::gate::Gate;
use replank_core::run::{Index, Record};
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
    OldOneWakes {
        seat: u64,
    },
    OldOneSweeps {
        seat: u64,
    },
    Wake {
        seat: u64,
    },
    /// A guest that moves is gone from where it was.
    MoveEnds {
        host: usize,
        guest: GuestUuid,
    },
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
    seats_ever: u64,
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) names: BTreeMap<HostName, usize>,
    pub(crate) index: Arc<Index>,
    run: RunId,
    pub(crate) journal: Vec<Record>,
    hasher: Sha256,
    /// The coordinator processes, by their number.
    seats: BTreeMap<u64, Seat>,
    /// The one that began last, if it is awake and alive.
    pub(crate) leads: Option<u64>,
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
            seats_ever: 0,
            names,
            watcher: Watcher::new(index.clone()),
            index,
            run: run_id(),
            hosts,
            journal: Vec::new(),
            hasher: Sha256::new(),
            seats: BTreeMap::new(),
            leads: None,
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

    /// The coordinator and the agents start; the first to lead creates the run.
    pub(crate) fn begin(&mut self) {
        self.done_by_hand();
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

    pub(super) fn struck(&mut self, fault: Fault) -> bool {
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
            Happening::OldOneWakes { seat } => self.old_one_wakes(seat),
            Happening::OldOneSweeps { seat } => self.old_one_sweeps(seat),
            Happening::Wake { seat } => self.wakes(seat),
            Happening::MoveEnds { host, guest } => self.move_ends(host, guest),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.watcher.end.is_some() && self.leads.is_some()
    }
}
