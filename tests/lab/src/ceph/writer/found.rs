//! What is in the cluster, as a new client reads it.

use serde::Deserialize;

use crate::error::{LabError, Result};

/// All lanes of all places.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    pub(super) lanes: Vec<Lane>,
}

/// One lane. Ranges hold their first and their last number and are in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lane {
    pub(super) place: String,
    pub(super) lane: u32,
    /// Records that are there byte for byte.
    pub(super) whole: Vec<(u64, u64)>,
    /// Places that are neither empty nor the record that belongs there.
    pub(super) torn: Vec<(u64, u64)>,
}

impl Found {
    /// Reads the answer of the program.
    ///
    /// # Errors
    /// When it is not what the program prints.
    pub fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text)
            .map_err(|error| LabError::Refused(format!("what was read back does not read: {error}")))
    }
}

impl Lane {
    pub(super) fn has(&self, number: u64) -> bool {
        self.whole.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    pub(super) fn written(&self) -> u64 {
        count(&self.whole)
    }

    /// Records whose predecessor is not there: each range but one that begins with the first record begins with one.
    pub(super) fn without_predecessor(&self) -> impl Iterator<Item = u64> {
        self.whole.iter().map(|(first, _)| *first).filter(|first| *first > 1)
    }
}

pub(super) fn count(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().map(|(first, last)| last + 1 - first).sum()
}
