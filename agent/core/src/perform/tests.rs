//! The rules over a host of one switch and a ledger in memory: crashed at every moment, overtaken, full, late.

use super::{Begin, Command, Hands, Moment, begin, perform};
use crate::act::{ActError, Failure, Report, Standing};
use crate::codes;
use crate::ledger::{Ledger, MemoryLedger, Work, standing_record};
use replank_common::action::{Action, FileWrite, UnitMask};
use replank_common::finding::{Finding, Severity};
use replank_common::ids::{ActionId, Direction, Epoch, PlanId, RunId, StepId};
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::undo::UndoRecord;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// A host on which one thing is on or off, and the hands that switch it.
#[derive(Default)]
struct Switch<'a> {
    on: bool,
    switched: u32,
    accepted: u32,
    /// The moment before each time that it was said.
    accepted_after: Vec<Option<Moment>>,
    moments: Vec<Moment>,
    /// The agent dies at this moment.
    dies_at: Option<Moment>,
    undo_fails: bool,
    refuses: bool,
    /// The guard finds that a guest uses it.
    used: bool,
    /// While the host is looked at, a coordinator of this epoch is welcomed.
    overtaken: Option<(&'a MemoryLedger, Epoch)>,
    cancelled: Option<ActionId>,
}

impl Switch<'_> {
    fn welcome(&self) {
        if let Some((ledger, epoch)) = self.overtaken {
            assert!(ledger.obey(epoch).unwrap());
        }
    }

    fn no() -> Refusal {
        let [code, reason, remedy] = ["RP5403", "no", "look"].map(str::to_owned);
        Refusal { code, reason, remedy, findings: Vec::new() }
    }
}

impl Hands for Switch<'_> {
    fn permits(&mut self, _: &Action) -> Result<(), Refusal> {
        self.welcome();
        Ok(())
    }

    fn judge(&mut self, action: &Action) -> Result<Vec<Finding>, String> {
        let used = self.used.then(|| Finding {
            code: codes::GUARD_ACTION_IN_USE.to_owned(),
            host: None,
            severity: Severity::Blocks,
            subject: action.kind().to_owned(),
            cause: "a guest uses it".to_owned(),
            remedy: "move the guest away first".to_owned(),
        });
        Ok(used.into_iter().collect())
    }

    fn check(&mut self, _: &Action) -> Result<Standing, Refusal> {
        if self.refuses {
            Err(Self::no())
        } else {
            Ok(if self.on { Standing::Done } else { Standing::Ready })
        }
    }

    fn prepare(&mut self, _: &Action) -> Result<UndoRecord, Refusal> {
        Ok(UndoRecord::Tree { path: format!("/was/{}", self.on).into() })
    }

    fn apply(&mut self, _: &Action, _: &UndoRecord) -> Result<Report, ActError> {
        self.switched += 1;
        self.on = true;
        Ok(Report::default())
    }

    fn verify(&mut self, _: &Action, _: &UndoRecord) -> Result<(), Failure> {
        assert!(self.on);
        Ok(())
    }

    fn undo(&mut self, _: &Action, _: &UndoRecord) -> Result<Report, ActError> {
        if self.undo_fails {
            let failure = Failure { code: "RP5301", error: "e".to_owned(), remedy: "r".to_owned() };
            return Err(ActError::Failed(failure));
        }
        self.on = false;
        Ok(Report::default())
    }

    fn cancelled(&mut self, id: &ActionId) -> bool {
        self.cancelled.take_if(|cancelled| cancelled == id).is_some()
    }

    fn accepted(&mut self) {
        self.accepted += 1;
        self.accepted_after.push(self.moments.last().copied());
    }

    fn now_ms(&mut self) -> u64 {
        7
    }

    fn elapsed(&mut self) -> Duration {
        Duration::ZERO
    }

    fn reached(&mut self, moment: Moment, _: &ActionId) {
        self.moments.push(moment);
        if self.dies_at.take_if(|dies_at| *dies_at == moment).is_some() {
            resume_unwind(Box::new("dies"));
        }
    }
}

