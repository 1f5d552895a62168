//! Outcomes and refusals, in the words of the rules.

use crate::act::{Failure, Report};
use crate::codes;
use crate::ledger::{IllegalEntry, Ledger};
use replank_common::ids::Epoch;
use replank_common::outcome::{How, Outcome, Refusal};
use std::time::Duration;

pub(super) fn refusal(code: &str, reason: impl Into<String>, remedy: &str) -> Refusal {
    Refusal { code: code.to_owned(), reason: reason.into(), remedy: remedy.to_owned(), findings: Vec::new() }
}

const STOP_THE_EARLIER: &str = "an earlier coordinator must not command; stop it";
const WHEN_WANTED: &str = "retry the step when it is wanted after all";

pub(super) fn old_epoch(epoch: Epoch, highest: Epoch) -> Refusal {
    refusal(
        codes::OLD_EPOCH,
        format!("the command carries epoch {epoch}, and a coordinator of epoch {highest} was obeyed"),
        STOP_THE_EARLIER,
    )
}

pub(super) fn cancelled() -> Refusal {
    refusal(codes::CANCELLED, "it was cancelled before it started", WHEN_WANTED)
}

pub(super) fn late() -> Refusal {
    refusal(codes::CANCELLED, "it was taken back already; this command came late", WHEN_WANTED)
}

pub(super) fn cannot_judge(why: &str) -> Refusal {
    refusal(
        codes::GUARD_USAGE_UNKNOWN,
        format!("it cannot be told whether the action touches what guests use: {why}"),
        "see what the message names; nothing is done while it cannot be told",
    )
}

/// The ledger said no before anything was done.
pub(super) fn refused_by<L: Ledger>(error: &L::Error) -> Outcome {
    Outcome::Refused(match L::illegal(error) {
        // Obeyed when it came, and a later coordinator has been obeyed while the host was looked at.
        Some(illegal @ IllegalEntry::OldEpoch(_)) => {
            refusal(codes::OLD_EPOCH, illegal.to_string(), STOP_THE_EARLIER)
        }
        // Without its ledger the agent does nothing at all, and says so each time.
        Some(
            IllegalEntry::IntendedTwice(_)
            | IllegalEntry::EndedTwice(_)
            | IllegalEntry::EndedUnintended(_)
            | IllegalEntry::NeverIntended(_),
        )
        | None => refusal(
            codes::LEDGER,
            error.to_string(),
            "the agent refuses every action until its ledger can be used again",
        ),
    })
}

/// It was begun, and how it ended is nowhere but here: a refusal would say that nothing was changed.
pub(super) fn unrecorded<L: Ledger>(error: &L::Error, took: Duration) -> Outcome {
    Outcome::Failed {
        code: codes::LEDGER.to_owned(),
        error: format!("it was begun, and its end cannot be written down: {error}"),
        remedy: "make the ledger usable again and retry the step: what was begun is finished or taken back by its \
                 intent"
            .to_owned(),
        restored: false,
        took_ms: milliseconds(took),
    }
}

pub(super) fn done(how: How, took: Duration, report: Report) -> Outcome {
    Outcome::Done { how, took_ms: milliseconds(took), changes: report.changes, findings: report.findings }
}

pub(super) fn failed(failure: Failure, restored: bool, took: Duration) -> Outcome {
    Outcome::Failed {
        code: failure.code.to_owned(),
        error: failure.error,
        remedy: failure.remedy,
        restored,
        took_ms: milliseconds(took),
    }
}

/// The host is not as the action expects, and an earlier try of it may have changed something: not a refusal any more.
pub(super) fn refused_half_way(refusal: Refusal) -> Outcome {
    Outcome::Failed {
        code: refusal.code,
        error: format!("begun before, and now: {}", refusal.reason),
        remedy: refusal.remedy,
        restored: false,
        took_ms: 0,
    }
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
