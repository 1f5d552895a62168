//! A field of real hosts with replank on it: a lab, a coordinator in the lab's network, and on each host the agent, installed from its own RPM.
//!
//! Owns how the scenarios and the demo set the field up and look at it. Everything it does with replank goes through the two released binaries.

mod ceph_fleet;
pub mod cluster_proof;
mod coordinator;
mod field;
mod fleet;
pub mod ledger;
mod packages;
mod promtool;
mod world;

pub use ceph_fleet::CephFleet;
pub use coordinator::{Coordinator, PORT};
pub use field::{Field, FieldSpec, Refused, RunRef};
pub use fleet::Fleet;
pub use packages::Packages;
pub use promtool::Promtool;
pub use world::{World, WorldDiff};
