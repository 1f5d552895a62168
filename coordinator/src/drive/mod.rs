//! The only place with a clock and effects: every outside event of every run gets its place in one order here.
//!
//! Owns the machines of the runs that are under way, and no decision of theirs. For each batch of events that wait, in this order: feed
//! the machines, append the records of all runs touched in one synced write, confirm, hand what is wanted to the links, tell the watchers.
//! Never blocks on a host, an operator or a watcher.
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
mod runs;
mod task;
mod watch;

pub use clock::Clock;
pub use error::{DriveError, Refused};
pub use handle::{Handle, Told};
pub use task::Drive;
pub use watch::Watching;
