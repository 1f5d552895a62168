//! How long flags and settings of a whole cluster stay borrowed: what a plan expects of them, and from when on somebody is to be told.
//!
//! Nothing gives them back when that time is over. With `noout` gone in the middle of a wave, the cluster would begin to copy the data of every OSD that is down; whoever is
//! told decides. What is borrowed on one host alone (pins, masks, drop-ins) harms nobody by staying and has no such time.

use super::estimate::ends;
use super::model::{Plan, Step, Undo, Work};
use replank_common::action::Action;

/// More than expected passes at least before it is worth a word: an approval takes its time. Milliseconds.
const SPARE_MS: u64 = 3_600_000;

/// Something of the cluster's that a step borrows and a later one gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loan {
    /// Its place among the plan's steps.
    pub step: usize,
    /// Such as `noout, noscrub of the cluster`.
    pub what: String,
    /// From the borrowing to the giving back when nothing waits for an operator. Milliseconds.
    pub expected_ms: u64,
}

impl Loan {
    /// After this long it is told that it stays borrowed: twice what is expected, and an hour more than that at least. Milliseconds.
    pub fn told_after_ms(&self) -> u64 {
        self.expected_ms.saturating_add(self.expected_ms.max(SPARE_MS))
    }
}

/// In the plan's order.
pub fn loans(plan: &Plan) -> Vec<Loan> {
    let lent: Vec<(usize, String)> =
        plan.steps.iter().enumerate().filter_map(|(at, step)| Some((at, of_cluster(step)?))).collect();
    if lent.is_empty() {
        return Vec::new();
    }
    let ends = ends(plan);
    let end_of = |step: &Step| ends.get(&step.id).copied().unwrap_or_default();
    let one = |(at, what): (usize, String)| {
        let step = &plan.steps[at];
        let back = plan.steps.iter().find(|back| matches!(&*back.work, Work::GiveBack(of) if *of == step.id));
        let expected_ms = back.map_or(0, &end_of).saturating_sub(end_of(step));
        Loan { step: at, what, expected_ms }
    };
    lent.into_iter().map(one).collect()
}

fn of_cluster(step: &Step) -> Option<String> {
    if step.undo != Undo::Borrowed {
        return None;
    }
    let Work::Act(action) = &*step.work else { return None };
    if let Action::CephFlags(of) = action {
        let flags: Vec<&str> = of.flags.iter().map(|flag| flag.as_str()).collect();
        return Some(format!("{} of the cluster", flags.join(", ")));
    }
    if let Action::CephConfig(of) = action {
        return Some(format!("`{} = {}` of the cluster's [{}]", of.name, of.value, of.section));
    }
    None
}
