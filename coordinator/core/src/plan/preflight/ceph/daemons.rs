//! Each daemon: is it where the fleet file looks for it, does it run, and is its release one that may be left?

use super::cluster::few;
use super::hosts::CEPH_UID;
use crate::catalog::{Side, Trap};
use crate::codes;
use crate::plan::ceph::{Ground, Placed, Standing};
use crate::plan::finding::About;
use crate::plan::mds::nobody_stands_by;
use replank_ceph::mds;
use replank_ceph::seen::Cluster;
use replank_common::ceph::CephKind;
use replank_common::finding::Finding;
use std::collections::BTreeSet;

pub(super) fn check(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    for placed in &ground.daemons {
        version(ground, placed, findings);
        if placed.daemon().kind == CephKind::Osd {
            osd(ground, placed, findings);
        }
        gateway(ground, placed, findings);
    }
    strangers(ground, findings);
    helpers(ground, findings);
}

fn version(ground: &Ground<'_>, placed: &Placed<'_>, findings: &mut Vec<Finding>) {
    let (hop, goal) = (ground.voyage.hop, ground.voyage.goal);
    let about = |code| About::host(code, &placed.host.name, placed.daemon().to_string());
    match (placed.standing, &placed.fact.running) {
        (Standing::New, _) | (Standing::Old | Standing::Other, None) => {}
        (Standing::Old, Some(running)) => {
            let rows = ground.voyage.part.limit.iter().filter(|row| row.side == Side::From);
            // An earlier point release of the new series is no release that the hop starts from.
            for row in rows.filter(|row| running.is_of_series(&hop.from) && row.rules_out(running)) {
                findings.push(about(codes::CEPH_POINT_RELEASE).blocks(
                    format!("it runs {running}: {} ({})", row.why, row.source),
                    format!("bring it to the last point release of {} first", hop.from),
                ));
            }
        }
        (Standing::Other, Some(running)) => findings.push(about(codes::CEPH_VERSION).blocks(
            format!("it runs {running}, which is neither of {} nor {}", hop.from, goal.version),
            "bring it to the release that the hop starts from, or name another hop",
        )),
        (Standing::Unknown, _) if placed.fact.pid.is_some() => {
            findings.push(about(codes::CEPH_VERSION).blocks(
                "it runs and does not say which release it is",
                "look at its admin socket (`ceph daemon NAME version`), then take the inventory again",
            ))
        }
        (Standing::Unknown, _) => {
            // The map says whether anybody misses an OSD.
            let down_and_out = placed.daemon().osd_number().is_some_and(|osd| {
                let osd = ground.cluster.osds.osds.get(&replank_ceph::OsdId(osd));
                osd.is_none_or(|osd| osd.placed == Some(false))
            });
            let about = about(codes::CEPH_DAEMON_DOWN);
            findings.push(if down_and_out {
                about.notes(
                    "it does not run, and no data is placed on it: the plan leaves it alone",
                    "start it before, or remove it",
                )
            } else {
                about.blocks(
                    "its data lies on the host and it does not run",
                    "start it, or remove what is left of it, then take the inventory again",
                )
            });
        }
    }
}

/// Whether one that is started as ceph may read what is its own. A key elsewhere that everybody may read is no fact of the host, so the directory answers for it.
fn gateway(ground: &Ground<'_>, placed: &Placed<'_>, findings: &mut Vec<Finding>) {
    let (daemon, host) = (placed.daemon(), &placed.host.name);
    let row = ground.voyage.part.has_trap(Trap::GatewayKey).filter(|_| daemon.kind == CephKind::Rgw);
    let (Some(row), Some(facts)) = (row, ground.ceph_facts(host)) else { return };
    let owner = placed.fact.data_owner.map(|(uid, _)| uid);
    let is_cephs = owner == Some(facts.ceph_user.as_ref().map_or(CEPH_UID, |user| user.uid));
    let said = facts.config.get(&format!("{}/setuser_match_path", daemon.entity()));
    let is_matched = said.is_some_and(|value| daemon.is_matched_by(value));
    if placed.standing != Standing::New && !is_cephs && !is_matched {
        let whose = owner.map_or("whose is not known".to_owned(), |uid| format!("the user {uid}'s"));
        findings.push(About::host(codes::CEPH_GATEWAY_KEY, host, daemon.to_string()).blocks(
            format!(
                "its directory {} is {whose}: {} ({})",
                daemon.data_directory().display(),
                row.effect,
                row.source
            ),
            &row.remedy,
        ));
    }
}

