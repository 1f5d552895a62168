//! The plan that gives daemons' files to the user ceph: the whole text, what stands in its way, and that lint finds what is broken.

use crate::cluster::{HAMMER, Kind, Machine, Pool, world};
use crate::support::{World, version};
use replank_common::action::Action;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::{CephBehindFact, CephUser};
use replank_common::finding::Severity;
use replank_core::fleet_file;
use replank_core::gate::Gate;
use replank_core::lint::{lint, show_notes};
use replank_core::plan::{Need, Plan, Undo, Work, preflight, show, show_findings};

const TOML: &str = include_str!("../fixtures/ceph-ownership.toml");
const JEWEL: Kind = Kind { running: "10.2.10", package: "2:10.2.10-0.el7", ..HAMMER };

fn jewel() -> World {
    let machines: Vec<Machine> = (1..=3)
        .map(|n| Machine::new(&format!("ceph{n}"), &format!("rack{n}"), 2 * (n - 1)..2 * n).with(true, false))
        .collect();
    let pools = [Pool { name: "volumes", size: 3, min_size: 2, pgs: 32 }];
    let mut world = world(TOML, &machines, &pools, JEWEL);
    for name in ["ceph1", "ceph2", "ceph3"] {
        let ceph = world.facts(name).ceph.as_mut().unwrap();
        ceph.ceph_user = Some(CephUser { uid: 167, gid: 167 });
        for section in ["mon", "osd"] {
            let path = "/var/lib/ceph/$type/$cluster-$id".to_owned();
            ceph.config.insert(format!("{section}/setuser_match_path"), path);
        }
    }
    world
}

fn switches(plan: &Plan) -> Vec<&str> {
    let switch = |work: &Work| matches!(work, Work::Act(Action::CephOwn(own)) if own.switch.is_some());
    plan.steps.iter().filter(|step| switch(&step.work)).map(|step| step.id.as_str()).collect()
}

#[track_caller]
fn clean(plan: &Plan) {
    let notes = lint(plan);
    assert!(notes.is_empty(), "{}", show_notes(&notes));
}

/// As the facts show a daemon whose files have changed their owner.
fn give(world: &mut World, name: &str, of: impl Fn(&CephDaemon) -> bool) {
    for fact in &mut world.facts(name).ceph.as_mut().unwrap().daemons {
        if of(&fact.daemon) {
            (fact.data_owner, fact.runs_as) = (Some((167, 167)), Some(167));
        }
    }
}

#[test]
fn a_plan_for_three_hosts_that_run_as_root() {
    let plan = jewel().plan();
    clean(&plan);
    insta::assert_snapshot!(show(&plan));
    let order = ["ceph1.own-mon-ceph1", "ceph1.own-osd-0", "ceph1.own-osd-1", "ceph2.own-mon-ceph2"];
    assert_eq!(switches(&plan)[..4], order);
    assert!(plan.steps.iter().all(|step| matches!(step.undo, Undo::Record | Undo::Nothing)));
    assert!(plan.points_of_no_return.is_empty());
}

#[test]
fn what_is_the_ceph_users_already_is_left_alone_and_the_row_goes_with_the_last_daemon() {
    let mut world = jewel();
    give(&mut world, "ceph1", |_| true);
    give(&mut world, "ceph2", |daemon| daemon.kind == CephKind::Mon);
    let plan = world.plan();
    clean(&plan);
    assert_eq!(
        switches(&plan),
        ["ceph2.own-osd-2", "ceph2.own-osd-3", "ceph3.own-mon-ceph3", "ceph3.own-osd-4", "ceph3.own-osd-5"]
    );
    for name in ["ceph2", "ceph3"] {
        give(&mut world, name, |_| true);
    }
    let plan = world.plan();
    clean(&plan);
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["ceph1", "ceph2", "ceph3"].map(|host| format!("{host}.drop-setuser-match-path")));
    for name in ["ceph1", "ceph2", "ceph3"] {
        world.facts(name).ceph.as_mut().unwrap().config.clear();
    }
    let plan = world.plan();
    clean(&plan);
    assert_eq!((plan.steps.len(), plan.holds.len()), (0, 0));
}

