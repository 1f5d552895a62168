//! The operating system, packages, file systems and services of one host.

use super::Look;
use crate::catalog::{Hop, When};
use crate::codes;
use crate::plan::target::upstream;
use replank_common::action::PackagePin;
use std::path::Path;

/// What libvirt's status files and replank's own runtime files take in /run, at most: some for libvirtd itself, and for
/// each guest a status file, a pid file and their copies while they are written.
const RUN_BASE_BYTES: u64 = 4 << 20;
const RUN_GUEST_BYTES: u64 = 256 << 10;
const RUN_BASE_INODES: u64 = 64;
const RUN_GUEST_INODES: u64 = 8;

pub(super) fn check(look: &mut Look<'_>) {
    unknowns(look);
    operating_system(look);
    for hop in [look.target.qemu_hop, look.target.libvirt_hop] {
        package_manager(look, hop);
    }
    libvirt_packages(look);
    space(look);
    services(look);
}

fn unknowns(look: &mut Look<'_>) {
    if look.facts.host != look.host.name {
        let finding = look.about(codes::FACT_UNKNOWN, "host name").blocks(
            format!("its facts say that they are of {}", look.facts.host),
            "take the inventory again; if it stays, enrol the host anew under its own name",
        );
        look.push(finding);
    }
    // Where the census tells its disagreements itself, the agent's word that there are some adds nothing.
    let told = |fact: &str| fact == "census" && !look.facts.census.agrees();
    for error in look.facts.errors.iter().filter(|error| !told(&error.fact)) {
        let finding = look.about(codes::FACT_UNKNOWN, error.fact.clone()).blocks(
            format!("it could not be learned: {}", error.why),
            "mend what the cause names, then take the inventory again; what cannot be told is not assumed to be well",
        );
        look.push(finding);
    }
}

fn operating_system(look: &mut Look<'_>) {
    for hop in [look.target.qemu_hop, look.target.libvirt_hop] {
        let os = &look.facts.os;
        if hop.is_for(os) {
            continue;
        }
        let known: Vec<String> = hop.os.iter().map(|row| format!("{} {}", row.id, row.version_id)).collect();
        let finding = look.about(codes::WRONG_OS, format!("hop {}", hop.id)).blocks(
            format!("the host is {} ({} {}) on {}", os.pretty_name, os.id, os.version_id, os.architecture),
            format!(
                "the hop is for {} on {}; give such hosts a fleet file of their own",
                known.join(", "),
                hop.architectures.join(", ")
            ),
        );
        look.push(finding);
    }
}

fn package_manager(look: &mut Look<'_>, hop: &Hop) {
    if look.facts.package_managers.contains(&hop.manager) {
        return;
    }
    let name = hop.manager.as_str();
    let finding = look.about(codes::NO_PACKAGE_MANAGER, name).blocks(
        format!("{} is installed with {name}, which does not work on this host", hop.component()),
        format!("install {name} on the host, then take the inventory again"),
    );
    look.push(finding);
}

/// Packages of libvirt depend on each other's exact version: what is installed and not pinned would be removed or would
/// hold the others back.
fn libvirt_packages(look: &mut Look<'_>) {
    let hop = look.target.libvirt_hop;
    let pins = &look.target.goal.libvirt.packages;
    let installed = look.facts.packages.get(&hop.manager).map_or(&[][..], Vec::as_slice);
    let mut found_any = false;
    let mut findings = Vec::new();
    for fact in installed.iter().filter(|fact| hop.packages.names.contains(&fact.name)) {
        found_any = true;
        let pinned = pins.iter().any(|pin: &PackagePin| pin.name == fact.name);
        let version = upstream(&fact.version);
        let about = look.about(codes::PACKAGE_NOT_PINNED, format!("package {}", fact.name));
        if !pinned {
            findings.push(about.blocks(
                format!(
                    "{} is installed and belongs to libvirt, but the fleet file does not pin it",
                    fact.version
                ),
                "add it to libvirt.packages with its new version",
            ));
        } else if !version.is_of_series(&hop.from) && !version.is_of_series(&hop.to) {
            let about = look.about(codes::STALE_VERSION, format!("package {}", fact.name));
            findings.push(about.blocks(
                format!("{} is installed, which is neither {} nor {}", fact.version, hop.from, hop.to),
                "bring the host to the version that the hop starts from, or name another hop",
            ));
        }
    }
    if !found_any {
        findings.push(look.about(codes::STALE_VERSION, "packages of libvirt").blocks(
            "none is installed, so there is nothing to upgrade",
            "take the role compute from the host, or install libvirt on it",
        ));
    }
    look.findings.append(&mut findings);
}

