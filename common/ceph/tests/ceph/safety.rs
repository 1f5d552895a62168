//! The rule, case by case: each has the set that just may and the one that just may not.

use crate::world::{World, daemons, quorum};
use replank_ceph::quorum::Machines;
use replank_ceph::redundancy::{
    Answer, Consents, Objection, PgCause, Redundancy, Shortage, Thin, Verdict, show_verdict, stop_set,
};
use serde_json::json;

/// Three copies over six OSDs.
fn three() -> World {
    World::new(6).pool("rbd", "", 3, 2, &[&[0, 1, 2], &[3, 4, 5], &[0, 3, 4]])
}

fn answer(world: &World, set: &[u32]) -> Answer {
    world.ask(&[], set).answer
}

/// The causes of the groups that object.
fn causes(verdict: &Verdict) -> Vec<PgCause> {
    let cause = |objection: &Objection| match objection {
        Objection::Pg(pg) => Some(pg.cause.clone()),
        _ => None,
    };
    verdict.objections.iter().filter_map(cause).collect()
}

fn too_few(left: u32, needed: u32, short: Shortage) -> PgCause {
    PgCause::TooFew { left, needed, short }
}

#[test]
fn three_copies_spare_one_and_not_two() {
    assert_eq!(answer(&three(), &[0]), Answer::Safe);
    // 1 and 5 have no group together, 0 and 1 have.
    assert_eq!(answer(&three(), &[1, 5]), Answer::Safe);
    let verdict = three().ask(&[], &[0, 1]);
    assert_eq!(verdict.answer, Answer::NotSafe);
    assert_eq!((verdict.touched, causes(&verdict)), (2, vec![too_few(1, 2, Shortage::Set)]));
    // What min_size 1 would allow, the data does not.
    let world = World::new(3).pool("rbd", "", 3, 1, &[&[0, 1, 2]]);
    assert_eq!(answer(&world, &[0, 1]), Answer::NotSafe);
}

#[test]
fn erasure_codes_keep_one_more_than_they_need_whatever_min_size_says() {
    let eleven: Vec<u32> = (0..11).collect();
    // Hammer's default: min_size is k.
    let world = World::new(11).pool("cold", "eight-three", 11, 8, &[&eleven]);
    assert_eq!(answer(&world, &[3, 7]), Answer::Safe);
    let verdict = world.ask(&[], &[3, 7, 8]);
    assert_eq!(causes(&verdict), [too_few(8, 9, Shortage::Set)]);
    let world = World::new(6).pool("cold", "four-two", 6, 4, &[&[0, 1, 2, 3, 4, 5]]);
    assert_eq!((answer(&world, &[5]), answer(&world, &[4, 5])), (Answer::Safe, Answer::NotSafe));
}

#[test]
fn thin_redundancy_needs_consent_by_pool() {
    let world =
        World::new(6).pool("pair", "", 2, 1, &[&[0, 1]]).pool("one-loss", "two-one", 3, 2, &[&[2, 3, 4]]);
    let verdict = world.ask(&[], &[0, 2]);
    let (two, one) = (Shortage::Consent(Thin::TwoCopies), Shortage::Consent(Thin::OneLoss));
    assert_eq!(causes(&verdict), [too_few(1, 2, two), too_few(2, 3, one)]);
    assert_eq!(world.ask(&["pair"], &[0, 2]).answer, Answer::NotSafe);
    assert_eq!(world.ask(&["pair", "one-loss"], &[0, 2]).answer, Answer::Safe);
    // Consent to thin is not consent to none.
    assert_eq!(world.ask(&["pair", "one-loss"], &[0, 1]).answer, Answer::NotSafe);
    assert_eq!(world.ask(&["pair", "one-loss"], &[2, 3]).answer, Answer::NotSafe);
}

