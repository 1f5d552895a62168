//! Whole voyages on real hosts, with the real binaries and packages: what an operator would see, and what must never happen.
//!
//! Each test boots hosts of its own and needs root, `tests/lab/setup.sh` and the packages of `make rpm-test`. One at a time
//! (`.config/nextest.toml`): a lab takes the machine's two cores for itself.

mod impostor;
mod lab_agent_dies;
mod lab_agent_package;
mod lab_ceph_attacks;
mod lab_ceph_ownership;
mod lab_ceph_sweep;
mod lab_ceph_voyage;
mod lab_coordinator_dies;
mod lab_halt;
mod lab_hazards;
mod lab_link_cut;
mod lab_metrics;
mod lab_paused_coordinator;
mod lab_refusals;
mod lab_sweep;
mod lab_voyage;
mod sweep;

/// What a way back leaves by design: it is said in the plan, or belongs to the system.
const LEFT_BY_DESIGN: [&str; 0] = [];
