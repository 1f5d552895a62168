//! The only place with a clock and effects: every outside event of every run gets its place in one order here.
//!
//! Owns the clock, the writes and the answers; which runs there are, on which hosts, and what was sent on which link is in
//! [`replank_core::runs`], which the simulation drives too. For each batch of events that wait, in this order: feed the runs, append the
//! records of all runs touched in one synced write, tell the watchers, send what is wanted on the links, answer. Never blocks on a host,
//! an operator or a watcher.
//!
//! | the process dies | what the next one finds |
//! | --- | --- |
//! | before the write | nothing was written, nothing was sent on the strength of it |
//! | after the write, before the sending | the intents; it sends them, under the same ids |
//! | after the sending | the intents; it sends them again, and the agents answer from their ledgers (P5) |
//!
//! When the store fails or belongs to a later coordinator, or an agent has obeyed a later one, the machines are dropped, nothing is
//! sent any more, and [`Drive::run`] ends with the reason: what is in memory may be ahead of the disk.
mod clock;
mod error;
mod handle;
mod load;
mod task;
mod watch;

pub use clock::Clock;
pub use error::{DriveError, Refused};
pub use handle::{Handle, Told};
pub use task::Drive;
pub use watch::Watching;
