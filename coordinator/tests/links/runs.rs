//! Runs from their beginning to their end, over real links, with coordinators that die.

use replank_common::UnixMs;
use replank_coordinator::drive::{Refused, Told};
use replank_coordinator::store::Database;
use replank_core::lint::lint;
use replank_core::run::view::StepWord;
use replank_core::run::{Event, Operate, Phase};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::agent::Host;
use crate::coordinator::{BY, Coordinator, PATIENCE, init};
use crate::plans::{plan, step_id};

fn steps(done: &[String]) -> Vec<&str> {
    done.iter().map(|id| id.split('/').nth(1).unwrap()).collect()
}

/// The lines of a run up to its present end.
async fn lines(coordinator: &Coordinator) -> Vec<(u64, Event)> {
    let run = coordinator.drive.latest().await.unwrap();
    let lines = coordinator.store.read(move |database: &Database| database.lines(&run, 1, 10_000)).await;
    lines.unwrap().into_iter().map(|line| (line.seq, serde_json::from_str(&line.event).unwrap())).collect()
}

#[test]
fn the_plans_of_these_tests_are_sound() {
    for hosts in [&["compute1"][..], &["compute1", "compute2", "compute3"]] {
        assert_eq!(lint(&plan(hosts, "")), []);
    }
}

#[tokio::test]
async fn a_plan_is_applied_to_its_end_watched_and_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let compute2 = Host::enrol(&coordinator, "compute2").await;
    // One link is there before the run, one comes later.
    let _link1 = compute1.link(&coordinator).await;
    let plan = plan(&["compute1", "compute2"], "");
    let run = coordinator.apply(&plan).await;
    let mut watching = coordinator.drive.watch(None, 0).await.unwrap();
    let _link2 = compute2.link(&coordinator).await;
    coordinator.until(&run, "the hold", |view| view.phase == Phase::AtHold).await;
    assert_eq!(steps(&compute1.done()), ["compute1.ready"]);

    // The second watcher never reads: nobody waits for it.
    let _slow = coordinator.drive.watch(None, 0).await.unwrap();
    coordinator.approve(&run).await;
    let view = coordinator.until(&run, "the end", |view| view.phase == Phase::Completed).await;
    assert_eq!((view.steps_done, view.steps_total), (6, 6));
    assert_eq!(steps(&compute1.done()), ["compute1.ready", "compute1.first", "compute1.second"]);
    assert!(compute1.commands().iter().all(|(epoch, _)| *epoch == coordinator.drive.epoch().0));
    let report = coordinator.drive.report(None).await.unwrap();
    assert_eq!((report.guests.len(), report.run), (2, run.clone()));
    let rows = coordinator.drive.runs().await.unwrap();
    assert_eq!(
        (rows.len(), rows[0].standing.phase.as_str(), rows[0].standing.finished),
        (1, "completed", true)
    );
    assert!(coordinator.drive.active().await.unwrap().is_empty());

    let mut next = 1;
    loop {
        let told = tokio::time::timeout(PATIENCE, watching.next()).await.unwrap().unwrap().unwrap();
        let Told::Line(line) = told else { continue };
        assert_eq!(line.seq, next, "in order, without gaps");
        next += 1;
        if line.event.contains("finished") {
            break;
        }
    }

    let wish = Operate::Rollback { to: None };
    coordinator.drive.operate(Some(run.clone()), BY, wish.clone()).await.unwrap();
    coordinator.until(&run, "the way back", |view| view.phase == Phase::RolledBack).await;
    assert_eq!(compute1.done().iter().filter(|id| id.contains("/undo/")).count(), 2, "{:?}", compute1.done());
    let again = coordinator.drive.operate(Some(run.clone()), BY, wish).await.unwrap_err();
    assert_eq!(again.code(), replank_core::codes::NOTHING_TO_TAKE_BACK, "{again}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_killed_coordinator_sends_the_same_ids_again_and_nothing_is_done_twice() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("c");
    init(&folder);
    let coordinator = Coordinator::start(&folder).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let link = compute1.link(&coordinator).await;
    assert_eq!(link.epoch, 1);
    compute1.hold();
    let run = coordinator.apply(&plan(&["compute1"], "")).await;
    compute1.until_commands(1).await;
    coordinator.kill();
    drop(link);

    // The action ends while nobody listens; the next one is held again.
    compute1.let_go();
    let coordinator = Coordinator::start(&folder).await;
    let link = compute1.link(&coordinator).await;
    assert_eq!(link.epoch, 2);
    coordinator.until(&run, "the hold", |view| view.phase == Phase::AtHold).await;
    let commands = compute1.commands();
    assert_eq!(commands.len(), 2);
    assert_eq!((commands[0].0, commands[1].0), (1, 2), "each with its coordinator's epoch");
    assert_eq!(commands[0].1, commands[1].1, "and with the same id");

    // Between the approval and the answers to what it led to.
    compute1.hold();
    coordinator.approve(&run).await;
    compute1.until_commands(3).await;
    coordinator.kill();
    drop(link);
    let coordinator = Coordinator::start(&folder).await;
    let link = compute1.link(&coordinator).await;
    let commands = compute1.until_commands(4).await;
    assert_eq!(commands[2].1, commands[3].1);
    for outcome in compute1.let_go() {
        link.say(outcome).await;
    }
    coordinator.until(&run, "the end", |view| view.phase == Phase::Completed).await;
    assert_eq!(steps(&compute1.done()), ["compute1.ready", "compute1.first", "compute1.second"]);
    coordinator.stop().await;

    // A finished run is read from its journal, and rolled back by a coordinator that never saw it.
    let coordinator = Coordinator::start(&folder).await;
    let _link = compute1.link(&coordinator).await;
    assert_eq!(coordinator.drive.view(None).await.unwrap().phase, Phase::Completed);
    assert_eq!(coordinator.drive.report(Some(run.clone())).await.unwrap().run, run);
    let finished = coordinator.drive.operate(None, BY, Operate::Pause).await.unwrap_err();
    assert_eq!(finished.code(), replank_core::codes::RUN_FINISHED);
    coordinator.drive.operate(None, BY, Operate::Rollback { to: None }).await.unwrap();
    coordinator.until(&run, "the way back", |view| view.phase == Phase::RolledBack).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn an_outcome_lost_with_its_link_is_asked_for_on_the_next() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let link = compute1.link(&coordinator).await;
    compute1.hold();
    let run = coordinator.apply(&plan(&["compute1"], "")).await;
    compute1.until_commands(1).await;
    drop(link);
    coordinator.until(&run, "the link's loss", |view| !view.hosts[0].linked).await;
    compute1.let_go();
    let _link = compute1.link(&coordinator).await;
    coordinator.until(&run, "the hold", |view| view.phase == Phase::AtHold).await;
    let commands = compute1.commands();
    assert_eq!((commands.len(), &commands[0]), (2, &commands[1]));
    compute1.done();
}

