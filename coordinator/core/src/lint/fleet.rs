//! What holds between hosts: prepare of all before change of any, canary before the rest, no more hosts at once than
//! declared, and a hold before each point of no return.

use super::Passage;
use super::graph::Graph;
use super::note::Notes;
use crate::codes;
use crate::plan::{Need, Plan, Stage, Step, Undo, Way, Work};
use replank_common::action::Action;
use replank_common::ids::StepId;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(plan: &Plan, graph: &Graph, passages: &[Passage<'_>], cluster: bool, notes: &mut Notes) {
    let working: Vec<&Passage<'_>> = passages.iter().filter(|passage| !passage.steps.is_empty()).collect();
    for passage in &working {
        if passage.host.way == Way::EvacuateFirst {
            let text =
                format!("{} is to be evacuated first, which this release cannot do", passage.host.name);
            notes.fatal(codes::LINT_HOSTS, None, text);
        }
    }
    if plan.pace.parallel_hosts == 0 || plan.pace.staging_parallel == 0 {
        notes.fatal(codes::LINT_LANES, None, "no host may ever be in work at this pace");
    }
    prepare_first(graph, &working, notes);
    staging_width(plan, graph, &working, notes);
    if !cluster {
        waves(graph, &working, notes);
        lanes(plan, graph, &working, notes);
    }
    holds(plan, notes);
    points_of_no_return(plan, graph, &working, notes);
}

fn lanes(plan: &Plan, graph: &Graph, working: &[&Passage<'_>], notes: &mut Notes) {
    for wave in working.iter().map(|passage| passage.host.wave).collect::<BTreeSet<_>>() {
        let in_wave: Vec<&Passage<'_>> =
            working.iter().copied().filter(|passage| passage.host.wave == wave).collect();
        change_width(plan, graph, &in_wave, notes);
    }
}

fn first_change<'p>(passage: &Passage<'p>) -> Option<&'p Step> {
    passage.steps.iter().copied().find(|step| step.stage != Stage::Prepare)
}

fn last_prepare<'p>(passage: &Passage<'p>) -> Option<&'p Step> {
    passage.steps.iter().copied().rfind(|step| step.stage == Stage::Prepare)
}

fn node(graph: &Graph, step: &Step) -> usize {
    graph.step(step.id.as_str())
}

