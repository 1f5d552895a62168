//! Counters that a restart does not set back: they are counted from the journals, each line once.

use crate::store::{Line, Store, StoreError};
use replank_common::ids::RunId;
use replank_common::outcome::{How, Outcome};
use replank_core::run::Event;
use std::collections::BTreeMap;

/// Lines read from the store at a time.
const LINES_AT_ONCE: u32 = 1024;

/// What all journals say together, up to the lines that were read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The next line of each run.
    next: BTreeMap<RunId, u64>,
    /// Actions by how they ended.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    pub(super) guests_lost: u64,
    pub(super) guests_twice: u64,
    pub(super) halts: u64,
}

impl Tally {
    /// Reads what was written since the last time.
    ///
    /// # Errors
    /// The store's; what was read before it failed is counted.
    pub(super) async fn catch_up(&mut self, store: &Store, runs: &[RunId]) -> Result<(), StoreError> {
        for run in runs {
            loop {
                let since = self.next.get(run).copied().unwrap_or(1);
                let asked = run.clone();
                let lines = store.read(move |database| database.lines(&asked, since, LINES_AT_ONCE)).await?;
                let Some(last) = lines.last() else { break };
                self.next.insert(run.clone(), last.seq + 1);
                let all = lines.len() < LINES_AT_ONCE as usize;
                lines.iter().for_each(|line| self.count(line));
                if all {
                    break;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, line: &Line) {
        // A line that this version cannot read is the drive's to judge; it counts as nothing.
        let Ok(event) = serde_json::from_str(&line.event) else { return };
        match event {
            Event::Outcome { outcome, .. } => *self.outcomes.entry(word(&outcome)).or_default() += 1,
            Event::GuestLost { .. } => self.guests_lost += 1,
            Event::GuestTwice { .. } => self.guests_twice += 1,
            Event::Halted { .. } => self.halts += 1,
            _ => {}
        }
    }
}

/// Every word for an outcome, so that a counter is there before it counts.
pub(super) const OUTCOMES: [&str; 7] =
    ["applied", "found-done", "finished", "undone", "nothing-to-undo", "refused", "failed"];

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done { how: How::Applied, .. } => "applied",
        Outcome::Done { how: How::FoundDone, .. } => "found-done",
        Outcome::Done { how: How::Finished, .. } => "finished",
        Outcome::Done { how: How::Undone, .. } => "undone",
        Outcome::Done { how: How::NothingToUndo, .. } => "nothing-to-undo",
        Outcome::Refused(_) => "refused",
        Outcome::Failed { .. } => "failed",
    }
}
