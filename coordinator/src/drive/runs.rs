//! The runs in the drive's hands, which hosts they are on, and what was sent on which link. Everything here is of this process alone; what
//! must survive is in the journals.

use super::error::{Refused, names};
use crate::links::{self, LinkNumber};
use crate::store::{Append, Standing};
use replank_common::UnixMs;
use replank_common::ids::{ActionId, Epoch, HostName, PlanId, RunId};
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use replank_core::run::{
    Decided, Hello, IllegalEvent, Index, Input, Machine, Operate, Record, RunView, Wants,
};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One run.
#[derive(Debug)]
struct Held {
    machine: Machine,
    /// The plan, until the first records of a new run are durable.
    begins: Option<PlanId>,
    /// Decided, and not durable yet.
    out: Vec<Record>,
    /// Hosts whose wants may have changed.
    touched: BTreeSet<HostName>,
    /// The wants of every host may have changed.
    sweep: bool,
    /// Its hosts are given to it.
    settled: bool,
}

impl Held {
    fn new(machine: Machine, begins: Option<PlanId>) -> Self {
        Self { machine, begins, out: Vec::new(), touched: BTreeSet::new(), sweep: false, settled: false }
    }

    fn take(&mut self, decided: Decided) {
        self.out.extend(decided.records);
        self.touched.extend(decided.touched);
    }

    fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.machine.index().plan().hosts.iter().map(|host| &host.name)
    }

    fn is_finished(&self) -> bool {
        self.machine.state().finished().is_some()
    }

    fn standing(&self) -> Standing {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let state = self.machine.state();
        Standing {
            finished: self.is_finished(),
            phase: self.machine.phase().as_str().to_owned(),
            steps_done: count(state.steps_done()),
            steps_total: count(state.steps_total()),
        }
    }
}

/// A host's present link, and what went out on it.
#[derive(Debug)]
struct Linked {
    number: LinkNumber,
    hello: Hello,
    command: Option<(ActionId, u64)>,
    /// The questions that are open there.
    asked: BTreeMap<u64, ReadingRequest>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    epoch: Epoch,
    /// Also those that have finished in this process's life: a run is led once in an epoch, and may be rolled back.
    held: BTreeMap<RunId, Held>,
    /// Of the runs that are not finished.
    on_host: BTreeMap<HostName, RunId>,
    links: BTreeMap<HostName, Linked>,
    latest: Option<RunId>,
}

impl Runs {
    pub(super) fn new(epoch: Epoch, latest: Option<RunId>) -> Self {
        Self { epoch, latest, ..Self::default() }
    }

    /// Takes a run over that an earlier coordinator left.
    pub(super) fn take_over(
        &mut self,
        run: RunId,
        mut machine: Machine,
        now_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let led = machine.lead(self.epoch, now_ms)?;
        let mut held = Held::new(machine, None);
        held.take(led);
        self.settle_in(run, held, now_ms);
        Ok(())
    }

    /// Begins a new run.
    pub(super) fn create(
        &mut self,
        run: RunId,
        index: Arc<Index>,
        by: &str,
        now_ms: UnixMs,
    ) -> Result<(), Refused> {
        self.are_free(index.plan().hosts.iter().map(|host| &host.name))?;
        let plan = index.id().clone();
        let (mut machine, created) = Machine::create(index, run.clone(), by, now_ms);
        let led = machine.lead(self.epoch, now_ms).expect("a new journal knows no epoch");
        let mut held = Held::new(machine, Some(plan));
        held.take(created);
        held.take(led);
        self.latest = Some(run.clone());
        self.settle_in(run, held, now_ms);
        Ok(())
    }

    /// Takes a finished run up again. It is led from here on, and finished until an operator's wish says otherwise.
    pub(super) fn adopt(
        &mut self,
        run: RunId,
        mut machine: Machine,
        now_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        if self.held.contains_key(&run) {
            return Ok(());
        }
        let led = machine.lead(self.epoch, now_ms)?;
        let mut held = Held::new(machine, None);
        held.take(led);
        self.held.insert(run, held);
        Ok(())
    }