#[tokio::test]
async fn a_guest_that_dies_halts_the_fleet_within_a_second_and_nothing_more_is_commanded() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let compute2 = Host::enrol(&coordinator, "compute2").await;
    let link1 = compute1.link(&coordinator).await;
    let link2 = compute2.link(&coordinator).await;
    let run = coordinator.apply(&plan(&["compute1", "compute2"], "")).await;
    coordinator.until(&run, "the hold", |view| view.phase == Phase::AtHold).await;
    compute1.hold();
    coordinator.approve(&run).await;
    compute1.until_commands(2).await;
    coordinator.until(&run, "the other host's end", |view| view.hosts[1].step.is_none()).await;

    let died = Instant::now();
    link2.say(compute2.kill_guest()).await;
    let view = coordinator.until(&run, "the halt", |view| view.phase == Phase::Halted).await;
    let took = died.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(view.why().contains("compute2-vm1"), "{}", view.why());
    assert!(view.halts[0].during.contains(&step_id("compute1", "first")), "{:?}", view.halts[0].during);

    // What was in flight ends; nothing follows.
    for outcome in compute1.let_go() {
        link1.say(outcome).await;
    }
    coordinator
        .until(&run, "the step's end", |view| {
            view.hosts[0].step.as_ref().is_some_and(|step| step.state == StepWord::Verifying)
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(compute1.commands().len(), 2, "{:?}", compute1.commands());

    let resume = |acknowledged| Operate::Resume { acknowledged };
    let refused = coordinator.drive.operate(None, BY, resume(Vec::new())).await.unwrap_err();
    assert_eq!(refused.code(), replank_core::codes::LOSS_NOT_ACKNOWLEDGED);
    let lost = view.halts[0].guests.iter().map(|guest| guest.uuid).collect();
    coordinator.drive.operate(None, BY, resume(lost)).await.unwrap();
    coordinator.until(&run, "the end", |view| view.phase == Phase::Completed).await;
    assert_eq!(steps(&compute1.done()).len(), 3);
}

#[tokio::test]
async fn runs_do_not_share_hosts_and_an_older_one_is_not_taken_back_under_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let (one, two) = (plan(&["compute1"], "one"), plan(&["compute1", "compute2"], "two"));
    let id = coordinator.drive.put_plan(one.to_bytes()).await.unwrap();
    let refused = coordinator.drive.apply(id.clone(), BY).await.unwrap_err();
    assert!(matches!(&refused, Refused::NotEnrolled { hosts, .. } if hosts == "compute1"), "{refused}");
    assert_eq!(refused.code(), "RP6209");

    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let compute2 = Host::enrol(&coordinator, "compute2").await;
    let (_link1, _link2) = (compute1.link(&coordinator).await, compute2.link(&coordinator).await);
    let first = coordinator.drive.apply(id, BY).await.unwrap();
    let second = coordinator.drive.put_plan(two.to_bytes()).await.unwrap();
    let refused = coordinator.drive.apply(second.clone(), BY).await.unwrap_err();
    assert!(matches!(&refused, Refused::Busy { run, hosts } if *run == first && hosts == "compute1"));
    assert_eq!(refused.code(), "RP6207");
    coordinator.until(&first, "the hold", |view| view.phase == Phase::AtHold).await;
    coordinator.approve(&first).await;
    coordinator.until(&first, "the end", |view| view.phase == Phase::Completed).await;

    let second = coordinator.drive.apply(second, BY).await.unwrap();
    let back = Operate::Rollback { to: None };
    let refused = coordinator.drive.operate(Some(first.clone()), BY, back.clone()).await.unwrap_err();
    assert_eq!(refused.code(), "RP6207", "{refused}");
    coordinator.until(&second, "the hold", |view| view.phase == Phase::AtHold).await;
    coordinator.approve(&second).await;
    coordinator.until(&second, "the end", |view| view.phase == Phase::Completed).await;
    let refused = coordinator.drive.operate(Some(first.clone()), BY, back.clone()).await.unwrap_err();
    assert!(matches!(&refused, Refused::LaterRun { later, .. } if *later == second), "{refused}");
    assert_eq!(refused.code(), "RP6208");
    // In the right order both are taken back.
    for run in [&second, &first] {
        coordinator.drive.operate(Some(run.clone()), BY, back.clone()).await.unwrap();
        coordinator.until(run, "the way back", |view| view.phase == Phase::RolledBack).await;
    }
    assert_eq!(compute1.done().len(), 10);

    coordinator.revoke("compute1").await;
    let refused = coordinator.drive.apply(plan(&["compute1"], "one").id(), BY).await.unwrap_err();
    assert_eq!(refused.code(), "RP6209");
}

