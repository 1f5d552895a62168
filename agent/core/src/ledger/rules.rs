//! Which entry may follow which, and what the entries of a step say. Pure: each ledger calls these with what it holds, in one step with its
//! write.

use super::{Entry, IllegalEntry, NewIntent, Stage, Unbegun, Work};
use replank_common::UnixMs;
use replank_common::ids::{ActionId, Direction, Epoch};
use replank_common::outcome::Outcome;
use replank_common::planted::{self, Planted};
use replank_common::undo::UndoRecord;

/// P9: no epoch below the highest that was obeyed.
pub fn is_obeyed(highest: Epoch, epoch: Epoch) -> bool {
    epoch >= highest || planted::is(Planted::OldEpochObeyed)
}

/// The entry of a new intent. `highest` is the highest epoch obeyed, `known` what the ledger holds under the intent's id.
///
/// The epoch is compared here once more and first: a welcome does not wait for the command that is being looked at (P9), and an earlier
/// coordinator hears that it is one, whatever else is wrong.
///
/// # Errors
/// A later epoch was obeyed since the command came, or the id is known already: an action has one intent at most (P5).
pub fn intended(new: NewIntent, highest: Epoch, known: Option<&Entry>) -> Result<Entry, IllegalEntry> {
    if !is_obeyed(highest, new.epoch) {
        return Err(IllegalEntry::OldEpoch(new.id));
    }
    if known.is_some() && !planted::is(Planted::LedgerUnread) {
        return Err(IllegalEntry::IntendedTwice(new.id));
    }
    Ok(Entry {
        id: new.id,
        plan: new.plan,
        work: new.work,
        intended_at_ms: new.at_ms,
        stage: Stage::Intended { undo: new.undo },
    })
}

/// The entry of an action that was begun and is gone on with after a restart. It writes no new intent, so this is where its epoch is
/// compared once more.
///
/// An action of which a later coordinator has been obeyed meanwhile is *refused*, not finished: what was begun stays as it is, its intent
/// stays open, and the later coordinator, which knows of it by the journal and by the agent's hello, has it gone on with or taken back.
/// It is the rule of [`intended`] at the same instant, so that there is one rule for all that is about to touch the host.
///
/// # Errors
/// A later epoch was obeyed since the command came, there is no intent, or it has ended.
pub fn gone_on(
    id: &ActionId,
    epoch: Epoch,
    highest: Epoch,
    known: Option<Entry>,
) -> Result<Entry, IllegalEntry> {
    if !is_obeyed(highest, epoch) {
        return Err(IllegalEntry::OldEpoch(id.clone()));
    }
    let entry = known.ok_or_else(|| IllegalEntry::NeverIntended(id.clone()))?;
    match entry.stage {
        Stage::Intended { .. } => Ok(entry),
        Stage::Ended { .. } => Err(IllegalEntry::EndedTwice(entry.id)),
    }
}

/// The entry after its end.
///
/// # Errors
/// It was never intended, or has ended before.
pub fn ended(
    id: &ActionId,
    known: Option<Entry>,
    outcome: Outcome,
    at_ms: UnixMs,
) -> Result<Entry, IllegalEntry> {
    let entry = known.ok_or_else(|| IllegalEntry::EndedUnintended(id.clone()))?;
    match entry.stage {
        Stage::Intended { undo } => {
            Ok(Entry { stage: Stage::Ended { undo: Some(undo), outcome, at_ms }, ..entry })
        }
        Stage::Ended { .. } => Err(IllegalEntry::EndedTwice(entry.id)),
    }
}

/// The entry of a command that ended before anything was changed. Whoever sent it, its epoch plays no part: nothing is done.
///
/// # Errors
/// The outcome speaks of a change, or the id is known already.
pub fn ended_unbegun(new: Unbegun, known: Option<&Entry>) -> Result<Entry, IllegalEntry> {
    match &new.outcome {
        Outcome::Refused(_) | Outcome::Done { .. } => {}
        Outcome::Failed { .. } => return Err(IllegalEntry::EndedUnintended(new.id)),
    }
    if known.is_some() {
        return Err(IllegalEntry::IntendedTwice(new.id));
    }
    Ok(Entry {
        id: new.id,
        plan: new.plan,
        work: new.work,
        intended_at_ms: new.at_ms,
        stage: Stage::Ended { undo: new.undo, outcome: new.outcome, at_ms: new.at_ms },
    })
}

/// Whether a later attempt of a step adds to the record of an earlier one.
///
/// A flag of a cluster is set or not, and whoever finds it not set may take it: what is not set when an attempt begins is nobody's, whatever an earlier
/// attempt found. Its owner may have unset it since. Everything else stays recorded as it was before any attempt.
pub fn grows(record: &UndoRecord) -> bool {
    matches!(record, UndoRecord::CephFlags { .. })
}

