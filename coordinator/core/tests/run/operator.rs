//! Operators: what they may ask for when, and what they are told when not.

use crate::fleet::Fleet;
use crate::plans::{self, Shape, hold_id, host_name, step_id};
use replank_ceph::OsdId;
use replank_ceph::documents::{OsdDump, PgDump, QuorumStatus};
use replank_ceph::seen::{Seen, Stop};
use replank_common::ids::GuestUuid;
use replank_common::reading::{ReadingRequest, ReadingValue};
use replank_core::gate::Gate;
use replank_core::plan::Stage;
use replank_core::run::event::MAX_CLOSED;
use replank_core::run::{End, Event, Index, Operate, OperatorRefusal, Phase};
use std::sync::Arc;

/// A patient operator: approves what is reached, retries what is held, acknowledges what is lost. Until the run ends.
pub fn see_it_through(fleet: &mut Fleet, limit_ms: u64) {
    let end = fleet.now + limit_ms;
    while fleet.now < end && !fleet.finished() {
        fleet.pass(1_000);
        if fleet.machine.is_some() {
            decide_what_waits(fleet);
        }
    }
}

/// One look of that operator.
fn decide_what_waits(fleet: &mut Fleet) {
    let Some(view) = fleet.machine().view(fleet.now) else { return };
    if view.phase.is_end() {
        return;
    }
    if !view.halts.is_empty() || view.paused.is_some() {
        let acknowledged: Vec<GuestUuid> =
            view.halts.iter().flat_map(|halt| &halt.guests).map(|guest| guest.uuid).collect();
        fleet.operate(Operate::Resume { acknowledged }).unwrap();
        return;
    }
    for hold in view.holds {
        if hold.reached_ms.is_some() && hold.approved.is_none() && fleet.machine.is_some() {
            match fleet.operate(Operate::Approve { hold: hold.id }) {
                Ok(()) | Err(OperatorRefusal::NotForward { .. }) => {}
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }
    for wait in view.waits {
        if let (Some(step), "RP3025") = (wait.step, wait.code.as_str())
            && fleet.machine.is_some()
        {
            match fleet.operate(Operate::Retry { step }) {
                Ok(()) | Err(OperatorRefusal::Halted { .. } | OperatorRefusal::NotHeld { .. }) => {}
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }
}

fn refusal(fleet: &mut Fleet, command: Operate) -> OperatorRefusal {
    let records = fleet.journal.len();
    let refusal = fleet.operate(command).unwrap_err();
    assert_eq!(fleet.journal.len(), records, "a refusal changes nothing");
    refusal
}

fn at_first_hold() -> Fleet {
    let mut fleet = Fleet::new(Shape::of(3), 2, 1);
    assert!(fleet.run_until(60_000, |f| f.machine.is_some() && phase(f) == Phase::AtHold));
    fleet
}

fn phase(fleet: &Fleet) -> Phase {
    fleet.machine().view(fleet.now).unwrap().phase
}

fn approve(fleet: &mut Fleet, hold: &str) {
    fleet.operate(Operate::Approve { hold: hold_id(hold) }).unwrap();
}

#[test]
fn a_quiet_voyage_ends_completed_and_gives_everything_back() {
    let mut fleet = Fleet::new(Shape::of(4), 3, 1);
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
    fleet.check_given_back();
    fleet.check_done_once();
    fleet.check_fold();
    let report = fleet.machine().state().report().unwrap();
    assert_eq!((report.tally.same, report.tally.lost), (12, 0));
}

#[test]
fn what_steps_forgot_to_give_back_is_given_back_at_the_end() {
    let mut fleet = Fleet::new(Shape { gives_back: false, ..Shape::of(2) }, 1, 1);
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
    fleet.check_given_back();
}

#[test]
fn a_hold_is_approved_once_and_only_when_reached() {
    let mut fleet = at_first_hold();
    let early = refusal(&mut fleet, Operate::Approve { hold: hold_id("after-canary") });
    assert_eq!(early.code(), "RP3004");
    let unknown = refusal(&mut fleet, Operate::Approve { hold: hold_id("nowhere") });
    assert_eq!(unknown.code(), "RP3003");
    fleet.pass(120_000);
    assert!(fleet.hosts.iter().all(|host| host.applied.len() == 2), "nothing but the preparation");
    approve(&mut fleet, "before-canary");
    let again = refusal(&mut fleet, Operate::Approve { hold: hold_id("before-canary") });
    assert_eq!(again.to_string(), "hold `before-canary` was approved already, by bob");
}

#[test]
fn a_pause_lets_what_is_in_flight_end_and_starts_nothing() {
    let mut fleet = at_first_hold();
    approve(&mut fleet, "before-canary");
    fleet.run_until(10_000, |f| f.journal.iter().any(|r| matches!(r.event, Event::Sent { .. })));
    fleet.operate(Operate::Pause).unwrap();
    assert_eq!(refusal(&mut fleet, Operate::Pause).code(), "RP3010");
    fleet.pass(10_000);
    let before = fleet.commands;
    fleet.pass(60_000);
    assert_eq!(fleet.commands, before, "nothing starts");
    assert_eq!(phase(&fleet), Phase::Paused);
    fleet.operate(Operate::Resume { acknowledged: Vec::new() }).unwrap();
    assert_eq!(refusal(&mut fleet, Operate::Resume { acknowledged: Vec::new() }).code(), "RP3009");
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
}

#[test]
fn an_abort_gives_back_what_is_borrowed_and_keeps_the_rest() {
    let mut fleet = at_first_hold();
    approve(&mut fleet, "before-canary");
    assert!(fleet.run_until(60_000, |f| f.changed(0).iter().any(|step| step.contains("install-libvirt"))));
    fleet.operate(Operate::Abort).unwrap();
    assert_eq!(refusal(&mut fleet, Operate::Abort).code(), "RP3012");
    assert!(fleet.run_until(60_000, Fleet::finished));
    assert_eq!(fleet.watcher.end, Some(End::Aborted));
    fleet.check_given_back();
    let left = fleet.changed(0);
    assert_eq!(
        left,
        ["compute1.keep/1", "compute1.install-qemu/1", "compute1.anchor/1", "compute1.install-libvirt/1"]
    );
    assert_eq!(refusal(&mut fleet, Operate::Abort).code(), "RP3002");
    // And an aborted run can still be taken back.
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(60_000, |f| f.watcher.end == Some(End::RolledBack { to: None })));
    assert!((0..3).all(|host| fleet.changed(host).is_empty()));
}

#[test]
fn a_finished_run_is_rolled_back_last_wave_first_and_guards_before_all() {
    let mut fleet = Fleet::new(Shape { canaries: 1, parallel: 1, ..Shape::of(3) }, 1, 1);
    see_it_through(&mut fleet, 600_000);
    fleet.watcher.undone.clear();
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert_eq!(refusal(&mut fleet, Operate::Rollback { to: None }).code(), "RP3013");
    assert!(fleet.run_until(600_000, Fleet::finished));
    assert_eq!(fleet.watcher.end, Some(End::RolledBack { to: None }));
    let first_undo = fleet.watcher.first_undo_at.unwrap();
    assert_eq!(fleet.watcher.guards_at.len(), 3);
    assert!(fleet.watcher.guards_at.iter().all(|at| *at < first_undo));
    let hosts: Vec<&str> =
        fleet.watcher.undone.iter().map(|step| step.as_str().split('.').next().unwrap()).collect();
    let mut sorted = hosts.clone();
    sorted.sort_unstable();
    sorted.reverse();
    assert_eq!(hosts, sorted, "compute3, then compute2, then the canary");
    let of_first: Vec<&str> = fleet.watcher.undone[..4].iter().map(|step| step.as_str()).collect();
    assert_eq!(
        of_first,
        ["compute3.install-libvirt", "compute3.anchor", "compute3.install-qemu", "compute3.keep"]
    );
    assert!((0..3).all(|host| fleet.changed(host).is_empty() && !fleet.hosts[host].libvirtd_new));
    assert_eq!(refusal(&mut fleet, Operate::Rollback { to: None }).code(), "RP3014");
    fleet.check_fold();
}

#[test]
fn a_rollback_to_a_stage_keeps_it_and_those_before() {
    let mut fleet = Fleet::new(Shape::of(2), 1, 1);
    see_it_through(&mut fleet, 600_000);
    fleet.operate(Operate::Rollback { to: Some(Stage::Install) }).unwrap();
    assert!(fleet.run_until(600_000, Fleet::finished));
    assert_eq!(fleet.watcher.end, Some(End::RolledBack { to: Some(Stage::Install) }));
    assert_eq!(fleet.changed(1), ["compute2.keep/1", "compute2.install-qemu/1"]);
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(600_000, Fleet::finished));
    assert!(fleet.changed(1).is_empty());
}

#[test]
fn a_guard_that_refuses_leaves_the_run_where_it_was() {
    let mut fleet = Fleet::new(Shape::of(3), 1, 1);
    see_it_through(&mut fleet, 600_000);
    let before: Vec<_> = (0..3).map(|host| fleet.changed(host)).collect();
    fleet.hosts[1].way_back_closed = true;
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(60_000, |f| f.watcher.rollbacks_refused == 1));
    let view = fleet.machine().view(fleet.now).unwrap();
    assert_eq!(view.phase, Phase::Completed);
    assert_eq!(view.way_back_closed[0].refusal.reason, "libvirt 9.0.0 cannot read guest vm1");
    assert!(view.why().contains("compute2.try-old"));
    assert_eq!((0..3).map(|host| fleet.changed(host)).collect::<Vec<_>>(), before, "nothing was taken back");
    // Once the guest is readable again, each guard is really asked again.
    fleet.hosts[1].way_back_closed = false;
    let asked: usize = fleet.hosts.iter().map(|host| host.guards_asked.len()).sum();
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(600_000, |f| f.watcher.end == Some(End::RolledBack { to: None })));
    let asked_now: usize = fleet.hosts.iter().map(|host| host.guards_asked.len()).sum();
    assert_eq!(asked_now, asked + 3);
}