#[tokio::test]
async fn a_plan_is_checked_before_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let good = plan(&["compute1"], "");
    let put = |bytes: Vec<u8>| coordinator.drive.put_plan(bytes);
    let id = put(good.to_bytes()).await.unwrap();
    assert_eq!(put(good.to_bytes()).await.unwrap(), id);
    assert_eq!(coordinator.drive.plan(id.clone()).await.unwrap(), good.to_bytes());

    let text = String::from_utf8(good.to_bytes()).unwrap();
    let changed = put(text.replace("see to second", "see  to second").into_bytes()).await.unwrap_err();
    assert_eq!(changed.code(), replank_core::codes::PLAN_CHANGED);
    let status = tonic::Status::from(changed);
    assert!(status.message().starts_with(replank_core::codes::PLAN_CHANGED), "{status}");
    assert_eq!(status.message().matches(replank_core::codes::PLAN_CHANGED).count(), 1);
    let mut early = plan(&["compute1"], "");
    early.steps[1].needs.clear();
    assert_eq!(put(early.to_bytes()).await.unwrap_err().code(), "RP6204");
    assert_eq!(put(b"{}".to_vec()).await.unwrap_err().code(), replank_core::codes::PLAN_FORM);
    let unknown = plan(&["compute1"], "never stored").id();
    assert_eq!(coordinator.drive.apply(unknown, BY).await.unwrap_err().code(), "RP6203");
    assert_eq!(coordinator.drive.view(None).await.unwrap_err().code(), "RP6205");
}

#[tokio::test]
async fn a_slow_watcher_misses_no_line_and_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let link = compute1.link(&coordinator).await;
    compute1.hold();
    let run = coordinator.apply(&plan(&["compute1"], "")).await;
    let mut watching = coordinator.drive.watch(Some(run.clone()), 1).await.unwrap();
    let id = compute1.until_commands(1).await[0].1.clone();
    // More news than are kept for a watcher, while it does not read.
    for number in 0..3_000_u32 {
        let progress = replank_proto::v1::Progress {
            action_id: id.clone(),
            permille: Some(number % 1_000),
            text: format!("{number}"),
        };
        link.say(replank_proto::v1::link_request::Message::Progress(progress)).await;
    }
    for outcome in compute1.let_go() {
        link.say(outcome).await;
    }
    coordinator.until(&run, "the hold", |view| view.phase == Phase::AtHold).await;
    let written = lines(&coordinator).await;
    let (mut seen, mut progress) = (Vec::new(), 0);
    while seen.len() < written.len() {
        match tokio::time::timeout(PATIENCE, watching.next()).await.unwrap().unwrap().unwrap() {
            Told::Line(line) => seen.push(line.seq),
            Told::Progress { json, .. } => {
                assert!(json.contains("\"step\":\"compute1.ready\""), "{json}");
                progress += 1;
            }
        }
    }
    assert_eq!(seen, written.iter().map(|(seq, _)| *seq).collect::<Vec<_>>());
    assert!(progress < 3_000, "{progress}");

    // From a line in the middle, as a stream, to the end of the coordinator.
    let stream = coordinator.drive.watch(Some(run), 3).await.unwrap().into_stream();
    coordinator.stop().await;
    let told: Vec<_> = tokio_stream::StreamExt::collect(stream).await;
    let first: BTreeSet<UnixMs> = told
        .iter()
        .take(1)
        .map(|told| match told.as_ref().unwrap() {
            Told::Line(line) => line.seq,
            Told::Progress { .. } => 0,
        })
        .collect();
    assert_eq!(first, BTreeSet::from([3]));
    assert_eq!(told.len(), written.len() - 2);
}
