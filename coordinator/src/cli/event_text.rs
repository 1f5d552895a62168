//! One line for each event of a run's journal, and for each bit of progress in between.

use replank_common::UnixMs;
use replank_common::finding::Finding;
use replank_common::outcome::{How, Outcome};
use replank_core::gate::{duration, utc};
use replank_core::run::event::{End, Event, Purpose, When};
use serde_json::Value;

/// A line for an event; an event that this version does not know is shown as it came.
pub fn line(index: u64, at_ms: UnixMs, event: &Value) -> String {
    // The journal only grows by kinds of events: a newer coordinator may send one that is not known here.
    let text = match serde_json::from_value::<Event>(event.clone()) {
        Ok(event) => text(&event),
        Err(_) => format!("(not known to this replank) {event}"),
    };
    format!("{} {index:>5}  {text}", utc(at_ms))
}

/// What an agent says of a step in flight; `None` when there is nothing to read in it.
pub fn progress(at_ms: UnixMs, value: &Value) -> Option<String> {
    // Both `{"progress": {…}}` and the plain object are understood.
    let value = value.get("progress").filter(|inner| inner.is_object()).unwrap_or(value);
    let word = |key: &str| value.get(key).and_then(Value::as_str);
    let step = word("step").or_else(|| word("action")).or_else(|| word("host"))?;
    let permille = value.get("permille").and_then(Value::as_u64);
    let share = permille.map(|permille| format!(" {} %", permille / 10)).unwrap_or_default();
    let said = word("text").map(|text| format!(" {text}")).unwrap_or_default();
    Some(format!("{}        {step}:{share}{said}", utc(at_ms)))
}

/// An event in words.
pub fn text(event: &Event) -> String {
    match event {
        Event::Created { run, plan, by } => format!("{run} of plan {plan} begun by {by}"),
        Event::Led { epoch } => format!("led by the coordinator of epoch {epoch}"),
        Event::Baseline { host, guests, .. } => format!("{host}: {} guests counted", guests.len()),
        Event::GuestAppeared { host, life } => format!("{host}: guest {} started", life.name),
        Event::GuestLeft { host, guest, .. } => format!("{host}: guest {guest} was ended by its owner"),
        Event::GuestMoved { host, guest, to, .. } => format!("{host}: guest {guest} moved to {to}"),
        Event::GuestLost { host, name, guest, known, .. } => {
            format!("{host}: guest {name} ({guest}) was LOST: {known}")
        }
        Event::GuestTwice { guest, name, hosts, .. } => {
            let hosts: Vec<&str> = hosts.iter().map(|host| host.as_str()).collect();
            format!("guest {name} ({guest}) RUNS TWICE: on {}", hosts.join(" and "))
        }
        Event::HostRebooted { host, .. } => format!("{host} REBOOTED, and its guests with it"),
        Event::Halted { reason } => format!("HALTED, no step starts any more: {reason}"),
        Event::Began { step } => format!("{step} begins"),
        Event::Sent { step, purpose, .. } => format!("{step} {}", purpose_text(*purpose)),
        Event::Outcome { action, outcome } => format!("{} {}", action.step, outcome_text(outcome)),
        Event::GateWaits { step, when, reason } => format!("{step} {}: {reason}", wait_text(*when)),
        Event::GatePassed { step, when: _ } => format!("{step}: what it waited for is gone"),
        Event::StepDone { step } => format!("{step} done"),
        Event::HoldReached { hold } => format!("hold {hold} is reached: it waits for approval"),
        Event::Approved { hold, by } => format!("hold {hold} approved by {by}"),
        Event::Paused { by } => format!("paused by {by}"),
        Event::Resumed { by, acknowledged } if acknowledged.is_empty() => format!("resumed by {by}"),
        Event::Resumed { by, acknowledged } => {
            let guests: Vec<String> = acknowledged.iter().map(ToString::to_string).collect();
            format!("resumed by {by}, who answers for {}", guests.join(", "))
        }
        Event::RetryAsked { step, by } => format!("{step} is tried again, asked by {by}"),
        Event::AbortAsked { by } => format!("abort asked by {by}"),
        Event::RollbackAsked { to: None, by } => format!("rollback asked by {by}"),
        Event::RollbackAsked { to: Some(stage), by } => {
            format!("rollback to {} asked by {by}", stage.as_str())
        }
        Event::RollbackRefused { refusals } => {
            let refusals: Vec<String> =
                refusals.iter().map(|closed| format!("{}: {}", closed.step, closed.refusal)).collect();
            format!("rollback refused, nothing was taken back: {}", refusals.join("; "))
        }
        Event::RollbackBegun {} => "the way back is safe: steps are taken back".to_owned(),
        Event::Closing { end } => format!("closing ({}): giving back and counting", end_text(*end)),
        Event::Recounted { host, guests, .. } => {
            format!("{host}: {} guests at the last count", guests.len())
        }
        Event::Finished { end } => format!("ended: {}", end_text(*end)),
    }
}

/// How a run ended, in words.
pub fn end_text(end: End) -> String {
    match end {
        End::Completed => "completed".to_owned(),
        End::Aborted => "aborted".to_owned(),
        End::RolledBack { to: None } => "rolled back".to_owned(),
        End::RolledBack { to: Some(stage) } => format!("rolled back to {}", stage.as_str()),
    }
}

fn purpose_text(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Do => "begins",
        Purpose::GiveBack => "gives back",
        Purpose::Undo => "is taken back",
        Purpose::SetGuard | Purpose::Guard => "asks whether the way back is safe",
    }
}

fn wait_text(when: When) -> &'static str {
    match when {
        When::Before => "waits",
        When::After => "is not finished",
        When::Undo => "is not taken back",
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { how, took_ms, findings, changes: _ } => {
            let how = match how {
                How::Applied => "applied",
                How::FoundDone => "found done",
                How::Finished => "finished after an interruption",
                How::Undone => "taken back",
                How::NothingToUndo => "had nothing to take back",
            };
            let codes: Vec<&str> = findings.iter().map(|Finding { code, .. }| code.as_str()).collect();
            let found = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
            format!("{how} in {}{found}", duration(*took_ms))
        }
        Outcome::Refused(refusal) => format!("REFUSED: {refusal}"),
        Outcome::Failed { code, error, remedy, restored, .. } => {
            let left = if *restored { "everything is as it was" } else { "it is half done" };
            format!("FAILED: {code}: {error}; {left}; {remedy}")
        }
    }
}
