//! The link to the coordinator: dialled by the agent, one stream, for as long as the agent lives.
//!
//! Owns enrolment, the host's identity and its renewal, the dialling, and the translation between the wire and what the rest of the
//! agent does ([`Ports`]). Decides nothing about an action: it refuses what it does not understand and what carries an old epoch,
//! and hands the rest to [`Performer`].
//!
//! | the link ends | what happens |
//! | --- | --- |
//! | while nothing runs | dialled again, after 0.2 to 5 s |
//! | with orders that have not started | they are forgotten; nothing of them is in the ledger, and the coordinator asks again |
//! | while an action runs | it runs on; its outcome is in the ledger and goes out on the next link, by itself if it ends then, else when asked for |
//! | before an outcome arrived | the coordinator asks for the same action id again and is answered from the ledger (P5) |

mod census;
mod commands;
mod desk;
mod dial;
mod enrol;
mod failure;
mod identity;
mod ports;
mod pulse;
mod session;
mod task;
#[cfg(test)]
mod tests;

pub use desk::{Desk, Observer};
pub use enrol::{Enrolled, Enrolment, enrol};
pub use failure::LinkError;
pub use identity::{IdentityFiles, keep_renewed, renew};
pub use ports::{GuestSource, Order, Performer, Ports, ReadingSource, Told, Work};
pub use pulse::Pulse;
pub use task::{Link, LinkState, Settings};
