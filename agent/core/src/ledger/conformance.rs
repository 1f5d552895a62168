//! One script for every ledger, for tests: the same calls, the same answers, also after the ledger was closed and opened again.

use super::{IllegalEntry, Ledger, MemoryError, MemoryLedger, NewIntent, Unbegun, Work};
use replank_common::action::{Action, UnitMask};
use replank_common::ids::{ActionId, CoordinatorId, Direction, Epoch, PlanId, RunId, StepId};
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::undo::UndoRecord;
use std::fmt::Debug;

/// The commands of the script, all of one step.
#[derive(Debug, Clone)]
pub struct Script {
    run: RunId,
    step: StepId,
    plan: PlanId,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            run: RunId::new(format!("run-{}", "0".repeat(32))).expect("a run id"),
            step: StepId::new("h1.mask").expect("a step id"),
            plan: PlanId::new(format!("sha256:{}", "a".repeat(64))).expect("a plan id"),
        }
    }
}

impl Script {
    pub fn id(&self, attempt: u32) -> ActionId {
        self.id_of(Direction::Do, attempt)
    }

    pub fn id_of(&self, direction: Direction, attempt: u32) -> ActionId {
        ActionId { run: self.run.clone(), step: self.step.clone(), direction, attempt }
    }

    pub fn work(&self) -> Work {
        Work::Do(Action::UnitMask(UnitMask { unit: "x.service".to_owned(), runtime: false }))
    }

    pub fn intent(&self, attempt: u32, epoch: u64) -> NewIntent {
        NewIntent {
            epoch: Epoch(epoch),
            id: self.id(attempt),
            plan: self.plan.clone(),
            work: self.work(),
            undo: record(attempt),
            at_ms: u64::from(attempt),
        }
    }

    pub fn unbegun(&self, attempt: u32) -> Unbegun {
        Unbegun {
            id: self.id(attempt),
            plan: self.plan.clone(),
            work: self.work(),
            undo: None,
            outcome: refused(),
            at_ms: u64::from(attempt),
        }
    }

    pub fn done(&self) -> Outcome {
        Outcome::Done { how: How::Applied, took_ms: 1, changes: Vec::new(), findings: Vec::new() }
    }
}

fn record(attempt: u32) -> UndoRecord {
    UndoRecord::Tree { path: format!("/attempt/{attempt}").into() }
}

fn refused() -> Outcome {
    let [code, reason, remedy] = ["RP4022", "no", "ask"].map(str::to_owned);
    Outcome::Refused(Refusal { code, reason, remedy, findings: Vec::new() })
}

fn failed(restored: bool) -> Outcome {
    let [code, error, remedy] = ["RP4201", "e", "r"].map(str::to_owned);
    Outcome::Failed { code, error, remedy, restored, took_ms: 1 }
}

/// Checks a ledger that is empty. `reopen` closes it and opens it again, as a restart of the agent does.
///
/// # Panics
/// An answer is another than the rules give.
pub fn check<L: Ledger>(ledger: L, reopen: impl Fn(L) -> L) {
    let script = Script::default();
    let id = |attempt| script.id(attempt);
    assert_eq!(ledger.epoch().expect("it can be read"), Epoch(0));
    assert_eq!(told::<L, _>(ledger.look_up(&id(1))), Ok(None));
    assert_eq!(told::<L, _>(ledger.obey(Epoch(7))), Ok(true));
    assert_eq!(told::<L, _>(ledger.obey(Epoch(6))), Ok(false));
    let [one, other] = [1, 2].map(coordinator);
    assert_eq!(told::<L, _>(ledger.obey_welcome(Epoch(6), one)), Ok(false));
    assert_eq!(told::<L, _>(ledger.obey_welcome(Epoch(7), one)), Ok(true));
    let ledger = reopen(ledger);
    assert_eq!(ledger.epoch().expect("it can be read"), Epoch(7));
    assert_eq!(told::<L, _>(ledger.obey_welcome(Epoch(7), other)), Ok(false));
    assert_eq!(told::<L, _>(ledger.obey_welcome(Epoch(7), one)), Ok(true));
    assert_eq!(ledger.leader().expect("it can be read").coordinator, one);

    assert_eq!(told::<L, _>(ledger.intend(script.intent(1, 6))), Err(IllegalEntry::OldEpoch(id(1))));
    assert_eq!(told::<L, _>(ledger.count()), Ok(0));
    assert_eq!(told::<L, _>(ledger.go_on(&id(1), Epoch(7))), Err(IllegalEntry::NeverIntended(id(1))));
    assert_eq!(told::<L, _>(ledger.end(&id(1), script.done(), 2)), Err(IllegalEntry::EndedUnintended(id(1))));
    let begun = ledger.intend(script.intent(1, 7)).expect("it is legal");
    assert_eq!((begun.undo(), begun.outcome()), (Some(&record(1)), None));
    let ledger = reopen(ledger);
    assert_eq!(told::<L, _>(ledger.look_up(&id(1))), Ok(Some(begun.clone())));
    assert_eq!(told::<L, _>(ledger.unfinished()), Ok(vec![begun.clone()]));
    assert_eq!(told::<L, _>(ledger.intend(script.intent(1, 7))), Err(IllegalEntry::IntendedTwice(id(1))));
    // Both rules are broken: an earlier coordinator hears that it is one.
    assert_eq!(told::<L, _>(ledger.intend(script.intent(1, 6))), Err(IllegalEntry::OldEpoch(id(1))));
    assert_eq!(told::<L, _>(ledger.end_unbegun(script.unbegun(1))), Err(IllegalEntry::IntendedTwice(id(1))));

    assert_eq!(told::<L, _>(ledger.go_on(&id(1), Epoch(7))), Ok(begun.clone()));
    assert_eq!(told::<L, _>(ledger.obey(Epoch(8))), Ok(true));
    assert_eq!(told::<L, _>(ledger.go_on(&id(1), Epoch(7))), Err(IllegalEntry::OldEpoch(id(1))));
    assert_eq!(told::<L, _>(ledger.look_up(&id(1))), Ok(Some(begun)), "going on writes nothing");

    let ended = ledger.end(&id(1), failed(false), 5).expect("it is legal");
    assert_eq!((ended.undo(), ended.outcome()), (Some(&record(1)), Some(&failed(false))));
    let ledger = reopen(ledger);
    assert_eq!(told::<L, _>(ledger.look_up(&id(1))), Ok(Some(ended.clone())));
    assert_eq!(told::<L, _>(ledger.unfinished()), Ok(vec![]));
    assert_eq!(told::<L, _>(ledger.end(&id(1), script.done(), 6)), Err(IllegalEntry::EndedTwice(id(1))));
    assert_eq!(told::<L, _>(ledger.go_on(&id(1), Epoch(8))), Err(IllegalEntry::EndedTwice(id(1))));

    let lie = Unbegun { outcome: failed(true), ..script.unbegun(2) };
    assert_eq!(told::<L, _>(ledger.end_unbegun(lie)), Err(IllegalEntry::EndedUnintended(id(2))));
    let refused = ledger.end_unbegun(script.unbegun(2)).expect("it is legal");
    assert_eq!(told::<L, _>(ledger.end_unbegun(script.unbegun(2))), Err(IllegalEntry::IntendedTwice(id(2))));
    assert_eq!(told::<L, _>(ledger.intend(script.intent(2, 8))), Err(IllegalEntry::IntendedTwice(id(2))));
    let ledger = reopen(ledger);
    assert_eq!(told::<L, _>(ledger.of_step(&script.run, &script.step)), Ok(vec![ended, refused]));
    assert_eq!(told::<L, _>(ledger.of_step(&script.run, &other_step())), Ok(vec![]));
    assert_eq!(told::<L, _>(ledger.count()), Ok(2));
}