fn space(look: &mut Look<'_>) {
    let guests = look.facts.census.guests.len() as u64;
    let spare = look.target.fleet.pace.spare_bytes;
    let mut findings = Vec::new();
    let mut run_seen = false;
    for fact in &look.facts.space {
        let path = fact.path.display();
        if fact.read_only {
            findings.push(look.about(codes::READ_ONLY, path.to_string()).blocks(
                "the file system is mounted read-only, and the upgrade writes to it",
                "find out why (a failing disk?), mend it and mount it writable",
            ));
            continue;
        }
        if fact.path == Path::new("/run") {
            run_seen = true;
            let bytes = RUN_BASE_BYTES + guests * RUN_GUEST_BYTES;
            let inodes = RUN_BASE_INODES + guests * RUN_GUEST_INODES;
            if fact.available_bytes < bytes || fact.free_inodes < inodes {
                findings.push(look.about(codes::RUN_FULL, "/run").blocks(
                    format!(
                        "{} and {} inodes are free; libvirtd ends each guest whose status it cannot save on its start, \
                         and {guests} guests need {} and {inodes} inodes",
                        size(fact.available_bytes),
                        fact.free_inodes,
                        size(bytes)
                    ),
                    "remove what fills /run (`du -x /run`), or enlarge it",
                ));
            }
        } else if fact.available_bytes < spare {
            findings.push(look.about(codes::NO_SPACE, path.to_string()).blocks(
                format!(
                    "{} are available, the fleet file keeps {} spare",
                    size(fact.available_bytes),
                    size(spare)
                ),
                "make room, or lower pace.spare_bytes",
            ));
        }
    }
    if !run_seen {
        findings.push(look.about(codes::FACT_UNKNOWN, "/run").blocks(
            "the facts do not say how much room there is",
            "take the inventory again with an agent of this release",
        ));
    }
    look.findings.append(&mut findings);
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30)),
    }
}

/// Services that act on guests by themselves, and those that would be set off by package scripts.
fn services(look: &mut Look<'_>) {
    let mut findings = Vec::new();
    for watcher in &look.target.catalog.watchers {
        for unit in &watcher.units {
            if look.facts.units.iter().any(|fact| fact.name == *unit && is_up(&fact.active_state)) {
                let cause = format!("it runs; {} ({})", watcher.danger, watcher.source);
                findings.push(look.about(codes::WATCHER, unit.clone()).blocks(cause, &watcher.remedy));
            }
        }
    }
    for row in &look.target.libvirt.mask {
        if look.facts.units.iter().any(|fact| fact.name == row.unit && is_up(&fact.active_state)) {
            findings.push(look.about(codes::GUESTS_UNIT, row.unit.clone()).neutralised(
                format!("it is active; {}", row.why),
                "the plan masks it before packages are installed, stops nothing, and unmasks it at the end",
            ));
        }
    }
    let quiets = look.target.libvirt.quiet.iter().any(|row| row.when == When::Needrestart);
    if look.facts.needrestart_automatic == Some(true) {
        let about = look.about(codes::NEEDRESTART, "needrestart");
        let cause = "it restarts services by itself after packages were installed";
        findings.push(if quiets {
            about.neutralised(cause, "the plan sets it to list only, and gives that back at the end")
        } else {
            about.blocks(
                cause,
                "set $nrconf{restart} = 'l' in /etc/needrestart/conf.d until the host is passed",
            )
        });
    }
    look.findings.append(&mut findings);
}

fn is_up(active_state: &str) -> bool {
    !matches!(active_state, "inactive" | "failed")
}
