//! Package managers that work here, and the installed packages that the catalog may care about.

use super::Errors;
use crate::host::{Host, packages};
use replank_common::facts::{PackageFact, PackageManager};
use std::collections::BTreeMap;

/// Beginnings of names of packages whose upgrade can touch a guest, or that replank's own steps need.
const RELEVANT: [&str; 36] = [
    "libvirt",
    "qemu",
    "seabios",
    "seavgabios",
    "sgabios",
    "ipxe",
    "ovmf",
    "edk2",
    "aavmf",
    "librbd",
    "librados",
    "libcephfs",
    "librgw",
    "ceph",
    "python3-ceph",
    "python3-rados",
    "python3-rbd",
    "python3-rgw",
    "python-rados",
    "python-rbd",
    "openvswitch",
    "swtpm",
    "virtiofsd",
    "passt",
    "slirp",
    "dnsmasq",
    "libxml2",
    "mdevctl",
    "virtinst",
    "needrestart",
    "systemd",
    "docker",
    "nova",
    "openstack-nova",
    "vgabios",
    "kernel",
];

/// The managers whose programs are there, the one that owns the host's own files first.
pub(super) fn managers(host: &Host) -> Vec<PackageManager> {
    let there = |path: &str| host.at(path).exists();
    let apt = there("/usr/bin/apt-get") && there("/usr/bin/dpkg");
    let rpm = if there("/usr/bin/dnf") {
        Some(PackageManager::Dnf)
    } else if there("/usr/bin/yum") {
        Some(PackageManager::Yum)
    } else {
        None
    };
    apt.then_some(PackageManager::Apt).into_iter().chain(rpm).collect()
}

/// The relevant packages of each manager.
pub(super) fn collect(
    host: &Host,
    managers: &[PackageManager],
    errors: &mut Errors,
) -> BTreeMap<PackageManager, Vec<PackageFact>> {
    let mut all = BTreeMap::new();
    for manager in managers {
        let Some(installed) = errors
            .keep(&format!("packages of {}", manager.as_str()), packages::of(host, *manager).installed())
        else {
            continue;
        };
        let mut facts = Vec::new();
        for package in installed {
            if !RELEVANT.iter().any(|beginning| package.name.starts_with(beginning)) {
                continue;
            }
            if let Some(state) = &package.unfinished {
                errors.add(format!("package {}", package.name), state);
            }
            facts.push(PackageFact {
                name: package.name,
                architecture: package.architecture,
                version: package.version,
            });
        }
        facts.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
        all.insert(*manager, facts);
    }
    all
}
