//! Carrying out one command at a time, on this host.
//!
//! Owns the lane (a host changes one thing at a time), the policy of the moment, and what the rules of `replank_agent_core::perform` call:
//! the real actions, the guard and the clock. In which order a command passes epoch, ledger, policy, guard and action, and what
//! a crash leaves, is said there.

mod dispatch;
mod hands;
mod performer;

pub use performer::{Event, Performer, PerformerSettings};
pub use replank_agent_core::Command;
