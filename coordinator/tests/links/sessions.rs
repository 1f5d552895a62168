//! One link per host, and what ends it.

use replank_common::ids::Epoch;
use replank_coordinator::config::Heartbeat;
use replank_coordinator::drive::DriveError;
use replank_coordinator::store::{Database, StoreError};
use replank_proto::v1::{self, LinkRequest, link_request};
use std::time::{Duration, Instant};
use tonic::Status;

use crate::agent::Host;
use crate::coordinator::{BY, Coordinator, PATIENCE, init};
use crate::plans::{host, plan};

async fn linked(coordinator: &Coordinator, name: &str, wished: bool) {
    let begun = Instant::now();
    while coordinator.links.seen().get(&host(name)).is_some_and(|seen| seen.linked) != wished {
        assert!(begun.elapsed() < PATIENCE, "{name} linked: {wished} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn code(status: &Status) -> &str {
    status.message().split_once(':').map_or("", |(code, _)| code)
}

#[tokio::test]
async fn a_newer_link_replaces_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let first = compute1.link(&coordinator).await;
    let second = compute1.link(&coordinator).await;
    assert_eq!(code(&first.ended().await.unwrap()), "RP6109");
    linked(&coordinator, "compute1", true).await;
    let seen = &coordinator.links.seen()[&host("compute1")];
    assert_eq!((seen.agent_version.as_str(), seen.observe_only), ("0.1.0", false));
    drop(second);
    linked(&coordinator, "compute1", false).await;
}

#[tokio::test]
async fn a_silent_link_is_cut_and_a_beating_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let heartbeat = Heartbeat { interval_ms: 100, silence_ms: 400 };
    let coordinator = Coordinator::start_with(&dir.path().join("c"), heartbeat).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let compute2 = Host::enrol(&coordinator, "compute2").await;
    let _beating = compute1.link(&coordinator).await;
    let silent = compute2.link_silent(&coordinator).await;
    let begun = Instant::now();
    assert_eq!(code(&silent.ended().await), "RP6108");
    assert!(begun.elapsed() >= Duration::from_millis(350), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_millis(600)).await;
    linked(&coordinator, "compute1", true).await;
    linked(&coordinator, "compute2", false).await;
}

#[tokio::test]
async fn a_host_that_takes_no_messages_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let heartbeat = Heartbeat { interval_ms: 100, silence_ms: 60_000 };
    let coordinator = Coordinator::start_with(&dir.path().join("c"), heartbeat).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let silent = compute1.link_silent(&coordinator).await;
    // More than the network between the two swallows.
    let virt_type = "x".repeat(4_096);
    let request = replank_common::reading::ReadingRequest::EmulatorForNewGuests { virt_type };
    for _ in 0..10_000 {
        let asked = coordinator.links.ask(&host("compute1"), request.clone(), Duration::ZERO).await;
        assert!(asked.is_err());
        if !coordinator.links.seen()[&host("compute1")].linked {
            break;
        }
    }
    linked(&coordinator, "compute1", false).await;
    assert_eq!(code(&silent.ended().await), "RP6110");
}

#[tokio::test]
async fn what_is_not_understood_is_passed_over_or_ends_the_link_and_never_the_coordinator() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;

    // A kind of message that a newer agent may have, and ids that are none: passed over.
    let silent = compute1.link_silent(&coordinator).await;
    silent.out.send(LinkRequest { message: None }).await.unwrap();
    let odd = link_request::Message::Accepted(v1::Accepted { action_id: "../../etc".to_owned() });
    silent.out.send(LinkRequest { message: Some(odd) }).await.unwrap();
    let census = link_request::Message::Census(compute1.census().into());
    silent.out.send(LinkRequest { message: Some(census) }).await.unwrap();
    let begun = Instant::now();
    while coordinator.links.seen()[&host("compute1")].census.is_none() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A census of another host, an outcome without one, a second hello: the link is not worth having.
    let mut foreign = compute1.census();
    foreign.host = host("compute2");
    for message in [
        link_request::Message::Census(foreign.into()),
        link_request::Message::Outcome(v1::ActionOutcome::default()),
        link_request::Message::Hello(compute1.hello()),
    ] {
        let silent = compute1.link_silent(&coordinator).await;
        silent.out.send(LinkRequest { message: Some(message) }).await.unwrap();
        assert_eq!(code(&silent.ended().await), "RP6107");
    }
    let hello = v1::Hello { boot_id: "yesterday".to_owned(), ..compute1.hello() };
    let refused = compute1.link_saying(&coordinator, hello).await.map(drop).unwrap_err();
    assert_eq!(code(&refused), "RP6107");
    compute1.link(&coordinator).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_host_that_obeyed_a_later_coordinator_is_refused_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let compute2 = Host::enrol(&coordinator, "compute2").await;
    let _other = compute2.link(&coordinator).await;
    // An epoch that nobody reaches is not taken over; one that a coordinator may have had is.
    for epoch_seen in [u64::MAX, 9] {
        let hello = v1::Hello { epoch_seen, ..compute1.hello() };
        let refused = compute1.link_saying(&coordinator, hello).await.map(drop).unwrap_err();
        assert_eq!(code(&refused), "RP3032");
    }
    let linked: Vec<bool> = coordinator.links.seen().into_values().map(|seen| seen.linked).collect();
    assert_eq!(linked, [false, true], "compute2 stays linked, compute1 is not");
    let obeys: Vec<_> = coordinator.links.obey_another().into_iter().collect();
    assert_eq!(obeys, [(compute1.name.clone(), Epoch(9))], "it is told whom compute1 obeys");
    coordinator.drive.active().await.unwrap();
    coordinator.stop().await;
    // Started again on purpose, it takes the lead.
    let again = Coordinator::start(&dir.path().join("c")).await;
    assert_eq!(again.drive.epoch(), Epoch(10));
    again.stop().await;
}

#[tokio::test]
async fn a_store_that_a_later_coordinator_took_over_ends_this_one_and_nothing_is_commanded() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let mut coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let _link = compute1.link(&coordinator).await;
    let id = coordinator.drive.put_plan(plan(&["compute1"], "").to_bytes()).await.unwrap();
    assert_eq!(coordinator.store.write(Database::next_epoch).await.unwrap(), Epoch(2));
    let refused = coordinator.drive.apply(id, BY).await.unwrap_err();
    assert_eq!(refused.code(), "RP6201", "{refused}");
    let error = coordinator.end().await;
    assert!(matches!(&error, DriveError::Store(StoreError::Overtaken { .. })), "{error}");
    assert_eq!(error.code(), "RP6009");
    assert!(compute1.commands().is_empty());
    assert!(coordinator.store.read(|database| database.runs()).await.unwrap().is_empty());
}

/// It looks by itself: with nothing to append, it would keep its agents from the later one.
#[tokio::test]
async fn an_idle_coordinator_whose_store_was_taken_over_ends_as_well() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let mut coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let _link = compute1.link(&coordinator).await;
    assert_eq!(coordinator.store.write(Database::next_epoch).await.unwrap(), Epoch(2));
    let error = coordinator.end().await;
    assert!(matches!(&error, DriveError::Store(StoreError::Overtaken { .. })), "{error}");
}
