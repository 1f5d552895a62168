//! The clock: the wall's time, read once, and counted on with a clock that never goes back.

use replank_common::UnixMs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Cheap to copy; every copy tells the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    began_ms: UnixMs,
}

impl Clock {
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), began_ms: milliseconds(wall) }
    }

    pub fn now_ms(&self) -> UnixMs {
        self.began_ms + milliseconds(self.began.elapsed())
    }
}

fn milliseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
