//! The rule, applied to a set.

use super::copies::{Copies, copies};
use super::need::{Consents, Need};
use super::objection::{Objection, PgCause, PgObjection, Shortage};
use crate::documents::{Listed, OsdDump, Pg, PgCut, PgDump, QuorumStatus};
use crate::quorum::{Machines, mon_objections};
use crate::{OsdId, PgId, PoolId};
use replank_common::planted::{self, Planted};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A cluster's groups by their members, made once and asked many times.
#[derive(Debug)]
pub struct Redundancy<'a> {
    osds: &'a OsdDump,
    pgs: &'a PgDump,
    needs: BTreeMap<PoolId, Option<Need>>,
    /// What the whole list had of each pool.
    listed: BTreeMap<PoolId, Listed>,
    /// `pgs` has the groups of these OSDs and no others; `None`: of all.
    only: Option<&'a BTreeSet<OsdId>>,
    /// Every OSD of the map, or named by a group; its place is its slot.
    slots: Vec<OsdId>,
    /// `touching[starts[slot]..starts[slot + 1]]`: the groups that have the OSD of that slot in `acting` or `up`.
    starts: Vec<usize>,
    touching: Vec<u32>,
}

/// What a group allows, for planning over many sets.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) pg: PgId,
    /// Slots of its members that are up and miss nothing.
    pub(crate) complete: Vec<u32>,
    /// How many of those may be down at once. Negative: nothing that touches it may stop.
    pub(crate) spare: i64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub answer: Answer,
    /// Members of the set.
    pub osds: BTreeSet<OsdId>,
    /// MONs that were named.
    pub mons: BTreeSet<String>,
    /// Groups that have a member in the set.
    pub touched: usize,
    /// All of them.
    pub objections: Vec<Objection>,
    /// Pools whose clients stop while the set is down, as was agreed to.
    pub outages: Vec<String>,
    /// Members of the set that are down already.
    pub down_already: Vec<OsdId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Safe,
    NotSafe,
    CannotTell,
}

/// What is asked: OSDs and MONs that are to be down at the same time.
#[derive(Debug, Clone, Default)]
pub struct StopSet {
    pub osds: BTreeSet<OsdId>,
    pub mons: BTreeSet<String>,
}

impl<'a> Redundancy<'a> {
    pub fn new(osds: &'a OsdDump, pgs: &'a PgDump, consents: &Consents) -> Self {
        Self::over(osds, pgs, pgs.listed(), None, consents)
    }

    /// Of a list that was cut down to some OSDs. Only sets of those can be safe.
    pub fn of_cut(osds: &'a OsdDump, cut: &'a PgCut, consents: &Consents) -> Self {
        Self::over(osds, &cut.pgs, cut.listed.clone(), Some(&cut.of), consents)
    }

    fn over(
        osds: &'a OsdDump,
        pgs: &'a PgDump,
        listed: BTreeMap<PoolId, Listed>,
        only: Option<&'a BTreeSet<OsdId>>,
        consents: &Consents,
    ) -> Self {
        let needs = osds.pools.values().map(|pool| (pool.id, Need::of(pool, consents))).collect();
        let named = pgs.pgs.iter().flat_map(members).copied();
        let slots: Vec<OsdId> =
            osds.osds.keys().copied().chain(named).collect::<BTreeSet<_>>().into_iter().collect();
        let slot_of = |osd: &OsdId| slots.binary_search(osd).expect("every member was given a slot");
        let mut starts = vec![0; slots.len() + 1];
        let mut pairs = Vec::new();
        for (index, pg) in pgs.pgs.iter().enumerate() {
            let index = u32::try_from(index).expect("a cluster has fewer than 2^32 groups");
            let before = pairs.len();
            for slot in members(pg).map(slot_of) {
                if !pairs[before..].contains(&(slot, index)) {
                    pairs.push((slot, index));
                    starts[slot + 1] += 1;
                }
            }
        }
        for slot in 0..slots.len() {
            starts[slot + 1] += starts[slot];
        }
        let mut next = starts.clone();
        let mut touching = vec![0; pairs.len()];
        for (slot, index) in pairs {
            touching[next[slot]] = index;
            next[slot] += 1;
        }
        Self { osds, pgs, needs, listed, only, slots, starts, touching }
    }

    /// May all of `set` be down at once? `quorum`: where the MONs are; without it they are not looked at.
    pub fn judge(&self, set: &StopSet, quorum: Option<(&QuorumStatus, &Machines)>) -> Verdict {
        let mut objections = self.objections_anywhere(&set.osds);
        let mut touched: Vec<u32> = set.osds.iter().flat_map(|osd| self.touching(*osd)).copied().collect();
        touched.sort_unstable();
        touched.dedup();
        let mut outages = BTreeSet::new();
        for index in &touched {
            let pg = &self.pgs.pgs[*index as usize];
            match self.object(pg, &set.osds) {
                Some(objection) => objections.push(Objection::Pg(objection)),
                None if self.is_outage(pg) => drop(outages.insert(self.pool_name(pg.id.pool))),
                None => {}
            }
        }
        if let Some((quorum, machines)) = quorum {
            objections.extend(mon_objections(quorum, machines, set));
        }
        let answer = match objections.iter().any(Objection::certain) {
            true => Answer::NotSafe,
            false if objections.is_empty() => Answer::Safe,
            false => Answer::CannotTell,
        };
        let down = |osd: &&OsdId| self.osds.osds.get(osd).is_some_and(|osd| osd.up == Some(false));
        Verdict {
            answer,
            osds: set.osds.clone(),
            mons: set.mons.clone(),
            touched: touched.len(),
            objections,
            outages: outages.into_iter().collect(),
            down_already: set.osds.iter().filter(down).copied().collect(),
        }
    }