/// What a switch takes grows with the files, and with the rate that the operator allows; the deadline with it.
#[test]
fn what_a_pass_takes_is_told_by_the_files_and_the_rate() {
    let expected = |world: &World, id: &str| {
        let plan = world.plan();
        let step = plan.steps.iter().find(|step| step.id.as_str() == id).unwrap();
        (step.expected_ms, step.deadline_ms)
    };
    let mut world = jewel();
    osd(&mut world).files = Some(900_000);
    let (ahead, day) = (expected(&world, "ceph2.own-ahead-osd-2"), 86_400_000);
    // 900,000 at 500 a second, twice.
    assert_eq!(ahead, (3_600_000, day));
    let (switch, _) = expected(&world, "ceph2.own-osd-2");
    assert_eq!(switch, 3_600_000 + 60_000 + 60_000 + 15_000);
    osd(&mut world).files = Some(9_000_000);
    let slow = TOML.replace("files_per_second = 2000", "files_per_second = 100");
    world.fleet = fleet_file::parse("f.toml", &slow).unwrap();
    assert_eq!(expected(&world, "ceph2.own-ahead-osd-2"), (180_000_000, 540_000_000));
    osd(&mut world).object_store = Some("bluestore".to_owned());
    assert_eq!(expected(&world, "ceph2.own-ahead-osd-2"), (2_000, day));
}

type Change = fn(&mut World);

fn osd(world: &mut World) -> &mut replank_common::facts::CephDaemonFact {
    world
        .facts("ceph2")
        .ceph
        .as_mut()
        .unwrap()
        .daemons
        .iter_mut()
        .find(|fact| fact.daemon == CephDaemon::osd(2))
        .unwrap()
}

fn device(given_at_boot: bool) -> CephBehindFact {
    let path = "/dev/sdc1".into();
    CephBehindFact {
        link: "journal".to_owned(),
        path,
        owner: (0, 6),
        device: true,
        serves: false,
        given_at_boot,
    }
}

#[test]
fn each_trap_is_found_and_blocks() {
    let cases: &[(&str, Change)] = &[
        ("RP2041", |world| world.inventory.ceph = None),
        ("RP2045", |world| osd(world).running = None),
        ("RP2075", |world| osd(world).running = Some(version("0.94.10"))),
        ("RP2076", |world| osd(world).installed = Some(version("12.2.4"))),
        ("RP2077", |world| {
            drop(world.facts("ceph2").ceph.as_mut().unwrap().config.remove("osd/setuser_match_path"))
        }),
        ("RP2078", |world| osd(world).behind.push(device(false))),
        ("RP2057", |world| world.facts("ceph2").ceph.as_mut().unwrap().ceph_user = None),
        ("RP2057", |world| {
            world.facts("ceph2").ceph.as_mut().unwrap().ceph_user = Some(CephUser { uid: 1000, gid: 1000 })
        }),
        ("RP2046", |world| {
            let map = &mut world.inventory.ceph.as_mut().unwrap().cluster.osds;
            map.osds.get_mut(&replank_ceph::OsdId(5)).unwrap().up = Some(false);
        }),
        ("RP2047", |world| {
            let pgs = &mut world.inventory.ceph.as_mut().unwrap().cluster.pgs;
            pgs.pgs[3].state = Some(replank_ceph::documents::PgState::new("active+degraded"));
        }),
    ];
    for (code, change) in cases {
        let mut world = jewel();
        change(&mut world);
        let findings = preflight(&world.fleet, &world.inventory, &world.catalog);
        let blocks: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Blocks)
            .map(|finding| finding.code.as_str())
            .collect();
        assert!(blocks.contains(code), "{code}: {blocks:?}");
        assert!(world.try_plan().is_err(), "{code}");
    }
    let mut world = jewel();
    osd(&mut world).behind.push(device(true));
    clean(&world.plan());
}

