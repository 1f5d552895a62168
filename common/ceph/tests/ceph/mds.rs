//! When an MDS may stop, and when one is back.

use jiff::tz::{TimeZone, offset};
use replank_ceph::documents::{LeftSession, Managers, MdsMap, Session};
use replank_ceph::mds::{are_back, left, may_stop, to_be_asked};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Two file systems: `home` with two ranks, `work` with one. `e` stands by.
fn map(change: impl Fn(&mut Value)) -> MdsMap {
    let mds = |name: &str, rank: i32, state: &str| json!({ "name": name, "rank": rank, "state": state });
    let mut dump = json!({ "standbys": [mds("e", -1, "up:standby")], "filesystems": [
        { "mdsmap": { "fs_name": "home", "max_mds": 2, "in": [0, 1], "info": {
            "gid_1": mds("a", 0, "up:active"), "gid_2": mds("b", 1, "up:active") } } },
        { "mdsmap": { "fs_name": "work", "max_mds": 1, "in": [0], "info": {
            "gid_3": mds("c", 0, "up:active"), "gid_4": mds("d", 0, "up:standby-replay") } } } ] });
    change(&mut dump);
    MdsMap::read("fs", dump.to_string().as_bytes()).unwrap()
}

fn of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn said(misses: &[impl ToString]) -> Vec<String> {
    misses.iter().map(ToString::to_string).collect()
}

#[test]
fn one_stops_whose_rank_another_takes_over() {
    let whole = map(|_| {});
    for one in ["a", "b", "c", "d", "e"] {
        assert!(may_stop(&whole, &of(&[one]), false).is_empty(), "{one}");
    }
    // `d` follows rank 0 of work alone, and `e` takes over one rank.
    assert_eq!(
        said(&may_stop(&whole, &of(&["a", "b"]), false)),
        ["mds.b holds rank 1 of the file system home, and no other MDS stands by to take it over"]
    );
    assert!(may_stop(&whole, &of(&["a", "c"]), false).is_empty());
    assert_eq!(may_stop(&whole, &of(&["a", "c", "d"]), false).len(), 1);
    let alone = map(|dump| dump["standbys"] = json!([]));
    assert_eq!(
        said(&may_stop(&alone, &of(&["a"]), false)),
        ["mds.a holds rank 0 of the file system home, and no other MDS stands by to take it over"]
    );
    assert!(may_stop(&alone, &of(&["a"]), true).is_empty(), "it comes back to its rank itself");
    let silent = map(|dump| dump["standbys"][0]["laggy_since"] = json!("2026-01-02 10:00:00.000000"));
    assert_eq!(may_stop(&silent, &of(&["a"]), false).len(), 1);
    assert!(may_stop(&MdsMap::default(), &of(&["a"]), false).is_empty(), "nobody is served");
}

#[test]
fn none_stops_while_a_rank_is_not_served() {
    let replays = map(|dump| dump["filesystems"][0]["mdsmap"]["info"]["gid_1"]["state"] = json!("up:replay"));
    let text = "rank 0 of the file system home is not active: mds.a, which holds it, is up:replay";
    // Whoever it is: also one that holds no rank.
    for one in ["b", "e"] {
        assert_eq!(said(&may_stop(&replays, &of(&[one]), false)), [text]);
    }
    assert_eq!(said(&may_stop(&replays, &of(&[]), false)), [text]);
    let failed = map(|dump| {
        dump["filesystems"][0]["mdsmap"]["info"].as_object_mut().unwrap().remove("gid_2");
    });
    assert_eq!(
        said(&may_stop(&failed, &of(&["c"]), false)),
        ["rank 1 of the file system home is not active: no MDS holds it"]
    );
    let silent = map(|dump| dump["filesystems"][1]["mdsmap"]["info"]["gid_3"]["laggy_since"] = json!("x"));
    assert_eq!(
        said(&may_stop(&silent, &of(&["e"]), false)),
        ["rank 0 of the file system work is not active: mds.c, which holds it, is up:active (laggy)"]
    );
}

