//! The action families. One file a kind; each with the same five parts: check, prepare, apply, verify, undo.
//!
//! Owns what an action does to the host. Never decides whether it may: policy, guard, epoch and ledger come before, in
//! `perform`.

mod answer;
mod around;
mod ceph_answer;
mod ceph_config;
mod ceph_daemon;
mod ceph_flags;
mod ceph_own;
mod ceph_require;
mod ceph_restart;
mod ceph_safe;
#[cfg(test)]
mod ceph_tests;
mod file_edit;
mod file_write;
mod given_back;
mod held;
mod libvirt_anchor;
mod libvirt_restart;
mod libvirt_safe;
#[cfg(test)]
mod libvirt_tests;
mod libvirt_trial;
mod libvirt_watch;
mod packages_install;
mod packages_stage;
#[cfg(test)]
mod packages_tests;
mod passage;
mod repository_pin;
mod staged;
#[cfg(test)]
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
mod transaction;
mod tree_install;
mod tree_retain;
mod tree_trial;
mod tree_use;
mod unit_drop_in;
mod unit_enable;
mod unit_links;
mod unit_mask;

use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;

pub use replank_agent_core::act::{ActError, Failure, Report, Standing};

/// Tells the operator how far an action is: permille if known, and a line.
pub type Progress<'a> = &'a (dyn Fn(Option<u32>, &str) + Sync);

/// One kind of action. Blocking: runs on a thread of its own.
///
/// The caller's order is `check`, `prepare`, *ledger: intent and undo record*, `apply`, `verify`, *ledger: outcome*. After a crash the
/// caller runs `check` again and then, unless it says `Done`, `apply` with the undo record of the first time. So `apply`
/// must be able to run again after a crash at any of its instructions, and `prepare` must not change what it records.
pub trait Perform {
    /// # Errors
    /// A refusal when the host is not as the action expects: nothing has been changed.
    fn check(&self, host: &Host) -> Result<Standing, Refusal>;

    /// What is there now, before the first change. May copy old bytes into the agent's own directory.
    ///
    /// # Errors
    /// A refusal: nothing has been changed.
    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal>;

    /// The same, and tells how far it is: for what looks at many files.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    fn prepare_aloud(&self, host: &Host, progress: Progress<'_>) -> Result<UndoRecord, Refusal> {
        let _ = progress;
        self.prepare(host)
    }

    /// Make it so.
    ///
    /// # Errors
    /// A refusal when it turned out that it must not be: nothing outside the agent's own directory has been changed then.
    /// `Failure` when something went wrong; the undo record in the ledger tells what to give back.
    fn apply(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError>;

    /// Is it so? Looks at the host afresh. `record` is the one that `apply` was given.
    ///
    /// # Errors
    /// `Failure` names what is not.
    fn verify(&self, host: &Host, record: &UndoRecord) -> Result<(), Failure>;

    /// Take back what `record` says, where the host is still as the action left it. Must be able to run again after a crash at
    /// any of its instructions, and do nothing when there is nothing (left) to do.
    ///
    /// # Errors
    /// A refusal when going back would endanger a guest or overwrite what somebody else changed since; nothing has been
    /// changed then. `Failure` when something went wrong half way.
    fn undo(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError>;
}

pub use crate::host::Host;
