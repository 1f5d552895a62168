//! A ledger in memory, for simulations and tests. It outlives the agent that it is of: what a call has written is durable, as with a real
//! one, so that a crash loses nothing of it, and what a crash came before was never there.

use super::{Entry, IllegalEntry, Ledger, NewIntent, Unbegun, rules};
use replank_common::UnixMs;
use replank_common::ids::{ActionId, CoordinatorId, Epoch, RunId, StepId};
use replank_common::leader::Leader;
use replank_common::outcome::Outcome;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Why a call on a [`MemoryLedger`] failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    #[error("the ledger cannot be written: its disk is full; make room")]
    Full,
    #[error(transparent)]
    Illegal(#[from] IllegalEntry),
}

/// A ledger in memory.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    full: Cell<bool>,
    kept: RefCell<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    leader: Leader,
    /// Oldest first.
    entries: Vec<Entry>,
    /// Where in `entries` a command is.
    places: BTreeMap<ActionId, usize>,
}

impl MemoryLedger {
    /// While the disk is full, all that is there can be read and nothing be written.
    pub fn set_full(&self, full: bool) {
        self.full.set(full);
    }

    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.kept.borrow().entries.clone()
    }

    /// Whether a command is known, without a copy of what is known.
    pub fn knows(&self, id: &ActionId) -> bool {
        self.kept.borrow().places.contains_key(id)
    }

    fn room(&self) -> Result<(), MemoryError> {
        if self.full.get() { Err(MemoryError::Full) } else { Ok(()) }
    }

    fn follow(&self, after: impl FnOnce(Leader) -> Option<Leader>) -> Result<bool, MemoryError> {
        let leader = self.kept.borrow().leader;
        let Some(next) = after(leader) else { return Ok(false) };
        if next != leader {
            self.room()?;
            self.kept.borrow_mut().leader = next;
        }
        Ok(true)
    }

    fn insert(&self, entry: &Entry) -> Result<(), MemoryError> {
        self.room()?;
        let mut kept = self.kept.borrow_mut();
        let place = kept.entries.len();
        kept.places.insert(entry.id.clone(), place);
        kept.entries.push(entry.clone());
        Ok(())
    }
}

impl Kept {
    fn known(&self, id: &ActionId) -> Option<&Entry> {
        self.places.get(id).and_then(|place| self.entries.get(*place))
    }
}

impl Ledger for MemoryLedger {
    type Error = MemoryError;

    fn illegal(error: &MemoryError) -> Option<&IllegalEntry> {
        match error {
            MemoryError::Illegal(illegal) => Some(illegal),
            MemoryError::Full => None,
        }
    }

    fn epoch(&self) -> Result<Epoch, MemoryError> {
        Ok(self.kept.borrow().leader.epoch)
    }

    fn leader(&self) -> Result<Leader, MemoryError> {
        Ok(self.kept.borrow().leader)
    }

    fn obey(&self, epoch: Epoch) -> Result<bool, MemoryError> {
        self.follow(|leader| leader.after_command(epoch))
    }

    fn obey_welcome(&self, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Result<bool, MemoryError> {
        self.follow(|leader| leader.after_welcome(epoch, coordinator))
    }

    fn look_up(&self, id: &ActionId) -> Result<Option<Entry>, MemoryError> {
        Ok(self.kept.borrow().known(id).cloned())
    }

    fn of_step(&self, run: &RunId, step: &StepId) -> Result<Vec<Entry>, MemoryError> {
        let kept = self.kept.borrow();
        Ok(kept
            .entries
            .iter()
            .filter(|entry| entry.id.run == *run && entry.id.step == *step)
            .cloned()
            .collect())
    }

    fn unfinished(&self) -> Result<Vec<Entry>, MemoryError> {
        Ok(self.kept.borrow().entries.iter().filter(|entry| entry.outcome().is_none()).cloned().collect())
    }

    fn count(&self) -> Result<u64, MemoryError> {
        Ok(u64::try_from(self.kept.borrow().entries.len()).unwrap_or(u64::MAX))
    }

    fn intend(&self, new: NewIntent) -> Result<Entry, MemoryError> {
        let entry = {
            let kept = self.kept.borrow();
            let known = kept.known(&new.id);
            rules::intended(new, kept.leader.epoch, known)?
        };
        self.insert(&entry)?;
        Ok(entry)
    }

    fn go_on(&self, id: &ActionId, epoch: Epoch) -> Result<Entry, MemoryError> {
        let kept = self.kept.borrow();
        Ok(rules::gone_on(id, epoch, kept.leader.epoch, kept.known(id).cloned())?)
    }

    fn end(&self, id: &ActionId, outcome: Outcome, at_ms: UnixMs) -> Result<Entry, MemoryError> {
        let known = self.kept.borrow().known(id).cloned();
        let entry = rules::ended(id, known, outcome, at_ms)?;
        self.room()?;
        let mut kept = self.kept.borrow_mut();
        if let Some(place) = kept.places.get(id).copied() {
            kept.entries[place] = entry.clone();
        }
        Ok(entry)
    }

    fn end_unbegun(&self, new: Unbegun) -> Result<Entry, MemoryError> {
        let entry = {
            let kept = self.kept.borrow();
            let known = kept.known(&new.id);
            rules::ended_unbegun(new, known)?
        };
        self.insert(&entry)?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::conformance::{self, Script};

    #[test]
    fn it_is_a_ledger() {
        conformance::check(MemoryLedger::default(), |ledger| ledger);
        conformance::check_against_memory(MemoryLedger::default(), 1, |ledger| ledger);
    }

    #[test]
    fn a_full_disk_is_read_and_not_written_and_nothing_of_the_call_stays() {
        let script = Script::default();
        let ledger = MemoryLedger::default();
        ledger.obey(Epoch(3)).unwrap();
        ledger.intend(script.intent(1, 3)).unwrap();
        let before = ledger.entries();
        ledger.set_full(true);
        assert_eq!(ledger.obey(Epoch(4)), Err(MemoryError::Full));
        assert_eq!(ledger.obey(Epoch(3)), Ok(true), "nothing is to be written");
        assert_eq!(ledger.intend(script.intent(2, 3)), Err(MemoryError::Full));
        assert_eq!(ledger.end(&script.id(1), script.done(), 9), Err(MemoryError::Full));
        assert_eq!(ledger.end_unbegun(script.unbegun(3)), Err(MemoryError::Full));
        assert_eq!((ledger.epoch(), ledger.entries()), (Ok(Epoch(3)), before));
        ledger.set_full(false);
        ledger.end(&script.id(1), script.done(), 9).unwrap();
    }
}
