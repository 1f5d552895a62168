//! Readings of a cluster that answers with the documents of each release.

use super::*;
use crate::actions::testing::World;
use crate::host::command::{Command, CommandError, Output, Programs};
use replank_ceph::PgId;
use replank_ceph::redundancy::Answer;
use replank_ceph::seen::{Settling, Stop};
use replank_common::reading::ReadingRequest;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// For an answer.
const TIME: Duration = Duration::from_secs(60);

/// `ceph`, of which each question finds its document in a folder.
#[derive(Debug)]
struct Documents {
    release: &'static str,
    /// How many lists of groups are still to tell of one that peers.
    peering: Mutex<u32>,
    /// Groups are reported only by those who are told to; how that is answered.
    flush: Option<bool>,
    asked: Mutex<Vec<String>>,
}

impl Documents {
    fn read(&self, name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/ceph/tests/ceph/testdata");
        std::fs::read_to_string(folder.join(self.release).join(name)).unwrap()
    }

    fn answer(&self, question: &str) -> Option<String> {
        let booted = r#"{ "id": 5, "ceph_version": "ceph version 16.2.15 (618f) pacific (stable)" }"#;
        match question {
            "osd dump" => Some(self.read("osd-dump.json")),
            "osd tree" => Some(self.read("osd-tree.json")),
            "quorum_status" => Some(self.read("quorum-status.json")),
            "health detail" => Some(self.read("health.json")),
            "pg dump" => {
                // osd.5 has two groups that are not clean in the documents, for good; here they become so.
                let list = self.read("pg-dump.json").replace("active+undersized+degraded", "active+clean");
                let mut peering = self.peering.lock().unwrap();
                let list = if *peering > 0 { list.replacen("active+clean", "peering", 7) } else { list };
                if self.flush != Some(true) {
                    *peering = peering.saturating_sub(1);
                }
                Some(list)
            }
            // Hammer insists on a number, and its document has none.
            "osd metadata" if self.release == "hammer" => None,
            "osd metadata" => Some(format!("[{booted}]")),
            one if one.starts_with("osd metadata ") => Some(booted.replace("\"id\": 5, ", "")),
            _ => None,
        }
    }
}

impl Programs for Documents {
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        assert_eq!(command.program, "ceph");
        let arguments: Vec<&str> = command.arguments.iter().map(|word| word.to_str().unwrap()).collect();
        let (question, said) = match &arguments[..] {
            ["--connect-timeout", _, "--format", "json", question @ ..] => {
                let question = question.join(" ");
                let said = self.answer(&question);
                (question, said)
            }
            ["--connect-timeout", _, "tell", who, "flush_pg_stats"] => {
                let works = self.flush.unwrap_or(true);
                if works && self.flush.is_some() {
                    *self.peering.lock().unwrap() = 0;
                }
                (format!("flush {who}"), works.then(String::new))
            }
            _ => panic!("it could hang, or answer in words: {arguments:?}"),
        };
        self.asked.lock().unwrap().push(question);
        let code = Some(i32::from(said.is_none()));
        let stdout = said.unwrap_or_default().into_bytes();
        Ok(Output { code, signal: None, stdout, stderr: Vec::new(), took: Duration::ZERO })
    }
}

fn asked_of(release: &'static str, peering: u32) -> (World, Arc<Documents>) {
    let mut world = World::new();
    let documents = Documents { release, peering: Mutex::new(peering), flush: None, asked: Mutex::default() };
    let documents = Arc::new(documents);
    world.host.programs = documents.clone();
    (world, documents)
}

/// The answer, through its form on the wire.
fn read(world: &World, request: &ReadingRequest) -> Seen {
    match crate::readings::answer(&world.host, request, TIME) {
        ReadingValue::Ceph(text) => Seen::read(&text).unwrap(),
        other => panic!("{request:?}: {other:?}"),
    }
}

