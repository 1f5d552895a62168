//! P1 and P2: every life is accounted for.

use crate::fleet::Fleet;
use crate::operator::see_it_through;
use crate::plans::{Shape, hold_id, host_name};
use replank_common::census::{EndCause, GuestState};
use replank_common::ids::{GuestUuid, StepId};
use replank_common::reading::ReadingRequest;
use replank_core::gate::HaltReason;
use replank_core::run::{End, Event, Input, Operate, OperatorRefusal, Phase};

fn killed() -> EndCause {
    EndCause::Unattributed { known: "killed by signal 9".to_owned() }
}

fn guest(fleet: &Fleet, host: usize) -> GuestUuid {
    *fleet.hosts[host].guests.keys().next().unwrap()
}

fn phase(fleet: &Fleet) -> Phase {
    fleet.machine().view(fleet.now).unwrap().phase
}

/// A fleet whose canary is in the middle of its switch.
fn under_way() -> Fleet {
    let mut fleet = Fleet::new(Shape::of(3), 2, 3);
    assert!(fleet.run_until(60_000, |f| f.machine.is_some() && phase(f) == Phase::AtHold));
    fleet.operate(Operate::Approve { hold: hold_id("before-canary") }).unwrap();
    assert!(fleet.run_until(60_000, |f| f.changed(0).iter().any(|step| step.contains("anchor"))));
    assert!(fleet.run_until(60_000, |f| f.hosts[0].running.is_some()));
    fleet
}

#[test]
fn a_guest_killed_on_another_host_halts_the_fleet_and_names_guest_host_and_step() {
    let mut fleet = under_way();
    let victim = guest(&fleet, 2);
    let at = fleet.now;
    fleet.hosts[2].end_guest(victim, killed(), at);
    fleet.push_census(2);
    assert!(fleet.run_until(1_000, |f| f.watcher.halted), "within a second");
    assert_eq!(phase(&fleet), Phase::Halted);
    let why = fleet.machine().view(fleet.now).unwrap().why();
    for part in [
        "RP3020 halted: guest vm3001 (",
        "on compute3 was lost at ",
        "killed by signal 9",
        "compute1.install-libvirt on compute1 (install libvirt)",
    ] {
        assert!(why.contains(part), "{part:?} is not in:\n{why}");
    }
    let commands = fleet.commands;
    fleet.pass(300_000);
    assert_eq!(fleet.commands, commands, "nothing leaves any more");
    let report = fleet.machine().state().report().unwrap();
    assert!(report.halts[0].death_to_halt_ms.unwrap() < 1_000);
    assert_eq!(report.tally.lost, 1);

    // Going on needs the guest by name.
    let no = fleet.operate(Operate::Resume { acknowledged: Vec::new() }).unwrap_err();
    assert!(matches!(&no, OperatorRefusal::NotAcknowledged { names } if names.contains("vm3001")), "{no}");
    let no = fleet.operate(Operate::Approve { hold: hold_id("after-canary") }).unwrap_err();
    assert_eq!(no.code(), "RP3007");
    fleet.operate(Operate::Resume { acknowledged: vec![victim] }).unwrap();
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
    let resumed = fleet.journal.iter().find_map(|record| match &record.event {
        Event::Resumed { by, acknowledged } => Some((by.clone(), acknowledged.clone())),
        _ => None,
    });
    assert_eq!(resumed, Some(("bob".to_owned(), vec![victim])));
}

#[test]
fn a_halt_survives_the_coordinator_and_holds_repeated_commands_back() {
    let mut fleet = under_way();
    let victim = guest(&fleet, 1);
    fleet.hosts[1].end_guest(victim, killed(), 1);
    fleet.push_census(1);
    assert!(fleet.run_until(1_000, |f| f.watcher.halted));
    fleet.coordinator_dies();
    let commands = fleet.commands;
    fleet.pass(120_000);
    assert_eq!(phase(&fleet), Phase::Halted);
    assert_eq!(fleet.commands, commands);
    fleet.operate(Operate::Abort).unwrap();
    assert!(fleet.run_until(120_000, Fleet::finished));
    fleet.check_given_back();
}

#[test]
fn owners_may_end_start_and_shut_down_their_guests() {
    let mut fleet = under_way();
    let (first, second) = (guest(&fleet, 0), guest(&fleet, 1));
    let asked = EndCause::AskedOfLibvirt { who: Some("nova".to_owned()) };
    fleet.hosts[0].end_guest(first, asked, 1);
    fleet.hosts[0].start_guest(first, GuestState::Running);
    fleet.hosts[1].end_guest(second, EndCause::GuestShutdown, 1);
    fleet.push_census(0);
    fleet.push_census(1);
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
    let report = fleet.machine().state().report().unwrap();
    assert_eq!((report.tally.lost, report.tally.left, report.tally.same), (0, 2, 5));
    let joined: Vec<_> = report.guests.iter().filter(|guest| guest.joined).collect();
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0].uuid, first);
}

