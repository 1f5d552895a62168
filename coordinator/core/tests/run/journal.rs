//! The written form of journals: what older code wrote is read, and means the same as it did.

use crate::fleet::Fleet;
use crate::operator::see_it_through;
use crate::plans::{Shape, hold_id, host_name};
use replank_common::census::{EndCause, GuestState};
use replank_common::ids::GuestUuid;
use replank_common::outcome::Outcome;
use replank_core::gate::HaltReason;
use replank_core::plan::Stage;
use replank_core::run::{End, Event, Machine, Operate, Phase, Purpose, Record, When};
use std::collections::BTreeSet;

/// A journal as written by the code of its day, of a fleet with so many hosts.
const FIXTURES: [(&str, usize, &str); 2] = [
    ("journal-1", 2, include_str!("fixtures/journal-1.jsonl")),
    ("journal-1-hard", 3, include_str!("fixtures/journal-1-hard.jsonl")),
];

fn records(text: &str) -> Vec<Record> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn journals_of_format_1_are_read() {
    for (name, hosts, text) in FIXTURES {
        let records = records(text);
        let machine = Machine::replay(crate::plans::index(Shape::of(hosts)), &records).unwrap();
        insta::assert_snapshot!(format!("{name}_is_read"), machine.state().report().unwrap().text(None));
        for (line, record) in text.lines().zip(&records) {
            assert_eq!(serde_json::to_string(record).unwrap(), line, "the written form is stable");
        }
    }
}

macro_rules! kinds {
    ($($pattern:pat => $name:literal,)+) => {
        fn kind(event: &Event) -> &'static str {
            match event { $($pattern => $name,)+ }
        }
        const KINDS: &[&str] = &[$($name),+];
    };
}

// A new kind of event, or of what it carries, is an error of the compiler here, and then of the test below until a fixture has it.
kinds! {
    Event::Created { .. } => "created",
    Event::Led { .. } => "led",
    Event::Baseline { .. } => "baseline",
    Event::GuestAppeared { .. } => "guest appeared",
    Event::GuestLeft { cause: EndCause::GuestShutdown, .. } => "guest left: shut down",
    Event::GuestLeft { cause: EndCause::AskedOfLibvirt { .. }, .. } => "guest left: asked of libvirt",
    Event::GuestLeft { cause: EndCause::Migrated | EndCause::Unattributed { .. }, .. } => "guest left: migrated",
    Event::GuestMoved { .. } => "guest moved",
    Event::GuestLost { .. } => "guest lost",
    Event::GuestTwice { .. } => "guest twice",
    Event::HostRebooted { .. } => "host rebooted",
    Event::Halted { reason: HaltReason::GuestLost { .. } } => "halted: guest lost",
    Event::Halted { reason: HaltReason::GuestTwice { .. } } => "halted: guest twice",
    Event::Halted { reason: HaltReason::HostRebooted { .. } } => "halted: host rebooted",
    Event::Began { .. } => "began",
    Event::Sent { purpose: Purpose::Do, .. } => "sent: do",
    Event::Sent { purpose: Purpose::GiveBack, .. } => "sent: give back",
    Event::Sent { purpose: Purpose::Undo, .. } => "sent: undo",
    Event::Sent { purpose: Purpose::SetGuard, .. } => "sent: set guard",
    Event::Sent { purpose: Purpose::Guard, .. } => "sent: guard",
    Event::Outcome { outcome: Outcome::Done { .. }, .. } => "outcome: done",
    Event::Outcome { outcome: Outcome::Refused(_), .. } => "outcome: refused",
    Event::Outcome { outcome: Outcome::Failed { restored: true, .. }, .. } => "outcome: failed, restored",
    Event::Outcome { outcome: Outcome::Failed { restored: false, .. }, .. } => "outcome: failed, half done",
    Event::GateWaits { when: When::Before, .. } => "gate waits: before",
    Event::GateWaits { when: When::After, .. } => "gate waits: after",
    Event::GateWaits { when: When::Undo, .. } => "gate waits: undo",
    Event::GatePassed { when: When::Before, .. } => "gate passed: before",
    Event::GatePassed { when: When::After, .. } => "gate passed: after",
    Event::GatePassed { when: When::Undo, .. } => "gate passed: undo",
    Event::StepDone { .. } => "step done",
    Event::HoldReached { .. } => "hold reached",
    Event::Approved { .. } => "approved",
    Event::Paused { .. } => "paused",
    Event::Resumed { .. } => "resumed",
    Event::RetryAsked { .. } => "retry asked",
    Event::AbortAsked { .. } => "abort asked",
    Event::RollbackAsked { to: None, .. } => "rollback asked",
    Event::RollbackAsked { to: Some(_), .. } => "rollback asked: to a stage",
    Event::RollbackRefused { .. } => "rollback refused",
    Event::RollbackBegun {} => "rollback begun",
    Event::Closing { end: End::Completed } => "closing: completed",
    Event::Closing { end: End::Aborted } => "closing: aborted",
    Event::Closing { end: End::RolledBack { .. } } => "closing: rolled back",
    Event::Recounted { .. } => "recounted",
    Event::Finished { end: End::Completed } => "finished: completed",
    Event::Finished { end: End::Aborted } => "finished: aborted",
    Event::Finished { end: End::RolledBack { .. } } => "finished: rolled back",
}

