//! The rules that are checked, and the ways in which each can be broken to see that the check would find it.

use replank_common::ids::Epoch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    AsBuilt,
    AgentIgnoresEpochs,
    /// It compares when the command comes, and not again before the intent.
    AgentComparesOnce,
    AgentForgetsItsEpoch,
    AgentForgetsItsLedger,
    CoordinatorReusesItsEpoch,
}

impl Rules {
    /// `UPDATE epoch SET epoch = max(epoch, heard) + 1`, as the store has it.
    pub fn next_epoch(self, epoch: Epoch, heard: Epoch) -> Epoch {
        match self {
            Self::CoordinatorReusesItsEpoch => Epoch(epoch.0.max(1)),
            _ => Epoch(epoch.0.max(heard.0) + 1),
        }
    }

    /// What the ledger's `obey` does.
    pub fn obey(self, highest: &mut Epoch, epoch: Epoch) -> bool {
        let obeyed = epoch >= *highest || self == Self::AgentIgnoresEpochs;
        *highest = epoch.max(*highest);
        obeyed
    }

    /// What the ledger's `intend` asks again.
    pub fn may_begin(self, highest: Epoch, epoch: Epoch) -> bool {
        epoch >= highest || matches!(self, Self::AgentIgnoresEpochs | Self::AgentComparesOnce)
    }

    /// What is left of the highest epoch when the agent starts again.
    pub fn restart(self, highest: &mut Epoch) {
        if self == Self::AgentForgetsItsEpoch {
            *highest = Epoch(0);
        }
    }

    pub fn forgets_ledger(self) -> bool {
        self == Self::AgentForgetsItsLedger
    }
}
