//! `replank ceph`: answers from files, with the exit code that a script goes by.

use crate::support::Desk;
use serde_json::{Value, json};

/// The small cluster of the core's tests, as Nautilus prints it: three machines, six OSDs, three pools, three MONs.
const OSDS: &str = include_str!("../../../common/ceph/tests/ceph/testdata/nautilus/osd-dump.json");
const PGS: &str = include_str!("../../../common/ceph/tests/ceph/testdata/nautilus/pg-dump.json");
const BRIEF: &str = include_str!("../../../common/ceph/tests/ceph/testdata/nautilus/pg-brief.json");
const TREE: &str = include_str!("../../../common/ceph/tests/ceph/testdata/nautilus/osd-tree.json");
const QUORUM: &str = include_str!("../../../common/ceph/tests/ceph/testdata/nautilus/quorum-status.json");

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("osd.json", OSDS);
    desk.write("pg.json", PGS);
    desk.write("brief.json", BRIEF);
    desk.write("tree.json", TREE);
    desk.write("quorum.json", QUORUM);
    desk
}

/// The documents with every group clean and enough copies of all that is kept.
fn healthy() -> Desk {
    let desk = desk();
    let mut pgs: Value = serde_json::from_str(PGS).unwrap();
    for pg in pgs["pg_map"]["pg_stats"].as_array_mut().unwrap() {
        if pg["pgid"] == "1.7" || pg["pgid"] == "2.3" {
            pg["state"] = "active+clean".into();
            pg["up"] = json!([0, 2, 4]);
            pg["acting"] = json!([0, 2, 4]);
            pg["avail_no_missing"] = json!([]);
            pg["stat_sum"]["num_objects_degraded"] = 0.into();
        }
    }
    desk.write("pg.json", &pgs.to_string());
    desk
}

fn safe_to_stop<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    [&["ceph", "safe-to-stop", "--pg-dump", "pg.json", "--osd-dump", "osd.json"], rest].concat()
}

#[test]
fn only_safe_is_exit_code_0() {
    let desk = healthy();
    let consents = ["--consent", "archive", "--consent", "scratch"];
    // Both OSDs of a machine, with the MON on it.
    let said =
        desk.run(&safe_to_stop(&[&consents[..], &["--quorum", "quorum.json", "osd.0", "osd.1"]].concat()));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:#?}");
    insta::assert_snapshot!("safe", said.out);
    // Without consent to its thin pools, and two machines at once.
    let said = desk.refused(&safe_to_stop(&["osd.0", "osd.2"]), 4, "RP6321");
    insta::assert_snapshot!("not-safe", said.out);
    assert!(said.err.starts_with("MONs were not looked at"), "{}", said.err);
    let told = desk.run(&safe_to_stop(&["--json", "osd.0", "osd.2"]));
    let verdict: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &verdict["answer"]), (4, &json!("not-safe")));
    let first = &verdict["objections"][0];
    assert_eq!(
        (&first["what"], &first["cause"], &first["needed"]),
        (&json!("pg"), &json!("too-few"), &json!(2))
    );
}

#[test]
fn what_is_not_told_is_no() {
    // Of 1.7, which moves, a brief list does not say whether its copies are complete.
    let desk = desk();
    let brief = ["ceph", "safe-to-stop", "--pg-dump", "brief.json", "--osd-dump", "osd.json"];
    let said = desk.refused(&[&brief[..], &["--consent", "archive", "osd.4"]].concat(), 4, "RP6321");
    assert!(said.err.starts_with("the list of placement groups is brief"), "{}", said.err);
    let said = desk.refused(
        &[&brief[..], &["--consent", "archive", "--consent", "scratch", "osd.2"]].concat(),
        3,
        "RP6322",
    );
    insta::assert_snapshot!("cannot-tell", said.out);
}

#[test]
fn mons_are_judged_with_the_quorum() {
    let desk = healthy();
    desk.must(&safe_to_stop(&["--quorum", "quorum.json", "mon.delta"]));
    let said =
        desk.refused(&safe_to_stop(&["--quorum", "quorum.json", "mon.alpha", "mon.delta"]), 4, "RP6321");
    assert!(said.out.contains("RP2210") && said.out.contains("RP2211"), "{}", said.out);
}

#[test]
fn waves_are_shown_with_their_bound() {
    let desk = healthy();
    let files = [
        "--osd-tree",
        "tree.json",
        "--quorum",
        "quorum.json",
        "--consent",
        "archive",
        "--consent",
        "scratch",
    ];
    let waves = [&["ceph", "waves", "--pg-dump", "pg.json", "--osd-dump", "osd.json"], &files[..]].concat();
    insta::assert_snapshot!("waves", desk.must(&waves));
    let plan = desk.json(&[&waves[..], &["--json"]].concat());
    assert_eq!((plan["waves"].as_array().unwrap().len(), &plan["lower_bound"]["waves"]), (3, &json!(3)));
    // Without consent the thin pools keep their OSDs in no wave.
    let said = desk.refused(&waves[..10], 4, "RP6321");
    insta::assert_snapshot!("waves-stuck", said.out);
    // A wave is what safe-to-stop says yes to.
    for wave in plan["waves"].as_array().unwrap() {
        let osds: Vec<&str> =
            wave["osds"].as_array().unwrap().iter().map(|osd| osd.as_str().unwrap()).collect();
        desk.must(&safe_to_stop(&[&["--consent", "archive", "--consent", "scratch"], &osds[..]].concat()));
    }
}

#[test]
fn files_and_names_that_lead_nowhere() {
    let desk = desk();
    desk.refused(&safe_to_stop(&["osd.99"]), 3, "RP1205");
    desk.refused(&safe_to_stop(&["mon.alpha"]), 3, "RP1205");
    desk.refused(&safe_to_stop(&["--consent", "nowhere", "osd.1"]), 3, "RP1205");
    desk.refused(&safe_to_stop(&["--osd-tree", "osd.json", "osd.1"]), 3, "RP1202");
    desk.refused(&safe_to_stop(&["--quorum", "fleet.toml", "osd.1"]), 3, "RP1201");
    desk.refused(
        &["ceph", "safe-to-stop", "--pg-dump", "osd.json", "--osd-dump", "pg.json", "1"],
        3,
        "RP1202",
    );
    desk.refused(&["ceph", "safe-to-stop", "--pg-dump", "none", "--osd-dump", "osd.json", "1"], 3, "RP6301");
    for none in [&["osd.x"][..], &["mds.a"], &[], &["mon."]] {
        assert_eq!(desk.run(&safe_to_stop(none)).code, 2, "{none:?}");
    }
}
