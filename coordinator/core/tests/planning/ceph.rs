//! Voyages over clusters: whole plans as people read them, what half a voyage leaves to do, and that lint finds what is broken.

use crate::cluster::{Machine, NAUTILUS, Pool, finish, hammer, nautilus, world};
use crate::support::{CEPH_TOML, World, host};
use proptest::prelude::*;
use replank_ceph::documents::FileSystem;
use replank_common::action::Action;
use replank_common::ceph::{CephKind, Requirement};
use replank_common::finding::Severity;
use replank_core::gate::Gate;
use replank_core::lint::{lint, show_notes};
use replank_core::plan::{Need, Plan, Step, Undo, Work, preflight, show, show_findings};
use std::collections::BTreeSet;

fn cluster(world: &mut World) -> &mut replank_ceph::seen::Cluster {
    &mut world.inventory.ceph.as_mut().unwrap().cluster
}

#[track_caller]
fn clean(plan: &Plan) {
    let notes = lint(plan);
    assert!(notes.is_empty(), "{}", show_notes(&notes));
}

/// Ids of the steps that restart, in the plan's order.
fn restarts(plan: &Plan) -> Vec<&str> {
    let restart = |work: &Work| matches!(work, Work::Act(Action::CephRestart(_)));
    plan.steps.iter().filter(|step| restart(&step.work)).map(|step| step.id.as_str()).collect()
}

#[test]
fn a_plan_for_the_shape_of_the_lab() {
    let plan = nautilus().plan();
    clean(&plan);
    insta::assert_snapshot!(show(&plan));
}

#[test]
fn a_plan_for_forty_hosts_of_hammer() {
    let plan = hammer().plan();
    clean(&plan);
    insta::assert_snapshot!(show(&plan));
    // The last Hammer MON stays until the first OSDs are judged.
    let order = restarts(&plan);
    let at = |id: &str| order.iter().position(|other| *other == id).unwrap();
    assert!(at("mon2.restart-mon") < at("osd01.restart-osds"));
    assert!(at("osd01.restart-osds") < at("mon3.restart-mon"));
    assert!(at("mon3.restart-mon") < at("osd02.restart-osds"));
    let points: Vec<&str> = plan.points_of_no_return.iter().map(|point| point.step.as_str()).collect();
    assert!(points.contains(&"mon1.sortbitwise") && points.contains(&"mon1.require-jewel-osds"));
}

/// P7: releases before Luminous list all flags of the map in one text, his and those that every map has.
#[test]
fn a_flag_that_the_operator_has_set_keeps_no_plan_from_hammer() {
    let with = |flags: &str| {
        let mut world = hammer();
        cluster(&mut world).osds.flags.insert("noout".to_owned());
        cluster(&mut world).health.reasons.push(replank_ceph::documents::HealthReason {
            check: None,
            level: "HEALTH_WARN".to_owned(),
            text: format!("{flags} flag(s) set"),
            muted: false,
        });
        world.try_plan()
    };
    assert!(with("noout,sortbitwise").is_ok());
    let refused = with("full,noout").unwrap_err().to_string();
    assert!(refused.contains("RP2056") && refused.contains("full,noout flag(s) set"), "{refused}");
}

#[test]
fn half_a_voyage_is_finished_by_planning_again() {
    let mut world = nautilus();
    for name in ["ceph1", "ceph2"] {
        finish(&mut world, name, &[CephKind::Mon, CephKind::Mgr]);
    }
    finish(&mut world, "ceph1", &CephKind::ALL);
    let plan = world.plan();
    clean(&plan);
    assert_eq!(
        restarts(&plan),
        ["ceph3.restart-mon", "ceph3.restart-mgr", "ceph2.restart-osds", "ceph3.restart-osds"]
    );
    insta::assert_snapshot!(show(&plan));
}

#[test]
fn when_every_daemon_is_new_only_what_is_required_is_left_and_then_nothing() {
    let mut world = nautilus();
    for name in ["ceph1", "ceph2", "ceph3"] {
        finish(&mut world, name, &CephKind::ALL);
    }
    let plan = world.plan();
    clean(&plan);
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["ceph1.look-at-osds", "ceph1.require-osd-release-pacific"]);
    cluster(&mut world).osds.require_osd_release = Some("pacific".to_owned());
    let plan = world.plan();
    clean(&plan);
    assert_eq!((plan.steps.len(), plan.holds.len(), plan.points_of_no_return.len()), (0, 0, 0));
}

