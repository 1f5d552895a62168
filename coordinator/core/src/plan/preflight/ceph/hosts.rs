//! What lies on each host: its system, its packages, its room, and its ceph.conf.

use crate::catalog::Trap;
use crate::codes;
use crate::fleet_file::FleetHost;
use crate::inventory::Inventory;
use crate::plan::ceph::Voyage;
use crate::plan::finding::About;
use crate::plan::target::upstream;
use replank_common::ceph::CephKind;
use replank_common::facts::{CephFacts, Facts};
use replank_common::finding::Finding;
use std::path::Path;

/// The number of the user ceph in the packages of CentOS (ceph.spec.in).
pub(super) const CEPH_UID: u32 = 167;

/// What is known of a host and its daemons; what is not is among the findings then, as is every fact of theirs that could not be learned.
pub(in crate::plan) fn known<'i>(
    inventory: &'i Inventory,
    host: &FleetHost,
    findings: &mut Vec<Finding>,
) -> Option<(&'i Facts, &'i CephFacts)> {
    let about = |code, subject: &str| About::host(code, &host.name, subject.to_owned());
    let Some(facts) = inventory.hosts.get(&host.name) else {
        let why = inventory.missing.get(&host.name).map_or("it is not in the inventory", String::as_str);
        findings.push(about(codes::NO_FACTS, "facts").blocks(
            format!("nothing is known of the host: {why}"),
            "enrol it and see that its agent is linked (`replank host list`), then take the inventory again",
        ));
        return None;
    };
    let Some(ceph) = &facts.ceph else {
        // A host that only asks has a keyring and no daemon.
        if host.roles.iter().any(|role| role.serves_ceph()) {
            findings.push(about(codes::CEPH_UNKNOWN, "daemons").blocks(
                "its roles say that it has daemons of Ceph, and its facts show none",
                "take those roles from it, or see why its agent does not find them, then take the inventory again",
            ));
        }
        return None;
    };
    for (path, name) in &ceph.other_clusters {
        findings.push(about(codes::CEPH_CLUSTER_NAME, &path.display().to_string()).blocks(
            format!(
                "it is of a cluster called {name}; replank changes the one whose files are /etc/ceph/ceph.conf and /var/lib/ceph/KIND/ceph-ID, and would look for this \
                 daemon where it is not"
            ),
            "leave the host out (`reserved = true`), or give the cluster the usual name first: see the page of this code",
        ));
    }
    let of_ceph =
        |fact: &str| ["ceph", "osd.", "mon.", "mds.", "mgr.", "rgw."].iter().any(|word| fact.contains(word));
    for error in facts.errors.iter().filter(|error| of_ceph(&error.fact)) {
        findings.push(about(codes::FACT_UNKNOWN, &error.fact).blocks(
            format!("it could not be learned: {}", error.why),
            "mend what the cause names, then take the inventory again; what cannot be told is not assumed to be well",
        ));
    }
    Some((facts, ceph))
}

pub(super) fn check(
    voyage: &Voyage<'_>,
    inventory: &Inventory,
    host: &FleetHost,
    findings: &mut Vec<Finding>,
) {
    let Some((facts, ceph)) = known(inventory, host, findings) else { return };
    system(voyage, host, facts, findings);
    packages(voyage, host, facts, findings);
    traps(voyage, host, ceph, findings);
}

fn system(voyage: &Voyage<'_>, host: &FleetHost, facts: &Facts, findings: &mut Vec<Finding>) {
    let hop = voyage.hop;
    let os = &facts.os;
    if !hop.is_for(os) {
        let known: Vec<String> = hop.os.iter().map(|row| format!("{} {}", row.id, row.version_id)).collect();
        findings.push(About::host(codes::WRONG_OS, &host.name, format!("hop {}", hop.id)).blocks(
            format!("the host is {} ({} {}) on {}", os.pretty_name, os.id, os.version_id, os.architecture),
            format!("the hop is for {} on {}", known.join(", "), hop.architectures.join(", ")),
        ));
    }
    let manager = hop.manager.as_str();
    if !facts.package_managers.contains(&hop.manager) {
        findings.push(About::host(codes::NO_PACKAGE_MANAGER, &host.name, manager).blocks(
            format!("Ceph is installed with {manager}, which does not work on this host"),
            format!("install {manager} on the host, then take the inventory again"),
        ));
    }
    let spare = voyage.fleet.pace.spare_bytes;
    for space in &facts.space {
        let path = space.path.display().to_string();
        if space.read_only {
            findings.push(About::host(codes::READ_ONLY, &host.name, path).blocks(
                "the file system is mounted read-only, and the upgrade writes to it",
                "find out why (a failing disk?), mend it and mount it writable",
            ));
        } else if space.path != Path::new("/run") && space.available_bytes < spare {
            findings.push(About::host(codes::NO_SPACE, &host.name, path).blocks(
                format!(
                    "{} MiB are available, the fleet file keeps {} MiB spare",
                    space.available_bytes >> 20,
                    spare >> 20
                ),
                "make room, or lower pace.spare_bytes",
            ));
        }
    }
}

