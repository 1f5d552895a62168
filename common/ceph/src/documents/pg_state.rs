//! The state of a placement group: a set of words joined by `+`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

macro_rules! words {
    ($($(#[$doc:meta])* $variant:ident $word:literal $(| $other:literal)*),* $(,)?) => {
        /// A word of a state. Source: `pg_state_string` in src/osd/osd_types.cc, Hammer to Reef.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Word { $($(#[$doc])* $variant),* }

        impl Word {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As the newest release spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            fn read(word: &str) -> Option<Self> {
                match word { $($word $(| $other)* => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    Active "active",
    Clean "clean",
    Creating "creating",
    Activating "activating",
    Peering "peering",
    Peered "peered",
    Down "down",
    Stale "stale",
    Incomplete "incomplete",
    /// The manager, or in Hammer and Jewel the MON, has heard nothing of it: state 0.
    Unknown "unknown" | "inactive",
    Inconsistent "inconsistent",
    Repair "repair",
    FailedRepair "failed_repair",
    Scrubbing "scrubbing",
    Deep "deep",
    ScrubQueued "scrubq",
    Degraded "degraded",
    Undersized "undersized",
    Remapped "remapped",
    Recovering "recovering",
    RecoveryWait "recovery_wait",
    RecoveryTooFull "recovery_toofull",
    RecoveryUnfound "recovery_unfound",
    Backfilling "backfilling" | "backfill",
    /// Hammer and Jewel have the words the other way round.
    BackfillWait "backfill_wait" | "wait_backfill",
    BackfillTooFull "backfill_toofull",
    BackfillUnfound "backfill_unfound",
    ForcedRecovery "forced_recovery",
    ForcedBackfill "forced_backfill",
    SnapTrim "snaptrim",
    SnapTrimWait "snaptrim_wait",
    SnapTrimError "snaptrim_error",
    Replay "replay",
    Splitting "splitting",
    Premerge "premerge",
    Laggy "laggy",
    Wait "wait",
}

/// A set of words, and what no release known here says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PgState {
    words: u64,
    /// Words that are not known, joined by `+`.
    strange: Option<Box<str>>,
}

impl PgState {
    /// Reads `active+clean`; an empty text is the unknown state.
    pub fn new(text: &str) -> Self {
        let mut state = Self::default();
        for word in text.split('+').map(str::trim) {
            let read = if word.is_empty() { Some(Word::Unknown) } else { Word::read(word) };
            match (read, &mut state.strange) {
                (Some(word), _) => state.words |= 1 << word as u64,
                (None, Some(strange)) => *strange = format!("{strange}+{word}").into(),
                (None, none) => *none = Some(word.into()),
            }
        }
        state
    }

    pub fn has(&self, word: Word) -> bool {
        self.words & (1 << word as u64) != 0
    }

    pub fn has_any(&self, words: &[Word]) -> bool {
        words.iter().any(|word| self.has(*word))
    }

    /// The words that are not known here, if any.
    pub fn strange(&self) -> Option<&str> {
        self.strange.as_deref()
    }
}

impl fmt::Display for PgState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Word::ALL.iter().filter(|word| self.has(**word)).map(|word| word.as_str());
        for (index, word) in known.chain(self.strange()).enumerate() {
            write!(f, "{}{word}", if index == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for PgState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl serde::de::Visitor<'_> for Read {
            type Value = PgState;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a state such as `active+clean`")
            }
            fn visit_str<E>(self, value: &str) -> Result<PgState, E> {
                Ok(PgState::new(value))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

impl Serialize for PgState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_a_set_in_every_releases_spelling() {
        assert!(Word::ALL.len() <= 64);
        for word in Word::ALL {
            assert_eq!(PgState::new(word.as_str()).to_string(), word.as_str());
        }
        assert_eq!(
            PgState::new("active+remapped+wait_backfill"),
            PgState::new("active+remapped+backfill_wait")
        );
        assert_eq!(PgState::new("clean+active"), PgState::new("active+clean"));
        assert_eq!(PgState::new("inactive"), PgState::new("unknown"));
        assert_eq!(PgState::new(""), PgState::new("unknown"));
        assert!(PgState::new("active+clean").has(Word::Clean));
        assert!(!PgState::new("active+cleaning").has(Word::Clean));
    }

    #[test]
    fn a_word_from_the_future_is_kept() {
        let state = PgState::new("active+clean+becalmed+adrift");
        assert_eq!(state.strange(), Some("becalmed+adrift"));
        assert_eq!(state.to_string(), "active+clean+becalmed+adrift");
    }
}
