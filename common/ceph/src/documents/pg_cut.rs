//! The groups of some OSDs, cut out of a whole list. What was counted over the whole list stays with them, so that a group which is
//! missing from the list is still missed.

use super::pg_dump::{Pg, PgDump};
use crate::{OsdId, PoolId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Groups that nobody holds and that a cut keeps: one is enough to object, the others are named to people.
const NOWHERE_KEPT: usize = 8;

/// A part of a list, and what is known of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgCut {
    /// Every group that has one of these in `acting` or `up` is in `pgs`.
    pub of: BTreeSet<OsdId>,
    pub pgs: PgDump,
    /// Counted over the whole list.
    pub listed: BTreeMap<PoolId, Listed>,
}

/// How many groups of a pool a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listed {
    pub count: u32,
    pub highest_seed: u32,
}

impl PgDump {
    /// What the list has of each pool.
    pub fn listed(&self) -> BTreeMap<PoolId, Listed> {
        let mut pools: BTreeMap<PoolId, Listed> = BTreeMap::new();
        for pg in &self.pgs {
            let listed = pools.entry(pg.id.pool).or_default();
            listed.count += 1;
            listed.highest_seed = listed.highest_seed.max(pg.id.seed);
        }
        pools
    }
}

impl PgCut {
    /// Cuts `pgs` down to the groups of these OSDs and a few that nobody holds.
    pub fn new(pgs: PgDump, of: BTreeSet<OsdId>) -> Self {
        let listed = pgs.listed();
        let mut nowhere = 0;
        let mut wanted = |pg: &Pg| {
            let mut members = pg.acting.iter().chain(&pg.up).flatten().peekable();
            if members.peek().is_none() {
                nowhere += 1;
                return nowhere <= NOWHERE_KEPT;
            }
            members.any(|osd| of.contains(osd))
        };
        let PgDump { mut pgs, last_osdmap_epoch } = pgs;
        pgs.retain(|pg| wanted(pg));
        Self { of, pgs: PgDump { pgs, last_osdmap_epoch }, listed }
    }
}
