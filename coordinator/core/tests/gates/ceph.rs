//! Gates on a Ceph cluster: what passes, what waits, and whether the reason names what an operator must know.

use crate::cluster::{Cluster, host, said, via};
use replank_ceph::seen::{Seen, Settle};
use replank_common::ceph::{CephDaemon, Requirement};
use replank_common::reading::{CephDaemonSeen, ReadingValue};
use replank_common::version::Version;
use replank_core::gate::{Gate, LinkSeen, Observed, Watched, judge};
use serde_json::json;
use std::fmt::Write;

fn may_stop(osds: &[u32]) -> Gate {
    Gate::OsdsMayStop { osds: osds.to_vec(), mons: Vec::new(), consents: Vec::new(), via: via() }
}

fn settled(osds: &[u32]) -> Gate {
    Gate::OsdsSettled { osds: osds.to_vec(), version: Version::new("16.2.15"), via: via() }
}

/// Each case, and what is said of it.
fn table<'a>(cases: impl IntoIterator<Item = (&'a str, String)>) -> String {
    cases.into_iter().fold(String::new(), |mut text, (case, said)| {
        writeln!(text, "{case}\n    {said}").unwrap();
        text
    })
}

#[test]
fn osds_may_stop_only_while_every_group_keeps_its_copies() {
    let well = Cluster::new;
    let missing =
        json!({ "num_objects_degraded": 4, "num_objects_missing_on_primary": 0, "num_objects_unfound": 0 });
    let with_mons = |osds: &[u32], mons: &[&str]| Gate::OsdsMayStop {
        osds: osds.to_vec(),
        mons: mons.iter().map(|mon| (*mon).to_owned()).collect(),
        consents: vec!["thin".to_owned()],
        via: via(),
    };
    let told = table([
        ("one OSD of a healthy cluster", well().says(&may_stop(&[0]))),
        ("two that share groups", well().says(&may_stop(&[0, 1]))),
        ("one of a pool with two copies", well().says(&may_stop(&[3]))),
        ("the same with consent", well().says(&with_mons(&[3], &[]))),
        ("consent to a pool that is not there", well().says(&Gate::OsdsMayStop {
            osds: vec![3],
            mons: vec![],
            consents: vec!["thick".to_owned()],
            via: via(),
        })),
        (
            "a copy that misses objects",
            well()
                .pg(0, json!({ "state": "active+recovering+degraded", "stat_sum": missing, "avail_no_missing": ["1", "2"] }))
                .says(&may_stop(&[1])),
        ),
        (
            "nobody tells who misses objects",
            well().pg(0, json!({ "state": "active+recovering+degraded", "stat_sum": missing })).says(&may_stop(&[1])),
        ),
        (
            "a group whose data moves, all copies complete",
            well()
                .pg(0, json!({ "state": "active+remapped+backfilling", "up": [0, 1, 3], "avail_no_missing": ["0", "1", "2"] }))
                .says(&may_stop(&[0])),
        ),
        ("a group that peers", well().pg(0, json!({ "state": "peering" })).says(&may_stop(&[0]))),
        ("a group that nobody reports", well().pg(0, json!({ "state": "stale+active+clean" })).says(&may_stop(&[0]))),
        ("a group elsewhere that peers", well().pg(2, json!({ "state": "peering" })).says(&may_stop(&[0]))),
        ("a state of a later release", well().pg(0, json!({ "state": "active+becalmed" })).says(&may_stop(&[0]))),
        ("a group that nobody knows", well().pg(2, json!({ "state": "unknown", "up": [], "acting": [] })).says(&may_stop(&[0]))),
        (
            "a report from before a member came up",
            well().osd(1, json!({ "up_from": 119 })).says(&may_stop(&[0])),
        ),
        (
            "an OSD that is down elsewhere",
            well().osd(3, json!({ "up": 0, "state": ["exists"] })).says(&may_stop(&[0])),
        ),
        (
            "an OSD that is down elsewhere and out",
            well().osd(3, json!({ "up": 0, "in": 0, "state": ["exists"] })).says(&may_stop(&[0])),
        ),
        (
            "an OSD of the set that is down already",
            well().osd(0, json!({ "up": 0, "state": ["exists"] })).pg(0, json!({ "acting": [1, 2], "state": "active+undersized+degraded", "avail_no_missing": ["1", "2"] })).says(&may_stop(&[0])),
        ),
        ("an OSD that is not in the map", well().says(&may_stop(&[7]))),
        ("a MON beside the OSD, one of three out", well().in_quorum(&["a", "b"]).says(&may_stop(&[0]))),
        ("MONs of two machines", well().says(&with_mons(&[3], &["a", "b"]))),
        ("a MON that is not in the map", well().says(&with_mons(&[], &["z"]))),
        ("a pool that is being split", well().map(json!({ "pools": [{ "pool": 1, "pool_name": "rbd", "type": 1, "size": 3, "min_size": 2, "pg_num": 4 }] })).says(&may_stop(&[0]))),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn osds_have_settled_when_two_looks_miss_nothing() {
    let well = Cluster::new;
    let looks = |first: &Cluster, last: &Cluster, after_ms: u64| {
        let looks = vec![first.look(0, &[1]), last.look(after_ms, &[1])];
        said(&settled(&[1]), ReadingValue::Ceph(Seen::Settle(Settle { looks }).to_text()))
    };
    let unclean = well().pg(0, json!({ "state": "active+undersized+degraded" }));
    let told = table([
        ("back and clean", well().says(&settled(&[1]))),
        (
            "no look",
            said(&settled(&[1]), ReadingValue::Ceph(Seen::Settle(Settle { looks: vec![] }).to_text())),
        ),
        ("two looks too close", looks(&well(), &well(), 4_999)),
        ("the first look missed something", looks(&unclean, &well(), 5_000)),
        ("down", well().osd(1, json!({ "up": 0, "state": ["exists"] })).says(&settled(&[1]))),
        ("not stopped yet", well().booted(1, "14.2.21").says(&settled(&[1]))),
        ("no version said", well().booted(1, "x").says(&settled(&[1]))),
        (
            "clean by a report from before the restart",
            well().osd(1, json!({ "up_from": 119 })).says(&settled(&[1])),
        ),
        ("degraded", unclean.says(&settled(&[1]))),
        (
            "clean, and serving from elsewhere",
            well().pg(0, json!({ "acting": [0, 2, 3] })).says(&settled(&[1])),
        ),
        (
            "clean and remapped",
            well().pg(0, json!({ "state": "active+clean+remapped" })).says(&settled(&[1])),
        ),
        ("being scrubbed", well().pg(0, json!({ "state": "active+clean+scrubbing" })).says(&settled(&[1]))),
        (
            "a word of a later release",
            well().pg(0, json!({ "state": "active+clean+becalmed" })).says(&settled(&[1])),
        ),
        ("a group of others is not clean", well().pg(2, json!({ "state": "peering" })).says(&settled(&[1]))),
        (
            "many groups",
            well()
                .pg(0, json!({ "state": "peering" }))
                .pg(1, json!({ "state": "peering" }))
                .pg(2, json!({ "state": "peering" }))
                .pg(3, json!({ "state": "peering" }))
                .says(&settled(&[2, 3])),
        ),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn the_other_conditions_of_a_cluster() {
    let well = Cluster::new;
    let mons = |mons: &[&str]| Gate::MonsInQuorum {
        mons: mons.iter().map(|m| (*m).to_owned()).collect(),
        via: via(),
    };
    let may = |mds: &[&str]| Gate::MdsMayStop {
        mds: mds.iter().map(|m| (*m).to_owned()).collect(),
        alone: false,
        via: via(),
    };
    let alone = |mds: &str| Gate::MdsMayStop { mds: vec![mds.to_owned()], alone: true, via: via() };
    let back =
        |mds: &[&str]| Gate::MdsBack { mds: mds.iter().map(|m| (*m).to_owned()).collect(), via: via() };
    let known = |allowed: &[&str]| Gate::CephHealthKnown {
        allowed: allowed.iter().map(|reason| (*reason).to_owned()).collect(),
        via: via(),
    };
    let check = |text: &str, muted: bool| json!({ "severity": "HEALTH_WARN", "summary": { "message": text }, "muted": muted });
    let pacific = |muted| json!({ "status": "HEALTH_ERR", "checks": { "OSDMAP_FLAGS": check("noout flag(s) set", false), "OSD_NEARFULL": check("1 nearfull osd(s)", muted) } });
    let jewel = json!({ "overall_status": "HEALTH_WARN", "summary": [
        { "severity": "HEALTH_WARN", "summary": "23 requests are blocked > 32 sec" }, { "severity": "HEALTH_WARN", "summary": "noout flag(s) set" }] });
    let only_flags = |flags: &str| json!({ "overall_status": "HEALTH_WARN", "summary": [{ "severity": "HEALTH_WARN", "summary": format!("{flags} flag(s) set") }] });
    let flags = |flags: &str| {
        well().healthy(only_flags(flags)).says(&known(&["noout,noscrub,nodeep-scrub flag(s) set"]))
    };
    let every = || Gate::EveryOsdIs { version: Version::new("16.2.15"), via: via() };
    let required = |what: Requirement| Gate::Required { what, via: via() };
    let release = |release: &str| required(Requirement::RequireOsdRelease { release: release.to_owned() });
    let told = table([
        ("in quorum", well().says(&mons(&["a"]))),
        ("out of quorum", well().in_quorum(&["b", "c"]).says(&mons(&["a", "b"]))),
        ("an MDS may stop", well().says(&may(&["a"]))),
        ("a manager left its session", well().manager_left("x").says(&may(&["a"]))),
        ("which is not asked for when another stops", well().manager_left("x").says(&may(&["b"]))),
        ("and not when one is to be back", well().manager_left("x").says(&back(&["a"]))),
        ("nobody would take its rank over", well().nobody_stands_by().says(&may(&["a"]))),
        ("nobody is asked to", well().nobody_stands_by().says(&alone("a"))),
        ("who comes back to it waits too", well().nobody_stands_by().manager_left("x").says(&alone("a"))),
        ("a rank is not served", well().serving(json!({ "state": "up:reconnect" })).says(&may(&["b"]))),
        ("an MDS is back", well().says(&back(&["b"]))),
        ("an MDS is not back", well().nobody_stands_by().says(&back(&["b"]))),
        ("nothing to complain of", well().says(&known(&[]))),
        (
            "an error that is expected, beside one that is muted",
            well().healthy(pacific(true)).says(&known(&["OSDMAP_FLAGS"])),
        ),
        ("an unexpected check", well().healthy(pacific(false)).says(&known(&["OSDMAP_FLAGS"]))),
        (
            "texts, with another number",
            well()
                .healthy(jewel.clone())
                .says(&known(&["noout flag(s) set", "# requests are blocked > # sec"])),
        ),
        (
            "a text that is not expected",
            well().healthy(jewel).says(&known(&["noout,noscrub flag(s) set", "1 pgs stuck unclean"])),
        ),
        (
            "flags as Jewel lists them, with others of the map",
            flags("noout,nodeep-scrub,sortbitwise,require_jewel_osds"),
        ),
        ("flags with which clients wait", flags("pauserd,pausewr,noout,noscrub,nodeep-scrub")),
        (
            "flags that are not expected",
            well().healthy(only_flags("noout")).says(&known(&["# pgs stuck unclean"])),
        ),
        ("no scrub", well().says(&Gate::NoScrub { via: via() })),
        (
            "a scrub",
            well()
                .pg(1, json!({ "state": "active+clean+scrubbing+deep" }))
                .says(&Gate::NoScrub { via: via() }),
        ),
        (
            "a group of which nobody knows",
            well().pg(1, json!({ "state": "unknown" })).says(&Gate::NoScrub { via: via() }),
        ),
        ("every OSD is", well().says(&every())),
        (
            "one that is down is not",
            well().osd(3, json!({ "up": 0, "state": ["exists"] })).booted(3, "14.2.21").says(&every()),
        ),
        (
            "one that was destroyed",
            well()
                .osd(3, json!({ "up": 0, "state": ["destroyed", "exists"] }))
                .booted(3, "14.2.21")
                .says(&every()),
        ),
        ("one of which nothing is known", well().booted(3, "?").says(&every())),
        ("a flag that is set", well().says(&required(Requirement::SortBitwise))),
        (
            "a flag that is not",
            well().map(json!({ "require_osd_release": null })).says(&required(Requirement::RequireJewelOsds)),
        ),
        ("a flag that a later release implies", well().says(&required(Requirement::RequireJewelOsds))),
        ("a release that a later one implies", well().says(&release("luminous"))),
        ("the release", well().says(&release("nautilus"))),
        ("another release", well().says(&release("pacific"))),
        (
            "before there were releases",
            well().map(json!({ "require_osd_release": null })).says(&release("luminous")),
        ),
        ("a MON without the second messenger", well().says(&required(Requirement::EnableMsgr2))),
        (
            "the answer to another question",
            said(&every(), ReadingValue::Ceph(Seen::Groups(Default::default()).to_text())),
        ),
        ("an answer that nobody can read", said(&every(), ReadingValue::Ceph("{\"tide\":1}".to_owned()))),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn daemons_are_judged_by_their_process() {
    let gate = Gate::CephDaemonsAre { daemons: vec![CephDaemon::osd(1)], version: Version::new("16.2.15") };
    let runs = CephDaemonSeen {
        daemon: CephDaemon::osd(1),
        unit: Some("ceph-osd@1.service".to_owned()),
        pid: Some(812),
        start_ticks: Some(99),
        running_version: Some(Version::new("16.2.15")),
        installed_version: Some(Version::new("16.2.15")),
        executable_deleted: false,
        detail: String::new(),
    };
    let says = |seen: CephDaemonSeen| said(&gate, ReadingValue::CephDaemons(vec![seen]));
    let told = table([
        ("runs", says(runs.clone())),
        (
            "runs the old version",
            says(CephDaemonSeen { running_version: Some(Version::new("14.2.21")), ..runs.clone() }),
        ),
        ("its program was replaced", says(CephDaemonSeen { executable_deleted: true, ..runs.clone() })),
        (
            "does not say",
            says(CephDaemonSeen {
                running_version: None,
                detail: "its admin socket does not answer".to_owned(),
                ..runs.clone()
            }),
        ),
        ("does not run", says(CephDaemonSeen { pid: None, ..runs.clone() })),
        ("is another's", says(CephDaemonSeen { daemon: CephDaemon::osd(2), ..runs })),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn who_cannot_be_heard_is_the_one_who_was_to_ask() {
    struct Cut;
    impl Observed for Cut {
        fn link(&self, _: &replank_common::ids::HostName) -> LinkSeen {
            LinkSeen::Down { since_ms: None }
        }
        fn reading(
            &self,
            _: &replank_common::ids::HostName,
            _: &replank_common::reading::ReadingRequest,
        ) -> Option<&replank_common::reading::Reading> {
            None
        }
        fn watched(&self, _: &replank_common::ids::HostName) -> Vec<Watched> {
            Vec::new()
        }
    }
    let said = judge(&may_stop(&[0]), &host(), &Cut).to_string();
    assert!(said.contains("ceph1"), "{said}");
}

#[test]
fn gates_say_what_they_are() {
    let gates = [
        may_stop(&[0]),
        Gate::OsdsMayStop {
            osds: (0..12).collect(),
            mons: vec!["a".to_owned()],
            consents: vec!["thin".to_owned()],
            via: via(),
        },
        settled(&[0, 1]),
        Gate::MonsInQuorum { mons: vec!["a".to_owned()], via: via() },
        Gate::MdsMayStop { mds: vec!["a".to_owned()], alone: false, via: via() },
        Gate::MdsMayStop { mds: vec!["a".to_owned()], alone: true, via: via() },
        Gate::MdsBack { mds: vec!["a".to_owned()], via: via() },
        Gate::CephDaemonsAre {
            daemons: vec![CephDaemon::osd(1), CephDaemon::osd(2)],
            version: Version::new("16.2.15"),
        },
        Gate::CephHealthKnown { allowed: vec!["OSDMAP_FLAGS".to_owned()], via: via() },
        Gate::CephHealthKnown { allowed: vec![], via: via() },
        Gate::NoScrub { via: via() },
        Gate::EveryOsdIs { version: Version::new("16.2.15"), via: via() },
        Gate::Required { what: Requirement::RequireOsdRelease { release: "pacific".to_owned() }, via: via() },
    ];
    let told = gates.map(|gate| gate.to_string()).join("\n");
    insta::assert_snapshot!(told);
}
