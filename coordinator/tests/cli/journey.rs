//! An operator's way from nothing to a run that waits, and what a coordinator's end does to whoever watches.

use crate::coordinator::Serving;
use crate::support::Desk;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

fn as_<'a>(level: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["--config", level], rest].concat()
}

const ADMIN: &str = "c/admin.toml";
const OPERATOR: &str = "c/operator.toml";
const VIEWER: &str = "c/viewer.toml";

/// Makes the example's plan and applies it; the run's id.
fn apply(desk: &Desk) -> String {
    desk.must(&["plan", "-f", "fleet.toml", "--inventory", "inventory.json", "-o", "plan.json"]);
    let run = desk.must(&as_(OPERATOR, &["apply", "plan.json"]));
    assert!(run.starts_with("run-") && run.lines().count() == 1, "{run}");
    run.trim().to_owned()
}

/// The indexes of a watching's lines, as JSON.
fn indexes(out: &str) -> Vec<u64> {
    let index = |line: &str| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap();
    out.lines().map(index).collect()
}

#[test]
fn from_nothing_to_a_run() {
    let desk = Desk::new();
    let serving = Serving::begin(&desk);
    assert_eq!(desk.json(&as_(VIEWER, &["runs", "--json"]))["runs"], Value::Array(Vec::new()));
    desk.refused(&as_(VIEWER, &["status"]), 5, "RP6205");

    let hosts = desk.json(&as_(VIEWER, &["host", "list", "--json"]));
    assert_eq!(hosts["hosts"].as_array().unwrap().len(), 3);
    assert_eq!(hosts["hosts"][0]["linked"], false);
    let table = desk.must(&as_(VIEWER, &["host", "list"]));
    assert!(table.lines().nth(1).unwrap().starts_with("compute1  down  never"), "{table}");
    assert_eq!(desk.json(&as_(VIEWER, &["guests", "--json"]))["guests"], Value::Array(Vec::new()));

    // Hosts that do not answer are named with why, in the file and on standard error.
    let inventory = desk.run(&as_(VIEWER, &["inventory", "--deadline", "1"]));
    let value: Value = serde_json::from_str(&inventory.out).unwrap();
    assert!(value["missing"]["compute2"].as_str().unwrap().contains("not linked"), "{value}");
    assert!(inventory.err.contains("compute2 gave no facts: "), "{inventory:#?}");

    let run = apply(&desk);
    desk.refused(&as_(OPERATOR, &["apply", "plan.json"]), 5, "RP6207");
    let status = desk.json(&as_(VIEWER, &["status", "--json"]));
    assert_eq!((status["run"].as_str(), status["by"].as_str()), (Some(run.as_str()), Some("operator1")));
    assert_eq!(status["phase"], "counting");
    let why = desk.must(&as_(VIEWER, &["why"]));
    assert!(why.contains("RP3023") && why.contains("compute1"), "{why}");
    let why = desk.json(&as_(VIEWER, &["why", &run, "--json"]));
    assert_eq!(why["waits"][0]["code"], "RP3023");
    let shown = desk.must(&as_(VIEWER, &["show", &run]));
    assert!(shown.contains("Plan for the fleet harbour"), "{shown}");
    let plan: Value = serde_json::from_str(&desk.read("plan.json")).unwrap();
    let stored = desk.must(&as_(VIEWER, &["show", plan["id"].as_str().unwrap(), "--json"]));
    assert_eq!(stored, desk.read("plan.json"));

    // Decisions, and those that cannot be taken now, under the core's own codes.
    desk.refused(&as_(OPERATOR, &["resume", &run]), 5, "RP3009");
    desk.refused(&as_(OPERATOR, &["resume", &run, "--acknowledge-lost", "web1"]), 5, "RP6202");
    desk.refused(&as_(OPERATOR, &["approve", &run, "no-such-hold"]), 5, "RP3003");
    desk.refused(&as_(OPERATOR, &["retry", &run, "no-such-step"]), 5, "RP3003");
    desk.must(&as_(OPERATOR, &["pause", &run]));
    let waits = desk.run(&as_(VIEWER, &["watch", &run, "--until-hold"]));
    assert_eq!(waits.code, 8, "{waits:#?}");
    assert!(
        waits.out.contains("begun by operator1") && waits.out.contains("paused by operator1"),
        "{waits:#?}"
    );
    assert!(waits.err.contains("RP3010 paused by operator1"), "it is said what it waits for: {waits:#?}");
    let watched = desk.run(&as_(VIEWER, &["watch", &run, "--since", "2", "--until-hold", "--json"]));
    assert_eq!((watched.code, indexes(&watched.out)), (8, vec![2, 3]), "{watched:#?}");
    desk.refused(&as_(OPERATOR, &["pause", &run]), 5, "RP3010");
    assert_eq!(desk.json(&as_(OPERATOR, &["resume", &run, "--json"]))["accepted"], true);

    desk.must(&as_(OPERATOR, &["abort", &run]));
    desk.refused(&as_(OPERATOR, &["abort", &run]), 5, "RP3012");
    let why = desk.must(&as_(VIEWER, &["why", &run]));
    assert!(why.contains("its guests are not counted for the last time"), "{why}");
    let report = desk.must(&as_(VIEWER, &["report", &run]));
    assert_eq!(report.trim_end().lines().last(), Some("guests lost: 0"), "{report}");
    desk.write("beats.json", "{ \"web1\": 180 }");
    let report = desk.json(&as_(VIEWER, &["report", &run, "--beats", "beats.json", "--json"]));
    assert_eq!(report["run"], run.as_str());
    desk.write("beats.json", "[1]");
    desk.refused(&as_(VIEWER, &["report", &run, "--beats", "beats.json"]), 3, "RP6313");
    let runs = desk.must(&as_(VIEWER, &["runs"]));
    assert!(runs.contains(&run) && runs.contains("aborting"), "{runs}");
    assert_eq!(serving.stop(), 0);
}

