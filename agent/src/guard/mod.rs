//! The guard on a real host: its rules are [`replank_agent_core::guard`]'s; here is what they have to know of the host's files.
//!
//! Owns how a path of the host is followed, and which directories are kept. Judges nothing itself.

mod below;
mod retained;

pub use below::{follow_below, resolve_below};
pub use replank_agent_core::guard::{
    Phase, Scriptlet, Situation, Transaction, TransactionItem, judge, judge_action, needs_agreement,
    needs_usage, of_census, verdict,
};
pub use retained::kept;

#[cfg(test)]
mod tests;
