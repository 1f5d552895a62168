//! All of them, and every input's way to the run that it concerns.

use super::append::Append;
use super::event::{Event, LinkNumber, Progress, What};
use super::held::Held;
use super::linked::{self, Linked, Outlet};
use super::refusal::Refusal;
use crate::run::{Hello, IllegalEvent, Index, Input, Machine, Operate, RunView};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, HostName, RunId};
use replank_common::planted::{self, Planted};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All runs of one coordinator process, in its term of office.
///
/// `now_ms` never goes back between two calls.
#[derive(Debug)]
pub struct Runs {
    epoch: Epoch,
    /// Also those that have finished in this process's life: a run is led once in an epoch, and may be rolled back.
    held: BTreeMap<RunId, Held>,
    /// Of the runs that are not finished.
    on_host: BTreeMap<HostName, RunId>,
    links: BTreeMap<HostName, Linked>,
    latest: Option<RunId>,
}

impl Runs {
    /// None is held yet. `latest` is the one that was created last, held or not.
    pub fn new(epoch: Epoch, latest: Option<RunId>) -> Self {
        let (held, on_host, links) = Default::default();
        Self { epoch, held, on_host, links, latest }
    }

    /// Takes a run over that an earlier coordinator left.
    ///
    /// # Errors
    /// [`IllegalEvent::OldEpoch`] when its journal knows this epoch or a later one.
    pub fn take_over(
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
    ///
    /// # Errors
    /// [`Refusal::Busy`]: another run is under way on some of the hosts.
    pub fn create(&mut self, run: RunId, index: Arc<Index>, by: &str, now_ms: UnixMs) -> Result<(), Refusal> {
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
    ///
    /// # Errors
    /// [`IllegalEvent::OldEpoch`] when its journal knows this epoch or a later one.
    pub fn adopt(&mut self, run: RunId, mut machine: Machine, now_ms: UnixMs) -> Result<(), IllegalEvent> {
        if self.held.contains_key(&run) {
            return Ok(());
        }
        let led = machine.lead(self.epoch, now_ms)?;
        let mut held = Held::new(machine, None);
        held.take(led);
        self.held.insert(run, held);
        Ok(())
    }

    /// The run that was created last.
    pub fn latest(&self) -> Option<&RunId> {
        self.latest.as_ref()
    }

    /// `None`: finished in an earlier life of the coordinator, or unknown.
    pub fn machine(&self, run: &RunId) -> Option<&Machine> {
        self.held.get(run).map(|held| &held.machine)
    }

    /// Finished in this process's life, or taken up again.
    pub fn is_finished(&self, run: &RunId) -> bool {
        self.held.get(run).is_some_and(Held::is_finished)
    }

    /// An operator's wish about a run that is held.
    ///
    /// # Errors
    /// [`Refusal::NoRun`], [`Refusal::Busy`] when a finished run's hosts have another one, [`Refusal::Operator`] with the run's own reason.
    pub fn operate(&mut self, run: &RunId, by: &str, wish: Operate, now_ms: UnixMs) -> Result<(), Refusal> {
        let Some(held) = self.held.get(run) else { return Err(Refusal::NoRun) };
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

    fn are_free<'a>(&'a self, hosts: impl Iterator<Item = &'a HostName>) -> Result<(), Refusal> {
        let mut busy: BTreeMap<&RunId, Vec<&HostName>> = BTreeMap::new();
        for host in hosts {
            if let Some(run) = self.on_host.get(host) {
                busy.entry(run).or_default().push(host);
            }
        }
        match busy.into_iter().next() {
            Some((run, hosts)) => {
                Err(Refusal::Busy { run: run.clone(), hosts: hosts.into_iter().cloned().collect() })
            }
            None => Ok(()),
        }
    }

    /// Gives a run its hosts, and tells it which of them are linked.
    fn settle_in(&mut self, run: RunId, mut held: Held, now_ms: UnixMs) {
        let hosts: Vec<HostName> = held.hosts().cloned().collect();
        for host in hosts {
            let input = match self.links.get_mut(&host) {
                Some(linked) => {
                    linked.forget();
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

    /// Takes in what a host's link brought. What is to be told to those who watch, if anything.
    pub fn event(&mut self, event: Event, now_ms: UnixMs) -> Option<Progress> {
        let Event { host, link, what } = event;
        match what {
            What::Up(hello) => self.up(host, link, hello, now_ms),
            What::Down => self.down(host, link, now_ms),
            What::Census(_)
            | What::Accepted { .. }
            | What::Progress { .. }
            | What::Outcome { .. }
            | What::Reading { .. } => {
                // What came over another link is past.
                if self.is_present(&host, link) {
                    return self.said(host, what, now_ms);
                }
            }
        }
        None
    }

    /// Of the host's present link.
    fn said(&mut self, host: HostName, what: What, now_ms: UnixMs) -> Option<Progress> {
        let of = host.clone();
        match what {
            What::Up(_) | What::Down => {}
            What::Census(census) => {
                self.feed(&of, now_ms, || Input::Census { host, census: *census });
            }
            What::Accepted { action } => {
                self.feed(&of, now_ms, || Input::Accepted { host, action });
            }
            What::Progress { action, permille, text } => {
                let (run, step) = (action.run.clone(), action.step.clone());
                let said = Progress { run, host: of, step, permille, text: text.clone() };
                let fed = self.feed(&said.host, now_ms, || Input::Progress { host, action, permille, text });
                return (fed == Some(&said.run)).then_some(said);
            }
            What::Outcome { action, outcome } => {
                self.feed(&of, now_ms, || Input::Outcome { host, action, outcome });
            }
            What::Reading { ask, reading } => {
                let linked = self.links.get(&host);
                if let Some(reading) = linked.and_then(|linked| linked.answered(ask, *reading)) {
                    self.feed(&of, now_ms, || Input::Reading { host, ask, reading });
                }
            }
        }
        None
    }

    /// A host's link came up.
    fn up(&mut self, host: HostName, number: LinkNumber, hello: Hello, now_ms: UnixMs) {
        if self.links.get(&host).is_some_and(|known| known.number > number) {
            return;
        }
        self.links.insert(host.clone(), Linked::new(number, hello.clone()));
        self.feed(&host.clone(), now_ms, || Input::LinkUp { host, hello });
    }

    /// A host's link went down.
    fn down(&mut self, host: HostName, number: LinkNumber, now_ms: UnixMs) {
        if self.is_present(&host, number) {
            self.links.remove(&host);
            self.feed(&host.clone(), now_ms, || Input::LinkDown { host });
        }
    }

    /// Whether a host still speaks over this link.
    fn is_present(&self, host: &HostName, number: LinkNumber) -> bool {
        let link = self.links.get(host);
        link.is_some_and(|linked| linked.number == number || planted::is(Planted::OldLinksWordCounts))
    }

    /// Gives an input to the run that is on a host, if one is. The run.
    fn feed(&mut self, host: &HostName, now_ms: UnixMs, input: impl FnOnce() -> Input) -> Option<&RunId> {
        let run = self.on_host.get(host)?;
        let held = self.held.get_mut(run)?;
        let decided = held.machine.input(input(), now_ms);
        held.take(decided);
        Some(run)
    }

    /// Tells every run whose time has come that time has passed.
    pub fn tick(&mut self, now_ms: UnixMs) {
        for held in self.held.values_mut().filter(|held| !held.is_finished()) {
            if held.machine.wake_at_ms().is_some_and(|wake_ms| wake_ms <= now_ms) {
                let decided = held.machine.input(Input::Tick, now_ms);
                held.take(decided);
            }
        }
    }

    /// When to tick next.
    pub fn wake_at_ms(&self) -> Option<UnixMs> {
        let active = self.held.values().filter(|held| !held.is_finished());
        active.filter_map(|held| held.machine.wake_at_ms()).min()
    }

    /// Looks at the wants of every host anew.
    pub fn sweep(&mut self) {
        for held in self.held.values_mut().filter(|held| !held.is_finished()) {
            held.sweep = true;
        }
    }

    /// Where every run is that is not finished.
    pub fn views(&self, now_ms: UnixMs) -> Vec<RunView> {
        let active = self.held.values().filter(|held| !held.is_finished());
        active.filter_map(|held| held.machine.view(now_ms)).collect()
    }

    /// What must be durable before anything else happens, handed out once. If it cannot be made durable, these runs are worth nothing any more:
    /// they are ahead of their journals.
    pub fn appends(&mut self) -> Vec<Append> {
        self.held.iter_mut().filter_map(|(run, held)| held.append(run)).collect()
    }

    /// What was appended is durable: confirms it, sends what is wanted now, and lets go of the hosts of runs that have ended.
    ///
    /// # Panics
    /// Something was decided after the last [`Self::appends`].
    pub fn durable(&mut self, outlet: &impl Outlet) {
        for (run, held) in &mut self.held {
            held.confirm();
            if !held.settled {
                held.touched.clear();
                continue;
            }
            if std::mem::take(&mut held.sweep) {
                held.touched.clear();
                let wants = held.machine.wants();
                // Also of the hosts from which nothing is wanted any more.
                let hosts: Vec<HostName> = held.hosts().cloned().collect();
                linked::send(&mut self.links, outlet, wants, hosts.iter());
            } else {
                for host in std::mem::take(&mut held.touched) {
                    let wants = held.machine.wants_of(&host);
                    linked::send(&mut self.links, outlet, wants, std::iter::once(&host));
                }
            }
            if held.is_finished() {
                held.settled = false;
                self.on_host.retain(|_, on| on != run);
            }
        }
    }
}
