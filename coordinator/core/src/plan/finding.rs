//! The three kinds of finding, said shortly.

use replank_common::finding::{Finding, Severity};
use replank_common::ids::HostName;

/// What a finding is about.
pub(super) struct About<'a> {
    pub(super) code: &'a str,
    /// `None`: the fleet file.
    pub(super) host: Option<&'a HostName>,
    pub(super) subject: String,
}

impl<'a> About<'a> {
    pub(super) fn fleet(code: &'a str, subject: impl Into<String>) -> Self {
        Self { code, host: None, subject: subject.into() }
    }

    pub(super) fn host(code: &'a str, host: &'a HostName, subject: impl Into<String>) -> Self {
        Self { code, host: Some(host), subject: subject.into() }
    }

    pub(super) fn blocks(self, cause: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Blocks, cause, remedy)
    }

    pub(super) fn neutralised(self, cause: impl Into<String>, how: impl Into<String>) -> Finding {
        let severity = Severity::Neutralised { how: how.into() };
        self.finding(severity, cause, "nothing; the plan takes care of it")
    }

    pub(super) fn notes(self, cause: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Notes, cause, remedy)
    }

    fn finding(self, severity: Severity, cause: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            code: self.code.to_owned(),
            host: self.host.cloned(),
            severity,
            subject: self.subject,
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }
}

pub(super) fn is_blocker(finding: &Finding) -> bool {
    match finding.severity {
        Severity::Blocks => true,
        Severity::Neutralised { .. } | Severity::Notes => false,
    }
}
