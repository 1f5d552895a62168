//! The example fleets, read as an operator's files are.
#![allow(dead_code, reason = "each test binary uses a part")]

use replank_core::catalog::Catalog;
use replank_core::fleet_file::{self, FleetFile};
use replank_core::inventory::Inventory;
use replank_core::plan::{Input, Plan, PlanReport, Refused, plan};

pub const DEBIAN_TOML: &str = include_str!("../fixtures/debian.toml");
pub const DEBIAN_JSON: &[u8] = include_bytes!("../fixtures/debian.inventory.json");
pub const EL7_TOML: &str = include_str!("../fixtures/el7.toml");
pub const EL7_JSON: &[u8] = include_bytes!("../fixtures/el7.inventory.json");

#[derive(Debug, Clone)]
pub struct World {
    pub fleet: FleetFile,
    pub inventory: Inventory,
    pub catalog: Catalog,
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

    fn read(name: &str, fleet: &str, inventory: &[u8]) -> Self {
        Self {
            fleet: fleet_file::parse(name, fleet).unwrap_or_else(|mistakes| panic!("{mistakes}")),
            inventory: Inventory::from_bytes(inventory).unwrap(),
            catalog: Catalog::load(&[]).unwrap(),
        }
    }

    pub fn try_plan(&self) -> Result<(Plan, PlanReport), Refused> {
        let Self { fleet, inventory, catalog } = self;
        plan(&Input { fleet, inventory, catalog, parent: None })
    }

    pub fn plan(&self) -> Plan {
        self.try_plan().unwrap_or_else(|refused| panic!("{refused}")).0
    }
}
