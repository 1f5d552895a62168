//! What is judged on a voyage.

use std::collections::BTreeMap;
use std::fmt;

/// A promise of the design (P1 to P10), or one of the three that a simulation adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// No guest loses its running qemu; a loss is told and halts, and what lives is not told lost.
    P1,
    /// No guest runs twice unnoticed.
    P2,
    /// No action ends a guest.
    P3,
    /// Written before done.
    P4,
    /// Done once.
    P5,
    /// No step past a red gate, or before what it needs.
    P6,
    /// What the run sets, the run gives back.
    P7,
    /// No point of no return without an approval.
    P8,
    /// One coordinator commands.
    P9,
    /// What stops leaves enough complete copies, and a quorum.
    P10,
    /// The fold of the journal is the live state.
    Fold,
    /// When nothing new goes wrong, the run ends or says what stands in the way.
    Quiet,
    /// Nothing panics, and no journal is refused that was written.
    Sound,
}

impl Promise {
    pub const ALL: [Self; 13] = [
        Self::P1,
        Self::P2,
        Self::P3,
        Self::P4,
        Self::P5,
        Self::P6,
        Self::P7,
        Self::P8,
        Self::P9,
        Self::P10,
        Self::Fold,
        Self::Quiet,
        Self::Sound,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
            Self::P5 => "P5",
            Self::P6 => "P6",
            Self::P7 => "P7",
            Self::P8 => "P8",
            Self::P9 => "P9",
            Self::P10 => "P10",
            Self::Fold => "fold",
            Self::Quiet => "quiet",
            Self::Sound => "sound",
        }
    }

    /// One line for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::P1 => {
                "a guest that vanished is told and halts the fleet, and nothing that lives is told lost"
            }
            Self::P2 => "a guest that runs twice halts the fleet",
            Self::P3 => "no action ends a guest",
            Self::P4 => "commands and acts have their durable intent",
            Self::P5 => "no action is carried out twice",
            Self::P6 => "no step past a red gate or before what it needs",
            Self::P7 => "what the run sets, it gives back",
            Self::P8 => "no step behind a hold before its approval",
            Self::P9 => "no agent obeys a coordinator older than one it has obeyed",
            Self::P10 => {
                "what is stopped leaves enough complete copies and a quorum, and no acknowledged write is lost"
            }
            Self::Fold => "the fold of the journal is the live state",
            Self::Quiet => "in the quiet phase the run ends, or names what holds it",
            Self::Sound => "nothing panics, and what was written is read back",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The first promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub promise: Promise,
    pub text: String,
    /// Simulated time since the voyage began.
    pub at_ms: u64,
}

/// Counts what is checked and keeps the first that does not hold.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) now_ms: u64,
    pub(crate) checked: BTreeMap<Promise, u64>,
    pub(crate) broken: Option<Broken>,
}

impl Judge {
    pub(crate) fn check(&mut self, promise: Promise, holds: bool, text: impl FnOnce() -> String) {
        *self.checked.entry(promise).or_default() += 1;
        if !holds && self.broken.is_none() {
            self.broken = Some(Broken { promise, text: text(), at_ms: self.now_ms });
        }
    }
}
