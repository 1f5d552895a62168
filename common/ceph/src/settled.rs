//! Is a wave that came back behind us? Asked of the documents after it, again and again.
//!
//! **The race.** Reports of placement groups reach the cluster every few seconds. Right after a restart `active+clean` may still be the word
//! from before it, and the daemon may be back without its groups having noticed. So health is judged by epochs: every OSD came up at an epoch later than before it was
//! stopped, and every group that it is or was in has been reported since that epoch, clean, where CRUSH wants it. A group whose last report is from the outage and names
//! one member too few may be one of them. A pass counts when it is the second in a row,
//! some seconds after the first; that is for whoever asks, as are the clocks.

use super::documents::{Osd, OsdDump, OsdMetadata, Pg, PgDump, Word};
use super::{OsdId, PgId};
use replank_common::planted::{self, Planted};
use replank_common::version::Version;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was known of a wave before it was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// Each OSD of the wave, and the epoch at which it had come up.
    pub up_from: BTreeMap<OsdId, u32>,
    /// The groups that they were in.
    pub groups: BTreeSet<PgId>,
}

/// A wave by what it is to be, for those who do not know what it was before.
#[derive(Debug, Clone, Copy)]
pub struct Booted<'a> {
    pub osds: &'a BTreeSet<OsdId>,
    /// What each of them is to have been at its last boot.
    pub version: &'a Version,
    pub metadata: &'a BTreeMap<OsdId, OsdMetadata>,
}

/// What is still waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "waits-for", rename_all = "kebab-case")]
pub enum Unsettled {
    /// It is down, or the map does not say.
    OsdDown {
        osd: OsdId,
    },
    /// The map still has the epoch of its life before.
    OsdNotBack {
        osd: OsdId,
        up_from: Option<u32>,
        before: u32,
    },
    /// At its last boot it was another version, or nobody knows which.
    OsdVersion {
        osd: OsdId,
        found: Option<Version>,
        expected: Version,
    },
    /// The reports are counted under a map that is older than the boot.
    PgMapOld {
        epoch: u32,
        needed: u32,
    },
    PgAbsent {
        pg: PgId,
    },
    /// Not reported since the boot, or the list does not say when.
    PgNotReported {
        pg: PgId,
        reported_epoch: Option<u32>,
        needed: u32,
    },
    PgNotClean {
        pg: PgId,
        state: String,
    },
    /// Clean, but not where CRUSH wants it.
    PgElsewhere {
        pg: PgId,
    },
}

/// Words beside `active+clean` that still mean work; a scrub or a trim of snapshots does not.
const BUSY: &[Word] = &[
    Word::Degraded,
    Word::Undersized,
    Word::Recovering,
    Word::RecoveryWait,
    Word::RecoveryTooFull,
    Word::RecoveryUnfound,
    Word::Backfilling,
    Word::BackfillWait,
    Word::BackfillTooFull,
    Word::BackfillUnfound,
    Word::Remapped,
    Word::Stale,
    Word::Incomplete,
    Word::Inconsistent,
    Word::FailedRepair,
    Word::Peering,
    Word::Peered,
    Word::Activating,
    Word::Creating,
    Word::Down,
    Word::Unknown,
    Word::Premerge,
    Word::Laggy,
    Word::Wait,
];

/// All that one look at the cluster still misses; empty is a pass. Needs a full dump: a brief one never passes.
pub fn unsettled(before: &Before, osds: &OsdDump, pgs: &PgDump) -> Vec<Unsettled> {
    let mut waits = Vec::new();
    let mut since: BTreeMap<OsdId, u32> = BTreeMap::new();
    for (id, old) in &before.up_from {
        match up_since(osds.osds.get(id)) {
            None => waits.push(Unsettled::OsdDown { osd: *id }),
            Some(Some(epoch)) if epoch > *old => drop(since.insert(*id, epoch)),
            Some(up_from) => waits.push(Unsettled::OsdNotBack { osd: *id, up_from, before: *old }),
        }
    }
    let wave = before.up_from.keys().copied().collect();
    waits.extend(groups(&wave, &since, &before.groups, osds, pgs));
    waits
}

/// The same of a wave of which only is known what its OSDs are to run. That they came up anew is seen by the version that they booted with, so an OSD
/// that ran it before is settled as soon as its groups are.
pub fn unsettled_as(booted: Booted<'_>, osds: &OsdDump, pgs: &PgDump) -> Vec<Unsettled> {
    let mut waits = Vec::new();
    let mut since: BTreeMap<OsdId, u32> = BTreeMap::new();
    for id in booted.osds {
        let found = booted.metadata.get(id).and_then(OsdMetadata::version_number);
        match up_since(osds.osds.get(id)) {
            None => waits.push(Unsettled::OsdDown { osd: *id }),
            Some(_) if found.as_ref() != Some(booted.version) => {
                waits.push(Unsettled::OsdVersion { osd: *id, found, expected: booted.version.clone() });
            }
            Some(Some(epoch)) => drop(since.insert(*id, epoch)),
            Some(None) => waits.push(Unsettled::OsdNotBack { osd: *id, up_from: None, before: 0 }),
        }
    }
    waits.extend(groups(booted.osds, &since, &BTreeSet::new(), osds, pgs));
    waits
}

