//! The rules that are checked, and the ways in which each can be broken to see that the check would find it. What an agent obeys and begins are the
//! agent's own rules; a broken one is its ledger, with one of them bent.

use replank_agent_core::Ledger;
use replank_agent_core::ledger::{Entry, IllegalEntry, MemoryError, MemoryLedger, NewIntent, Unbegun};
use replank_common::UnixMs;
use replank_common::ids::{ActionId, CoordinatorId, Epoch, RunId, StepId};
use replank_common::leader::Leader;
use replank_common::outcome::Outcome;
use replank_core::runs::Epochs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    AsBuilt,
    AgentIgnoresEpochs,
    /// It compares when the command comes, and not again before the intent.
    AgentComparesOnce,
    AgentForgetsItsEpoch,
    AgentForgetsItsLedger,
    /// It keeps the epoch, and not whose it was.
    AgentForgetsItsCoordinator,
    CoordinatorReusesItsEpoch,
}

impl Rules {
    pub fn next(self, epochs: Epochs) -> Epochs {
        match self {
            Self::CoordinatorReusesItsEpoch => Epochs { last: epochs.last.max(Epoch(1)), ..epochs },
            _ => epochs.next(),
        }
    }

    /// Whether a coordinator lets a host in that says whom it obeyed.
    pub fn may_lead(self, seen: Leader, epoch: Epoch, coordinator: CoordinatorId) -> bool {
        match self {
            Self::AgentForgetsItsCoordinator => epoch >= seen.epoch,
            _ => seen.after_welcome(epoch, Some(coordinator)).is_some(),
        }
    }

    pub fn forgets_epoch(self) -> bool {
        self == Self::AgentForgetsItsEpoch
    }

    pub fn forgets_ledger(self) -> bool {
        self == Self::AgentForgetsItsLedger
    }
}

/// The agent's ledger, with one rule bent.
#[derive(Debug)]
pub struct Bent<'a> {
    pub ledger: &'a MemoryLedger,
    pub rules: Rules,
}

impl Bent<'_> {
    /// The epoch as it is compared before the host is touched.
    fn bent(&self, epoch: Epoch) -> Result<Epoch, MemoryError> {
        match self.rules {
            Rules::AgentIgnoresEpochs | Rules::AgentComparesOnce => Ok(epoch.max(self.ledger.epoch()?)),
            _ => Ok(epoch),
        }
    }
}

impl Ledger for Bent<'_> {
    type Error = MemoryError;

    fn illegal(error: &MemoryError) -> Option<&IllegalEntry> {
        MemoryLedger::illegal(error)
    }

    fn epoch(&self) -> Result<Epoch, MemoryError> {
        self.ledger.epoch()
    }

    fn leader(&self) -> Result<Leader, MemoryError> {
        self.ledger.leader()
    }

    fn obey_welcome(&self, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Result<bool, MemoryError> {
        match self.rules {
            Rules::AgentIgnoresEpochs => self.ledger.obey_welcome(epoch, coordinator).map(|_| true),
            Rules::AgentForgetsItsCoordinator => self.ledger.obey(epoch),
            _ => self.ledger.obey_welcome(epoch, coordinator),
        }
    }

    fn obey(&self, epoch: Epoch) -> Result<bool, MemoryError> {
        match self.rules {
            Rules::AgentIgnoresEpochs => self.ledger.obey(self.bent(epoch)?),
            _ => self.ledger.obey(epoch),
        }
    }

    fn look_up(&self, id: &ActionId) -> Result<Option<Entry>, MemoryError> {
        self.ledger.look_up(id)
    }

    fn of_step(&self, run: &RunId, step: &StepId) -> Result<Vec<Entry>, MemoryError> {
        self.ledger.of_step(run, step)
    }

    fn unfinished(&self) -> Result<Vec<Entry>, MemoryError> {
        self.ledger.unfinished()
    }

    fn count(&self) -> Result<u64, MemoryError> {
        self.ledger.count()
    }

    fn intend(&self, new: NewIntent) -> Result<Entry, MemoryError> {
        self.ledger.intend(NewIntent { epoch: self.bent(new.epoch)?, ..new })
    }

    fn go_on(&self, id: &ActionId, epoch: Epoch) -> Result<Entry, MemoryError> {
        self.ledger.go_on(id, self.bent(epoch)?)
    }

    fn end(&self, id: &ActionId, outcome: Outcome, at_ms: UnixMs) -> Result<Entry, MemoryError> {
        self.ledger.end(id, outcome, at_ms)
    }

    fn end_unbegun(&self, new: Unbegun) -> Result<Entry, MemoryError> {
        self.ledger.end_unbegun(new)
    }
}
