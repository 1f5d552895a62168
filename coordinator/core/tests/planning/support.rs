//! The example fleets, read as an operator's files are, and ways to change them.

use replank_common::action::{Action, SettingValue};
use replank_common::census::{CensusSource, Guest, GuestState, Incarnation};
use replank_common::facts::{EmulatorFact, Facts, PackageFact, UnitFact};
use replank_common::ids::{GuestUuid, HostName};
use replank_common::version::Version;
use replank_core::catalog::Catalog;
use replank_core::fleet_file::{self, FleetFile, Goal, GuestsTarget};
use replank_core::inventory::Inventory;
use replank_core::plan::{Input, Plan, PlanReport, Refused, Work, plan};
use std::path::PathBuf;

pub const DEBIAN_TOML: &str = include_str!("../fixtures/debian.toml");
pub const DEBIAN_JSON: &[u8] = include_bytes!("../fixtures/debian.inventory.json");
pub const CEPH_TOML: &str = include_str!("../fixtures/ceph.toml");
pub const EL7_TOML: &str = include_str!("../fixtures/el7.toml");
pub const EL7_JSON: &[u8] = include_bytes!("../fixtures/el7.inventory.json");

#[derive(Debug, Clone)]
pub struct World {
    pub fleet: FleetFile,
    pub inventory: Inventory,
    pub catalog: Catalog,
}

pub fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

impl World {
    /// Three hosts with three guests each; qemu by dnf, libvirt by apt.
    pub fn debian() -> Self {
        Self::read("debian.toml", DEBIAN_TOML, DEBIAN_JSON)
    }

    /// Six hosts, one of them a spare, and two that stay as they are; both parts by yum, from one repository.
    pub fn el7() -> Self {
        Self::read("el7.toml", EL7_TOML, EL7_JSON)
    }

    pub fn read(name: &str, fleet: &str, inventory: &[u8]) -> Self {
        Self {
            fleet: fleet_file::parse(name, fleet).unwrap_or_else(|mistakes| panic!("{mistakes}")),
            inventory: Inventory::from_bytes(inventory).unwrap(),
            catalog: Catalog::load(&[]).unwrap(),
        }
    }

    /// What a voyage over guests' hosts is to reach.
    pub fn guests(&mut self) -> &mut GuestsTarget {
        match &mut self.fleet.goal {
            Goal::Guests(goal) => goal,
            Goal::Ceph(_) | Goal::CephOwnership(_) => panic!("a fleet of Ceph"),
        }
    }

    pub fn try_plan(&self) -> Result<(Plan, PlanReport), Refused> {
        let Self { fleet, inventory, catalog } = self;
        plan(&Input { fleet, inventory, catalog, parent: None })
    }

    #[track_caller]
    pub fn plan(&self) -> Plan {
        self.try_plan().unwrap_or_else(|refused| panic!("{refused}")).0
    }

    pub fn facts(&mut self, name: &str) -> &mut Facts {
        self.inventory.hosts.get_mut(&host(name)).unwrap()
    }

    /// Makes a host's facts what they are once all of the plan's steps on it are done.
    pub fn finish(&mut self, plan: &Plan, name: &HostName) {
        let facts = self.inventory.hosts.get_mut(name).unwrap();
        for step in plan.steps.iter().filter(|step| step.host == *name) {
            if let Work::Act(action) = &*step.work {
                apply(facts, action);
            }
        }
    }
}

fn install(facts: &mut Facts, manager: replank_common::facts::PackageManager, name: &str, version: &str) {
    let all = facts.packages.entry(manager).or_default();
    all.retain(|fact| fact.name != name);
    let (name, version) = (name.to_owned(), version.to_owned());
    all.push(PackageFact { name, architecture: "x86_64".to_owned(), version });
}

/// The world after one action, as far as facts show it.
pub fn apply(facts: &mut Facts, action: &Action) {
    match action {
        Action::TreeInstall(tree) => {
            install(facts, tree.manager, &tree.package.name, &tree.package.version);
        }
        Action::TreeTrial(trial) => {
            facts.emulators.retain(|fact| fact.path != trial.emulator);
            facts.emulators.push(EmulatorFact {
                path: trial.emulator.clone(),
                version: Some(trial.version.clone()),
                detail: String::new(),
                used_by: Vec::new(),
            });
        }
        Action::PackagesInstall(packages) => {
            for pin in &packages.install {
                install(facts, packages.manager, &pin.name, &pin.version);
            }
        }
        Action::UnitEnable(enable) => unit(facts, &enable.unit).file_state = "enabled".to_owned(),
        Action::UnitDropIn(drop_in) => {
            let path = format!("/etc/systemd/system/{}.d/replank-{}.conf", drop_in.unit, drop_in.name);
            unit(facts, &drop_in.unit).drop_ins.push(PathBuf::from(path));
        }
        Action::FileEdit(edit) => {
            let libvirt = facts.libvirt.as_mut().unwrap();
            for setting in &edit.settings {
                let value = match &setting.values[0] {
                    SettingValue::Text(text) => text.clone(),
                    SettingValue::Number(number) => number.to_string(),
                };
                libvirt.config.insert(setting.key.clone(), value);
            }
        }
        Action::LibvirtRestart(restart) => {
            let newest = facts
                .emulators
                .iter()
                .filter(|fact| fact.path.starts_with("/opt"))
                .map(|fact| fact.path.clone())
                .next_back();
            let libvirt = facts.libvirt.as_mut().unwrap();
            libvirt.running_version = Some(restart.expect.clone());
            for path in libvirt.default_emulators.values_mut() {
                *path = newest.clone().unwrap();
            }
        }
        Action::RepositoryPin(_)
        | Action::PackagesStage(_)
        | Action::TreeRetain(_)
        | Action::FileWrite(_)
        | Action::UnitMask(_)
        | Action::LibvirtTrial(_)
        | Action::LibvirtAnchor(_)
        | Action::CephFlags(_)
        | Action::CephConfig(_)
        | Action::CephRestart(_)
        | Action::CephRequire(_)
        | Action::CephOwn(_) => {}
    }
}

pub fn unit<'f>(facts: &'f mut Facts, name: &str) -> &'f mut UnitFact {
    if !facts.units.iter().any(|fact| fact.name == name) {
        facts.units.push(UnitFact {
            name: name.to_owned(),
            load_state: "loaded".to_owned(),
            active_state: "inactive".to_owned(),
            sub_state: "dead".to_owned(),
            file_state: "disabled".to_owned(),
            kill_mode: None,
            drop_ins: Vec::new(),
        });
    }
    facts.units.iter_mut().find(|fact| fact.name == name).unwrap()
}

/// A running guest like the host's others, with a number for a name.
pub fn guest(facts: &Facts, number: u128) -> Guest {
    let emulator = facts.emulators.first().unwrap();
    Guest {
        uuid: format!("{number:032x}").parse::<GuestUuid>().unwrap(),
        name: format!("guest-{number}"),
        incarnation: Incarnation { boot_id: facts.boot_id, pid: 4000, start_ticks: 9 },
        state: GuestState::Running,
        emulator: emulator.path.clone(),
        emulator_deleted: false,
        qemu_version: emulator.version.clone(),
        machine: Some("pc-i440fx-5.2".to_owned()),
        persistent: Some(true),
        seen_by: CensusSource::ALL.into(),
    }
}

pub fn version(text: &str) -> Version {
    Version::new(text)
}
