//! What census and ledger look like for people and for machines.

use super::table::table;
use crate::failure::Failure;
use crate::ledger::{Entry, Ledger, LedgerError, Stage, Work};
use replank_common::UnixMs;
use replank_common::census::{Census, EndCause, GuestState};
use replank_common::outcome::Outcome;
use replank_identity::UnixSeconds;
use serde::Serialize;
use std::path::Path;

pub(super) fn json(data: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(data)
        .expect("the words of both sides are plain data with text keys, which JSON can always hold");
    text.push('\n');
    text
}

pub(super) fn census(census: &Census) -> String {
    let mut text = String::new();
    if census.guests.is_empty() {
        text.push_str("no guest runs here\n");
    } else {
        let rows: Vec<Vec<String>> = census
            .guests
            .values()
            .map(|guest| {
                let version = guest.qemu_version.as_ref().map_or("unknown", |version| version.as_str());
                vec![
                    guest.uuid.to_string(),
                    guest.name.clone(),
                    guest.incarnation.pid.to_string(),
                    state(&guest.state),
                    format!("{version}{}", if guest.emulator_deleted { " (gone from the disk)" } else { "" }),
                    format!("{} of 4", guest.seen_by.len()),
                ]
            })
            .collect();
        text.push_str(&table(&["GUEST", "NAME", "PID", "STATE", "QEMU", "SEEN BY"], &rows));
    }
    for end in &census.ended {
        text.push_str(&format!("ended: {} ({}): {}\n", end.name, end.uuid, cause(&end.cause)));
    }
    for disagreement in &census.disagreements {
        text.push_str(&format!("disagreement: {disagreement}\n"));
    }
    text
}

fn state(state: &GuestState) -> String {
    match state {
        GuestState::Running => "running".to_owned(),
        GuestState::Paused(reason) => format!("paused ({reason})"),
        GuestState::Other(word) => word.clone(),
        GuestState::Unknown => "unknown".to_owned(),
    }
}

fn cause(cause: &EndCause) -> String {
    match cause {
        EndCause::GuestShutdown => "it shut itself down".to_owned(),
        EndCause::AskedOfLibvirt { who: Some(who) } => format!("{who} asked libvirt to end it"),
        EndCause::AskedOfLibvirt { who: None } => "somebody asked libvirt to end it".to_owned(),
        EndCause::Migrated => "it moved to another host".to_owned(),
        EndCause::Unattributed { known } => known.clone(),
    }
}

/// The ledger's entries, without making a ledger where there is none.
pub(super) fn entries(state_directory: &Path) -> Result<Vec<Entry>, Failure> {
    match Ledger::open_to_read(state_directory) {
        Ok(Some(ledger)) => Ok(ledger.entries()?),
        Ok(None) => Ok(Vec::new()),
        Err(error) => Err(LedgerError::into(error)),
    }
}

pub(super) fn ledger(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing was done here\n".to_owned();
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let (at_ms, outcome) = match &entry.stage {
                Stage::Intended { .. } => (entry.intended_at_ms, "begun, not ended".to_owned()),
                Stage::Ended { outcome, at_ms, .. } => (*at_ms, ending(outcome)),
            };
            vec![time(at_ms), entry.id.to_string(), work(&entry.work), outcome]
        })
        .collect();
    table(&["TIME", "ID", "ACTION", "OUTCOME"], &rows)
}

fn work(work: &Work) -> String {
    match work {
        Work::Do(action) => action.kind().to_owned(),
        Work::Undo(of) => format!("undo of {}, attempt {}", of.step, of.attempt),
    }
}

fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { how, took_ms, .. } => {
            let how = serde_json::to_value(how).ok();
            let how = how.as_ref().and_then(serde_json::Value::as_str).unwrap_or("done");
            format!("{how} in {took_ms} ms")
        }
        Outcome::Refused(refusal) => format!("refused: {refusal}"),
        Outcome::Failed { code, error, restored, .. } => {
            let how = if *restored { "failed, and put back" } else { "failed" };
            format!("{how}: {code}: {error}")
        }
    }
}

/// In UTC, to the second.
fn time(at_ms: UnixMs) -> String {
    UnixSeconds::from_ms(at_ms).to_string()
}
