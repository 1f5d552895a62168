//! Where the fleet shall go: the fleet file's words, resolved against the catalog.

use super::finding::About;
use crate::catalog::{Catalog, FlawGuard, Hop, LibvirtPart, Part, QemuPart};
use crate::codes;
use crate::fleet_file::{FleetFile, GuestsTarget};
use replank_common::action::{PackagePin, Repository};
use replank_common::facts::PackageManager;
use replank_common::finding::Finding;
use replank_common::version::Version;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The two hops of a voyage over guests' hosts, and what was said of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) fleet: &'a FleetFile,
    pub(super) goal: &'a GuestsTarget,
    pub(super) catalog: &'a Catalog,
    pub(super) qemu_hop: &'a Hop,
    pub(super) qemu: &'a QemuPart,
    pub(super) libvirt_hop: &'a Hop,
    pub(super) libvirt: &'a LibvirtPart,
}

impl<'a> Target<'a> {
    /// # Errors
    /// The blockers that leave no target to speak of.
    pub(super) fn resolve(
        fleet: &'a FleetFile,
        goal: &'a GuestsTarget,
        catalog: &'a Catalog,
    ) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut qemu = Vec::new();
        let mut libvirt = Vec::new();
        let mut others = 0;
        for id in &fleet.hops {
            match catalog.hops.get(id) {
                Some(hop) => match &hop.part {
                    Part::Qemu(part) => qemu.push((hop, part)),
                    Part::Libvirt(part) => libvirt.push((hop, part)),
                    Part::Ceph(_) => others += 1,
                },
                None => findings.push(About::fleet(codes::HOP_UNKNOWN, format!("hop {id}")).blocks(
                    "the catalog has no such hop",
                    format!("name one of: {}", catalog.hops.keys().cloned().collect::<Vec<_>>().join(", ")),
                )),
            }
        }
        match (qemu.as_slice(), libvirt.as_slice()) {
            ([(qemu_hop, qemu)], [(libvirt_hop, libvirt)]) if findings.is_empty() && others == 0 => {
                Ok(Self { fleet, goal, catalog, qemu_hop, qemu, libvirt_hop, libvirt })
            }
            (qemu, libvirt) => {
                if findings.is_empty() {
                    findings.push(About::fleet(codes::HOP_PAIR, "fleet.hops").blocks(
                        format!(
                            "it names {} hops of qemu and {} of libvirt, and {others} of Ceph",
                            qemu.len(),
                            libvirt.len()
                        ),
                        "name one of qemu and one of libvirt: this release takes a host's qemu and libvirt together, and the \
                         Ceph cluster with a fleet file of its own",
                    ));
                }
                Err(findings)
            }
        }
    }

    /// The new emulator's path.
    pub(super) fn emulator(&self) -> PathBuf {
        self.goal.qemu.bin_directory.join(&self.qemu.emulator)
    }

    /// The repository of a component, which the fleet file's own check has found to exist.
    pub(super) fn repository(&self, name: &str) -> Option<&'a Repository> {
        self.fleet.repositories.get(name)
    }

    /// What can be said without looking at any host.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.check_versions(&mut findings);
        self.check_repositories(&mut findings);
        let qemu = (self.qemu_hop, &self.goal.qemu.build_has);
        let libvirt = (self.libvirt_hop, &self.goal.libvirt.build_has);
        for (hop, build_has) in [qemu, libvirt] {
            check_flaws(hop, build_has, &mut findings);
        }
        findings
    }

    fn check_versions(&self, findings: &mut Vec<Finding>) {
        let qemu = &self.goal.qemu;
        if qemu.version != self.qemu_hop.to {
            findings.push(About::fleet(codes::TARGET_VERSION, "qemu.version").blocks(
                format!("{} is not where the hop {} leads", qemu.version, self.qemu_hop.id),
                format!("write {}, or name another hop", self.qemu_hop.to),
            ));
        }
        let known = |pin: &&PackagePin| self.libvirt_hop.packages.names.contains(&pin.name);
        for pin in self.goal.libvirt.packages.iter().filter(known) {
            if !upstream(&pin.version).is_of_series(&self.libvirt_hop.to) {
                findings.push(About::fleet(codes::TARGET_VERSION, format!("package {}", pin.name)).blocks(
                    format!("{} is not {}, where the hop leads", pin.version, self.libvirt_hop.to),
                    "pin all packages of libvirt to one build of that version",
                ));
            }
        }
        for name in &self.libvirt_hop.packages.required {
            if !self.goal.libvirt.packages.iter().any(|pin| pin.name == *name) {
                findings.push(About::fleet(codes::PACKAGE_NOT_PINNED, format!("package {name}")).blocks(
                    "libvirt cannot be upgraded without it, and the fleet file does not pin it",
                    "add it to libvirt.packages with its exact version",
                ));
            }
        }
    }

    fn check_repositories(&self, findings: &mut Vec<Finding>) {
        let uses = [
            ("qemu.repository", &self.goal.qemu.repository, self.qemu_hop.manager),
            ("libvirt.repository", &self.goal.libvirt.repository, self.libvirt_hop.manager),
        ];
        let mut told = BTreeSet::new();
        for (key, name, manager) in uses {
            check_repository(self.fleet, key, name, manager, &mut told, findings);
        }
    }
}

