//! Package managers that work here, and the installed packages that the catalog may care about.

use super::Errors;
use crate::host::{Host, packages};
use replank_common::facts::{PackageFact, PackageManager};
use std::collections::BTreeMap;

/// Beginnings of names of packages whose upgrade can touch a guest, or that replank's own steps need.
const RELEVANT: [&str; 43] = [
    "libvirt",
    "libnss-libvirt",
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
    "python-ceph",
    "python-rados",
    "python-rbd",
    "python-rgw",
    "rados-objclass",
    "radosgw",
    "rbd-",
    "libsqlite3-mod-ceph",
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What a host does not tell, the plan leaves out, and the package manager then drags along or refuses.
    #[test]
    fn every_package_that_a_hop_changes_is_told() {
        let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../coordinator/core/catalog");
        let mut hops = 0;
        for entry in std::fs::read_dir(catalog).unwrap() {
            let path = entry.unwrap().path();
            let table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let Some(names) = table.get("packages").and_then(|packages| packages.get("names")) else {
                continue;
            };
            hops += 1;
            for name in names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
                let told = RELEVANT.iter().any(|beginning| name.starts_with(beginning));
                assert!(told, "{name} of {}", path.display());
            }
        }
        assert!(hops > 5, "{hops} hops");
    }
}
