//! The epoch rule (P9), checked over everything that two coordinators, two agents and a bad net can do within bounds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod coordinators;
mod plans;
mod rules;
mod search;
mod world;

use rules::Rules;
use search::explore;
use world::Bounds;

/// Two coordinators on one folder, and agents that never die.
const ONE_FOLDER: Bounds = Bounds { starts: 2, folders: 1, crashes: 0, rollback: false };
/// And one agent dies and starts again.
const CRASHES: Bounds = Bounds { crashes: 1, ..ONE_FOLDER };

#[test]
fn whatever_two_coordinators_do_the_earlier_one_is_obeyed_no_more_and_the_run_can_end() {
    let explored = explore(Rules::AsBuilt, ONE_FOLDER).unwrap_or_else(|trace| panic!("{trace}"));
    println!("{ONE_FOLDER:?}: {explored:?}");
    assert!(explored.states > 10_000, "{explored:?}");
    assert!(explored.transitions > explored.states && explored.depth > 10, "{explored:?}");
    assert!(explored.machines > 10 && explored.finished > 0, "{explored:?}");
}

#[test]
fn a_rule_that_is_broken_is_found_with_the_shortest_trace() {
    for (rules, bounds, broken) in [
        (Rules::AgentIgnoresEpochs, ONE_FOLDER, "of epoch 1 after it obeyed 2"),
        (Rules::AgentComparesOnce, ONE_FOLDER, "of epoch 1 after it obeyed 2"),
        (Rules::AgentForgetsItsEpoch, CRASHES, "of epoch 1 after it obeyed 2"),
        (Rules::AgentForgetsItsLedger, CRASHES, "out twice"),
        (Rules::CoordinatorReusesItsEpoch, ONE_FOLDER, "two coordinators have epoch 1"),
    ] {
        let trace = explore(rules, bounds).map(|explored| format!("{explored:?}")).unwrap_err();
        println!("{rules:?}: {trace}");
        assert!(trace.contains(broken), "{rules:?}: {trace}");
        assert!(trace.lines().count() <= 12, "{rules:?}: {trace}");
    }
}