/// The record of an earlier attempt with what another one found beside it; the earlier one alone where it does not [grow](grows).
pub fn grown(earlier: UndoRecord, now: UndoRecord) -> UndoRecord {
    match (earlier, now) {
        (UndoRecord::CephFlags { mut unset }, UndoRecord::CephFlags { unset: now }) => {
            let more: Vec<_> = now.into_iter().filter(|flag| !unset.contains(flag)).collect();
            unset.extend(more);
            UndoRecord::CephFlags { unset }
        }
        (earlier, _) => earlier,
    }
}

/// The first record of a step that was not taken back since, with what later attempts [added](grown): what was there before *any* attempt. `entries`
/// are all of the step, oldest first.
pub fn standing_record(entries: &[Entry]) -> Option<&UndoRecord> {
    let mut standing: Option<&UndoRecord> = None;
    for entry in entries {
        match (entry.id.direction, entry.outcome()) {
            (Direction::Do, Some(Outcome::Failed { restored: true, .. })) => standing = None,
            // Nothing was changed by it.
            (Direction::Do, Some(Outcome::Refused(_))) => {}
            (Direction::Do, Some(Outcome::Done { .. } | Outcome::Failed { .. }) | None) => {
                let first =
                    standing.filter(|first| !grows(first) && !planted::is(Planted::LatestRecordStands));
                standing = first.or(entry.undo()).or(standing);
            }
            (Direction::Undo, Some(Outcome::Done { .. })) => standing = None,
            (Direction::Undo, _) => {}
        }
    }
    standing
}

/// Whether a command to take this attempt back, or a later one of its step, was answered as done: whoever sent it counts on nothing being
/// there. After one that was refused or failed, the record stands, and the next one finds it. `entries` are all of the step.
pub fn was_taken_back(id: &ActionId, entries: &[Entry]) -> bool {
    entries.iter().any(|entry| {
        matches!(&entry.work, Work::Undo(of) if of.attempt >= id.attempt)
            && entry.outcome().is_some_and(Outcome::is_done)
            && !planted::is(Planted::TakenBackRedone)
    })
}

/// Whether a command to take this attempt back, or a later one of its step, is known, however it ended or did not end. A coordinator never
/// wants an attempt after that: a copy of its command came late. `entries` are all of the step.
pub fn is_wanted_back(id: &ActionId, entries: &[Entry]) -> bool {
    entries.iter().any(|entry| matches!(&entry.work, Work::Undo(of) if of.attempt >= id.attempt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_common::action::{Action, CephFlags};
    use replank_common::ceph::CephFlag::{Nodown, Noout, Noscrub};
    use replank_common::ids::{PlanId, RunId, StepId};
    use std::path::PathBuf;

    fn attempt(attempt: u32, undo: UndoRecord) -> Entry {
        let id = ActionId {
            run: RunId::new(format!("run-{:032x}", 1)).unwrap(),
            step: StepId::new("mon1.flags").unwrap(),
            direction: Direction::Do,
            attempt,
        };
        let text = |text: &str| text.to_owned();
        let outcome = Outcome::Failed {
            code: text("RP5608"),
            error: text("e"),
            remedy: text("r"),
            restored: false,
            took_ms: 1,
        };
        Entry {
            id,
            plan: PlanId::new(format!("sha256:{:064x}", 1)).unwrap(),
            work: Work::Do(Action::CephFlags(CephFlags { flags: vec![Noout, Noscrub] })),
            intended_at_ms: 1,
            stage: Stage::Ended { undo: Some(undo), outcome, at_ms: 1 },
        }
    }

    #[test]
    fn a_flag_that_its_owner_has_unset_between_two_attempts_is_ours_beside_those_that_the_first_may_have_set()
    {
        let (first, now) = (
            UndoRecord::CephFlags { unset: vec![Noout] },
            UndoRecord::CephFlags { unset: vec![Noout, Noscrub] },
        );
        assert!(grows(&first));
        let both = grown(first.clone(), UndoRecord::CephFlags { unset: vec![Noscrub] });
        assert_eq!(both, now);
        assert_eq!(standing_record(&[attempt(1, first), attempt(2, both.clone())]), Some(&both));
        assert_eq!(grown(both.clone(), UndoRecord::CephFlags { unset: vec![Nodown, Noout] }), {
            UndoRecord::CephFlags { unset: vec![Noout, Noscrub, Nodown] }
        });
    }

    #[test]
    fn whatever_else_was_there_before_the_first_attempt_stays_recorded() {
        let tree = |path: &str| UndoRecord::Tree { path: PathBuf::from(path) };
        assert!(!grows(&tree("/first")));
        assert_eq!(grown(tree("/first"), tree("/second")), tree("/first"));
        let entries = [attempt(1, tree("/first")), attempt(2, tree("/second"))];
        assert_eq!(standing_record(&entries), Some(&tree("/first")));
    }
}
