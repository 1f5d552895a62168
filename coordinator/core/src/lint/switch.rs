//! The riskiest stretch of a host's passage: libvirt's files, its configuration and its one restart. Before, between and
//! after them must lie what keeps guests alive.

use super::Passage;
use super::note::Notes;
use crate::codes;
use crate::gate::Gate;
use crate::plan::{Step, Work};
use replank_common::action::{Action, LibvirtRestart, PackagesInstall, TrialOf};
use replank_common::facts::PackageManager;
use std::path::Path;

pub(super) fn check(passage: &Passage<'_>, notes: &mut Notes) {
    let restarts: Vec<(usize, &Step, &LibvirtRestart)> = passage
        .actions()
        .filter_map(|(at, step, action)| match action {
            Action::LibvirtRestart(restart) => Some((at, step, restart)),
            _ => None,
        })
        .collect();
    let installs: Vec<(usize, &Step, &PackagesInstall)> = passage
        .actions()
        .filter_map(|(at, step, action)| match action {
            Action::PackagesInstall(install) => Some((at, step, install)),
            _ => None,
        })
        .collect();
    if let [_, second, ..] = restarts.as_slice() {
        notes.fatal(
            codes::LINT_RESTART,
            Some(&second.1.id),
            "libvirtd is restarted more than once on its host",
        );
    }
    match (installs.first(), restarts.first()) {
        (None, None) => {}
        (Some((_, step, _)), None) => {
            let text =
                "new files of libvirt under the old daemon are no state to rest in, and no restart follows";
            notes.fatal(codes::LINT_RESTART, Some(&step.id), text);
        }
        (None, Some((_, step, _))) => {
            notes.fatal(
                codes::LINT_RESTART,
                Some(&step.id),
                "libvirtd is restarted without anything installed",
            );
        }
        (Some(install), Some(restart)) => {
            around(passage, install, restart, notes);
            verify(passage, restart, notes);
        }
    }
}

fn around(
    passage: &Passage<'_>,
    install: &(usize, &Step, &PackagesInstall),
    restart: &(usize, &Step, &LibvirtRestart),
    notes: &mut Notes,
) {
    let (install_at, install_step, install) = *install;
    let (restart_at, restart_step, restart) = *restart;
    if restart_at < install_at {
        let text = "libvirtd is restarted before the packages are installed";
        notes.fatal(codes::LINT_RESTART, Some(&restart_step.id), text);
    }
    if !restart_step.before.contains(&Gate::NoGuestJobs) {
        let text =
            "a restart under a migration or block job breaks it off: the gate no-guest-jobs is missing";
        notes.fatal(codes::LINT_RESTART, Some(&restart_step.id), text);
    }
    let is = |gate: &Gate| matches!(gate, Gate::LibvirtdIs { version } if *version == restart.expect);
    if !restart_step.after.iter().any(is) {
        let text = "nobody asks afterwards whether the new version runs";
        notes.fatal(codes::LINT_RESTART, Some(&restart_step.id), text);
    }
    if !install.undisturbed_units.contains(&restart.unit) {
        let text = format!("it does not say that {} must stay undisturbed", restart.unit);
        notes.fatal(codes::LINT_RESTART, Some(&install_step.id), text);
    }
    anchor(passage, restart_at, restart_step, restart, notes);
    before_install(passage, install_at, install_step, install, notes);
}

/// The anchor's undo comes last on the way back, so it must come first on the way forward: before all that the daemon
/// reads. And what the daemon reads must be there when it starts.
fn anchor(
    passage: &Passage<'_>,
    restart_at: usize,
    restart_step: &Step,
    restart: &LibvirtRestart,
    notes: &mut Notes,
) {
    let anchor = passage.actions().find_map(|(at, step, action)| match action {
        Action::LibvirtAnchor(anchor) => Some((at, step, anchor)),
        _ => None,
    });
    let Some((anchor_at, anchor_step, anchor)) = anchor else {
        let text = "the running libvirtd is not remembered before, so no way back would restart it";
        notes.fatal(codes::LINT_ANCHOR, Some(&restart_step.id), text);
        return;
    };
    if anchor.unit != restart.unit || !restart.sockets.iter().all(|socket| anchor.sockets.contains(socket)) {
        let text = "it does not remember the unit and the sockets that are restarted";
        notes.fatal(codes::LINT_ANCHOR, Some(&anchor_step.id), text);
    }
    for (at, step, action) in passage.actions() {
        let read_by_daemon = match action {
            Action::PackagesInstall(_)
            | Action::FileEdit(_)
            | Action::UnitDropIn(_)
            | Action::UnitEnable(_) => true,
            Action::RepositoryPin(_)
            | Action::PackagesStage(_)
            | Action::TreeInstall(_)
            | Action::TreeTrial(_)
            | Action::TreeRetain(_)
            | Action::FileWrite(_)
            | Action::UnitMask(_)
            | Action::LibvirtTrial(_)
            | Action::LibvirtAnchor(_)
            | Action::LibvirtRestart(_)
            | Action::CephFlags(_)
            | Action::CephConfig(_)
            | Action::CephRestart(_)
            | Action::CephRequire(_)
            | Action::CephOwn(_) => false,
        };
        if read_by_daemon && at < anchor_at {
            let text = format!("it changes what libvirtd reads before {} remembers it", anchor_step.id);
            notes.fatal(codes::LINT_ANCHOR, Some(&step.id), text);
        }
        if read_by_daemon && at > restart_at {
            notes.fatal(
                codes::LINT_RESTART,
                Some(&step.id),
                "libvirtd reads it only when it starts, which is over",
            );
        }
    }
}

