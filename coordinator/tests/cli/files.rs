//! Check, plan, show and lint from files alone.

use crate::support::{DEBIAN_JSON, DEBIAN_TOML, Desk};
use serde_json::Value;
use std::collections::BTreeSet;

const FILES: [&str; 4] = ["-f", "fleet.toml", "--inventory", "inventory.json"];

fn with(first: &'static str, rest: &[&'static str]) -> Vec<&'static str> {
    [&[first], &FILES[..], rest].concat()
}

#[test]
fn planning_twice_gives_the_same_bytes() {
    let desk = Desk::new();
    let first = desk.must(&with("plan", &["-o", "one.json"]));
    let second = desk.must(&with("plan", &["-o", "two.json"]));
    assert_eq!(desk.read("one.json"), desk.read("two.json"));
    assert_eq!(first.replace("one.json", "two.json"), second);
    assert_eq!(first.lines().last(), Some("Apply it with: replank apply one.json --watch"));
    // The file, and what is printed for machines, are the same bytes too.
    assert_eq!(desk.must(&with("plan", &["--json"])), desk.read("one.json"));
    assert_eq!(desk.must(&["show", "one.json", "--json"]), desk.read("one.json"));
    // A checkout elsewhere, and another order of the same facts, change nothing.
    let shuffled: Value = serde_json::from_str(DEBIAN_JSON).unwrap();
    desk.write("inventory.json", &serde_json::to_string(&shuffled).unwrap());
    desk.must(&with("plan", &["-o", "three.json"]));
    assert_eq!(desk.read("one.json"), desk.read("three.json"));
}

#[test]
fn without_a_file_the_last_line_makes_one() {
    let desk = Desk::new();
    let said = desk.must(&with("plan", &[]));
    let last = said.lines().last().unwrap_or_default();
    let again = "replank plan -f fleet.toml --inventory inventory.json -o plan.json";
    assert_eq!(last, format!("Apply it with: {again} && replank apply plan.json --watch"));
}

#[test]
fn a_plan_says_what_it_is() {
    let desk = Desk::new();
    let summary = desk.json(&with("plan", &["-o", "plan.json", "--json"]));
    let plan: Value = serde_json::from_str(&desk.read("plan.json")).unwrap();
    assert_eq!(summary["id"], plan["id"]);
    assert!(summary["steps"].as_u64().unwrap() > 30, "{summary}");
    let shown = desk.must(&["show", "plan.json"]);
    assert!(shown.contains(summary["id"].as_str().unwrap()), "{shown}");
    let lint = desk.json(&["lint", "plan.json", "--json"]);
    assert_eq!((&lint["fatal"], &lint["plan"]), (&0.into(), &summary["id"]));
}

#[test]
fn a_changed_plan_is_refused_by_everything_that_takes_one() {
    let desk = Desk::new();
    desk.must(&with("plan", &["-o", "plan.json"]));
    let plan = desk.read("plan.json");
    // A word, a blank, a line: as little as that.
    for changed in
        [plan.replacen("compute2", "compute9", 1), plan.replacen(": ", ":  ", 1), format!("{plan}\n")]
    {
        assert_ne!(changed, plan);
        desk.write("changed.json", &changed);
        desk.refused(&["show", "changed.json"], 3, "RP1106");
        desk.refused(&["lint", "changed.json"], 3, "RP1106");
        // Before a connection is tried, for which there are no settings here.
        desk.refused(&["apply", "changed.json"], 3, "RP1106");
    }
    desk.write("changed.json", "{}");
    desk.refused(&["show", "changed.json"], 3, "RP1104");
}

#[test]
fn check_tells_what_blocks_and_what_does_not() {
    let desk = Desk::new();
    let said = desk.run(&with("check", &[]));
    assert_eq!((said.code, said.err.as_str()), (0, "no blockers on 3 hosts\n"));
    insta::assert_snapshot!(said.out);
    let told = desk.json(&with("check", &["--json"]));
    assert_eq!(told["blockers"], 0);
    assert!(!told["findings"].as_array().unwrap().is_empty());
}

#[test]
fn blockers_are_shown_instead_of_a_plan() {
    let desk = Desk::new();
    let mut inventory: Value = serde_json::from_str(DEBIAN_JSON).unwrap();
    inventory["missing"] = serde_json::json!({ "compute3": "host compute3 did not answer within 60000 ms" });
    inventory["hosts"].as_object_mut().unwrap().remove("compute3");
    desk.write("inventory.json", &inventory.to_string());
    let said = desk.refused(&with("plan", &["-o", "plan.json"]), 4, "RP6311");
    assert!(said.out.contains("RP2010  compute3"), "{}", said.out);
    assert!(said.out.contains("did not answer within 60000 ms"), "{}", said.out);
    assert!(!desk.path("plan.json").exists());
    desk.refused(&with("check", &[]), 4, "RP6311");
}

