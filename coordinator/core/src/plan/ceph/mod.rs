use super::make::Input;
use super::model::Plan;
use super::report::{PlanReport, Refused};
use crate::catalog::Catalog;
use crate::fleet_file::{CephTarget, FleetFile};
use crate::inventory::Inventory;
use replank_common::finding::Finding;
pub(super) fn plan(_: &Input<'_>, _: &CephTarget) -> Result<(Plan, PlanReport), Refused> {
    Err(Refused { findings: Vec::new() })
}
pub(super) fn preflight(_: &FleetFile, _: &CephTarget, _: &Inventory, _: &Catalog) -> Vec<Finding> {
    Vec::new()
}
