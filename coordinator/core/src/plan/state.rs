//! How far a host is already.

use super::remote;
use super::target::Target;
use crate::fleet_file::FleetHost;
use replank_common::action::PackagePin;
use replank_common::facts::{Facts, PackageManager};

/// What needs no doing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostState {
    /// The relocated qemu is installed and runs.
    pub(super) qemu_done: bool,
    /// libvirt is installed, runs, finds the new qemu and listens as wanted. Never without `qemu_done`.
    pub(super) libvirt_done: bool,
}

impl HostState {
    pub(super) fn of(target: &Target<'_>, host: &FleetHost, facts: &Facts) -> Self {
        let qemu_done = qemu_done(target, facts);
        Self { qemu_done, libvirt_done: qemu_done && libvirt_done(target, host, facts) }
    }

    pub(super) fn is_done(self) -> bool {
        self.qemu_done && self.libvirt_done
    }
}

/// Whether the package is installed at exactly this version.
pub(super) fn is_installed(facts: &Facts, manager: PackageManager, pin: &PackagePin) -> bool {
    facts
        .packages
        .get(&manager)
        .is_some_and(|all| all.iter().any(|fact| fact.name == pin.name && fact.version == pin.version))
}

fn qemu_done(target: &Target<'_>, facts: &Facts) -> bool {
    let emulator = target.emulator();
    let runs = facts
        .emulators
        .iter()
        .any(|fact| fact.path == emulator && fact.version.as_ref() == Some(&target.qemu_hop.to));
    runs && is_installed(facts, target.qemu_hop.manager, &target.goal.qemu.package)
}

fn libvirt_done(target: &Target<'_>, host: &FleetHost, facts: &Facts) -> bool {
    let Some(libvirt) = &facts.libvirt else { return false };
    let emulator = target.emulator();
    let pins = &target.goal.libvirt.packages;
    pins.iter().all(|pin| is_installed(facts, target.libvirt_hop.manager, pin))
        && libvirt.running_version.as_ref() == Some(&target.libvirt_hop.to)
        && !libvirt.default_emulators.is_empty()
        && libvirt.default_emulators.values().all(|path| *path == emulator)
        && remote::is_done(target, host, facts, libvirt)
}
