//! What touches the world.

use crate::act::{ActError, Failure, Report, Standing};
use replank_common::UnixMs;
use replank_common::action::Action;
use replank_common::finding::Finding;
use replank_common::ids::ActionId;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use std::fmt;
use std::time::Duration;

/// A host, its policy, its guard, its actions and its clock, for one command. The rules call; what is behind decides nothing of the
/// order.
pub trait Hands {
    /// The policy's word.
    ///
    /// # Errors
    /// The host's operator does not let `action` be done.
    fn permits(&mut self, action: &Action) -> Result<(), Refusal>;

    /// The guard's word: what it found.
    ///
    /// # Errors
    /// Why it cannot be told whether the action touches what guests use.
    fn judge(&mut self, action: &Action) -> Result<Vec<Finding>, String>;

    /// Where the host stands with regard to the action.
    ///
    /// # Errors
    /// A refusal when the host is not as the action expects: nothing has been changed.
    fn check(&mut self, action: &Action) -> Result<Standing, Refusal>;

    /// What is there now, before the first change.
    ///
    /// # Errors
    /// A refusal: nothing has been changed.
    fn prepare(&mut self, action: &Action) -> Result<UndoRecord, Refusal>;

    /// Makes it so; runs again after a crash at any of its instructions, with the undo record of the first time.
    ///
    /// # Errors
    /// A refusal when it turned out that it must not be: nothing outside the agent's own directory has been changed then.
    fn apply(&mut self, action: &Action, record: &UndoRecord) -> Result<Report, ActError>;

    /// Is it so?
    ///
    /// # Errors
    /// `Failure` names what is not.
    fn verify(&mut self, action: &Action, record: &UndoRecord) -> Result<(), Failure>;

    /// Takes back what `record` says; runs again after a crash at any of its instructions.
    ///
    /// # Errors
    /// A refusal: nothing has been changed. A failure: something went wrong half way.
    fn undo(&mut self, action: &Action, record: &UndoRecord) -> Result<Report, ActError>;

    /// Whether the command was called off; asked once.
    fn cancelled(&mut self, id: &ActionId) -> bool;

    /// The intent is durable; the action begins or goes on.
    fn accepted(&mut self);

    /// The host's clock, for the ledger.
    fn now_ms(&mut self) -> UnixMs;

    /// Since any one instant, by a clock that never jumps: how long things took.
    fn elapsed(&mut self) -> Duration;

    /// An instant at which a crash is to be survived has come.
    fn reached(&mut self, moment: Moment, id: &ActionId);
}

/// The instants between a command and its outcome at which crash tests kill the agent, named by what has just become durable or is
/// about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    Intending,
    Intended,
    Acting,
    Acted,
    Undoing,
    Undone,
    Ended,
}

impl Moment {
    pub const ALL: [Self; 7] = [
        Self::Intending,
        Self::Intended,
        Self::Acting,
        Self::Acted,
        Self::Undoing,
        Self::Undone,
        Self::Ended,
    ];

    /// Stable: crash tests name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intending => "intending",
            Self::Intended => "intended",
            Self::Acting => "acting",
            Self::Acted => "acted",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
