//! What is done on one host around its daemons: fetched, written, installed, restarted, looked at.

use super::builder::{Builder, Draft};
use super::ground::Ground;
use crate::catalog::{FileRow, FileWhen, When};
use crate::gate::Gate;
use crate::plan::model::{Need, Stage, Undo, Work};
use replank_common::action::{
    Action, CephRestart, Dialect, FileEdit, FileWrite, PackagePin, PackagesInstall, PackagesStage,
    RepositoryPin, Setting, SettingValue, UnitEnable, UnitMask,
};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::{CephMount, Facts};
use replank_common::ids::{HostName, StepId};
use std::path::PathBuf;

const CEPH_CONF: &str = "/etc/ceph/ceph.conf";

/// What of the fleet file's packages goes onto the host: Ceph's own that are installed there, and every other, which are libraries.
pub(super) fn packages(ground: &Ground<'_>, facts: &Facts) -> Vec<PackagePin> {
    let hop = ground.voyage.hop;
    let installed = facts.packages.get(&hop.manager).map_or(&[][..], Vec::as_slice);
    let goes = |pin: &&PackagePin| {
        !hop.packages.names.contains(&pin.name) || installed.iter().any(|fact| fact.name == pin.name)
    };
    ground.voyage.goal.packages.iter().filter(goes).cloned().collect()
}

/// Whether every package of Ceph on the host is at its new version.
pub(super) fn is_installed(ground: &Ground<'_>, facts: &Facts) -> bool {
    let hop = ground.voyage.hop;
    let installed = facts.packages.get(&hop.manager).map_or(&[][..], Vec::as_slice);
    installed.iter().filter(|fact| hop.packages.names.contains(&fact.name)).all(|fact| {
        let pins = &ground.voyage.goal.packages;
        pins.iter().any(|pin| pin.name == fact.name && pin.version == fact.version)
    })
}

/// Whether a row of `ceph.conf` is to be written on the host: it applies, and is not said already.
fn is_wanted(ground: &Ground<'_>, host: &HostName, row: &FileRow) -> bool {
    let Some(ceph) = ground.ceph_facts(host) else { return false };
    let key = format!("{}/{}", row.section, row.key.replace(' ', "_"));
    if ceph.config.get(&key).is_some_and(|value| *value == row.value) {
        return false;
    }
    let own_user = ceph.ceph_user.as_ref().map(|user| user.uid);
    match row.when {
        FileWhen::Always => match row.section.as_str() {
            "client" => true,
            section => ceph.daemons.iter().any(|fact| fact.daemon.kind.as_str() == section),
        },
        FileWhen::OwnedByRoot => ceph.daemons.iter().any(|fact| {
            let foreign = fact.data_owner.is_some_and(|(uid, _)| Some(uid) != own_user);
            fact.daemon.kind.as_str() == row.section && foreign
        }),
        FileWhen::Ext4 => ceph
            .daemons
            .iter()
            .any(|fact| fact.daemon.kind == CephKind::Osd && fact.fs_type.as_deref() == Some("ext4")),
    }
}

impl Builder<'_, '_> {
    /// Pins and fetches. Changes nothing that a daemon would notice.
    pub(super) fn prepare_host(&mut self, host: &HostName, facts: &Facts, needs: &[Need]) {
        let voyage = self.ground.voyage;
        let repository = voyage
            .repository()
            .cloned()
            .expect("the fleet file's own check has found the repository of Ceph");
        let name = &voyage.goal.repository;
        let pin = RepositoryPin {
            manager: voyage.hop.manager,
            name: name.clone(),
            repository,
            pins: voyage.goal.packages.clone(),
        };
        let title = format!("add the repository {name} and pin Ceph to exact versions");
        let action = Action::RepositoryPin(pin);
        self.push(
            host,
            Draft::act("pin-packages", Stage::Prepare, title, action, Undo::Borrowed).needs(needs),
        );
        let stage = PackagesStage {
            manager: voyage.hop.manager,
            install: packages(self.ground, facts),
            removals: voyage.goal.removals.iter().cloned().collect(),
            spare_bytes: voyage.fleet.pace.spare_bytes,
        };
        let title = format!("fetch Ceph {} and what is installed now, check both", voyage.goal.version);
        let action = Action::PackagesStage(stage);
        self.push(host, Draft::act("stage-packages", Stage::Prepare, title, action, Undo::Nothing));
    }

