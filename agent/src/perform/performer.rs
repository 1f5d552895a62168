//! The performer.

use super::hands::HostHands;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::policy::Policy;
use replank_agent_core::{Command, perform};
use replank_common::ids::ActionId;
use replank_common::outcome::Outcome;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// What happens on the way to the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The intent is durable; the action begins or goes on.
    Accepted,
    Progress {
        permille: Option<u32>,
        text: String,
    },
}

/// What a performer works with.
#[derive(Debug)]
pub struct PerformerSettings {
    pub host: Host,
    pub ledger: Arc<Ledger>,
    pub policy: Policy,
}

/// Carries out commands, one at a time.
#[derive(Debug)]
pub struct Performer {
    host: Host,
    ledger: Arc<Ledger>,
    policy: RwLock<Arc<Policy>>,
    /// Held while an action works: a host changes one thing at a time.
    lane: Mutex<()>,
    cancelled: Mutex<BTreeSet<ActionId>>,
}

impl Performer {
    pub fn new(settings: PerformerSettings) -> Self {
        Self {
            host: settings.host,
            ledger: settings.ledger,
            policy: RwLock::new(Arc::new(settings.policy)),
            lane: Mutex::new(()),
            cancelled: Mutex::new(BTreeSet::new()),
        }
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The policy that the next command is judged by.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the policy. A command that is at work goes on under the one that it began under.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Do not start this command if it has not started. One that runs is not interrupted.
    pub fn cancel(&self, id: ActionId) {
        lock(&self.cancelled).insert(id);
    }

    /// Whether it was called off; forgets it.
    pub(super) fn was_cancelled(&self, id: &ActionId) -> bool {
        lock(&self.cancelled).remove(id)
    }

    /// Carries a command out, or answers from the ledger. Blocking; `tell` is called from this thread.
    pub fn perform(&self, command: &Command, tell: &(dyn Fn(Event) + Sync)) -> Outcome {
        let _lane = lock(&self.lane);
        perform(command, &*self.ledger, &mut HostHands::new(self, tell))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is whole at every instruction, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
