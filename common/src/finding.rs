//! Findings: what stands in the way of an upgrade, or would have, with cause and remedy.

use crate::ids::HostName;
use serde::{Deserialize, Serialize};

/// What a finding means for the run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing starts until it is gone.
    Blocks,
    /// The plan takes care of it; the text says how.
    Neutralised { how: String },
    /// Worth knowing; changes nothing.
    Notes,
}

/// One thing found on one host (or in the fleet file, then `host` is `None`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// A documented code, `RP` and four digits; its page is `docs/errors/<code>.md`.
    pub code: String,
    pub host: Option<HostName>,
    pub severity: Severity,
    /// The thing: a path, package, unit, guest.
    pub subject: String,
    /// What was seen and why it matters.
    pub cause: String,
    /// What the operator does about it.
    pub remedy: String,
}
