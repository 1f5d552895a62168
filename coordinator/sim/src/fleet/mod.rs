//! The fleet under way: hosts, coordinator processes and what is between them, one true clock, one seed.
//!
//! This room owns the state and the queue of what will happen; each of its rooms is one part of what happens. None of them decides
//! anything by itself: whatever goes wrong is drawn from the one source of chance.

mod agents;
mod coordinator;
mod network;
mod store;
mod world;

use crate::ceph::{Cluster, Layout};
use crate::fault::Fault;
use crate::host::{Blueprint, Link, SimHost};
use crate::plans::run_id;
use crate::profile::Profile;
use crate::promise::Judge;
use crate::seat::Seat;
use crate::told::{Told, What};
use crate::trace::{LAST, Trace};
use crate::watcher::Watcher;
pub(crate) use network::ToAgent;
use network::ToCoordinator;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank_ceph::seen::Look;
use replank_common::action::Action;
use replank_common::ids::{ActionId, GuestUuid, HostName, RunId};
use replank_common::reading::ReadingRequest;
use replank_common::version::Version;
use replank_core::gate::Gate;
use replank_core::plan::{Plan, PlannedHost, Work};
use replank_core::run::{Index, Record};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How a plan is sailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// So many guests on each host; actions take seconds.
    Quickly { guests_per_host: u32 },
    /// The guests that the plan counted; actions take about as long as the plan expects.
    AsPlanned,
}

impl Manner {
    fn guests_of(self, host: &PlannedHost) -> u128 {
        u128::from(match self {
            Self::Quickly { guests_per_host } => guests_per_host,
            Self::AsPlanned => host.guests,
        })
    }
}

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
    /// An agent looks a second time at OSDs that settle.
    LooksAgain {
        host: usize,
        life: u64,
        ask: u64,
        request: ReadingRequest,
        look: Box<Look>,
    },
    /// A guest that moves is gone from where it was.
    MoveEnds {
        host: usize,
        guest: GuestUuid,
    },
}

/// By host: the libvirtd that it begins with, and the one that it goes to. A host without a restart has the new one already.
fn libvirts(plan: &Plan) -> Vec<(Version, Version)> {
    let restarts: BTreeMap<&HostName, &Version> = plan
        .steps
        .iter()
        .filter_map(|step| match &*step.work {
            Work::Act(Action::LibvirtRestart(restart)) => Some((&step.host, &restart.expect)),
            Work::Act(_) | Work::GiveBack(_) | Work::Observe => None,
        })
        .collect();
    let gates = plan.steps.iter().flat_map(|step| &step.after).find_map(|gate| match gate {
        Gate::LibvirtdIs { version } => Some(version),
        Gate::CensusHolds
        | Gate::NoGuestJobs
        | Gate::NewGuestsGet { .. }
        | Gate::LibvirtTcpAnswers { .. }
        | Gate::OsdsMayStop { .. }
        | Gate::OsdsSettled { .. }
        | Gate::MonsInQuorum { .. }
        | Gate::MdsMayStop { .. }
        | Gate::MdsBack { .. }
        | Gate::CephDaemonsAre { .. }
        | Gate::CephHealthKnown { .. }
        | Gate::NoScrub { .. }
        | Gate::EveryOsdIs { .. }
        | Gate::Required { .. } => None,
    });
    let new = gates.cloned().unwrap_or_else(|| Version::new("new"));
    // The plan says in words only what was there before.
    let of_host = |host: &PlannedHost| match restarts.get(&host.name) {
        Some(to) => (Version::new("old"), (*to).clone()),
        None => (new.clone(), new.clone()),
    };
    plan.hosts.iter().map(of_host).collect()
}

impl Happening {
    fn host(&self) -> Option<usize> {
        match self {
            Self::ToAgent { host, .. }
            | Self::ToCoordinator { host, .. }
            | Self::Dial { host }
            | Self::LinkBreaks { host, .. }
            | Self::TaskEnds { host, .. }
            | Self::AgentStarts { host }
            | Self::PowerReturns { host }
            | Self::LooksAgain { host, .. }
            | Self::MoveEnds { host, .. } => Some(*host),
            Self::CoordinatorStarts
            | Self::OldOneWakes { .. }
            | Self::OldOneSweeps { .. }
            | Self::Wake { .. } => None,
        }
    }
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
    /// Chance of what guests use and packages bring, apart so that it moves nothing else of a voyage.
    aside: StdRng,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    pub(crate) events: u64,
    links: u64,
    seats_ever: u64,
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) names: BTreeMap<HostName, usize>,
    pub(crate) index: Arc<Index>,
    pub(crate) run: RunId,
    pub(crate) journal: Vec<Record>,
    hasher: Sha256,
    /// The coordinator processes, by their number.
    seats: BTreeMap<u64, Seat>,
    /// The one that began last, if it is awake and alive.
    pub(crate) leads: Option<u64>,
    epoch: u64,
    pub(crate) profile: Profile,
    manner: Manner,
    pub(crate) quiet: bool,
    pub(crate) injected: BTreeMap<Fault, u64>,
    pub(crate) watcher: Watcher,
    pub(crate) judge: Judge,
    pub(crate) trace: Trace,
    /// `None`: nobody wants to hear of it.
    pub(crate) told: Option<Vec<Told>>,
    /// The host that the present event is about.
    about: Option<usize>,
    /// The coordinator dies once the journal has this many records.
    dies_at: Option<usize>,
    pub(crate) store_full_until: u64,
    pub(crate) deaths: Vec<Death>,
    /// By an aborted run's end, or a rollback's that was refused: the hosts not heard of late, for which it does not wait.
    pub(crate) unheard: Vec<(u64, BTreeSet<usize>)>,
    /// By host: when the last outcome of a command, or the end of a step, came into the journal.
    known_since: BTreeMap<HostName, u64>,
    /// Guests that ever were active on two hosts.
    pub(crate) twins: BTreeSet<GuestUuid>,
    pub(crate) next_guest: u128,
    /// The machines of the cluster are the fleet's first hosts, in their order.
    pub(crate) ceph: Option<Cluster>,
}