#[test]
fn a_rollback_that_every_host_refuses_is_one_short_line() {
    let mut fleet = Fleet::new(Shape { parallel: 25, ..Shape::of(25) }, 1, 1);
    see_it_through(&mut fleet, 900_000);
    for host in &mut fleet.hosts {
        host.way_back_closed = true;
    }
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(60_000, |f| f.watcher.rollbacks_refused == 1));
    let named = fleet.journal.iter().find_map(|record| match &record.event {
        Event::RollbackRefused { refusals } => Some(refusals.len()),
        _ => None,
    });
    assert_eq!(named, Some(MAX_CLOSED));
    let view = fleet.machine().view(fleet.now).unwrap();
    assert_eq!((view.way_back_closed.len(), view.way_back_closed_more), (MAX_CLOSED, 9));
    assert!(view.why().contains("and by 9 more; "), "{}", view.why());
    assert!(fleet.machine().state().report().unwrap().text(None).contains("and by 9 more\n"));
}

#[test]
fn a_host_stopped_between_switch_and_guard_is_guarded_all_the_same() {
    let mut fleet = at_first_hold();
    approve(&mut fleet, "before-canary");
    assert!(fleet.run_until(60_000, |f| f.hosts[0].libvirtd_new));
    fleet.hosts[0].way_back_closed = true;
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(60_000, |f| f.watcher.rollbacks_refused == 1));
    assert!(fleet.hosts[0].libvirtd_new, "nothing was taken back");
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed), "and the run went on from where it was");
}

