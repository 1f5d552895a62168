//! The bench itself on a small fleet, and what must hold whatever the clock says: the journal grows with the hosts and not faster.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use replank_bench::calm::sail;
use replank_bench::ceph;
use replank_bench::measure::{Wanted, measure};
use replank_bench::world::World;
use replank_core::run::Index;
use std::sync::Arc;

/// Lines and bytes of the journal of a whole voyage, and the longest line.
fn journal(hosts: u32) -> (usize, usize, usize) {
    let world = World::of(hosts, 3).unwrap();
    let plan = world.plan().unwrap();
    let index = Arc::new(Index::new(plan.id(), plan).unwrap());
    let (mut lines, mut bytes, mut longest) = (0, 0, 0);
    let beyond_the_last_step = 1_001;
    sail(&index, &world.inventory, beyond_the_last_step, |appends| {
        for record in appends.iter().flat_map(|append| &append.records) {
            let line = serde_json::to_string(record)?.len();
            (lines, bytes, longest) = (lines + 1, bytes + line, longest.max(line));
        }
        Ok(())
    })
    .unwrap();
    (lines, bytes, longest)
}

#[test]
fn the_journal_grows_linearly() {
    let per_host = |hosts: u32| {
        let (lines, bytes, longest) = journal(hosts);
        (lines as f64 / f64::from(hosts), bytes as f64 / f64::from(hosts), longest)
    };
    let (lines, bytes, longest) = per_host(50);
    assert!(lines > 40.0, "a voyage has lines: {lines} a host");
    for hosts in [100, 200] {
        let (more_lines, more_bytes, more_longest) = per_host(hosts);
        for (what, few, many) in [("lines", lines, more_lines), ("bytes", bytes, more_bytes)] {
            let grown = many / few;
            assert!((0.97..1.03).contains(&grown), "{what} a host: {few} of 50, {many} of {hosts}");
        }
        assert!(more_longest <= longest + 100, "a line grows with the fleet: {longest}, then {more_longest}");
    }
}

#[test]
fn a_small_fleet_is_measured() {
    let wanted = Wanted { hosts: 10, guests: 2, replank: None, restarts: 1 };
    let figures = measure(&wanted, |_| {}).unwrap();
    assert!(figures.journal_lines > 100 && figures.journal_bytes > 10_000, "{figures:?}");
    for took in [figures.planning, figures.append, figures.append_bare, figures.read_bare, figures.resume] {
        assert!(took > 0.0, "{figures:?}");
    }
    let text = figures.to_string();
    assert!(
        text.contains("fleet     10 hosts with 2 guests each, ") && text.contains("times the "),
        "{text}"
    );
    let json = serde_json::to_value(&figures).unwrap();
    assert_eq!((&json["hosts"], json["restart"].as_array().unwrap().len()), (&10.into(), 0));
}

#[test]
fn a_small_cluster_is_measured() {
    let figures = ceph::measure(500, 8_000).unwrap();
    // A rack at a time, and no fewer: any two racks share a group that spares one.
    assert_eq!((figures.osds, figures.waves, figures.lower_bound), (500, 50, 50));
    let text = figures.to_string();
    assert!(
        text.contains("500 OSDs, 8000 placement groups") && text.contains("50, lower bound 50"),
        "{text}"
    );
}