#[test]
fn what_may_go_is_told_to_the_hosts_that_fetch() {
    let mut world = nautilus();
    goal(&mut world).removals.insert("libssl3".to_owned());
    let plan = world.plan();
    clean(&plan);
    let stages: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &*step.work {
            Work::Act(Action::PackagesStage(stage)) => Some(&stage.removals),
            _ => None,
        })
        .collect();
    assert_eq!(stages, vec![&["libssl3".to_owned()]; 3]);
}

#[test]
fn everything_that_stands_in_the_way_is_told_at_once() {
    let mut world = hammer();
    let map = &mut cluster(&mut world).osds;
    map.osds.get_mut(&replank_ceph::OsdId(7)).unwrap().up = Some(false);
    map.flags.insert("norebalance".to_owned());
    let pool = map.pools.get_mut(&replank_ceph::PoolId(2)).unwrap();
    (pool.size, pool.min_size) = (Some(2), Some(1));
    let seen = cluster(&mut world);
    seen.pgs.pgs[3].state = Some(replank_ceph::documents::PgState::new("active+degraded"));
    seen.osd_used_permille.insert(replank_ceph::OsdId(9), 871);
    seen.time_skew_ms.insert("mon2".to_owned(), 130);
    seen.quorum.in_quorum.remove("mon3");
    let ceph = world.facts("osd05").ceph.as_mut().unwrap();
    ceph.selinux = Some("enforcing".to_owned());
    ceph.daemons[0].running = Some(crate::support::version("0.94.3"));
    ceph.daemons[1].fs_type = Some("ext4".to_owned());
    ceph.daemons[2].object_store = Some("keyvaluestore".to_owned());
    ceph.short_hostname = "node05".to_owned();
    ceph.ceph_user = Some(replank_common::facts::CephUser { uid: 1001, gid: 1001 });
    let findings = preflight(&world.fleet, &world.inventory, &world.catalog);
    assert!(world.try_plan().is_err());
    insta::assert_snapshot!(show_findings(&findings));
}

type Change = fn(&mut World);

/// Three MDS, of which the first serves a file system, and the file system.
fn home(world: &mut World) -> &mut FileSystem {
    for name in ["ceph1", "ceph2", "ceph3"] {
        let ceph = world.facts(name).ceph.as_mut().unwrap();
        ceph.daemons.push(crate::cluster::daemon(CephKind::Mds, name, NAUTILUS));
    }
    let one = FileSystem {
        name: "home".to_owned(),
        max_mds: 1,
        ranks: [0].into(),
        holders: [("ceph1".to_owned(), 0)].into(),
        states: [("ceph1".to_owned(), "up:active".to_owned())].into(),
        following: BTreeSet::new(),
        follows: [].into(),
        may_follow: false,
        closes_sessions_after_s: None,
    };
    let all = &mut cluster(world).filesystems;
    *all = Some(vec![one]);
    &mut all.as_mut().unwrap()[0]
}

/// An MDS that nobody stands by for is restarted all the same, and people are told whose clients wait.
#[test]
fn the_only_mds_of_a_file_system_is_restarted_and_its_clients_are_told_to_wait() {
    let mut world = nautilus();
    home(&mut world);
    for name in ["ceph2", "ceph3"] {
        world.facts(name).ceph.as_mut().unwrap().daemons.retain(|fact| fact.daemon.kind != CephKind::Mds);
    }
    let plan = world.plan();
    clean(&plan);
    let step = plan.steps.iter().find(|step| step.id.as_str() == "ceph1.restart-mds").unwrap();
    assert!(step.before.contains(&Gate::MdsMayStop {
        mds: vec!["ceph1".to_owned()],
        alone: true,
        via: host("ceph1")
    }));
    let told = show_findings(&plan.findings);
    assert!(told.contains("file system home") && told.contains("no MDS stands by"), "{told}");
}

