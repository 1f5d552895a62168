//! The ledger: an agent's own durable record of every action.
//!
//! Owns what a ledger holds, which entry may follow which ([`rules`]), and what the entries of a step say of it ([`standing_record`],
//! [`was_taken_back`]). Where the bytes lie is the implementor's: the agent's in SQLite, a simulated one in memory
//! ([`MemoryLedger`]). Both pass the same script ([`conformance`]).

#[doc(hidden)]
pub mod conformance;
mod entry;
mod memory;
pub mod rules;

pub use entry::{Entry, IllegalEntry, NewIntent, Stage, Unbegun, Work};
pub use memory::{MemoryError, MemoryLedger};
pub use rules::{grown, grows, is_wanted_back, standing_record, was_taken_back};

use replank_common::UnixMs;
use replank_common::ids::{ActionId, CoordinatorId, Epoch, RunId, StepId};
use replank_common::leader::Leader;
use replank_common::outcome::Outcome;
use std::error::Error;

/// What a performer needs of a ledger. What a call has written is durable when it returns `Ok`: it survives `kill -9` and power loss
/// (P4). A call that returns an error has changed nothing. Each call sees and changes the ledger in one step, whatever others do meanwhile.
pub trait Ledger {
    type Error: Error + From<IllegalEntry>;

    /// The rule that a call would have broken; `None`: the ledger cannot be read or written.
    fn illegal(error: &Self::Error) -> Option<&IllegalEntry>;

    /// The highest epoch obeyed.
    ///
    /// # Errors
    /// The ledger cannot be read.
    fn epoch(&self) -> Result<Epoch, Self::Error>;

    /// The latest coordinator obeyed.
    ///
    /// # Errors
    /// The ledger cannot be read.
    fn leader(&self) -> Result<Leader, Self::Error>;

    /// Obeys a coordinator by its welcome, as [`Leader::after_welcome`] allows: durable when this returns `true`. `false`: a later one was obeyed
    /// before, or another one of the same epoch (P9).
    ///
    /// # Errors
    /// The ledger cannot be read or written; the welcome must not be obeyed then.
    fn obey_welcome(&self, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Result<bool, Self::Error>;

    /// Obeys the epoch of a command: durable when this returns `true`. `false`: a higher one was obeyed before (P9).
    ///
    /// # Errors
    /// The ledger cannot be read or written; the epoch must not be obeyed then.
    fn obey(&self, epoch: Epoch) -> Result<bool, Self::Error>;

    /// What is known of a command.
    ///
    /// # Errors
    /// The ledger cannot be read.
    fn look_up(&self, id: &ActionId) -> Result<Option<Entry>, Self::Error>;

    /// The entries of one step of a run, of both directions, oldest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    fn of_step(&self, run: &RunId, step: &StepId) -> Result<Vec<Entry>, Self::Error>;

    /// Commands with an intent and no end, oldest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    fn unfinished(&self) -> Result<Vec<Entry>, Self::Error>;

    /// How many entries there are.
    ///
    /// # Errors
    /// The ledger cannot be read.
    fn count(&self) -> Result<u64, Self::Error>;

    /// Writes the intent, as [`rules::intended`] allows.
    ///
    /// # Errors
    /// A rule is broken, or the ledger cannot be written: the action must not begin.
    fn intend(&self, new: NewIntent) -> Result<Entry, Self::Error>;

    /// Whether what was begun may be gone on with under this epoch, as [`rules::gone_on`] allows. Writes nothing.
    ///
    /// # Errors
    /// A rule is broken, or the ledger cannot be read: the action must not go on.
    fn go_on(&self, id: &ActionId, epoch: Epoch) -> Result<Entry, Self::Error>;

    /// Writes the end of an intended command, as [`rules::ended`] allows.
    ///
    /// # Errors
    /// A rule is broken, or the ledger cannot be written.
    fn end(&self, id: &ActionId, outcome: Outcome, at_ms: UnixMs) -> Result<Entry, Self::Error>;

    /// Writes a command that ended before anything was changed, as [`rules::ended_unbegun`] allows.
    ///
    /// # Errors
    /// A rule is broken, or the ledger cannot be written.
    fn end_unbegun(&self, new: Unbegun) -> Result<Entry, Self::Error>;
}
