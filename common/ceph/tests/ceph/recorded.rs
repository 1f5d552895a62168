//! Real clusters on their way from 14.2.21 to 16.2.15 and from 16.2.15 to 18.2.7, as they told of themselves: what is read, and what is decided from it.

use replank_ceph::documents::{
    Health, OsdDump, OsdTree, PgDump, PoolKind, QuorumStatus, read_osd_metadata, read_versions,
};
use replank_ceph::redundancy::{Answer, Redundancy, StopSet};
use replank_ceph::settled::{Before, Unsettled, unsettled};
use replank_ceph::{OsdId, PoolId};
use std::collections::{BTreeMap, BTreeSet};

macro_rules! states {
    ($file:literal) => {
        [
            ("nautilus-whole", include_str!(concat!("testdata/recorded/nautilus-whole/", $file))),
            ("mixed-degraded", include_str!(concat!("testdata/recorded/mixed-degraded/", $file))),
            ("mixed-whole", include_str!(concat!("testdata/recorded/mixed-whole/", $file))),
            ("pacific-whole", include_str!(concat!("testdata/recorded/pacific-whole/", $file))),
            ("reef-mons", include_str!(concat!("testdata/recorded/reef-mons/", $file))),
            ("reef-degraded", include_str!(concat!("testdata/recorded/reef-degraded/", $file))),
            ("reef-whole", include_str!(concat!("testdata/recorded/reef-whole/", $file))),
        ]
    };
}

fn of<'a>(states: &[(&str, &'a str)], state: &str) -> &'a [u8] {
    states.iter().find(|(name, _)| *name == state).expect("a recorded state").1.as_bytes()
}

fn maps(state: &str) -> (OsdDump, PgDump) {
    let osds = OsdDump::read(state, of(&states!("osd-dump.json"), state)).unwrap();
    (osds, PgDump::read(state, of(&states!("pg-dump.json"), state)).unwrap())
}

fn set(osds: &[u32]) -> StopSet {
    StopSet { osds: osds.iter().map(|osd| OsdId(*osd)).collect(), mons: BTreeSet::new() }
}

fn may_stop(state: &str, osds: &[u32]) -> Answer {
    let (map, pgs) = maps(state);
    Redundancy::new(&map, &pgs, &BTreeSet::new()).judge(&set(osds), None).answer
}

#[test]
fn every_document_of_each_release_is_read() {
    for (state, text) in states!("osd-dump.json") {
        let dump = OsdDump::read(state, text.as_bytes()).unwrap();
        let coded = dump.pool("volumes-coded").unwrap();
        assert!(
            matches!(&coded.kind, PoolKind::Erasure(Some(code)) if (code.k, code.m) == (2, 3)),
            "{state}: {coded:?}"
        );
        assert_eq!((coded.size, coded.min_size), (Some(5), Some(3)), "{state}");
        // Made by the first manager of Pacific, while every OSD was of Nautilus.
        let appeared = dump.pools.contains_key(&PoolId(3));
        assert_eq!(appeared, state != "nautilus-whole", "{state}");
        let required = match state {
            "reef-whole" => "reef",
            "pacific-whole" | "reef-mons" | "reef-degraded" => "pacific",
            _ => "nautilus",
        };
        assert_eq!(dump.require_osd_release.as_deref(), Some(required), "{state}");
        assert_eq!(
            dump.flags.contains("noout"),
            !state.ends_with("-whole") || state == "mixed-whole",
            "{state}"
        );
    }
    for (state, text) in states!("pg-dump.json") {
        let dump = PgDump::read(state, text.as_bytes()).unwrap();
        assert!(!dump.is_brief() && dump.pgs.iter().all(|pg| pg.counts.is_some()), "{state}");
        assert_eq!(dump.pgs.len(), if state == "nautilus-whole" { 48 } else { 49 });
        assert!(dump.pgs.iter().all(|pg| pg.state.as_ref().unwrap().strange().is_none()), "{state}");
    }
    for (state, text) in states!("pg-brief.json") {
        assert!(PgDump::read(state, text.as_bytes()).unwrap().is_brief(), "{state}");
    }
    for (state, text) in states!("osd-tree.json") {
        let tree = OsdTree::read(state, text.as_bytes()).unwrap();
        let on_first = tree.leaves.iter().filter(|leaf| leaf.above[0].name == "ceph1");
        assert_eq!(on_first.map(|leaf| leaf.osd.0).collect::<Vec<_>>(), [0, 1], "{state}");
    }
    for (state, text) in states!("quorum-status.json") {
        let status = QuorumStatus::read(state, text.as_bytes()).unwrap();
        assert_eq!(status.in_quorum.len(), 3, "{state}");
        assert_eq!(status.mons["ceph2"].unwrap().to_string(), "10.77.0.12", "{state}");
    }
    for (state, text) in [
        ("nautilus-whole", include_str!("testdata/recorded/nautilus-whole/status.json")),
        ("mixed-degraded", include_str!("testdata/recorded/mixed-degraded/status.json")),
        ("reef-degraded", include_str!("testdata/recorded/reef-degraded/status.json")),
        ("reef-whole", include_str!("testdata/recorded/reef-whole/status.json")),
    ] {
        Health::read(state, text.as_bytes()).unwrap();
    }
}

