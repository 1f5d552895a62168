//! `ceph status` or `ceph health`: the list of reasons. The level itself says little: a flag that we set makes it a warning.
//!
//! | release | form |
//! | --- | --- |
//! | Hammer, Jewel; Luminous until `require_osd_release` is `luminous` | `overall_status`, `summary[]{severity, summary}` |
//! | Luminous and Mimic | `status`, `checks{}`, and an `overall_status` that is always `HEALTH_WARN`, with a `summary` that only says so |
//! | Nautilus and later | `status`, `checks{}`; since Octopus each check may be `muted` |

use super::error::{DocumentError, Kind, Reading};
use super::json::Truth;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a cluster says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `HEALTH_OK`, `HEALTH_WARN`, `HEALTH_ERR`.
    pub level: String,
    pub reasons: Vec<HealthReason>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReason {
    /// `OSD_DOWN`. Before Luminous there are none, and the text is all there is.
    pub check: Option<String>,
    pub level: String,
    pub text: String,
    pub muted: bool,
}

/// The end of the text in which releases before Luminous list every flag of the OSD map, also those that are no reason to complain (`sortbitwise`), once one is (src/mon/OSDMonitor.cc
/// `get_health`, src/osd/OSDMap.cc `get_flag_string`).
const FLAGS_SET: &str = " flag(s) set";
/// Flags of such a text with which clients wait or will.
const CLIENTS_WAIT: [&str; 4] = ["nearfull", "full", "pauserd", "pausewr"];

impl HealthReason {
    /// Whether it is `expected`: a check's code, or the text that a release without codes gives, in which numbers may be others (`#` stands for any), and flags too, as the code
    /// of later releases stands for them all.
    pub fn is(&self, expected: &str) -> bool {
        if let Some(check) = &self.check {
            return check == expected;
        }
        match (self.text.trim().strip_suffix(FLAGS_SET), expected.strip_suffix(FLAGS_SET)) {
            (Some(flags), Some(_)) => !flags.split(',').any(|flag| CLIENTS_WAIT.contains(&flag)),
            _ => numberless(&self.text) == numberless(expected),
        }
    }
}

/// A text with `#` for each number, so that the count of a moment makes no other reason of it.
fn numberless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '0'..='9' | '#' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out
}

impl Health {
    /// # Errors
    /// Not JSON, or another document.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let reading = Reading { kind: Kind::Health, file };
        let root: RawRoot = reading.json(bytes)?;
        // Of `health`, Hammer and Jewel print a `health` inside that holds something else.
        let says = |health: &RawHealth| health.status.is_some() || health.overall_status.is_some();
        let raw = root.health.filter(says).unwrap_or(root.own);
        // In this order: `overall_status` is made up where both are there.
        let level = raw.status.or(raw.overall_status).ok_or_else(|| reading.other("health"))?;
        let reasons = match raw.checks {
            Some(checks) => checks.into_iter().map(|(name, check)| check.mean(name)).collect(),
            None => raw.summary.unwrap_or_default().into_iter().map(RawSummary::mean).collect(),
        };
        Ok(Self { level, reasons })
    }
}

#[derive(Debug, Deserialize)]
struct RawRoot {
    health: Option<RawHealth>,
    #[serde(flatten)]
    own: RawHealth,
}

#[derive(Debug, Deserialize)]
struct RawHealth {
    status: Option<String>,
    overall_status: Option<String>,
    checks: Option<BTreeMap<String, RawCheck>>,
    summary: Option<Vec<RawSummary>>,
}

#[derive(Debug, Deserialize)]
struct RawCheck {
    severity: Option<String>,
    summary: Option<RawMessage>,
    muted: Option<Truth>,
}

#[derive(Debug, Deserialize)]
struct RawMessage {
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawSummary {
    severity: Option<String>,
    summary: Option<String>,
}

impl RawCheck {
    fn mean(self, name: String) -> HealthReason {
        HealthReason {
            check: Some(name),
            level: self.severity.unwrap_or_default(),
            text: self.summary.and_then(|summary| summary.message).unwrap_or_default(),
            muted: self.muted.is_some_and(|Truth(muted)| muted),
        }
    }
}

impl RawSummary {
    fn mean(self) -> HealthReason {
        let (level, text) = (self.severity.unwrap_or_default(), self.summary.unwrap_or_default());
        HealthReason { check: None, level, text, muted: false }
    }
}