#[test]
fn mds_and_gateways_restart_one_at_a_time_and_the_holder_of_a_rank_comes_last() {
    let mut world = nautilus();
    home(&mut world);
    for id in ["a", "b"] {
        let gateway = crate::cluster::daemon(CephKind::Rgw, id, NAUTILUS);
        world.facts("ceph2").ceph.as_mut().unwrap().daemons.push(gateway);
    }
    let plan = world.plan();
    clean(&plan);
    let order: Vec<&str> = restarts(&plan)
        .into_iter()
        .filter(|id| id.contains("restart-mds") || id.contains("restart-rgw"))
        .collect();
    assert_eq!(
        order,
        [
            "ceph2.restart-mds",
            "ceph3.restart-mds",
            "ceph1.restart-mds",
            "ceph2.restart-rgw",
            "ceph2.restart-rgw-2"
        ]
    );
    for step in plan.steps.iter().filter(|step| order.contains(&step.id.as_str())) {
        let Work::Act(Action::CephRestart(of)) = &*step.work else { panic!("{}", step.id) };
        assert_eq!(of.daemons.len(), 1, "{}", step.id);
    }
    let mds = |name: &str| vec![name.to_owned()];
    for name in ["ceph1", "ceph2", "ceph3"] {
        let step = plan.steps.iter().find(|step| step.id.as_str() == format!("{name}.restart-mds")).unwrap();
        assert!(
            step.before.contains(&Gate::MdsMayStop { mds: mds(name), alone: false, via: host("ceph1") }),
            "{name}"
        );
        assert!(step.after.contains(&Gate::MdsBack { mds: mds(name), via: host("ceph1") }), "{name}");
    }
    for change in [
        |step: &mut Step| step.before.clear(),
        |step: &mut Step| step.after.retain(|gate| !matches!(gate, Gate::MdsBack { .. })),
    ] {
        let mut plan = plan.clone();
        change(plan.steps.iter_mut().find(|step| step.id.as_str() == "ceph2.restart-mds").unwrap());
        assert!(lint(&plan).iter().any(|note| note.code == "RP2124"));
    }
    // Each waits for the one before it, wherever that is.
    for pair in order.windows(2) {
        let later = plan.steps.iter().find(|step| step.id.as_str() == pair[1]).unwrap();
        assert!(
            later.needs.iter().any(|need| matches!(need, Need::Step(id) if id.as_str() == pair[0])),
            "{pair:?}"
        );
    }
}

/// The fixture was committed before anything here knew of Ceph, and stays as it is.
#[test]
fn an_inventory_from_before_ceph_is_read_and_tells_nothing_of_a_cluster() {
    let old = std::str::from_utf8(crate::support::DEBIAN_JSON).unwrap();
    assert!(!old.contains("\"ceph\""), "an older inventory has no such field");
    let inventory = replank_core::inventory::Inventory::from_bytes(old.as_bytes()).unwrap();
    assert!(inventory.ceph.is_none() && inventory.hosts.values().all(|facts| facts.ceph.is_none()));
    let world = nautilus();
    let findings = preflight(&world.fleet, &inventory, &world.catalog);
    assert!(findings.iter().any(|finding| finding.code == "RP2041"), "{}", show_findings(&findings));
}

