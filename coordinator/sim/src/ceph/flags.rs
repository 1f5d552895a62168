//! Flags of the OSD map, and whose they are (P7).

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    set: BTreeSet<String>,
    /// How the operator left those that he touched.
    operators: BTreeMap<String, bool>,
}

impl Flags {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.set.contains(flag)
    }

    pub(crate) fn all(&self) -> &BTreeSet<String> {
        &self.set
    }

    /// By the run, or on its behalf. Whether anything was changed.
    pub(crate) fn put(&mut self, flag: &str, set: bool) -> bool {
        if set { self.set.insert(flag.to_owned()) } else { self.set.remove(flag) }
    }

    /// Whether anything was changed.
    pub(crate) fn put_by_operator(&mut self, flag: &str, set: bool) -> bool {
        let changed = self.put(flag, set);
        if changed {
            self.operators.insert(flag.to_owned(), set);
        }
        changed
    }

    /// What is not as the operator left it: what he set and is gone, and what is set and not by him.
    pub(crate) fn not_as_left(&self) -> Vec<String> {
        let his = |flag: &str| self.operators.get(flag).copied().unwrap_or(false);
        let touched = self.operators.keys().chain(&self.set).collect::<BTreeSet<_>>();
        touched.into_iter().filter(|flag| his(flag) != self.has(flag)).cloned().collect()
    }
}
