//! Planted faults: each breaks one promise on purpose, so that the checks of the simulation are themselves checked.
//!
//! Without the feature `planted-faults`, which no release build has, [`is`] is `false` at compile time.

/// A fault that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    SentBeforeDurable,
    SentWhileHalted,
    LeadsThoughDeposed,
    AnyLifeIsTheLife,
    EveryEndIsTheOwners,
    OldAgentsCensus,
}

impl Planted {
    pub const ALL: [Self; 6] = [
        Self::SentBeforeDurable,
        Self::SentWhileHalted,
        Self::LeadsThoughDeposed,
        Self::AnyLifeIsTheLife,
        Self::EveryEndIsTheOwners,
        Self::OldAgentsCensus,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::SentBeforeDurable => "sent-before-durable",
            Self::SentWhileHalted => "sent-while-halted",
            Self::LeadsThoughDeposed => "leads-though-deposed",
            Self::AnyLifeIsTheLife => "any-life-is-the-life",
            Self::EveryEndIsTheOwners => "every-end-is-the-owners",
            Self::OldAgentsCensus => "old-agents-census",
        }
    }

    /// The promise it breaks.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::SentBeforeDurable => "P4",
            Self::LeadsThoughDeposed => "P9",
            Self::SentWhileHalted
            | Self::AnyLifeIsTheLife
            | Self::EveryEndIsTheOwners
            | Self::OldAgentsCensus => "P1",
        }
    }

    pub const fn breaks(self) -> &'static str {
        match self {
            Self::SentBeforeDurable => "a command is wanted before its intent is durable",
            Self::SentWhileHalted => "a halt does not stop the command in flight from being sent again",
            Self::LeadsThoughDeposed => "a higher epoch at an agent does not depose the coordinator",
            Self::AnyLifeIsTheLife => "a guest that changed incarnation counts as alive",
            Self::EveryEndIsTheOwners => "an unexplained end counts as the owner's",
            Self::OldAgentsCensus => "a census of an earlier life of the agent is taken as of the new one",
        }
    }
}

/// Whether this fault is planted.
#[cfg(not(feature = "planted-faults"))]
#[inline]
pub const fn is(_fault: Planted) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
pub use on::{Guard, is, plant};

#[cfg(feature = "planted-faults")]
mod on {
    use super::Planted;
    use std::cell::Cell;
    use std::sync::OnceLock;

    thread_local!(static HERE: Cell<Option<Planted>> = const { Cell::new(None) });

    /// Takes the fault out again when dropped.
    #[must_use]
    #[derive(Debug)]
    pub struct Guard(Option<Planted>);

    /// Plants a fault in this thread.
    pub fn plant(fault: Planted) -> Guard {
        Guard(HERE.replace(Some(fault)))
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }

    /// Whether this fault is planted: in this thread, or in the whole process by `REPLANK_PLANT=name`.
    pub fn is(fault: Planted) -> bool {
        static EVERYWHERE: OnceLock<Option<String>> = OnceLock::new();
        HERE.get() == Some(fault)
            || EVERYWHERE.get_or_init(|| std::env::var("REPLANK_PLANT").ok()).as_deref() == Some(fault.name())
    }
}

#[cfg(all(test, not(feature = "planted-faults")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_nothing_is_planted() {
        const NONE: bool = is(Planted::SentBeforeDurable);
        assert!(!NONE && !Planted::ALL.into_iter().any(is));
    }
}
