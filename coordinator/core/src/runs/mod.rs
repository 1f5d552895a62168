//! The runs that one coordinator process has in its hands: which hosts they are on, what came over which link, what was sent on which.
//!
//! Owns the machines of the runs that are under way, and no decision of theirs. Everything here is of one process alone; what must survive
//! is in the journals. Never reads a clock, writes a file or sends a message: the drive does in production and the simulation does in its
//! tests, both in this order, for each batch of what came:
//!
//! ```no_run
//! use replank_core::runs::{Append, Event, Outlet, Runs};
//! # fn append_and_sync(_: &[Append]) -> Result<(), std::io::Error> { Ok(()) }
//! # fn example(mut runs: Runs, events: Vec<Event>, outlet: &impl Outlet, now_ms: u64) -> Result<(), std::io::Error> {
//! for event in events {
//!     if let Some(progress) = runs.event(event, now_ms) {
//!         println!("{}: {}", progress.step, progress.text);
//!     }
//! }
//! runs.tick(now_ms);
//! append_and_sync(&runs.appends())?; // P4: durable first; if this fails, drop the runs and replay their journals
//! runs.durable(outlet);              // before this, nothing leaves
//! # Ok(()) }
//! ```
//!
//! The rules that are kept here:
//! - A want goes out once on each link, and again on the host's next one.
//! - What comes over a link that is not the host's newest is past: it is passed over.
//! - Two runs that are not finished never share a host.

mod all;
mod append;
mod epochs;
mod event;
mod held;
mod linked;
mod refusal;

pub use all::Runs;
pub use append::{Append, Standing};
pub use epochs::Epochs;
pub use event::{Event, LinkNumber, Progress, What};
pub use linked::Outlet;
pub use refusal::Refusal;
