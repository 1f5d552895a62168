//! From a command to its durable intent, or to its answer.

use super::phases::{Begun, Deed};
use super::{Command, Hands, Moment, say};
use crate::act::{Report, Standing};
use crate::guard;
use crate::ledger::{
    Entry, Ledger, NewIntent, Stage, Unbegun, Work, grown, grows, is_wanted_back, standing_record,
    was_taken_back,
};
use replank_common::action::Action;
use replank_common::finding::Severity;
use replank_common::ids::ActionId;
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::planted::{self, Planted};
use replank_common::undo::UndoRecord;
use std::time::Duration;

/// How a command began.
#[derive(Debug)]
#[must_use]
pub enum Begin {
    /// It did not: refused, or answered from the ledger, or there is nothing to do.
    Answered(Outcome),
    /// Its intent is durable; the host is as it was.
    Begun(Box<Begun>),
}

/// Looks at a command, at the ledger and at the host, and writes the intent. Changes nothing on the host.
///
/// P9: the epoch is compared when the command is looked at, and once more at the instant at which it is about to touch the host: with the intent of
/// a new action, and in place of an intent where a half-done one is gone on with after a restart
/// ([`gone_on`](crate::ledger::rules::gone_on)). Under an epoch that a later coordinator has overtaken, neither is begun nor gone on with: the half-done one stays as it is, with its
/// intent open, for the later coordinator to finish or take back.
pub fn begin<L: Ledger>(command: &Command, ledger: &L, hands: &mut dyn Hands) -> Begin {
    let beginning = Beginning { command, ledger, hands };
    match beginning.look() {
        Ok(begin) => begin,
        Err(error) => Begin::Answered(say::refused_by::<L>(&error)),
    }
}

struct Beginning<'a, L> {
    command: &'a Command,
    ledger: &'a L,
    hands: &'a mut dyn Hands,
}

