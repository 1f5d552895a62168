//! The link against a coordinator in this process, over real TLS and HTTP/2.

mod agent;
mod assembled;
mod coordinator;

use super::*;
use crate::codes;
use crate::config::Address;
use agent::Agent;
use coordinator::{Coordinator, PATIENCE};
use replank_common::action::{Action, UnitMask};
use replank_common::ids::HostName;
use replank_common::outcome::{How, Outcome};
use replank_identity::UnixSeconds;
use replank_proto::v1::{self, link_request, link_response};
use std::time::{Duration, Instant};

const RUN: &str = "run-0192aabbccddeeff0011223344556677";

fn id(step: &str) -> String {
    format!("{RUN}/compute1.{step}/do/1")
}

fn execute(epoch: u64, step: &str) -> link_response::Message {
    let action = Action::UnitMask(UnitMask { unit: "libvirt-guests.service".to_owned(), runtime: false });
    link_response::Message::Execute(v1::Execute {
        epoch,
        action_id: id(step),
        action: Some(action.into()),
        deadline_ms: 60_000,
        plan_id: format!("sha256:{}", "0".repeat(64)),
    })
}

#[track_caller]
fn is_done(answer: v1::ActionOutcome, step: &str) {
    assert_eq!(answer.action_id, id(step));
    let outcome = Outcome::try_from(answer.outcome.unwrap()).unwrap();
    assert!(matches!(outcome, Outcome::Done { how: How::Applied, took_ms: 7, .. }), "{outcome:?}");
}

#[track_caller]
fn is_refused(answer: v1::ActionOutcome, step: &str, code: &str) {
    assert_eq!(answer.action_id, id(step));
    let outcome = Outcome::try_from(answer.outcome.unwrap()).unwrap();
    assert!(matches!(&outcome, Outcome::Refused(refusal) if refusal.code == code), "{outcome:?}");
}