const ONE_MON: &[u8] =
    br#"{"quorum_names": ["a"], "monmap": {"mons": [{"rank": 0, "name": "a", "addr": "10.0.0.2:6789/0"}]}}"#;

/// The answer of a cluster with one OSD and no data.
fn one_osd() -> ReadingValue {
    let map = br#"{"epoch": 9, "flags": "", "pools": [], "osds": [
        {"osd": 0, "up": 1, "in": 1, "up_from": 5, "state": ["exists"], "public_addr": "10.0.0.1:6800/1"}]}"#;
    let osds = OsdDump::read("osd.json", map).unwrap();
    let pgs = PgDump::read("pg.json", br#"{"pg_stats": []}"#).unwrap();
    let quorum = QuorumStatus::read("quorum.json", ONE_MON).unwrap();
    let stop = Stop::new(osds, pgs, quorum, None, [OsdId(0)].into());
    ReadingValue::Ceph(Seen::Stop(Box::new(stop)).to_text())
}

/// P10: what stops daemons on the way there stops them on the way back, and waits for the same.
#[test]
fn the_way_back_waits_until_daemons_may_stop() {
    let shape = Shape::of(1);
    let mut plan = plans::plan(shape);
    let via = host_name(0);
    let gate = Gate::OsdsMayStop { osds: vec![0], mons: Vec::new(), consents: Vec::new(), via };
    let id = step_id(0, "keep");
    plan.steps.iter_mut().find(|step| step.id == id).unwrap().before.push(gate);
    let index = Arc::new(Index::new(plans::plan_id(), plan).unwrap());
    let mut fleet = Fleet::sailing(index, shape, 1, 1);
    fleet.hosts[0].cluster = one_osd();
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));

    fleet.hosts[0].cluster = ReadingValue::CannotTell { why: "no quorum".to_owned() };
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(
        !fleet.run_until(300_000, |f| f.machine().state().finished() == Some(End::RolledBack { to: None }))
    );
    let why = fleet.machine().view(fleet.now).unwrap().why();
    assert!(why.contains(&format!("{id} is not taken back")) && why.contains("no quorum"), "{why}");
    let changed = fleet.changed(0);
    assert!(changed.iter().any(|step| step.contains("keep")), "{changed:?}");
    assert!(
        !changed.iter().any(|step| step.contains("anchor")),
        "what came after it is taken back: {changed:?}"
    );

    fleet.hosts[0].cluster = one_osd();
    assert!(
        fleet.run_until(300_000, |f| f.machine().state().finished() == Some(End::RolledBack { to: None }))
    );
}