fn osd(ground: &Ground<'_>, placed: &Placed<'_>, findings: &mut Vec<Finding>) {
    let part = ground.voyage.part;
    let (fact, host) = (placed.fact, &placed.host.name);
    let about = |code| About::host(code, host, placed.daemon().to_string());
    let facts = ground.ceph_facts(host);
    let gateways = ground.daemons.iter().any(|other| other.daemon().kind == CephKind::Rgw);
    if let Some(row) = part.has_trap(Trap::Ext4Names).filter(|_| fact.fs_type.as_deref() == Some("ext4")) {
        let cause = format!("{} ({})", row.effect, row.source);
        findings.push(if gateways {
            about(codes::CEPH_EXT4).blocks(
                format!(
                    "{cause}; the limits are too short for the objects of a gateway, and the cluster has one"
                ),
                &row.remedy,
            )
        } else {
            about(codes::CEPH_EXT4)
                .neutralised(cause, "the plan writes the two limits into ceph.conf before the first start")
        });
    }
    if let Some(row) = part.has_trap(Trap::ObjectStore) {
        let store = fact.object_store.as_deref().unwrap_or("");
        let cause = || format!("its object store is {store}: {} ({})", row.effect, row.source);
        if store.starts_with("keyvalue") {
            findings.push(about(codes::CEPH_STORE).blocks(cause(), &row.remedy));
        } else if store == "filestore" && ground.voyage.part.releases.to.as_str() >= "reef" {
            findings.push(about(codes::CEPH_STORE).notes(cause(), &row.remedy));
        }
    }
    let own = facts.and_then(|facts| facts.ceph_user.as_ref()).map(|user| user.uid);
    if let Some(row) = part.has_trap(Trap::RootJournal) {
        let data_is_cephs = own.is_some() && fact.data_owner.map(|(uid, _)| uid) == own;
        let journal_is_not = fact.journal_owner.is_some_and(|(uid, _)| Some(uid) != own);
        if data_is_cephs && journal_is_not {
            findings.push(
                about(codes::CEPH_JOURNAL).blocks(format!("{} ({})", row.effect, row.source), &row.remedy),
            );
        }
    }
    if let Some(row) = part.has_trap(Trap::CrushUpdateOnStart) {
        let number = placed.daemon().osd_number().map(replank_ceph::OsdId);
        let leaf = ground.cluster.tree.leaves.iter().find(|leaf| Some(leaf.osd) == number);
        let bucket = leaf.and_then(|leaf| leaf.above.first()).map(|bucket| bucket.name.as_str());
        let fixed = facts.is_some_and(|facts| {
            facts.config.get("osd/osd_crush_update_on_start").is_some_and(|value| value == "false")
        });
        let short = facts.map(|facts| facts.short_hostname.as_str());
        if let (Some(bucket), Some(short), false) = (bucket, short, fixed)
            && bucket != short
        {
            findings.push(about(codes::CEPH_CRUSH_NAME).neutralised(
                format!("it stands in `{bucket}` and its host is called `{short}`: {} ({})", row.effect, row.source),
                "the plan sets `osd crush update on start = false` before the restart; put it into ceph.conf for good, or a reboot \
                 moves the data",
            ));
        }
    }
}

/// Daemons that the cluster knows and the fleet file's hosts do not have: nobody would upgrade them.
fn strangers(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    let known: BTreeSet<String> = ground.daemons.iter().map(|placed| placed.daemon().to_string()).collect();
    let osds = ground
        .cluster
        .osds
        .osds
        .iter()
        .filter(|(_, osd)| osd.up != Some(false))
        .map(|(id, _)| id.to_string());
    let mons = ground.cluster.quorum.mons.keys().map(|mon| format!("mon.{mon}"));
    let strange: Vec<String> = osds.chain(mons).filter(|name| !known.contains(name)).collect();
    if !strange.is_empty() {
        findings.push(About::fleet(codes::CEPH_STRANGER, "daemons").blocks(
            format!(
                "the cluster has {}, and no host that takes part has them: they would stay behind",
                few(&strange)
            ),
            "add their hosts to the fleet file with their roles, and enrol them",
        ));
    }
}

