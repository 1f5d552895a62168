//! Steps and holds as one graph: are its names sound, is it free of circles, what comes after what?

use super::note::Notes;
use crate::codes;
use crate::plan::{Need, PLAN_FORMAT, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// Whole searches backwards that one question may cost, beside those that start at holds.
const MAX_SEARCHES: usize = 256;

/// Nodes are the steps in the plan's order, then the holds.
pub(super) struct Graph {
    steps: usize,
    /// What each node needs.
    needs: Vec<Vec<usize>>,
    /// All nodes, each after what it needs.
    order: Vec<usize>,
    step_at: BTreeMap<String, usize>,
    hold_at: BTreeMap<String, usize>,
}

impl Graph {
    /// `None`, with notes, if names are double or lead nowhere, or if there is a circle.
    pub(super) fn of(plan: &Plan, notes: &mut Notes) -> Option<Self> {
        let step_at: BTreeMap<String, usize> =
            plan.steps.iter().enumerate().map(|(at, step)| (step.id.to_string(), at)).collect();
        let hold_at: BTreeMap<String, usize> = plan
            .holds
            .iter()
            .enumerate()
            .map(|(at, hold)| (hold.id.to_string(), plan.steps.len() + at))
            .collect();
        if !names_are_sound(plan, &step_at, &hold_at, notes) {
            return None;
        }
        let resolve = |needs: &[Need]| -> Vec<usize> {
            needs
                .iter()
                .map(|need| match need {
                    Need::Step(id) => step_at[id.as_str()],
                    Need::Hold(id) => hold_at[id.as_str()],
                })
                .collect()
        };
        let of_steps = plan.steps.iter().map(|step| resolve(&step.needs));
        let of_holds = plan.holds.iter().map(|hold| resolve(&hold.needs));
        let needs: Vec<Vec<usize>> = of_steps.chain(of_holds).collect();
        let order = topological(&needs);
        let graph = Self { steps: plan.steps.len(), needs, order, step_at, hold_at };
        if graph.order.len() < graph.needs.len() {
            let free: BTreeSet<usize> = graph.order.iter().copied().collect();
            let caught: Vec<&str> = plan
                .steps
                .iter()
                .enumerate()
                .filter(|(at, _)| !free.contains(at))
                .map(|(_, step)| step.id.as_str())
                .take(3)
                .collect();
            notes.fatal(
                codes::LINT_ORDER,
                None,
                format!("steps need each other in a circle, among them {}", caught.join(", ")),
            );
            return None;
        }
        graph.check_listing(plan, notes);
        Some(graph)
    }

    /// The node of a step that is known to be in the plan.
    pub(super) fn step(&self, id: &str) -> usize {
        self.step_at[id]
    }

    pub(super) fn find_step(&self, id: &str) -> Option<usize> {
        self.step_at.get(id).copied()
    }

    pub(super) fn hold(&self, id: &str) -> Option<usize> {
        self.hold_at.get(id).copied()
    }

    /// Whether `node` needs `other` itself, not by way of another.
    pub(super) fn needs_directly(&self, node: usize, other: usize) -> bool {
        self.needs[node].contains(&other)
    }

    /// For each node, whether it comes after `origin`.
    pub(super) fn after(&self, origin: usize) -> Vec<bool> {
        let mut after = vec![false; self.needs.len()];
        for &node in &self.order {
            after[node] = self.needs[node].iter().any(|need| *need == origin || after[*need]);
        }
        after
    }

    /// Those of `targets` that do not come after every one of `all`.
    ///
    /// Holds gather many needs, so they are searched first and what follows them is settled; a target that no settled hold
    /// answers for is searched by itself.
    pub(super) fn not_after_all(&self, targets: &[usize], all: &BTreeSet<usize>) -> Vec<usize> {
        if all.is_empty() {
            return Vec::new();
        }
        let mut settled = vec![false; self.needs.len()];
        for &node in &self.order {
            settled[node] = self.needs[node].iter().any(|need| settled[*need])
                || (node >= self.steps && self.comes_after_all(node, all));
        }
        let mut searches = 0;
        let mut late = Vec::new();
        for &target in targets {
            if settled[target] {
                continue;
            }
            searches += 1;
            if searches > MAX_SEARCHES || !self.comes_after_all(target, all) {
                late.push(target);
            }
        }
        late
    }

    fn comes_after_all(&self, node: usize, all: &BTreeSet<usize>) -> bool {
        let mut seen = vec![false; self.needs.len()];
        let mut open = self.needs[node].clone();
        let mut left = all.len();
        while let Some(next) = open.pop() {
            if std::mem::replace(&mut seen[next], true) {
                continue;
            }
            left -= usize::from(all.contains(&next));
            if left == 0 {
                return true;
            }
            open.extend(&self.needs[next]);
        }
        false
    }

    /// The plan promises its steps in an order in which each comes after all that it needs.
    fn check_listing(&self, plan: &Plan, notes: &mut Notes) {
        // The last listed step below each hold.
        let mut latest: Vec<Option<usize>> = vec![None; self.needs.len()];
        for &node in &self.order {
            let below = self.needs[node]
                .iter()
                .filter_map(|need| if *need < self.steps { Some(*need) } else { latest[*need] });
            let last = below.max();
            if node >= self.steps {
                latest[node] = last;
            } else if last.is_some_and(|last| last >= node) {
                let step = &plan.steps[node];
                notes.fatal(codes::LINT_ORDER, Some(&step.id), "it is listed before something that it needs");
            }
        }
    }
}

fn names_are_sound(
    plan: &Plan,
    step_at: &BTreeMap<String, usize>,
    hold_at: &BTreeMap<String, usize>,
    notes: &mut Notes,
) -> bool {
    let mut sound = true;
    let mut bad = |text: String| {
        notes.fatal(codes::LINT_NAMES, None, text);
        sound = false;
    };
    if plan.format > PLAN_FORMAT || plan.format == 0 {
        bad(format!("the plan has format {}, known are 1 to {PLAN_FORMAT}", plan.format));
    }
    if step_at.len() != plan.steps.len() {
        bad("two steps have the same id".to_owned());
    }
    if hold_at.len() != plan.holds.len() {
        bad("two holds have the same id".to_owned());
    }
    let hosts: BTreeSet<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
    if hosts.len() != plan.hosts.len() {
        bad("a host is in the plan twice".to_owned());
    }
    let known = |need: &Need| match need {
        Need::Step(id) => step_at.contains_key(id.as_str()),
        Need::Hold(id) => hold_at.contains_key(id.as_str()),
    };
    for step in &plan.steps {
        if !hosts.contains(step.host.as_str()) {
            bad(format!("{} is on {}, which the plan does not list", step.id, step.host));
        }
        if !step.id.as_str().starts_with(&format!("{}.", step.host)) {
            bad(format!("{} does not begin with its host's name {}", step.id, step.host));
        }
        if !step.needs.iter().all(known) {
            bad(format!("{} needs a step or hold that is not in the plan", step.id));
        }
    }
    for hold in &plan.holds {
        if !hold.needs.iter().all(known) {
            bad(format!("the hold {} needs a step or hold that is not in the plan", hold.id));
        }
    }
    sound
}

/// Kahn's order; shorter than the graph if there is a circle.
fn topological(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (node, needs) in needs.iter().enumerate() {
        for need in needs {
            followers[*need].push(node);
        }
    }
    let mut order: Vec<usize> = (0..needs.len()).filter(|node| missing[*node] == 0).collect();
    let mut at = 0;
    while let Some(&node) = order.get(at) {
        at += 1;
        for &follower in &followers[node] {
            missing[follower] -= 1;
            if missing[follower] == 0 {
                order.push(follower);
            }
        }
    }
    order
}
