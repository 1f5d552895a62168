//! A calm voyage: hosts that are linked, answer at once and never fail, so that a real journal of any length is written by the real runs.
//!
//! Owns no rule of a run: [`Runs`] decides, this answers. For weather there is the simulation.

use anyhow::{Result, anyhow, bail};
use replank_common::census::Census;
use replank_common::ids::{Epoch, HostName, RunId};
use replank_common::outcome::{Change, How, Outcome};
use replank_common::reading::{LibvirtdSeen, Reading, ReadingRequest, ReadingValue};
use replank_common::version::Version;
use replank_core::gate::Gate;
use replank_core::inventory::Inventory;
use replank_core::run::{Command, Hello, Index, Operate, ReadingWant};
use replank_core::runs::{Append, Event, LinkNumber, Outlet, Runs, What};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// The clock at the beginning.
const BEGIN_MS: u64 = 1_790_000_000_000;
/// What the runs take in before it is made durable, as the drive does.
const BATCH: usize = 512;
const LINK: LinkNumber = LinkNumber(1);

/// The id of the run that is under way.
pub fn run_id() -> RunId {
    RunId::new(format!("run-{:032x}", 7)).expect("a prefix and 32 digits")
}

/// Sails until the share `permille` of all steps is done. `append` is given what must be durable, in order.
///
/// # Errors
/// `append`'s, or the run stands still, or an operator's wish is refused.
pub fn sail(
    index: &Arc<Index>,
    inventory: &Inventory,
    permille: usize,
    mut append: impl FnMut(Vec<Append>) -> Result<()>,
) -> Result<()> {
    let run = run_id();
    let hosts = Hosts::new(index, inventory);
    let mut now_ms = BEGIN_MS;
    let mut runs = Runs::new(Epoch(1), None);
    runs.create(run.clone(), index.clone(), "alice", now_ms).map_err(|refusal| anyhow!("{refusal:?}"))?;
    let sea = Sea::default();
    for facts in inventory.hosts.values() {
        let hello = Hello {
            boot_id: facts.boot_id,
            agent_start_ms: 1,
            epoch_seen: Epoch(1),
            observe_only: false,
            unfinished: Vec::new(),
        };
        sea.comes(&facts.host, What::Up(hello));
        sea.comes(&facts.host, What::Census(Box::new(hosts.census(&facts.host, now_ms)?)));
    }
    loop {
        let appends = runs.appends();
        if !appends.is_empty() {
            append(appends)?;
        }
        runs.durable(&sea);
        let machine = runs.machine(&run).ok_or_else(|| anyhow!("the run is not held"))?;
        let (done, total) = (machine.state().steps_done(), machine.state().steps_total());
        if done * 1_000 >= total * permille || machine.state().finished().is_some() {
            return Ok(());
        }
        now_ms += 1;
        for sent in sea.answers(BATCH) {
            let host = sent.host().clone();
            let what = match sent {
                Sent::Command(command) => hosts.outcome(&command),
                Sent::Question(want) => hosts.reading(&want, now_ms)?,
            };
            sea.comes(&host, what);
        }
        let events = sea.arrivals();
        let idle = events.is_empty();
        for event in events {
            // Nobody watches what agents say in between.
            drop(runs.event(event, now_ms));
        }
        if idle {
            now_ms = now_ms.max(runs.wake_at_ms().unwrap_or(now_ms));
            runs.tick(now_ms);
            approve(&mut runs, &run, now_ms)?;
            if now_ms > BEGIN_MS + 30 * 86_400_000 {
                let view = runs.machine(&run).and_then(|machine| machine.view(now_ms));
                bail!("the voyage stands still: {}", view.map(|view| view.why()).unwrap_or_default());
            }
        }
    }
}

/// Approves every hold that is reached.
fn approve(runs: &mut Runs, run: &RunId, now_ms: u64) -> Result<()> {
    let Some(machine) = runs.machine(run) else { return Ok(()) };
    let holds: Vec<_> = machine
        .index()
        .plan()
        .holds
        .iter()
        .map(|hold| &hold.id)
        .filter(|id| {
            let state = machine.state().hold(id);
            state.is_some_and(|state| state.reached_ms.is_some() && state.approved.is_none())
        })
        .cloned()
        .collect();
    for hold in holds {
        let wish = Operate::Approve { hold };
        runs.operate(run, "alice", wish, now_ms).map_err(|refusal| anyhow!("{refusal:?}"))?;
    }
    Ok(())
}

enum Sent {
    Command(Command),
    Question(ReadingWant),
}

impl Sent {
    fn host(&self) -> &HostName {
        match self {
            Self::Command(command) => &command.host,
            Self::Question(want) => &want.host,
        }
    }
}

/// What is on its way, in both directions.
#[derive(Default)]
struct Sea {
    down: RefCell<VecDeque<Sent>>,
    up: RefCell<VecDeque<Event>>,
}

