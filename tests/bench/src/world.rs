//! A fleet of any size, out of the committed example: each of its hosts is like the first one there.

use anyhow::{Context, Result, anyhow};
use replank_common::census::{CensusSource, Guest, GuestState, Incarnation};
use replank_common::facts::Facts;
use replank_common::ids::{BootId, GuestUuid, HostName};
use replank_core::catalog::Catalog;
use replank_core::fleet_file::{self, Canary, FleetFile, FleetHost};
use replank_core::inventory::Inventory;
use replank_core::plan::{Input, Plan, plan};
use uuid::Uuid;

const FLEET_FILE: &str = include_str!("../../../coordinator/core/tests/fixtures/debian.toml");
const INVENTORY: &[u8] = include_bytes!("../../../coordinator/core/tests/fixtures/debian.inventory.json");

/// What a plan is made of.
#[derive(Debug)]
pub struct World {
    pub fleet: FleetFile,
    pub inventory: Inventory,
    pub catalog: Catalog,
}

impl World {
    /// `hosts` hosts with `guests` guests each. A hundredth of them are canaries, and a twentieth is changed at a time.
    ///
    /// # Errors
    /// The committed example is no longer one.
    pub fn of(hosts: u32, guests: u32) -> Result<Self> {
        let mut fleet = fleet_file::parse("debian.toml", FLEET_FILE)
            .map_err(|mistakes| anyhow!("{mistakes}"))
            .context("the example's fleet file")?;
        let mut inventory = Inventory::from_bytes(INVENTORY).context("the example's inventory")?;
        let pattern: Facts =
            inventory.hosts.values().next().cloned().context("the example's inventory is empty")?;
        let like: FleetHost = fleet.hosts.first().cloned().context("the example's fleet is empty")?;
        inventory.hosts.clear();
        fleet.hosts.clear();
        fleet.pace.parallel_hosts = (hosts / 20).max(1);
        fleet.pace.staging_parallel = (hosts / 10).max(1);
        fleet.pace.canary = Canary::Count((hosts / 100).max(1));
        for number in 0..hosts {
            let name = HostName::new(format!("compute{number:05}"))?;
            let [_, high, middle, low] = (number + 1).to_be_bytes();
            let address = Some(format!("10.{high}.{middle}.{low}"));
            fleet.hosts.push(FleetHost { name: name.clone(), address, ..like.clone() });
            let mut facts = pattern.clone();
            facts.host = name.clone();
            facts.boot_id = boot_id(number);
            facts.census.host = name.clone();
            facts.census.boot_id = facts.boot_id;
            facts.census.guests =
                (0..guests).map(|at| guest(&facts, number, at)).map(|guest| (guest.uuid, guest)).collect();
            inventory.hosts.insert(name, facts);
        }
        Ok(Self { fleet, inventory, catalog: Catalog::load(&[]).context("the catalog")? })
    }

    /// # Errors
    /// The planner refuses, which it has no reason to.
    pub fn plan(&self) -> Result<Plan> {
        let Self { fleet, inventory, catalog } = self;
        let planned = plan(&Input { fleet, inventory, catalog, parent: None });
        planned.map(|(plan, _)| plan).map_err(|refused| anyhow!("{refused}"))
    }
}

fn boot_id(number: u32) -> BootId {
    BootId(Uuid::from_u128((1 << 100) + u128::from(number)))
}

fn guest(facts: &Facts, host: u32, at: u32) -> Guest {
    let emulator = facts.emulators.first();
    Guest {
        uuid: GuestUuid(Uuid::from_u128((2 << 100) + (u128::from(host) << 32) + u128::from(at))),
        name: format!("instance-{host:05x}{at:03x}"),
        incarnation: Incarnation {
            boot_id: facts.boot_id,
            pid: 4_000 + at,
            start_ticks: 90_000 + u64::from(at) * 517,
        },
        state: GuestState::Running,
        emulator: emulator.map(|fact| fact.path.clone()).unwrap_or_default(),
        emulator_deleted: false,
        qemu_version: emulator.and_then(|fact| fact.version.clone()),
        machine: Some("pc-i440fx-7.2".to_owned()),
        persistent: Some(true),
        seen_by: CensusSource::ALL.into(),
    }
}
