//! The machine: takes in what happened, decides what follows, says what is wanted. No clock, no effects.

mod block;
mod intake;
mod operator;
mod questions;
mod seen;
mod settle;
mod twice;
mod wants;

pub use block::Block;
pub use operator::{Operate, OperatorRefusal};
pub use seen::{
    MAX_READING_AGE_MS, READING_DEADLINE_MS, RECHECK_MS, max_reading_age_ms, reading_deadline_ms,
};
pub use wants::{Command, Order, ReadingWant, Wants};

use super::event::{Event, JOURNAL_FORMAT, Record};
use super::index::Index;
use super::state::{IllegalEvent, State};
use replank_common::UnixMs;
use replank_common::census::{Census, GuestEnd};
use replank_common::ids::{ActionId, BootId, Epoch, GuestUuid, HostName, RunId};
use replank_common::outcome::Outcome;
use replank_common::reading::Reading;
use seen::HostSeen;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The facts of a new link that matter to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub boot_id: BootId,
    /// Tells one life of the agent from another, and orders censuses together with their sequence.
    pub agent_start_ms: UnixMs,
    /// The highest epoch that the agent has obeyed.
    pub epoch_seen: Epoch,
    pub observe_only: bool,
    /// Actions that its ledger holds an intent of and no outcome.
    pub unfinished: Vec<ActionId>,
}

/// Something that happened outside. Lost, doubled, late and reordered ones are all harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    LinkUp {
        host: HostName,
        hello: Hello,
    },
    LinkDown {
        host: HostName,
    },
    /// Pushed by the agent after a change.
    Census {
        host: HostName,
        census: Census,
    },
    /// One end, told before the census that shows it.
    GuestEnded {
        host: HostName,
        agent_start_ms: UnixMs,
        end: GuestEnd,
    },
    /// The answer to the [`ReadingWant`] with this number.
    Reading {
        host: HostName,
        ask: u64,
        reading: Reading,
    },
    Accepted {
        host: HostName,
        action: ActionId,
    },
    Progress {
        host: HostName,
        action: ActionId,
        permille: Option<u32>,
        text: String,
    },
    Outcome {
        host: HostName,
        action: ActionId,
        outcome: Outcome,
    },
    /// Time passed.
    Tick,
}

/// What an input led to.
#[must_use = "the records must be durable before anything is sent"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// To be appended and synced, in this order, all or a prefix.
    pub records: Vec<Record>,
    /// Hosts whose wants may have changed.
    pub touched: Vec<HostName>,
}

/// One run of one plan, driven by inputs.
///
/// `now_ms` never goes back between two calls on one machine: the shell counts it on from one reading of the clock with a
/// monotonic one.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) state: State,
    pub(super) seen: Vec<HostSeen>,
    /// This process leads the run, and no agent has obeyed a later coordinator.
    leads: bool,
    led_ms: UnixMs,
    deposed_by: Option<Epoch>,
    /// The last record that is durable.
    confirmed: u64,
    now_ms: UnixMs,
    next_ask: u64,
    /// Hosts to decide about.
    dirty: BTreeSet<usize>,
    /// Holds whose needs may have become met.
    dirty_holds: BTreeSet<usize>,
    touched: BTreeSet<usize>,
    /// Hosts with something to do that waits for the whole run: a stop, a held step, a baseline, a host that cannot be seen, a double.
    parked: BTreeSet<usize>,
    /// Hosts whose gates are being asked.
    asking: BTreeSet<usize>,
    /// How often it has decided about a host.
    looks: u64,
    timers: BTreeSet<(UnixMs, usize)>,
    /// Hosts with open questions.
    asked: BTreeSet<usize>,
    /// Hosts that the run has changed and cannot see now.
    blind: BTreeSet<usize>,
    /// Hosts that cannot be seen now, changed or not.
    unseen: BTreeSet<usize>,
    /// Where each guest is, by the newest censuses; and those that are at more than one place.
    whereabouts: BTreeMap<GuestUuid, BTreeSet<usize>>,
    doubles: BTreeMap<GuestUuid, Option<twice::Suspicion>>,
    out: Vec<Record>,
}

impl Machine {
    /// A new run of a plan, by an operator. The records of the result are the first of its journal; then call [`Machine::lead`].
    pub fn create(index: Arc<Index>, run: RunId, by: &str, now_ms: UnixMs) -> (Self, Decided) {
        let mut machine = Self::at(State::new(index));
        let plan = machine.state.index.id().clone();
        machine.now_ms = now_ms;
        machine.record(Event::Created { run, plan, by: by.to_owned() });
        let decided = machine.decided();
        (machine, decided)
    }

