//! `outcome.proto`.

use super::{BadMessage, absent, all, each, known, need, parse};
use crate::v1;
use replank_common::finding::{Finding, Severity};
use replank_common::ids::HostName;
use replank_common::outcome as o;

impl From<Severity> for v1::Severity {
    fn from(severity: Severity) -> Self {
        use v1::severity::Kind;
        let (kind, how) = match severity {
            Severity::Blocks => (Kind::Blocks, String::new()),
            Severity::Neutralised { how } => (Kind::Neutralised, how),
            Severity::Notes => (Kind::Notes, String::new()),
        };
        Self { kind: kind.into(), how }
    }
}

impl TryFrom<v1::Severity> for Severity {
    type Error = BadMessage;
    fn try_from(m: v1::Severity) -> Result<Self, BadMessage> {
        use v1::severity::Kind;
        Ok(match known::<Kind>("Severity", "kind", m.kind)? {
            Kind::Unspecified => return Err(absent("Severity", "kind")),
            Kind::Blocks => Self::Blocks,
            Kind::Neutralised => Self::Neutralised { how: m.how },
            Kind::Notes => Self::Notes,
        })
    }
}

impl From<Finding> for v1::Finding {
    fn from(f: Finding) -> Self {
        Self {
            code: f.code,
            host: f.host.map(Into::into),
            severity: Some(f.severity.into()),
            subject: f.subject,
            cause: f.cause,
            remedy: f.remedy,
        }
    }
}

impl TryFrom<v1::Finding> for Finding {
    type Error = BadMessage;
    fn try_from(m: v1::Finding) -> Result<Self, BadMessage> {
        Ok(Self {
            code: m.code,
            host: m.host.map(|h| parse::<HostName>("Finding", "host", &h)).transpose()?,
            severity: need("Finding", "severity", m.severity)?.try_into()?,
            subject: m.subject,
            cause: m.cause,
            remedy: m.remedy,
        })
    }
}

impl From<o::Change> for v1::Change {
    fn from(c: o::Change) -> Self {
        Self { what: c.what, before: c.before, after: c.after }
    }
}

impl From<v1::Change> for o::Change {
    fn from(m: v1::Change) -> Self {
        Self { what: m.what, before: m.before, after: m.after }
    }
}

impl From<o::How> for v1::How {
    fn from(how: o::How) -> Self {
        match how {
            o::How::Applied => Self::Applied,
            o::How::FoundDone => Self::FoundDone,
            o::How::Finished => Self::Finished,
            o::How::Undone => Self::Undone,
            o::How::NothingToUndo => Self::NothingToUndo,
        }
    }
}

fn how(number: i32) -> Result<o::How, BadMessage> {
    Ok(match known::<v1::How>("Outcome.Done", "how", number)? {
        v1::How::Unspecified => return Err(absent("Outcome.Done", "how")),
        v1::How::Applied => o::How::Applied,
        v1::How::FoundDone => o::How::FoundDone,
        v1::How::Finished => o::How::Finished,
        v1::How::Undone => o::How::Undone,
        v1::How::NothingToUndo => o::How::NothingToUndo,
    })
}

impl From<o::Outcome> for v1::Outcome {
    fn from(outcome: o::Outcome) -> Self {
        use v1::outcome as w;
        let outcome = match outcome {
            o::Outcome::Done { how, took_ms, changes, findings } => w::Outcome::Done(w::Done {
                how: v1::How::from(how).into(),
                took_ms,
                changes: each(changes),
                findings: each(findings),
            }),
            o::Outcome::Refused(o::Refusal { code, reason, remedy, findings }) => {
                w::Outcome::Refused(w::Refused { code, reason, remedy, findings: each(findings) })
            }
            o::Outcome::Failed { code, error, remedy, restored, took_ms } => {
                w::Outcome::Failed(w::Failed { code, error, remedy, restored, took_ms })
            }
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<v1::Outcome> for o::Outcome {
    type Error = BadMessage;
    fn try_from(m: v1::Outcome) -> Result<Self, BadMessage> {
        use v1::outcome::Outcome as W;
        Ok(match need("Outcome", "outcome", m.outcome)? {
            W::Done(d) => Self::Done {
                how: how(d.how)?,
                took_ms: d.took_ms,
                changes: each(d.changes),
                findings: all(d.findings)?,
            },
            W::Refused(r) => Self::Refused(o::Refusal {
                code: r.code,
                reason: r.reason,
                remedy: r.remedy,
                findings: all(r.findings)?,
            }),
            W::Failed(f) => Self::Failed {
                code: f.code,
                error: f.error,
                remedy: f.remedy,
                restored: f.restored,
                took_ms: f.took_ms,
            },
        })
    }
}
