//! The host's clock, read in one place.

use replank_common::UnixMs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since the Unix epoch; 0 on a host whose clock stands before 1970.
pub fn now_ms() -> UnixMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| UnixMs::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
