//! What lint says.

use replank_common::ids::StepId;
use serde::Serialize;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LintSeverity {
    /// The plan breaks a promise: it must not be applied.
    Fatal,
    /// Look at it; it may be right.
    Warning,
}

/// One thing that lint found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LintNote {
    pub severity: LintSeverity,
    /// `RP21xx`; its page is `docs/errors/<code>.md`.
    pub code: &'static str,
    /// The step that it is about, if it is about one.
    pub step: Option<StepId>,
    pub text: String,
}

impl fmt::Display for LintNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, code, step, text } = self;
        let word = match severity {
            LintSeverity::Fatal => "fatal",
            LintSeverity::Warning => "warning",
        };
        match step {
            Some(step) => write!(f, "{word} {code} {step}: {text}"),
            None => write!(f, "{word} {code}: {text}"),
        }
    }
}

/// Notes as text, one a line; empty for a clean plan.
pub fn show_notes(notes: &[LintNote]) -> String {
    notes.iter().map(|note| format!("{note}\n")).collect()
}

/// Collects notes.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: Vec<LintNote>,
}

impl Notes {
    pub(super) fn fatal(&mut self, code: &'static str, step: Option<&StepId>, text: impl Into<String>) {
        self.add(LintSeverity::Fatal, code, step, text.into());
    }

    pub(super) fn warning(&mut self, code: &'static str, step: Option<&StepId>, text: impl Into<String>) {
        self.add(LintSeverity::Warning, code, step, text.into());
    }

    fn add(&mut self, severity: LintSeverity, code: &'static str, step: Option<&StepId>, text: String) {
        self.notes.push(LintNote { severity, code, step: step.cloned(), text });
    }

    pub(super) fn finish(mut self) -> Vec<LintNote> {
        self.notes.sort();
        self.notes.dedup();
        self.notes
    }
}
