//! Placement groups as they are: who has which writes, who serves, what is made whole again.
//!
//! Clients write to every group the whole time. A write counts as acknowledged once every member of the acting set has it, and none is while the group
//! has fewer than `min_size` members, or one of them is dead and not found out yet.

use super::layout::enough_to_read;
use super::{Cluster, Event, Layout};
use crate::fault::Fault;
use replank_ceph::documents::{PgState, Pool};
use replank_ceph::{OsdId, PgId};
use std::collections::{BTreeMap, BTreeSet};

/// Writes that a group remembers one by one (`osd_min_pg_log_entries`): who misses more is copied anew.
const LOG: u64 = 3_000;
/// A write to each group every so many milliseconds.
const WRITE_MS: u64 = 50;
/// Making one missing object whole.
const RECOVER_MS: u64 = 4;
/// Copying a group anew.
const BACKFILL_MS: u64 = 15_000;

/// What one OSD has of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) shard: usize,
    /// The last write that it knows of.
    pub(super) version: u64,
    /// Objects of those that it has not got yet.
    pub(super) missing: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Peering,
    Active,
    /// Enough to read, too few to write.
    Peered,
    /// Not all acknowledged writes are there.
    Down,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) id: PgId,
    /// Of the layout.
    pub(super) pool: usize,
    /// By shard; as the map is now.
    pub(super) up: Vec<Option<OsdId>>,
    pub(super) acting: Vec<Option<OsdId>>,
    pub(super) copies: BTreeMap<OsdId, Copy>,
    /// Writes that were acknowledged.
    pub(super) head: u64,
    written_ms: u64,
    interval: u64,
    pub(super) phase: Phase,
    recovering: bool,
    backfilling: bool,
    scrubbing: bool,
    /// Members that died by themselves since the group was whole.
    pub(super) misfortunes: BTreeSet<OsdId>,
    /// The epoch at which it was clean last.
    pub(super) clean_epoch: u32,
    pub(super) reported: Reported,
}

/// What the MGR knows of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) state: PgState,
    pub(super) up: Vec<OsdId>,
    pub(super) acting: Vec<OsdId>,
    /// Empty while it is clean.
    pub(super) complete: Vec<OsdId>,
    pub(super) degraded: u64,
    pub(super) epoch: u32,
}

impl Group {
    pub(super) fn all(layout: &Layout, now: u64) -> Vec<Self> {
        let mut groups = Vec::new();
        for (pool, id) in layout.all_groups() {
            let up = layout.place(&layout.pools[pool], id, |_| true);
            let copies = up
                .iter()
                .enumerate()
                .filter_map(|(shard, osd)| Some(((*osd)?, Copy { shard, version: 1, missing: 0 })));
            let copies = copies.collect();
            let members: Vec<OsdId> = up.iter().flatten().copied().collect();
            groups.push(Self {
                id,
                pool,
                acting: up.clone(),
                up,
                copies,
                head: 1,
                written_ms: now,
                interval: 0,
                phase: Phase::Active,
                recovering: false,
                backfilling: false,
                scrubbing: false,
                misfortunes: BTreeSet::new(),
                clean_epoch: 0,
                reported: Reported {
                    state: PgState::new("active+clean"),
                    up: members.clone(),
                    acting: members,
                    complete: Vec::new(),
                    degraded: 0,
                    epoch: 100,
                },
            });
        }
        groups
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = OsdId> {
        self.acting.iter().flatten().copied()
    }

    /// It has every acknowledged write.
    pub(super) fn is_whole(&self, osd: OsdId) -> bool {
        self.copies.get(&osd).is_some_and(|copy| copy.version == self.head && copy.missing == 0)
    }

    pub(super) fn is_clean(&self) -> bool {
        let whole = self.acting.iter().all(|osd| osd.is_some_and(|osd| self.is_whole(osd)));
        self.phase == Phase::Active && self.acting == self.up && whole
    }

    fn is_behind(&self, osd: OsdId, shard: usize) -> bool {
        let copy = self.copies.get(&osd);
        copy.is_none_or(|copy| copy.shard != shard || self.head - copy.version > LOG)
    }

    /// Acknowledged writes that nobody has any more. Who is down may come back.
    pub(super) fn is_lost(&self, pool: &Pool) -> bool {
        let whole = self.copies.keys().filter(|osd| self.is_whole(**osd)).count();
        whole < enough_to_read(pool)
    }
}

impl Cluster {
    /// Clients have written until now.
    pub(super) fn write_on(&mut self) {
        for group in &mut self.groups {
            let osds = &self.osds;
            let pool = &self.layout.pools[group.pool];
            let runs = |osd: &OsdId| osds[osd].running;
            let min_size = pool.min_size.unwrap_or(1) as usize;
            let members = group.acting.iter().flatten().count();
            let writes = (self.now - group.written_ms) / WRITE_MS;
            if group.phase != Phase::Active || members < min_size || !group.acting.iter().flatten().all(runs)
            {
                group.written_ms = self.now;
            } else if writes > 0 {
                group.written_ms += writes * WRITE_MS;
                group.head += writes;
                let head = group.head;
                for osd in group.acting.iter().flatten() {
                    if let Some(copy) = group.copies.get_mut(osd) {
                        copy.version = head;
                    }
                }
            }
        }
    }

