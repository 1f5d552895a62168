//! A run's state: the fold of its journal, and nothing else.
//!
//! [`State::apply`] is the one transition function, used both before a record is written and when a journal is read back. It is total: every
//! event in every state is either applied or refused with an [`IllegalEvent`] that says which promise or order it would break.
//! So a mistake in the decisions of `machine` cannot become a record, and a record cannot become a command.

mod apply;
mod back;
mod forward;
mod guests;
mod guests_apply;
mod illegal;

pub use guests::{Fate, Track, Watch};
pub use illegal::IllegalEvent;

use crate::gate::{HaltReason, WaitReason};
use crate::plan::{Stage, Undo};
use crate::run::event::{End, Purpose, WayBackClosed, When};
use crate::run::index::{Index, NeedIx};
use replank_common::UnixMs;
use replank_common::finding::Finding;
use replank_common::ids::{ActionId, Direction, Epoch, GuestUuid, HoldId, HostName, RunId, StepId};
use replank_common::outcome::{Change, How};
use replank_common::planted::{self, Planted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a run is going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// Step by step through the plan.
    Forward,
    /// Steps in flight end; then every guard is asked whether the way back is safe. Nothing is taken back yet.
    Guarding {
        to: Option<Stage>,
        before: Box<Before>,
        refusals: Vec<WayBackClosed>,
    },
    /// Steps are taken back.
    RollingBack {
        to: Option<Stage>,
    },
    /// Borrowed things are given back and guests are counted.
    Closing {
        end: End,
    },
    Finished {
        end: End,
        at_ms: UnixMs,
    },
}

/// What a rollback returns to when it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    pub course: Course,
    pub halt: Option<Halt>,
    pub open: Vec<OpenLoss>,
    pub paused: Option<Paused>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    pub by: String,
    pub since_ms: UnixMs,
}

/// The fleet-wide stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    pub reason: HaltReason,
    pub since_ms: UnixMs,
}

/// A broken promise that no operator has answered for yet; nothing is commanded while there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLoss {
    pub reason: HaltReason,
    /// The guests to acknowledge.
    pub guests: Vec<(GuestUuid, String)>,
    /// Steps in flight then.
    pub during: Vec<StepId>,
    /// Its halt is recorded.
    pub halted: bool,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepPhase {
    /// Not begun, or to be tried again.
    Pending,
    /// Commanded; what became of it is not known yet.
    Acting,
    /// The action is done; the gates after are not passed yet.
    Verifying,
    Done,
    /// Refused or failed: an operator decides.
    Held,
    /// Being taken back.
    Undoing,
    /// Taking back was refused or failed: an operator decides.
    UndoHeld,
    Undone,
}

/// Why a step is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub since_ms: UnixMs,
    pub code: String,
    pub reason: String,
    pub remedy: String,
    /// Whether the host is as it was before the step.
    pub unchanged: bool,
}

/// Gates that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateWait {
    pub when: When,
    pub reason: WaitReason,
    pub since_ms: UnixMs,
}

/// One step, as far as the journal tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepState {
    pub phase: StepPhase,
    /// Commands sent to carry it out, and to take it back.
    pub attempts: u32,
    pub undo_attempts: u32,
    /// Attempts that may have left something on the host, oldest first; taken back last first.
    pub leftovers: Vec<u32>,
    pub wait: Option<Box<GateWait>>,
    pub held: Option<Box<Held>>,
    pub begun_ms: Option<UnixMs>,
    /// The action itself was done; gates after it may still have waited.
    pub acted_ms: Option<UnixMs>,
    pub done_ms: Option<UnixMs>,
    pub undo_begun_ms: Option<UnixMs>,
    pub undone_ms: Option<UnixMs>,
    pub how: Option<How>,
    pub changes: Vec<Change>,
    pub findings: Vec<Finding>,
    /// What taking it back changed.
    pub undo_changes: Vec<Change>,
    /// This rollback's guard has agreed.
    pub(crate) guard_agreed: bool,
}