/// One change to a cluster that is well, and the code that must block.
#[test]
fn each_trap_is_found_and_blocks() {
    let nautilus_cases: &[(&str, Change)] = &[
        ("RP2041", |world| world.inventory.ceph = None),
        ("RP2041", |world| world.facts("ceph2").ceph = None),
        ("RP2041", |world| {
            cluster(world).errors.insert("pg dump".to_owned(), "timed out".to_owned());
        }),
        ("RP2040", |world| world.fleet.hops.push("debian-12-qemu-7.2-to-10.0.2".to_owned())),
        ("RP2042", |world| set_version(world, "16.2.5")),
        ("RP2003", |world| set_version(world, "17.2.0")),
        ("RP2043", |world| running(world, "ceph2", "15.2.17")),
        ("RP2044", |world| drop(world.facts("ceph2").ceph.as_mut().unwrap().daemons.pop())),
        ("RP2045", |world| {
            let fact = &mut world.facts("ceph2").ceph.as_mut().unwrap().daemons[0];
            (fact.pid, fact.running) = (None, None);
        }),
        ("RP2046", |world| {
            cluster(world).osds.osds.get_mut(&replank_ceph::OsdId(1)).unwrap().up = Some(false);
        }),
        ("RP2047", |world| {
            cluster(world).pgs.pgs[0].state = Some(replank_ceph::documents::PgState::new("peering"));
        }),
        ("RP2048", |world| pool(world, 1, 1)),
        ("RP2048", |world| pool(world, 2, 1)),
        ("RP2049", |world| pool(world, 3, 3)),
        ("RP2051", |world| {
            let _ = cluster(world).osd_used_permille.insert(replank_ceph::OsdId(1), 850);
        }),
        ("RP2052", |world| {
            let _ = cluster(world).time_skew_ms.insert("ceph2".to_owned(), 51);
        }),
        ("RP2053", |world| {
            let _ = cluster(world).quorum.in_quorum.remove("ceph3");
        }),
        ("RP2054", |world| {
            let _ = cluster(world).osds.flags.remove("purged_snapdirs");
        }),
        ("RP2055", |world| {
            let _ = cluster(world).osds.flags.insert("nodown".to_owned());
        }),
        ("RP2056", |world| {
            cluster(world).health.reasons.push(replank_ceph::documents::HealthReason {
                check: Some("MON_DISK_LOW".to_owned()),
                level: "HEALTH_WARN".to_owned(),
                text: "mon ceph1 is low on available space".to_owned(),
                muted: false,
            });
        }),
        ("RP2079", |world| {
            let ceph = world.facts("ceph2").ceph.as_mut().unwrap();
            ceph.other_clusters.insert("/var/lib/ceph/osd/backup-9".into(), "backup".to_owned());
        }),
        ("RP2068", |world| {
            home(world).states.insert("ceph1".to_owned(), "up:replay".to_owned());
        }),
        ("RP2071", |world| home(world).max_mds = 2),
        ("RP2071", |world| {
            home(world).ranks.insert(1);
        }),
        ("RP2071", |world| home(world).may_follow = true),
        ("RP2071", |world| {
            home(world).following.insert("ceph2".to_owned());
        }),
        ("RP2070", |world| goal(world).consent.extend(["nothing".to_owned()])),
        ("RP2004", |world| goal(world).packages.retain(|pin| pin.name != "ceph-osd")),
        ("RP2012", |world| world.facts("ceph2").os.version_id = "9".to_owned()),
    ];
    let hammer_cases: &[(&str, Change)] = &[
        ("RP2042", |world| running(world, "osd03", "0.94.3")),
        ("RP2042", |world| running(world, "osd03", "0.94.4")),
        ("RP2042", |world| set_version(world, "10.2.4")),
        ("RP2057", |world| {
            let user = replank_common::facts::CephUser { uid: 1001, gid: 1001 };
            world.facts("osd03").ceph.as_mut().unwrap().ceph_user = Some(user);
        }),
        ("RP2058", |world| {
            world.facts("osd03").ceph.as_mut().unwrap().daemons[0].fs_type = Some("ext4".to_owned());
            let gateway = crate::cluster::daemon(CephKind::Rgw, "gw", crate::cluster::HAMMER);
            world.facts("mon1").ceph.as_mut().unwrap().daemons.push(gateway);
        }),
        ("RP2059", |world| {
            world.facts("osd03").ceph.as_mut().unwrap().selinux = Some("enforcing".to_owned());
        }),
        ("RP2011", |world| world.facts("osd03").ceph.as_mut().unwrap().selinux = None),
        ("RP2063", |world| {
            let ceph = world.facts("mon1").ceph.as_mut().unwrap();
            ceph.config.insert("global/setuser_match_path".to_owned(), "/var/lib/ceph".to_owned());
            ceph.daemons.push(crate::cluster::daemon(CephKind::Rgw, "gw", crate::cluster::HAMMER));
        }),
        ("RP2072", |world| gateway(world, "gw").data_owner = Some((48, 48))),
        ("RP2072", |world| gateway(world, "radosgw.gw").data_owner = None),
        // In [client] it is of other programs too, whose path is another one.
        ("RP2072", |world| {
            gateway(world, "gw");
            let ceph = world.facts("mon1").ceph.as_mut().unwrap();
            ceph.config.insert("client/setuser_match_path".to_owned(), "/var/lib/ceph".to_owned());
        }),
        ("RP2072", |world| {
            gateway(world, "gw");
            let ceph = world.facts("mon1").ceph.as_mut().unwrap();
            let of_another = "/var/lib/ceph/radosgw/ceph-gw".to_owned();
            ceph.config.insert("client.rgw.gw/setuser_match_path".to_owned(), of_another);
        }),
        ("RP2011", |world| {
            let fact = "whose /var/lib/ceph/radosgw/ceph-gw is".to_owned();
            let why = "no daemon is called so".to_owned();
            world.facts("mon1").errors.push(replank_common::facts::FactError { fact, why });
        }),
        ("RP2064", |world| {
            let ceph = world.facts("osd03").ceph.as_mut().unwrap();
            ceph.ceph_user = Some(replank_common::facts::CephUser { uid: 167, gid: 167 });
            ceph.daemons[0].data_owner = Some((167, 167));
            ceph.daemons[0].journal_owner = Some((0, 6));
        }),
        ("RP2065", |world| {
            let stores = &mut world.facts("osd03").ceph.as_mut().unwrap().daemons;
            stores[0].object_store = Some("keyvaluestore-dev".to_owned());
        }),
    ];
    type Case<'c> = (fn() -> World, &'c [(&'c str, Change)]);
    let all: [Case<'_>; 2] = [(nautilus, nautilus_cases), (hammer, hammer_cases)];
    for (make, cases) in all {
        for (index, (code, change)) in cases.iter().enumerate() {
            let mut world = make();
            change(&mut world);
            let findings = preflight(&world.fleet, &world.inventory, &world.catalog);
            let found =
                findings.iter().any(|finding| finding.code == *code && finding.severity == Severity::Blocks);
            assert!(found, "case {index}: no blocking {code} in\n{}", show_findings(&findings));
            assert!(world.try_plan().is_err());
        }
    }
}

/// What the plan takes care of by itself, and what it only says.
#[test]
fn each_trap_that_does_not_block_is_said() {
    let cases: &[(&str, Change)] = &[
        ("RP2058", |world| {
            world.facts("osd03").ceph.as_mut().unwrap().daemons[0].fs_type = Some("ext4".to_owned());
        }),
        ("RP2059", |world| {
            world.facts("osd03").ceph.as_mut().unwrap().selinux = Some("permissive".to_owned());
        }),
        ("RP2060", |_| {}),
        ("RP2061", |world| {
            cluster(world).tunables.insert("profile".to_owned(), "argonaut".to_owned());
        }),
        ("RP2062", |world| {
            world.facts("osd03").ceph.as_mut().unwrap().short_hostname = "node3".to_owned();
        }),
        ("RP2069", |_| {}),
        ("RP2055", |world| {
            let _ = cluster(world).osds.flags.insert("noout".to_owned());
        }),
    ];
    for (code, change) in cases {
        let mut world = hammer();
        change(&mut world);
        let plan = world.plan();
        clean(&plan);
        assert!(plan.findings.iter().any(|finding| finding.code == *code), "{code}");
    }
}

/// One more gateway of Hammer, on mon1.
fn gateway<'w>(world: &'w mut World, id: &str) -> &'w mut replank_common::facts::CephDaemonFact {
    let daemons = &mut world.facts("mon1").ceph.as_mut().unwrap().daemons;
    daemons.push(crate::cluster::daemon(CephKind::Rgw, id, crate::cluster::HAMMER));
    daemons.last_mut().unwrap()
}

#[test]
fn the_gateways_of_hammer_get_the_units_that_bear_their_names() {
    let mut world = hammer();
    gateway(&mut world, "zone").data_owner = Some((167, 167));
    gateway(&mut world, "radosgw.gw");
    let ceph = world.facts("mon1").ceph.as_mut().unwrap();
    let key = "client.radosgw.gw/setuser_match_path".to_owned();
    ceph.config.insert(key, "/var/lib/ceph/radosgw/$cluster-$id".to_owned());
    let plan = world.plan();
    clean(&plan);
    let enabled = |step: &Step| match &*step.work {
        Work::Act(Action::UnitEnable(of)) if of.unit.contains("radosgw") => Some(of.unit.clone()),
        _ => None,
    };
    let mut units: Vec<String> = plan.steps.iter().filter_map(enabled).collect();
    units.sort();
    assert_eq!(
        units,
        ["ceph-radosgw.target", "ceph-radosgw@radosgw.gw.service", "ceph-radosgw@rgw.zone.service"]
    );
    assert_eq!(restarts(&plan).iter().filter(|id| id.contains("restart-rgw")).count(), 2);
}

fn goal(world: &mut World) -> &mut replank_core::fleet_file::CephTarget {
    match &mut world.fleet.goal {
        replank_core::fleet_file::Goal::Ceph(goal) => goal,
        replank_core::fleet_file::Goal::Guests(_) | replank_core::fleet_file::Goal::CephOwnership(_) => {
            panic!("no voyage of Ceph")
        }
    }
}

fn set_version(world: &mut World, text: &str) {
    goal(world).version = crate::support::version(text);
}

fn running(world: &mut World, name: &str, text: &str) {
    world.facts(name).ceph.as_mut().unwrap().daemons[0].running = Some(crate::support::version(text));
}

fn pool(world: &mut World, size: u32, min_size: u32) {
    let pool = cluster(world).osds.pools.get_mut(&replank_ceph::PoolId(1)).unwrap();
    (pool.size, pool.min_size) = (Some(size), Some(min_size));
}

#[test]
fn a_pool_of_two_copies_goes_with_consent() {
    let machines: Vec<Machine> = (1..=3)
        .map(|n| Machine::new(&format!("ceph{n}"), &format!("rack{n}"), 2 * (n - 1)..2 * n).with(true, true))
        .collect();
    let pools = [Pool { name: "thin", size: 2, min_size: 1, pgs: 16 }];
    let mut refused = world(CEPH_TOML, &machines, &pools, NAUTILUS);
    assert!(refused.try_plan().is_err());
    goal(&mut refused).consent.insert("thin".to_owned());
    let plan = refused.plan();
    clean(&plan);
    assert!(plan.summary.iter().any(|line| line.contains("thin")));
}

type Break = fn(&mut Plan);

fn restart<'p>(plan: &'p mut Plan, id: &str) -> (&'p mut replank_core::plan::Step, usize) {
    let at =
        plan.steps.iter().position(|step| step.id.as_str() == id).unwrap_or_else(|| panic!("no step {id}"));
    (&mut plan.steps[at], at)
}