    /// Everything that lies before the first restart on the host; its daemons keep running. `needs`: what must be done elsewhere before.
    pub(super) fn ready_host(&mut self, host: &HostName, wave: u32, lane: u32, needs: &[Need]) {
        if self.is_ready(host) {
            return;
        }
        self.pass(host, wave, lane);
        self.mark_ready(host);
        let Some(facts) = self.ground.facts(host) else { return };
        let mut needs = needs.to_vec();
        let mut add = |builder: &mut Self, draft: Draft| {
            builder.push(host, draft.needs(&std::mem::take(&mut needs)));
        };
        for (borrowed, what, title) in [
            (false, "write-config", "write into ceph.conf what the new release must read on its first start"),
            (true, "write-config-for-now", "write into ceph.conf what holds for the time of the voyage"),
        ] {
            let rows = self.ground.voyage.part.file.iter().filter(|row| row.borrowed == borrowed);
            let settings: Vec<Setting> =
                rows.filter(|row| is_wanted(self.ground, host, row)).map(setting).collect();
            if settings.is_empty() {
                continue;
            }
            let edit =
                FileEdit { path: PathBuf::from(CEPH_CONF), dialect: Dialect::Ceph, settings, create: false };
            let undo = if borrowed { Undo::Borrowed } else { Undo::Record };
            add(self, Draft::act(what, Stage::Install, title, Action::FileEdit(edit), undo));
        }
        if is_installed(self.ground, facts) {
            return;
        }
        let part = self.ground.voyage.part;
        for row in part.quiet.iter().filter(|row| applies(row.when, "", facts)) {
            let write = FileWrite {
                path: row.path.clone(),
                contents: row.contents.clone(),
                mode: row.mode,
                replace: true,
            };
            let action = Action::FileWrite(write);
            add(self, Draft::act(&row.step, Stage::Install, &row.title, action, Undo::Borrowed));
        }
        for row in part.mask.iter().filter(|row| applies(row.when, &row.unit, facts)) {
            let what = format!("mask-{}", word(row.unit.trim_end_matches(".service")));
            let title = format!("mask {}: {}", row.unit, row.why);
            let action = Action::UnitMask(UnitMask { unit: row.unit.clone(), runtime: false });
            add(self, Draft::act(what, Stage::Install, title, action, Undo::Borrowed));
        }
        let voyage = self.ground.voyage;
        let own = self.ground.daemons.iter().filter(|placed| placed.host.name == *host);
        let install = PackagesInstall {
            manager: voyage.hop.manager,
            install: packages(self.ground, facts),
            undisturbed_units: own.filter_map(|placed| placed.fact.unit.clone()).collect(),
        };
        let title = format!("install Ceph {}; the daemons keep running what they run", voyage.goal.version);
        let action = Action::PackagesInstall(install);
        add(self, Draft::act("install-packages", Stage::Install, title, action, Undo::Record));
        self.enable_units(host);
    }

    /// Where daemons were started by an init script, their units are new and nobody has enabled them.
    fn enable_units(&mut self, host: &HostName) {
        let mut units: Vec<String> = Vec::new();
        for placed in self.ground.daemons.iter().filter(|placed| placed.host.name == *host) {
            let Some(row) = self.ground.voyage.part.kind(placed.daemon().kind) else { continue };
            // What mounts its data for one boot enables the OSD for that boot, and enabled for good it would be started before its data is there.
            let own = match placed.fact.mounted_by {
                Some(CephMount::Fstab | CephMount::Directory) if !row.enable.is_empty() => {
                    Some(row.unit.as_str())
                }
                Some(CephMount::Fstab | CephMount::Directory | CephMount::Udev | CephMount::CephVolume)
                | None => None,
            };
            for unit in row.enable.iter().map(String::as_str).chain(own) {
                let unit = unit.replace("{id}", &placed.daemon().instance());
                if !units.contains(&unit) {
                    units.push(unit);
                }
            }
        }
        for unit in units {
            let what = format!("enable-{}", word(unit.trim_end_matches(".service")));
            let title = format!("enable {unit} for the next boot");
            let action = Action::UnitEnable(UnitEnable { unit, enable: true });
            self.push(host, Draft::act(what, Stage::Install, title, action, Undo::Record));
        }
    }