/// Whether a group that names none of the wave may be one of theirs all the same: it was short of a member when it was reported last, and that was before
/// the wave was up. A primary that lives tells of its return within seconds; one that died meanwhile never does, and its last word is from the outage.
pub(crate) fn may_miss_one(pg: &Pg, osds: &OsdDump, newest: u32) -> bool {
    if planted::is(Planted::OutageReportBelieved) {
        return false;
    }
    // The groups of a pool that was deleted are gone for good.
    let Some(pool) = osds.pools.get(&pg.id.pool) else { return false };
    let size = pool.size.map_or(usize::MAX, |size| size as usize);
    let short = |members: &Option<Vec<OsdId>>| members.as_ref().is_none_or(|members| members.len() < size);
    (short(&pg.up) || short(&pg.acting)) && pg.reported_epoch.is_none_or(|epoch| epoch < newest)
}

/// The newest epoch at which one of these came up.
pub(crate) fn newest_boot(of: &BTreeSet<OsdId>, osds: &OsdDump) -> u32 {
    of.iter().filter_map(|osd| up_since(osds.osds.get(osd)).flatten()).max().unwrap_or(0)
}

/// `None`: it is down, or the map does not say that it is up.
fn up_since(osd: Option<&Osd>) -> Option<Option<u32>> {
    osd.filter(|osd| osd.up == Some(true)).map(|osd| osd.up_from)
}

/// What the groups of `wave`, and `expected` ones, still miss. `since`: the epochs at which its OSDs came up.
fn groups(
    wave: &BTreeSet<OsdId>,
    since: &BTreeMap<OsdId, u32>,
    expected: &BTreeSet<PgId>,
    osds: &OsdDump,
    pgs: &PgDump,
) -> Vec<Unsettled> {
    let mut waits = Vec::new();
    if planted::is(Planted::GroupsNeedNotSettle) {
        return waits;
    }
    let newest = since.values().copied().max().unwrap_or(0);
    if let Some(epoch) = pgs.last_osdmap_epoch.filter(|epoch| *epoch < newest) {
        waits.push(Unsettled::PgMapOld { epoch, needed: newest });
    }
    let mut expected = expected.clone();
    for pg in &pgs.pgs {
        let has = |osds: &Option<Vec<OsdId>>| osds.iter().flatten().any(|osd| wave.contains(osd));
        if expected.remove(&pg.id) || has(&pg.up) || has(&pg.acting) {
            waits.extend(group(pg, since, newest));
        } else if may_miss_one(pg, osds, newest) {
            let reported_epoch = pg.reported_epoch;
            waits.push(Unsettled::PgNotReported { pg: pg.id, reported_epoch, needed: newest });
        }
    }
    // The groups of a pool that was deleted meanwhile are gone for good.
    expected.retain(|pg| osds.pools.contains_key(&pg.pool));
    waits.extend(expected.into_iter().map(|pg| Unsettled::PgAbsent { pg }));
    waits
}

fn group(pg: &Pg, since: &BTreeMap<OsdId, u32>, newest: u32) -> Option<Unsettled> {
    // A group from which every member of the wave has gone is told apart from one that did not notice only by the newest boot.
    let members = pg.up.iter().chain(&pg.acting).flatten();
    let needed = members.filter_map(|osd| since.get(osd)).copied().max().unwrap_or(newest);
    if pg.reported_epoch.is_none_or(|epoch| epoch < needed) {
        return Some(Unsettled::PgNotReported { pg: pg.id, reported_epoch: pg.reported_epoch, needed });
    }
    let clean = pg.state.as_ref().filter(|state| {
        state.has(Word::Active) && state.has(Word::Clean) && !state.has_any(BUSY) && state.strange().is_none()
    });
    if clean.is_none() {
        let state = pg.state.as_ref().map_or_else(|| "not said".to_owned(), ToString::to_string);
        return Some(Unsettled::PgNotClean { pg: pg.id, state });
    }
    (pg.up.is_none() || pg.up != pg.acting).then_some(Unsettled::PgElsewhere { pg: pg.id })
}

/// One line for people. `osds`: where the names of pools are.
pub fn show_unsettled(waits: &Unsettled, osds: &OsdDump) -> String {
    let group = |pg: &PgId| match osds.pools.get(&pg.pool) {
        Some(pool) => format!("pg {pg} of pool `{}`", pool.name),
        None => format!("pg {pg}"),
    };
    let epoch_or = |epoch: &Option<u32>, none: &str| epoch.map_or_else(|| none.to_owned(), |e| e.to_string());
    match waits {
        Unsettled::OsdDown { osd } => format!("{osd} is not up"),
        Unsettled::OsdNotBack { osd, up_from: None, .. } => {
            format!("the OSD map does not say since when {osd} is up")
        }
        Unsettled::OsdNotBack { osd, up_from: Some(up_from), .. } => {
            format!("{osd} has not come up since it was stopped: up since epoch {up_from}, as before")
        }
        Unsettled::OsdVersion { osd, found: Some(found), expected } => {
            format!("{osd} booted last as {found}, not {expected}")
        }
        Unsettled::OsdVersion { osd, found: None, expected } => {
            format!("the cluster does not say which version {osd} booted as; {expected} is expected")
        }
        Unsettled::PgMapOld { epoch, needed } => {
            format!("the groups are counted under epoch {epoch}, and the last OSD came up at {needed}")
        }
        Unsettled::PgAbsent { pg } => format!("{} is not in the list", group(pg)),
        Unsettled::PgNotReported { pg, reported_epoch, needed } => format!(
            "{} has not been reported since the restart: at epoch {}, epoch {needed} or later is needed",
            group(pg),
            epoch_or(reported_epoch, "unknown"),
        ),
        Unsettled::PgNotClean { pg, state } => format!("{} is `{state}`", group(pg)),
        Unsettled::PgElsewhere { pg } => format!("{} is clean, but not where CRUSH wants it", group(pg)),
    }
}