#[test]
fn one_copy_is_an_outage_and_called_one() {
    let world = World::new(2).pool("rbd", "", 1, 1, &[&[0], &[1]]);
    let verdict = world.ask(&[], &[0]);
    assert_eq!(causes(&verdict), [too_few(0, 1, Shortage::Consent(Thin::OneCopy))]);
    let verdict = world.ask(&["rbd"], &[0]);
    assert_eq!((verdict.answer, verdict.outages.clone()), (Answer::Safe, vec!["rbd".to_owned()]));
    assert!(show_verdict(&verdict).contains("OUTAGE, accepted: clients of pool `rbd`"));
}

#[test]
fn a_pool_whose_min_size_is_its_size_never_can() {
    let world = World::new(4).pool("rbd", "", 3, 3, &[&[0, 1, 2]]).pool("pair", "", 2, 2, &[&[2, 3]]);
    assert_eq!(causes(&world.ask(&[], &[0])), [too_few(2, 3, Shortage::MinSize)]);
    // Consent does not lower min_size.
    assert_eq!(causes(&world.ask(&["pair"], &[3])), [too_few(1, 2, Shortage::MinSize)]);
}

#[test]
fn an_osd_that_is_down_outside_the_set_vetoes() {
    let down = json!({ "up": 0, "state": ["exists"] });
    let world = three().osd(5, down.clone());
    assert_eq!(answer(&world, &[1]), Answer::NotSafe);
    // Marked out, its data is elsewhere; in the set, it is what the set is about.
    assert_eq!(answer(&three().osd(5, json!({ "up": 0, "in": 0, "state": ["exists"] })), &[1]), Answer::Safe);
    let verdict = world.ask(&[], &[5]);
    assert_eq!((verdict.answer, verdict.down_already.len()), (Answer::Safe, 1));
    // But what is down counts for nobody.
    assert_eq!(answer(&world, &[5, 3]), Answer::NotSafe);
    // Up by one word, down by another.
    assert_eq!(answer(&three().osd(5, json!({ "state": ["exists"] })), &[1]), Answer::CannotTell);
}

#[test]
fn only_complete_copies_count() {
    let degraded = json!({ "state": "active+recovering+degraded", "stat_sum": { "num_objects_degraded": 4,
        "num_objects_missing_on_primary": 0, "num_objects_unfound": 0 } });
    // Before Nautilus nobody says who misses something.
    let world = three().pg(0, degraded);
    assert_eq!(causes(&world.ask(&[], &[1])), [PgCause::CopiesUnclear]);
    assert_eq!(answer(&world, &[1]), Answer::CannotTell);
    assert_eq!(answer(&world, &[5]), Answer::Safe, "the group is elsewhere");
    // Since then it is said: 2 misses something, so 1 and 0 are all there is.
    let world = world.pg(0, json!({ "avail_no_missing": ["0", "1"] }));
    assert_eq!(causes(&world.ask(&[], &[1])), [too_few(1, 2, Shortage::Set)]);
    assert_eq!(answer(&world, &[2]), Answer::Safe, "nothing is lost with the one that is not complete");
    // A list that names nobody is no list.
    let world = world.pg(0, json!({ "avail_no_missing": [] }));
    assert_eq!(answer(&world, &[1]), Answer::CannotTell);
}

#[test]
fn a_group_that_moves_has_the_copies_that_serve() {
    let moving = json!({ "state": "active+remapped+wait_backfill", "up": [0, 1, 5], "acting": [0, 1, 2] });
    let world = three().pg(0, moving);
    assert_eq!(answer(&world, &[2]), Answer::Safe);
    assert_eq!(answer(&world, &[5]), Answer::Safe, "where it goes to holds no copy yet");
    assert_eq!(answer(&world, &[1, 2]), Answer::NotSafe);
    // Without counts nobody knows whether it misses something.
    assert_eq!(answer(&world.pg(0, json!({ "stat_sum": null })), &[2]), Answer::CannotTell);
}