#[test]
fn a_guest_that_started_during_the_run_is_answered_for_too() {
    let mut fleet = under_way();
    let late = GuestUuid(uuid::Uuid::from_u128(77));
    fleet.hosts[1].start_guest(late, GuestState::Running);
    fleet.push_census(1);
    fleet.pass(1_000);
    fleet.hosts[1].end_guest(late, killed(), 1);
    fleet.push_census(1);
    assert!(fleet.run_until(1_000, |f| f.watcher.halted));
}

#[test]
fn a_life_replaced_by_another_is_lost_although_the_guest_runs() {
    let mut fleet = under_way();
    let victim = guest(&fleet, 1);
    fleet.agent_dies(1);
    fleet.hosts[1].end_guest(victim, killed(), 1);
    fleet.hosts[1].start_guest(victim, GuestState::Running);
    assert!(fleet.run_until(20_000, |f| f.watcher.halted), "nobody saw who ended it");
}

#[test]
fn a_reboot_loses_every_guest_of_the_host_at_once() {
    let mut fleet = under_way();
    fleet.agent_dies(2);
    fleet.hosts[2].reboots();
    assert!(fleet.run_until(20_000, |f| f.watcher.halted));
    let view = fleet.machine().view(fleet.now).unwrap();
    assert_eq!(view.halts[0].reason, HaltReason::HostRebooted { host: host_name(2) });
    assert_eq!(view.halts[0].guests.len(), 2);
    let acknowledged = view.halts[0].guests.iter().map(|guest| guest.uuid).collect();
    fleet.operate(Operate::Resume { acknowledged }).unwrap();
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
}

#[test]
fn the_same_guest_active_on_two_hosts_halts_once_both_have_said_so_again() {
    let mut fleet = under_way();
    let twin = guest(&fleet, 0);
    fleet.hosts[2].start_guest(twin, GuestState::Running);
    fleet.push_census(2);
    assert!(fleet.run_until(5_000, |f| f.watcher.halted));
    let view = fleet.machine().view(fleet.now).unwrap();
    assert!(
        matches!(&view.halts[0].reason, HaltReason::GuestTwice { hosts, .. } if *hosts == [host_name(0), host_name(2)])
    );
    // Acknowledged and not mended: it halts again.
    fleet.operate(Operate::Resume { acknowledged: vec![twin] }).unwrap();
    assert!(fleet.run_until(10_000, |f| f.watcher.halted));
    let ended = fleet.now;
    fleet.hosts[2].end_guest(twin, EndCause::AskedOfLibvirt { who: None }, ended);
    fleet.push_census(2);
    fleet.pass(1_000);
    fleet.operate(Operate::Resume { acknowledged: vec![twin] }).unwrap();
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
}

#[test]
fn a_migration_by_the_owner_is_neither_a_loss_nor_a_double() {
    let mut fleet = under_way();
    let mover = guest(&fleet, 1);
    let paused = GuestState::Paused("migration".to_owned());
    fleet.hosts[2].start_guest(mover, paused.clone());
    fleet.push_census(2);
    fleet.pass(4_000);
    // The end that stops is seen late: two censuses of two instants both say "active" for a moment.
    fleet.hosts[2].guests.get_mut(&mover).unwrap().state = GuestState::Running;
    fleet.push_census(2);
    fleet.hosts[1].guests.get_mut(&mover).unwrap().state = paused;
    fleet.pass(4_000);
    let now = fleet.now;
    fleet.hosts[1].end_guest(mover, EndCause::Migrated, now);
    fleet.push_census(1);
    fleet.pass(4_000);
    assert!(!fleet.watcher.halted);
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
    let tally = fleet.machine().state().report().unwrap().tally;
    assert_eq!(
        (tally.lost, tally.left, tally.same),
        (0, 1, 6),
        "it left one host and is the same on the other"
    );
}

#[test]
fn a_guest_that_a_census_which_does_not_agree_leaves_out_is_not_gone() {
    let mut fleet = under_way();
    let (now, hidden) = (fleet.now, guest(&fleet, 0));
    fleet.hosts[0].disagrees_since = Some(now);
    let mut census = fleet.hosts[0].census(now);
    census.guests.remove(&hidden);
    fleet.input(Input::Census { host: host_name(0), census });
    assert!(!fleet.watcher.halted);
    fleet.hosts[0].disagrees_since = None;
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.machine().state().report().unwrap().tally.lost, 0);
}

