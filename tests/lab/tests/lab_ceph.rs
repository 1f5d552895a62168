//! The lab's Ceph cluster, on real hosts: needs root and the packages of `setup.sh`.

use std::time::{Duration, Instant};

use replank_lab::ceph::{CephSpec, Cluster, Writer};
use replank_lab::{Lab, LabSpec, wait_for};

const CLEAN: Duration = Duration::from_secs(120);

#[test]
fn lab_ceph_cluster() {
    let lab = Lab::up(&LabSpec::ceph("t-ceph".parse().unwrap(), 3)).unwrap();
    let cluster = Cluster::make(&lab, &CephSpec::of_every_kind()).unwrap();
    println!(
        "hosts after {:.1} s, clean after {:.1} s more",
        lab.times().boot.as_secs_f64(),
        cluster.made_in().as_secs_f64()
    );
    let versions = cluster.ask(&["versions"]).unwrap();
    let overall = versions["overall"].as_object().unwrap();
    let (version, daemons) = overall.iter().next().unwrap();
    assert!(version.starts_with("ceph version 14.2.21 "), "{versions}");
    assert_eq!((overall.len(), daemons.as_u64()), (1, Some(16)), "{versions}");
    // Each copy and each pair of pieces is on a host of its own, or no host could ever stop.
    let groups = cluster.ask(&["pg", "dump", "pgs_brief"]).unwrap();
    for group in groups["pg_stats"].as_array().unwrap() {
        let acting: Vec<u64> =
            group["acting"].as_array().unwrap().iter().filter_map(|osd| osd.as_u64()).collect();
        let on = |host: u64| acting.iter().filter(|osd| **osd / 2 == host).count();
        match acting.len() {
            3 => assert!((0..3).all(|host| on(host) == 1), "{group}"),
            5 => assert!((0..3).all(|host| on(host) <= 2), "{group}"),
            _ => panic!("{group}"),
        }
    }

    let writer = Writer::start(&cluster).unwrap();
    writer.wait_for_acks(50, Duration::from_secs(30)).unwrap();
    let host = cluster.host_of(3).unwrap();
    assert_eq!(host.name(), "ceph2");
    host.must(&["systemctl", "kill", "--signal=KILL", "ceph-osd@3"]).unwrap();
    host.must(&["systemctl", "stop", "ceph-osd@3"]).unwrap();
    let killed = Instant::now();
    wait_for("degraded groups", Duration::from_secs(60), || {
        let status = cluster.ask(&["status"])?;
        let degraded = status["pgmap"]["degraded_objects"].as_u64().unwrap_or(0);
        Ok(if degraded > 0 { Ok(()) } else { Err(status["pgmap"].to_string()) })
    })
    .unwrap();
    println!("degraded {:.1} s after the kill", killed.elapsed().as_secs_f64());
    writer.wait_for_acks(50, Duration::from_secs(30)).unwrap();
    host.must(&["systemctl", "start", "ceph-osd@3"]).unwrap();
    let started = Instant::now();
    cluster.wait_for_clean(CLEAN).unwrap();
    println!("clean {:.1} s after the start", started.elapsed().as_secs_f64());
    writer.wait_for_acks(20, Duration::from_secs(30)).unwrap();

    let verdict = writer.finish().unwrap();
    println!("{verdict}");
    verdict.sound().unwrap();
    assert!(verdict.acknowledged >= 4 * 120 + 4 * 12, "{verdict}");
    // A kill of one of two copies' primaries is no reason to stand still for long.
    assert!(verdict.longest_stall().unwrap().ms < 30_000, "{verdict}");
}