#[test]
fn a_shard_that_nobody_holds_is_missing() {
    let holed = json!({ "state": "active+undersized+degraded", "up": [0, 1, 2, 3, 4, 2147483647u32],
        "acting": [0, 1, 2, 3, 4, 2147483647u32], "avail_no_missing": ["0(0)", "1(1)", "2(2)", "3(3)", "4(4)"] });
    let world = World::new(6).pool("cold", "four-two", 6, 4, &[&[0, 1, 2, 3, 4, 5]]).pg(0, holed);
    assert_eq!(causes(&world.ask(&[], &[0])), [too_few(4, 5, Shortage::Set)]);
}

#[test]
fn groups_that_do_not_serve_or_cannot_be_trusted_object() {
    for (state, cause, answer) in [
        ("peering", PgCause::Unsettled, Answer::NotSafe),
        ("undersized+degraded+peered", PgCause::Unsettled, Answer::NotSafe),
        ("down+incomplete", PgCause::Unsettled, Answer::NotSafe),
        ("active+clean+laggy", PgCause::Unsettled, Answer::NotSafe),
        ("active+clean+inconsistent", PgCause::Damaged, Answer::NotSafe),
        ("active+recovery_unfound+degraded", PgCause::Damaged, Answer::NotSafe),
        ("stale+active+clean", PgCause::Stale, Answer::CannotTell),
        ("unknown", PgCause::NoState, Answer::CannotTell),
        ("inactive", PgCause::NoState, Answer::CannotTell),
        ("", PgCause::NoState, Answer::CannotTell),
        ("active+clean+becalmed", PgCause::StrangeState, Answer::CannotTell),
    ] {
        let world = three().pg(0, json!({ "state": state }));
        let verdict = world.ask(&[], &[1]);
        assert_eq!((causes(&verdict), verdict.answer), (vec![cause], answer), "{state}");
        assert_eq!(world.ask(&[], &[5]).answer, Answer::Safe, "{state}: only who touches it");
    }
    for fine in ["active+clean+scrubbing+deep", "active+clean+snaptrim_wait", "active+clean+remapped"] {
        assert_eq!(answer(&three().pg(0, json!({ "state": fine })), &[1]), Answer::Safe, "{fine}");
    }
}

#[test]
fn absent_groups_and_unlike_documents_cannot_tell() {
    // One group fewer than pg_num, one more, one beyond it.
    let pools = |pg_num| json!({ "pools": [{ "pool": 0, "pool_name": "rbd", "type": 1, "size": 3, "min_size": 2, "pg_num": pg_num }] });
    assert_eq!(answer(&three().map(pools(4)), &[1]), Answer::CannotTell);
    assert_eq!(answer(&three().map(pools(2)), &[1]), Answer::CannotTell);
    assert_eq!(answer(&three().pg(2, json!({ "pgid": "0.7" })), &[1]), Answer::CannotTell);
    // A pool that the map does not have, an OSD that it does not have, a group without a place.
    assert_eq!(answer(&three().pg(2, json!({ "pgid": "5.0" })), &[1]), Answer::CannotTell);
    assert_eq!(answer(&three().pg(0, json!({ "acting": [0, 1, 77] })), &[1]), Answer::CannotTell);
    assert_eq!(answer(&three().pg(0, json!({ "acting": [], "up": [] })), &[5]), Answer::CannotTell);
    // The map was taken before the list.
    assert_eq!(answer(&three().map(json!({ "epoch": 119 })), &[1]), Answer::CannotTell);
    // The race of a restart: up again at 119, last reported at 118.
    let world = three().osd(2, json!({ "up_from": 119 }));
    let verdict = world.ask(&[], &[1]);
    let [PgCause::ReportTooOld { up_from: 119, reported_epoch: 118, .. }] = causes(&verdict)[..] else {
        panic!("{verdict:#?}");
    };
    assert_eq!(answer(&world.pg(0, json!({ "reported_epoch": "119" })), &[1]), Answer::Safe);
}

