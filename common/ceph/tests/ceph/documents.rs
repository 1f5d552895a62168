//! One cluster, printed by every release, is one value; and what real clusters printed is read.

use replank_ceph::codes;
use replank_ceph::documents::{
    Health, HealthReason, MdsMap, OsdDump, OsdTree, Pg, PgDump, PgState, PoolKind, QuorumStatus, Word,
    read_osd_metadata, read_versions,
};
use replank_ceph::redundancy::Redundancy;
use replank_ceph::{OsdId, PoolId};
use std::collections::BTreeSet;

macro_rules! releases {
    ($file:literal) => {
        [
            ("hammer", include_str!(concat!("testdata/hammer/", $file))),
            ("jewel", include_str!(concat!("testdata/jewel/", $file))),
            ("luminous", include_str!(concat!("testdata/luminous/", $file))),
            ("nautilus", include_str!(concat!("testdata/nautilus/", $file))),
            ("octopus", include_str!(concat!("testdata/octopus/", $file))),
        ]
    };
}

/// What every release says of a group, in words that none of them has alone.
fn plain(pg: &Pg) -> (String, String, Vec<OsdId>, Vec<OsdId>) {
    let state = pg.state.as_ref().unwrap().to_string();
    (pg.id.to_string(), state, pg.up.clone().unwrap(), pg.acting.clone().unwrap())
}

#[test]
fn every_release_prints_the_same_groups() {
    let mut all = BTreeSet::new();
    for (release, text) in releases!("pg-dump.json").into_iter().chain(releases!("pg-brief.json")) {
        let dump = PgDump::read(release, text.as_bytes()).unwrap();
        assert_eq!(dump.pgs.len(), 16, "{release}");
        all.insert(dump.pgs.iter().map(plain).collect::<Vec<_>>());
    }
    assert_eq!(all.len(), 1, "{all:#?}");
    let groups = all.first().unwrap();
    let moving = groups.iter().find(|(id, ..)| id == "1.7").unwrap();
    assert_eq!(moving.1, "active+remapped+backfill_wait", "Hammer says wait_backfill");
    // The shard that nobody holds is no OSD 2147483647.
    let holed = groups.iter().find(|(id, ..)| id == "2.3").unwrap();
    assert_eq!(holed.3, [OsdId(0), OsdId(5)]);
}

#[test]
fn a_full_dump_tells_epochs_and_counts_and_a_brief_one_does_not() {
    for (release, text) in releases!("pg-dump.json") {
        let dump = PgDump::read(release, text.as_bytes()).unwrap();
        assert!(!dump.is_brief(), "{release}");
        let old = matches!(release, "hammer" | "jewel");
        assert_eq!(dump.last_osdmap_epoch, old.then_some(120), "{release}: managers leave it at 0");
        for pg in &dump.pgs {
            assert_eq!(pg.reported_epoch, Some(120), "{release}: it is text");
            assert!(pg.counts.is_some(), "{release}");
            assert_eq!(pg.complete.is_some(), matches!(release, "nautilus" | "octopus"), "{release}");
        }
        let holed = dump.pgs.iter().find(|pg| pg.id.to_string() == "2.3").unwrap();
        assert_eq!(holed.counts.unwrap().degraded, 10, "{release}");
        if let Some(complete) = &holed.complete {
            assert_eq!(complete, &[OsdId(0), OsdId(5)], "{release}: shards are cut off");
        }
    }
    for (release, text) in releases!("pg-brief.json") {
        let dump = PgDump::read(release, text.as_bytes()).unwrap();
        assert!(dump.is_brief(), "{release}");
        assert!(dump.pgs.iter().all(|pg| pg.counts.is_none() && pg.complete.is_none()), "{release}");
    }
}

