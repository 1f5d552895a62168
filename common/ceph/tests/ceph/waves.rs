//! Waves of known clusters. Random ones are in `property`.

use crate::world::{World, quorum};
use replank_ceph::OsdId;
use replank_ceph::documents::{OsdDump, OsdTree, QuorumStatus};
use replank_ceph::redundancy::{Consents, Objection, Redundancy};
use replank_ceph::waves::{Reason, WavePlan, plan_waves};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Racks of machines of OSDs, numbered through.
fn tree(racks: i64, machines: i64, osds: i64) -> OsdTree {
    let children = |first: i64, count: i64| (0..count).rev().map(|i| first + i).collect::<Vec<_>>();
    let mut nodes = vec![json!({ "id": -1, "name": "default", "type": "root",
        "children": (0..racks).rev().map(|rack| -10 - rack).collect::<Vec<_>>() })];
    for rack in 0..racks {
        let below: Vec<i64> = (0..machines).rev().map(|machine| -1000 - rack * machines - machine).collect();
        nodes.push(
            json!({ "id": -10 - rack, "name": format!("rack{rack}"), "type": "rack", "children": below }),
        );
        for machine in 0..machines {
            let number = rack * machines + machine;
            nodes.push(json!({ "id": -1000 - number, "name": format!("m{number}"), "type": "host",
                "children": children(number * osds, osds) }));
        }
    }
    nodes.extend((0..racks * machines * osds).map(|osd| json!({ "id": osd, "type": "osd" })));
    OsdTree::read("tree.json", json!({ "nodes": nodes }).to_string().as_bytes()).unwrap()
}

fn plan(world: &World, tree: Option<&OsdTree>, quorum: Option<&QuorumStatus>) -> WavePlan {
    let (osds, pgs) = world.read();
    let plan = plan_waves(&Redundancy::new(&osds, &pgs, &Consents::new()), &osds, tree, quorum, None);
    each_once(&osds, &plan);
    plan
}

fn each_once(osds: &OsdDump, plan: &WavePlan) {
    let mut all: Vec<OsdId> = plan.waves.iter().flat_map(|wave| &wave.osds).copied().collect();
    all.extend(&plan.stuck);
    all.extend(&plan.left_out);
    all.sort_unstable();
    assert_eq!(all, osds.osds.keys().copied().collect::<Vec<_>>(), "{plan:#?}");
}

fn units(plan: &WavePlan) -> Vec<String> {
    plan.waves.iter().map(|wave| wave.units.join(" ")).collect()
}

/// Every combination of one OSD of each of three racks of two machines with one OSD.
fn across_racks() -> World {
    let groups: Vec<[u32; 3]> =
        (0..8).map(|bits| [bits & 1, 2 + (bits >> 1 & 1), 4 + (bits >> 2 & 1)]).collect();
    let groups: Vec<&[u32]> = groups.iter().map(<[u32; 3]>::as_slice).collect();
    World::new(6).pool("rbd", "", 3, 2, &groups)
}

#[test]
fn machines_of_one_failure_domain_stop_together() {
    let plan = plan(&across_racks(), Some(&tree(3, 2, 1)), None);
    assert_eq!(units(&plan), ["rack0", "rack1", "rack2"]);
    assert_eq!(plan.lower_bound.waves, 3);
    assert!(matches!(&plan.lower_bound.reason, Reason::Pairs { units } if units.len() == 3));
}

#[test]
fn machines_are_mixed_where_that_saves_waves() {
    // Racks exclude each other pairwise, but of their machines only 0 and 2, 3 and 4, 1 and 5.
    let groups: &[&[u32]] = &[&[0, 2], &[3, 4], &[1, 5]];
    let world = World::new(6).pool("pair", "", 2, 1, groups);
    let (osds, pgs) = world.read();
    let consents = osds.pools.keys().copied().collect();
    let plan = plan_waves(&Redundancy::new(&osds, &pgs, &consents), &osds, Some(&tree(3, 2, 1)), None, None);
    assert_eq!(
        (units(&plan), plan.lower_bound.waves),
        (vec!["m0 m1 m3".to_owned(), "m2 m4 m5".to_owned()], 2)
    );
}

