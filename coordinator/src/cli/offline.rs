//! Check, plan, show and lint: what can be done from files alone.

use super::args::{PlanArgs, SourceArgs};
use super::failure::{Failure, count};
use super::files::{self, PlanFile, shell_word};
use super::output::Output;
use replank_common::finding::{Finding, Severity};
use replank_common::ids::PlanId;
use replank_core::fleet_file::FleetFile;
use replank_core::inventory::Inventory;
use replank_core::lint::{LintNote, LintSeverity, lint, show_notes};
use replank_core::plan::{self, Plan, PlanReport, show_findings};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// A fleet file with its name on the command line.
#[derive(Debug)]
pub struct Fleet<'a> {
    pub source: &'a SourceArgs,
    pub file: FleetFile,
}

impl<'a> Fleet<'a> {
    /// Reads the fleet file first: its mistakes need no inventory.
    ///
    /// # Errors
    /// As [`files::fleet`].
    pub fn read(source: &'a SourceArgs) -> Result<Self, Failure> {
        Ok(Self { source, file: files::fleet(&source.fleet)? })
    }
}

/// Prints every finding.
///
/// # Errors
/// [`Failure::Blocked`] when one blocks.
pub fn check(out: Output, fleet: &Fleet<'_>, inventory: &Inventory) -> Result<(), Failure> {
    let catalog = files::catalog(&fleet.source.catalog)?;
    let findings = plan::preflight(&fleet.file, inventory, &catalog);
    let blockers = blockers(&findings);
    if out.json {
        out.document(&json!({ "blockers": blockers, "findings": findings }))?;
    } else {
        out.data(&show_findings(&findings))?;
    }
    if blockers > 0 {
        return Err(Failure::Blocked(blockers));
    }
    out.note(&format!("no blockers on {}", count(inventory.hosts.len(), "host")));
    Ok(())
}

fn blockers(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.severity == Severity::Blocks).count()
}

/// Makes the plan, writes it with `-o`, shows it, and says how to apply it.
///
/// # Errors
/// [`Failure::Blocked`] with the findings shown; [`Failure::Unsound`] when lint objects, then nothing is written.
pub fn plan(
    out: Output,
    args: &PlanArgs,
    fleet: &Fleet<'_>,
    inventory: &Inventory,
    parent: Option<&PlanFile>,
) -> Result<(), Failure> {
    let catalog = files::catalog(&fleet.source.catalog)?;
    let input = plan::Input {
        fleet: &fleet.file,
        inventory,
        catalog: &catalog,
        parent: parent.map(|parent| &parent.id),
    };
    let (made, report) = plan::plan(&input).or_else(|refused| {
        if out.json {
            out.document(&json!({ "refused": refused }))?;
        } else {
            out.data(&show_findings(&refused.findings))?;
        }
        Err(Failure::Blocked(blockers(&refused.findings)))
    })?;
    sound(out, &made)?;
    let bytes = made.to_bytes();
    if let Some(path) = &args.output {
        files::write(path, &bytes)?;
    }
    let next = next_command(args, &made);
    if out.json {
        if args.output.is_none() {
            out.bytes(&bytes)?;
        } else {
            out.document(&summary(&made, &report))?;
        }
        out.note(&next);
        return Ok(());
    }
    out.data(&plan::show(&made))?;
    if let Some(parent) = parent {
        out.data(&difference(parent, &made))?;
    }
    out.data(&format!("\n{next}\n"))
}

/// What `plan -o FILE --json` prints: the plan itself is in the file.
fn summary(plan: &Plan, report: &PlanReport) -> serde_json::Value {
    json!({ "id": plan.id(), "steps": plan.steps.len(), "report": report })
}

fn next_command(args: &PlanArgs, plan: &Plan) -> String {
    if plan.steps.is_empty() {
        return "Nothing to apply: every host is done.".to_owned();
    }
    let word = |path: &Path| shell_word(&path.display().to_string());
    match &args.output {
        Some(path) => format!("Apply it with: replank apply {} --watch", word(path)),
        None => {
            let mut again = format!("replank plan -f {}", word(&args.source.fleet));
            if let Some(inventory) = &args.source.inventory {
                again.push_str(&format!(" --inventory {}", word(inventory)));
            }
            for catalog in &args.source.catalog {
                again.push_str(&format!(" --catalog {}", word(catalog)));
            }
            format!("Apply it with: {again} -o plan.json && replank apply plan.json --watch")
        }
    }
}

/// Which steps a child plan no longer has, and which its parent had not.
fn difference(parent: &PlanFile, child: &Plan) -> String {
    let ids =
        |plan: &Plan| -> BTreeSet<String> { plan.steps.iter().map(|step| step.id.to_string()).collect() };
    let (before, after) = (ids(&parent.plan), ids(child));
    let changed = child
        .steps
        .iter()
        .filter(|step| parent.plan.steps.iter().any(|old| old.id == step.id && old.work != step.work))
        .map(|step| step.id.to_string());
    let mut text = format!("\nCompared with its parent {}\n", parent.id);
    let mut list = |sign: &str, what: &str, steps: Vec<String>| {
        text.push_str(&format!("  {} {what}\n", count(steps.len(), "step")));
        for step in steps {
            text.push_str(&format!("    {sign} {step}\n"));
        }
    };
    list("-", "left out", before.difference(&after).cloned().collect());
    list("+", "added", after.difference(&before).cloned().collect());
    list("~", "changed", changed.collect());
    text
}

/// Shows a plan; as JSON, its file.
///
/// # Errors
/// Of standard output.
pub fn show(out: Output, file: &PlanFile) -> Result<(), Failure> {
    if out.json { out.bytes(&file.bytes) } else { out.data(&plan::show(&file.plan)) }
}

/// Prints what lint says of a plan.
///
/// # Errors
/// [`Failure::Unsound`] when a note is fatal.
pub fn lint_plan(out: Output, file: &PlanFile) -> Result<(), Failure> {
    let notes = lint(&file.plan);
    if out.json {
        out.document(&json!({ "plan": file.id, "fatal": fatal(&notes), "notes": notes }))?;
    } else {
        out.data(&show_notes(&notes))?;
    }
    if fatal(&notes) > 0 {
        return Err(Failure::Unsound(fatal(&notes)));
    }
    if notes.is_empty() {
        out.note(&format!("{} keeps its promises", short(&file.id)));
    }
    Ok(())
}

/// Lints a plan that is about to be written or applied; silent when it is sound.
///
/// # Errors
/// [`Failure::Unsound`], with the notes on standard error.
pub fn sound(out: Output, plan: &Plan) -> Result<(), Failure> {
    let notes = lint(plan);
    if fatal(&notes) == 0 {
        return Ok(());
    }
    out.note(show_notes(&notes).trim_end());
    Err(Failure::Unsound(fatal(&notes)))
}

fn fatal(notes: &[LintNote]) -> usize {
    notes.iter().filter(|note| note.severity == LintSeverity::Fatal).count()
}

/// A plan's id as people compare it.
fn short(id: &PlanId) -> &str {
    let id = id.as_str();
    id.get(.."sha256:".len() + 12).unwrap_or(id)
}