    /// What keeps every set from stopping that does not mend it itself.
    pub fn objections_anywhere(&self, set: &BTreeSet<OsdId>) -> Vec<Objection> {
        let mut objections = Vec::new();
        if let Some(pgs_epoch) = self.pgs.last_osdmap_epoch.filter(|epoch| *epoch > self.osds.epoch) {
            objections.push(Objection::MapOlder { map_epoch: self.osds.epoch, pgs_epoch });
        }
        for osd in set.iter().filter(|osd| !self.osds.osds.contains_key(osd)) {
            objections.push(Objection::OsdUnknown { osd: *osd });
        }
        let beyond = set.iter().filter(|osd| self.only.is_some_and(|only| !only.contains(osd)));
        objections.extend(beyond.map(|osd| Objection::OsdBeyondCut { osd: *osd }));
        for (id, osd) in self.osds.osds.iter().filter(|(id, _)| !set.contains(id)) {
            match (osd.up, osd.placed) {
                (Some(true), _) | (Some(false), Some(false)) => {}
                (Some(false), Some(true)) if planted::is(Planted::DownElsewhereIsNothing) => {}
                (Some(false), Some(true)) => objections.push(Objection::OsdDown { osd: *id }),
                (None, _) | (Some(false), None) => objections.push(Objection::OsdUnclear { osd: *id }),
            }
        }
        objections.extend(self.absent());
        let nowhere = |pg: &&Pg| members(pg).next().is_none();
        objections.extend(self.pgs.pgs.iter().filter(nowhere).map(|pg| Objection::PgNowhere { pg: pg.id }));
        objections
    }

    /// Pools of which not each group is listed exactly once (the reader refuses one that is listed twice).
    fn absent(&self) -> Vec<Objection> {
        let mut listed = self.listed.clone();
        let mut objections = Vec::new();
        for pool in self.osds.pools.values() {
            let Listed { count, highest_seed } = listed.remove(&pool.id).unwrap_or_default();
            let complete = pool.pg_num.is_some_and(|pg_num| count == pg_num && highest_seed < pg_num.max(1));
            if !complete {
                let (name, pg_num) = (pool.name.clone(), pool.pg_num);
                objections.push(Objection::PgsAbsent { pool: pool.id, name, pg_num, listed: count });
            }
        }
        let absent = |(pool, listed): (PoolId, Listed)| Objection::PoolAbsent { pool, listed: listed.count };
        objections.extend(listed.into_iter().map(absent));
        objections
    }

    /// Why this group keeps `set` from stopping.
    fn object(&self, pg: &Pg, set: &BTreeSet<OsdId>) -> Option<PgObjection> {
        let cause = match self.copies(pg) {
            Err(cause) => cause,
            Ok(Copies { complete, need }) => {
                let left = complete.iter().filter(|osd| !set.contains(osd)).count();
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                if left >= need.keep {
                    return None;
                }
                PgCause::TooFew { left, needed: need.keep, short: Shortage::of(&need) }
            }
        };
        let mut stopping: Vec<OsdId> = members(pg).filter(|osd| set.contains(osd)).copied().collect();
        stopping.sort_unstable();
        stopping.dedup();
        Some(PgObjection {
            pg: pg.id,
            pool: pg.id.pool,
            pool_name: self.pool_name(pg.id.pool),
            state: pg.state.clone(),
            acting: pg.acting.clone().unwrap_or_default(),
            stopping,
            cause,
        })
    }

    fn copies(&self, pg: &Pg) -> Result<Copies, PgCause> {
        copies(pg, self.needs.get(&pg.id.pool).copied(), self.osds)
    }

    fn is_outage(&self, pg: &Pg) -> bool {
        self.needs.get(&pg.id.pool).copied().flatten().is_some_and(|need| need.is_outage())
    }

    fn pool_name(&self, pool: PoolId) -> String {
        self.osds.pools.get(&pool).map_or_else(|| pool.0.to_string(), |pool| pool.name.clone())
    }

    /// What each group allows, in the order in which `touching` counts them.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let group = |pg: &Pg| match self.copies(pg) {
            Err(_) => Group { pg: pg.id, complete: Vec::new(), spare: -1 },
            Ok(Copies { complete, need }) => {
                let slots = complete.iter().filter_map(|osd| self.slot(*osd)).collect();
                let spare = i64::try_from(complete.len()).unwrap_or(i64::MAX) - i64::from(need.keep);
                Group { pg: pg.id, complete: slots, spare }
            }
        };
        self.pgs.pgs.iter().map(group).collect()
    }

    pub(crate) fn slots(&self) -> &[OsdId] {
        &self.slots
    }

    pub(crate) fn slot(&self, osd: OsdId) -> Option<u32> {
        self.slots.binary_search(&osd).ok().and_then(|slot| u32::try_from(slot).ok())
    }

    /// Indices of the groups that have `osd` in `acting` or `up`.
    pub(crate) fn touching(&self, osd: OsdId) -> &[u32] {
        match self.slots.binary_search(&osd) {
            Ok(slot) => &self.touching[self.starts[slot]..self.starts[slot + 1]],
            Err(_) => &[],
        }
    }

    /// The ids of the groups that have `osd` as a member, now or to be.
    pub fn groups_of(&self, osd: OsdId) -> impl Iterator<Item = PgId> {
        self.touching(osd).iter().map(|index| self.pgs.pgs[*index as usize].id)
    }
}

/// In `acting`, then in `up`; most are in both.
fn members(pg: &Pg) -> impl Iterator<Item = &OsdId> {
    pg.acting.iter().chain(&pg.up).flatten()
}