impl Sea {
    fn comes(&self, host: &HostName, what: What) {
        self.up.borrow_mut().push_back(Event { host: host.clone(), link: LINK, what });
    }

    fn arrivals(&self) -> Vec<Event> {
        let mut up = self.up.borrow_mut();
        let count = up.len().min(BATCH);
        up.drain(..count).collect()
    }

    fn answers(&self, limit: usize) -> Vec<Sent> {
        let mut down = self.down.borrow_mut();
        let count = down.len().min(limit);
        down.drain(..count).collect()
    }
}

impl Outlet for Sea {
    fn command(&self, _: LinkNumber, command: &Command) {
        self.down.borrow_mut().push_back(Sent::Command(command.clone()));
    }

    fn question(&self, _: LinkNumber, want: &ReadingWant) {
        self.down.borrow_mut().push_back(Sent::Question(want.clone()));
    }
}

/// What each host answers: what its plan expects of it.
struct Hosts<'a> {
    inventory: &'a Inventory,
    libvirtd: BTreeMap<&'a HostName, &'a Version>,
    emulators: BTreeMap<(&'a HostName, &'a str), &'a PathBuf>,
}

impl<'a> Hosts<'a> {
    fn new(index: &'a Index, inventory: &'a Inventory) -> Self {
        let mut hosts = Self { inventory, libvirtd: BTreeMap::new(), emulators: BTreeMap::new() };
        for step in &index.plan().steps {
            for gate in step.before.iter().chain(&step.after) {
                match gate {
                    Gate::LibvirtdIs { version } => {
                        hosts.libvirtd.insert(&step.host, version);
                    }
                    Gate::NewGuestsGet { virt_type, emulator } => {
                        hosts.emulators.insert((&step.host, virt_type), emulator);
                    }
                    Gate::CensusHolds
                    | Gate::NoGuestJobs
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
                    | Gate::Required { .. } => {}
                }
            }
        }
        hosts
    }

    fn census(&self, host: &HostName, now_ms: u64) -> Result<Census> {
        let facts = self.inventory.hosts.get(host).ok_or_else(|| anyhow!("{host} is not in the fleet"))?;
        let census = Census {
            sequence: now_ms,
            agent_start_ms: 1,
            taken_at_ms: now_ms,
            ended: Vec::new(),
            disagreements: Vec::new(),
            ..facts.census.clone()
        };
        Ok(census)
    }

    fn outcome(&self, command: &Command) -> What {
        let change = Change {
            what: format!("what {} is for", command.action.step),
            before: "as it was".to_owned(),
            after: "as it is planned".to_owned(),
        };
        let outcome =
            Outcome::Done { how: How::Applied, took_ms: 1_870, changes: vec![change], findings: Vec::new() };
        What::Outcome { action: command.action.clone(), outcome }
    }

    fn reading(&self, want: &ReadingWant, now_ms: u64) -> Result<What> {
        let value = match &want.request {
            ReadingRequest::Census => ReadingValue::Census(self.census(&want.host, now_ms)?),
            ReadingRequest::GuestJobs => ReadingValue::GuestJobs(Vec::new()),
            ReadingRequest::Libvirtd => {
                let version = self.libvirtd.get(&want.host).copied().cloned();
                ReadingValue::Libvirtd(LibvirtdSeen {
                    active_state: "active".to_owned(),
                    pid: Some(900),
                    start_ticks: Some(7_000),
                    running_version: version.clone(),
                    installed_version: version,
                })
            }
            ReadingRequest::EmulatorForNewGuests { virt_type } => {
                match self.emulators.get(&(&want.host, virt_type.as_str())) {
                    Some(path) => ReadingValue::EmulatorForNewGuests { path: (*path).clone(), version: None },
                    None => ReadingValue::CannotTell { why: "the plan does not say".to_owned() },
                }
            }
            ReadingRequest::LibvirtTcp { .. } => {
                ReadingValue::LibvirtTcp { answered: true, detail: "authentication is asked for".to_owned() }
            }
            ReadingRequest::Facts => ReadingValue::CannotTell { why: "no gate asks for facts".to_owned() },
            ReadingRequest::CephDaemons
            | ReadingRequest::CephStop { .. }
            | ReadingRequest::CephSettle { .. }
            | ReadingRequest::CephMap
            | ReadingRequest::CephMons
            | ReadingRequest::CephMds { .. }
            | ReadingRequest::CephGroups
            | ReadingRequest::CephHealth
            | ReadingRequest::CephCluster => ReadingValue::CannotTell { why: "no host has Ceph".to_owned() },
        };
        let reading =
            Reading { host: want.host.clone(), request: want.request.clone(), taken_at_ms: now_ms, value };
        Ok(What::Reading { ask: want.ask, reading: Box::new(reading) })
    }
}
