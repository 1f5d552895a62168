//! The epoch rule (P9), checked over everything that two coordinators, two agents and a bad net can do within bounds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod coordinators;
mod plans;
mod rules;
mod search;
mod world;

use rules::Rules;
use search::explore;
use world::Bounds;

/// Two coordinators on one folder, and agents that never die.
const ONE_FOLDER: Bounds = Bounds { starts: 2, folders: 1, crashes: 0 };
/// And one agent dies at any moment and starts again with what was durable.
const CRASHES: Bounds = Bounds { crashes: 1, ..ONE_FOLDER };
/// The folder is copied before or after the first start, and a coordinator starts on each: with the same epoch, or not.
const COPIES: Bounds = Bounds { folders: 2, ..ONE_FOLDER };

fn all_of(bounds: Bounds) {
    let explored = explore(Rules::AsBuilt, bounds).unwrap_or_else(|trace| panic!("{trace}"));
    println!("{bounds:?}: {explored:?}");
    assert!(explored.states > 10_000, "{explored:?}");
    assert!(explored.transitions > explored.states && explored.depth > 10, "{explored:?}");
    assert!(explored.machines > 10 && explored.finished > 0, "{explored:?}");
}

#[test]
fn whatever_two_coordinators_do_the_earlier_one_is_obeyed_no_more_and_the_run_can_end() {
    all_of(ONE_FOLDER);
}

#[test]
fn also_when_an_agent_crashes() {
    all_of(CRASHES);
}

#[test]
fn also_when_the_folder_was_copied() {
    all_of(COPIES);
}

#[test]
fn a_rule_that_is_broken_is_found_with_the_shortest_trace() {
    for (rules, bounds, broken) in [
        (Rules::AgentIgnoresEpochs, ONE_FOLDER, "of epoch 1 after it obeyed 2"),
        (Rules::AgentComparesOnce, ONE_FOLDER, "of epoch 1 after it obeyed 2"),
        (Rules::AgentForgetsItsEpoch, CRASHES, "of epoch 1 after it obeyed 2"),
        (Rules::AgentForgetsItsLedger, CRASHES, "out twice"),
        (Rules::AgentForgetsItsCoordinator, COPIES, "obeyed two coordinators of epoch 1"),
        (Rules::CoordinatorReusesItsEpoch, ONE_FOLDER, "two coordinators have epoch 1"),
    ] {
        let trace = explore(rules, bounds).map(|explored| format!("{explored:?}")).unwrap_err();
        println!("{rules:?}: {trace}");
        assert!(trace.contains(broken), "{rules:?}: {trace}");
        assert!(trace.lines().count() <= 14, "{rules:?}: {trace}");
    }
}
