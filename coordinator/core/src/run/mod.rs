//! One execution of a plan: events, the state that they fold into, and the machine that decides what follows.
//!
//! Owns the whole of execution. Never reads a clock, sends a message or writes a file: the shell does, in this order, for every input:
//!
//! ```no_run
//! use replank_core::run::{Decided, Index, Input, Machine, Record};
//! use replank_common::ids::{Epoch, PlanId, RunId};
//! use std::sync::Arc;
//!
//! # fn append_and_sync(_: &[Record]) {}
//! # fn send_once_per_link(_: replank_core::run::Wants) {}
//! # fn example(plan_id: PlanId, plan: replank_core::plan::Plan, run: RunId, journal: Vec<Record>, now_ms: u64)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let index = Arc::new(Index::new(plan_id, plan)?);
//!
//! // A new run …
//! let (mut machine, created) = Machine::create(index.clone(), run, "alice", now_ms);
//! append_and_sync(&created.records);
//! // … or one that an earlier coordinator began.
//! let mut machine = Machine::replay(index, &journal)?;
//!
//! // Each start of a coordinator leads with a higher epoch.
//! let led = machine.lead(Epoch(7), now_ms)?;
//! append_and_sync(&led.records);
//! machine.confirm(machine.state().last_seq());
//!
//! // For every link, census, answer, outcome and tick. Several inputs may share one sync.
//! let decided: Decided = machine.input(Input::Tick, now_ms);
//! append_and_sync(&decided.records);                 // P4: durable first; if this fails, drop the machine and replay
//! machine.confirm(machine.state().last_seq());       // before this, `wants` holds every command back
//! send_once_per_link(machine.wants());               // a want stays listed until it is answered
//! # Ok(()) }
//! ```
//!
//! The rules that the machine keeps:
//! - A command leaves only as the consequence of a durable `sent` event, and its id is computed, so a coordinator that crashed sends the same one
//!   again. An outcome that nobody knows is asked for by sending it again on the next link, and at each passing of its deadline.
//! - A guest's loss stops every command of the run, the repeated ones too, until an operator decides.
//! - What cannot be told (a link down, a census that does not agree) waits, with reason and since when.
//! - [`State::apply`] refuses, at writing and at reading alike, what would break a promise.

pub mod event;
mod index;
mod machine;
mod places;
pub mod report;
mod state;
mod text;
pub mod view;

pub use event::{End, Event, JOURNAL_FORMAT, Life, Purpose, Record, WayBackClosed, When};
pub use index::{Index, MAX_HOSTS, MAX_STEPS, UnsoundPlan};
pub use machine::{
    Block, Command, Decided, Hello, Input, MAX_READING_AGE_MS, Machine, Operate, OperatorRefusal, Order,
    READING_DEADLINE_MS, RECHECK_MS, ReadingWant, Wants, max_reading_age_ms, reading_deadline_ms,
};
pub use report::{ExtraColumn, Report, StepReport};
pub use state::{
    Course, Fate, Flight, GateWait, Halt, HaltNote, Held, HoldState, HostState, IllegalEvent, OpenLoss,
    State, StepPhase, StepState, Track, Watch,
};
pub use view::{Phase, RunView};
