//! What came of planning, beside the plan: why there is none, or what is worth reading before it is applied.

use super::estimate::Estimate;
use super::text::{Page, names};
use replank_common::finding::{Finding, Severity};
use replank_common::ids::HostName;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What the planner did not put into steps.
#[must_use = "a report that nobody reads does not tell which hosts are left alone"]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// Neutralised and noted; the same as the plan's own.
    pub findings: Vec<Finding>,
    pub already_done: Vec<HostName>,
    /// Hosts of the fleet file that take no part.
    pub untouched: Vec<HostName>,
    pub estimate: Estimate,
}

/// There is no plan, for these reasons: every finding of the preflight, at least one of which blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Refused {
    pub findings: Vec<Finding>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_findings(&self.findings))
    }
}

/// Findings as text: first what blocks, then what the plan neutralises, then what is worth knowing; like ones of several
/// hosts together.
pub fn show_findings(findings: &[Finding]) -> String {
    let mut page = Page::default();
    let groups: [(&str, Belongs); 3] = [
        ("Blocks: nothing starts until it is gone", |severity| *severity == Severity::Blocks),
        ("Taken care of by the plan", |severity| matches!(severity, Severity::Neutralised { .. })),
        ("Worth knowing", |severity| *severity == Severity::Notes),
    ];
    for (title, belongs) in groups {
        let group: Vec<&Finding> = findings.iter().filter(|finding| belongs(&finding.severity)).collect();
        if group.is_empty() {
            continue;
        }
        page.gap();
        page.line(title);
        for (finding, hosts) in together(&group) {
            show_finding(&mut page, finding, &hosts);
        }
    }
    page.into_text()
}

/// Whether a finding of this severity belongs to a group.
type Belongs = fn(&Severity) -> bool;

/// Findings that differ in their host alone, with all their hosts, in the order of their first.
fn together<'f>(group: &[&'f Finding]) -> Vec<(&'f Finding, Vec<&'f str>)> {
    let mut merged: Vec<(&Finding, Vec<&str>)> = Vec::new();
    let mut places: BTreeMap<(&Severity, [&str; 4]), usize> = BTreeMap::new();
    for finding in group {
        let Finding { code, host, severity, subject, cause, remedy } = finding;
        let key = (severity, [code.as_str(), subject, cause, remedy]);
        let at = *places.entry(key).or_insert_with(|| {
            merged.push((finding, Vec::new()));
            merged.len() - 1
        });
        merged[at].1.extend(host.as_ref().map(HostName::as_str));
    }
    merged
}

fn show_finding(page: &mut Page, finding: &Finding, hosts: &[&str]) {
    let Finding { code, host: _, severity, subject, cause, remedy } = finding;
    let place = if hosts.is_empty() { "fleet file".to_owned() } else { names(hosts) };
    page.paragraph(&format!("  {code}  "), &format!("{place}: {subject}"));
    page.paragraph("          ", cause);
    match severity {
        Severity::Neutralised { how } => page.paragraph("          so: ", how),
        Severity::Blocks => page.paragraph("          do: ", remedy),
        Severity::Notes if remedy.starts_with("nothing") => {}
        Severity::Notes => page.paragraph("          do: ", remedy),
    }
}