    pub(super) fn latest(&self) -> Option<&RunId> {
        self.latest.as_ref()
    }

    pub(super) fn machine(&self, run: &RunId) -> Option<&Machine> {
        self.held.get(run).map(|held| &held.machine)
    }

    /// Finished in this process's life, or taken up again.
    pub(super) fn is_finished(&self, run: &RunId) -> bool {
        self.held.get(run).is_some_and(Held::is_finished)
    }

    /// An operator's wish about a run that is held.
    pub(super) fn operate(
        &mut self,
        run: &RunId,
        by: &str,
        wish: Operate,
        now_ms: UnixMs,
    ) -> Result<(), Refused> {
        let Some(held) = self.held.get(run) else { return Err(Refused::NoRun) };
        let was_finished = held.is_finished();
        if was_finished {
            self.are_free(held.hosts())?;
        }
        let held = self.held.get_mut(run).expect("it was there above");
        let decided = held.machine.operate(by, wish, now_ms)?;
        held.take(decided);
        held.sweep = true;
        if was_finished && !held.is_finished() {
            // It has seen nothing since it finished.
            let held = self.held.remove(run).expect("it was there above");
            self.settle_in(run.clone(), held, now_ms);
        }
        Ok(())
    }

    fn are_free<'a>(&'a self, hosts: impl Iterator<Item = &'a HostName>) -> Result<(), Refused> {
        let mut busy: BTreeMap<&RunId, Vec<&HostName>> = BTreeMap::new();
        for host in hosts {
            if let Some(run) = self.on_host.get(host) {
                busy.entry(run).or_default().push(host);
            }
        }
        match busy.into_iter().next() {
            Some((run, hosts)) => Err(Refused::Busy { run: run.clone(), hosts: names(hosts) }),
            None => Ok(()),
        }
    }

    /// Gives a run its hosts, and tells it which of them are linked.
    fn settle_in(&mut self, run: RunId, mut held: Held, now_ms: UnixMs) {
        let hosts: Vec<HostName> = held.hosts().cloned().collect();
        for host in hosts {
            let input = match self.links.get_mut(&host) {
                Some(linked) => {
                    linked.command = None;
                    linked.asked.clear();
                    Input::LinkUp { host: host.clone(), hello: linked.hello.clone() }
                }
                None => Input::LinkDown { host: host.clone() },
            };
            let decided = held.machine.input(input, now_ms);
            held.take(decided);
            self.on_host.insert(host, run.clone());
        }
        held.sweep = true;
        held.settled = true;
        self.held.insert(run, held);
    }

    /// A host's link came up.
    pub(super) fn up(&mut self, host: HostName, number: LinkNumber, hello: Hello, now_ms: UnixMs) {
        if self.links.get(&host).is_some_and(|known| known.number > number) {
            return;
        }
        let linked = Linked { number, hello: hello.clone(), command: None, asked: BTreeMap::new() };
        self.links.insert(host.clone(), linked);
        self.feed(&host.clone(), now_ms, || Input::LinkUp { host, hello });
    }

    /// A host's link went down.
    pub(super) fn down(&mut self, host: HostName, number: LinkNumber, now_ms: UnixMs) {
        if self.is_present(&host, number) {
            self.links.remove(&host);
            self.feed(&host.clone(), now_ms, || Input::LinkDown { host });
        }
    }

    /// Whether a host still speaks over this link. What came over another is past.
    pub(super) fn is_present(&self, host: &HostName, number: LinkNumber) -> bool {
        self.links.get(host).is_some_and(|linked| linked.number == number)
    }

    /// The answer as it was asked for; `None`: nobody asks that there. An agent that does not understand a question cannot repeat it, and
    /// says only that it cannot tell.
    pub(super) fn answered(&self, host: &HostName, ask: u64, mut reading: Reading) -> Option<Reading> {
        let request = self.links.get(host)?.asked.get(&ask)?;
        if let ReadingValue::CannotTell { .. } = reading.value {
            reading.request = request.clone();
        }
        Some(reading)
    }

    /// Gives an input to the run that is on a host, if one is. The run.
    pub(super) fn feed(
        &mut self,
        host: &HostName,
        now_ms: UnixMs,
        input: impl FnOnce() -> Input,
    ) -> Option<&RunId> {
        let run = self.on_host.get(host)?;
        let held = self.held.get_mut(run)?;
        let decided = held.machine.input(input(), now_ms);
        held.take(decided);
        Some(run)
    }

    /// Tells every run whose time has come that time has passed.
    pub(super) fn tick(&mut self, now_ms: UnixMs) {
        for held in self.held.values_mut().filter(|held| !held.is_finished()) {
            if held.machine.wake_at_ms().is_some_and(|wake_ms| wake_ms <= now_ms) {
                let decided = held.machine.input(Input::Tick, now_ms);
                held.take(decided);
            }
        }
    }

    /// When to tick next.
    pub(super) fn wake_at_ms(&self) -> Option<UnixMs> {
        let active = self.held.values().filter(|held| !held.is_finished());
        active.filter_map(|held| held.machine.wake_at_ms()).min()
    }

    /// Looks at the wants of every host anew.
    pub(super) fn sweep(&mut self) {
        for held in self.held.values_mut().filter(|held| !held.is_finished()) {
            held.sweep = true;
        }
    }

    pub(super) fn views(&self, now_ms: UnixMs) -> Vec<RunView> {
        let active = self.held.values().filter(|held| !held.is_finished());
        active.filter_map(|held| held.machine.view(now_ms)).collect()
    }

    /// What must be durable before anything else happens.
    pub(super) fn appends(&mut self) -> Vec<Append> {
        let mut appends = Vec::new();
        for (run, held) in &mut self.held {
            if !held.out.is_empty() {
                appends.push(Append {
                    run: run.clone(),
                    begins: held.begins.take(),
                    standing: held.standing(),
                    records: std::mem::take(&mut held.out),
                });
            }
        }
        appends
    }

    /// What was appended is durable: confirms it, sends what is wanted now, and lets go of the hosts of runs that have ended.
    pub(super) fn durable(&mut self, links: &links::Handle) {
        for (run, held) in &mut self.held {
            held.machine.confirm(held.machine.state().last_seq());
            if !held.settled {
                held.touched.clear();
                continue;
            }
            if std::mem::take(&mut held.sweep) {
                held.touched.clear();
                let wants = held.machine.wants();
                // Also of the hosts from which nothing is wanted any more.
                let hosts: Vec<HostName> = held.hosts().cloned().collect();
                send(&mut self.links, links, wants, hosts.iter());
            } else {
                for host in std::mem::take(&mut held.touched) {
                    let wants = held.machine.wants_of(&host);
                    send(&mut self.links, links, wants, std::iter::once(&host));
                }
            }
            if held.is_finished() {
                held.settled = false;
                self.on_host.retain(|_, on| on != run);
            }
        }
    }
}

/// Sends each want once on the host's link, and forgets what is not wanted any more.
fn send<'a>(
    linked: &mut BTreeMap<HostName, Linked>,
    links: &links::Handle,
    wants: Wants,
    hosts: impl Iterator<Item = &'a HostName>,
) {
    let wanted: BTreeSet<(&HostName, u64)> =
        wants.readings.iter().map(|want| (&want.host, want.ask)).collect();
    for host in hosts {
        if let Some(linked) = linked.get_mut(host) {
            linked.asked.retain(|ask, _| wanted.contains(&(host, *ask)));
        }
    }
    for command in &wants.commands {
        let Some(linked) = linked.get_mut(&command.host) else { continue };
        let this = (command.action.clone(), command.asking);
        if linked.command.as_ref() != Some(&this) {
            links.command(linked.number, command);
            linked.command = Some(this);
        }
    }
    for want in &wants.readings {
        let Some(linked) = linked.get_mut(&want.host) else { continue };
        if let Entry::Vacant(asked) = linked.asked.entry(want.ask) {
            asked.insert(want.request.clone());
            links.question(linked.number, want);
        }
    }
}