#[test]
fn a_stop_is_answered_with_what_decides_it_in_the_dialect_of_every_release() {
    for release in ["hammer", "jewel", "luminous", "nautilus", "octopus"] {
        let (world, documents) = asked_of(release, 0);
        let Seen::Stop(stop) = read(&world, &ReadingRequest::CephStop { osds: vec![5] }) else { panic!() };
        let Stop { osds, pgs, tree, .. } = &*stop;
        let five = OsdId(5);
        let groups: Vec<PgId> = pgs.pgs.pgs.iter().map(|pg| pg.id).collect();
        assert!(!groups.is_empty() && groups.len() < 16, "{release}: {groups:?}");
        assert!(
            pgs.pgs.pgs.iter().all(|pg| pg.up.iter().chain(&pg.acting).flatten().any(|osd| *osd == five))
        );
        assert_eq!(pgs.listed.values().map(|listed| listed.count).sum::<u32>(), 16, "{release}");
        assert!(osds.osds.contains_key(&five));
        assert!(tree.as_ref().unwrap().leaves.iter().all(|leaf| leaf.osd == five), "{release}");
        // The list is older than the map, never the other way round.
        assert_eq!(documents.asked.lock().unwrap()[0], "pg dump", "{release}");
        // `scratch` has two copies: without consent nothing of it may stop.
        let none = BTreeSet::new();
        let verdict = stop.judge(&[five].into(), &none, &[]).unwrap();
        assert_eq!(verdict.answer, Answer::NotSafe, "{release}: {verdict:#?}");
        // What the cut says is what the whole says.
        let ceph = Ceph::new(&world.host);
        let whole = (ceph.osd_dump().unwrap(), ceph.pg_dump().unwrap());
        let set = replank_ceph::redundancy::StopSet { osds: [five].into(), ..Default::default() };
        let judged = replank_ceph::redundancy::Redundancy::new(&whole.0, &whole.1, &BTreeSet::new());
        let pgs_of = |verdict: &replank_ceph::redundancy::Verdict| {
            let pg = |objection: &replank_ceph::redundancy::Objection| {
                matches!(objection, replank_ceph::redundancy::Objection::Pg(_)).then(|| objection.clone())
            };
            verdict.objections.iter().filter_map(pg).collect::<Vec<_>>()
        };
        assert_eq!(pgs_of(&verdict), pgs_of(&judged.judge(&set, None)), "{release}");
    }
}

#[test]
fn scrubs_reasons_and_mons_are_told_in_the_dialect_of_every_release() {
    for release in ["hammer", "jewel", "luminous", "nautilus", "octopus"] {
        let (world, _) = asked_of(release, 0);
        let Seen::Groups(groups) = read(&world, &ReadingRequest::CephGroups) else { panic!() };
        assert_eq!((groups.scrubs(), groups.unclear()), (1, 0), "{release}");
        assert_eq!(groups.scrubbing, ["1.3".parse().unwrap()]);
        let Seen::Health(health) = read(&world, &ReadingRequest::CephHealth) else { panic!() };
        assert!(health.reasons.iter().any(|reason| reason.text.contains("noscrub")), "{release}: {health:?}");
        let Seen::Mons(quorum) = read(&world, &ReadingRequest::CephMons) else { panic!() };
        assert_eq!(quorum.mons.len(), 3, "{release}");
    }
}

