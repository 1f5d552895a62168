//! systemd's units that matter to guests.

use super::Errors;
use crate::host::Host;
use replank_common::facts::UnitFact;

const UNITS: [&str; 25] = [
    "libvirtd.service",
    "libvirtd.socket",
    "libvirtd-ro.socket",
    "libvirtd-admin.socket",
    "libvirtd-tcp.socket",
    "libvirtd-tls.socket",
    "virtqemud.service",
    "virtqemud.socket",
    "virtqemud-ro.socket",
    "virtqemud-admin.socket",
    "virtproxyd.service",
    "virtlogd.service",
    "virtlogd.socket",
    "virtlockd.service",
    "virtlockd.socket",
    "libvirt-guests.service",
    "needrestart.service",
    "unattended-upgrades.service",
    "apt-daily-upgrade.timer",
    "dnf-automatic.timer",
    "machine.slice",
    "openvswitch-switch.service",
    "docker.service",
    "openstack-nova-compute.service",
    "nova-compute.service",
];

/// Those that are there or masked; systemd says of others that they are not found, and they are left out.
pub(super) fn collect(host: &Host, errors: &mut Errors) -> Vec<UnitFact> {
    let mut units = Vec::new();
    for name in UNITS {
        match host.systemd.status(name) {
            Ok(status) if !status.exists() => {}
            Ok(status) => units.push(UnitFact {
                name: status.name,
                load_state: status.load_state,
                active_state: status.active_state,
                sub_state: status.sub_state,
                file_state: status.file_state,
                kill_mode: status.kill_mode,
                drop_ins: status.drop_ins,
            }),
            Err(error) => {
                errors.add(format!("unit {name}"), &error);
                if matches!(error, crate::host::systemd::SystemdError::Unreachable { .. }) {
                    // The same would be said of every other.
                    break;
                }
            }
        }
    }
    units
}