#[test]
fn every_release_prints_the_same_map_of_osds() {
    for (release, text) in releases!("osd-dump.json") {
        let dump = OsdDump::read(release, text.as_bytes()).unwrap();
        assert_eq!(dump.epoch, 120);
        assert!(dump.flags.contains("noscrub"), "{release}: {:?}", dump.flags);
        let old = matches!(release, "hammer" | "jewel");
        assert_eq!(dump.require_osd_release.as_deref(), (!old).then_some(release));
        let rules: Vec<_> = dump.pools.values().map(|pool| pool.rule).collect();
        assert_eq!(rules, [Some(0), Some(1), Some(0)], "{release}: crush_rule or crush_ruleset");
        let archive = dump.pool("archive").unwrap();
        assert!(
            matches!(&archive.kind, PoolKind::Erasure(Some(code)) if (code.k, code.m) == (2, 1)),
            "{release}"
        );
        assert_eq!((archive.size, archive.min_size, archive.pg_num), (Some(3), Some(2), Some(4)));
        assert_eq!(dump.pool("3").unwrap().name, "scratch", "a number is a name too");
        for (id, osd) in &dump.osds {
            assert_eq!((osd.up, osd.placed, osd.up_from), (Some(true), Some(true), Some(100 + id.0)));
            assert_eq!(osd.address.unwrap().to_string(), format!("10.0.0.{}", 1 + id.0 / 2), "{release}");
        }
        // Bit 57: the daemon's last boot was as Jewel or later.
        let jewel = dump.osds[&OsdId(0)].features.unwrap() >> 57 & 1 == 1;
        assert_eq!(jewel, release != "hammer", "{release}");
    }
}

#[test]
fn trees_quorums_and_healths_of_every_release() {
    for (release, text) in releases!("osd-tree.json") {
        let tree = OsdTree::read(release, text.as_bytes()).unwrap();
        let drawn: Vec<u32> = tree.leaves.iter().map(|leaf| leaf.osd.0).collect();
        assert_eq!(drawn, [0, 1, 2, 3, 4, 5], "{release}");
        let above: Vec<&str> = tree.leaves[2].above.iter().map(|bucket| bucket.kind.as_str()).collect();
        assert_eq!((above, tree.leaves[2].above[0].name.as_str()), (vec!["host", "root"], "beta"));
    }
    for (release, text) in releases!("quorum-status.json") {
        let status = QuorumStatus::read(release, text.as_bytes()).unwrap();
        assert_eq!(status.in_quorum.len(), 3, "{release}");
        assert_eq!(status.mons["beta"].unwrap().to_string(), "10.0.0.2", "{release}");
    }
    for (file, texts) in [("status", releases!("status.json")), ("health", releases!("health.json"))] {
        for (release, text) in texts {
            let health = Health::read(release, text.as_bytes()).unwrap();
            assert_eq!(health.level, "HEALTH_WARN", "{release} {file}");
            assert_eq!(health.reasons.len(), 2, "{release} {file}: {health:?}");
            assert_eq!(health.reasons[0].text, "noscrub flag(s) set", "{release} {file}");
            assert_eq!(health.reasons[0].muted, release == "octopus");
            let check = (!matches!(release, "hammer" | "jewel")).then_some("OSDMAP_FLAGS");
            assert_eq!(health.reasons[0].check.as_deref(), check, "{release} {file}");
        }
    }
}

/// Jewel lists every flag of the map, once one is set that is a reason to complain.
#[test]
fn a_reason_is_known_by_its_code_or_by_its_text_whatever_its_numbers_and_flags() {
    let said = |text: &str| HealthReason {
        check: None,
        level: "HEALTH_WARN".to_owned(),
        text: text.to_owned(),
        muted: false,
    };
    let flags = "noout,noscrub,nodeep-scrub flag(s) set";
    for one in ["noscrub", "noin,noout,noscrub,nodeep-scrub,sortbitwise,require_jewel_osds"] {
        assert!(said(&format!("{one} flag(s) set")).is(flags), "{one}");
        assert!(!said(&format!("{one} flag(s) set")).is("# requests are blocked > # sec"), "{one}");
    }
    for one in ["full,noout", "nearfull,noout", "pauserd,pausewr"] {
        assert!(!said(&format!("{one} flag(s) set")).is(flags), "{one}");
    }
    assert!(said("123 requests are blocked > 32 sec").is("# requests are blocked > # sec"));
    assert!(!said("123 pgs stuck unclean").is("# requests are blocked > # sec"));
    let coded = HealthReason { check: Some("OSDMAP_FLAGS".to_owned()), ..said(flags) };
    assert!(coded.is("OSDMAP_FLAGS") && !coded.is(flags));
}