    /// The map is another one: groups that it concerns begin a new interval.
    pub(super) fn map_groups(&mut self) {
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let pool = &self.layout.pools[group.pool];
            let usable = |osd: OsdId| self.osd(osd).placed && !self.osd(osd).removed;
            let is_up = |osd: &OsdId| self.osd(*osd).up && !self.osd(*osd).removed;
            let mut up = self.layout.place(pool, group.id, usable);
            for osd in &mut up {
                *osd = osd.filter(is_up);
            }
            let acting = self.acting(at, &up);
            if (&up, &acting) != (&group.up, &group.acting) {
                self.new_interval(at, up, acting);
            }
        }
    }

    fn new_interval(&mut self, at: usize, up: Vec<Option<OsdId>>, acting: Vec<Option<OsdId>>) {
        let group = &mut self.groups[at];
        (group.up, group.acting) = (up, acting);
        group.interval += 1;
        (group.phase, group.recovering, group.backfilling) = (Phase::Peering, false, false);
        group.scrubbing = false;
        let interval = group.interval;
        let takes = self.between(200, 1_500);
        self.at(takes, Event::Peered { group: at, interval });
        self.primary_reports(at);
    }

    /// Who serves: whoever CRUSH wants, if the log is enough to make it whole; else, until it is copied, whoever has that shard.
    fn acting(&self, at: usize, up: &[Option<OsdId>]) -> Vec<Option<OsdId>> {
        let group = &self.groups[at];
        let coded = enough_to_read(&self.layout.pools[group.pool]) > 1;
        let mut acting: Vec<Option<OsdId>> = up.to_vec();
        for (shard, osd) in acting.iter_mut().enumerate() {
            let own = osd.and_then(|osd| group.copies.get(&osd)).map_or(shard, |copy| copy.shard);
            let shard = if coded { shard } else { own };
            *osd = osd.filter(|osd| !group.is_behind(*osd, shard));
        }
        for shard in 0..acting.len() {
            if acting[shard].is_some() {
                continue;
            }
            let stands_in = group.copies.iter().find(|(osd, copy)| {
                let fits = !coded || copy.shard == shard;
                fits && self.osd(**osd).up
                    && !group.is_behind(**osd, copy.shard)
                    && !acting.contains(&Some(**osd))
            });
            acting[shard] = stands_in.map(|(osd, _)| *osd);
        }
        acting
    }

    pub(super) fn peered(&mut self, at: usize, interval: u64) {
        let group = &mut self.groups[at];
        if group.interval != interval {
            return;
        }
        let pool = &self.layout.pools[group.pool];
        let members: Vec<OsdId> = group.serving().collect();
        let whole = members.iter().filter(|osd| group.is_whole(**osd)).count();
        group.phase = if whole < enough_to_read(pool) {
            Phase::Down
        } else if members.len() < pool.min_size.unwrap_or(1) as usize {
            Phase::Peered
        } else {
            Phase::Active
        };
        group.written_ms = self.now;
        if group.phase == Phase::Active {
            for osd in members {
                let head = group.head;
                if let Some(copy) = group.copies.get_mut(&osd) {
                    copy.missing += head - copy.version;
                    copy.version = head;
                }
            }
        }
        self.mend_group(at);
        self.is_it_clean(at);
        self.primary_reports(at);
    }