#[test]
fn one_is_back_when_the_cluster_knows_it_and_every_rank_is_served() {
    let whole = map(|_| {});
    assert!(are_back(&whole, &of(&["a", "d", "e"])).is_empty());
    assert_eq!(said(&are_back(&whole, &of(&["f"]))), ["mds.f is not in the map of MDS yet"]);
    let rejoins = map(|dump| dump["filesystems"][1]["mdsmap"]["info"]["gid_3"]["state"] = json!("up:rejoin"));
    assert_eq!(are_back(&rejoins, &of(&["e"])).len(), 1);
}

/// Real ones, of which one MDS serves and the other stands by, is being restarted, or has just given its rank away.
#[test]
fn real_file_systems_are_judged_by_what_they_told() {
    let read = |name: &str, text: &str| MdsMap::read(name, text.as_bytes()).unwrap();
    for (name, text, serves, stands_by) in [
        ("nautilus", include_str!("testdata/recorded/file-system/nautilus-served.json"), "ceph2", "ceph1"),
        ("pacific", include_str!("testdata/recorded/file-system/pacific-served.json"), "ceph2", "ceph1"),
        ("reef", include_str!("testdata/recorded/file-system/reef-served.json"), "ceph1", "ceph2"),
    ] {
        let map = read(name, text);
        let [shelf] = map.filesystems.as_slice() else { panic!("{name}: {map:?}") };
        assert_eq!((shelf.max_mds, shelf.may_follow, shelf.holders[serves]), (1, false, 0), "{name}");
        for one in [serves, stands_by] {
            assert!(may_stop(&map, &of(&[one]), false).is_empty(), "{name}: {one}");
        }
        let gone = format!(
            "mds.{serves} holds rank 0 of the file system shelf, and no other MDS stands by to take it over"
        );
        assert_eq!(said(&may_stop(&map, &of(&[serves, stands_by]), false)), [gone], "{name}");
        assert!(are_back(&map, &of(&[serves, stands_by])).is_empty(), "{name}");
    }
    let alone = read("pacific", include_str!("testdata/recorded/file-system/pacific-nobody-stands-by.json"));
    assert_eq!(may_stop(&alone, &of(&["ceph2"]), false).len(), 1);
    assert_eq!(said(&are_back(&alone, &of(&["ceph1"]))), ["mds.ceph1 is not in the map of MDS yet"]);
    let rejoins = read("reef", include_str!("testdata/recorded/file-system/reef-rejoin.json"));
    let waits = ["rank 0 of the file system shelf is not active: mds.ceph1, which holds it, is up:rejoin"];
    assert_eq!(said(&may_stop(&rejoins, &of(&[]), false)), waits);
}

/// Each manager mounts the file system as soon as it is the active one. Of two that were told to go, 14.2 still has the last one's session, and MONs of 16.2 have closed both.
#[test]
fn what_a_manager_left_keeps_an_mds_until_it_can_be_there_no_longer() {
    let utc = TimeZone::UTC;
    for (name, managers, sessions, map, now, left_behind) in [
        (
            "nautilus",
            include_str!("testdata/recorded/file-system/nautilus-managers.json"),
            include_str!("testdata/recorded/file-system/nautilus-sessions.json"),
            include_str!("testdata/recorded/file-system/nautilus-with-sessions.json"),
            "2026-11-30T01:12:31.332Z",
            Some("ceph3"),
        ),
        (
            "pacific",
            include_str!("testdata/recorded/file-system/pacific-managers.json"),
            include_str!("testdata/recorded/file-system/pacific-sessions.json"),
            include_str!("testdata/recorded/file-system/pacific-with-sessions.json"),
            "2026-11-30T01:13:27.722Z",
            None,
        ),
    ] {
        let managers = Managers::read(name, managers.as_bytes()).unwrap();
        assert_eq!(managers.names, of(&["ceph1", "ceph2", "ceph3"]), "{name}");
        let ago = managers.active_for(now.parse().unwrap(), &utc).unwrap();
        assert!((12..13).contains(&ago.as_secs()), "{name}: {ago:?}");
        let sessions = Session::read_all(name, sessions.as_bytes()).unwrap();
        assert_eq!(sessions.iter().filter(|session| session.of == "writer").count(), 1, "{name}");
        assert!(sessions.iter().any(|session| session.of == "ceph2"), "{name}: of the active one");

        let mut map = MdsMap::read(name, map.as_bytes()).unwrap();
        assert_eq!(to_be_asked(&map, &managers, ago), ["ceph2"], "{name}");
        assert_eq!(to_be_asked(&map, &managers, Duration::from_secs(309)), ["ceph2"], "{name}");
        assert!(to_be_asked(&map, &managers, Duration::from_secs(310)).is_empty(), "{name}");
        map.left = left("ceph2", &sessions, &managers, ago);
        let owners: Vec<&str> = map.left.iter().map(|left| left.manager.as_str()).collect();
        assert_eq!(owners, Vec::from_iter(left_behind), "{name}");
        let waits = left_behind.map(|manager| {
            format!(
                "mds.ceph2 holds rank 0 of the file system shelf and still has a session that mgr.{manager} left when it ended, \
                 which whoever serves the rank next would wait for, and all clients with it; the MDS closes it 300 s after that end"
            )
        });
        assert_eq!(said(&may_stop(&map, &of(&["ceph2"]), false)), Vec::from_iter(waits), "{name}");
        assert_eq!(may_stop(&map, &of(&["ceph2"]), true).len(), usize::from(left_behind.is_some()), "{name}");
        assert!(may_stop(&map, &of(&["ceph1"]), false).is_empty(), "{name}: it holds no rank");
        assert!(are_back(&map, &of(&["ceph2"])).is_empty(), "{name}");
        // Nobody is older than a change long ago.
        assert!(left("ceph2", &sessions, &managers, Duration::from_secs(60)).is_empty(), "{name}");
    }
}

