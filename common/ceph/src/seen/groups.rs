//! How the groups of a cluster are, counted.

use crate::PgId;
use crate::documents::{Pg, PgDump, PgState, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Groups of one kind that are named.
const NAMED: usize = 8;

/// Every group counted, some named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Groups {
    /// How many groups are in each state, as it is spelled today; `""` is no state at all.
    pub states: BTreeMap<String, u32>,
    /// The first that are being scrubbed.
    pub scrubbing: Vec<PgId>,
}

impl Groups {
    pub fn new(pgs: &PgDump) -> Self {
        let mut groups = Self::default();
        for Pg { id, state, .. } in &pgs.pgs {
            let text = state.as_ref().map(ToString::to_string).unwrap_or_default();
            *groups.states.entry(text).or_default() += 1;
            if groups.scrubbing.len() < NAMED && state.as_ref().is_some_and(scrubs) {
                groups.scrubbing.push(*id);
            }
        }
        groups
    }

    /// How many are being scrubbed.
    pub fn scrubs(&self) -> u32 {
        self.count(scrubs)
    }

    /// How many are in a state that does not tell whether they are.
    pub fn unclear(&self) -> u32 {
        let none = self.states.get("").copied().unwrap_or(0);
        none + self.count(|state| state.has(Word::Unknown) && !scrubs(state))
    }

    fn count(&self, is: impl Fn(&PgState) -> bool) -> u32 {
        let states = self.states.iter().filter(|(text, _)| !text.is_empty());
        states.filter(|(text, _)| is(&PgState::new(text))).map(|(_, count)| count).sum()
    }
}

fn scrubs(state: &PgState) -> bool {
    state.has_any(&[Word::Scrubbing, Word::Deep])
}
