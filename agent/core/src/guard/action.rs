//! The guard before every action, on what the action itself says. Packages are judged by their resolved transaction besides.

use super::finding;
use crate::codes;
use crate::usage::Usage;
use replank_common::action::Action;
use replank_common::finding::{Finding, Severity};
use replank_common::ids::HostName;
use replank_common::planted::{self, Planted};
use std::path::{Path, PathBuf};

/// Directories whose files libvirt reads back its guests from. The hook among them can end a guest: libvirt ends one whose
/// `reconnect` hook fails.
const LIBVIRT_STATE: [&str; 4] =
    ["/run/libvirt/qemu", "/var/run/libvirt/qemu", "/var/lib/libvirt/qemu", "/etc/libvirt/hooks"];
/// Units under which guests live or by which they are taken over.
const GUEST_UNITS: [&str; 4] = ["libvirtd", "virtqemud", "machine.slice", "machine-qemu"];

/// Judges one action against what guests use. `resolve` gives a path without symlinks in its directories.
pub fn judge_action(
    host: &HostName,
    action: &Action,
    usage: &Usage,
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut blocks = |code, subject: String, cause: String, remedy: &str| {
        findings.push(finding(host, code, Severity::Blocks, subject, cause, remedy));
    };
    match action {
        Action::FileEdit(_) | Action::FileWrite(_) => {
            let path = match action {
                Action::FileEdit(edit) => &edit.path,
                Action::FileWrite(write) => &write.path,
                _ => return findings,
            };
            let resolved = resolve(path);
            if let Some(used) = used(usage, &resolved) {
                blocks(
                    codes::GUARD_ACTION_IN_USE,
                    path.display().to_string(),
                    format!("guests use it: {used}"),
                    "write another file, or move the guests away first",
                );
            } else if LIBVIRT_STATE.iter().any(|state| resolved.starts_with(state)) {
                blocks(
                    codes::GUARD_ACTION_IN_USE,
                    path.display().to_string(),
                    "libvirt reads its guests back from there; a wrong byte loses or ends a guest".to_owned(),
                    "change it through libvirt, outside of an upgrade",
                );
            }
        }
        Action::TreeInstall(tree) => {
            let prefix = resolve(&tree.prefix);
            let file = usage.files.iter().find(|(path, file)| !file.deleted && path.starts_with(&prefix));
            if let Some((path, file)) = file {
                let guests: Vec<&str> = file.guests.iter().map(String::as_str).collect();
                blocks(
                    codes::GUARD_ACTION_IN_USE,
                    tree.prefix.display().to_string(),
                    format!(
                        "guest {} runs from it ({}); a build in use is never written to",
                        guests.join(", "),
                        path.display()
                    ),
                    "give the new build a prefix of its own",
                );
            }
        }
        Action::UnitMask(mask) => {
            if is_guest_unit(&mask.unit) {
                blocks(
                    codes::GUARD_UNIT,
                    mask.unit.clone(),
                    "masked, it could not take the guests over again once it stopped".to_owned(),
                    "mask libvirt-guests.service, not the daemon",
                );
            }
        }
        Action::UnitEnable(unit) => {
            if !unit.enable && is_guest_unit(&unit.unit) {
                blocks(
                    codes::GUARD_UNIT,
                    unit.unit.clone(),
                    "disabled, it would not come back after a boot of the host, and its guests neither"
                        .to_owned(),
                    "leave it enabled",
                );
            }
        }
        Action::UnitDropIn(drop_in) => {
            let harmful = drop_in.contents.lines().map(str::trim).find(|line| is_harmful_setting(line));
            if let Some(line) = harmful.filter(|_| is_guest_unit(&drop_in.unit)) {
                blocks(
                    codes::GUARD_UNIT,
                    drop_in.unit.clone(),
                    format!("`{line}` would take guests along when the unit stops or restarts"),
                    "keep `KillMode=process` and leave how the unit stops as it is",
                );
            }
        }
        // Judged by what the package manager resolves, inside the action itself.
        Action::PackagesStage(_) | Action::PackagesInstall(_) => {}
        // Nothing of the guests' is touched, or the action is itself about keeping them.
        Action::RepositoryPin(_)
        | Action::TreeTrial(_)
        | Action::TreeRetain(_)
        | Action::LibvirtTrial(_)
        | Action::LibvirtAnchor(_)
        | Action::LibvirtRestart(_)
        | Action::CephFlags(_)
        | Action::CephConfig(_)
        | Action::CephRestart(_)
        | Action::CephRequire(_)
        | Action::CephOwn(_) => {}
    }
    findings
}

