//! Gates, undos and times of single steps; and that a host's steps follow each other.

use super::Passage;
use super::note::Notes;
use crate::codes;
use crate::gate::Gate;
use crate::plan::{Need, Stage, Step, Undo, Work};
use replank_common::action::{Action, TrialOf};
use std::path::Path;

pub(super) fn check(passage: &Passage<'_>, cluster: bool, notes: &mut Notes) {
    if passage.host.already_done && !passage.steps.is_empty() {
        let text = format!("{} is said to be done already and has steps", passage.host.name);
        notes.fatal(codes::LINT_HOSTS, None, text);
    }
    if !passage.host.already_done && passage.steps.is_empty() {
        let text = format!("{} is not done and has no steps", passage.host.name);
        notes.fatal(codes::LINT_HOSTS, None, text);
    }
    for pair in passage.steps.windows(2) {
        follows(pair[0], pair[1], notes);
    }
    for step in &passage.steps {
        // A host of the cluster without guests has none to count.
        if !cluster || passage.host.guests > 0 {
            census(step, notes);
        }
        undo(step, notes);
        stage(step, notes);
        if step.expected_ms == 0 || step.deadline_ms <= step.expected_ms {
            let text =
                format!("its deadline of {} ms leaves no room for {} ms", step.deadline_ms, step.expected_ms);
            notes.fatal(codes::LINT_TIMES, Some(&step.id), text);
        }
        if step.title.trim().is_empty() {
            notes.warning(codes::LINT_NAMES, Some(&step.id), "it has no title");
        }
    }
}

fn follows(before: &Step, after: &Step, notes: &mut Notes) {
    let chained = after.needs.iter().any(|need| match need {
        Need::Step(id) => *id == before.id,
        Need::Hold(_) => false,
    });
    if !chained {
        let text = format!("it does not wait for {}, the step before it on its host", before.id);
        notes.fatal(codes::LINT_CHAIN, Some(&after.id), text);
    }
    if after.stage < before.stage {
        let text =
            format!("a step of stage {} follows one of {}", after.stage.as_str(), before.stage.as_str());
        notes.fatal(codes::LINT_CHAIN, Some(&after.id), text);
    }
}

/// Whether doing it could be noticed by a guest.
fn touches_the_host(work: &Work) -> bool {
    match work {
        Work::GiveBack(_) => true,
        Work::Observe => false,
        Work::Act(action) => match action {
            Action::RepositoryPin(_)
            | Action::PackagesInstall(_)
            | Action::TreeInstall(_)
            | Action::TreeRetain(_)
            | Action::FileEdit(_)
            | Action::FileWrite(_)
            | Action::UnitMask(_)
            | Action::UnitEnable(_)
            | Action::UnitDropIn(_)
            | Action::LibvirtRestart(_)
            | Action::CephConfig(_)
            | Action::CephRestart(_)
            | Action::CephOwn(_) => true,
            Action::PackagesStage(_)
            | Action::TreeTrial(_)
            | Action::LibvirtTrial(_)
            | Action::LibvirtAnchor(_)
            // The cluster's and no host's.
            | Action::CephFlags(_)
            | Action::CephRequire(_) => false,
        },
    }
}

fn census(step: &Step, notes: &mut Notes) {
    if !touches_the_host(&step.work) && *step.work != Work::Observe {
        return;
    }
    if !step.after.contains(&Gate::CensusHolds) {
        notes.fatal(codes::LINT_CENSUS, Some(&step.id), "no census is asked for after it");
    }
    if *step.work != Work::Observe && !step.before.contains(&Gate::CensusHolds) {
        notes.fatal(codes::LINT_CENSUS, Some(&step.id), "no census is asked for before it");
    }
}

/// What the undo of each kind of work must be, in words.
fn undo(step: &Step, notes: &mut Notes) {
    let (right, wanted) = match &*step.work {
        Work::GiveBack(_) | Work::Observe => (step.undo == Undo::Nothing, "nothing"),
        Work::Act(action) => match action {
            Action::RepositoryPin(_)
            | Action::FileWrite(_)
            | Action::UnitMask(_)
            | Action::CephFlags(_)
            | Action::CephConfig(_) => (step.undo == Undo::Borrowed, "borrowed"),
            Action::PackagesInstall(_)
            | Action::TreeInstall(_)
            | Action::TreeRetain(_)
            | Action::UnitEnable(_)
            | Action::UnitDropIn(_)
            | Action::LibvirtAnchor(_)
            | Action::CephOwn(_) => (step.undo == Undo::Record, "from its record"),
            // Of Ceph's configuration, a part holds for the time of the voyage alone.
            Action::FileEdit(edit) if edit.path == Path::new("/etc/ceph/ceph.conf") => {
                (matches!(step.undo, Undo::Record | Undo::Borrowed), "from its record, or borrowed")
            }
            Action::FileEdit(_) => (step.undo == Undo::Record, "from its record"),
            Action::PackagesStage(_) | Action::TreeTrial(_) => (step.undo == Undo::Nothing, "nothing"),
            // Its way back is the anchor's.
            Action::LibvirtRestart(_) => (step.undo == Undo::Nothing, "nothing"),
            Action::CephRestart(_) | Action::CephRequire(_) => {
                (matches!(step.undo, Undo::NoWayBack { .. }), "said to be none")
            }
            Action::LibvirtTrial(trial) => match trial.of {
                TrialOf::New => (step.undo == Undo::Nothing, "nothing"),
                TrialOf::Old => (step.undo == Undo::Guard, "a guard"),
            },
        },
    };
    if !right {
        let text = format!("its undo must be {wanted}, so that a rollback or an abort does what it promises");
        notes.fatal(codes::LINT_UNDO, Some(&step.id), text);
    }
}

fn stage(step: &Step, notes: &mut Notes) {
    let harmless = match &*step.work {
        Work::Act(Action::RepositoryPin(_) | Action::PackagesStage(_)) => true,
        Work::Act(Action::LibvirtTrial(trial)) => trial.of == TrialOf::New,
        Work::Act(_) | Work::GiveBack(_) | Work::Observe => false,
    };
    if step.stage == Stage::Prepare && !harmless {
        let text = "it is in the stage prepare, in which nothing may be changed that a guest would notice";
        notes.fatal(codes::LINT_CHAIN, Some(&step.id), text);
    }
    if (step.stage == Stage::GiveBack) != matches!(*step.work, Work::GiveBack(_)) {
        let text = "the stage give-back is for giving back, and only for that";
        notes.fatal(codes::LINT_CHAIN, Some(&step.id), text);
    }
}