    /// The run as its journal tells it. Nothing is wanted before [`Machine::lead`].
    ///
    /// # Errors
    /// `IllegalEvent` when the records are not a journal of this plan.
    pub fn replay<R: Borrow<Record>>(
        index: Arc<Index>,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Self, IllegalEvent> {
        let mut state = State::new(index);
        for record in records {
            state.apply(record.borrow())?;
        }
        if state.run.is_none() {
            return Err(IllegalEvent::NotCreated);
        }
        let confirmed = state.last_seq;
        let mut machine = Self::at(state);
        machine.confirmed = confirmed;
        Ok(machine)
    }

    fn at(state: State) -> Self {
        let hosts = state.hosts.len();
        let holds = state.holds.len();
        Self {
            seen: vec![HostSeen::new(); hosts],
            leads: false,
            led_ms: 0,
            deposed_by: None,
            confirmed: 0,
            now_ms: state.last_ms,
            next_ask: 0,
            dirty: (0..hosts).collect(),
            dirty_holds: (0..holds).collect(),
            touched: BTreeSet::new(),
            parked: BTreeSet::new(),
            asking: BTreeSet::new(),
            looks: 0,
            timers: BTreeSet::new(),
            asked: BTreeSet::new(),
            blind: (0..hosts).filter(|host| state.hosts[*host].change_begun).collect(),
            unseen: (0..hosts).collect(),
            whereabouts: BTreeMap::new(),
            doubles: BTreeMap::new(),
            out: Vec::new(),
            state,
        }
    }

    /// Takes the run over for a coordinator's term of office. Every start of a coordinator has a higher epoch.
    ///
    /// # Errors
    /// `IllegalEvent::OldEpoch` when the journal knows this epoch or a later one.
    pub fn lead(&mut self, epoch: Epoch, now_ms: UnixMs) -> Result<Decided, IllegalEvent> {
        self.now_ms = now_ms;
        let record = Record {
            seq: self.state.last_seq + 1,
            at_ms: now_ms,
            epoch,
            format: JOURNAL_FORMAT,
            event: Event::Led { epoch },
        };
        self.state.apply(&record)?;
        self.out.push(record);
        self.leads = true;
        self.led_ms = now_ms;
        // Numbers of questions of an earlier coordinator are never mistaken for its own.
        self.next_ask = (epoch.0 << 32) + 1;
        self.settle();
        Ok(self.decided())
    }

    /// Takes in what happened and decides what follows.
    pub fn input(&mut self, input: Input, now_ms: UnixMs) -> Decided {
        if !self.leads {
            return Decided::default();
        }
        self.now_ms = now_ms;
        self.intake(input);
        self.settle();
        self.decided()
    }

    /// An operator's wish, by the name in the operator's certificate.
    ///
    /// # Errors
    /// `OperatorRefusal` with a code and what to do instead; nothing has changed then.
    pub fn operate(
        &mut self,
        by: &str,
        command: Operate,
        now_ms: UnixMs,
    ) -> Result<Decided, OperatorRefusal> {
        self.now_ms = now_ms;
        self.accept(by, command)?;
        self.settle();
        Ok(self.decided())
    }

    /// Every record up to `seq` is durable; commands that rest on them may leave.
    pub fn confirm(&mut self, seq: u64) {
        assert!(seq <= self.state.last_seq, "record {seq} was never decided");
        self.confirmed = self.confirmed.max(seq);
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn index(&self) -> &Arc<Index> {
        &self.state.index
    }

    /// How often it has decided about a host: the measure of its work, which must grow with what happens and not with the fleet.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// The epoch of a later coordinator that an agent has obeyed: this one must step down.
    pub fn deposed_by(&self) -> Option<Epoch> {
        self.deposed_by
    }

    /// The one place where an event comes to be: applied and put out in the same breath.
    fn record(&mut self, event: Event) {
        let record = Record {
            seq: self.state.last_seq + 1,
            at_ms: self.now_ms,
            epoch: self.state.epoch,
            format: JOURNAL_FORMAT,
            event,
        };
        if let Err(illegal) = self.state.apply(&record) {
            panic!("the run decided what its own rules forbid: {illegal}; the event: {:?}", record.event);
        }
        self.wake_after(&record.event);
        self.out.push(record);
    }

    fn decided(&mut self) -> Decided {
        let touched = std::mem::take(&mut self.touched);
        Decided {
            records: std::mem::take(&mut self.out),
            touched: touched.into_iter().map(|host| self.state.index.host_name(host).clone()).collect(),
        }
    }

    /// Asks to be woken for a host at `at_ms` or before.
    fn wake_at(&mut self, host: usize, at_ms: UnixMs) {
        let wake = &mut self.seen[host].wake_ms;
        if wake.is_some_and(|earlier| earlier <= at_ms) {
            return;
        }
        if let Some(later) = wake.replace(at_ms) {
            self.timers.remove(&(later, host));
        }
        self.timers.insert((at_ms, host));
    }

    fn fire_timers(&mut self) {
        while let Some(&(at_ms, host)) = self.timers.first() {
            if at_ms > self.now_ms {
                break;
            }
            self.timers.pop_first();
            self.seen[host].wake_ms = None;
            self.dirty.insert(host);
        }
    }
}