#[test]
fn what_real_clusters_printed_is_read() {
    let hammer = PgDump::read("f", include_bytes!("testdata/recorded/hammer-pg-dump.json")).unwrap();
    assert_eq!(plain(&hammer.pgs[0]).0, "0.17d");
    assert_eq!((hammer.pgs[0].reported_epoch, hammer.pgs[0].counts), (Some(340), None));
    let luminous = OsdDump::read("f", include_bytes!("testdata/recorded/luminous-osd-dump.json")).unwrap();
    assert_eq!((luminous.epoch, luminous.osds.len()), (19, 2));
    assert_eq!(luminous.osds[&OsdId(1)].address.unwrap().to_string(), "10.5.0.5");
    let nautilus =
        OsdDump::read("f", include_bytes!("testdata/recorded/nautilus-dev-osd-dump.json")).unwrap();
    assert_eq!(nautilus.pools[&PoolId(1)].min_size, Some(1));
    assert_eq!(nautilus.osds[&OsdId(0)].address.unwrap().to_string(), "127.0.0.1");
    // `overall_status` is made up; the checks are not.
    let health = Health::read("f", include_bytes!("testdata/recorded/luminous-status.json")).unwrap();
    let checks: Vec<_> = health.reasons.iter().map(|reason| reason.check.as_deref().unwrap()).collect();
    assert_eq!(checks, ["PG_AVAILABILITY", "PG_DEGRADED", "POOL_APP_NOT_ENABLED"]);
}

#[test]
fn metadata_of_one_osd_or_of_all_and_versions() {
    let one =
        r#"{"id": 3, "ceph_version": "ceph version 0.94.10 (b1e0532418e4631af01acbc0cedd426f1905f4af)"}"#;
    let all = read_osd_metadata("f", one.as_bytes()).unwrap();
    assert!(all[&OsdId(3)].version.as_deref().unwrap().starts_with("ceph version 0.94.10"));
    let many = r#"[{"id": 0, "hostname": "alpha"}, {"id": "1"}]"#;
    assert_eq!(read_osd_metadata("f", many.as_bytes()).unwrap()[&OsdId(0)].host.as_deref(), Some("alpha"));
    let versions = r#"{"mon": {"ceph version 14.2.22 nautilus (stable)": 3}, "osd": {}}"#;
    assert_eq!(read_versions("f", versions.as_bytes()).unwrap()["mon"].values().sum::<u32>(), 3);
    assert!(read_versions("f", b"{}").is_err());
}

#[test]
fn a_mistake_is_told_with_file_place_and_remedy() {
    let pg = |text: &str| PgDump::read("pg.json", text.as_bytes()).unwrap_err();
    let osd = |text: &str| OsdDump::read("osd.json", text.as_bytes()).unwrap_err();
    let mon = |text: &str| QuorumStatus::read("mon.json", text.as_bytes()).unwrap_err();
    let tree = |text: &str| OsdTree::read("tree.json", text.as_bytes()).unwrap_err();
    for (error, code, told) in [
        (pg("Error EPERM"), codes::CEPH_NOT_JSON, "`pg.json`: there is no JSON in it"),
        (pg("[{\"pgid\": \"1.0\",\n\"up\": 3}]"), codes::CEPH_NOT_JSON, "`pg.json`:2:7: invalid type"),
        (pg("[{\"pgid\": \"1.0\"}"), codes::CEPH_NOT_JSON, "it ends in the middle"),
        (pg("[{\"pgid\": \"1.0\", \"acting\": [-7]}]"), codes::CEPH_NOT_JSON, "-7 is not an OSD"),
        (pg("[{\"pgid\": \"one\"}]"), codes::CEPH_NOT_JSON, "`one` is not a placement group"),
        (pg("{\"epoch\": 1}"), codes::CEPH_OTHER_DOCUMENT, "no `pg_stats`"),
        (pg("{\"pg_ready\": false, \"pg_stats\": []}"), codes::CEPH_NOT_READY, "wait a minute"),
        (pg("[{}]"), codes::CEPH_FIELD, "`.[0].pgid`"),
        (pg("{\"pg_map\": {\"pg_stats\": [{}]}}"), codes::CEPH_FIELD, "`pg_map.pg_stats[0].pgid`"),
        (pg("{\"pg_stats\": [], \"pg_map\": {\"pg_stats\": []}}"), codes::CEPH_FIELD, "there twice"),
        (pg("[{\"pgid\": \"1.0\"}, {\"pgid\": \"1.0\"}]"), codes::CEPH_FIELD, "the group 1.0 is there twice"),
        (osd("[]"), codes::CEPH_NOT_JSON, "`osd.json`:1:"),
        (osd("{\"pg_stats\": []}"), codes::CEPH_OTHER_DOCUMENT, "ceph osd dump"),
        (osd("{\"pools\": [], \"osds\": []}"), codes::CEPH_FIELD, "`epoch`"),
        (osd("{\"epoch\": 1, \"pools\": [{}], \"osds\": []}"), codes::CEPH_FIELD, "`pools[0].pool`"),
        (
            osd("{\"epoch\": 1, \"pools\": [], \"osds\": [{\"osd\": 1}, {\"osd\": \"1\"}]}"),
            codes::CEPH_FIELD,
            "osd.1 is there twice",
        ),
        (mon("{}"), codes::CEPH_OTHER_DOCUMENT, "quorum_status"),
        (
            mon("{\"quorum_names\": [\"a\"], \"monmap\": {\"mons\": []}}"),
            codes::CEPH_FIELD,
            "mon.a is in quorum and not in the map",
        ),
        (tree("{}"), codes::CEPH_OTHER_DOCUMENT, "osd tree"),
    ] {
        let text = error.to_string();
        assert_eq!(error.code, code, "{text}");
        assert!(text.starts_with(code) && text.contains(told), "{text}");
        assert!(!error.remedy.is_empty(), "{text}");
    }
}

