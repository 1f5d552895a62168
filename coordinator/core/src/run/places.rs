//! Where a plan's hosts, steps and holds stand in it, by their ids.

use super::index::UnsoundPlan;
use crate::plan::Plan;
use replank_common::ids::{HoldId, HostName, StepId};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The places of one plan, which is given with every question: its ids are kept once, in the plan.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    hosts: Table,
    steps: Table,
    holds: Table,
}

impl Places {
    /// # Errors
    /// [`UnsoundPlan::Duplicate`].
    pub(super) fn of(plan: &Plan) -> Result<Self, UnsoundPlan> {
        let duplicate = |what, id: &str| UnsoundPlan::Duplicate { what, id: id.to_owned() };
        let (hosts, steps, holds) = (&plan.hosts, &plan.steps, &plan.holds);
        Ok(Self {
            hosts: Table::of(hosts.len(), |at| hosts[at].name.as_str())
                .map_err(|at| duplicate("host", hosts[at].name.as_str()))?,
            steps: Table::of(steps.len(), |at| steps[at].id.as_str())
                .map_err(|at| duplicate("step", steps[at].id.as_str()))?,
            holds: Table::of(holds.len(), |at| holds[at].id.as_str())
                .map_err(|at| duplicate("hold", holds[at].id.as_str()))?,
        })
    }

    pub(super) fn host(&self, plan: &Plan, name: &HostName) -> Option<usize> {
        self.hosts.find(name.as_str(), |at| plan.hosts[at].name.as_str())
    }

    pub(super) fn step(&self, plan: &Plan, id: &StepId) -> Option<usize> {
        self.steps.find(id.as_str(), |at| plan.steps[at].id.as_str())
    }

    /// As [`Self::step`], faster if it is the one at `guess`.
    pub(super) fn step_likely(&self, plan: &Plan, id: &StepId, guess: Option<usize>) -> Option<usize> {
        guess.filter(|at| plan.steps[*at].id == *id).or_else(|| self.step(plan, id))
    }

    pub(super) fn hold(&self, plan: &Plan, id: &HoldId) -> Option<usize> {
        self.holds.find(id.as_str(), |at| plan.holds[at].id.as_str())
    }
}

/// A hash table of places in a list. The hasher's keys are fixed and the order of the slots is nobody's business, so that the same list gives
/// the same table and nothing else depends on it.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    /// A power of two of them, at least half of them empty. An id stands in the first empty one from its own on.
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    at: u32,
    /// Of the id's hash: another id is told apart without looking at it, which costs more than anything else here.
    tag: u32,
}

const EMPTY: Slot = Slot { at: u32::MAX, tag: 0 };

impl Table {
    /// Of `count` ids, which are all different; or the place of one that is there before.
    fn of<'i>(count: usize, id_at: impl Fn(usize) -> &'i str) -> Result<Self, usize> {
        let mut table = Self { slots: vec![EMPTY; (2 * count).next_power_of_two().max(2)] };
        for at in 0..count {
            let hash = hash(id_at(at));
            match table.slot(hash, id_at(at), &id_at) {
                Err(empty) => {
                    let at = u32::try_from(at).expect("a plan has far fewer steps");
                    table.slots[empty] = Slot { at, tag: tag(hash) };
                }
                Ok(_) => return Err(at),
            }
        }
        Ok(table)
    }

    fn find<'i>(&self, id: &str, id_at: impl Fn(usize) -> &'i str) -> Option<usize> {
        self.slot(hash(id), id, &id_at).ok()
    }

    /// Where the id stands in the list, or the slot where it would be entered.
    fn slot<'i>(&self, hash: u64, id: &str, id_at: &impl Fn(usize) -> &'i str) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        // Only the lower bits matter.
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => return Err(slot),
                Slot { at, tag } if tag == self::tag(hash) && id_at(at as usize) == id => {
                    return Ok(at as usize);
                }
                Slot { .. } => slot = (slot + 1) & mask,
            }
        }
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_found_where_it_stands_and_no_other() {
        for count in [0, 1, 2, 3, 1_000] {
            let ids: Vec<String> = (0..count).map(|at| format!("compute{at}.step")).collect();
            let table = Table::of(count, |at| ids[at].as_str()).unwrap();
            for (at, id) in ids.iter().enumerate() {
                assert_eq!(table.find(id, |at| ids[at].as_str()), Some(at));
            }
            assert_eq!(table.find("compute.step", |at| ids[at].as_str()), None);
        }
    }

    #[test]
    fn an_id_that_is_there_twice_is_told() {
        let ids = ["a", "b", "c", "b"];
        assert_eq!(Table::of(4, |at| ids[at]), Err(3));
    }
}