#[test]
fn settling_is_looked_at_until_it_is_so_and_then_once_more_five_seconds_later() {
    // Of Hammer, which is asked about one OSD at a time.
    let (world, documents) = asked_of("hammer", 1);
    let version = Version::new("16.2.15");
    let began = Instant::now();
    let request = ReadingRequest::CephSettle { osds: vec![5], version: version.clone() };
    let Seen::Settle(settle) = read(&world, &request) else { panic!() };
    assert_eq!(settle.judge(&[OsdId(5)].into(), &version), Settling::Settled);
    assert!(settle.looks.iter().all(|look| look.osds.osds.len() == 1), "cut down");
    // One look in vain, and the two that count.
    let lists = documents.asked.lock().unwrap().iter().filter(|asked| *asked == "pg dump").count();
    assert_eq!(lists, 3);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

#[test]
fn what_does_not_settle_is_answered_with_what_is_missing() {
    let (world, _) = asked_of("nautilus", u32::MAX);
    let value = settle_within(&Ceph::new(&world.host), &[5], &Version::new("16.2.15"), Duration::ZERO);
    let ReadingValue::Ceph(text) = value else { panic!("{value:?}") };
    let Seen::Settle(settle) = Seen::read(&text).unwrap() else { panic!("{text}") };
    let osds = [OsdId(5)].into();
    let judged = settle.judge(&osds, &Version::new("16.2.15"));
    assert!(matches!(&judged, Settling::Misses(_, misses) if !misses.is_empty()), "{judged:?}");
    // Another version than the one that is waited for is missed as well.
    assert!(matches!(settle.judge(&osds, &Version::new("17.2.0")), Settling::Misses(..)));
}

#[test]
fn a_cluster_that_does_not_answer_cannot_be_told() {
    let (world, _) = asked_of("no-such-release", 0);
    // Every question to it fails.
    #[derive(Debug)]
    struct Silent;
    impl Programs for Silent {
        fn run(&self, command: &Command) -> Result<Output, CommandError> {
            assert!(command.arguments.iter().any(|word| word == "--connect-timeout"));
            let stderr = b"[errno 110] error connecting to the cluster".to_vec();
            Ok(Output { code: Some(1), signal: None, stdout: Vec::new(), stderr, took: Duration::ZERO })
        }
    }
    let mut world = world;
    world.host.programs = Arc::new(Silent);
    for request in [
        ReadingRequest::CephStop { osds: vec![1] },
        ReadingRequest::CephSettle { osds: vec![1], version: Version::new("16.2.15") },
        ReadingRequest::CephMap,
        ReadingRequest::CephMons,
        ReadingRequest::CephGroups,
        ReadingRequest::CephHealth,
        ReadingRequest::CephCluster,
    ] {
        let value = crate::readings::answer(&world.host, &request, TIME);
        let ReadingValue::CannotTell { why } = value else { panic!("{request:?}: {value:?}") };
        assert!(why.contains("connecting to the cluster"), "{request:?}: {why}");
    }
}

#[test]
fn nothing_that_is_asked_of_a_cluster_outlives_the_question() {
    /// Takes its time for each answer, and ends what is out of time, as the real one does.
    #[derive(Debug)]
    struct Slow {
        documents: Documents,
        end: Instant,
    }
    impl Programs for Slow {
        fn run(&self, command: &Command) -> Result<Output, CommandError> {
            const TAKES: Duration = Duration::from_millis(120);
            let left = self.end.saturating_duration_since(Instant::now());
            assert!(command.deadline <= left + Duration::from_millis(5), "{command}: {:?}", command.deadline);
            std::thread::sleep(TAKES.min(command.deadline));
            if command.deadline < TAKES {
                let (command, deadline) = (command.to_string(), command.deadline);
                return Err(CommandError::TimedOut { command, deadline, said: String::new() });
            }
            self.documents.run(command)
        }
    }
    let deadline = Duration::from_millis(200);
    for request in [
        ReadingRequest::CephStop { osds: vec![5] },
        ReadingRequest::CephSettle { osds: vec![5], version: Version::new("16.2.15") },
        ReadingRequest::CephCluster,
    ] {
        let mut world = World::new();
        let documents =
            Documents { release: "nautilus", peering: Mutex::new(0), flush: None, asked: Mutex::default() };
        let began = Instant::now();
        world.host.programs = Arc::new(Slow { documents, end: began + deadline });
        let value = crate::readings::answer(&world.host, &request, deadline);
        let ReadingValue::CannotTell { why } = value else { panic!("{request:?}: {value:?}") };
        assert!(why.contains("gave no answer"), "{request:?}: {why}");
        assert!(began.elapsed() < Duration::from_secs(2), "{request:?}: {:?}", began.elapsed());
    }
}

#[test]
fn who_reports_late_is_told_to_and_a_refusal_costs_a_wait_and_nothing_else() {
    let version = Version::new("16.2.15");
    let request = ReadingRequest::CephSettle { osds: vec![5], version: version.clone() };
    for works in [true, false] {
        let mut world = World::new();
        // Told to, they report at once; else two more looks are in vain.
        let documents = Documents {
            release: "nautilus",
            peering: Mutex::new(3),
            flush: Some(works),
            asked: Mutex::default(),
        };
        let documents = Arc::new(documents);
        world.host.programs = documents.clone();
        let Seen::Settle(settle) = read(&world, &request) else { panic!() };
        assert_eq!(settle.judge(&[OsdId(5)].into(), &version), Settling::Settled);
        let asked = documents.asked.lock().unwrap();
        let lists = asked.iter().filter(|asked| *asked == "pg dump").count();
        let flushes: BTreeSet<&String> =
            asked.iter().filter(|asked| asked.starts_with("flush osd.")).collect();
        assert_eq!(lists, if works { 3 } else { 5 }, "{asked:?}");
        assert!((1..=FEW_REPORTERS).contains(&flushes.len()), "{asked:?}");
        // It is not tried again where it does not work.
        assert_eq!(
            flushes.len(),
            asked.iter().filter(|asked| asked.starts_with("flush")).count(),
            "{asked:?}"
        );
        let apart = settle.looks[1].after_ms - settle.looks[0].after_ms;
        assert!(apart >= LOOKS_APART_MS, "{apart} ms: what is told early is still looked at twice");
    }
}

#[test]
fn in_a_large_cluster_nobody_is_told_while_many_are_late() {
    let (world, _) = asked_of("nautilus", 0);
    let ceph = Ceph::new(&world.host);
    let (map, list) = (ceph.osd_dump().unwrap(), ceph.pg_dump().unwrap());
    let all: BTreeSet<OsdId> = map.osds.keys().copied().collect();
    let look = Look::new(0, map, BTreeMap::new(), list, &all);
    let late = |miss: fn(PgId) -> Unsettled| look.pgs.pgs.iter().map(|pg| miss(pg.id)).collect::<Vec<_>>();
    let unreported = late(|pg| Unsettled::PgNotReported { pg, reported_epoch: None, needed: 9 });
    assert_eq!(late_reporters(&look, &unreported, 6), Reporters::All);
    assert_eq!(late_reporters(&look, &unreported, 65), Reporters::TooMany);
    // Work is not done sooner by telling of it.
    let unclean = late(|pg| Unsettled::PgNotClean { pg, state: "active+recovering".to_owned() });
    assert_eq!(late_reporters(&look, &unclean, 6), Reporters::TooMany);
    assert!(matches!(late_reporters(&look, &unclean[..1], 65), Reporters::These(one) if one.len() == 1));
    let down = [Unsettled::OsdDown { osd: OsdId(1) }];
    assert_eq!(late_reporters(&look, &down, 6), Reporters::TooMany);
}

/// A cluster with a file system whose MDS `ceph2` still has a session of the manager `ceph3`, as 14.2 told it.
#[derive(Debug)]
struct FileSystemCluster {
    /// How long ago the managers changed; `None`: it has no manager and knows no such question.
    changed_s: Option<i64>,
    /// The MDS answers.
    tells: bool,
    /// What is said of a question that is not answered.
    says: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Programs for FileSystemCluster {
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        let arguments: Vec<&str> = command.arguments.iter().map(|word| word.to_str().unwrap()).collect();
        let ["--connect-timeout", _, "--format", "json", question @ ..] = &arguments[..] else {
            panic!("{arguments:?}")
        };
        let folder = "../common/ceph/tests/ceph/testdata/recorded/file-system/nautilus";
        let document = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{folder}-{name}.json"));
            std::fs::read_to_string(path).unwrap()
        };
        let question = question.join(" ");
        let said = match question.as_str() {
            "fs dump" => Some(document("with-sessions")),
            "mgr dump" => self.changed_s.map(|ago| {
                let changed = jiff::Zoned::now().saturating_sub(jiff::SignedDuration::from_secs(ago));
                let changed = changed.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
                document("managers").replace("2026-11-30 01:12:18.764262", &changed)
            }),
            "tell mds.ceph2 session ls" => self.tells.then(|| document("sessions")),
            other => panic!("{other} is not to be asked"),
        };
        self.asked.lock().unwrap().push(question);
        let code = Some(i32::from(said.is_none()));
        let stdout = said.unwrap_or_default().into_bytes();
        Ok(Output { code, signal: None, stdout, stderr: self.says.into(), took: Duration::ZERO })
    }
}

