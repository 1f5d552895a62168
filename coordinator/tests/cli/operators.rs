//! Operators' certificates over the wire: made, held to their level, revoked under an open watch, renewed.

use crate::coordinator::{Serving, identity};
use crate::support::Desk;
use replank_identity::Level;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

const ADMIN: &str = "c/admin.toml";
const OPERATOR: &str = "c/operator.toml";
const VIEWER: &str = "c/viewer.toml";
const ALICE: &str = "alice/operator.toml";

fn as_<'a>(who: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["--config", who], rest].concat()
}

fn add<'a>(who: &'a str, name: &'a str, level: &'a str, file: &'a str) -> Vec<&'a str> {
    as_(who, &["operator", "add", name, "--level", level, "-o", file])
}

/// Alice, a viewer, with all that she needs in a folder of her own.
fn add_alice(desk: &Desk) {
    std::fs::create_dir(desk.path("alice")).unwrap();
    let with_settings = [&add(ADMIN, "alice", "viewer", "alice/me.pem")[..], &["--settings", ALICE]].concat();
    assert_eq!(desk.must(&with_settings), format!("export REPLANK_CONFIG={ALICE}\n"));
}

fn states(desk: &Desk) -> Vec<(String, String, String)> {
    let listed = desk.json(&as_(ADMIN, &["operator", "list", "--json"]));
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let all = listed["operators"].as_array().unwrap().iter();
    all.map(|one| (text(one, "name"), text(one, "level"), text(one, "state"))).collect()
}

