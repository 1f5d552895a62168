//! When a wave that came back is behind us, and the races that look as if it were.

use crate::world::World;
use replank_ceph::documents::OsdDump;
use replank_ceph::settled::{Before, Unsettled, unsettled};
use replank_ceph::{OsdId, PgId};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// osd.1 had come up at 100 and was stopped; now it is up since 130.
fn after() -> (World, Before) {
    let world = World::new(4).pool("rbd", "", 3, 2, &[&[0, 1, 2], &[0, 2, 3]]);
    let mut world = world.osd(1, json!({ "up_from": 130 })).map(json!({ "epoch": 140 }));
    world.pgs["last_osdmap_epoch"] = json!(135);
    let groups: BTreeSet<PgId> = BTreeSet::from(["0.0".parse().unwrap()]);
    let before = Before { up_from: BTreeMap::from([(OsdId(1), 100)]), groups };
    (world.pg(0, json!({ "reported_epoch": "131" })), before)
}

fn waits(world: &World, before: &Before) -> Vec<Unsettled> {
    let (osds, pgs) = world.read();
    unsettled(before, &osds, &pgs)
}

#[test]
fn reported_since_the_boot_clean_and_in_place_is_settled() {
    let (world, before) = after();
    assert_eq!(waits(&world, &before), []);
    // A scrub is no work of ours; a group elsewhere is none of ours.
    let world =
        world.pg(0, json!({ "state": "active+clean+scrubbing" })).pg(1, json!({ "state": "peering" }));
    assert_eq!(waits(&world, &before), []);
}

#[test]
fn clean_from_before_the_restart_is_not_believed() {
    let (world, before) = after();
    let pg = "0.0".parse().unwrap();
    let old = world.clone().pg(0, json!({ "reported_epoch": "129" }));
    let expected = Unsettled::PgNotReported { pg, reported_epoch: Some(129), needed: 130 };
    assert_eq!(waits(&old, &before), [expected]);
    // A brief dump does not say when, so it never passes.
    let brief = world.clone().pg(0, json!({ "reported_epoch": null }));
    assert_eq!(waits(&brief, &before).len(), 1);
    // The map still has the life before.
    let unaware = world.clone().osd(1, json!({ "up_from": 100 }));
    let not_back = Unsettled::OsdNotBack { osd: OsdId(1), up_from: Some(100), before: 100 };
    assert_eq!(waits(&unaware, &before), [not_back]);
    let down = world.clone().osd(1, json!({ "up": 0, "state": ["exists"] }));
    assert_eq!(waits(&down, &before), [Unsettled::OsdDown { osd: OsdId(1) }]);
    let mut counted = world.clone();
    counted.pgs["last_osdmap_epoch"] = json!(129);
    assert_eq!(waits(&counted, &before), [Unsettled::PgMapOld { epoch: 129, needed: 130 }]);
    // A manager leaves that epoch at 0, which says nothing.
    counted.pgs["last_osdmap_epoch"] = json!(0);
    assert_eq!(waits(&counted, &before), []);
}

#[test]
fn a_group_whose_last_report_is_from_the_outage_and_a_member_short_may_be_the_waves() {
    let (world, before) = after();
    let before = Before { groups: BTreeSet::new(), ..before };
    let pg = "0.1".parse().unwrap();
    let short = |reported: &str| {
        let said = json!({ "state": "active+undersized+degraded", "up": [2, 3], "acting": [2, 3], "reported_epoch": reported });
        world.clone().pg(1, said)
    };
    let expected = Unsettled::PgNotReported { pg, reported_epoch: Some(129), needed: 130 };
    assert_eq!(waits(&short("129"), &before), [expected]);
    // Reported since the boot, it is short of another.
    assert_eq!(waits(&short("130"), &before), []);
    // Its pool was deleted meanwhile.
    let (osds, pgs) = short("129").read();
    let osds = OsdDump { pools: BTreeMap::new(), ..osds };
    assert_eq!(unsettled(&Before { groups: BTreeSet::new(), ..before }, &osds, &pgs), []);
}

#[test]
fn not_clean_not_in_place_or_gone_is_waited_for() {
    let (world, before) = after();
    for state in ["active+undersized+degraded", "active+clean+remapped", "active+clean+becalmed", "unknown"] {
        let unclean = world.clone().pg(0, json!({ "state": state }));
        assert!(matches!(waits(&unclean, &before)[..], [Unsettled::PgNotClean { .. }]), "{state}");
    }
    // The wave's OSD has left the group that it was in: clean elsewhere is not back.
    let elsewhere = world.clone().pg(0, json!({ "acting": [0, 2, 3] }));
    assert!(matches!(waits(&elsewhere, &before)[..], [Unsettled::PgElsewhere { .. }]));
    let mut gone = world.clone();
    gone.pgs["pg_stats"].as_array_mut().unwrap().remove(0);
    assert!(matches!(waits(&gone, &before)[..], [Unsettled::PgAbsent { .. }]));
    // Unless its pool was deleted meanwhile.
    assert_eq!(waits(&gone.map(json!({ "pools": [] })), &before), []);
}