#[test]
fn roots_that_share_no_group_go_side_by_side() {
    let world = World::new(6).pool("disk", "", 3, 2, &[&[0, 1, 2]]).pool("flash", "", 3, 2, &[&[3, 4, 5]]);
    let plan = plan(&world, None, None);
    // Without a tree, machines are told apart by their addresses.
    assert_eq!(units(&plan), ["10.0.0.1 10.0.0.4", "10.0.0.2 10.0.0.5", "10.0.0.3 10.0.0.6"]);
    assert_eq!(plan.lower_bound.waves, 3);
}

#[test]
fn a_wide_code_lets_two_machines_go_at_once() {
    let eleven: Vec<u32> = (0..11).collect();
    let plan = plan(&World::new(11).pool("cold", "eight-three", 11, 9, &[&eleven]), None, None);
    assert_eq!((plan.waves.len(), plan.lower_bound.waves), (6, 6));
}

#[test]
fn a_machine_that_holds_a_group_twice_is_taken_apart() {
    // Two machines of three OSDs; the failure domain is the OSD.
    let world = World::new(6).pool("rbd", "", 3, 2, &[&[0, 1, 3], &[2, 4, 5]]);
    let plan = plan(&world, Some(&tree(1, 2, 3)), None);
    assert_eq!((plan.waves.len(), plan.lower_bound.waves), (3, 3));
    assert!(
        plan.waves.iter().all(|wave| wave.units.iter().all(|unit| unit.starts_with("osd."))),
        "{plan:#?}"
    );
}

#[test]
fn machines_with_mons_stop_one_at_a_time_and_not_at_all_without_a_spare_one() {
    let world = World::new(6).pool("disk", "", 3, 2, &[&[0, 1, 2]]).pool("flash", "", 3, 2, &[&[3, 4, 5]]);
    let mons = [("a", 1), ("b", 4), ("c", 9)];
    let with_all = plan(&world, None, Some(&quorum(&mons, &["a", "b", "c"])));
    assert_eq!(with_all.waves.len(), 3);
    assert!(with_all.waves.iter().all(|wave| wave.mons.len() <= 1), "{with_all:#?}");
    let without_c = plan(&world, None, Some(&quorum(&mons, &["a", "b"])));
    assert_eq!(without_c.stuck, [OsdId(0), OsdId(3)]);
    assert!(without_c.objections.iter().all(|objection| matches!(objection, Objection::MonQuorum { .. })));
}

#[test]
fn what_may_not_stop_alone_is_in_no_wave_and_a_dead_osd_stops_all() {
    let pair = World::new(5).pool("rbd", "", 3, 2, &[&[0, 1, 2]]).pool("pair", "", 2, 1, &[&[2, 3]]);
    let stuck = plan(&pair, None, None);
    assert_eq!(stuck.stuck, [OsdId(2), OsdId(3)]);
    assert_eq!(units(&stuck), ["10.0.0.1 10.0.0.5", "10.0.0.2"]);
    let down: Value = json!({ "up": 0, "state": ["exists"] });
    let vetoed = plan(&pair.clone().osd(4, down.clone()), None, None);
    assert!(vetoed.waves.is_empty() && matches!(vetoed.objections[..], [Objection::OsdDown { .. }]));
    let out = plan(&pair.osd(4, down).osd(4, json!({ "in": 0 })), None, None);
    assert_eq!(out.left_out, [OsdId(4)]);
    assert_eq!(out.waves.len(), 2);
}

#[test]
fn only_what_is_left_is_planned_again() {
    let (osds, pgs) = across_racks().read();
    let redundancy = Redundancy::new(&osds, &pgs, &Consents::new());
    let left = BTreeSet::from([OsdId(3), OsdId(4), OsdId(5)]);
    let plan = plan_waves(&redundancy, &osds, None, None, Some(&left));
    let waves: Vec<Vec<u32>> = plan.waves.iter().map(|w| w.osds.iter().map(|osd| osd.0).collect()).collect();
    assert_eq!(waves, [vec![4, 5], vec![3]]);
}