/// Every kind of mistake of a fleet file; those that do not hide one another in one listing.
#[test]
fn every_mistake_of_a_fleet_file_at_once() {
    let desk = Desk::new();
    let within = DEBIAN_TOML
        .replace("name = \"harbour\"", "name = \"Old Harbour\"")
        .replace("parallel_hosts = 1", "parallel_hosts = 0")
        .replace("staging_parallel = 2", "staging_parallel = \"two\"")
        .replace("spare_bytes =", "spare_byte =")
        .replace("default = \"in-place\"", "default = \"in-plaice\"")
        .replace("prefix = \"/opt/qemu/10.0.2\"", "prefix = \"/usr\"")
        .replacen("version = \"11.3.0-2~bpo12+1\"", "version = \"11.*\"", 1)
        .replace("{ name = \"libvirt0\", version = \"11.3.0-2~bpo12+1\" }", "{ name = \"libvirt0\" }")
        .replace("\nacknowledge = \"everyone on this network is root on every host\"", "")
        .replace("address = \"192.0.2.12\"", "address = \"127.0.0.1\"");
    let between = DEBIAN_TOML
        .replace("repository = \"qemu\"", "repository = \"quemu\"")
        .replace("address = \"192.0.2.12\"", "address = \"192.0.2.12\"\ncanary = true")
        .replace("name = \"compute3\"", "name = \"compute1\"");
    let listings = [
        (within, &["02", "03", "04", "05", "07", "08", "09", "11", "12", "13"][..]),
        (between, &["06", "10", "14"]),
    ];
    let mut shown = String::new();
    for (text, codes) in listings {
        desk.write("fleet.toml", &text);
        let said = desk.run(&with("check", &[]));
        assert_eq!((said.code, said.out.as_str()), (3, ""));
        shown.push_str(&said.err);
        let told = desk.run(&with("plan", &["--json"]));
        let value: Value = serde_json::from_str(&told.err).unwrap();
        let told: BTreeSet<&str> = value["error"]["mistakes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mistake| mistake["code"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = codes.iter().map(|code| format!("RP10{code}")).collect();
        assert_eq!(told, expected.iter().map(String::as_str).collect(), "{value:#}");
    }
    insta::assert_snapshot!(shown);
    // What is no TOML at all, and what is too large, come alone.
    desk.write("fleet.toml", "[fleet\n");
    let said = desk.run(&with("check", &[]));
    assert!(said.code == 3 && said.err.contains("RP1001"), "{said:#?}");
    desk.write("fleet.toml", &"#".repeat(9 << 20));
    let said = desk.run(&with("check", &[]));
    assert!(said.code == 3 && said.err.contains("RP1015"), "{said:#?}");
}

#[test]
fn files_that_are_not_there_or_not_what_they_should_be() {
    let desk = Desk::new();
    desk.refused(&["check", "-f", "none.toml", "--inventory", "inventory.json"], 3, "RP6301");
    desk.refused(&["check", "-f", "fleet.toml", "--inventory", "none.json"], 3, "RP6301");
    desk.refused(&["show", "none.json"], 3, "RP6301");
    desk.refused(&with("check", &["--catalog", "fleet.toml"]), 3, "RP1101");
    desk.write("inventory.json", "[]");
    desk.refused(&with("check", &[]), 3, "RP1102");
    desk.write("inventory.json", "{ \"format\": 9 }");
    desk.refused(&with("check", &[]), 3, "RP1103");
    desk.write("inventory.json", DEBIAN_JSON);
    desk.refused(&with("plan", &["-o", "nowhere/plan.json"]), 1, "RP6302");
}

#[test]
fn a_child_plan_names_its_parent_and_what_changed() {
    let desk = Desk::new();
    desk.must(&with("plan", &["-o", "parent.json"]));
    let parent: Value = serde_json::from_str(&desk.read("parent.json")).unwrap();
    let said = desk.must(&with("plan", &["-o", "child.json", "--parent", "parent.json"]));
    assert!(said.contains(&format!("Compared with its parent {}", parent["id"].as_str().unwrap())), "{said}");
    assert!(said.contains("0 steps left out") && said.contains("0 steps added"), "{said}");
    assert_ne!(desk.read("parent.json"), desk.read("child.json"));
}
