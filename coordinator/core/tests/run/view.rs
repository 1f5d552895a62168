//! What operators read: views and reports, golden.

use crate::fleet::Fleet;
use crate::operator::see_it_through;
use crate::plans::{Shape, hold_id};
use replank_common::census::EndCause;
use replank_common::ids::GuestUuid;
use replank_core::run::{ExtraColumn, Operate, Phase, RunView};

fn view(fleet: &Fleet) -> RunView {
    fleet.machine().view(fleet.now).unwrap()
}

fn first_guest(fleet: &Fleet, host: usize) -> GuestUuid {
    *fleet.hosts[host].guests.keys().next().unwrap()
}

/// A fleet that stands at its first hold; everything in it follows from the seed.
fn at_hold() -> Fleet {
    let mut fleet = Fleet::new(Shape::of(3), 2, 11);
    assert!(fleet.run_until(60_000, |f| f.machine.is_some() && view(f).phase == Phase::AtHold));
    fleet
}

fn switching() -> Fleet {
    let mut fleet = at_hold();
    fleet.operate(Operate::Approve { hold: hold_id("before-canary") }).unwrap();
    assert!(fleet.run_until(60_000, |f| f.changed(0).iter().any(|step| step.contains("anchor"))));
    assert!(fleet.run_until(60_000, |f| f.hosts[0].running.is_some()));
    fleet
}

#[test]
fn at_a_hold() {
    insta::assert_snapshot!(view(&at_hold()).text());
}

#[test]
fn under_way() {
    let mut fleet = switching();
    fleet.pass(100);
    let view = view(&fleet);
    insta::assert_snapshot!(view.text());
    let json = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<RunView>(&json).unwrap(), view);
    insta::assert_json_snapshot!(view);
}

#[test]
fn halted_by_a_loss() {
    let mut fleet = switching();
    let (victim, at) = (first_guest(&fleet, 2), fleet.now);
    let known = "killed by signal 9".to_owned();
    fleet.hosts[2].end_guest(victim, EndCause::Unattributed { known }, at);
    fleet.push_census(2);
    assert!(fleet.run_until(1_000, |f| f.watcher.halted));
    insta::assert_snapshot!(view(&fleet).why());
}

#[test]
fn halted_by_a_reboot() {
    let mut fleet = switching();
    fleet.agent_dies(2);
    fleet.hosts[2].reboots();
    assert!(fleet.run_until(20_000, |f| f.watcher.halted));
    insta::assert_snapshot!(view(&fleet).why());
}

#[test]
fn waiting_for_what_cannot_be_told() {
    let mut fleet = switching();
    fleet.hosts[0].disagrees_since = Some(fleet.now);
    fleet.pass(40_000);
    fleet.cut(1);
    insta::assert_snapshot!(view(&fleet).why());
}

#[test]
fn held_after_a_refusal() {
    let mut fleet = switching();
    fleet.faults.refused = 1000;
    assert!(fleet.run_until(60_000, |f| view(f).phase == Phase::Held));
    insta::assert_snapshot!(view(&fleet).text());
}

#[test]
fn counting_waits_for_each_host() {
    let mut fleet = Fleet::new(Shape::of(2), 1, 11);
    fleet.agent_dies(1);
    fleet.pass(100);
    insta::assert_snapshot!(view(&fleet).why());
}

#[test]
fn a_rollback_that_was_refused() {
    let mut fleet = Fleet::new(Shape::of(2), 1, 11);
    see_it_through(&mut fleet, 600_000);
    fleet.hosts[1].way_back_closed = true;
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    assert!(fleet.run_until(60_000, |f| f.watcher.rollbacks_refused == 1));
    insta::assert_snapshot!(view(&fleet).text());
}

#[test]
fn the_report_of_a_quiet_voyage() {
    let mut fleet = Fleet::new(Shape { parallel: 1, ..Shape::of(2) }, 2, 11);
    see_it_through(&mut fleet, 600_000);
    let report = fleet.machine().state().report().unwrap();
    let cells = [(first_guest(&fleet, 0), "104 ms".to_owned())].into_iter().collect();
    let extra = ExtraColumn { title: "longest gap".to_owned(), cells };
    insta::assert_snapshot!(report.text(Some(&extra)));
}

#[test]
fn the_report_of_a_voyage_with_a_loss_and_a_rollback() {
    let mut fleet = switching();
    let (victim, shut, at) = (first_guest(&fleet, 2), first_guest(&fleet, 1), fleet.now);
    let known = "killed by signal 9".to_owned();
    fleet.hosts[2].end_guest(victim, EndCause::Unattributed { known }, at);
    fleet.hosts[1].end_guest(shut, EndCause::GuestShutdown, at);
    fleet.push_census(1);
    fleet.push_census(2);
    assert!(fleet.run_until(1_000, |f| f.watcher.halted));
    fleet.operate(Operate::Rollback { to: None }).unwrap();
    see_it_through(&mut fleet, 600_000);
    let report = fleet.machine().state().report().unwrap();
    insta::assert_snapshot!(report.text(None));
    insta::assert_json_snapshot!(report);
}
