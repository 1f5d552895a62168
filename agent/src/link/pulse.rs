//! The link's sign of life: before each wait it says how long that may take, and whoever guards it sees when it took longer.
//!
//! A coordinator that is away costs no pulse: the link then waits for its next try, and says so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// On top of each bound: a host under load runs late, and that is no hang.
const SLACK: Duration = Duration::from_secs(15);

/// By when the next sign is due; none while nothing runs.
#[derive(Debug, Default)]
pub struct Pulse {
    due: Mutex<Option<Instant>>,
}

impl Pulse {
    /// Alive, and again within `bound`.
    pub(crate) fn within(&self, bound: Duration) {
        *self.due() = Some(Instant::now() + bound + SLACK);
    }

    /// Ended in good order.
    pub(crate) fn rest(&self) {
        *self.due() = None;
    }

    /// For how long a sign has been missing at `now`; `None` when none is.
    pub fn missing_at(&self, now: Instant) -> Option<Duration> {
        self.due().and_then(|due| now.checked_duration_since(due)).filter(|late| !late.is_zero())
    }

    fn due(&self) -> MutexGuard<'_, Option<Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_missing_once_its_bound_and_the_slack_are_over() {
        let pulse = Pulse::default();
        let (minute, now) = (Duration::from_secs(60), Instant::now());
        assert_eq!(pulse.missing_at(now + minute), None);
        pulse.within(minute);
        assert_eq!(pulse.missing_at(now + minute), None);
        assert!(pulse.missing_at(now + minute + SLACK * 2).is_some());
        pulse.rest();
        assert_eq!(pulse.missing_at(now + minute * 10), None);
    }
}