fn act<'p>(plan: &'p mut Plan, id: &str) -> &'p mut replank_common::action::CephRestart {
    match std::sync::Arc::make_mut(&mut restart(plan, id).0.work) {
        Work::Act(Action::CephRestart(restart)) => restart,
        other => panic!("{other:?}"),
    }
}

const BREAKS: &[(&str, &str, Break)] = &[
    ("OSDs stop unasked", "RP2124", |plan| restart(plan, "ceph2.restart-osds").0.before.clear()),
    ("nobody waits for clean groups", "RP2124", |plan| restart(plan, "ceph2.restart-osds").0.after.clear()),
    ("a MON stops unasked", "RP2124", |plan| restart(plan, "ceph2.restart-mon").0.before.clear()),
    ("nobody waits for the MON", "RP2124", |plan| restart(plan, "ceph2.restart-mon").0.after.truncate(1)),
    ("two waves at once", "RP2125", |plan| {
        let own: Vec<Need> = restart(plan, "ceph2.restart-osds").0.needs.clone();
        let step = restart(plan, "ceph3.restart-osds").0;
        step.needs.truncate(1);
        step.needs.extend(own.into_iter().skip(1));
    }),
    ("an OSD twice", "RP2125", |plan| {
        let daemons = act(plan, "ceph2.restart-osds").daemons.clone();
        act(plan, "ceph3.restart-osds").daemons = daemons;
    }),
    ("a neighbour that is none", "RP2125", |plan| act(plan, "ceph2.restart-osds").beside.push(5)),
    ("a requirement unguarded", "RP2127", |plan| {
        restart(plan, "ceph1.require-osd-release-pacific").0.before.clear();
    }),
    ("a requirement that nobody checks", "RP2127", |plan| {
        restart(plan, "ceph1.require-osd-release-pacific").0.after.clear();
    }),
    ("a requirement that is no point of no return", "RP2127", |plan| {
        plan.points_of_no_return.retain(|point| !point.step.as_str().contains("require"));
    }),
    ("another requirement than is seen", "RP2127", |plan| {
        if let Work::Act(Action::CephRequire(require)) =
            std::sync::Arc::make_mut(&mut restart(plan, "ceph1.require-osd-release-pacific").0.work)
        {
            require.what = Requirement::RequireOsdRelease { release: "reef".to_owned() };
        }
    }),
    ("noout left out", "RP2128", |plan| {
        if let Work::Act(Action::CephFlags(flags)) =
            std::sync::Arc::make_mut(&mut restart(plan, "ceph1.borrow-flags").0.work)
        {
            flags.flags.remove(0);
        }
    }),
    ("flags that are not given back", "RP2107", |plan| {
        restart(plan, "ceph1.give-back-borrow-flags").0.work = Work::Observe.into();
    }),
    ("a restart that could be taken back", "RP2116", |plan| {
        restart(plan, "ceph2.restart-osds").0.undo = Undo::Nothing;
    }),
];