#[test]
fn a_census_of_an_earlier_life_of_the_agent_is_past() {
    let mut fleet = under_way();
    let mut late = fleet.hosts[0].census(fleet.now);
    late.sequence += 1_000;
    fleet.agent_dies(0);
    assert!(fleet.run_until(60_000, |f| f.hosts[0].link.is_some()));
    fleet.hosts[0].start_guest(GuestUuid(uuid::Uuid::from_u128(77)), GuestState::Running);
    fleet.push_census(0);
    fleet.pass(1_000);
    fleet.input(Input::Census { host: host_name(0), census: late });
    assert!(!fleet.watcher.halted, "it knows nothing of the guest that was started since");
}

#[test]
fn what_cannot_be_told_waits_and_says_so_and_never_halts() {
    let mut fleet = under_way();
    fleet.hosts[0].disagrees_since = Some(fleet.now);
    fleet.push_census(0);
    fleet.pass(120_000);
    assert!(!fleet.watcher.halted);
    let view = fleet.machine().view(fleet.now).unwrap();
    let why = view.why();
    assert!(why.contains("RP3024 compute1."), "{why}");
    assert!(why.contains("the four sources of the census do not agree"), "{why}");
    assert!(why.contains("OVERDUE"), "longer than the step's deadline:\n{why}");
    let records = fleet.journal.len();
    fleet.pass(120_000);
    assert!(
        fleet.journal.len() <= records + 1,
        "a wait is recorded when it changes, not each time it is looked at"
    );
    fleet.hosts[0].disagrees_since = None;
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
}

#[test]
fn an_answer_that_has_become_old_while_another_gate_waits_is_asked_for_again() {
    let mut fleet = under_way();
    let restart = StepId::new("compute1.restart").unwrap();
    let sent = |fleet: &Fleet| {
        let mut events = fleet.journal.iter().map(|record| &record.event);
        events.any(|event| matches!(event, Event::Sent { step, .. } if *step == restart))
    };
    fleet.hosts[0].job_since = Some(fleet.now);
    assert!(fleet.run_until(60_000, |f| f.machine().view(f.now).unwrap().why().contains("compute1.restart")));
    // No job is seen, and the census keeps the step waiting.
    fleet.hosts[0].disagrees_since = Some(fleet.now);
    fleet.push_census(0);
    fleet.pass(2_000);
    fleet.hosts[0].job_since = None;
    fleet.pass(10_000);
    // By the time that the census agrees, there is a job again.
    fleet.hosts[0].job_since = Some(fleet.now);
    fleet.pass(120_000);
    fleet.hosts[0].disagrees_since = None;
    fleet.pass(30_000);
    assert!(!sent(&fleet));
    fleet.hosts[0].job_since = None;
    see_it_through(&mut fleet, 600_000);
    assert!(sent(&fleet));
}

#[test]
fn a_late_answer_to_an_earlier_question_is_no_answer_to_this_one() {
    let mut fleet = under_way();
    let restart = StepId::new("compute1.restart").unwrap();
    let jobs = |fleet: &Fleet| {
        let readings = fleet.machine().wants().readings;
        readings.into_iter().find(|want| want.request == ReadingRequest::GuestJobs).map(|want| want.ask)
    };
    let none = fleet.hosts[0].read(&ReadingRequest::GuestJobs, true, fleet.now);
    fleet.hosts[0].job_since = Some(fleet.now);
    assert!(fleet.run_until(60_000, |f| f.machine().view(f.now).unwrap().why().contains("compute1.restart")));
    assert!(fleet.run_until(60_000, |f| jobs(f).is_some()));
    let earlier = jobs(&fleet).unwrap() - 1;
    fleet.input(Input::Reading { host: host_name(0), ask: earlier, reading: none });
    let mut events = fleet.journal.iter().map(|record| &record.event);
    assert!(!events.any(|event| matches!(event, Event::Sent { step, .. } if *step == restart)));
}

#[test]
fn a_link_cut_in_the_middle_of_a_step_is_asked_again_when_it_is_back() {
    let mut fleet = under_way();
    fleet.cut(0);
    fleet.agent_dies(0);
    assert!(fleet.machine().view(fleet.now).unwrap().why().contains("its outcome is not known"));
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
    fleet.check_done_once();
}

#[test]
fn a_changed_host_that_cannot_be_seen_keeps_others_from_starting() {
    let mut fleet = under_way();
    assert!(fleet.run_until(120_000, |f| phase(f) == Phase::AtHold));
    fleet.hosts[0].disagrees_since = Some(fleet.now);
    fleet.push_census(0);
    fleet.pass(1_000);
    fleet.operate(Operate::Approve { hold: hold_id("after-canary") }).unwrap();
    fleet.pass(60_000);
    assert!(fleet.changed(1).iter().all(|step| step.contains("pin")), "{:?}", fleet.changed(1));
    let why = fleet.machine().view(fleet.now).unwrap().why();
    assert!(why.contains("RP3023 compute1: the four sources"), "{why}");
    fleet.hosts[0].disagrees_since = None;
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
}
