//! P7 in the plan: everything borrowed is given back exactly once, after its last use, in the opposite order.

use super::Passage;
use super::note::Notes;
use crate::codes;
use crate::plan::{Step, Undo, Work};
use replank_common::ids::StepId;

pub(super) fn check(passage: &Passage<'_>, notes: &mut Notes) {
    let borrowed: Vec<&Step> =
        passage.steps.iter().copied().filter(|step| step.undo == Undo::Borrowed).collect();
    let returns: Vec<(usize, &Step, &StepId)> = passage
        .steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| match &*step.work {
            Work::GiveBack(what) => Some((at, *step, what)),
            Work::Act(_) | Work::Observe => None,
        })
        .collect();
    for step in &borrowed {
        let times = returns.iter().filter(|(_, _, what)| **what == step.id).count();
        if times != 1 {
            let text = format!("it is borrowed and given back {times} times instead of once");
            notes.fatal(codes::LINT_BORROWED, Some(&step.id), text);
        }
    }
    for (_, step, what) in &returns {
        if !borrowed.iter().any(|lent| lent.id == **what) {
            let text = format!("it gives back {what}, which its host has not borrowed");
            notes.fatal(codes::LINT_BORROWED, Some(&step.id), text);
        }
    }
    let last_use = passage.steps.iter().rposition(|step| !matches!(*step.work, Work::GiveBack(_)));
    if let Some((_, step, _)) = returns.iter().find(|(at, _, _)| last_use.is_some_and(|last| *at < last)) {
        notes.fatal(
            codes::LINT_BORROWED,
            Some(&step.id),
            "it gives back what later steps of its host still need",
        );
    }
    let lent_order: Vec<&StepId> = borrowed.iter().rev().map(|step| &step.id).collect();
    let return_order: Vec<&StepId> = returns.iter().map(|(_, _, what)| *what).collect();
    if lent_order.len() == return_order.len() && lent_order != return_order {
        let text = format!("{} does not give back in the opposite order", passage.host.name);
        notes.fatal(codes::LINT_BORROWED, None, text);
    }
}
