//! Beats: what guests send, when it arrived, and what that tells of them.
//!
//! A guest that was paused goes on with the next number after a gap; one that was restarted counts from 1 again,
//! from another process; one that is lost is silent; one that runs twice is heard from two processes in turn. The
//! times are those at which the kernel took the datagrams, so a slow reader makes no gaps.

mod decode;
mod recorder;
mod tally;

pub use decode::{BEAT_LEN, MAX_GUEST};
pub use recorder::{Answer, BEAT_PORT, Recorder, ask};
pub use tally::{Arrival, GuestReport, Judgement, Limits, Tally, Window};