/// What every clock shows when a voyage begins, in milliseconds since 1970.
pub const START_MS: u64 = 1_000_000_000;

impl Fleet {
    pub(crate) fn new(index: Arc<Index>, manner: Manner, profile: Profile, seed: u64) -> Self {
        let plan = index.plan();
        let blueprint = Blueprint::new();
        let mut hosts: Vec<SimHost> = plan
            .hosts
            .iter()
            .zip(1..)
            .map(|(host, at)| SimHost::new(host.name.clone(), at, manner.guests_of(host), &blueprint))
            .collect();
        let names: BTreeMap<HostName, usize> =
            hosts.iter().enumerate().map(|(at, host)| (host.name.clone(), at)).collect();
        if manner == Manner::AsPlanned {
            for (host, (from, to)) in hosts.iter_mut().zip(libvirts(plan)) {
                host.is_to_go(from, to);
            }
        }
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
            aside: StdRng::seed_from_u64(seed ^ 0x6a4d_5e8f),
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
            told: None,
            about: None,
            manner,
            dies_at: None,
            store_full_until: 0,
            deaths: Vec::new(),
            unheard: Vec::new(),
            known_since: BTreeMap::new(),
            twins: BTreeSet::new(),
            next_guest: 1 << 100,
            ceph: None,
        }
    }

    /// With a cluster on these hosts.
    pub(crate) fn with_cluster(mut self, layout: Layout, seed: u64) -> Self {
        self.ceph = Some(Cluster::new(layout, seed, self.now));
        self
    }

    /// The cluster as it is now.
    pub(crate) fn cluster(&mut self) -> Option<&mut Cluster> {
        let cluster = self.ceph.as_mut()?;
        cluster.pass(self.now);
        Some(cluster)
    }

    /// In the quiet phase an operator does what is his: what can run runs, and what never will is out of the map. Nothing that was written is
    /// lost by us.
    pub(crate) fn look_after_the_cluster(&mut self) {
        let now = self.now;
        if let Some(cluster) = &mut self.ceph {
            cluster.pass(now);
            cluster.is_cared_for();
            cluster.check_writes(&mut self.judge);
        }
    }

    /// The coordinator and the agents start; the first to lead creates the run.
    pub(crate) fn begin(&mut self) {
        self.done_by_hand();
        self.offered_before();
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

    /// Of the chance that is apart.
    pub(crate) fn aside_below(&mut self, limit: u64) -> u64 {
        self.aside.random_range(0..limit.max(1))
    }

    /// Whether this kind of fault strikes now, by the chance that is apart.
    pub(crate) fn strikes_aside(&mut self, fault: Fault) -> bool {
        let chance = self.profile.chance(fault);
        !self.quiet && chance > 0 && self.aside.random_range(0..1000) < chance
    }

    /// Whether this kind of fault strikes now.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let chance = self.profile.chance(fault);
        !self.quiet && chance > 0 && self.rng.random_range(0..1000) < chance
    }

    pub(crate) fn injected(&mut self, fault: Fault) {
        *self.injected.entry(fault).or_default() += 1;
        let host = self.about.filter(|_| fault.is_of_a_host()).map(|host| self.hosts[host].name.clone());
        self.tell(host, || What::Fault(fault));
    }

    pub(crate) fn tell(&mut self, host: Option<HostName>, what: impl FnOnce() -> What) {
        let at_ms = self.elapsed();
        if let Some(told) = &mut self.told {
            told.push(Told { at_ms, host, what: what() });
        }
    }

    /// What follows is about this host.
    pub(crate) fn about(&mut self, host: usize) {
        self.about = Some(host);
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
        self.about = happening.host();
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
                if let Some(cluster) = self.cluster() {
                    cluster.machine_returns(host);
                }
                self.agent_starts(host);
            }
            Happening::CoordinatorStarts => self.coordinator_starts(),
            Happening::OldOneWakes { seat } => self.old_one_wakes(seat),
            Happening::OldOneSweeps { seat } => self.old_one_sweeps(seat),
            Happening::Wake { seat } => self.wakes(seat),
            Happening::LooksAgain { host, life, ask, request, look } => {
                self.looks_again(host, life, ask, &request, *look);
            }
            Happening::MoveEnds { host, guest } => self.move_ends(host, guest),
        }
    }

    /// How long an action takes.
    fn takes(&mut self, action: &ActionId) -> u64 {
        let index = self.index.clone();
        let step = match self.manner {
            Manner::Quickly { .. } => None,
            Manner::AsPlanned => self.watcher.step(index.plan(), &action.step),
        };
        let (expected_ms, deadline_ms) = step.map_or((0, 0), |step| (step.expected_ms, step.deadline_ms));
        let mut takes = match step {
            None => 300 + self.below(2_500),
            // Half of it to one and a half.
            Some(_) => expected_ms / 2 + self.below(expected_ms) + 1,
        };
        if self.struck(Fault::ActionSlow) {
            takes += self.below(60_000.max(2 * deadline_ms));
        }
        takes
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.watcher.end.is_some() && self.leads.is_some()
    }
}
