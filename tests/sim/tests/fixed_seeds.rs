//! The fixed set of seeds: every kind of fault strikes, every promise is checked, none is broken.

use replank_sim_tests::many;
use replank_sim_tests::summary::Summary;
use std::time::Instant;

const SEEDS: u64 = 1_000;

#[test]
fn sim_fixed_seeds_inject_every_fault_and_break_no_promise() {
    let (began, mut summary) = (Instant::now(), Summary::new());
    many::sail(0..SEEDS, many::all_cores(), |sailed| {
        if let Some(broken) = summary.add(&sailed) {
            eprintln!("{broken}");
        }
    });
    println!("{}", summary.text(began.elapsed()));
    assert_eq!(summary.seeds, SEEDS);
    assert_eq!(summary.broken.len(), 0);
    assert_eq!(summary.never_injected(), Vec::<&str>::new());
    assert_eq!(summary.never_checked(), Vec::<&str>::new());
}
