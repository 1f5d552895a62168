//! What operators read: views and reports, golden.

use crate::fleet::Fleet;
use crate::operator::see_it_through;
use crate::plans::{self, Shape, hold_id};
use replank_common::action::{Action, CephFlags};
use replank_common::census::EndCause;
use replank_common::ceph::CephFlag;
use replank_common::ids::{ActionId, Epoch, GuestUuid, HoldId, HostName, RunId, StepId};
use replank_common::outcome::{How, Outcome};
use replank_core::plan::{Hold, Need, Plan, PlannedHost, Stage, Step, Undo, Way, Work};
use replank_core::run::{Event, ExtraColumn, Index, Machine, Operate, Phase, Purpose, Record, RunView};
use std::collections::BTreeMap;
use std::sync::Arc;

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
fn it_is_said_that_another_leads() {
    let mut fleet = switching();
    fleet.pass(100);
    let before = view(&fleet);
    let mut told = before.clone();
    told.tell_who_leads(Epoch(7), &BTreeMap::from([(HostName::new("of-another-run").unwrap(), Epoch(9))]));
    assert_eq!(told, before, "no host of this run obeys another");
    let others =
        |hosts: &[usize]| hosts.iter().map(|host| (before.hosts[*host].name.clone(), Epoch(9))).collect();
    told.tell_who_leads(Epoch(7), &others(&[1]));
    let first = &told.waits[0];
    assert_eq!((first.code.as_str(), &first.host), ("RP3032", &Some(before.hosts[1].name.clone())));
    assert!(
        told.why().contains("leads 1 of its 3 hosts") && told.why().contains("epoch 9"),
        "{}",
        told.why()
    );
    let mut all = before.clone();
    all.tell_who_leads(Epoch(7), &others(&[0, 1, 2]));
    assert!(all.why().contains("all of its 3 hosts"), "{}", all.why());
}

fn action(run: &RunId, rest: &str) -> ActionId {
    format!("{run}/ceph1.{rest}").parse().unwrap()
}

fn done() -> Outcome {
    Outcome::Done { how: How::Applied, took_ms: 1, changes: Vec::new(), findings: Vec::new() }
}

/// A host that borrows `noout`, waits for an approval, and gives it back.
fn lending() -> (Arc<Index>, Vec<Record>) {
    let host = HostName::new("ceph1").unwrap();
    let id = |what: &str| StepId::new(format!("{host}.{what}")).unwrap();
    let flags = CephFlags { flags: vec![CephFlag::Noout, CephFlag::Noscrub] };
    let hold = HoldId::new("think").unwrap();
    let step = |what: &str, work: Work, undo: Undo, needs: Vec<Need>| Step {
        id: id(what),
        host: host.clone(),
        stage: Stage::Prepare,
        title: what.to_owned(),
        work: work.into(),
        before: Vec::new(),
        after: Vec::new(),
        undo,
        needs,
        expected_ms: 4 * 3_600_000,
        deadline_ms: 8 * 3_600_000,
    };
    let plan = Plan {
        hosts: vec![PlannedHost {
            name: host.clone(),
            way: Way::InPlace,
            wave: 0,
            lane: 0,
            guests: 0,
            already_done: false,
        }],
        holds: vec![Hold {
            id: hold.clone(),
            title: "think".to_owned(),
            why: "think".to_owned(),
            needs: vec![Need::Step(id("flags"))],
        }],
        points_of_no_return: Vec::new(),
        steps: vec![
            step("flags", Work::Act(Action::CephFlags(flags)), Undo::Borrowed, Vec::new()),
            step("look", Work::Observe, Undo::Nothing, vec![Need::Step(id("flags")), Need::Hold(hold)]),
            step("back", Work::GiveBack(id("flags")), Undo::Nothing, vec![Need::Step(id("look"))]),
        ],
        ..plans::plan(Shape::of(1))
    };
    let plan_id = plans::index(Shape::of(1)).id().clone();
    let run = RunId::new(format!("run-{:032x}", 7)).unwrap();
    let action = action(&run, "flags/do/1");
    let boot_id = serde_json::from_str("\"00000000-0000-0000-0000-000000000001\"").unwrap();
    let events = vec![
        Event::Created { run, plan: plan_id.clone(), by: "alice".to_owned() },
        Event::Led { epoch: Epoch(1) },
        Event::Baseline { host: host.clone(), boot_id, taken_at_ms: 1, guests: Vec::new() },
        Event::Sent { step: id("flags"), purpose: Purpose::Do, action: action.clone(), of: None },
        Event::Outcome { action, outcome: done() },
        Event::StepDone { step: id("flags") },
    ];
    let record = |(seq, event): (u64, Event)| Record {
        seq,
        at_ms: 1_000_000,
        epoch: Epoch(u64::from(seq > 1)),
        format: 1,
        event,
    };
    (Arc::new(Index::new(plan_id, plan).unwrap()), (1..).zip(events).map(record).collect())
}

#[test]
fn flags_of_a_cluster_that_stay_borrowed_for_days_are_told_by_name() {
    const HOUR_MS: u64 = 3_600_000;
    let (index, journal) = lending();
    let machine = Machine::replay(index, &journal).unwrap();
    // Two steps of 4 h each lie between, so 8 h are expected and 16 h are too long.
    for (hours, told) in [(1, false), (15, false), (16, true), (72, true)] {
        let view = machine.view(1_000_000 + hours * HOUR_MS).unwrap();
        let [loan] = &view.borrowed[..] else { panic!("{:?}", view.borrowed) };
        assert_eq!(loan.what, "noout, noscrub of the cluster");
        assert_eq!(loan.expected_ms - loan.since_ms, 8 * HOUR_MS);
        assert!(view.text().contains("noout, noscrub of the cluster; expected back at"), "{}", view.text());
        let wait = view.waits.iter().find(|wait| wait.code == "RP3027");
        assert_eq!(wait.is_some_and(|wait| wait.overdue), told, "after {hours} h: {}", view.why());
        assert_eq!(view.why().contains("noout, noscrub of the cluster is still borrowed"), told);
    }
    // Given back, there is nothing more to tell.
    let id = |what: &str| StepId::new(format!("ceph1.{what}")).unwrap();
    let lent = action(&machine.view(0).unwrap().run, "flags/do/1");
    let back = action(&machine.view(0).unwrap().run, "flags/undo/1");
    let hold = HoldId::new("think").unwrap();
    let events = [
        Event::HoldReached { hold: hold.clone() },
        Event::Approved { hold, by: "alice".to_owned() },
        Event::Began { step: id("look") },
        Event::StepDone { step: id("look") },
        Event::Sent { step: id("back"), purpose: Purpose::GiveBack, action: back.clone(), of: Some(lent) },
        Event::Outcome { action: back, outcome: done() },
    ];
    let (index, mut journal) = lending();
    for event in events {
        let seq = journal.len() as u64 + 1;
        journal.push(Record { seq, at_ms: 2_000_000, epoch: Epoch(1), format: 1, event });
    }
    let view = Machine::replay(index, &journal).unwrap().view(1_000_000 + 72 * HOUR_MS).unwrap();
    assert!(view.borrowed.is_empty() && !view.why().contains("RP3027"), "{}", view.text());
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