/// Checks that an empty ledger answers a long walk of legal and illegal calls as one in memory does.
///
/// # Panics
/// An answer is another.
pub fn check_against_memory<L: Ledger>(mut ledger: L, seed: u64, reopen: impl Fn(L) -> L) {
    let memory = MemoryLedger::default();
    let script = Script::default();
    let mut walk = Walk(seed);
    for _ in 0..300 {
        let attempt = 1 + u32::try_from(walk.below(6)).unwrap_or(0);
        let epoch = memory.epoch().map_or(0, |epoch| epoch.0);
        // One below, the same, or one above.
        let epoch = Epoch((epoch + walk.below(3)).saturating_sub(1));
        let id = script.id(attempt);
        match walk.below(7) {
            0 if walk.below(8) == 0 => {
                let named = coordinator(walk.below(3));
                same::<L, _>(memory.obey_welcome(epoch, named), ledger.obey_welcome(epoch, named));
            }
            0 if walk.below(4) == 0 => same::<L, _>(memory.obey(epoch), ledger.obey(epoch)),
            0 | 1 => {
                let new = NewIntent { epoch, ..script.intent(attempt, 0) };
                same::<L, _>(memory.intend(new.clone()), ledger.intend(new));
            }
            2 => same::<L, _>(memory.go_on(&id, epoch), ledger.go_on(&id, epoch)),
            3 => {
                let outcome = [script.done(), refused(), failed(true), failed(false)];
                let outcome = &outcome[usize::try_from(walk.below(4)).unwrap_or(0)];
                same::<L, _>(memory.end(&id, outcome.clone(), 7), ledger.end(&id, outcome.clone(), 7));
            }
            4 => {
                let new = script.unbegun(attempt);
                same::<L, _>(memory.end_unbegun(new.clone()), ledger.end_unbegun(new));
            }
            5 => ledger = reopen(ledger),
            _ => {
                same::<L, _>(memory.look_up(&id), ledger.look_up(&id));
                same::<L, _>(memory.unfinished(), ledger.unfinished());
                same::<L, _>(memory.count(), ledger.count());
            }
        }
        same::<L, _>(memory.epoch(), ledger.epoch());
        same::<L, _>(memory.leader(), ledger.leader());
        same::<L, _>(memory.of_step(&script.run, &script.step), ledger.of_step(&script.run, &script.step));
    }
    assert!(memory.entries().iter().any(|entry| entry.outcome().is_some()), "a walk that goes nowhere");
}

fn same<L: Ledger, T: PartialEq + Debug>(memory: Result<T, MemoryError>, other: Result<T, L::Error>) {
    assert_eq!(told::<L, T>(other), told::<MemoryLedger, T>(memory));
}

/// The answer, or the rule that the call would have broken.
fn told<L: Ledger, T>(answer: Result<T, L::Error>) -> Result<T, IllegalEntry> {
    answer
        .map_err(|error| L::illegal(&error).cloned().unwrap_or_else(|| panic!("it cannot be used: {error}")))
}

/// Numbers without an end, from a seed (the generator of Knuth's MMIX): this crate draws none at random.
struct Walk(u64);

impl Walk {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// 0 names nobody.
fn coordinator(number: u64) -> Option<CoordinatorId> {
    (number > 0).then(|| format!("{number:032x}").parse().expect("a UUID"))
}

fn other_step() -> StepId {
    StepId::new("h1.other").expect("a step id")
}