/// Kinds that are folded and never written: an abort closes by the asking.
const UNWRITTEN: [&str; 1] = ["closing: aborted"];

#[test]
fn every_kind_of_event_is_in_a_fixture() {
    let found: BTreeSet<&str> =
        FIXTURES.iter().flat_map(|(_, _, text)| records(text)).map(|record| kind(&record.event)).collect();
    let missing: Vec<&&str> =
        KINDS.iter().filter(|kind| !found.contains(*kind) && !UNWRITTEN.contains(*kind)).collect();
    assert!(missing.is_empty(), "no committed journal has {missing:?}; `print_*` make new ones");
}

fn phase(fleet: &Fleet) -> Option<Phase> {
    Some(fleet.machine.as_ref()?.view(fleet.now)?.phase)
}

fn guest(fleet: &Fleet, host: usize, at: usize) -> GuestUuid {
    *fleet.hosts[host].guests.keys().nth(at).unwrap()
}

fn killed() -> EndCause {
    EndCause::Unattributed { known: "killed by signal 9".to_owned() }
}

fn until(fleet: &mut Fleet, what: &str, done: impl Fn(&Fleet) -> bool) {
    assert!(fleet.run_until(120_000, done), "{what}; it is {:?}", phase(fleet));
}

fn until_journal_has(fleet: &mut Fleet, what: &'static str) {
    let from = fleet.journal.len();
    until(fleet, what, |f| {
        f.journal[from.min(f.journal.len())..].iter().any(|record| kind(&record.event) == what)
    });
}

fn print(journal: &[Record]) {
    for record in journal {
        println!("JOURNAL {}", serde_json::to_string(record).unwrap());
    }
}

/// A loss, a resumption, a refusal, a retry, a refused rollback and one that began and was aborted.
#[test]
#[ignore = "a tool: prints the fixture `journal-1`, or its successor when the format grows"]
fn print_a_journal() {
    let mut fleet = Fleet::new(Shape::of(2), 2, 12);
    until(&mut fleet, "the first hold", |f| phase(f) == Some(Phase::AtHold));
    fleet.operate(Operate::Pause).unwrap();
    fleet.operate(Operate::Resume { acknowledged: Vec::new() }).unwrap();
    fleet.operate(Operate::Approve { hold: hold_id("before-canary") }).unwrap();
    until(&mut fleet, "the switch", |f| f.hosts[0].libvirtd_new);
    fleet.hosts[0].disagrees_since = Some(fleet.now);
    fleet.pass(20_000);
    fleet.hosts[0].disagrees_since = None;
    let (victim, asked, at) = (guest(&fleet, 1, 0), guest(&fleet, 0, 0), fleet.now);
    fleet.hosts[1].end_guest(victim, killed(), at);
    fleet.hosts[0].end_guest(asked, EndCause::AskedOfLibvirt { who: Some("nova".to_owned()) }, at);
    fleet.hosts[0].start_guest(GuestUuid(uuid::Uuid::from_u128(99)), GuestState::Running);
    fleet.push_census(0);
    fleet.push_census(1);
    until(&mut fleet, "the halt", |f| f.watcher.halted);
    fleet.operate(Operate::Resume { acknowledged: vec![victim] }).unwrap();
    until(&mut fleet, "the second hold", |f| phase(f) == Some(Phase::AtHold));
    fleet.operate(Operate::Approve { hold: hold_id("after-canary") }).unwrap();
    fleet.faults.refused = 1000;
    until(&mut fleet, "the refusal", |f| phase(f) == Some(Phase::Held));
    fleet.faults.refused = 0;
    see_it_through(&mut fleet, 600_000);
    fleet.hosts[1].way_back_closed = true;
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    until(&mut fleet, "the refused rollback", |f| f.watcher.rollbacks_refused == 1);
    fleet.hosts[1].way_back_closed = false;
    fleet.coordinator_dies();
    fleet.pass(10_000);
    fleet.operate(Operate::Rollback { to: Some(Stage::Install) }).unwrap();
    fleet.pass(5_000);
    fleet.operate(Operate::Abort).unwrap();
    see_it_through(&mut fleet, 600_000);
    print(&fleet.journal);
}

