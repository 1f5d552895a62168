//! What stands in the way of a change of owner: found in the inventory, before anything is changed. What cannot be told blocks.

use super::plot::{Owned, Plot, matched_sections};
use crate::codes;
use crate::fleet_file::{FleetFile, FleetHost, OwnershipTarget};
use crate::inventory::Inventory;
use crate::plan::finding::About;
use crate::plan::preflight::ceph::{cluster, daemons, hosts, pools};
use crate::plan::preflight::{strangers, untouched_by};
use replank_common::ceph::CephKind;
use replank_common::facts::{CephFacts, Facts, PackageManager};
use replank_common::finding::Finding;
use replank_common::version::Version;

/// The number of the user ceph in the packages: of CentOS (ceph.spec.in), and of Debian (debian/ceph-common.postinst).
const CEPH_UIDS: [u32; 2] = [167, 64_045];
/// The first release that starts as another user, and asks a daemon's directory as whom.
const FIRST: &str = "10.2";

pub(super) fn survey(
    fleet: &FleetFile,
    goal: &OwnershipTarget,
    inventory: &Inventory,
    plot: Option<&Plot<'_>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match plot {
        Some(plot) => whole(goal, plot, &mut findings),
        None => findings.push(About::fleet(codes::CEPH_UNKNOWN, "cluster").blocks(
            "the inventory has nothing of the Ceph cluster: no host of ceph-ownership.admin could ask it",
            "see that the agent of a host in ceph-ownership.admin is linked and that `ceph -s` answers there, then take the inventory again",
        )),
    }
    for host in &fleet.hosts {
        if fleet.takes_part(host) {
            of_host(inventory, host, &mut findings);
        } else {
            findings.push(untouched_by(host, "a change of owner concerns hosts with daemons of Ceph"));
        }
    }
    for owned in plot.into_iter().flat_map(Plot::foreign) {
        of_daemon(owned, &mut findings);
    }
    strangers(fleet, inventory, &mut findings);
    findings
}

fn whole(goal: &OwnershipTarget, plot: &Plot<'_>, findings: &mut Vec<Finding>) {
    let told = |name: &str| About::fleet(codes::CEPH_UNKNOWN, name.to_owned());
    // What a release has no command for matters to an upgrade alone.
    let needed = ["osd dump", "pg dump", "quorum", "osd tree"];
    let errors = plot.cluster.errors.iter();
    for (what, why) in errors.filter(|(what, _)| needed.iter().any(|needed| what.contains(needed))) {
        findings.push(told(what).blocks(
            format!("{} could not learn it: {why}", plot.via),
            "mend what the cause names, then take the inventory again; what cannot be told is not assumed to be well",
        ));
    }
    if !goal.admin.contains(plot.via) {
        findings.push(told("ceph-ownership.admin").blocks(
            format!("the inventory asked the cluster of {}, which the fleet file does not name", plot.via),
            "add it to ceph-ownership.admin, or take the inventory again with this fleet file",
        ));
    }
    cluster::at_rest(plot.cluster, findings);
    pools::can_spare(plot.cluster, &plot.consents, &goal.consent, "ceph-ownership", findings);
    if plot.foreign().any(|owned| owned.fact.daemon.kind == CephKind::Mds) {
        daemons::filesystems(plot.cluster, plot.running_mds(), findings);
    }
}

fn of_host(inventory: &Inventory, host: &FleetHost, findings: &mut Vec<Finding>) {
    let Some((facts, ceph)) = hosts::known(inventory, host, findings) else { return };
    user(facts, ceph, host, findings);
}

fn user(facts: &Facts, ceph: &CephFacts, host: &FleetHost, findings: &mut Vec<Finding>) {
    let about = About::host(codes::CEPH_USER, &host.name, "user ceph");
    let packaged = match facts.package_managers.first() {
        Some(PackageManager::Apt) => Some(CEPH_UIDS[1]),
        Some(PackageManager::Yum | PackageManager::Dnf) => Some(CEPH_UIDS[0]),
        None => None,
    };
    match (&ceph.ceph_user, packaged) {
        _ if ceph.daemons.is_empty() => {}
        (None, _) => findings.push(about.blocks(
            "there is no such user, to whom the files could be given",
            "install the packages of Jewel or a later release, which make it, then take the inventory again",
        )),
        (Some(user), Some(uid)) if user.uid != uid => findings.push(about.blocks(
            format!("its number is {}, and the packages make it {uid}: it may be a person's, and disks that move between hosts would belong to somebody else", user.uid),
            "give the person's account another name, and let the packages make theirs; then take the inventory again",
        )),
        (Some(_), _) => {}
    }
}

fn of_daemon(owned: &Owned<'_>, findings: &mut Vec<Finding>) {
    let Owned { host, ceph, fact } = owned;
    let about = |code| About::host(code, &host.name, fact.daemon.to_string());
    if fact.data_owner.is_none() {
        findings.push(about(codes::FACT_UNKNOWN).blocks(
            "the facts do not tell whose its directory is",
            "see that its data is mounted, then take the inventory again",
        ));
        return;
    }
    let Some(running) = &fact.running else {
        findings.push(about(codes::CEPH_DAEMON_DOWN).blocks(
            "its files are to change their owner, and it does not run, or does not say what it is: nobody would see whether it starts afterwards",
            "start it, or remove what is left of it, then take the inventory again",
        ));
        return;
    };
    if *running < Version::new(FIRST) {
        findings.push(about(codes::CEPH_OWN_OLD).blocks(
            format!(
                "it runs {running}, which always runs as root and cannot ask its directory as whom to start"
            ),
            "bring the cluster to Jewel or later first (`[ceph]`), with its files as they are",
        ));
        return;
    }
    if let Some(installed) = fact.installed.as_ref().filter(|installed| *installed != running) {
        findings.push(about(codes::CEPH_OWN_RELEASE).blocks(
            format!("it runs {running} and {installed} is installed: the restart that a change of owner takes would be an upgrade"),
            "finish the upgrade first, with its gates, then take the inventory again",
        ));
    }
    let (section, own) = (fact.daemon.kind.entity_type(), fact.daemon.entity());
    // In [client] it would be every client's, and its `$type` is not where the data is.
    let (in_section, path) = match fact.daemon.kind {
        CephKind::Rgw => (own.as_str(), "/var/lib/ceph/radosgw/$cluster-$id"),
        CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds => {
            (section, "/var/lib/ceph/$type/$cluster-$id")
        }
    };
    if !matched_sections(ceph).any(|matched| matched == section || matched == "global" || matched == own) {
        findings.push(about(codes::CEPH_OWN_UNMATCHED).blocks(
            "its files are not the ceph user's, and no `setuser match path` in ceph.conf has it start as whom they belong to: how it became root cannot be told, nor whether it would start half way through",
            format!("write `setuser match path = {path}` into [{in_section}] of the host's ceph.conf, then take the inventory again"),
        ));
    }
    for behind in fact.behind.iter().filter(|behind| behind.device && !behind.serves && !behind.given_at_boot)
    {
        let (uid, gid) = behind.owner;
        findings.push(about(codes::CEPH_OWN_BEHIND).blocks(
            format!("{} leads to {}, which is {uid}:{gid}'s, and after a boot would be again: neither udev nor ceph-volume gives it to the ceph user", behind.link, behind.path.display()),
            "on a GPT disk give the partition Ceph's type (`sgdisk --typecode`), else write a udev rule that sets OWNER=\"ceph\", and trigger it; then take the inventory again",
        ));
    }
}
