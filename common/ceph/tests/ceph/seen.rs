//! What travels: its form, and that what was cut away had no say.

use crate::world::{World, quorum};
use replank_ceph::OsdId;
use replank_ceph::redundancy::{Answer, Objection};
use replank_ceph::seen::{Groups, Seen, Stop};
use serde_json::json;
use std::collections::BTreeSet;

fn set(osds: &[u32]) -> BTreeSet<OsdId> {
    osds.iter().copied().map(OsdId).collect()
}

#[test]
fn a_cut_answers_for_its_own_osds_alone_and_still_misses_what_is_missing() {
    let world = World::new(6).pool("rbd", "", 3, 2, &[&[0, 1, 2], &[3, 4, 5], &[2, 3, 4]]);
    let stop = |world: &World, of: &[u32]| {
        let (osds, pgs) = world.read();
        let seen = Seen::Stop(Box::new(Stop::new(osds, pgs, quorum(&[], &[]), None, set(of))));
        let Seen::Stop(stop) = Seen::read(&seen.to_text()).unwrap() else { panic!() };
        assert_eq!(Seen::Stop(stop.clone()), seen, "it survives its form");
        *stop
    };
    let judge = |stop: &Stop, osds: &[u32]| stop.judge(&set(osds), &BTreeSet::new(), &[]).unwrap();
    let cut = stop(&world, &[0]);
    assert_eq!((cut.pgs.pgs.pgs.len(), cut.osds.osds.len()), (1, 3));
    assert_eq!(judge(&cut, &[0]).answer, Answer::Safe);
    // Nothing is known of the groups of osd.5.
    let beyond = judge(&cut, &[5]);
    assert_eq!(beyond.answer, Answer::CannotTell);
    assert!(beyond.objections.contains(&Objection::OsdBeyondCut { osd: OsdId(5) }), "{beyond:?}");
    // A group elsewhere that was not in the whole list, one that nobody holds, an OSD that is down.
    let mut short = world.clone();
    short.pgs["pg_stats"].as_array_mut().unwrap().remove(1);
    assert!(matches!(
        judge(&stop(&short, &[0]), &[0]).objections[..],
        [Objection::PgsAbsent { listed: 2, .. }]
    ));
    let lost = world.clone().pg(1, json!({ "up": [], "acting": [], "state": "unknown" }));
    assert!(matches!(judge(&stop(&lost, &[0]), &[0]).objections[..], [Objection::PgNowhere { .. }]));
    let down = world.osd(5, json!({ "up": 0, "state": ["exists"] }));
    assert!(matches!(judge(&stop(&down, &[0]), &[0]).objections[..], [Objection::OsdDown { osd: OsdId(5) }]));
}

#[test]
fn groups_are_counted_by_their_states() {
    let world = World::new(3).pool("rbd", "", 3, 2, &[&[0, 1, 2], &[0, 1, 2], &[0, 1, 2]]);
    let (_, pgs) =
        world.pg(0, json!({ "state": "active+clean+scrubbing" })).pg(1, json!({ "state": null })).read();
    let groups = Groups::new(&pgs);
    assert_eq!((groups.scrubs(), groups.unclear()), (1, 1));
    assert_eq!(groups.scrubbing, ["0.0".parse().unwrap()]);
}