/// Packages of Ceph depend on each other's exact version: what is installed and not pinned holds the others back.
fn packages(voyage: &Voyage<'_>, host: &FleetHost, facts: &Facts, findings: &mut Vec<Finding>) {
    let hop = voyage.hop;
    let installed = facts.packages.get(&hop.manager).map_or(&[][..], Vec::as_slice);
    for fact in installed.iter().filter(|fact| hop.packages.names.contains(&fact.name)) {
        let subject = format!("package {}", fact.name);
        let version = upstream(&fact.version);
        if !voyage.goal.packages.iter().any(|pin| pin.name == fact.name) {
            findings.push(About::host(codes::PACKAGE_NOT_PINNED, &host.name, subject).blocks(
                format!(
                    "{} is installed and belongs to Ceph, but the fleet file does not pin it",
                    fact.version
                ),
                "add it to ceph.packages with its new version",
            ));
        } else if !version.is_of_series(&hop.from) && !version.is_of_series(&hop.to) {
            findings.push(About::host(codes::STALE_VERSION, &host.name, subject).blocks(
                format!("{} is installed, which is neither {} nor {}", fact.version, hop.from, hop.to),
                "bring the host to the release that the hop starts from, or name another hop",
            ));
        }
    }
}

fn traps(voyage: &Voyage<'_>, host: &FleetHost, ceph: &CephFacts, findings: &mut Vec<Finding>) {
    let part = voyage.part;
    let about = |code, subject: &str| About::host(code, &host.name, subject.to_owned());
    let stranger = ceph.ceph_user.as_ref().filter(|user| user.uid != CEPH_UID);
    if let (Some(row), Some(user)) = (part.has_trap(Trap::UserCeph), stranger) {
        findings.push(
            about(codes::CEPH_USER, "user ceph")
                .blocks(format!("its number is {}: {} ({})", user.uid, row.effect, row.source), &row.remedy),
        );
    }
    if let Some(row) = part.has_trap(Trap::SelinuxRelabel) {
        let cause = format!("{} ({})", row.effect, row.source);
        match ceph.selinux.as_deref() {
            Some("disabled") => {}
            Some("permissive") => findings.push(about(codes::CEPH_SELINUX, "SELinux is permissive").notes(
                format!("{cause}; while it is permissive that does no harm"),
                "label the files (`restorecon`) long after, one OSD at a time, before it enforces again",
            )),
            Some(mode) => findings
                .push(about(codes::CEPH_SELINUX, &format!("SELinux is {mode}")).blocks(cause, &row.remedy)),
            None => findings.push(about(codes::FACT_UNKNOWN, "SELinux").blocks(
                "the facts do not tell whether it enforces",
                "see that `getenforce` works on the host, then take the inventory again",
            )),
        }
    }
    let misplaced = ceph.config.contains_key("global/setuser_match_path");
    if let Some(row) = part.has_trap(Trap::SetuserMatchPath).filter(|_| misplaced) {
        let cause = format!("it is in [global] of ceph.conf: {} ({})", row.effect, row.source);
        let gateway = ceph.daemons.iter().any(|fact| fact.daemon.kind == CephKind::Rgw);
        let about = about(codes::CEPH_SETUSER, "setuser match path");
        findings.push(if gateway {
            about.blocks(cause, &row.remedy)
        } else {
            about.notes(cause, &row.remedy)
        });
    }
    if let Some(row) = part.has_trap(Trap::RbdFeatures) {
        let said = ["client/rbd_default_features", "global/rbd_default_features"];
        if !said.iter().any(|key| ceph.config.contains_key(*key)) {
            findings.push(about(codes::CEPH_RBD_FEATURES, "rbd default features").neutralised(
                format!("{} ({}); {}", row.effect, row.source, row.remedy),
                "the plan writes it into [client] of this host's ceph.conf; hosts with clients alone are yours to see to",
            ));
        }
    }
}