/// What must lie behind a host when libvirt's packages are installed.
fn before_install(
    passage: &Passage<'_>,
    install_at: usize,
    install_step: &Step,
    install: &PackagesInstall,
    notes: &mut Notes,
) {
    let mut must = |position: Option<usize>, code: &'static str, text: &str| {
        if position.is_none_or(|at| at > install_at) {
            notes.fatal(code, Some(&install_step.id), text);
        }
    };
    must(
        passage.position(|action| matches!(action, Action::LibvirtTrial(trial) if trial.of == TrialOf::New && trial.packages == install.install)),
        codes::LINT_TRIAL,
        "the same packages have not been tried on copies of the status files before",
    );
    must(
        passage.position(|action| matches!(action, Action::PackagesStage(stage) if stage.manager == install.manager && stage.install == install.install)),
        codes::LINT_STAGED,
        "the same packages have not been fetched and checked before",
    );
    must(
        passage.position(|action| matches!(action, Action::TreeRetain(retain) if !retain.lazy.is_empty())),
        codes::LINT_RETAIN,
        "what running guests use and may load later is not kept before",
    );
    must(
        passage.position(
            |action| matches!(action, Action::UnitMask(mask) if mask.unit == "libvirt-guests.service"),
        ),
        codes::LINT_MASK,
        "libvirt-guests.service is not masked before, and its stop job ends guests",
    );
    if install.manager == PackageManager::Apt {
        let forbids = |action: &Action| match action {
            Action::FileWrite(write) => {
                write.path == Path::new("/usr/sbin/policy-rc.d")
                    && write.mode & 0o111 != 0
                    && write.contents.lines().any(|line| line.trim() == "exit 101")
            }
            _ => false,
        };
        must(
            passage.position(forbids),
            codes::LINT_QUIET,
            "no policy-rc.d forbids restarts before, and the packages restart libvirtd",
        );
    }
}

fn verify(passage: &Passage<'_>, restart: &(usize, &Step, &LibvirtRestart), notes: &mut Notes) {
    let (restart_at, restart_step, restart) = *restart;
    let observed: Vec<&Gate> = passage
        .steps
        .iter()
        .skip(restart_at + 1)
        .filter(|step| *step.work == Work::Observe)
        .flat_map(|step| &step.after)
        .collect();
    let mut must = |good: bool, text: &str| {
        if !good {
            notes.fatal(codes::LINT_VERIFY, Some(&restart_step.id), text);
        }
    };
    must(
        observed
            .iter()
            .any(|gate| matches!(gate, Gate::LibvirtdIs { version } if *version == restart.expect)),
        "no step after it sees that libvirtd is still the new one",
    );
    let tried = passage.actions().find_map(|(_, _, action)| match action {
        Action::TreeTrial(trial) => Some(&trial.emulator),
        _ => None,
    });
    must(
        observed
            .iter()
            .any(|gate| matches!(gate, Gate::NewGuestsGet { emulator, .. } if Some(emulator) == tried)),
        "no step after it sees that new guests get the emulator that was tried",
    );
    let guard = passage.actions().any(|(at, _, action)| {
        at > restart_at && matches!(action, Action::LibvirtTrial(trial) if trial.of == TrialOf::Old)
    });
    must(guard, "no step after it sees whether the old libvirt could read what the new one wrote");
    let enabled: Vec<&str> = passage
        .actions()
        .filter_map(|(_, _, action)| match action {
            Action::UnitEnable(enable) if enable.enable => Some(enable.unit.as_str()),
            _ => None,
        })
        .collect();
    let answers: Vec<&Gate> =
        observed.into_iter().filter(|gate| matches!(gate, Gate::LibvirtTcpAnswers { .. })).collect();
    for gate in &answers {
        if let Gate::LibvirtTcpAnswers { from, .. } = gate {
            must(*from != passage.host.name, "a host cannot vouch for itself over the network");
        }
    }
    let remote = enabled.iter().any(|unit| unit.ends_with("-tcp.socket") || unit.ends_with("-tls.socket"));
    if remote && answers.is_empty() {
        let text = "libvirtd is opened to the network, and no other host sees whether it answers";
        notes.warning(codes::LINT_VERIFY, Some(&restart_step.id), text);
    }
    for socket in enabled.iter().filter(|unit| unit.ends_with(".socket")) {
        if !restart.sockets.iter().any(|known| known == socket) {
            let text = format!("{socket} is enabled, and the restart does not see to it that it listens");
            notes.fatal(codes::LINT_RESTART, Some(&restart_step.id), text);
        }
    }
}
