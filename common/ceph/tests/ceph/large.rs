//! A large cluster. In a release build 10,000 OSDs with 500,000 groups, with the times printed:
//! `cargo test --release -p replank-ceph --test ceph large -- --nocapture`. In a debug build a small part of it.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, index};
use rand::{Rng, SeedableRng};
use replank_ceph::OsdId;
use replank_ceph::documents::{OsdDump, OsdTree, PgDump};
use replank_ceph::redundancy::{Answer, Consents, Redundancy, StopSet};
use replank_ceph::waves::plan_waves;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

const RACKS: u32 = 50;
const OSDS_PER_MACHINE: u32 = 10;

/// What took how long.
struct Watch(std::time::Instant);

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "a test that measures")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn lap(&mut self, what: &str) -> Duration {
        let took = self.0.elapsed();
        println!("{what:>40}: {:>8.3} s", took.as_secs_f64());
        *self = Self::start();
        took
    }
}

#[test]
fn planning_a_large_cluster_is_a_matter_of_seconds() {
    let (machines_per_rack, groups) = if cfg!(debug_assertions) { (1, 8_000) } else { (20, 500_000) };
    let machines = RACKS * machines_per_rack;
    let osd_count = machines * OSDS_PER_MACHINE;
    let mut rng = StdRng::seed_from_u64(1);

    // A quarter of the groups erasure-coded 8+3 over racks, the rest three copies over racks.
    let wide = groups / 4;
    let mut list = String::from("[");
    for group in 0..groups {
        let (pool, seed, size) = if group < wide { (1, group, 11) } else { (0, group - wide, 3) };
        let racks = index::sample(&mut rng, RACKS as usize, size);
        let per_rack = machines_per_rack * OSDS_PER_MACHINE;
        let members: Vec<u32> =
            racks.iter().map(|rack| rack as u32 * per_rack + rng.random_range(0..per_rack)).collect();
        let comma = if group == 0 { "" } else { ",\n" };
        write!(
            list,
            "{comma}{{\"pgid\":\"{pool}.{seed:x}\",\"state\":\"active+clean\",\"up\":{members:?},\"acting\":{members:?},\
             \"reported_epoch\":\"90\",\"stat_sum\":{{\"num_objects_degraded\":0,\"num_objects_missing_on_primary\":0,\"num_objects_unfound\":0}}}}"
        )
        .unwrap();
    }
    list.push(']');
    let osds: Vec<_> = (0..osd_count)
        .map(|osd| json!({ "osd": osd, "up": 1, "in": 1, "up_from": 50, "state": ["exists", "up"] }))
        .collect();
    let map = json!({ "epoch": 100, "osds": osds, "erasure_code_profiles": { "wide": { "k": "8", "m": "3" } }, "pools": [
        { "pool": 0, "pool_name": "rbd", "type": 1, "size": 3, "min_size": 2, "pg_num": groups - wide },
        { "pool": 1, "pool_name": "cold", "type": 3, "size": 11, "min_size": 9, "pg_num": wide, "erasure_code_profile": "wide" },
    ] });
    let mut nodes = vec![json!({ "id": -1, "name": "default", "type": "root",
        "children": (0..i64::from(RACKS)).rev().map(|rack| -10 - rack).collect::<Vec<_>>() })];
    for rack in 0..i64::from(RACKS) {
        let first = rack * i64::from(machines_per_rack);
        let below: Vec<i64> =
            (first..first + i64::from(machines_per_rack)).rev().map(|m| -1000 - m).collect();
        nodes.push(
            json!({ "id": -10 - rack, "name": format!("rack{rack}"), "type": "rack", "children": below }),
        );
    }
    for machine in 0..machines {
        let below: Vec<u32> =
            (0..OSDS_PER_MACHINE).rev().map(|osd| machine * OSDS_PER_MACHINE + osd).collect();
        nodes.push(json!({ "id": -1000 - i64::from(machine), "name": format!("m{machine}"), "type": "host", "children": below }));
    }
    nodes.extend((0..osd_count).map(|osd| json!({ "id": osd, "type": "osd" })));
    let (map, tree) = (map.to_string(), json!({ "nodes": nodes }).to_string());

    println!(
        "{osd_count} OSDs on {machines} machines in {RACKS} racks, {groups} groups, {} MB of list",
        list.len() / 1_000_000
    );
    let mut watch = Watch::start();
    let pgs = PgDump::read("pg", list.as_bytes()).unwrap();
    let reading = watch.lap("reading the list");
    let osds = OsdDump::read("osd", map.as_bytes()).unwrap();
    let tree = OsdTree::read("tree", tree.as_bytes()).unwrap();
    watch.lap("reading the map and the tree");
    let consents = Consents::new();
    let redundancy = Redundancy::new(&osds, &pgs, &consents);
    let indexing = watch.lap("groups by their OSDs");
    let plan = plan_waves(&redundancy, &osds, Some(&tree), None, None);
    let planning = watch.lap("all waves, bound, and each judged again");
    let all: Vec<u32> = (0..osd_count).collect();
    let some = all.choose_multiple(&mut rng, 100).copied().map(OsdId).collect();
    let verdict = redundancy.judge(&StopSet { osds: some, ..StopSet::default() }, None);
    watch.lap("judging 100 OSDs anywhere");
    assert_eq!(verdict.answer, Answer::NotSafe);

    println!("{} waves, lower bound {}", plan.waves.len(), plan.lower_bound.waves);
    // A rack at a time, and no fewer: any two racks share a group that spares one.
    assert_eq!(plan.waves.len(), RACKS as usize);
    assert_eq!(plan.lower_bound.waves, RACKS);
    assert_eq!(plan.waves.iter().map(|wave| wave.osds.len()).sum::<usize>(), osd_count as usize);
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 20 });
    assert!(reading + indexing + planning < limit, "{:?}", reading + indexing + planning);
}