#[test]
fn contradictions_are_cannot_tell_and_not_guessed() {
    let text = r#"{"epoch": 1, "pools": [
        {"pool": 1, "type": 1, "size": 3, "min_size": 2, "pg_num": 1, "crush_rule": 1, "crush_ruleset": 2},
        {"pool": 2, "type": 3, "size": 6, "min_size": 5, "pg_num": 1, "erasure_code_profile": "gone"},
        {"pool": 3, "type": 9}],
      "osds": [
        {"osd": 0, "up": 1, "in": 1, "state": ["exists"]},
        {"osd": 1, "in": 1},
        {"osd": 2, "up": 0, "in": 0, "state": ["destroyed", "exists"], "public_addr": ":/0"}]}"#;
    let dump = OsdDump::read("f", text.as_bytes()).unwrap();
    assert_eq!(dump.pools[&PoolId(1)].rule, None);
    assert_eq!(dump.pools[&PoolId(2)].kind, PoolKind::Erasure(None));
    assert_eq!((&dump.pools[&PoolId(3)].kind, dump.pools[&PoolId(3)].size), (&PoolKind::Unknown, None));
    let up: Vec<Option<bool>> = dump.osds.values().map(|osd| osd.up).collect();
    assert_eq!(up, [None, None, Some(false)]);
    assert!(dump.osds[&OsdId(2)].destroyed && dump.osds[&OsdId(2)].address.is_none());
    // Nothing can be told, so nothing may stop.
    let pgs = PgDump::read("f", br#"[{"pgid": "1.0", "state": "active+clean", "up": [0], "acting": [0]}]"#);
    let pgs = pgs.unwrap();
    let objections =
        Redundancy::new(&dump, &pgs, &BTreeSet::new()).objections_anywhere(&BTreeSet::from([OsdId(2)]));
    assert!(!objections.is_empty() && objections.iter().all(|objection| !objection.certain()));
    assert!(PgState::new("active+clean").has(Word::Active));
}

#[test]
fn a_shadow_tree_and_an_osd_under_two_roots_are_read_once() {
    let text = r#"{"nodes": [
        {"id": -1, "name": "default", "type": "root", "children": [-2]},
        {"id": -2, "name": "alpha", "type": "host", "children": [0]},
        {"id": 0, "name": "osd.0", "type": "osd"},
        {"id": -11, "name": "default~ssd", "type": "root", "children": [-12]},
        {"id": -12, "name": "alpha~ssd", "type": "host", "children": [0]},
        {"id": -21, "name": "fast", "type": "root", "children": [0, 1]},
        {"id": 0, "name": "osd.0", "type": "osd"},
        {"id": 1, "name": "osd.1", "type": "osd"}],
      "stray": [{"id": 2, "name": "osd.2", "type": "osd", "status": "destroyed"}]}"#;
    let tree = OsdTree::read("f", text.as_bytes()).unwrap();
    let leaves: Vec<_> = tree.leaves.iter().map(|leaf| (leaf.osd.0, leaf.above[0].name.as_str())).collect();
    assert_eq!(leaves, [(0, "alpha"), (1, "fast")]);
    assert_eq!(tree.stray, BTreeSet::from([OsdId(2)]));
    let circle = r#"{"nodes": [{"id": -1, "name": "r", "type": "root", "children": [-2]},
        {"id": -2, "name": "x", "type": "rack", "children": [-3]}, {"id": -3, "name": "y", "type": "rack", "children": [-2]}]}"#;
    assert!(OsdTree::read("f", circle.as_bytes()).unwrap_err().to_string().contains("contains itself"));
}