fn id(direction: Direction, attempt: u32) -> ActionId {
    let run = RunId::new(format!("run-{}", "0".repeat(32))).unwrap();
    ActionId { run, step: StepId::new("h1.mask").unwrap(), direction, attempt }
}

fn command(epoch: u64, id: ActionId, work: Work) -> Command {
    let plan = PlanId::new(format!("sha256:{}", "a".repeat(64))).unwrap();
    Command { epoch: Epoch(epoch), id, plan, work }
}

fn mask(epoch: u64, attempt: u32) -> Command {
    let action = Action::UnitMask(UnitMask { unit: "x.service".to_owned(), runtime: false });
    command(epoch, id(Direction::Do, attempt), Work::Do(action))
}

fn unmask(epoch: u64, attempt: u32, of: u32) -> Command {
    command(epoch, id(Direction::Undo, attempt), Work::Undo(id(Direction::Do, of)))
}

fn how(outcome: &Outcome) -> Option<How> {
    match outcome {
        Outcome::Done { how, .. } => Some(*how),
        Outcome::Refused(_) | Outcome::Failed { .. } => None,
    }
}

fn refused_with(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Refused(refusal) => Some(&refusal.code),
        Outcome::Done { .. } | Outcome::Failed { .. } => None,
    }
}

fn record_stands(ledger: &MemoryLedger) -> bool {
    let one = id(Direction::Do, 1);
    standing_record(&ledger.of_step(&one.run, &one.step).unwrap()).is_some()
}

#[test]
fn a_death_at_every_moment_is_gone_on_from_and_nothing_is_done_twice() {
    let there = [Moment::Intending, Moment::Intended, Moment::Acting, Moment::Acted, Moment::Ended];
    let back = [Moment::Intending, Moment::Intended, Moment::Undoing, Moment::Undone, Moment::Ended];
    for dies_at in Moment::ALL {
        let ledger = MemoryLedger::default();
        let mut host = Switch::default();
        for (command, moments, on) in [(mask(1, 1), there, true), (unmask(1, 1, 1), back, false)] {
            (host.dies_at, host.moments) = (Some(dies_at), Vec::new());
            let first = catch_unwind(AssertUnwindSafe(|| perform(&command, &ledger, &mut host)));
            assert_eq!(first.is_err(), moments.contains(&dies_at));
            let died = host.moments.len();
            assert_eq!(host.moments, moments[..died], "the same moments in the same order");
            host.dies_at = None;
            let outcome = perform(&command, &ledger, &mut host);
            assert!(outcome.is_done(), "{dies_at}: {outcome:?}");
            assert_eq!(host.on, on);
            let calls = host.moments.len();
            assert_eq!(perform(&command, &ledger, &mut host), outcome, "answered from the ledger");
            assert_eq!(host.moments.len(), calls);
            assert_eq!(record_stands(&ledger), on);
        }
        assert_eq!(host.switched, 1, "{dies_at}");
        assert!(ledger.unfinished().unwrap().is_empty());
    }
}

#[test]
fn a_command_is_accepted_once_its_intent_is_durable() {
    let (ledger, mut host) = (MemoryLedger::default(), Switch::default());
    for command in [mask(1, 1), unmask(1, 1, 1)] {
        assert!(perform(&command, &ledger, &mut host).is_done());
        assert_eq!(std::mem::take(&mut host.accepted_after), [Some(Moment::Intended)]);
    }
}