fn prepare_first(graph: &Graph, working: &[&Passage<'_>], notes: &mut Notes) {
    let prepared: BTreeSet<usize> = working
        .iter()
        .flat_map(|passage| &passage.steps)
        .filter(|step| step.stage == Stage::Prepare)
        .map(|step| node(graph, step))
        .collect();
    let changes: Vec<&Step> = working.iter().filter_map(|passage| first_change(passage)).collect();
    let targets: Vec<usize> = changes.iter().map(|step| node(graph, step)).collect();
    let early = graph.not_after_all(&targets, &prepared);
    for step in changes.iter().filter(|step| early.contains(&node(graph, step))) {
        let text = "it changes a host before every host has prepared: a blocker could be found too late";
        notes.fatal(codes::LINT_PREPARE, Some(&step.id), text);
    }
}

fn waves(graph: &Graph, working: &[&Passage<'_>], notes: &mut Notes) {
    let mut by_wave: BTreeMap<u32, Vec<&Passage<'_>>> = BTreeMap::new();
    for passage in working {
        by_wave.entry(passage.host.wave).or_default().push(passage);
    }
    let waves: Vec<Vec<&Passage<'_>>> = by_wave.into_values().collect();
    for pair in waves.windows(2) {
        let before: BTreeSet<usize> =
            pair[0].iter().flat_map(|passage| &passage.steps).map(|step| node(graph, step)).collect();
        let changes: Vec<&Step> = pair[1].iter().filter_map(|passage| first_change(passage)).collect();
        let targets: Vec<usize> = changes.iter().map(|step| node(graph, step)).collect();
        let early = graph.not_after_all(&targets, &before);
        for step in changes.iter().filter(|step| early.contains(&node(graph, step))) {
            let text = "it changes a host before the wave ahead of it, the canary, is through";
            notes.fatal(codes::LINT_CANARY, Some(&step.id), text);
        }
    }
}

/// Hosts prepare in chains: those that wait for nobody are the number of chains, if nobody is waited for by two.
fn staging_width(plan: &Plan, graph: &Graph, working: &[&Passage<'_>], notes: &mut Notes) {
    let mut ends: BTreeMap<usize, u32> = working
        .iter()
        .filter_map(|passage| last_prepare(passage))
        .map(|step| (node(graph, step), 0))
        .collect();
    let starts = working
        .iter()
        .filter_map(|passage| passage.steps.first())
        .filter(|step| step.stage == Stage::Prepare);
    let heads = count_heads(starts.copied(), graph, &mut ends);
    if heads > plan.pace.staging_parallel as usize || ends.values().any(|followers| *followers > 1) {
        let text = format!(
            "more than {} hosts can prepare at the same time, the number that the plan declares",
            plan.pace.staging_parallel
        );
        notes.fatal(codes::LINT_LANES, None, text);
    }
}

/// Steps that wait for none of `ends`; counts into `ends` how many wait for each.
fn count_heads<'p>(
    starts: impl Iterator<Item = &'p Step>,
    graph: &Graph,
    ends: &mut BTreeMap<usize, u32>,
) -> usize {
    let mut heads = 0;
    for start in starts {
        let waits: Vec<usize> = start
            .needs
            .iter()
            .filter_map(|need| match need {
                Need::Step(id) => Some(graph.step(id.as_str())),
                Need::Hold(_) => None,
            })
            .filter(|node| ends.contains_key(node))
            .collect();
        heads += usize::from(waits.is_empty());
        for wait in waits {
            *ends.entry(wait).or_default() += 1;
        }
    }
    heads
}

fn change_width(plan: &Plan, graph: &Graph, wave: &[&Passage<'_>], notes: &mut Notes) {
    let lasts: BTreeMap<usize, &Passage<'_>> = wave
        .iter()
        .filter_map(|passage| passage.steps.last().map(|step| (node(graph, step), *passage)))
        .collect();
    let mut ends: BTreeMap<usize, u32> = lasts.keys().map(|node| (*node, 0)).collect();
    let starts: Vec<&Step> = wave.iter().filter_map(|passage| first_change(passage)).collect();
    let heads = count_heads(starts.iter().copied(), graph, &mut ends);
    if heads > plan.pace.parallel_hosts as usize || ends.values().any(|followers| *followers > 1) {
        let text = format!(
            "more than {} hosts of wave {} can be changed at the same time, the number that the plan declares",
            plan.pace.parallel_hosts,
            wave.first().map_or(0, |passage| passage.host.wave)
        );
        notes.fatal(codes::LINT_LANES, None, text);
    }
    // The lanes that people are shown are those that the needs make.
    let mut in_lane: BTreeMap<u32, &Passage<'_>> = BTreeMap::new();
    for passage in wave {
        let lane = passage.host.lane;
        let before = in_lane.insert(lane, passage).and_then(|before| before.steps.last());
        let start = first_change(passage);
        let chained = match (before, start) {
            (Some(before), Some(start)) => graph.needs_directly(node(graph, start), node(graph, before)),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !chained || lane >= plan.pace.parallel_hosts {
            let text = format!("{} does not follow the host before it in lane {lane}", passage.host.name);
            notes.fatal(codes::LINT_LANES, None, text);
        }
    }
}

fn holds(plan: &Plan, notes: &mut Notes) {
    for hold in &plan.holds {
        let opens = plan.steps.iter().any(|step| step.needs.contains(&Need::Hold(hold.id.clone())));
        if !opens {
            notes.warning(codes::LINT_HOLDS, None, format!("no step waits for the hold {}", hold.id));
        }
        if hold.needs.is_empty() {
            let text = format!("the hold {} could be approved before anything was seen", hold.id);
            notes.fatal(codes::LINT_HOLDS, None, text);
        }
    }
}

/// P8. Which restarts are points of no return is for the catalog to say; but either all that follow an installation are, or
/// none is, and each that is must lie behind its hold.
fn points_of_no_return(plan: &Plan, graph: &Graph, working: &[&Passage<'_>], notes: &mut Notes) {
    let points: BTreeSet<&StepId> = plan.points_of_no_return.iter().map(|point| &point.step).collect();
    let mut behind: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for point in &plan.points_of_no_return {
        let Some(hold) = graph.hold(point.hold.as_str()) else {
            let text = format!("its hold {} is not in the plan", point.hold);
            notes.fatal(codes::LINT_HOLDS, Some(&point.step), text);
            continue;
        };
        let Some(step) = graph.find_step(point.step.as_str()) else {
            notes.fatal(
                codes::LINT_HOLDS,
                Some(&point.step),
                "it is a point of no return and not in the plan",
            );
            continue;
        };
        let after = behind.entry(point.hold.as_str()).or_insert_with(|| graph.after(hold));
        if !after[step] {
            let text = format!("it can be reached without the hold {} being approved", point.hold);
            notes.fatal(codes::LINT_HOLDS, Some(&point.step), text);
        }
        if point.reason.trim().is_empty() || point.alternative.trim().is_empty() {
            let text = "it does not say what is lost, or what the safe way is";
            notes.fatal(codes::LINT_HOLDS, Some(&point.step), text);
        }
    }
    let steps = || working.iter().flat_map(|passage| &passage.steps);
    let restarts: Vec<&&Step> =
        steps().filter(|step| matches!(*step.work, Work::Act(Action::LibvirtRestart(_)))).collect();
    let open: Vec<&&&Step> = restarts.iter().filter(|step| !points.contains(&step.id)).collect();
    if open.len() == restarts.len() && !restarts.is_empty() {
        let text = "no first start of the new libvirt is a point of no return: right only if the old one reads all that it writes";
        notes.warning(codes::LINT_HOLDS, None, text);
    } else {
        for step in open {
            let text = "other hosts' first start of the new libvirt is a point of no return, this one is not";
            notes.fatal(codes::LINT_HOLDS, Some(&step.id), text);
        }
    }
    for step in steps() {
        if matches!(step.undo, Undo::NoWayBack { .. }) && !points.contains(&step.id) {
            let text = "it cannot be taken back and is no point of no return";
            notes.fatal(codes::LINT_HOLDS, Some(&step.id), text);
        }
    }
}