    /// One restart of the host's daemons of one kind, side by side. `undo` says what is lost by it.
    pub(super) fn restart(&mut self, host: &HostName, restart: Restart) -> StepId {
        let Restart { what, title, daemons, beside, before, mut after, undo, needs, settles_ms } = restart;
        let voyage = self.ground.voyage;
        let patience = &voyage.part.patience;
        let version = voyage.goal.version.clone();
        after.insert(0, Gate::CephDaemonsAre { daemons: daemons.clone(), version: version.clone() });
        let action = Action::CephRestart(CephRestart {
            daemons,
            expect: version,
            beside,
            consents: self.consents(),
            stop_ms: patience.stop_ms,
            start_ms: patience.start_ms,
        });
        let mut draft = Draft::act(what, Stage::Switch, title, action, undo).needs(&needs);
        draft.before = before;
        draft.after = after;
        self.push_settling(host, draft, settles_ms)
    }

    pub(super) fn consents(&self) -> Vec<String> {
        self.ground.voyage.goal.consent.iter().cloned().collect()
    }

    /// The last look at the host: each daemon by its running process.
    pub(super) fn verify(&mut self, host: &HostName, daemons: Vec<CephDaemon>) -> StepId {
        let version = self.ground.voyage.goal.version.clone();
        let title = format!("see that every daemon of the host runs {version}, by its process");
        let mut draft = Draft::new("verify", Stage::Verify, title, Work::Observe, Undo::Nothing);
        draft.after = vec![Gate::CephDaemonsAre { daemons, version }];
        self.push(host, draft)
    }

    /// Everything that the host has borrowed, in the opposite order.
    pub(super) fn give_back(&mut self, host: &HostName, needs: &[Need]) {
        let own = self.strands.steps.iter().filter(|step| step.host == *host && step.undo == Undo::Borrowed);
        let borrowed: Vec<StepId> = own.map(|step| step.id.clone()).collect();
        let prefix = format!("{host}.");
        for step in borrowed.into_iter().rev() {
            let what = step.as_str().strip_prefix(&prefix).unwrap_or(step.as_str()).to_owned();
            let title = format!("put back what {what} changed");
            let work = Work::GiveBack(step);
            let what = format!("give-back-{what}");
            self.push(host, Draft::new(what, Stage::GiveBack, title, work, Undo::Nothing).needs(needs));
        }
    }
}

/// One restart before it is a step.
pub(super) struct Restart {
    pub(super) what: String,
    pub(super) title: String,
    pub(super) daemons: Vec<CephDaemon>,
    pub(super) beside: Vec<u32>,
    pub(super) before: Vec<Gate>,
    pub(super) after: Vec<Gate>,
    pub(super) undo: Undo,
    pub(super) needs: Vec<Need>,
    pub(super) settles_ms: u64,
}

fn setting(row: &FileRow) -> Setting {
    Setting {
        section: Some(row.section.clone()),
        key: row.key.clone(),
        values: vec![SettingValue::Text(row.value.clone())],
    }
}

fn applies(when: When, unit: &str, facts: &Facts) -> bool {
    match when {
        When::Always => true,
        When::Loaded => facts.units.iter().any(|fact| fact.name == unit && fact.load_state == "loaded"),
        When::Needrestart => facts.needrestart_automatic.is_some(),
    }
}

/// What a step's id can hold.
pub(super) fn word(text: &str) -> String {
    text.to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect()
}