/// A cluster of 500,000 groups takes a minute or more for an answer, and not every answer takes as long: the slowest comes once, and the others at most once more.
#[test]
fn answers_that_take_longer_than_one_may_be_old_pass_together() {
    for (stop_ms, mons_ms) in [(100_000, 60_000), (60_000, 100_000), (60_000, 210_000), (90_000, 0)] {
        let shape = Shape::of(1);
        let mut plan = plans::plan(shape);
        let via = host_name(0);
        let stop =
            Gate::OsdsMayStop { osds: vec![0], mons: Vec::new(), consents: Vec::new(), via: via.clone() };
        let id = step_id(0, "keep");
        let step = plan.steps.iter_mut().find(|step| step.id == id).unwrap();
        step.before.extend([stop, Gate::MonsInQuorum { mons: vec!["a".to_owned()], via }]);
        let index = Arc::new(Index::new(plans::plan_id(), plan).unwrap());
        let mut fleet = Fleet::sailing(index, shape, 1, 1);
        fleet.hosts[0].cluster = one_osd();
        let quorum = QuorumStatus::read("quorum.json", ONE_MON).unwrap();
        fleet.hosts[0].quorum = ReadingValue::Ceph(Seen::Mons(quorum).to_text());
        let slow = ReadingRequest::CephStop { osds: vec![0] };
        fleet.measuring_ms = [(slow.clone(), stop_ms), (ReadingRequest::CephMons, mons_ms)].into();
        let asked = |fleet: &Fleet| {
            let machine = fleet.machine.as_ref();
            machine.is_some_and(|m| m.wants().readings.iter().any(|want| want.request == slow))
        };
        let begun = fleet.now;
        while !asked(&fleet) {
            assert!(fleet.now < begun + 60_000, "the step is not reached");
            see_it_through(&mut fleet, 1_000);
        }
        let sent = |fleet: &Fleet| {
            let mut events = fleet.journal.iter().map(|record| &record.event);
            events.any(|event| matches!(event, Event::Sent { step, .. } if *step == id))
        };
        assert!(fleet.run_until(stop_ms + mons_ms + 10_000, sent), "{stop_ms} {mons_ms}");
    }
}