#[test]
fn the_first_look_decides_how_it_is_told() {
    let ledger = MemoryLedger::default();
    let mut host = Switch { on: true, ..Switch::default() };
    assert_eq!(how(&perform(&mask(1, 1), &ledger, &mut host)), Some(How::FoundDone));
    assert_eq!(how(&perform(&unmask(1, 1, 1), &ledger, &mut host)), Some(How::NothingToUndo));
    assert_eq!((host.on, host.accepted), (true, 0), "what was there before stays");
    let ledger = MemoryLedger::default();
    host.on = false;
    assert_eq!(how(&perform(&mask(1, 1), &ledger, &mut host)), Some(How::Applied));
    assert_eq!(how(&perform(&mask(1, 2), &ledger, &mut host)), Some(How::FoundDone));
    assert!(record_stands(&ledger));
    assert_eq!(how(&perform(&unmask(1, 1, 2), &ledger, &mut host)), Some(How::Undone));
}

#[test]
fn a_later_coordinator_obeyed_while_the_host_is_looked_at_stops_what_has_not_touched_it_yet() {
    for half_done in [false, true] {
        for command in [mask(3, 1), unmask(3, 1, 1)] {
            let ledger = MemoryLedger::default();
            let mut host = Switch::default();
            if matches!(command.work, Work::Undo(_)) {
                assert!(perform(&mask(3, 1), &ledger, &mut host).is_done());
            }
            if half_done {
                let Begin::Begun(lost) = begin(&command, &ledger, &mut host) else { panic!("it begins") };
                drop(lost);
            }
            let (before, was_on) = (ledger.entries(), host.on);
            host.overtaken = Some((&ledger, Epoch(4)));
            let outcome = perform(&command, &ledger, &mut host);
            assert_eq!(refused_with(&outcome), Some(codes::OLD_EPOCH), "{outcome:?}");
            assert_eq!(
                (ledger.entries(), host.on),
                (before, was_on),
                "nothing is done, and nothing written down"
            );
            assert_eq!(ledger.unfinished().unwrap().len(), usize::from(half_done), "an intent stays open");

            // Again, now that it is old when it comes; then the later coordinator asks for the same.
            assert_eq!(refused_with(&perform(&command, &ledger, &mut host)), Some(codes::OLD_EPOCH));
            let later = Command { epoch: Epoch(4), ..command };
            let outcome = perform(&later, &ledger, &mut host);
            assert!(outcome.is_done(), "{outcome:?}");
            assert_ne!(host.on, was_on);
        }
    }
}

#[test]
fn a_command_that_comes_after_its_undo_is_not_begun_and_after_a_failed_one_its_record_stands() {
    let ledger = MemoryLedger::default();
    let mut host = Switch { undo_fails: true, ..Switch::default() };
    let Begin::Begun(lost) = begin(&mask(1, 1), &ledger, &mut host) else { panic!("it begins") };
    host.on = true;
    drop(lost);
    let outcome = perform(&unmask(1, 1, 1), &ledger, &mut host);
    assert!(matches!(outcome, Outcome::Failed { restored: false, .. }), "{outcome:?}");
    assert!(record_stands(&ledger));
    // A second copy of its command does not go on with it, and does not close it either: the record stands.
    host.on = false;
    let before = ledger.entries();
    assert_eq!(refused_with(&perform(&mask(1, 1), &ledger, &mut host)), Some(codes::CANCELLED));
    assert_eq!((ledger.entries(), host.switched), (before, 0));
    assert!(record_stands(&ledger));
    host.on = true;

    host.undo_fails = false;
    assert_eq!(how(&perform(&unmask(1, 2, 1), &ledger, &mut host)), Some(How::Undone));
    assert!(!record_stands(&ledger) && !host.on);
    // Attempts up to the one taken back are closed, whether they were begun or not; a new one is not.
    assert_eq!(refused_with(&perform(&mask(1, 1), &ledger, &mut host)), Some(codes::CANCELLED));
    assert!(!host.on && ledger.unfinished().unwrap().is_empty(), "closed now");
    assert_eq!(how(&perform(&mask(1, 2), &ledger, &mut host)), Some(How::Applied));
    assert!(perform(&unmask(1, 3, 3), &ledger, &mut host).is_done());
    assert_eq!(refused_with(&perform(&mask(1, 3), &ledger, &mut host)), Some(codes::CANCELLED));
    assert!(!host.on);
}

