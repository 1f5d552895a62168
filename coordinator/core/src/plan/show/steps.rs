//! Each host's steps by stage. Hosts that go through the same are shown once, with their times as a range.

use super::super::model::{Plan, Stage, Step};
use super::super::text::{Page, names, show_duration};
use super::stage_title;
use replank_common::ids::{HostName, StepId};
use std::collections::{BTreeMap, BTreeSet};

/// The steps that are points of no return.
type Points<'p> = BTreeSet<&'p StepId>;

/// Hosts with the same steps, and the steps of each in the same order.
struct Alike<'p> {
    hosts: Vec<&'p HostName>,
    steps: Vec<Vec<&'p Step>>,
}

pub(super) fn show(page: &mut Page, plan: &Plan) {
    let points: Points<'_> = plan.points_of_no_return.iter().map(|point| &point.step).collect();
    page.gap();
    page.line("Steps");
    let cluster = super::cluster::is_of_cluster(plan);
    for alike in alike(plan, &points) {
        let hosts: Vec<&str> = alike.hosts.iter().map(|host| host.as_str()).collect();
        page.gap();
        match hosts.as_slice() {
            [one] => page.line(format_args!("  {one}")),
            _ => page.line(format_args!("  {}, each", names(&hosts))),
        }
        let width = alike.steps[0].iter().map(|step| short(step).len()).max().unwrap_or(0);
        let times: Vec<String> = (0..alike.steps[0].len()).map(|index| range(&alike, index)).collect();
        let widest = times.iter().map(|time| time.chars().count()).max().unwrap_or(0);
        let mut stage: Option<Stage> = None;
        for (index, step) in alike.steps[0].iter().enumerate() {
            if stage != Some(step.stage) {
                stage = Some(step.stage);
                page.line(format_args!("    {}", stage_title(step.stage, cluster)));
            }
            let lead = format!("      {:>widest$}  {:width$}  ", times[index], short(step));
            let mark = if points.contains(&step.id) { " [point of no return]" } else { "" };
            page.paragraph(&lead, &format!("{}{mark}", step.title));
        }
    }
}

fn alike<'p>(plan: &'p Plan, points: &Points<'p>) -> Vec<Alike<'p>> {
    let mut by_host: BTreeMap<&HostName, Vec<&Step>> = BTreeMap::new();
    for step in &plan.steps {
        by_host.entry(&step.host).or_default().push(step);
    }
    let mut groups: Vec<Alike<'_>> = Vec::new();
    for host in &plan.hosts {
        let Some(own) = by_host.remove(&host.name) else { continue };
        let same = |other: &Alike<'_>| {
            let steps = &other.steps[0];
            steps.len() == own.len() && steps.iter().zip(&own).all(|(a, b)| reads_alike(points, a, b))
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

fn reads_alike(points: &Points<'_>, a: &Step, b: &Step) -> bool {
    a.stage == b.stage
        && a.title == b.title
        && short(a) == short(b)
        && points.contains(&a.id) == points.contains(&b.id)
}

/// The step's id without its host.
fn short(step: &Step) -> &str {
    let id = step.id.as_str();
    id.strip_prefix(step.host.as_str()).and_then(|rest| rest.strip_prefix('.')).unwrap_or(id)
}

/// What one step is expected to take, over all hosts of the group: `5.0 s`, or `8.0 – 9.4 s`.
fn range(alike: &Alike<'_>, index: usize) -> String {
    let times = alike.steps.iter().map(|steps| steps[index].expected_ms);
    let low = show_duration(times.clone().min().unwrap_or(0));
    let high = show_duration(times.max().unwrap_or(0));
    if low == high {
        return high;
    }
    match low.strip_suffix(" s") {
        Some(bare) if !high.contains("min") && !high.contains('h') => format!("{bare} – {high}"),
        Some(_) | None => format!("{low} – {high}"),
    }
}
