//! The cluster by itself, without any run.

use super::*;
use crate::promise::{Judge, Promise};
use replank_ceph::redundancy::{Answer, Redundancy, StopSet};
use replank_ceph::settled::{Before, unsettled};
use std::collections::BTreeSet;

fn cluster(seed: u64) -> Cluster {
    let layout = Layout::drawn(&mut StdRng::seed_from_u64(seed));
    Cluster::new(layout, seed, 1_000_000)
}

fn all_clean(cluster: &Cluster) -> bool {
    cluster.groups.iter().all(groups::Group::is_clean)
}

fn of_host(cluster: &Cluster, host: usize) -> Daemons {
    Daemons { osds: cluster.layout.osds_of(host).into_iter().collect(), ..Daemons::default() }
}

#[test]
fn a_machine_that_comes_back_is_made_whole_and_its_stale_reports_are_seen_through() {
    for seed in 0..60 {
        let mut cluster = cluster(seed);
        let mut judge = Judge::default();
        cluster.pass(1_010_000);
        let documents = cluster.documents().unwrap();
        let set = of_host(&cluster, 0);
        let (osds, groups) = (&documents.osds, documents.groups.as_ref().unwrap());
        let redundancy = Redundancy::new(osds, groups, &cluster.layout.consents);
        let stop = StopSet { osds: set.osds.clone(), mons: BTreeSet::new() };
        let verdict = redundancy.judge(&stop, None);
        assert_eq!(verdict.answer, Answer::Safe, "seed {seed}: {verdict:?}");
        let before = Before {
            up_from: set.osds.iter().map(|osd| (*osd, osds.osds[osd].up_from.unwrap())).collect(),
            groups: set.osds.iter().flat_map(|osd| redundancy.groups_of(*osd)).collect(),
        };
        let to = cluster.layout.to.clone();
        cluster.install(0, &to);
        cluster.stop_by_us(&set, "the test", &mut judge);
        assert!(cluster.start(&set).is_empty());
        let mut settled_at = None;
        for second in 1..300 {
            cluster.pass(1_010_000 + second * 1_000);
            let documents = cluster.documents().unwrap();
            let waits = unsettled(&before, &documents.osds, documents.groups.as_ref().unwrap());
            if waits.is_empty() {
                let whole =
                    cluster.groups.iter().all(|group| before.groups.contains(&group.id) <= group.is_clean());
                assert!(whole, "seed {seed}: settled after {second} s, and a group is not clean");
                settled_at = Some(second);
                break;
            }
        }
        assert!(settled_at.is_some_and(|second| second < 60), "seed {seed}: {settled_at:?}");
        assert!(documents.booted != cluster.documents().unwrap().booted);
        cluster.check_writes(&mut judge);
        assert_eq!(judge.broken, None, "seed {seed}");
        assert!(judge.checked[&Promise::P10] > 0);
    }
}

#[test]
fn stopping_an_osd_while_another_is_behind_breaks_p10_and_then_one_broken_disk_loses_writes() {
    for seed in 0..60 {
        let mut cluster = cluster(seed);
        let mut judge = Judge::default();
        cluster.pass(1_010_000);
        let members: Vec<OsdId> = cluster.groups[0].serving().collect();
        let one = |at: usize| Daemons { osds: BTreeSet::from([members[at]]), ..Daemons::default() };
        cluster.stop_by_us(&one(0), "the test", &mut judge);
        cluster.pass(1_050_000);
        assert_eq!(judge.broken, None, "seed {seed}");
        cluster.recovery_slows(3_600_000);
        cluster.start(&one(0));
        cluster.pass(1_058_000);
        cluster.stop_by_us(&one(1), "the test", &mut judge);
        assert_eq!(judge.broken.map(|broken| broken.promise), Some(Promise::P10), "seed {seed}");
        cluster.pass(1_068_000);
        let mut judge = Judge::default();
        cluster.check_writes(&mut judge);
        assert_eq!(judge.broken, None, "seed {seed}");
        cluster.osd_is_destroyed(members[2]);
        cluster.check_writes(&mut judge);
        let text = judge.broken.map(|broken| broken.text).unwrap_or_default();
        assert!(text.contains("acknowledged writes"), "seed {seed}: {text}");
        let named = cluster.beyond_mending();
        assert!(named.contains(&members[2].to_string()) && named.contains(&cluster.groups[0].id.to_string()));
        // Another disk before that: no redundancy that was promised would have been enough.
        let mut judge = Judge::default();
        for group in &mut cluster.groups {
            group.misfortunes.extend(&members);
        }
        cluster.check_writes(&mut judge);
        assert_eq!(judge.broken, None, "seed {seed}");
    }
}

#[test]
fn a_dead_osd_is_down_after_its_grace_and_its_groups_are_degraded_until_it_returns() {
    for seed in 0..30 {
        let mut cluster = cluster(seed);
        cluster.pass(1_010_000);
        cluster.osd_crashes(OsdId(0), 60_000);
        cluster.pass(1_020_000);
        assert_eq!(cluster.documents().unwrap().osds.osds[&OsdId(0)].up, Some(true));
        cluster.pass(1_040_000);
        assert_eq!(cluster.documents().unwrap().osds.osds[&OsdId(0)].up, Some(false));
        assert!(!all_clean(&cluster));
        cluster.pass(1_200_000);
        assert!(all_clean(&cluster), "seed {seed}");
    }
}

#[test]
fn a_disk_that_is_gone_is_copied_to_another_where_there_is_room_for_it() {
    for seed in 0..60 {
        let mut cluster = cluster(seed);
        cluster.pass(1_010_000);
        cluster.osd_is_destroyed(OsdId(0));
        cluster.is_cared_for();
        cluster.pass(1_400_000);
        let pools = &cluster.layout.pools;
        let domains = cluster.layout.domains.len();
        let room = cluster.layout.osds.len() > domains
            || pools.iter().all(|pool| domains > pool.size.unwrap() as usize);
        assert_eq!(all_clean(&cluster), room, "seed {seed}: {:?}", cluster.layout);
    }
}

#[test]
fn without_a_quorum_nobody_answers_and_nothing_is_written_off() {
    let mut cluster = cluster(1);
    cluster.pass(1_010_000);
    for mon in 0..cluster.layout.mons.len() / 2 + 1 {
        cluster.mon_crashes(mon, 100_000);
    }
    cluster.osd_crashes(OsdId(0), 300_000);
    cluster.pass(1_060_000);
    assert!(cluster.documents().is_err());
    assert!(cluster.osd(OsdId(0)).up);
    cluster.pass(1_200_000);
    assert!(cluster.documents().is_ok());
    assert!(!cluster.osd(OsdId(0)).up);
}