#[test]
fn a_half_done_action_that_was_taken_back_ends_without_touching_the_host() {
    let ledger = MemoryLedger::default();
    let mut host = Switch::default();
    let Begin::Begun(lost) = begin(&mask(1, 1), &ledger, &mut host) else { panic!("it begins") };
    drop(lost);
    assert!(perform(&unmask(1, 1, 1), &ledger, &mut host).is_done());
    assert_eq!(refused_with(&perform(&mask(1, 1), &ledger, &mut host)), Some(codes::CANCELLED));
    assert_eq!(host.switched, 0);
    assert!(ledger.unfinished().unwrap().is_empty());
}

#[test]
fn a_refusal_of_what_was_begun_before_is_a_failure() {
    let ledger = MemoryLedger::default();
    let mut host = Switch { refuses: true, ..Switch::default() };
    assert_eq!(refused_with(&perform(&mask(1, 1), &ledger, &mut host)), Some("RP5403"));
    host.refuses = false;
    let Begin::Begun(lost) = begin(&mask(1, 2), &ledger, &mut host) else { panic!("it begins") };
    drop(lost);
    host.refuses = true;
    let outcome = perform(&mask(1, 2), &ledger, &mut host);
    assert!(matches!(outcome, Outcome::Failed { restored: false, .. }), "{outcome:?}");
    assert!(record_stands(&ledger));
}

#[test]
fn without_room_nothing_begins_and_what_was_done_is_not_told_as_refused() {
    let ledger = MemoryLedger::default();
    let mut host = Switch::default();
    ledger.obey(Epoch(1)).unwrap();
    ledger.set_full(true);
    assert_eq!(refused_with(&perform(&mask(1, 1), &ledger, &mut host)), Some(codes::LEDGER));
    assert_eq!((host.switched, ledger.count().unwrap()), (0, 0));
    ledger.set_full(false);
    let Begin::Begun(begun) = begin(&mask(1, 1), &ledger, &mut host) else { panic!("it begins") };
    let acted = begun.act(&mut host);
    ledger.set_full(true);
    let outcome = acted.end(&ledger, &mut host);
    assert!(
        matches!(&outcome, Outcome::Failed { code, restored: false, .. } if code == codes::LEDGER),
        "{outcome:?}"
    );
    assert_eq!(ledger.unfinished().unwrap().len(), 1);
    ledger.set_full(false);
    assert_eq!(how(&perform(&mask(1, 2), &ledger, &mut host)), Some(How::FoundDone));
    assert!(record_stands(&ledger), "the way back is the first attempt's");
    assert_eq!(host.switched, 1);
}

#[test]
fn what_is_called_off_before_it_begins_is_refused_once_and_for_all() {
    let ledger = MemoryLedger::default();
    let mut host = Switch { cancelled: Some(id(Direction::Do, 1)), ..Switch::default() };
    assert_eq!(refused_with(&perform(&mask(1, 1), &ledger, &mut host)), Some(codes::CANCELLED));
    assert_eq!(refused_with(&perform(&mask(1, 1), &ledger, &mut host)), Some(codes::CANCELLED));
    assert!(!host.on);
}

#[test]
fn a_file_that_a_guest_has_come_to_use_is_not_taken_away() {
    let ledger = MemoryLedger::default();
    let mut host = Switch::default();
    let write = Action::FileWrite(FileWrite {
        path: "/x".into(),
        contents: String::new(),
        mode: 0o644,
        replace: true,
    });
    assert!(perform(&command(1, id(Direction::Do, 1), Work::Do(write)), &ledger, &mut host).is_done());
    host.used = true;
    let refused = perform(&unmask(1, 1, 1), &ledger, &mut host);
    assert_eq!((refused_with(&refused), host.on), (Some(codes::GUARD_ACTION_IN_USE), true));
    assert!(record_stands(&ledger));
    host.used = false;
    assert_eq!((how(&perform(&unmask(1, 2, 1), &ledger, &mut host)), host.on), (Some(How::Undone), false));
}
