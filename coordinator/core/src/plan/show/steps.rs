//! Each host's steps by stage. Hosts that go through the same are shown once, with their times as a range.

use super::super::model::{Plan, Stage, Step, Work};
use super::super::text::{Page, names, show_duration};
use super::stage_title;
use replank_common::ids::{HostName, StepId};

/// Hosts with the same steps, and the steps of each in the same order.
struct Alike<'p> {
    hosts: Vec<&'p HostName>,
    steps: Vec<Vec<&'p Step>>,
}

pub(super) fn show(page: &mut Page, plan: &Plan) {
    page.gap();
    page.line("Steps");
    for alike in alike(plan) {
        let hosts: Vec<&str> = alike.hosts.iter().map(|host| host.as_str()).collect();
        page.gap();
        match hosts.as_slice() {
            [one] => page.line(format_args!("  {one}")),
            _ => page.line(format_args!("  {}, each", names(&hosts))),
        }
        let width = alike.steps[0].iter().map(|step| short(step).len()).max().unwrap_or(0);
        let mut stage: Option<Stage> = None;
        for (index, step) in alike.steps[0].iter().enumerate() {
            if stage != Some(step.stage) {
                stage = Some(step.stage);
                page.line(format_args!("    {}", stage_title(step.stage)));
            }
            let times = alike.steps.iter().map(|steps| steps[index].expected_ms);
            let time = range(times.clone().min().unwrap_or(0), times.max().unwrap_or(0));
            let lead = format!("      {time:>13}  {:width$}  ", short(step));
            let mark = if is_point(plan, &step.id) { " [point of no return]" } else { "" };
            page.paragraph(&lead, &format!("{}{mark}", step.title));
        }
    }
}

fn alike(plan: &Plan) -> Vec<Alike<'_>> {
    let mut groups: Vec<Alike<'_>> = Vec::new();
    for host in plan.hosts.iter().filter(|host| !host.already_done) {
        let own: Vec<&Step> = plan.steps.iter().filter(|step| step.host == host.name).collect();
        let same = |other: &Alike<'_>| {
            let steps = &other.steps[0];
            steps.len() == own.len() && steps.iter().zip(&own).all(|(a, b)| reads_alike(plan, a, b))
        };
        match groups.iter_mut().find(|group| same(group)) {
            Some(group) => {
                group.hosts.push(&host.name);
                group.steps.push(own);
            }
            None => groups.push(Alike { hosts: vec![&host.name], steps: vec![own] }),
        }
    }
    groups
}

fn reads_alike(plan: &Plan, a: &Step, b: &Step) -> bool {
    a.stage == b.stage
        && a.title == b.title
        && short(a) == short(b)
        && is_point(plan, &a.id) == is_point(plan, &b.id)
        && matches!(a.work, Work::Act(_)) == matches!(b.work, Work::Act(_))
}

fn is_point(plan: &Plan, step: &StepId) -> bool {
    plan.points_of_no_return.iter().any(|point| point.step == *step)
}

/// The step's id without its host.
fn short(step: &Step) -> &str {
    let id = step.id.as_str();
    id.strip_prefix(step.host.as_str()).and_then(|rest| rest.strip_prefix('.')).unwrap_or(id)
}

fn range(low: u64, high: u64) -> String {
    let (low_text, high_text) = (show_duration(low), show_duration(high));
    if low_text == high_text {
        return high_text;
    }
    match low_text.strip_suffix(" s") {
        Some(low) if high_text.ends_with(" s") && !high_text.contains("min") => {
            format!("{low} – {high_text}")
        }
        _ => format!("{low_text} – {high_text}"),
    }
}
