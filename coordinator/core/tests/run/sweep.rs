//! Crashes at every boundary of the journal.

use crate::fleet::Fleet;
use crate::operator::see_it_through;
use crate::plans::{self, Shape};
use replank_common::ids::Epoch;
use replank_core::run::{End, Hello, Input, Machine, Operate, Record, State};

/// A voyage there and, if asked, back; what it leaves on the hosts.
fn voyage(shape: Shape, back: bool, dies_at: Option<usize>) -> Fleet {
    let mut fleet = Fleet::new(shape, 1, 5);
    fleet.dies_at = dies_at;
    see_it_through(&mut fleet, 900_000);
    assert_eq!(fleet.watcher.end, Some(End::Completed), "dies at {dies_at:?}");
    if back {
        fleet.operate(Operate::Rollback { to: None }).unwrap();
        see_it_through(&mut fleet, 900_000);
        assert_eq!(fleet.watcher.end, Some(End::RolledBack { to: None }), "dies at {dies_at:?}");
    }
    fleet.check_given_back();
    fleet.check_done_once();
    fleet.check_fold();
    fleet
}

/// Hosts as they are left: changed things and the libvirtd that runs.
fn left(fleet: &Fleet) -> Vec<(Vec<String>, bool)> {
    (0..fleet.hosts.len()).map(|host| (fleet.changed(host), fleet.hosts[host].libvirtd_new)).collect()
}

/// Every step's state, and what became of every guest: the report without its times.
fn told(fleet: &Fleet) -> Vec<String> {
    let report = fleet.machine().state().report().unwrap();
    let steps = report.hosts.iter().flat_map(|host| &host.steps);
    let steps = steps.map(|step| format!("{} {:?} {}", step.id, step.state, step.attempts));
    let guests = report.guests.iter().map(|guest| format!("{} {:?}", guest.uuid, guest.state));
    steps.chain(guests).collect()
}

#[test]
fn a_coordinator_that_dies_at_any_record_comes_to_the_same_end() {
    let shape = Shape { parallel: 1, ..Shape::of(2) };
    let whole = voyage(shape, true, None);
    for dies_at in 2..=whole.journal.len() {
        let fleet = voyage(shape, true, Some(dies_at));
        assert_eq!(left(&fleet), left(&whole), "dies at {dies_at}");
        assert_eq!(told(&fleet), told(&whole), "dies at {dies_at}");
    }
}

#[test]
fn every_prefix_of_a_journal_is_a_journal() {
    let whole = voyage(Shape::of(3), true, None);
    let mut state = State::new(whole.index.clone());
    for (count, record) in whole.journal.iter().enumerate() {
        state.apply(record).unwrap();
        let cut = Machine::replay(whole.index.clone(), &whole.journal[..=count]).unwrap();
        assert_eq!(*cut.state(), state, "at {count}");
    }
}

#[test]
fn a_record_out_of_its_place_is_refused_and_changes_nothing() {
    let whole = voyage(Shape::of(2), false, None);
    let mut state = State::new(whole.index.clone());
    for (at, record) in whole.journal.iter().enumerate() {
        // The records that follow, each as if it were next: only those that could be are taken.
        for later in whole.journal[at..].iter().skip(1).step_by(7).take(20) {
            let moved = Record { seq: record.seq, ..later.clone() };
            let before = state.clone();
            if state.apply(&moved).is_err() {
                assert_eq!(state, before, "{:?} at {at}", later.event);
            } else {
                state = before;
            }
        }
        state.apply(record).unwrap();
        let twice = Record { seq: record.seq + 1, ..record.clone() };
        let before = state.clone();
        if state.apply(&twice).is_err() {
            assert_eq!(state, before);
        } else {
            state = before;
        }
    }
}

#[test]
fn a_journal_of_another_plan_or_a_newer_form_is_refused() {
    let whole = voyage(Shape::of(2), false, None);
    let mut newer = whole.journal.clone();
    newer[3].format = 2;
    let text = Machine::replay(whole.index.clone(), &newer).unwrap_err().to_string();
    assert_eq!(text, "the record has format 2; this coordinator reads up to 1");
    assert!(Machine::replay(whole.index.clone(), &whole.journal[1..]).is_err());
    assert!(Machine::replay(whole.index.clone(), &[]).is_err());
    let other = replank_common::ids::PlanId::new(format!("sha256:{:064x}", 10)).unwrap();
    let other = replank_core::run::Index::new(other, plans::plan(Shape::of(2))).unwrap();
    assert!(Machine::replay(std::sync::Arc::new(other), &whole.journal).is_err());
}

/// P9: an agent that says in its hello to have obeyed a later coordinator.
#[test]
fn a_coordinator_that_meets_a_later_epoch_is_deposed_and_wants_nothing() {
    let mut fleet = Fleet::new(Shape::of(1), 1, 5);
    assert!(fleet.run_until(60_000, |f| f.machine.is_some() && f.hosts[0].running.is_some()));
    fleet.cut(0);
    let hello = Hello { epoch_seen: Epoch(99), ..fleet.hosts[0].hello() };
    let records = fleet.journal.len();
    fleet.input(Input::LinkUp { host: plans::host_name(0), hello });
    assert_eq!(fleet.machine().deposed_by(), Some(Epoch(99)));
    let wants = fleet.machine().wants();
    assert!(wants.commands.is_empty() && wants.readings.is_empty());
    fleet.pass(60_000);
    assert_eq!(fleet.journal.len(), records, "nothing is decided any more");
}

#[test]
fn an_older_coordinator_cannot_lead_again() {
    let whole = voyage(Shape::of(2), false, Some(40));
    let mut machine = Machine::replay(whole.index.clone(), &whole.journal).unwrap();
    assert!(machine.lead(Epoch(2), 1).is_err());
    assert!(machine.lead(Epoch(3), 1).is_ok());
}
