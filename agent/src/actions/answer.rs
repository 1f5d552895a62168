//! Short ways to say no, to say what failed, and to say what changed.

use super::{ActError, Failure};
use crate::codes;
use crate::host::Host;
use crate::host::files::FileError;
use crate::host::systemd::SystemdError;
use replank_common::finding::{Finding, Severity};
use replank_common::outcome::{Change, Refusal};

pub(super) fn refusal(code: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal { code: code.to_owned(), reason: reason.into(), remedy: remedy.into(), findings: Vec::new() }
}

pub(super) fn failure(code: &'static str, error: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure { code, error: error.into(), remedy: remedy.into() }
}

pub(super) fn change(what: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Change {
    Change { what: what.into(), before: before.into(), after: after.into() }
}

/// A finding that only informs.
pub(super) fn note(
    host: &Host,
    code: &'static str,
    subject: impl Into<String>,
    cause: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    finding(host, code, Severity::Notes, subject, cause, remedy)
}

/// A finding that blocks.
pub(super) fn blocks(
    host: &Host,
    code: &'static str,
    subject: impl Into<String>,
    cause: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    finding(host, code, Severity::Blocks, subject, cause, remedy)
}

fn finding(
    host: &Host,
    code: &'static str,
    severity: Severity,
    subject: impl Into<String>,
    cause: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        code: code.to_owned(),
        host: Some(host.name.clone()),
        severity,
        subject: subject.into(),
        cause: cause.into(),
        remedy: remedy.into(),
    }
}

/// `Err` with all of `findings` when one of them blocks.
pub(super) fn refuse_if_blocked(
    code: &'static str,
    reason: &str,
    remedy: &str,
    findings: &[Finding],
) -> Result<(), Refusal> {
    let blocking: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Blocks).collect();
    let Some(first) = blocking.first() else { return Ok(()) };
    let more = match blocking.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    let mut refusal = refusal(code, format!("{reason}: {}: {}{more}", first.subject, first.cause), remedy);
    refusal.findings = findings.to_vec();
    Err(refusal)
}

const LOOK_AT_THE_DISK: &str = "look at the file system and its permissions, then retry";
const LOOK_AT_SYSTEMD: &str = "see `journalctl -b -p warning` and `systemctl status` on the host, then retry";

pub(super) fn file_refusal(error: &FileError) -> Refusal {
    refusal(codes::FILE_IO, error.full(), LOOK_AT_THE_DISK)
}

pub(super) fn file_failure(error: &FileError) -> Failure {
    failure(codes::FILE_IO, error.full(), LOOK_AT_THE_DISK)
}

fn systemd_code(error: &SystemdError) -> &'static str {
    match error {
        SystemdError::Unreachable { .. } | SystemdError::TimedOut { .. } => codes::SYSTEMD_SILENT,
        SystemdError::Refused { .. } | SystemdError::Job { .. } | SystemdError::Forbidden { .. } => {
            codes::SYSTEMD_REFUSED
        }
    }
}

pub(super) fn systemd_refusal(error: &SystemdError) -> Refusal {
    refusal(systemd_code(error), error.to_string(), LOOK_AT_SYSTEMD)
}

pub(super) fn systemd_failure(error: &SystemdError) -> Failure {
    failure(systemd_code(error), error.to_string(), LOOK_AT_SYSTEMD)
}

/// An undo record of another kind of action: the ledger and the command do not belong together.
pub(super) fn foreign_record(kind: &str) -> ActError {
    ActError::Refused(refusal(
        codes::UNDO_RECORD,
        format!("the undo record is not one of `{kind}`"),
        "this is a fault of replank: report it with the agent's ledger",
    ))
}