impl StepState {
    fn new() -> Self {
        Self {
            phase: StepPhase::Pending,
            attempts: 0,
            undo_attempts: 0,
            leftovers: Vec::new(),
            wait: None,
            held: None,
            begun_ms: None,
            acted_ms: None,
            done_ms: None,
            undo_begun_ms: None,
            undone_ms: None,
            how: None,
            changes: Vec::new(),
            findings: Vec::new(),
            undo_changes: Vec::new(),
            guard_agreed: false,
        }
    }
}

/// A command whose outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight {
    pub action: ActionId,
    /// What is taken back; `None` for `Purpose::Do`.
    pub of: Option<ActionId>,
    pub purpose: Purpose,
    pub sent_ms: UnixMs,
    /// The step that acts.
    pub(crate) step: usize,
    /// The step whose doing or undoing it is: another one for `Purpose::GiveBack`.
    pub(crate) subject: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    /// `None` until the first census that agrees.
    pub watch: Option<Watch>,
    /// The baseline has to be taken (again) before the host is touched.
    pub baseline_due: bool,
    /// At most one: an agent does one thing at a time.
    pub flight: Option<Flight>,
    /// How many of its steps are done, from the first on.
    pub(crate) cursor: usize,
    /// A step of a stage that changes what guests run on has been commanded.
    pub change_begun: bool,
    pub recounted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldState {
    pub reached_ms: Option<UnixMs>,
    pub approved: Option<(String, UnixMs)>,
}

/// A finished or present stop, for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltNote {
    pub reason: HaltReason,
    pub halted_ms: UnixMs,
    pub during: Vec<StepId>,
    /// Who decided what, and when.
    pub decided: Option<(String, &'static str, UnixMs)>,
}

/// The fold of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(crate) index: Arc<Index>,
    pub(crate) run: Option<RunId>,
    pub(crate) by: String,
    pub(crate) created_ms: UnixMs,
    pub(crate) last_seq: u64,
    pub(crate) last_ms: UnixMs,
    pub(crate) epoch: Epoch,
    pub(crate) course: Course,
    pub(crate) halt: Option<Halt>,
    pub(crate) open: Vec<OpenLoss>,
    /// How many of them have no halt recorded yet.
    pub(crate) unhalted: usize,
    pub(crate) paused: Option<Paused>,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) steps: Vec<StepState>,
    pub(crate) holds: Vec<HoldState>,
    /// By hold: how much of what it needs is not met on the way forward, from which no step goes back.
    pub(crate) hold_unmet: Vec<usize>,
    pub(crate) halts: Vec<HaltNote>,
    /// The latest refusal of a rollback.
    pub(crate) way_back_closed: Vec<WayBackClosed>,
    /// Further ones, which the event did not name.
    pub(crate) way_back_closed_more: usize,
    pub(crate) done: usize,
    /// Steps that are held on the way forward.
    pub(crate) held: BTreeSet<usize>,
    /// Steps begun and neither done nor held.
    pub(crate) active: BTreeSet<usize>,
    /// Hosts with a command in flight.
    pub(crate) flying: BTreeSet<usize>,
    /// Hosts without a baseline.
    pub(crate) unbased: BTreeSet<usize>,
    /// Guarding: hosts that still have a command in flight or a guard to ask.
    pub(crate) guarding: BTreeSet<usize>,
    /// Rolling back: by wave and lane, the hosts with something to take back; the last one is next.
    pub(crate) lanes_back: BTreeMap<(u32, u32), Vec<usize>>,
    /// Closing: hosts with something to give back, and hosts not counted yet.
    pub(crate) unclosed: BTreeSet<usize>,
    pub(crate) uncounted: BTreeSet<usize>,
}