impl<L: Ledger> Beginning<'_, L> {
    fn look(mut self) -> Result<Begin, L::Error> {
        let id = &self.command.id;
        if !self.ledger.obey(self.command.epoch)? {
            let highest = self.ledger.epoch()?;
            let old = say::old_epoch(self.command.epoch, highest);
            return Ok(Begin::Answered(Outcome::Refused(old)));
        }
        let known = self.ledger.look_up(id)?.filter(|_| !planted::is(Planted::LedgerUnread));
        if let Some(outcome) = known.as_ref().and_then(Entry::outcome) {
            return Ok(Begin::Answered(outcome.clone()));
        }
        if known.is_none() && self.hands.cancelled(id) {
            return self.refuse(None, say::cancelled());
        }
        match &self.command.work {
            Work::Do(action) => {
                let entries = self.ledger.of_step(&id.run, &id.step)?;
                if was_taken_back(id, &entries) {
                    return match known {
                        Some(_) => self.end(Outcome::Refused(say::late())),
                        None => self.refuse(None, say::late()),
                    };
                }
                // Its undo was commanded and has not succeeded: whoever wants it back does not want it carried out. Nothing is written: the
                // record stands for the next undo.
                if is_wanted_back(id, &entries) {
                    return Ok(Begin::Answered(Outcome::Refused(say::late())));
                }
                self.carry_out(action, known, &entries)
            }
            Work::Undo(of) => self.take_back(of, known),
        }
    }

    /// `entries`: of the step.
    fn carry_out(
        &mut self,
        action: &Action,
        known: Option<Entry>,
        entries: &[Entry],
    ) -> Result<Begin, L::Error> {
        if let Err(refusal) = self.hands.permits(action) {
            // Begun under an earlier policy: the host is left as it is, and the operator told.
            return self.refuse(known, refusal);
        }
        // What was begun is finished or taken back; leaving it half done is no safer.
        if known.is_none()
            && let Err(refusal) = self.guarded(action)
        {
            return self.refuse(None, refusal);
        }
        let began = self.hands.elapsed();
        let resumed = known.is_some();
        let standing = match self.hands.check(action) {
            Ok(standing) => standing,
            Err(refusal) => return self.refuse(known, refusal),
        };
        let record = match begun_record(known) {
            Some(record) => {
                self.ledger.go_on(&self.command.id, self.command.epoch)?;
                record
            }
            None => {
                let earlier = standing_record(entries).cloned();
                if standing == Standing::Done {
                    let took = self.hands.elapsed().saturating_sub(began);
                    return self.end_unbegun(earlier, say::done(How::FoundDone, took, Report::default()));
                }
                let prepared = match &earlier {
                    Some(record) if !grows(record) => None,
                    Some(_) | None => match self.hands.prepare(action) {
                        Ok(record) => Some(record),
                        Err(refusal) => return self.refuse(None, refusal),
                    },
                };
                let record = match (earlier, prepared) {
                    (Some(earlier), Some(now)) => grown(earlier, now),
                    (Some(record), None) | (None, Some(record)) => record,
                    (None, None) => unreachable!("without an earlier record one was prepared"),
                };
                self.intend(record.clone())?;
                record
            }
        };
        Ok(self.begun(action, Deed::Do { standing, resumed }, record, began))
    }

    /// The guard's word, on what the action itself says.
    fn guarded(&mut self, action: &Action) -> Result<(), Refusal> {
        let findings = self.hands.judge(action).map_err(|why| say::cannot_judge(&why))?;
        match findings.iter().find(|finding| finding.severity == Severity::Blocks) {
            None => Ok(()),
            Some(first) => Err(Refusal {
                code: first.code.clone(),
                reason: format!("{}: {}", first.subject, first.cause),
                remedy: first.remedy.clone(),
                findings: findings.clone(),
            }),
        }
    }

    fn take_back(&mut self, of: &ActionId, known: Option<Entry>) -> Result<Begin, L::Error> {
        let began = self.hands.elapsed();
        let entries = self.ledger.of_step(&of.run, &of.step)?;
        let action = entries.iter().rev().find_map(|entry| match &entry.work {
            Work::Do(action) => Some(action),
            Work::Undo(_) => None,
        });
        let record = match (&known, action) {
            (Some(entry), _) => entry.undo().cloned(),
            // Whether the way back is safe is asked anew each time: it changes nothing, and guests come and go between two rollbacks.
            (None, Some(Action::LibvirtTrial(_))) => entries.iter().find_map(Entry::undo).cloned(),
            (None, _) => standing_record(&entries).cloned(),
        };
        let (Some(action), Some(record)) = (action, record) else {
            let took = self.hands.elapsed().saturating_sub(began);
            return self.end_unbegun(None, say::done(How::NothingToUndo, took, Report::default()));
        };
        if let Err(refusal) = self.hands.permits(action) {
            return self.refuse(known, refusal);
        }
        // A guest may have come to use meanwhile what would be put back.
        if known.is_none()
            && guard::is_judged_on_the_way_back(action)
            && !planted::is(Planted::WayBackUnguarded)
            && let Err(refusal) = self.guarded(action)
        {
            return self.refuse(None, refusal);
        }
        match known {
            Some(_) => drop(self.ledger.go_on(&self.command.id, self.command.epoch)?),
            None => self.intend(record.clone())?,
        }
        Ok(self.begun(action, Deed::Undo, record, began))
    }

    fn begun(&mut self, action: &Action, deed: Deed, record: UndoRecord, began: Duration) -> Begin {
        self.hands.accepted();
        let id = self.command.id.clone();
        Begin::Begun(Box::new(Begun { id, action: action.clone(), deed, record, began }))
    }

    fn intend(&mut self, undo: UndoRecord) -> Result<(), L::Error> {
        let Command { epoch, id, plan, work } = self.command.clone();
        if planted::is(Planted::AcceptedUnwritten) {
            self.hands.accepted();
        }
        self.hands.reached(Moment::Intending, &id);
        if planted::is(Planted::IntentUnwritten) {
            return Ok(());
        }
        let at_ms = self.hands.now_ms();
        self.ledger.intend(NewIntent { epoch, id, plan, work, undo, at_ms })?;
        self.hands.reached(Moment::Intended, &self.command.id);
        Ok(())
    }

    /// `known`: it was begun before, and may have changed something.
    fn refuse(&mut self, known: Option<Entry>, refusal: Refusal) -> Result<Begin, L::Error> {
        match known {
            Some(_) => self.end(say::refused_half_way(refusal)),
            None => self.end_unbegun(None, Outcome::Refused(refusal)),
        }
    }

    fn end(&mut self, outcome: Outcome) -> Result<Begin, L::Error> {
        let at_ms = self.hands.now_ms();
        self.ledger.end(&self.command.id, outcome.clone(), at_ms)?;
        self.hands.reached(Moment::Ended, &self.command.id);
        Ok(Begin::Answered(outcome))
    }

    fn end_unbegun(&mut self, undo: Option<UndoRecord>, outcome: Outcome) -> Result<Begin, L::Error> {
        let Command { epoch: _, id, plan, work } = self.command.clone();
        let at_ms = self.hands.now_ms();
        self.ledger.end_unbegun(Unbegun { id, plan, work, undo, outcome: outcome.clone(), at_ms })?;
        self.hands.reached(Moment::Ended, &self.command.id);
        Ok(Begin::Answered(outcome))
    }
}

/// The record of what was begun before. An entry that has ended is answered before this is asked.
fn begun_record(known: Option<Entry>) -> Option<UndoRecord> {
    match known?.stage {
        Stage::Intended { undo } => Some(undo),
        Stage::Ended { .. } => unreachable!("an ended entry was answered above"),
    }
}
