//! A second, independent reader of finished plans. It re-derives the promises from the plan alone, with no help from the
//! planner's code, so that a bug there must fool two programs. Run in every test and before every apply.
//!
//! Reads plans only; never a fleet file, an inventory or the catalog. Time and memory grow with the plan's size, not with
//! its square: a plan of 10,000 hosts is read in seconds.

mod actions;
mod borrowed;
mod ceph;
mod ceph_own;
mod fleet;
mod gates;
mod graph;
mod note;
mod switch;

pub use note::{LintNote, LintSeverity, show_notes};

use crate::plan::{Plan, PlannedHost, Step, Work};
use note::Notes;
use replank_common::action::Action;

/// What is wrong with a plan. A plan with a fatal note must not be applied.
pub fn lint(plan: &Plan) -> Vec<LintNote> {
    let mut notes = Notes::default();
    let Some(graph) = graph::Graph::of(plan, &mut notes) else {
        // Names that are double or lead nowhere, or a circle: nothing else can be said of such a plan.
        return notes.finish();
    };
    let hosts = passages(plan);
    // A cluster's daemons are passed by waves of the cluster, not host by host.
    let cluster = ceph::is_of_cluster(plan);
    fleet::check(plan, &graph, &hosts, cluster, &mut notes);
    if cluster {
        ceph::check(plan, &graph, &hosts, &mut notes);
        ceph_own::check(plan, &graph, &hosts, &mut notes);
    }
    for host in &hosts {
        gates::check(host, cluster, &mut notes);
        if !cluster {
            switch::check(host, &mut notes);
        }
        borrowed::check(host, &mut notes);
        actions::check(plan, host, &mut notes);
    }
    notes.finish()
}

/// One host and its steps in the plan's order.
struct Passage<'p> {
    host: &'p PlannedHost,
    steps: Vec<&'p Step>,
}

impl<'p> Passage<'p> {
    /// Positions and actions of those steps that act.
    fn actions(&self) -> impl Iterator<Item = (usize, &'p Step, &'p Action)> {
        self.steps.iter().enumerate().filter_map(|(at, step)| match &*step.work {
            Work::Act(action) => Some((at, *step, action)),
            Work::GiveBack(_) | Work::Observe => None,
        })
    }

    fn position(&self, wanted: impl Fn(&Action) -> bool) -> Option<usize> {
        self.actions().find(|(_, _, action)| wanted(action)).map(|(at, _, _)| at)
    }
}

fn passages(plan: &Plan) -> Vec<Passage<'_>> {
    let mut passages: Vec<Passage<'_>> =
        plan.hosts.iter().map(|host| Passage { host, steps: Vec::new() }).collect();
    let places: std::collections::BTreeMap<&str, usize> =
        plan.hosts.iter().enumerate().map(|(at, host)| (host.name.as_str(), at)).collect();
    for step in &plan.steps {
        if let Some(at) = places.get(step.host.as_str()) {
            passages[*at].steps.push(step);
        }
    }
    passages
}
