//! The cluster as a whole: is it at rest, has it what the new release asks for, and what will it say meanwhile?

use crate::catalog::Trap;
use crate::codes;
use crate::plan::ceph::Ground;
use crate::plan::finding::About;
use replank_ceph::documents::Word;
use replank_ceph::quorum::majority;
use replank_ceph::seen::Cluster;
use replank_common::finding::Finding;

/// `mon_clock_drift_allowed`, 0.05 s (src/common/options).
const SKEW_MS: u64 = 50;
/// `mon_osd_nearfull_ratio`, 0.85, in thousandths.
const NEARFULL: u32 = 850;
/// Flags under which groups never become clean, OSDs never come up, or nobody is served: not even the operator's own may stay.
const HARMFUL: [&str; 9] =
    ["nodown", "noup", "noin", "norebalance", "norecover", "nobackfill", "pause", "pauserd", "pausewr"];
/// Groups and OSDs that are named.
const NAMED: usize = 6;

pub(super) fn check(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    let told = |name: &str| About::fleet(codes::CEPH_UNKNOWN, name.to_owned());
    for (what, why) in &ground.cluster.errors {
        findings.push(told(what).blocks(
            format!("{} could not learn it: {why}", ground.via),
            "mend what the cause names, then take the inventory again; what cannot be told is not assumed to be well",
        ));
    }
    if !ground.voyage.goal.admin.contains(ground.via) {
        findings.push(told("ceph.admin").blocks(
            format!("the inventory asked the cluster of {}, which the fleet file does not name", ground.via),
            "add it to ceph.admin, or take the inventory again with this fleet file",
        ));
    }
    at_rest(ground.cluster, findings);
    stuck(ground, findings);
    flags(ground, findings);
    health(ground, findings);
    caps(ground, findings);
    tunables(ground, findings);
}

/// What every change to a cluster asks for, whatever its release.
pub(in crate::plan) fn at_rest(cluster: &Cluster, findings: &mut Vec<Finding>) {
    groups(cluster, findings);
    osds(cluster, findings);
    mons(cluster, findings);
    for flag in HARMFUL.iter().filter(|flag| cluster.osds.flags.contains(**flag)) {
        findings.push(About::fleet(codes::CEPH_FLAG_SET, (*flag).to_owned()).blocks(
            "under this flag groups do not become clean again, or OSDs do not come up, or nobody is served",
            format!("find out who set it and why, then `ceph osd unset {flag}`"),
        ));
    }
}

fn groups(cluster: &Cluster, findings: &mut Vec<Finding>) {
    let clean = |state: &replank_ceph::documents::PgState| {
        let bad = [
            Word::Degraded,
            Word::Undersized,
            Word::Remapped,
            Word::Inconsistent,
            Word::Stale,
            Word::Incomplete,
            Word::Peering,
        ];
        state.has(Word::Active) && state.has(Word::Clean) && !state.has_any(&bad)
    };
    let unclean: Vec<String> = cluster
        .pgs
        .pgs
        .iter()
        .filter(|pg| !pg.state.as_ref().is_some_and(clean))
        .map(|pg| {
            let state = pg.state.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            format!("{} is {state}", pg.id)
        })
        .collect();
    if !unclean.is_empty() {
        findings.push(About::fleet(codes::CEPH_UNCLEAN, "placement groups").blocks(
            format!("{} of {} are not clean: {}", unclean.len(), cluster.pgs.pgs.len(), few(&unclean)),
            "wait for the recovery, or mend what keeps it from ending; an upgrade begins from `active+clean` alone",
        ));
    }
}

fn osds(cluster: &Cluster, findings: &mut Vec<Finding>) {
    for (id, osd) in cluster.osds.osds.iter().filter(|(_, osd)| !osd.destroyed) {
        let about = About::fleet(codes::CEPH_OSD_DOWN, id.to_string());
        match (osd.up, osd.placed) {
            (Some(true), _) => {}
            (Some(false), Some(false)) => findings.push(about.notes(
                "it is down and out: nothing waits for it, but it exists, and as long as it has not been upgraded the new release \
                 cannot be required of every OSD",
                "bring it up before, so that it is upgraded with the others, or remove it (`ceph osd purge`)",
            )),
            (Some(false) | None, _) => findings.push(about.blocks(
                "it is down while data is placed on it: with one copy missing, no other OSD may stop",
                "bring it up, or let its data move elsewhere (`ceph osd out`) and wait until all is clean",
            )),
        }
    }
    let full = cluster.osd_used_permille.iter().filter(|(_, used)| **used >= NEARFULL);
    let full: Vec<String> = full.map(|(id, used)| format!("{id} {}.{} %", used / 10, used % 10)).collect();
    if !full.is_empty() {
        findings.push(About::fleet(codes::CEPH_FULL, "space").blocks(
            format!(
                "85 % and more are used: {}; recovery after a restart may need room that is not there",
                few(&full)
            ),
            "make room: delete, add OSDs, or balance them",
        ));
    }
}