#[test]
fn every_release_prints_the_same_mds() {
    for (release, text) in releases!("mds-map.json") {
        let map = MdsMap::read(release, text.as_bytes()).unwrap();
        let [home] = &map.filesystems[..] else { panic!("{release}: {map:?}") };
        assert_eq!((home.name.as_str(), home.max_mds, &home.ranks), ("home", 1, &[0].into()), "{release}");
        assert_eq!(home.holders, [("alpha".to_owned(), 0)].into(), "{release}");
        assert_eq!(home.states["alpha"], "up:active", "{release}");
        // Who has not been heard of stands by for nobody.
        assert_eq!(map.standing_by, ["beta".to_owned()].into(), "{release}");
    }
}

/// Written after FSMap::dump and MDSMap::dump of src/mds at v0.94.10, v12.2.4 and v16.2.0.
#[test]
fn file_systems_tell_who_holds_a_rank_and_who_follows_one() {
    let mds = |name: &str, rank: i32, state: &str| {
        format!(r#"{{"gid": 1, "name": "{name}", "rank": {rank}, "state": "{state}"}}"#)
    };
    let map_text = |name: &str, max: u32, ranks: &str, flags: u32, info: &str| {
        format!(
            r#"{{"epoch": 9, "flags": {flags}, {name} "max_mds": {max}, "in": [{ranks}], "up": {{}}, "info": {{{info}}}}}"#
        )
    };
    let one = map_text(
        r#""fs_name": "home","#,
        2,
        "0,1",
        32,
        &format!(
            r#""gid_1": {}, "gid_2": {}, "gid_3": {}"#,
            mds("a", 0, "up:active"),
            mds("b", 1, "up:rejoin"),
            mds("c", 0, "up:standby-replay")
        ),
    );
    let dump = format!(
        "dumped fsmap epoch 9\n{{\"epoch\": 9, \"standbys\": [{}], \"filesystems\": [{{\"mdsmap\": {one}, \"id\": 1}}]}}",
        mds("d", -1, "up:standby")
    );
    let map = MdsMap::read("fs", dump.as_bytes()).unwrap();
    let [home] = &map.filesystems[..] else { panic!("{map:?}") };
    assert_eq!((home.name.as_str(), home.max_mds, home.ranks.len(), home.may_follow), ("home", 2, 2, true));
    let holders: Vec<(&str, u32)> = home.holders.iter().map(|(name, rank)| (name.as_str(), *rank)).collect();
    assert_eq!(holders, [("a", 0), ("b", 1)]);
    assert!(home.following.contains("c") && home.following.len() == 1);
    assert_eq!((home.follows["c"], home.states["b"].as_str()), (0, "up:rejoin"));
    assert_eq!(map.standing_by, ["d".to_owned()].into());
    // Hammer has one map, and lists those that stand by in it.
    let hammer = map_text(
        "",
        1,
        "0",
        0,
        &format!(r#""gid_1": {}, "gid_2": {}"#, mds("a", 0, "up:active"), mds("b", -1, "up:standby")),
    );
    let map = MdsMap::read("mds", hammer.as_bytes()).unwrap();
    let all = &map.filesystems;
    assert_eq!(all[0].holders.keys().collect::<Vec<_>>(), ["a"]);
    assert!(all[0].following.is_empty() && !all[0].may_follow);
    assert_eq!(map.standing_by, ["b".to_owned()].into());
    // A cluster for block devices alone has a map without ranks, or none.
    let none = map_text("", 1, "", 0, "");
    assert_eq!(MdsMap::read("mds", none.as_bytes()).unwrap(), MdsMap::default());
    assert_eq!(MdsMap::read("fs", br#"{"filesystems": []}"#).unwrap(), MdsMap::default());
    assert_eq!(MdsMap::read("fs", br#"{"epoch": 1}"#).unwrap_err().code, codes::CEPH_OTHER_DOCUMENT);
}