fn helpers(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    let number = |kind: CephKind| ground.daemons.iter().filter(|placed| placed.daemon().kind == kind).count();
    if let Some(row) = ground.voyage.part.has_trap(Trap::ManagerNeeded) {
        let cause = format!("{} ({})", row.effect, row.source);
        match number(CephKind::Mgr) {
            0 => findings.push(About::fleet(codes::CEPH_HELPERS, "managers").notes(cause, &row.remedy)),
            1 => findings.push(About::fleet(codes::CEPH_HELPERS, "managers").notes(
                "there is one manager: while it restarts, nobody counts the placement groups, and the run waits for it",
                "make a second one",
            )),
            _ => {}
        }
    }
    ranks(ground, findings);
    if !ground.hosts_with_old(CephKind::Mds).is_empty() {
        filesystems(ground.cluster, ground.running(CephKind::Mds), findings);
    }
    if let Some(row) = ground.voyage.part.has_trap(Trap::QuickFix) {
        findings.push(About::fleet(codes::CEPH_CONVERSION, "stores").neutralised(
            format!("{} ({})", row.effect, row.source),
            "the plan switches it off in ceph.conf before the first start",
        ));
    }
}

/// Ranks that nobody serves, and ones that nobody would while their MDS restarts.
pub(in crate::plan) fn filesystems(cluster: &Cluster, running: usize, findings: &mut Vec<Finding>) {
    let about = |name: &str| About::fleet(codes::CEPH_HELPERS, format!("file system {name}"));
    for one in cluster.filesystems.iter().flatten().filter(|one| !one.states.is_empty()) {
        for miss in mds::not_active_of(one) {
            findings.push(about(&one.name).blocks(
                format!("{miss}: no MDS is restarted while one is missed"),
                "see `ceph fs status` and the log of the MDS, mend it (`ceph fs set NAME joinable true` for one that was taken down), then take the inventory again",
            ));
        }
    }
    if nobody_stands_by(cluster, running) {
        let names: Vec<&str> = cluster.filesystems.iter().flatten().map(|one| one.name.as_str()).collect();
        let which = if names.is_empty() { "all".to_owned() } else { names.join(", ") };
        findings.push(about(&which).notes(
            "no MDS stands by: while the one that holds a rank restarts, its clients wait until it is back and has read its journal",
            "start one more MDS before, which takes the rank over in seconds",
        ));
    }
}

/// A file system must be down to one rank, and nobody may follow it, before its first MDS is restarted: MDS of two releases do not understand each other.
fn ranks(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    let Some(row) = ground.voyage.part.has_trap(Trap::MdsRanks) else { return };
    if ground.hosts_with_old(CephKind::Mds).is_empty() {
        return;
    }
    let Some(all) = &ground.cluster.filesystems else {
        let cause = format!("how many ranks there are is not known: {} ({})", row.effect, row.source);
        findings.push(About::fleet(codes::CEPH_HELPERS, "MDS").notes(cause, &row.remedy));
        return;
    };
    for one in all {
        let name = &one.name;
        let mut found = Vec::new();
        if one.ranks.len() > 1 || one.max_mds > 1 {
            found.push(format!("it has {} ranks, and is to have {}", one.ranks.len(), one.max_mds));
        }
        if one.may_follow || !one.following.is_empty() {
            let who: Vec<String> = one.following.iter().map(|mds| format!("mds.{mds}")).collect();
            let who = if who.is_empty() { "an MDS".to_owned() } else { who.join(", ") };
            found.push(format!("{who} may follow a rank and replay its journal (standby-replay)"));
        }
        if !found.is_empty() {
            let about = About::fleet(codes::CEPH_MDS_RANKS, format!("file system {name}"));
            findings.push(about.blocks(
                format!("{}: {} ({})", found.join("; "), row.effect, row.source),
                format!(
                    "`ceph fs set {name} allow_standby_replay false` (`ceph mds fail NAME` for each that follows, before Pacific), `ceph fs set {name} \
                     max_mds 1`, wait until `ceph fs status` shows rank 0 alone, take the inventory again; set both back after the voyage"
                ),
            ));
        }
    }
}