#[test]
fn a_certain_no_is_a_no_whatever_else_cannot_be_told() {
    let world = three().pg(1, json!({ "state": "unknown" }));
    assert_eq!(world.ask(&[], &[0, 1, 5]).answer, Answer::NotSafe);
}

/// Each OSD of `three` on a machine of its own, 10.0.0.(id + 1).
fn with_mons(mons: &[(&str, u32)], in_quorum: &[&str], names: &[&str]) -> Verdict {
    let (osds, pgs) = three().read();
    let quorum = quorum(mons, in_quorum);
    let set = stop_set(&osds, Some(&quorum), &daemons(names)).unwrap();
    let machines = Machines::new(&osds, None);
    Redundancy::new(&osds, &pgs, &Consents::new()).judge(&set, Some((&quorum, &machines)))
}

#[test]
fn mons_keep_their_quorum_and_stop_one_machine_at_a_time() {
    const MONS: &[(&str, u32)] = &[("a", 1), ("b", 2), ("c", 9)];
    assert_eq!(with_mons(MONS, &["a", "b", "c"], &["mon.a"]).answer, Answer::Safe);
    assert_eq!(
        with_mons(MONS, &["a", "b", "c"], &["osd.0"]).answer,
        Answer::Safe,
        "with mon.a on its machine"
    );
    // One is out already: the others are all that the quorum has.
    assert_eq!(with_mons(MONS, &["a", "b"], &["mon.a"]).answer, Answer::NotSafe);
    assert_eq!(with_mons(MONS, &["a", "b"], &["osd.0"]).answer, Answer::NotSafe);
    assert_eq!(with_mons(MONS, &["a", "b"], &["osd.5"]).answer, Answer::Safe, "no MON is there");
    assert_eq!(with_mons(MONS, &["a", "b"], &["mon.c"]).answer, Answer::Safe, "it is out already");
    // Two machines, though five MONs could spare two.
    const FIVE: &[(&str, u32)] = &[("a", 1), ("b", 5), ("c", 9), ("d", 10), ("e", 11)];
    let verdict = with_mons(FIVE, &["a", "b", "c", "d", "e"], &["mon.a", "mon.b"]);
    assert!(matches!(verdict.objections[..], [Objection::MonHosts { .. }]), "{verdict:#?}");
    // The same through their machines' OSDs, which share no group.
    const APART: &[(&str, u32)] = &[("a", 2), ("b", 6), ("c", 9), ("d", 10), ("e", 11)];
    let verdict = with_mons(APART, &["a", "b", "c", "d", "e"], &["osd.1", "osd.5"]);
    assert!(matches!(verdict.objections[..], [Objection::MonHosts { .. }]), "{verdict:#?}");
    // A cluster of one or two MONs has none to spare.
    assert_eq!(with_mons(&[("a", 9)], &["a"], &["mon.a"]).answer, Answer::NotSafe);
    assert_eq!(with_mons(&[("a", 9), ("b", 8)], &["a", "b"], &["mon.a"]).answer, Answer::NotSafe);
}

#[test]
fn people_are_shown_a_few_of_each_kind_and_machines_all() {
    let groups: Vec<Vec<u32>> = (0..40).map(|_| vec![0, 1, 2]).collect();
    let groups: Vec<&[u32]> = groups.iter().map(Vec::as_slice).collect();
    let world = World::new(4).pool("rbd", "", 3, 2, &groups).osd(3, json!({ "up": 0, "state": ["exists"] }));
    let verdict = world.ask(&[], &[0, 1]);
    assert_eq!(serde_json::to_value(&verdict).unwrap()["objections"].as_array().unwrap().len(), 41);
    insta::assert_snapshot!(show_verdict(&verdict));
    insta::assert_json_snapshot!(serde_json::to_value(&verdict.objections[1]).unwrap());
}