    /// Begins what makes it whole, if something does and nothing keeps it.
    pub(super) fn mend_group(&mut self, at: usize) {
        let group = &self.groups[at];
        if group.phase != Phase::Active {
            return;
        }
        let full = |osd: &OsdId| self.osd(*osd).full;
        let missing: u64 =
            group.serving().filter_map(|osd| group.copies.get(&osd)).map(|copy| copy.missing).sum();
        let no_room = group.serving().any(|osd| full(&osd) && !group.is_whole(osd));
        let recovers = missing > 0 && !no_room && !self.flags.has("norecover") && !group.recovering;
        let newcomers = || group.up.iter().flatten().filter(|osd| !group.acting.contains(&Some(**osd)));
        let elsewhere = group.up != group.acting && newcomers().next().is_some();
        let backfills = elsewhere
            && missing == 0
            && !newcomers().any(full)
            && !self.flags.has("nobackfill")
            && !group.backfilling;
        let (interval, slow) = (group.interval, self.now < self.slow_until);
        if slow && (recovers || backfills) {
            self.met.push(Fault::RecoverySlow);
        }
        if missing > 0 && no_room {
            self.met.push(Fault::OsdFull);
        }
        let slow = if slow { 12 } else { 1 };
        if recovers {
            self.groups[at].recovering = true;
            let takes = self.between(200, 1_200) + missing * RECOVER_MS;
            self.at(takes * slow, Event::Recovered { group: at, interval });
        }
        if backfills {
            self.groups[at].backfilling = true;
            let takes = self.between(1_000, BACKFILL_MS);
            self.at(takes * slow, Event::Backfilled { group: at, interval });
        }
    }

    pub(super) fn mend_groups(&mut self) {
        for at in 0..self.groups.len() {
            self.mend_group(at);
        }
    }

    pub(super) fn recovered(&mut self, at: usize, interval: u64) {
        let group = &mut self.groups[at];
        if group.interval != interval {
            return;
        }
        group.recovering = false;
        let members: Vec<OsdId> = group.serving().collect();
        // Its reading needs what it is read from.
        let whole = members.iter().filter(|osd| group.is_whole(**osd)).count();
        let runs = members.iter().all(|osd| self.osds[osd].running);
        if runs && whole >= enough_to_read(&self.layout.pools[group.pool]) {
            for osd in members {
                if let Some(copy) = group.copies.get_mut(&osd) {
                    copy.missing = 0;
                }
            }
        }
        self.mend_group(at);
        self.is_it_clean(at);
        self.primary_reports(at);
    }

    pub(super) fn backfilled(&mut self, at: usize, interval: u64) {
        let group = &mut self.groups[at];
        if group.interval != interval {
            return;
        }
        group.backfilling = false;
        let members: Vec<OsdId> = group.serving().collect();
        let whole = members.iter().filter(|osd| group.is_whole(**osd)).count();
        let newcomers: Vec<(usize, OsdId)> =
            group.up.iter().enumerate().filter_map(|(shard, osd)| Some((shard, (*osd)?))).collect();
        let runs =
            members.iter().chain(newcomers.iter().map(|(_, osd)| osd)).all(|osd| self.osds[osd].running);
        if runs && whole >= enough_to_read(&self.layout.pools[group.pool]) {
            let head = group.head;
            for (shard, osd) in newcomers {
                if !members.contains(&osd) {
                    group.copies.insert(osd, Copy { shard, version: head, missing: 0 });
                }
            }
            let up = self.groups[at].up.clone();
            let acting = self.acting(at, &up);
            if acting != self.groups[at].acting {
                self.epoch += 1;
                self.new_interval(at, up, acting);
                for osd in self.ids() {
                    self.report_soon(osd);
                }
            }
        }
        self.mend_group(at);
        self.primary_reports(at);
    }

