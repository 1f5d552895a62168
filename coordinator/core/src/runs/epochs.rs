//! What a folder counts (P9): which epoch the next coordinator on it has, and who may write.

use replank_common::ids::Epoch;
use replank_common::planted::{self, Planted};

/// A start every second, for eleven days.
const LEAP_MAX: u64 = 1_000_000;

/// The epochs that a folder knows of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epochs {
    /// Of the last coordinator that began on this folder.
    pub last: Epoch,
    /// The latest that hosts told of, of coordinators on other folders.
    pub heard: Epoch,
}

impl Epochs {
    /// After one more start: later than any of this folder and any that was heard of.
    #[must_use]
    pub fn next(self) -> Self {
        let later = u64::from(!planted::is(Planted::EpochNotRaised));
        Self { last: Epoch(self.last.max(self.heard).0 + later), ..self }
    }

    /// After a host said that it obeyed a coordinator of this epoch. One that no coordinator reaches in its life is the host's invention and
    /// is not taken over.
    #[must_use]
    pub fn hear(self, seen: Epoch) -> Self {
        let invented = seen.0.saturating_sub(self.last.0) > LEAP_MAX;
        if invented { self } else { Self { heard: self.heard.max(seen), ..self } }
    }

    /// Whether the coordinator of this epoch is the folder's last, which alone may write to it.
    pub fn is_led_by(self, own: Epoch) -> bool {
        own == self.last || planted::is(Planted::OvertakenWrites)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_epoch_is_later_than_any_that_was_heard_of_and_the_one_before_it_writes_no_more() {
        let mut epochs = Epochs::default();
        for (heard, next) in [(9, 10), (3, 11), (u64::MAX, 12), (12 + LEAP_MAX, 13 + LEAP_MAX)] {
            let before = epochs.last;
            epochs = epochs.hear(Epoch(heard)).next();
            assert_eq!(epochs.last, Epoch(next));
            assert!(epochs.is_led_by(Epoch(next)) && !epochs.is_led_by(before));
        }
    }
}
