//! A plan tried on a simulated fleet.

use crate::support::Desk;
use replank_sim::Layout;
use replank_sim::plans::harbour::{self, Pace};
use serde_json::Value;

const PLAN: [&str; 6] = ["plan", "-f", "fleet.toml", "--inventory", "inventory.json", "-o"];

fn with_a_plan() -> Desk {
    let desk = Desk::new();
    desk.must(&[&PLAN[..], &["plan.json"]].concat());
    desk
}

/// The plan's digest changes with every change of the catalog, and says nothing of the simulation.
fn without_digest(desk: &Desk, said: &str) -> String {
    let plan: Value = serde_json::from_str(&desk.read("plan.json")).unwrap();
    said.replace(plan["id"].as_str().unwrap(), "sha256:(of the plan)")
}

/// The simulated hosts and guests are those of the plan, and it takes about as long as the plan says.
#[test]
fn a_calm_run_of_a_plan() {
    let desk = with_a_plan();
    let said = desk.run(&["simulate", "plan.json", "--seed", "3", "--faults", "calm"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let told = desk.json(&["simulate", "plan.json", "--seed", "3", "--faults", "calm", "--json"]);
    // How much is judged grows with the judge; that it is told is what counts here.
    let checks: u64 =
        told["checked"].as_object().unwrap().values().map(|times| times.as_u64().unwrap()).sum();
    let told_checks = format!("promises: {checks} checks");
    assert!(checks > 1_000 && said.out.contains(&told_checks), "{told_checks}: {}", said.out);
    insta::assert_snapshot!(without_digest(&desk, &said.out).replace(&told_checks, "promises: N checks"));
    let plan: Value = serde_json::from_str(&desk.read("plan.json")).unwrap();
    assert_eq!((&told["format"], &told["plan"]), (&1.into(), &plan["id"]));
    assert_eq!((&told["hosts"], &told["guests"], &told["tally"]["same"]), (&3.into(), &9.into(), &9.into()));
    assert_eq!((&told["ended"], &told["broken"]), (&"finished".into(), &Value::Null));
    let [took, expected] = ["ended_after_ms", "expected_ms"].map(|key| told[key].as_u64().unwrap());
    assert!(took > expected / 2 && took < expected * 3, "{took} ms, where the plan expects {expected} ms");
}

#[test]
fn a_rough_run_is_the_same_again_and_another_seed_is_another_run() {
    let desk = with_a_plan();
    let rough = |seed| desk.must(&["simulate", "plan.json", "--seed", seed]);
    let first = rough("5");
    assert_eq!(first, rough("5"));
    assert_ne!(first, rough("6"));
    assert!(!first.contains("1970"), "{first}");
    // What was made to go wrong, what the run and its operator did about it, and the end.
    for part in [
        "! compute",
        "hold before-canary approved by operator",
        "from here on nothing new goes wrong",
        "Messages between the coordinator and the hosts",
        "How it ended\n  finished after ",
        "none broken",
        "the same again: replank simulate plan.json --seed 5 --faults rough\n",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
}

/// Every kind of end has its code, and the last line on standard error the command that shows it.
#[test]
fn storms_end_well_or_held_by_a_host_that_never_came_back() {
    let desk = with_a_plan();
    let storm = ["simulate", "plan.json", "--faults", "storm", "--seeds", "40"];
    let said = desk.refused(&storm, 11, "RP6319");
    for part in ["40 simulated runs", "seeds 1 to 40", "min ", "The worst: seed "] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let told = desk.run(&[&storm[..], &["--json"]].concat());
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let ends: u64 = told["ends"].as_object().unwrap().values().map(|number| number.as_u64().unwrap()).sum();
    assert_eq!((ends, &told["ends"]["broken"]), (40, &0.into()), "{told:#}");
    for end in ["finished", "aborted", "rolled-back"] {
        assert_ne!(told["ends"][end], 0, "{told:#}");
    }
    let spans = ["min", "median", "p95", "max"].map(|key| told["ended_after_ms"][key].as_u64().unwrap());
    assert!(spans.is_sorted() && spans[0] > 0, "{spans:?}");
    // The worst is one that was held, and is shown by the command that is printed.
    let worst = told["worst"]["replay"].as_str().unwrap();
    let words: Vec<&str> = worst.split(' ').skip(1).collect();
    let again = desk.refused(&words, 11, "RP6319");
    assert!(again.out.contains("held after ") && again.out.contains("host loses its power"), "{}", again.out);
}

#[test]
fn many_calm_runs() {
    let desk = with_a_plan();
    let said = desk.must(&["simulate", "plan.json", "--faults", "calm", "--seeds", "5"]);
    insta::assert_snapshot!(without_digest(&desk, &said));
}

/// `ceph.json` and the inventory that it was made from: three hosts with a MON, a manager and two OSDs each.
fn with_a_plan_of_a_cluster() -> Desk {
    let desk = Desk::new();
    let layout = Layout::of_a_lab();
    let pace = Pace { parallel_hosts: 1, staging_parallel: 2, canary: 1 };
    desk.write("ceph.toml", &harbour::fleet_file(&layout, pace));
    desk.write("ceph-inventory.json", &String::from_utf8(harbour::inventory(&layout).to_bytes()).unwrap());
    desk.must(&["plan", "-f", "ceph.toml", "--inventory", "ceph-inventory.json", "-o", "plan.json"]);
    desk
}

#[test]
fn a_plan_for_a_cluster_is_sailed_on_a_cluster() {
    let desk = with_a_plan_of_a_cluster();
    let rough = desk.must(&["simulate", "plan.json", "--seed", "2"]);
    assert_eq!(rough, desk.must(&["simulate", "plan.json", "--seed", "2"]));
    for part in [
        "a Ceph cluster of 6 OSDs in 3 failure domains, 3 MONs, 3 managers; 32 placement groups of 1 pool",
        "are made up and laid by the seed",
        "hold before-last-mon approved by operator",
        "12 of 12 daemons run 16.2.15; every placement group is clean; no acknowledged write is lost",
        "none broken",
    ] {
        assert!(rough.contains(part), "{part}: {rough}");
    }
    // With the inventory that it was made from, all is as it is there, and no other inventory will do.
    let with = ["simulate", "plan.json", "--inventory", "ceph-inventory.json", "--faults", "calm"];
    let calm = desk.must(&with);
    assert!(calm.contains("all as the inventory has it") && calm.contains("8 placement groups"), "{calm}");
    assert!(!calm.contains("guests: "), "{calm}");
    let told = desk.json(&[&with[..], &["--json"]].concat());
    assert_eq!((&told["ended"], &told["cluster"]["daemons_renewed"]), (&"finished".into(), &12.into()));
    desk.refused(&["simulate", "plan.json", "--inventory", "inventory.json"], 3, "RP6323");
    let storms = desk.run(&["simulate", "plan.json", "--faults", "storm", "--seeds", "20", "--json"]);
    let told: Value = serde_json::from_str(&storms.out).unwrap();
    assert_eq!(
        (&told["ends"]["broken"], told["ends"]["finished"].as_u64().unwrap() > 0),
        (&0.into(), true),
        "{told:#}"
    );
}

#[test]
fn what_cannot_be_simulated() {
    let desk = with_a_plan();
    let said = desk.refused(&["simulate", "plan.json", "--faults", "breeze"], 2, "RP6318");
    assert!(said.err.contains("calm, rough, storm"), "{}", said.err);
    // Before the plan is read.
    desk.refused(&["simulate", "none.json", "--faults", "breeze"], 2, "RP6318");
    desk.refused(&["simulate", "none.json"], 3, "RP6301");
    let plan = desk.read("plan.json");
    desk.write("changed.json", &plan.replacen("compute2", "compute9", 1));
    desk.refused(&["simulate", "changed.json"], 3, "RP1106");
    let said = desk.run(&["simulate", "plan.json", "--seeds", "0"]);
    assert_eq!(said.code, 2);
    let help = desk.must(&["simulate", "--help"]);
    for profile in ["calm: nothing", "rough: a bad week", "storm: everything at once"] {
        assert!(help.contains(profile), "{help}");
    }
}
