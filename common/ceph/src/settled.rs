//! Is a wave that came back behind us? Asked of the documents after it, again and again.
//!
//! **The race.** Reports of placement groups reach the cluster every few seconds. Right after a restart `active+clean` may still be the word
//! from before it, and the daemon may be back without its groups having noticed. So health is judged by epochs: every OSD came up at an epoch later than before it was
//! stopped, and every group that it is or was in has been reported since that epoch, clean, where CRUSH wants it. A pass counts when it is the second in a row,
//! some seconds after the first; that is for whoever asks, as are the clocks.

use super::documents::{OsdDump, Pg, PgDump, Word};
use super::{OsdId, PgId};
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
        let now = osds.osds.get(id);
        match now.and_then(|osd| osd.up_from) {
            _ if now.is_none_or(|osd| osd.up != Some(true)) => waits.push(Unsettled::OsdDown { osd: *id }),
            Some(epoch) if epoch > *old => drop(since.insert(*id, epoch)),
            up_from => waits.push(Unsettled::OsdNotBack { osd: *id, up_from, before: *old }),
        }
    }
    let newest = since.values().copied().max().unwrap_or(0);
    if let Some(epoch) = pgs.last_osdmap_epoch.filter(|epoch| *epoch < newest) {
        waits.push(Unsettled::PgMapOld { epoch, needed: newest });
    }
    let mut expected = before.groups.clone();
    for pg in &pgs.pgs {
        let member = |osd: &OsdId| before.up_from.contains_key(osd);
        let has = |osds: &Option<Vec<OsdId>>| osds.iter().flatten().any(member);
        if expected.remove(&pg.id) || has(&pg.up) || has(&pg.acting) {
            waits.extend(group(pg, &since, newest));
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
