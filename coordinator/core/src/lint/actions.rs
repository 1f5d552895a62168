//! What single actions ask for: exact versions, known masks, a tree of its own, and no open door that nobody accepted.

use super::Passage;
use super::note::Notes;
use crate::codes;
use crate::plan::{Plan, Step};
use replank_common::action::{Action, FileEdit, PackagePin, SettingValue, TreeInstall};
use std::path::{Component, Path};

/// Units whose mask stops no guest and keeps no other service from its work.
const MAY_BE_MASKED: [&str; 2] = ["libvirt-guests.service", "apt-daily-upgrade.service"];

/// What an operator must have written to open libvirtd without authentication.
const ACCEPTED: &str = "everyone on this network is root on every host";

pub(super) fn check(plan: &Plan, passage: &Passage<'_>, notes: &mut Notes) {
    for (at, step, action) in passage.actions() {
        match action {
            Action::RepositoryPin(pin) => exact(step, &pin.pins, notes),
            Action::PackagesStage(stage) => {
                exact(step, &stage.install, notes);
                let pinned: Vec<&PackagePin> = passage
                    .actions()
                    .take_while(|(before, _, _)| *before < at)
                    .filter_map(|(_, _, action)| match action {
                        Action::RepositoryPin(pin) if pin.manager == stage.manager => Some(&pin.pins),
                        _ => None,
                    })
                    .flatten()
                    .collect();
                if let Some(loose) = stage.install.iter().find(|package| !pinned.contains(package)) {
                    let text = format!("{} is fetched without its version being pinned before", loose.name);
                    notes.fatal(codes::LINT_PINS, Some(&step.id), text);
                }
            }
            Action::PackagesInstall(install) => exact(step, &install.install, notes),
            Action::TreeInstall(tree) => tree_install(passage, at, step, tree, notes),
            Action::TreeTrial(trial) => {
                if trial.old_prefixes.is_empty() {
                    notes.fatal(
                        codes::LINT_TREE,
                        Some(&step.id),
                        "it watches for no directory of the old build",
                    );
                }
            }
            Action::UnitMask(mask) => {
                if !MAY_BE_MASKED.contains(&mask.unit.as_str()) {
                    let text = format!("{} is not one of the units that may be masked", mask.unit);
                    notes.fatal(codes::LINT_MASK, Some(&step.id), text);
                }
            }
            Action::FileEdit(edit) => open_door(plan, step, edit, notes),
            Action::TreeRetain(_)
            | Action::FileWrite(_)
            | Action::UnitEnable(_)
            | Action::UnitDropIn(_)
            | Action::LibvirtTrial(_)
            | Action::LibvirtAnchor(_)
            | Action::LibvirtRestart(_)
            | Action::CephFlags(_)
            | Action::CephConfig(_)
            | Action::CephRestart(_)
            | Action::CephRequire(_)
            | Action::CephOwn(_) => {}
        }
    }
}

fn exact(step: &Step, pins: &[PackagePin], notes: &mut Notes) {
    if pins.is_empty() {
        notes.fatal(codes::LINT_PINS, Some(&step.id), "it names no packages");
    }
    for pin in pins {
        let odd = |c: char| c.is_whitespace() || "*?<>=!|,[]()".contains(c);
        if pin.version.is_empty()
            || pin.version.contains(odd)
            || !pin.version.contains(|c: char| c.is_ascii_digit())
        {
            let text = format!("`{}` is not one exact version of {}", pin.version, pin.name);
            notes.fatal(codes::LINT_PINS, Some(&step.id), text);
        }
    }
}

fn tree_install(passage: &Passage<'_>, at: usize, step: &Step, tree: &TreeInstall, notes: &mut Notes) {
    exact(step, std::slice::from_ref(&tree.package), notes);
    let staged = passage.position(|action| {
        matches!(action, Action::PackagesStage(stage) if stage.manager == tree.manager && stage.install.contains(&tree.package))
    });
    if staged.is_none_or(|staged| staged > at) {
        notes.fatal(
            codes::LINT_STAGED,
            Some(&step.id),
            "the package has not been fetched and checked before",
        );
    }
    let plain = tree.prefix.is_absolute()
        && tree.prefix.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let shared = ["/usr", "/etc", "/var", "/bin", "/sbin", "/lib", "/lib64", "/run", "/boot"];
    let own =
        tree.prefix.components().count() >= 3 && !shared.iter().any(|path| tree.prefix.starts_with(path));
    if !plain || !own {
        let text = format!("{} is not a directory of its own", tree.prefix.display());
        notes.fatal(codes::LINT_TREE, Some(&step.id), text);
    }
    let tried = passage.actions().any(|(later, _, action)| {
        later > at && matches!(action, Action::TreeTrial(trial) if trial.emulator.starts_with(&tree.prefix))
    });
    if !tried {
        notes.fatal(codes::LINT_TREE, Some(&step.id), "nothing of it is tried afterwards");
    }
    let kept = passage.position(|action| matches!(action, Action::TreeRetain(_)));
    if kept.is_none_or(|kept| kept > at) {
        notes.fatal(codes::LINT_RETAIN, Some(&step.id), "what running guests use is not kept before");
    }
}

fn open_door(plan: &Plan, step: &Step, edit: &FileEdit, notes: &mut Notes) {
    let opens = edit.path == Path::new("/etc/libvirt/libvirtd.conf")
        && edit.settings.iter().any(|setting| {
            setting.key == "auth_tcp"
                && setting.values.iter().any(|value| *value == SettingValue::Text("none".to_owned()))
        });
    if opens && !plan.acknowledged.iter().any(|sentence| sentence == ACCEPTED) {
        let text = format!("it opens libvirtd to everybody, and nobody accepted that \"{ACCEPTED}\"");
        notes.fatal(codes::LINT_OPEN_TCP, Some(&step.id), text);
    }
}