#[test]
fn versions_and_reasons_on_the_way() {
    for (state, text) in states!("osd-metadata.json") {
        let metadata = read_osd_metadata(state, text.as_bytes()).unwrap();
        let of_pair = if state.starts_with("reef") { "18.2.7" } else { "16.2.15" };
        let new =
            metadata.values().filter(|osd| osd.version_number().is_some_and(|v| v.to_string() == of_pair));
        let expected = match state {
            "mixed-whole" | "reef-degraded" => 2,
            "pacific-whole" | "reef-whole" => 6,
            // Of daemons that are stopped it tells the boot before.
            _ => 0,
        };
        assert_eq!((new.count(), metadata.len()), (expected, 6), "{state}");
    }
    for (state, text) in states!("versions.json") {
        let versions = read_versions(state, text.as_bytes()).unwrap();
        assert_eq!(versions["mon"].values().sum::<u32>(), 3, "{state}");
    }
    let checks = |state: &str, text: &str| -> Vec<String> {
        let health = Health::read(state, text.as_bytes()).unwrap();
        health.reasons.into_iter().map(|reason| reason.check.unwrap()).collect()
    };
    let seen: BTreeMap<_, _> =
        states!("health.json").into_iter().map(|(state, text)| (state, checks(state, text))).collect();
    assert_eq!(seen["nautilus-whole"], [""; 0]);
    assert_eq!(seen["mixed-degraded"], ["OSDMAP_FLAGS", "OSD_DOWN", "OSD_HOST_DOWN", "PG_DEGRADED"]);
    assert_eq!(seen["mixed-whole"], ["BLUESTORE_NO_PER_POOL_OMAP", "OSDMAP_FLAGS"]);
    assert_eq!(seen["pacific-whole"], ["BLUESTORE_NO_PER_POOL_OMAP"]);
    // MONs of Reef take every OSD of Pacific for one of Reef; see `osd-metadata.json` of the same instant.
    assert_eq!(seen["reef-mons"], ["OSDMAP_FLAGS", "OSD_UPGRADE_FINISHED"]);
    assert_eq!(seen["reef-whole"], [""; 0]);
    let before = include_str!("testdata/recorded/pacific-before-require/health.json");
    let expected = ["BLUESTORE_NO_PER_POOL_OMAP", "OSDMAP_FLAGS", "OSD_UPGRADE_FINISHED"];
    assert_eq!(checks("before", before), expected);
}

#[test]
fn a_host_may_stop_when_all_is_whole_and_two_may_not() {
    for state in ["nautilus-whole", "mixed-whole", "pacific-whole", "reef-mons", "reef-whole"] {
        for host in [[0, 1], [2, 3], [4, 5]] {
            assert_eq!(may_stop(state, &host), Answer::Safe, "{state} {host:?}");
        }
        assert_eq!(may_stop(state, &[0, 2]), Answer::NotSafe, "{state}: two hosts share groups");
    }
}

/// The reports still call nearly all groups clean; the map knows better.
#[test]
fn while_a_host_is_down_no_other_may_stop_whatever_the_groups_report() {
    let (_, pgs) = maps("mixed-degraded");
    let clean = pgs.pgs.iter().filter(|pg| pg.state.as_ref().unwrap().to_string() == "active+clean");
    assert!(clean.count() > 20);
    assert_ne!(may_stop("mixed-degraded", &[2, 3]), Answer::Safe);
    assert_ne!(may_stop("mixed-degraded", &[4]), Answer::Safe);
}

#[test]
fn a_host_of_a_newer_cluster_that_is_down_keeps_the_others_up() {
    assert_ne!(may_stop("reef-degraded", &[2, 3]), Answer::Safe);
    assert_ne!(may_stop("reef-degraded", &[4]), Answer::Safe);
}

#[test]
fn a_wave_is_settled_when_its_groups_have_reported_and_not_before() {
    let (old, groups) = maps("nautilus-whole");
    let wave = [OsdId(0), OsdId(1)];
    let before = Before {
        up_from: wave.iter().map(|osd| (*osd, old.osds[osd].up_from.unwrap())).collect(),
        groups: groups
            .pgs
            .iter()
            .filter(|pg| pg.acting.iter().flatten().any(|osd| wave.contains(osd)))
            .map(|pg| pg.id)
            .collect(),
    };
    let waits = |state: &str| {
        let (osds, pgs) = maps(state);
        unsettled(&before, &osds, &pgs)
    };
    assert!(waits("mixed-degraded").contains(&Unsettled::OsdDown { osd: OsdId(0) }));
    assert_eq!(waits("mixed-whole"), []);
    assert_eq!(waits("pacific-whole"), []);
    // Groups of before under a map of after: the race, from the very documents.
    let (_, stale) = maps("mixed-degraded");
    let (osds, _) = maps("mixed-whole");
    assert!(
        unsettled(&before, &osds, &stale).iter().any(|wait| matches!(wait, Unsettled::PgNotReported { .. }))
    );
}