#[test]
fn who_is_not_asked_for_sessions() {
    let managers = |dump: Value| Managers::read("mgr", dump.to_string().as_bytes()).unwrap();
    let with = |modules: Value| {
        managers(
            json!({ "active_name": "x", "active_change": "2026-11-30 02:00:00.5", "standbys": [{ "name": "y" }],
            "available_modules": modules }),
        )
    };
    let mounts = with(json!([{ "name": "restful" }, { "name": "volumes" }]));
    // Luminous names its modules alone, and has none that mounts.
    let older = with(json!(["restful", "status"]));
    let ago = Duration::from_secs(5);
    let whole = map(|_| {});
    assert_eq!(to_be_asked(&whole, &mounts, ago), ["a", "b", "c"]);
    assert!(to_be_asked(&whole, &older, ago).is_empty());
    let soon = map(|dump| dump["filesystems"][1]["mdsmap"]["session_autoclose"] = json!(60));
    assert_eq!(to_be_asked(&soon, &mounts, Duration::from_secs(70)), ["a", "b"]);
    let busy = map(|dump| dump["filesystems"][1]["mdsmap"]["info"]["gid_3"]["state"] = json!("up:rejoin"));
    assert_eq!(to_be_asked(&busy, &mounts, ago), ["a", "b"]);

    // 14.2 writes what the clock on its wall shows, here one that is two hours ahead of UTC.
    let now = "2026-11-30T00:00:10.5Z".parse().unwrap();
    assert_eq!(mounts.active_for(now, &TimeZone::fixed(offset(2))), Some(Duration::from_secs(10)));
    assert_eq!(mounts.active_for(now, &TimeZone::UTC), None, "it is not over yet");
    let never = managers(json!({ "active_name": "", "active_change": "0.000000", "standbys": [] }));
    assert_eq!((never.names.len(), never.active_for(now, &TimeZone::UTC)), (0, None));
    assert!(Managers::read("mgr", b"{}").is_err());

    // Before Nautilus nobody told for how long a session has been there; of two that a manager left one is told.
    let sessions = |up: Value| {
        let one = json!({ "id": 1, "uptime": up, "client_metadata": { "entity_id": "y" } });
        Session::read_all("ls", json!([one, one, { "id": 2 }]).to_string().as_bytes()).unwrap()
    };
    assert!(left("a", &sessions(Value::Null), &mounts, ago).is_empty());
    let found = [LeftSession { mds: "a".to_owned(), manager: "y".to_owned() }];
    assert_eq!(left("a", &sessions(json!(5.5)), &mounts, ago), found);
    assert!(left("a", &sessions(json!(4.5)), &mounts, ago).is_empty());
}
