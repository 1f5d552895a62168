//! The host as the agent sees it: one adapter a tool, each parsing just what it needs, with fixtures beside it.
//!
//! Owns how a tool is called and what its answer means. Never decides what ought to be done, and never stops, pauses or
//! signals a guest (P3).

use crate::guard::Transaction;
use replank_common::census::Census;
use replank_common::finding::Finding;
use std::fmt::Debug;

/// What actions need to know of the guests; implemented by `crate::guests`, and by a fake in the tests of actions.
pub trait Guests: Debug + Send + Sync {
    /// Takes a census now. Blocking; bounded by the census's own deadlines.
    fn census(&self) -> Census;

    /// Compares a resolved transaction with what the guests use now: `guests::usage::collect`, then `guard::judge`.
    ///
    /// # Errors
    /// What cannot be told, which blocks.
    fn judge(&self, transaction: &Transaction) -> Result<Vec<Finding>, String>;
}

/// The adapters and directories that actions work with.
#[derive(Debug)]
pub struct Host {}