async fn until(what: &str, seen: impl Fn() -> bool) {
    let begun = Instant::now();
    while !seen() {
        assert!(begun.elapsed() < PATIENCE, "{what} was not seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_link_begins_with_what_the_agent_remembers_and_what_guests_there_are() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    let hello = end.welcome(3).await;
    assert_eq!((hello.host.as_str(), hello.epoch_seen, hello.agent_start_ms), ("compute1", 0, 12));
    assert!(hello.observe_only && hello.unfinished_action_ids.is_empty());
    let (mut beats, mut censuses) = (0, Vec::new());
    while beats < 3 || censuses.len() < 2 {
        match end.anything().await {
            link_request::Message::Heartbeat(beat) => {
                beats += 1;
                assert_eq!(beat.sequence, beats);
            }
            link_request::Message::Census(census) => {
                censuses.push(census.sequence);
                agent.guests.0.send_modify(|sequence| *sequence += 1);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(censuses[0], 0, "one at the beginning, one after the change");
    assert!(matches!(*agent.state.borrow(), LinkState::Up { epoch, .. } if epoch.0 == 3));
    agent.stop().await;
    assert!(end.is_given_up().await);
}

#[tokio::test]
async fn an_action_is_accepted_told_of_and_answered_and_answered_again_without_being_done_again() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(3).await;
    end.say(execute(3, "mask")).await;
    assert!(
        matches!(end.heard().await, link_request::Message::Accepted(accepted) if accepted.action_id == id("mask"))
    );
    assert!(
        matches!(end.heard().await, link_request::Message::Progress(progress) if progress.permille == Some(500))
    );
    is_done(end.outcome().await, "mask");
    end.say(execute(3, "mask")).await;
    is_done(end.outcome().await, "mask");
    assert_eq!(agent.actor.done(), [id("mask")]);
    agent.stop().await;
}

#[tokio::test]
async fn an_outcome_that_was_lost_with_its_link_is_found_by_asking_again() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(3).await;
    agent.actor.hold();
    end.say(execute(3, "mask")).await;
    assert!(matches!(end.heard().await, link_request::Message::Accepted(_)));
    // Waits behind it; forgotten with the link, since nothing of it is in the ledger.
    end.say(execute(3, "later")).await;
    drop(end);
    let mut end = coordinator.link().await;
    let hello = end.welcome(3).await;
    assert_eq!(hello.unfinished_action_ids, [id("mask")]);
    // Asked twice while it is at work: one outcome, once done.
    end.say(execute(3, "mask")).await;
    agent.actor.let_go();
    is_done(end.outcome().await, "mask");
    end.say(execute(3, "mask")).await;
    is_done(end.outcome().await, "mask");
    end.say(execute(3, "last")).await;
    is_done(end.outcome().await, "last");
    assert_eq!(agent.actor.done(), [id("mask"), id("last")]);
    agent.stop().await;
}

#[tokio::test]
async fn an_action_that_ends_without_a_link_is_answered_on_the_next() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(3).await;
    agent.actor.hold();
    end.say(execute(3, "mask")).await;
    assert!(matches!(end.heard().await, link_request::Message::Accepted(_)));
    drop(end);
    let mut end = coordinator.link().await;
    agent.actor.let_go();
    until("the end of the action", || agent.desk.at_work().is_none()).await;
    end.welcome(4).await;
    end.say(execute(4, "mask")).await;
    is_done(end.outcome().await, "mask");
    assert_eq!(agent.actor.done(), [id("mask")]);
    agent.stop().await;
}

#[tokio::test]
async fn an_old_epoch_commands_nothing() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(5).await;
    end.say(execute(4, "mask")).await;
    is_refused(end.outcome().await, "mask", codes::OLD_EPOCH);
    let ask = v1::ReadingRequest {
        epoch: 4,
        ask_id: 8,
        measurement: Some(replank_common::reading::ReadingRequest::GuestJobs.into()),
        deadline_ms: 1000,
    };
    end.say(link_response::Message::Reading(ask)).await;
    let link_request::Message::Reading(reading) = end.heard().await else { panic!() };
    assert!(matches!(reading.value, Some(v1::reading::Value::CannotTell(_))));
    drop(end);
    // A whole coordinator of an earlier epoch: the agent leaves it and says why.
    let mut end = coordinator.link().await;
    let hello = end.welcome(4).await;
    assert_eq!(hello.epoch_seen, 5);
    assert!(end.is_given_up().await);
    let down = |state: &LinkState| matches!(state, LinkState::Down { why: Some(why), .. } if why.code == codes::OLD_EPOCH);
    let mut state = agent.state.clone();
    tokio::time::timeout(PATIENCE, state.wait_for(down)).await.unwrap().unwrap();
    assert!(agent.actor.done().is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn a_command_that_an_earlier_coordinator_has_at_work_is_done_for_the_later_one() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(3).await;
    agent.actor.look();
    end.say(execute(3, "mask")).await;
    until("the action at work", || agent.desk.at_work().is_some()).await;
    drop(end);
    // Obeyed while the host is looked at: the earlier command will be refused, and the later one must not be lost with it.
    let mut end = coordinator.link().await;
    end.welcome(4).await;
    end.say(execute(4, "mask")).await;
    // Answered after what came before it was handed in.
    let asked = replank_common::reading::ReadingRequest::GuestJobs;
    let ask =
        v1::ReadingRequest { epoch: 4, ask_id: 1, measurement: Some(asked.into()), deadline_ms: 10_000 };
    end.say(link_response::Message::Reading(ask)).await;
    assert!(matches!(end.heard().await, link_request::Message::Reading(_)));
    agent.actor.let_go();
    is_done(end.outcome().await, "mask");
    assert_eq!(agent.actor.done(), [id("mask")]);
    agent.stop().await;
}

#[tokio::test]
async fn a_silent_coordinator_is_left_and_dialled_again() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.hello().await;
    end.welcome_with(1, 50, 300).await;
    let begun = Instant::now();
    assert!(end.is_given_up().await);
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    let mut end = coordinator.link().await;
    end.welcome(1).await;
    end.say(execute(1, "mask")).await;
    is_done(end.outcome().await, "mask");
    agent.stop().await;
}

#[tokio::test]
async fn what_waits_can_be_cancelled_and_what_runs_cannot() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(1).await;
    agent.actor.hold();
    end.say(execute(1, "first")).await;
    assert!(matches!(end.heard().await, link_request::Message::Accepted(_)));
    end.say(execute(1, "second")).await;
    for step in ["first", "second"] {
        end.say(link_response::Message::Cancel(v1::Cancel { epoch: 1, action_id: id(step) })).await;
    }
    is_refused(end.outcome().await, "second", codes::CANCELLED);
    agent.actor.let_go();
    is_done(end.outcome().await, "first");
    assert_eq!(agent.actor.done(), [id("first")]);
    agent.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_is_refused_by_its_id() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(1).await;
    let newer = v1::Execute { epoch: 1, action_id: id("newer"), ..v1::Execute::default() };
    end.say(link_response::Message::Execute(newer)).await;
    is_refused(end.outcome().await, "newer", codes::NOT_UNDERSTOOD);
    agent.stop().await;
}