#[test]
fn lint_tells_every_broken_promise_of_a_cluster() {
    let whole = nautilus().plan();
    for (what, code, change) in BREAKS {
        let mut plan = whole.clone();
        change(&mut plan);
        assert_ne!(plan, whole, "{what}");
        let notes = lint(&plan);
        assert!(notes.iter().any(|note| note.code == *code), "{what}: {}", show_notes(&notes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the cluster's shape: the plan is clean, and every OSD is restarted once.
    #[test]
    fn plans_of_random_clusters_are_clean_and_pass_every_osd_once(
        racks in 3..7u32, hosts in 1..4u32, osds in 1..4u32, pgs in 8..96u32, colocated in any::<bool>(), pace in 1..6u32, done in 0..4usize,
    ) {
        let mut machines = Vec::new();
        let mut next = 0;
        for rack in 0..racks {
            for number in 0..hosts {
                let name = format!("r{rack}h{number}");
                let mon = colocated && number == 0 && rack < 3;
                machines.push(Machine::new(&name, &format!("rack{rack}"), next..next + osds).with(mon, mon));
                next += osds;
            }
        }
        if !colocated {
            machines.extend((0..3).map(|n| Machine::new(&format!("mon{n}"), "", 0..0).with(true, true)));
        }
        let at = CEPH_TOML.find("[[host]]").unwrap();
        let first = machines.iter().find(|machine| machine.mon).unwrap().name.clone();
        let mut fleet = CEPH_TOML[..at]
            .replace("[\"ceph1\", \"ceph2\"]", &format!("[\"{first}\"]"))
            .replace("[pace]", &format!("[pace]\nparallel_hosts = {pace}"));
        for machine in &machines {
            let mut roles = Vec::new();
            if machine.mon { roles.push("\"ceph-mon\", \"ceph-mgr\""); }
            if !machine.osds.is_empty() { roles.push("\"ceph-osd\""); }
            fleet.push_str(&format!("[[host]]\nname = \"{}\"\nroles = [{}]\n", machine.name, roles.join(", ")));
        }
        let pools = [Pool { name: "volumes", size: 3, min_size: 2, pgs }];
        let mut world = world(&fleet, &machines, &pools, NAUTILUS);
        let mut expected: BTreeSet<u32> = (0..next).collect();
        for machine in machines.iter().filter(|machine| !machine.osds.is_empty()).take(done) {
            finish(&mut world, &machine.name, &CephKind::ALL);
            expected.retain(|osd| !machine.osds.contains(osd));
        }
        let plan = world.plan();
        let notes = lint(&plan);
        prop_assert!(notes.is_empty(), "{}", show_notes(&notes));
        let mut seen = Vec::new();
        for step in &plan.steps {
            if let Work::Act(Action::CephRestart(restart)) = &*step.work {
                seen.extend(restart.daemons.iter().filter_map(|daemon| daemon.osd_number()));
                let hosts = 1 + restart.beside.len().div_ceil(osds as usize);
                prop_assert!(hosts <= pace as usize, "{} hosts at a pace of {pace}", hosts);
            }
        }
        prop_assert_eq!(seen.len(), expected.len());
        prop_assert_eq!(seen.into_iter().collect::<BTreeSet<u32>>(), expected);
        prop_assert_eq!(world.plan(), plan);
    }
}