#[test]
fn sessions_are_asked_for_where_a_manager_can_have_left_one_and_only_then() {
    let told_by = |says: &'static str, changed_s: Option<i64>, tells: bool, stopping: &[&str]| {
        let mut world = World::new();
        let cluster = Arc::new(FileSystemCluster { changed_s, tells, says, asked: Mutex::default() });
        world.host.programs = cluster.clone();
        let stopping = stopping.iter().map(|name| (*name).to_owned()).collect();
        let answer = crate::readings::answer(&world.host, &ReadingRequest::CephMds { stopping }, TIME);
        let left = match answer {
            ReadingValue::Ceph(text) => match Seen::read(&text).unwrap() {
                Seen::Mds(map) => Ok(map.left.into_iter().map(|left| left.manager).collect::<Vec<_>>()),
                other => panic!("{other:?}"),
            },
            ReadingValue::CannotTell { why } => Err(why),
            other => panic!("{other:?}"),
        };
        let asked = cluster.asked.lock().unwrap().clone();
        (left, asked)
    };
    let told = |changed_s: Option<i64>, tells: bool, stopping: &[&str]| {
        told_by("Error EINVAL: invalid command", changed_s, tells, stopping)
    };
    let all = ["fs dump", "mgr dump", "tell mds.ceph2 session ls"];
    let (left, asked) = told(Some(12), true, &["ceph2"]);
    assert_eq!((left, &asked[..]), (Ok(vec!["ceph3".to_owned()]), &all.map(str::to_owned)[..]));
    let (left, asked) = told(Some(12), false, &["ceph2"]);
    assert!(left.is_err_and(|why| why.contains("session ls")) && asked.len() == 3);
    let (left, _) = told_by("[errno 110] error connecting to the cluster", None, true, &["ceph2"]);
    assert!(left.is_err_and(|why| why.contains("errno 110")), "that there are no managers was not said");
    // Long ago; no manager at all; one that holds no rank; none.
    for (changed_s, stopping, questions) in
        [(Some(311), &["ceph2"][..], 2), (None, &["ceph2"], 2), (Some(12), &["ceph1"], 1), (Some(12), &[], 1)]
    {
        let (left, asked) = told(changed_s, true, stopping);
        assert_eq!((left, &asked[..]), (Ok(Vec::new()), &all.map(str::to_owned)[..questions]));
    }
}