#[tokio::test]
async fn a_measurement_that_takes_too_long_cannot_tell_and_holds_up_no_other() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(1).await;
    use replank_common::reading::ReadingRequest;
    for (ask_id, request, deadline_ms) in
        [(1, ReadingRequest::Facts, 300), (2, ReadingRequest::GuestJobs, 5000)]
    {
        let ask = v1::ReadingRequest { epoch: 1, ask_id, measurement: Some(request.into()), deadline_ms };
        end.say(link_response::Message::Reading(ask)).await;
    }
    let mut answers = Vec::new();
    for _ in 0..2 {
        let link_request::Message::Reading(reading) = end.heard().await else { panic!() };
        answers.push((reading.ask_id, matches!(reading.value, Some(v1::reading::Value::CannotTell(_)))));
    }
    assert_eq!(answers, [(2, false), (1, true)]);
    agent.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_the_action_at_work_and_takes_no_other() {
    let mut coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let mut end = coordinator.link().await;
    end.welcome(1).await;
    agent.actor.hold();
    end.say(execute(1, "mask")).await;
    assert!(matches!(end.heard().await, link_request::Message::Accepted(_)));
    let desk = agent.desk.clone();
    assert!(!tokio::task::spawn_blocking(move || desk.stop(Duration::from_millis(50))).await.unwrap());
    end.say(execute(1, "other")).await;
    is_refused(end.outcome().await, "other", codes::STOPPING);
    agent.actor.let_go();
    let desk = agent.desk.clone();
    assert!(tokio::task::spawn_blocking(move || desk.stop(PATIENCE)).await.unwrap());
    is_done(end.outcome().await, "mask");
    agent.stop().await;
}

fn enrolment<'a>(
    address: &'a Address,
    token: &'a str,
    host: &'a HostName,
    files: &'a IdentityFiles,
) -> Enrolment<'a> {
    Enrolment { coordinator: address, token, host, files, force: false }
}

#[tokio::test]
async fn a_token_becomes_an_identity_once_and_the_identity_is_renewed() {
    let coordinator = Coordinator::start().await;
    let address: Address = coordinator.address.parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files = IdentityFiles::below(dir.path());
    let host = HostName::new("compute1").unwrap();
    let token = coordinator.token("compute1", Duration::from_secs(600));
    let enrolled = enrol(enrolment(&address, &token, &host, &files)).await.unwrap();
    assert_eq!(enrolled.host, host);
    let again = enrol(enrolment(&address, &token, &host, &files)).await.unwrap_err();
    assert_eq!(again.code, codes::ALREADY_ENROLLED);

    let now = identity::now();
    let store = files.load(&host, now).unwrap();
    let before = store.current().identity().serial;
    renew(&address, &files, &store).await.unwrap();
    assert_ne!(store.current().identity().serial, before, "in service without a restart");
    let on_disk = files.load(&host, now).unwrap();
    assert_eq!(on_disk.current().identity().serial, store.current().identity().serial);
    let other = HostName::new("compute2").unwrap();
    assert_eq!(files.load(&other, now).unwrap_err().code, codes::OTHER_HOST);
    let late = UnixSeconds(now.0 + 10 * 86_400);
    assert_eq!(files.load(&host, late).unwrap_err().code, codes::CERTIFICATE_EXPIRED);
}

#[tokio::test]
async fn a_token_that_does_not_fit_is_refused_with_its_own_code() {
    let (coordinator, foreign) = (Coordinator::start().await, Coordinator::start().await);
    let address: Address = coordinator.address.parse().unwrap();
    let host = HostName::new("compute1").unwrap();
    let used = coordinator.token("compute1", Duration::from_secs(600));
    let first = tempfile::tempdir().unwrap();
    enrol(enrolment(&address, &used, &host, &IdentityFiles::below(first.path()))).await.unwrap();
    let minute = Duration::from_secs(60);
    for (token, code) in [
        ("rpk1.nonsense".to_owned(), codes::TOKEN_MALFORMED),
        (used, codes::TOKEN_USED),
        (coordinator.token("compute2", minute), codes::TOKEN_WRONG_HOST),
        (coordinator.token("compute1", Duration::ZERO), codes::TOKEN_EXPIRED),
        (foreign.token("compute1", minute), codes::SERVER_FOREIGN),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let files = IdentityFiles::below(dir.path());
        // A token that ends now is over in the next second.
        let begun = Instant::now();
        let error = loop {
            match enrol(enrolment(&address, &token, &host, &files)).await {
                Err(error) => break error,
                Ok(_) => {
                    assert!(
                        code == codes::TOKEN_EXPIRED && begun.elapsed() < PATIENCE,
                        "{code} was not said"
                    );
                    std::fs::remove_file(files.identity()).unwrap();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        assert_eq!(error.code, code, "{error}");
        assert!(!files.identity().exists());
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_passing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let coordinator = Coordinator::start().await;
    let token = coordinator.token("compute1", Duration::from_secs(60));
    let dir = tempfile::tempdir().unwrap();
    let host = HostName::new("compute1").unwrap();
    let error =
        enrol(enrolment(&address, &token, &host, &IdentityFiles::below(dir.path()))).await.unwrap_err();
    assert_eq!(error.code, codes::UNREACHABLE);
    assert!(error.is_passing());
}