#[test]
fn levels_are_held_to() {
    let desk = Desk::new();
    let _serving = Serving::begin(&desk);
    let run = apply(&desk);
    for (who, arguments) in [
        (VIEWER, &["apply", "plan.json"][..]),
        (VIEWER, &["pause", &run]),
        (VIEWER, &["resume", &run, "--acknowledge-lost", "web1"]),
        (VIEWER, &["abort", &run]),
        (VIEWER, &["rollback", &run]),
        (VIEWER, &["approve", &run, "canary"]),
        (VIEWER, &["retry", &run, "compute1.pin"]),
        (VIEWER, &["host", "token", "compute4"]),
        (OPERATOR, &["host", "token", "compute4"]),
        (OPERATOR, &["host", "revoke", "compute1"]),
    ] {
        desk.refused(&as_(who, arguments), 5, "RP6103");
    }
    let token = desk.json(&as_(ADMIN, &["host", "token", "compute4", "--minutes", "5", "--json"]));
    assert!(token["token"].as_str().unwrap().starts_with("rpk1."), "{token}");
    desk.must(&as_(ADMIN, &["host", "revoke", "compute3"]));
    desk.refused(&as_(ADMIN, &["host", "revoke", "compute9"]), 5, "RP6206");
    let hosts = desk.json(&as_(VIEWER, &["host", "list", "--json"]));
    assert_eq!(hosts["hosts"][2]["revoked"], true, "{hosts}");
    let status = desk.json(&as_(VIEWER, &["status", "--json"]));
    assert_eq!(status["phase"], "counting", "nobody below the level changed anything");
}

/// `kill -9`, and a stop as systemd does it: the watcher goes on with the first line that it has not shown, and the run is there.
#[test]
fn a_watcher_outlives_the_coordinator() {
    let desk = Desk::new();
    let serving = Serving::begin(&desk);
    let run = apply(&desk);
    let mut watching = desk
        .command(&as_(VIEWER, &["watch", &run, "--until-hold", "--json"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut watched = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut out = String::new();
    let mut until = |word: &str| {
        for line in watched.by_ref() {
            out.push_str(&format!("{line}\n"));
            if line.contains(word) {
                return;
            }
        }
        panic!("no {word} in {out}");
    };
    until("\"led\":{\"epoch\":1}");
    serving.kill();
    let serving = Serving::start(&desk);
    until("\"led\":{\"epoch\":2}");
    assert_eq!(serving.stop(), 0);
    let _serving = Serving::start(&desk);
    until("\"led\":{\"epoch\":3}");
    desk.must(&as_(OPERATOR, &["pause", &run]));
    until("\"paused\"");
    let ended = watching.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(8), "{out}\n{err}");
    let count = out.lines().count() as u64;
    assert_eq!(indexes(&out), (1..=count).collect::<Vec<_>>(), "each line once, in order");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let epochs: Vec<&Value> =
        lines.iter().map(|line| &line["event"]["led"]["epoch"]).filter(|e| !e.is_null()).collect();
    assert_eq!(epochs, [1, 2, 3], "each start leads with a later epoch");
    assert!(err.contains("the connection broke"), "{err}");
}

#[test]
fn metrics_tell_of_runs_hosts_and_waits() {
    let desk = Desk::new();
    let serving = Serving::begin(&desk);
    let run = apply(&desk);
    desk.must(&as_(OPERATOR, &["pause", &run]));
    let (body, head) = serving.scrape();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"), "{head}");
    for line in [
        &format!("replank_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        "replank_epoch 1",
        "replank_runs{phase=\"paused\"} 1",
        "replank_runs{phase=\"running\"} 0",
        "replank_hosts{state=\"unlinked\"} 3",
        "replank_host_linked{host=\"compute2\"} 0",
        "replank_steps_total{outcome=\"applied\"} 0",
        "replank_guests_lost_total 0",
        "replank_waits{code=\"RP3010\",what=\"the run is paused already\"} 1",
        &format!("replank_run_steps_done{{run=\"{run}\"}} 0"),
        "# EOF",
    ] {
        assert!(body.lines().any(|known| known == line), "{line} is not in\n{body}");
    }
    assert!(body.contains("replank_host_certificate_expiry_seconds{host=\"compute1\"} 1"), "{body}");
}