#[test]
fn what_cannot_be_taken_back_refuses_the_rollback_with_the_alternative() {
    let mut fleet = Fleet::new(Shape { one_way: true, ..Shape::of(2) }, 1, 1);
    see_it_through(&mut fleet, 600_000);
    let no = refusal(&mut fleet, Operate::Rollback { to: None });
    assert_eq!(no.code(), "RP3015");
    assert!(no.to_string().contains("evacuate the host and make it anew"), "{no}");
}

#[test]
fn a_refused_step_is_held_stops_further_hosts_and_is_retried() {
    let mut fleet = at_first_hold();
    approve(&mut fleet, "before-canary");
    assert!(fleet.run_until(60_000, |f| f.changed(0).iter().any(|step| step.contains("mask"))));
    fleet.faults.refused = 1000;
    assert!(fleet.run_until(60_000, |f| phase(f) == Phase::Held));
    fleet.faults.refused = 0;
    let view = fleet.machine().view(fleet.now).unwrap();
    let step = view.waits[0].step.clone().unwrap();
    assert!(
        view.why().contains("RP4001: the host is not as expected; nothing was changed"),
        "{}",
        view.why()
    );
    fleet.pass(60_000);
    assert_eq!(fleet.machine().state().step(&step).unwrap().attempts, 1, "nobody tries again by itself");
    assert_eq!(refusal(&mut fleet, Operate::Retry { step: step_id(1, "keep") }).code(), "RP3006");
    fleet.operate(Operate::Retry { step }).unwrap();
    see_it_through(&mut fleet, 600_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed));
}

#[test]
fn a_step_that_failed_half_way_twice_is_taken_back_whole() {
    let mut fleet = at_first_hold();
    approve(&mut fleet, "before-canary");
    assert!(fleet.run_until(60_000, |f| f.changed(0).iter().any(|step| step.contains("install-qemu"))));
    fleet.hosts[0].applied.clear();
    let step = step_id(0, "mask");
    for attempt in 1..=2 {
        fleet.faults.failed = 1000;
        // Of the two ways to fail, wait for a half-way one.
        assert!(fleet.run_until(60_000, |f| phase(f) == Phase::Held));
        fleet.faults.failed = 0;
        assert_eq!(fleet.machine().state().step(&step).unwrap().attempts, attempt);
        fleet.operate(Operate::Retry { step: step.clone() }).unwrap();
    }
    assert!(fleet.run_until(60_000, |f| f.hosts[0].libvirtd_new));
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(600_000, |f| f.watcher.end == Some(End::RolledBack { to: None })));
    assert!(fleet.changed(0).is_empty(), "{:?}", fleet.changed(0));
    fleet.check_done_once();
}

#[test]
fn an_unsound_plan_is_not_run() {
    use replank_core::plan::{Need, Work};
    use replank_core::run::{Index, UnsoundPlan};
    let refuse = |change: &dyn Fn(&mut replank_core::plan::Plan)| {
        let mut plan = plans::plan(Shape::of(2));
        change(&mut plan);
        Index::new(plans::plan_id(), plan).unwrap_err()
    };
    assert!(matches!(refuse(&|plan| plan.format = 99), UnsoundPlan::Format { found: 99 }));
    assert!(matches!(
        refuse(&|plan| plan.steps[1].id = plan.steps[0].id.clone()),
        UnsoundPlan::Duplicate { .. }
    ));
    assert!(matches!(refuse(&|plan| plan.steps[0].deadline_ms = 0), UnsoundPlan::NoDeadline { .. }));
    assert!(matches!(
        refuse(&|plan| plan.steps[0].needs.push(Need::Step(step_id(1, "verify")))),
        UnsoundPlan::Order { .. }
    ));
    assert!(matches!(
        refuse(&|plan| plan.steps[0].needs.push(Need::Hold(hold_id("nowhere")))),
        UnsoundPlan::Unknown { .. }
    ));
    assert!(matches!(
        refuse(&|plan| {
            let own = Need::Hold(plan.holds[0].id.clone());
            plan.holds[0].needs.push(own);
        }),
        UnsoundPlan::HoldCircle { .. }
    ));
    assert!(matches!(
        refuse(&|plan| {
            let last = plan.steps.len() - 1;
            plan.steps[last].work = Work::GiveBack(step_id(1, "keep")).into();
        }),
        UnsoundPlan::NotBorrowed { .. }
    ));
}