/// Whether the repository `name`, which `key` asks for, is there and for this package manager. `told`: repositories whose signatures were spoken
/// of already.
pub(super) fn check_repository<'a>(
    fleet: &FleetFile,
    key: &str,
    name: &'a String,
    manager: PackageManager,
    told: &mut BTreeSet<&'a String>,
    findings: &mut Vec<Finding>,
) {
    let Some(repository) = fleet.repositories.get(name) else {
        findings.push(
            About::fleet(codes::REPOSITORY, key)
                .blocks(format!("no repository is named `{name}`"), "add it as a [[repository]]"),
        );
        return;
    };
    let (fits, checked) = match (repository, manager) {
        (Repository::Apt { options, .. }, PackageManager::Apt) => {
            (true, !options.iter().any(|option| option == "trusted=yes"))
        }
        (Repository::Rpm { gpg_check, .. }, PackageManager::Dnf | PackageManager::Yum) => (true, *gpg_check),
        (Repository::Apt { .. }, PackageManager::Dnf | PackageManager::Yum)
        | (Repository::Rpm { .. }, PackageManager::Apt) => (false, true),
    };
    if !fits {
        findings.push(About::fleet(codes::REPOSITORY, key).blocks(
            format!("`{name}` is not a repository for {}, which this hop uses", manager.as_str()),
            "name a [[repository]] of the other kind",
        ));
    }
    if !checked && told.insert(name) {
        findings.push(About::fleet(codes::REPOSITORY_UNSIGNED, format!("repository {name}")).notes(
            "signatures of its packages are not checked",
            "sign the repository, unless nobody but you can write to it",
        ));
    }
}

/// The upstream version in a package's full spelling: without epoch.
pub(super) fn upstream(version: &str) -> Version {
    Version::new(version.split_once(':').map_or(version, |(_, rest)| rest))
}

fn check_flaws(hop: &Hop, build_has: &BTreeSet<String>, findings: &mut Vec<Finding>) {
    let component = hop.component();
    for flaw in &hop.flaws {
        let cause = format!("{}: {} ({})", flaw.affects, flaw.effect, flaw.source);
        match flaw.guard {
            FlawGuard::Declare if !build_has.contains(&flaw.id) => findings.push(
                About::fleet(codes::FLAW, format!("{component} {}", flaw.id)).blocks(cause, &flaw.remedy),
            ),
            FlawGuard::Declare | FlawGuard::Trial => {}
            FlawGuard::Note => findings.push(
                About::fleet(codes::FLAW_NOTE, format!("{component} {}", flaw.id)).notes(cause, &flaw.remedy),
            ),
        }
    }
    let known: BTreeSet<&str> = hop.flaws.iter().map(|flaw| flaw.id.as_str()).collect();
    for id in build_has.iter().filter(|id| !known.contains(id.as_str())) {
        findings.push(About::fleet(codes::FLAW, format!("{component}.build_has")).blocks(
            format!("`{id}` is nothing that the hop {} asks for", hop.id),
            format!("remove it; known: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
        ));
    }
}
