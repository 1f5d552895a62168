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
    GateBeforeSkipped,
    GateAfterSkipped,
    OldAnswerCounts,
    AnyAnswerAnswers,
    DisagreementPasses,
    NeedsForgotten,
    HeldStopsNobody,
    HoldNeedsNoApproval,
    RebootIsNothing,
    DisagreementProves,
    AnyOutcomeIsTheFlights,
    OldEpochIsAnOutcome,
    TwiceUnseen,
    BorrowedForgotten,
    GuardsUnheard,
}

impl Planted {
    pub const ALL: [Self; 21] = [
        Self::SentBeforeDurable,
        Self::SentWhileHalted,
        Self::LeadsThoughDeposed,
        Self::AnyLifeIsTheLife,
        Self::EveryEndIsTheOwners,
        Self::OldAgentsCensus,
        Self::GateBeforeSkipped,
        Self::GateAfterSkipped,
        Self::OldAnswerCounts,
        Self::AnyAnswerAnswers,
        Self::DisagreementPasses,
        Self::NeedsForgotten,
        Self::HeldStopsNobody,
        Self::HoldNeedsNoApproval,
        Self::RebootIsNothing,
        Self::DisagreementProves,
        Self::AnyOutcomeIsTheFlights,
        Self::OldEpochIsAnOutcome,
        Self::TwiceUnseen,
        Self::BorrowedForgotten,
        Self::GuardsUnheard,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::SentBeforeDurable => "sent-before-durable",
            Self::SentWhileHalted => "sent-while-halted",
            Self::LeadsThoughDeposed => "leads-though-deposed",
            Self::AnyLifeIsTheLife => "any-life-is-the-life",
            Self::EveryEndIsTheOwners => "every-end-is-the-owners",
            Self::OldAgentsCensus => "old-agents-census",
            Self::GateBeforeSkipped => "gate-before-skipped",
            Self::GateAfterSkipped => "gate-after-skipped",
            Self::OldAnswerCounts => "old-answer-counts",
            Self::AnyAnswerAnswers => "any-answer-answers",
            Self::DisagreementPasses => "disagreement-passes",
            Self::NeedsForgotten => "needs-forgotten",
            Self::HeldStopsNobody => "held-stops-nobody",
            Self::HoldNeedsNoApproval => "hold-needs-no-approval",
            Self::RebootIsNothing => "reboot-is-nothing",
            Self::DisagreementProves => "disagreement-proves",
            Self::AnyOutcomeIsTheFlights => "any-outcome-is-the-flights",
            Self::OldEpochIsAnOutcome => "old-epoch-is-an-outcome",
            Self::TwiceUnseen => "twice-unseen",
            Self::BorrowedForgotten => "borrowed-forgotten",
            Self::GuardsUnheard => "guards-unheard",
        }
    }

    /// The promise it breaks.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::SentWhileHalted
            | Self::AnyLifeIsTheLife
            | Self::EveryEndIsTheOwners
            | Self::OldAgentsCensus
            | Self::RebootIsNothing
            | Self::DisagreementProves
            | Self::GuardsUnheard => "P1",
            Self::TwiceUnseen => "P2",
            Self::SentBeforeDurable => "P4",
            Self::AnyOutcomeIsTheFlights => "P5",
            Self::GateBeforeSkipped
            | Self::GateAfterSkipped
            | Self::OldAnswerCounts
            | Self::AnyAnswerAnswers
            | Self::DisagreementPasses
            | Self::NeedsForgotten
            | Self::HeldStopsNobody => "P6",
            Self::BorrowedForgotten => "P7",
            Self::HoldNeedsNoApproval => "P8",
            Self::LeadsThoughDeposed | Self::OldEpochIsAnOutcome => "P9",
        }
    }

    /// One line for people.
    pub const fn breaks(self) -> &'static str {
        match self {
            Self::SentBeforeDurable => "a command is wanted before its intent is durable",
            Self::SentWhileHalted => "a halt does not stop the command in flight from being sent again",
            Self::LeadsThoughDeposed => "a higher epoch at an agent does not depose the coordinator",
            Self::AnyLifeIsTheLife => "a guest that changed incarnation counts as alive",
            Self::EveryEndIsTheOwners => "an unexplained end counts as the owner's",
            Self::OldAgentsCensus => "a census of an earlier life of the agent is taken as of the new one",
            Self::GateBeforeSkipped => "a step begins without asking its gates",
            Self::GateAfterSkipped => "a step is done without asking its gates after it",
            Self::OldAnswerCounts => "a gate passes on an answer that is old, or from before it was asked",
            Self::AnyAnswerAnswers => "a late answer to an earlier question counts as the answer to this one",
            Self::DisagreementPasses => "a gate passes on a census whose sources do not agree",
            Self::NeedsForgotten => "a step begins before what it needs",
            Self::HeldStopsNobody => "further hosts start while a step is held",
            Self::HoldNeedsNoApproval => "a hold that is reached counts as approved",
            Self::RebootIsNothing => "a host under another boot id has lost nothing",
            Self::DisagreementProves => "a census whose sources do not agree proves that a guest is gone",
            Self::AnyOutcomeIsTheFlights => {
                "the outcome of another command counts as that of the one in flight"
            }
            Self::OldEpochIsAnOutcome => {
                "an agent's refusal of an old epoch counts as the outcome of the later coordinator's command"
            }
            Self::TwiceUnseen => "a guest on two hosts is not noticed",
            Self::BorrowedForgotten => "what was borrowed is not given back at the end",
            Self::GuardsUnheard => {
                "a rollback begins although a guard says that the old libvirt cannot read a guest"
            }
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