    pub(super) fn is_it_clean(&mut self, at: usize) {
        let epoch = self.epoch;
        let all_run = self.groups[at].serving().all(|osd| self.osd(osd).running);
        let group = &mut self.groups[at];
        if group.is_clean() {
            // Also when a member has died that nobody misses yet.
            group.clean_epoch = epoch;
        }
        if group.is_clean() && all_run {
            group.misfortunes.clear();
            let members: Vec<OsdId> = group.serving().collect();
            group.copies.retain(|osd, _| members.contains(osd));
        }
    }

    fn primary_reports(&mut self, at: usize) {
        let primary = self.groups[at].serving().next();
        if let Some(primary) = primary {
            self.report_soon(primary);
        }
    }

    /// The OSD tells of the groups that it leads. Without a quorum, or a MGR, nobody hears it.
    pub(super) fn reports(&mut self, osd: OsdId) {
        self.osd_mut(osd).report_due = false;
        if !self.osd(osd).running || !self.osd(osd).up {
            return;
        }
        if !self.has_quorum() || !self.has_manager() {
            self.report_soon(osd);
            return;
        }
        for at in 0..self.groups.len() {
            if self.groups[at].serving().next() == Some(osd) {
                self.is_it_clean(at);
                self.groups[at].reported = self.as_it_is(at);
            }
        }
    }

    pub(super) fn as_it_is(&self, at: usize) -> Reported {
        let group = &self.groups[at];
        let size = group.acting.len();
        let members: Vec<OsdId> = group.serving().collect();
        let degraded: u64 =
            members.iter().filter_map(|osd| group.copies.get(osd)).map(|copy| copy.missing).sum();
        let holes = u64::try_from(size - members.len()).unwrap_or(0);
        let mut words = Vec::new();
        match group.phase {
            Phase::Peering => words.push("peering"),
            Phase::Peered => words.push("peered"),
            Phase::Down => words.push("down"),
            Phase::Active => words.push("active"),
        }
        if members.len() < size {
            words.push("undersized");
        }
        if group.phase != Phase::Peering && (degraded > 0 || members.len() < size) {
            words.push("degraded");
        }
        if group.up != group.acting {
            words.push("remapped");
        }
        if group.phase == Phase::Active {
            if degraded > 0 {
                words.push(if group.recovering { "recovering" } else { "recovery_wait" });
            }
            if group.up.iter().flatten().any(|osd| !members.contains(osd)) {
                words.push(if group.backfilling { "backfilling" } else { "backfill_wait" });
            }
            if group.scrubbing {
                words.push("scrubbing");
            }
            if group.is_clean() {
                words.push("clean");
            }
        }
        let complete = members.iter().filter(|osd| group.is_whole(**osd)).copied();
        Reported {
            state: PgState::new(&words.join("+")),
            up: group.up.iter().flatten().copied().collect(),
            complete: if group.is_clean() { Vec::new() } else { complete.collect() },
            acting: members,
            degraded: degraded + holes * (group.head / 10).max(1),
            epoch: self.epoch,
        }
    }

    /// One group is compared bit by bit, unless somebody does not want it.
    pub(super) fn scrub(&mut self) {
        let next = self.between(6_000, 20_000);
        self.at(next, Event::Scrub);
        if self.flags.has("noscrub") {
            return;
        }
        let last = self.groups.len().saturating_sub(1) as u64;
        let at = usize::try_from(self.between(0, last)).unwrap_or(0);
        if self.groups.get(at).is_some_and(|group| group.is_clean() && !group.scrubbing) {
            let long = self.now < self.long_scrubs_until;
            if long {
                self.met.push(Fault::ScrubLong);
            }
            let takes = if long { self.between(40_000, 120_000) } else { self.between(1_000, 6_000) };
            self.groups[at].scrubbing = true;
            self.at(takes, Event::Scrubbed { group: at });
            self.primary_reports(at);
        }
    }

    pub(super) fn scrubbed(&mut self, at: usize) {
        self.groups[at].scrubbing = false;
        self.primary_reports(at);
    }
}
