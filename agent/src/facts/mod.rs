//! Facts: everything that the agent knows of its host, collected in one go.
//!
//! Owns reading, and the list of what could not be read. Never fails as a whole: what cannot be learned is an entry in `errors`, and the
//! planner decides whether that blocks.

mod ceph;
mod emulators;
mod libvirt;
mod machine;
mod packages;
mod units;

pub(crate) use emulators::version_of as emulator_version;
pub(crate) use libvirt::unit_of as libvirt_unit;

use crate::clock::now_ms;
use crate::host::{Host, os, space};
use replank_common::facts::{FactError, Facts, SpaceFact};
use std::fmt::Display;
use std::path::Path;

/// File systems that the upgrade writes to.
const WRITTEN: [&str; 5] = ["/", "/run", "/var", "/var/lib/replank", "/opt"];

/// What could not be learned.
#[derive(Debug, Default)]
struct Errors(Vec<FactError>);

impl Errors {
    fn add(&mut self, fact: impl Into<String>, why: impl Display) {
        self.0.push(FactError { fact: fact.into(), why: why.to_string() });
    }

    /// The value, or an entry that says why there is none.
    fn keep<T, E: Display>(&mut self, fact: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|why| self.add(fact, why)).ok()
    }
}

/// Collects all facts now. Blocking: some seconds, each question with a deadline of its own.
pub fn collect(host: &Host) -> Facts {
    let mut errors = Errors::default();
    let census = host.guests.census();
    for disagreement in &census.disagreements {
        errors.add("census", disagreement);
    }
    let (memory_total_bytes, memory_available_bytes) =
        errors.keep("memory", os::memory(host)).unwrap_or_default();
    let managers = packages::managers(host);
    let libvirt = libvirt::collect(host, &census, &mut errors);
    Facts {
        host: host.name.clone(),
        boot_id: census.boot_id,
        machine_id: machine::machine_id(host, &mut errors),
        collected_at_ms: now_ms(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        os: errors.keep("os", os::facts(host)).unwrap_or_else(machine::unknown_os),
        packages: packages::collect(host, &managers, &mut errors),
        package_managers: managers,
        units: units::collect(host, &mut errors),
        emulators: emulators::collect(host, &census, libvirt.as_ref(), &mut errors),
        libvirt,
        census,
        space: WRITTEN.iter().filter_map(|path| room(host, path, &mut errors)).collect(),
        memory_total_bytes,
        memory_available_bytes,
        cpus: machine::cpus(),
        addresses: errors.keep("addresses", os::addresses()).unwrap_or_default(),
        needrestart_automatic: machine::needrestart(host, &mut errors),
        ceph: ceph::collect(host, &mut errors),
        errors: errors.0,
    }
}

fn room(host: &Host, path: &str, errors: &mut Errors) -> Option<SpaceFact> {
    errors.keep(&format!("space of {path}"), space::of(host, Path::new(path)))
}
