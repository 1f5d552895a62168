//! What one placement group's report is worth: how many complete copies it has, or why nobody can tell.

use super::need::Need;
use super::objection::PgCause;
use crate::OsdId;
use crate::documents::{Counts, OsdDump, Pg, PgState, Word};
use replank_common::planted::{self, Planted};

/// Not serving, or not for long: it settles by itself or it needs help, and either way nothing else may stop.
const UNSETTLED: &[Word] = &[
    Word::Creating,
    Word::Activating,
    Word::Peering,
    Word::Peered,
    Word::Down,
    Word::Incomplete,
    Word::Replay,
    Word::Splitting,
    Word::Premerge,
    Word::Laggy,
    Word::Wait,
];

/// A scrub found copies that differ, or objects that nobody has: "complete" means nothing then.
const DAMAGED: &[Word] =
    &[Word::Inconsistent, Word::Repair, Word::FailedRepair, Word::RecoveryUnfound, Word::BackfillUnfound];

/// Some member of the acting set misses objects, or a member is missing.
const MENDING: &[Word] =
    &[Word::Degraded, Word::Undersized, Word::Recovering, Word::RecoveryWait, Word::RecoveryTooFull];

/// Objects move to where CRUSH wants them. The acting set may be complete.
const MOVING: &[Word] = &[Word::Backfilling, Word::BackfillWait, Word::BackfillTooFull];

/// What a group keeps whatever stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copies {
    /// Members that are up and miss nothing.
    pub(super) complete: Vec<OsdId>,
    pub(super) need: Need,
}

/// Judges a group that something is about to touch.
pub(super) fn copies(pg: &Pg, need: Option<Option<Need>>, osds: &OsdDump) -> Result<Copies, PgCause> {
    let need = need.ok_or(PgCause::NoPool)?.ok_or(PgCause::PoolUnclear)?;
    let state = pg.state.as_ref().ok_or(PgCause::NoState)?;
    if state.strange().is_some() {
        return Err(PgCause::StrangeState);
    }
    if state.has(Word::Unknown) {
        return Err(PgCause::NoState);
    }
    if state.has(Word::Stale) {
        return Err(PgCause::Stale);
    }
    if !state.has(Word::Active) || state.has_any(UNSETTLED) {
        return Err(PgCause::Unsettled);
    }
    if state.has_any(DAMAGED) || pg.counts.is_some_and(|counts| counts.unfound > 0) {
        return Err(PgCause::Damaged);
    }
    let (Some(acting), Some(up)) = (pg.acting.as_deref(), pg.up.as_deref()) else {
        return Err(PgCause::NoMembers);
    };
    if acting.is_empty() {
        return Err(PgCause::NoMembers);
    }
    for osd in acting.iter().chain(up) {
        let known = osds.osds.get(osd).ok_or(PgCause::NoOsd { osd: *osd })?;
        // A member that came up after the report: the report is of the time before (the race of a restart).
        if let (Some(true), Some(since), Some(reported)) = (known.up, known.up_from, pg.reported_epoch)
            && since > reported
        {
            return Err(PgCause::ReportTooOld { osd: *osd, up_from: since, reported_epoch: reported });
        }
    }
    let mut complete = match planted::is(Planted::IncompleteCopyCounts) {
        true => acting.to_vec(),
        false => complete(pg, state, acting).ok_or(PgCause::CopiesUnclear)?,
    };
    complete.retain(|osd| osds.osds.get(osd).is_some_and(|osd| osd.up == Some(true)));
    Ok(Copies { complete, need })
}

/// The members that miss nothing; `None` if the report does not tell.
fn complete(pg: &Pg, state: &PgState, acting: &[OsdId]) -> Option<Vec<OsdId>> {
    let whole = pg.counts.map(|Counts { degraded, missing_on_primary, missing, unfound }| {
        degraded + missing_on_primary + missing + unfound == 0
    });
    let clean = state.has(Word::Clean) && !state.has_any(MENDING) && !state.has_any(MOVING);
    match &pg.complete {
        Some(listed) if !listed.is_empty() => {
            Some(acting.iter().filter(|osd| listed.contains(osd)).copied().collect())
        }
        // The list is left empty while a group is clean.
        _ if clean && whole != Some(false) => Some(acting.to_vec()),
        Some(_) => None,
        // Before Nautilus there is no list. Who misses objects is told only when nobody does.
        None => (whole == Some(true) && !state.has_any(MENDING)).then(|| acting.to_vec()),
    }
}