/// A gateway's type is `client`, and its data is not below a directory of that name.
#[test]
fn a_gateway_is_matched_in_its_own_section_and_by_its_own_directory() {
    let mut world = jewel();
    let mut fact = osd(&mut world).clone();
    fact.daemon = "rgw.radosgw.gw".parse().unwrap();
    world.facts("ceph2").ceph.as_mut().unwrap().daemons.push(fact);
    let told = show_findings(&preflight(&world.fleet, &world.inventory, &world.catalog));
    let line = "`setuser match path = /var/lib/ceph/radosgw/$cluster-$id` into [client.radosgw.gw]";
    assert!(told.contains("RP2077") && told.contains(line), "{told}");
    let config = &mut world.facts("ceph2").ceph.as_mut().unwrap().config;
    let key = "client.radosgw.gw/setuser_match_path".to_owned();
    config.insert(key, "/var/lib/ceph/radosgw/$cluster-$id".to_owned());
    clean(&world.plan());
}

#[test]
fn the_fleet_file_has_one_goal_and_names_no_release() {
    let mistake = |text: &str| fleet_file::parse("f.toml", text).unwrap_err().to_string();
    let with_hop =
        TOML.replace("name = \"harbour-ownership\"", "name = \"x\"\nhops = [\"el7-ceph-0.94-to-10.2\"]");
    assert!(mistake(&with_hop).contains("leaves every daemon on its release"), "{}", mistake(&with_hop));
    let two = format!("{TOML}\n[ceph]\nversion = \"10.2.10\"\n");
    assert!(mistake(&two).contains("a change of owner is a plan of its own"), "{}", mistake(&two));
    let stranger = TOML.replace("admin = [\"ceph1\"]", "admin = [\"ceph9\"]");
    assert!(mistake(&stranger).contains("ceph-ownership.admin"), "{}", mistake(&stranger));
    let never = TOML.replace("down_seconds = 120", "down_seconds = 0");
    assert!(mistake(&never).contains("ceph-ownership.down_seconds"), "{}", mistake(&never));
}

/// One change to a sound plan, and the code that lint answers with.
#[test]
fn lint_finds_what_would_stop_two_or_blindly() {
    fn at<'p>(plan: &'p mut Plan, id: &str) -> &'p mut replank_core::plan::Step {
        plan.steps.iter_mut().find(|step| step.id.as_str() == id).unwrap()
    }
    type Break = fn(&mut Plan);
    let cases: &[(&str, Break)] = &[
        ("RP2124", |plan| {
            at(plan, "ceph1.own-osd-0").before.retain(|gate| !matches!(gate, Gate::OsdsMayStop { .. }))
        }),
        ("RP2124", |plan| {
            at(plan, "ceph1.own-osd-0").after.retain(|gate| !matches!(gate, Gate::OsdsSettled { .. }))
        }),
        ("RP2124", |plan| {
            at(plan, "ceph2.own-mon-ceph2").after.retain(|gate| !matches!(gate, Gate::MonsInQuorum { .. }))
        }),
        ("RP2125", |plan| {
            let host = "ceph2.";
            at(plan, "ceph2.own-mon-ceph2")
                .needs
                .retain(|need| matches!(need, Need::Step(id) if id.as_str().starts_with(host)));
        }),
        ("RP2126", |plan| {
            let row = plan
                .steps
                .iter()
                .position(|step| step.id.as_str() == "ceph1.drop-setuser-match-path")
                .unwrap();
            let work = plan.steps[row].work.clone();
            let before =
                plan.steps.iter().position(|step| step.id.as_str() == "ceph1.own-ahead-osd-0").unwrap();
            plan.steps[before].work = work;
        }),
        ("RP2116", |plan| at(plan, "ceph1.own-osd-0").undo = Undo::Nothing),
    ];
    for (code, change) in cases {
        let mut plan = jewel().plan();
        change(&mut plan);
        let notes = lint(&plan);
        assert!(notes.iter().any(|note| note.code == *code), "{code}: {}", show_notes(&notes));
    }
}