fn stuck(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    if !ground.waves.stuck.is_empty() {
        let stuck: Vec<String> = ground.waves.stuck.iter().map(ToString::to_string).collect();
        let why: Vec<String> = replank_ceph::redundancy::show_objections(&ground.waves.objections)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take(NAMED)
            .map(str::to_owned)
            .collect();
        findings.push(About::fleet(codes::CEPH_STUCK, "waves").blocks(
            format!("{} may not stop even alone: {}. {}", stuck.len(), few(&stuck), why.join(" ")),
            "mend what each reason names, then take the inventory again",
        ));
    }
}

fn mons(cluster: &Cluster, findings: &mut Vec<Finding>) {
    let quorum = &cluster.quorum;
    let (all, inside) = (quorum.mons.len(), quorum.in_quorum.len());
    let outside: Vec<String> = quorum
        .mons
        .keys()
        .filter(|mon| !quorum.in_quorum.contains(*mon))
        .map(|mon| format!("mon.{mon}"))
        .collect();
    let about = || About::fleet(codes::CEPH_QUORUM, "MONs");
    if !outside.is_empty() {
        findings.push(about().blocks(
            format!("{} not in quorum", few(&outside)),
            "bring every MON into quorum, then take the inventory again",
        ));
    }
    if inside.saturating_sub(1) < majority(all) {
        findings.push(about().blocks(
            format!(
                "of {all} MONs {inside} are in quorum, and {} are needed: none can be spared",
                majority(all)
            ),
            "run at least three MONs, all in quorum",
        ));
    }
    for (mon, skew) in cluster.time_skew_ms.iter().filter(|(_, skew)| **skew > SKEW_MS) {
        findings.push(About::fleet(codes::CEPH_CLOCKS, format!("mon.{mon}")).blocks(
            format!("its clock is {skew} ms from the leader's, and {SKEW_MS} ms are allowed"),
            "mend the time service of its host, then take the inventory again",
        ));
    }
}

fn flags(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    let map = &ground.cluster.osds;
    for row in ground.voyage.part.needs.iter().filter(|row| !map.flags.contains(&row.flag)) {
        // Later maps show it no more, for what they require says it.
        if row.flag == "require_jewel_osds" && map.require_osd_release.is_some() {
            continue;
        }
        let cause = format!("the OSD map does not have it: {} ({})", row.why, row.source);
        findings.push(About::fleet(codes::CEPH_FLAG_NEEDED, row.flag.clone()).blocks(cause, &row.remedy));
    }
    for row in ground.voyage.part.flag.iter().filter(|row| map.flags.contains(row.flag.as_str())) {
        findings.push(About::fleet(codes::CEPH_FLAG_SET, row.flag.as_str()).notes(
            "somebody has set it before; the voyage would set it too",
            "nothing; it stays set at the end, for it is not the run's to unset",
        ));
    }
}

fn health(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    for reason in ground.cluster.health.reasons.iter().filter(|reason| !reason.muted) {
        let name = reason.check.clone().unwrap_or_else(|| reason.text.clone());
        let row = ground.voyage.part.health.iter().find(|row| reason.is(&row.reason));
        // Told with its own cause elsewhere.
        let told =
            ["OSD_DOWN", "PG_DEGRADED", "PG_AVAILABILITY", "MON_DOWN", "MON_CLOCK_SKEW", "OSD_NEARFULL"];
        match row {
            Some(row) => findings.push(About::fleet(codes::CEPH_HEALTH, name).notes(
                format!("the cluster says \"{}\": {} ({})", reason.text, row.why, row.source),
                format!("nothing for the voyage; to be rid of it: {}", row.cure),
            )),
            None if told.contains(&name.as_str()) => {}
            None => findings.push(About::fleet(codes::CEPH_HEALTH, name).blocks(
                format!("the cluster says \"{}\", which this voyage does not expect: the run would wait for it to end", reason.text),
                "mend it; or mute it (`ceph health mute`, Octopus and later) when you know that it does no harm",
            )),
        }
    }
}

fn caps(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    let Some(row) = ground.voyage.part.has_trap(Trap::BlacklistCaps) else { return };
    let enough = |cap: &str| {
        ["blacklist", "blocklist", "profile", "allow *", "allow rw"].iter().any(|word| cap.contains(word))
    };
    for (entity, cap) in &ground.cluster.mon_caps {
        if entity.starts_with("client.") && cap.contains("allow r") && !enough(cap) {
            findings.push(About::fleet(codes::CEPH_CAPS, entity.clone()).blocks(
                format!("with MONs it may only `{cap}`: {} ({})", row.effect, row.source),
                &row.remedy,
            ));
        }
    }
}

fn tunables(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    let Some(row) = ground.voyage.part.has_trap(Trap::LegacyTunables) else { return };
    let profile = ground.cluster.tunables.get("profile").map_or("", String::as_str);
    if ["argonaut", "legacy", "unknown"].contains(&profile) {
        findings.push(About::fleet(codes::CEPH_TUNABLES, format!("profile {profile}")).neutralised(
            format!("{} ({})", row.effect, row.source),
            "the plan silences the warning for the while, and changes no tunable",
        ));
    }
}

/// The first few, and how many more.
pub(in crate::plan) fn few(all: &[String]) -> String {
    let shown = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(NAMED) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