fn mode(desk: &Desk, file: &str) -> u32 {
    std::fs::metadata(desk.path(file)).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_operator_is_made_and_held_to_its_level() {
    let desk = Desk::new();
    let _serving = Serving::begin(&desk);
    desk.must(&["plan", "-f", "fleet.toml", "--inventory", "inventory.json", "-o", "plan.json"]);
    let run = desk.must(&as_(OPERATOR, &["apply", "plan.json"]));
    add_alice(&desk);
    assert_eq!((mode(&desk, "alice/me.pem"), mode(&desk, ALICE)), (0o600, 0o644));
    assert_eq!(desk.read("alice/authority.pem"), desk.read("c/authority.pem"));

    // The three files are all she needs, wherever they are.
    std::fs::rename(desk.path("alice"), desk.path("moved")).unwrap();
    let alice = "moved/operator.toml";
    assert!(desk.must(&as_(alice, &["runs"])).contains(run.trim()));
    desk.refused(&as_(alice, &["approve", run.trim(), "canary"]), 5, "RP6103");
    desk.refused(&as_(alice, &["pause", run.trim()]), 5, "RP6103");

    // Who belongs is for admins to say; a refusal leaves no file.
    for who in [alice, OPERATOR] {
        desk.refused(&add(who, "mallory", "admin", "mallory.pem"), 5, "RP6103");
        desk.refused(&as_(who, &["operator", "revoke", "admin1"]), 5, "RP6103");
        desk.refused(&as_(who, &["operator", "list"]), 5, "RP6103");
    }
    assert!(!desk.path("mallory.pem").exists());

    // One name has one holder, and no file is written over.
    desk.refused(&add(ADMIN, "alice", "admin", "again.pem"), 5, "RP6211");
    desk.refused(&add(ADMIN, "bob", "operator", "moved/me.pem"), 3, "RP6317");
    std::fs::create_dir(desk.path("foreign")).unwrap();
    desk.write("foreign/authority.pem", "another fleet's");
    let foreign = [&add(ADMIN, "bob", "operator", "bob.pem")[..], &["--settings", "foreign/o.toml"]].concat();
    desk.refused(&foreign, 3, "RP6317");
    assert_eq!(desk.read("foreign/authority.pem"), "another fleet's");
    let twice = [&add(ADMIN, "bob", "operator", "bob.pem")[..], &["--settings", "./bob.pem"]].concat();
    desk.refused(&twice, 3, "RP6317");
    assert!(!states(&desk).iter().any(|(name, ..)| name == "bob"), "nothing was asked for");

    // Without --settings they are printed, and they are good beside a copy of the authority's certificate.
    let printed = desk.must(&add(ADMIN, "bob", "operator", "bob.pem"));
    desk.write("bob.toml", &printed);
    desk.write("authority.pem", &desk.read("c/authority.pem"));
    desk.must(&as_("bob.toml", &["pause", run.trim()]));
    let log = desk.read("log");
    let audit = |name: &str, level: &str| {
        let line = log.lines().find(|line| line.contains(&format!("operator={name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in {log}"));
        assert!(line.contains("certificate was made by=admin1") && line.contains(&format!("level={level}")));
    };
    audit("alice", "viewer");
    audit("bob", "operator");
}

#[test]
fn a_revoked_operator_is_refused_and_its_watch_ends() {
    let desk = Desk::new();
    let serving = Serving::begin(&desk);
    desk.must(&["plan", "-f", "fleet.toml", "--inventory", "inventory.json", "-o", "plan.json"]);
    let run = desk.must(&as_(OPERATOR, &["apply", "plan.json"]));
    add_alice(&desk);
    desk.write("old.pem", &desk.read("alice/me.pem"));
    desk.must(&as_(ALICE, &["operator", "renew"]));
    let mut watching = desk
        .command(&as_(ALICE, &["watch", run.trim(), "--json"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut watched = BufReader::new(watching.stdout.take().unwrap());
    watched.read_line(&mut first).unwrap();
    assert!(first.contains("\"created\""), "{first}");

    desk.must(&as_(ADMIN, &["operator", "revoke", "alice"]));
    let ended = watching.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(5), "{err}");
    assert!(err.contains("RP6102") && err.contains("was revoked"), "{err}");

    desk.refused(&as_(ALICE, &["runs"]), 5, "RP6306");
    desk.refused(&as_(ALICE, &["operator", "renew"]), 5, "RP6306");
    // The one from before the renewal as well, and also after a restart.
    desk.write("alice/me.pem", &desk.read("old.pem"));
    desk.refused(&as_(ALICE, &["runs"]), 5, "RP6306");
    assert_eq!(serving.stop(), 0);
    let _serving = Serving::start(&desk);
    desk.refused(&as_(ALICE, &["runs"]), 5, "RP6306");
    assert!(states(&desk).contains(&("alice".into(), "viewer".into(), "revoked".into())));
    assert!(desk.read("log").contains("the operator was revoked by=admin1 operator=alice certificates=2"));

    // The name is free again.
    desk.must(&add(ADMIN, "alice", "operator", "alice/new.pem"));
    assert!(states(&desk).contains(&("alice".into(), "operator".into(), "good".into())));

    desk.refused(&as_(ADMIN, &["operator", "revoke", "nobody"]), 5, "RP6210");
    desk.must(&as_(ADMIN, &["operator", "revoke", "admin"]));
    desk.refused(&as_(ADMIN, &["operator", "revoke", "admin1"]), 5, "RP6212");
    let table = desk.must(&as_(ADMIN, &["operator", "list"]));
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(
        lines[1..4],
        [["admin", "admin", "revoked"], ["admin1", "admin", "good"], ["alice", "operator", "good"]],
        "{table}"
    );
}

#[test]
fn a_certificate_that_ends_soon_is_told_of_and_renewed() {
    let desk = Desk::new();
    let _serving = Serving::begin(&desk);
    let said = desk.run(&as_(VIEWER, &["runs", "--json"]));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "90 days are enough");
    identity(&desk, "c/viewer1.pem", "viewer1", Level::Viewer, Duration::from_secs(20 * 86_400 - 3_600));
    let said = desk.run(&as_(VIEWER, &["runs", "--json"]));
    assert_eq!((said.code, said.err.lines().count()), (0, 1), "{said:#?}");
    assert!(said.err.starts_with("warning: your certificate ends in 19 d "), "{said:#?}");
    assert!(said.err.contains("`replank operator renew`"), "{said:#?}");

    // Through a link, which stays one.
    std::fs::rename(desk.path("c/viewer1.pem"), desk.path("real.pem")).unwrap();
    std::os::unix::fs::symlink(desk.path("real.pem"), desk.path("c/viewer1.pem")).unwrap();
    let old = desk.read("real.pem");
    let renewed = desk.json(&as_(VIEWER, &["operator", "renew", "--json"]));
    assert!(renewed["certificate_expires_at_ms"].is_u64(), "{renewed}");
    let new = desk.read("real.pem");
    let key = |pem: &str| pem.split("-----END PRIVATE KEY-----").next().unwrap().to_owned();
    assert_ne!(key(&new), key(&old), "a renewal makes a new key");
    assert_eq!(mode(&desk, "real.pem"), 0o600);
    assert!(desk.path("c/viewer1.pem").is_symlink());
    let said = desk.run(&as_(VIEWER, &["runs", "--json"]));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:#?}");
    // The level is the certificate's.
    desk.refused(&as_(VIEWER, &["operator", "list"]), 5, "RP6103");
    assert!(states(&desk).contains(&("viewer1".into(), "viewer".into(), "good".into())));
    assert!(desk.read("log").contains("an operator's certificate was renewed by=viewer1 level=viewer"));
}