impl State {
    /// The state before the first record.
    pub fn new(index: Arc<Index>) -> Self {
        let hosts = index.plan.hosts.len();
        let host = HostState {
            watch: None,
            baseline_due: true,
            flight: None,
            cursor: 0,
            change_begun: false,
            recounted: false,
        };
        Self {
            run: None,
            by: String::new(),
            created_ms: 0,
            last_seq: 0,
            last_ms: 0,
            epoch: Epoch(0),
            course: Course::Forward,
            halt: None,
            open: Vec::new(),
            unhalted: 0,
            paused: None,
            hosts: vec![host; hosts],
            steps: vec![StepState::new(); index.plan.steps.len()],
            holds: vec![HoldState::default(); index.plan.holds.len()],
            hold_unmet: index.hold_needs.iter().map(Vec::len).collect(),
            halts: Vec::new(),
            way_back_closed: Vec::new(),
            way_back_closed_more: 0,
            done: 0,
            held: BTreeSet::new(),
            active: BTreeSet::new(),
            flying: BTreeSet::new(),
            unbased: (0..hosts).collect(),
            guarding: BTreeSet::new(),
            lanes_back: BTreeMap::new(),
            unclosed: BTreeSet::new(),
            uncounted: BTreeSet::new(),
            index,
        }
    }

    pub fn course(&self) -> &Course {
        &self.course
    }

    pub fn halt(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// What an operator has to answer for before a halted run is resumed.
    pub fn open_losses(&self) -> &[OpenLoss] {
        &self.open
    }

    pub fn paused(&self) -> Option<&Paused> {
        self.paused.as_ref()
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The sequence number of the last record applied, 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Steps that are done now, of [`Self::steps_total`].
    pub fn steps_done(&self) -> usize {
        self.done
    }

    pub fn steps_total(&self) -> usize {
        self.steps.len()
    }

    /// `None` before its creation is applied.
    pub fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    pub fn finished(&self) -> Option<End> {
        match &self.course {
            Course::Finished { end, .. } => Some(*end),
            Course::Forward
            | Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Closing { .. } => None,
        }
    }

    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.index.step(id).map(|ix| &self.steps[ix])
    }

    pub fn host(&self, name: &HostName) -> Option<&HostState> {
        self.index.host(name).map(|ix| &self.hosts[ix])
    }

    pub fn hold(&self, id: &HoldId) -> Option<&HoldState> {
        self.index.hold(id).map(|ix| &self.holds[ix])
    }

    /// Whether a loss or a halt forbids every command.
    pub(crate) fn stopped(&self) -> bool {
        self.halt.is_some() || !self.open.is_empty()
    }

    pub(crate) fn is_met(&self, need: NeedIx) -> bool {
        match need {
            NeedIx::Step(step) => self.steps[step].phase == StepPhase::Done,
            NeedIx::Hold(hold) => {
                let hold = &self.holds[hold];
                hold.approved.is_some()
                    || (hold.reached_ms.is_some() && planted::is(Planted::HoldNeedsNoApproval))
            }
        }
    }

    /// The first step of the host that is not done.
    pub(crate) fn current(&self, host: usize) -> Option<usize> {
        self.index.host_steps[host].get(self.hosts[host].cursor).copied()
    }

    /// The id of the next command for a step.
    pub(crate) fn next_action(&self, step: usize, direction: Direction) -> Option<ActionId> {
        let state = &self.steps[step];
        let attempt = match direction {
            Direction::Do => state.attempts,
            Direction::Undo => state.undo_attempts,
        } + 1;
        Some(ActionId {
            run: self.run.clone()?,
            step: self.index.step_at(step).id.clone(),
            direction,
            attempt,
        })
    }

    /// The attempt of a step that has to be taken back next.
    pub(crate) fn leftover(&self, step: usize) -> Option<ActionId> {
        Some(ActionId {
            run: self.run.clone()?,
            step: self.index.step_at(step).id.clone(),
            direction: Direction::Do,
            attempt: *self.steps[step].leftovers.last()?,
        })
    }

    /// Steps in flight anywhere, those of `host` first, at most `MAX_DURING`.
    pub(crate) fn during(&self, host: Option<usize>) -> Vec<StepId> {
        let own = host.into_iter().flat_map(|host| &self.index.host_steps[host]);
        let own = own.filter(|step| self.active.contains(step));
        let others = self.active.iter().filter(|step| Some(self.index.host_of[**step]) != host);
        own.chain(others)
            .take(crate::run::event::MAX_DURING)
            .map(|step| self.index.step_at(*step).id.clone())
            .collect()
    }

    pub(crate) fn undo_of(&self, step: usize) -> &Undo {
        &self.index.step_at(step).undo
    }
}