/// Gates that wait before a step and before it is taken back, a reboot, a double, a move, failures, and a rollback to the beginning out of
/// the middle of a switch.
#[test]
#[ignore = "a tool: prints the fixture `journal-1-hard`, or its successor when the format grows"]
fn print_a_hard_journal() {
    let mut fleet = Fleet::new(Shape::of(3), 3, 5);
    until(&mut fleet, "the first hold", |f| phase(f) == Some(Phase::AtHold));
    fleet.hosts[0].job_since = Some(fleet.now);
    fleet.operate(Operate::Approve { hold: hold_id("before-canary") }).unwrap();
    until_journal_has(&mut fleet, "gate waits: before");
    fleet.hosts[2].reboots();
    fleet.agent_dies(2);
    until_journal_has(&mut fleet, "halted: host rebooted");
    let view = fleet.machine().view(fleet.now).unwrap();
    let acknowledged = view.halts[0].guests.iter().map(|guest| guest.uuid).collect();
    fleet.operate(Operate::Resume { acknowledged }).unwrap();
    let (twin, mover, done) = (guest(&fleet, 0, 0), guest(&fleet, 1, 0), guest(&fleet, 1, 1));
    fleet.hosts[2].start_guest(twin, GuestState::Running);
    fleet.push_census(2);
    until_journal_has(&mut fleet, "halted: guest twice");
    let at = fleet.now;
    fleet.hosts[2].end_guest(twin, EndCause::AskedOfLibvirt { who: None }, at);
    fleet.hosts[1].end_guest(mover, EndCause::Migrated, at);
    fleet.hosts[1].end_guest(done, EndCause::GuestShutdown, at);
    fleet.hosts[2].start_guest(mover, GuestState::Running);
    for host in [1, 2] {
        fleet.push_census(host);
    }
    fleet.pass(2_000);
    fleet.operate(Operate::Resume { acknowledged: vec![twin] }).unwrap();
    let second = guest(&fleet, 1, 0);
    let at = fleet.now;
    fleet.hosts[1].end_guest(second, EndCause::Migrated, at);
    fleet.hosts[2].start_guest(second, GuestState::Running);
    for host in [1, 2] {
        fleet.push_census(host);
    }
    fleet.pass(2_000);
    fleet.hosts[0].job_since = None;
    fleet.faults.failed = 1000;
    until_journal_has(&mut fleet, "gate passed: before");
    until(&mut fleet, "the failure", |f| phase(f) == Some(Phase::Held));
    for failed in ["outcome: failed, restored", "outcome: failed, half done"] {
        while !fleet.journal.iter().any(|record| kind(&record.event) == failed) {
            let step = fleet.machine().view(fleet.now).unwrap().waits[0].step.clone().unwrap();
            fleet.operate(Operate::Retry { step }).unwrap();
            fleet.pass(10_000);
        }
    }
    fleet.faults.failed = 0;
    let step = fleet.machine().view(fleet.now).unwrap().waits[0].step.clone().unwrap();
    fleet.operate(Operate::Retry { step }).unwrap();
    until(&mut fleet, "the switch", |f| f.hosts[0].libvirtd_new);
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    until_journal_has(&mut fleet, "rollback begun");
    fleet.hosts[0].disagrees_since = Some(fleet.now);
    fleet.push_census(0);
    until_journal_has(&mut fleet, "gate waits: undo");
    fleet.hosts[0].disagrees_since = None;
    fleet.push_census(0);
    see_it_through(&mut fleet, 600_000);
    // Moves by the run are not made yet; the form of their event stands: one of the owner's is told as one.
    let at = fleet.journal.iter().rposition(|record| kind(&record.event) == "guest left: migrated").unwrap();
    if let Event::GuestLeft { host, guest, incarnation, .. } = fleet.journal[at].event.clone() {
        fleet.journal[at].event = Event::GuestMoved { host, guest, incarnation, to: host_name(2) };
    }
    print(&fleet.journal);
}