/// Whether the sources of the census must agree before the action starts.
pub fn needs_agreement(action: &Action) -> bool {
    match action {
        Action::PackagesInstall(_) | Action::LibvirtRestart(_) => true,
        Action::RepositoryPin(_)
        | Action::PackagesStage(_)
        | Action::TreeInstall(_)
        | Action::TreeTrial(_)
        | Action::TreeRetain(_)
        | Action::FileEdit(_)
        | Action::FileWrite(_)
        | Action::UnitMask(_)
        | Action::UnitEnable(_)
        | Action::UnitDropIn(_)
        | Action::LibvirtTrial(_)
        | Action::LibvirtAnchor(_)
        | Action::CephFlags(_)
        | Action::CephConfig(_)
        | Action::CephRestart(_)
        | Action::CephRequire(_)
        | Action::CephOwn(_) => false,
    }
}

/// Whether the guard has to know what guests use before it can judge the action.
pub fn needs_usage(action: &Action) -> bool {
    match action {
        Action::FileEdit(_) | Action::FileWrite(_) | Action::TreeInstall(_) => true,
        Action::RepositoryPin(_)
        | Action::PackagesStage(_)
        | Action::PackagesInstall(_)
        | Action::TreeTrial(_)
        | Action::TreeRetain(_)
        | Action::UnitMask(_)
        | Action::UnitEnable(_)
        | Action::UnitDropIn(_)
        | Action::LibvirtTrial(_)
        | Action::LibvirtAnchor(_)
        | Action::LibvirtRestart(_)
        | Action::CephFlags(_)
        | Action::CephConfig(_)
        | Action::CephRestart(_)
        | Action::CephRequire(_)
        | Action::CephOwn(_) => false,
    }
}

/// Whether the guard is asked once more before the action is taken back: guests come between the two. Packages and trees are judged
/// inside their own undo, by what they would take away.
pub fn is_judged_on_the_way_back(action: &Action) -> bool {
    match action {
        Action::FileEdit(_) | Action::FileWrite(_) => true,
        Action::RepositoryPin(_)
        | Action::PackagesStage(_)
        | Action::PackagesInstall(_)
        | Action::TreeInstall(_)
        | Action::TreeTrial(_)
        | Action::TreeRetain(_)
        | Action::UnitMask(_)
        | Action::UnitEnable(_)
        | Action::UnitDropIn(_)
        | Action::LibvirtTrial(_)
        | Action::LibvirtAnchor(_)
        | Action::LibvirtRestart(_)
        | Action::CephFlags(_)
        | Action::CephConfig(_)
        | Action::CephRestart(_)
        | Action::CephRequire(_)
        | Action::CephOwn(_) => false,
    }
}

fn used(usage: &Usage, path: &Path) -> Option<String> {
    if planted::is(Planted::GuardSeesNoUse) {
        return None;
    }
    if let Some(file) = usage.file(path).filter(|file| !file.deleted) {
        return Some(file.guests.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    if let Some(guests) = usage.sockets.get(path) {
        return Some(guests.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    usage.lazy_of(path).next().map(|lazy| format!("they may load from {lazy} later"))
}

fn is_guest_unit(unit: &str) -> bool {
    GUEST_UNITS
        .iter()
        .any(|guest| unit == *guest || unit.starts_with(&format!("{guest}.")) || unit.starts_with("machine-"))
}

/// systemd.kill(5), systemd.service(5): what decides who is ended with the unit.
fn is_harmful_setting(line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else { return false };
    match key.trim() {
        "KillMode" => value.trim() != "process",
        "ExecStop" | "ExecStopPost" | "BindsTo" | "PartOf" | "StopPropagatedFrom" | "RuntimeMaxSec"
        | "Delegate" | "Slice" => !value.trim().is_empty(),
        _ => false,
    }
}
