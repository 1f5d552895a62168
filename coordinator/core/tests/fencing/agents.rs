//! An agent on its real rules. Of its ledger a state holds what is durable, and each step makes it again from that.

use crate::coordinators::{Said, Sent};
use crate::plans::{action, plan_id};
use crate::rules::{Bent, Rules};
use replank_agent_core::act::{ActError, Failure, Report, Standing};
use replank_agent_core::ledger::{Ledger, MemoryLedger, NewIntent, Work as Commanded};
use replank_agent_core::{Begin, Command, Hands, Moment, begin};
use replank_common::UnixMs;
use replank_common::action::Action;
use replank_common::finding::Finding;
use replank_common::ids::{ActionId, CoordinatorId, Epoch};
use replank_common::leader::Leader;
use replank_common::outcome::{How, OLD_EPOCH, Outcome, Refusal};
use replank_common::undo::UndoRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Before each of these steps the agent may crash, and between any two of them a welcome may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Its epoch was obeyed, the host is looked at, and nothing is in the ledger; or what is there is looked at again.
    Checking,
    Intended,
    Acted,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Agent {
    pub life: u64,
    /// Durable: whom it obeyed, and the commands that were begun, and whether they ended.
    pub leader: Leader,
    ledger: BTreeMap<ActionId, bool>,
    pub at_work: Option<(Sent, Work)>,
    /// The coordinators whose welcome it obeyed: commands come over links that began so, and may come late.
    pub welcomed: BTreeSet<usize>,
    /// The world's, not the agent's: what its commands did, whom it obeyed last, and the highest epoch that ever began a command.
    effects: BTreeMap<ActionId, u32>,
    truly: Leader,
    truly_begun: Epoch,
}

/// What a step of an agent comes to.
pub struct Stepped {
    pub told: &'static str,
    pub says: Option<Said>,
    pub broken: Option<String>,
}

impl Agent {
    pub fn first() -> Self {
        Self { life: 1, ..Self::default() }
    }

    pub fn unfinished(&self) -> Vec<ActionId> {
        self.ledger.iter().filter(|(_, ended)| !**ended).map(|(id, _)| id.clone()).collect()
    }

    /// Whether it obeys this welcome; and the promise that is broken by it.
    pub fn welcome(
        &mut self,
        rules: Rules,
        process: usize,
        epoch: Epoch,
        coordinator: CoordinatorId,
    ) -> Option<String> {
        let ledger = self.made(self.leader);
        let bent = Bent { ledger: &ledger, rules };
        if !bent.obey_welcome(epoch, Some(coordinator)).unwrap() {
            return None;
        }
        self.keep(&ledger);
        self.welcomed.insert(process);
        let other = self.truly.coordinator.is_some_and(|other| other != coordinator);
        if epoch == self.truly.epoch && other {
            return Some(format!("obeyed two coordinators of epoch {epoch}"));
        }
        if epoch > self.truly.epoch {
            self.truly = Leader { epoch, coordinator: Some(coordinator) };
        }
        None
    }

    /// A command comes. What it answers at once, if it does.
    pub fn command(&mut self, rules: Rules, sent: &Sent) -> Option<Said> {
        let ledger = self.made(self.leader);
        let bent = Bent { ledger: &ledger, rules };
        let goes_on = bent.obey(sent.epoch).unwrap() && self.ledger.get(&sent.action) != Some(&true);
        if goes_on {
            self.keep(&ledger);
            self.at_work = Some((sent.clone(), Work::Checking));
            return None;
        }
        let mut host = TheHost::untouchable();
        match begin(&command_of(sent), &bent, &mut host) {
            Begin::Answered(outcome) => {
                self.keep(&ledger);
                Some(said(&outcome))
            }
            Begin::Begun(_) => panic!("{} was begun", sent.action),
        }
    }

    /// The next step of the command at work.
    pub fn work(&mut self, rules: Rules) -> Stepped {
        let (sent, work) = self.at_work.clone().expect("a command is at work");
        let Sent { epoch, action, .. } = &sent;
        // As it was when the command was obeyed; what was obeyed since comes while the host is looked at.
        let ledger = self.made(Leader { epoch: *epoch, coordinator: None });
        let bent = Bent { ledger: &ledger, rules };
        let done = self.effects.contains_key(action);
        let mut host = TheHost {
            standing: if done && (work == Work::Acted || !rules.forgets_ledger()) {
                Standing::Done
            } else {
                Standing::Ready
            },
            meanwhile: (work == Work::Checking).then_some((&ledger, self.leader)),
            applied: 0,
            touchable: true,
        };
        let begun = begin(&command_of(&sent), &bent, &mut host);
        let mut broken = None;
        let (told, says, next) = match (work, begun) {
            (Work::Checking, Begin::Answered(outcome)) => ("answered", Some(said(&outcome)), None),
            (Work::Checking, Begin::Begun(_)) => {
                if *epoch < self.truly.epoch {
                    let later = self.truly.epoch;
                    broken = Some(format!("began {action} of epoch {epoch} after it obeyed {later}"));
                }
                self.truly_begun = self.truly_begun.max(*epoch);
                ("intent", None, Some(Work::Intended))
            }
            (Work::Intended, Begin::Begun(begun)) => {
                if *epoch < self.truly_begun {
                    broken = Some(format!("acts for {action} of epoch {epoch} after a later one began"));
                }
                let acted = begun.act(&mut host);
                assert!(acted.outcome().is_done(), "{:?}", acted.outcome());
                *self.effects.entry(action.clone()).or_insert(0) += host.applied;
                if self.effects[action] > 1 {
                    broken = Some(format!("carried {action} out twice"));
                }
                ("done", None, Some(Work::Acted))
            }
            (Work::Acted, Begin::Begun(begun)) => {
                let outcome = begun.act(&mut host).end(&bent, &mut host);
                ("outcome", Some(said(&outcome)), None)
            }
            (Work::Intended | Work::Acted, Begin::Answered(outcome)) => {
                panic!("{action} was begun and is answered: {outcome:?}")
            }
        };
        self.keep_entries(&ledger);
        self.at_work = next.map(|work| (sent, work));
        Stepped { told, says, broken }
    }

    pub fn crash(&mut self, rules: Rules) {
        self.life += 1;
        self.at_work = None;
        if rules.forgets_epoch() {
            self.leader = Leader::default();
        }
        if rules.forgets_ledger() {
            self.ledger.clear();
        }
    }

    /// The ledger as it is on the disk, but for whom it obeyed.
    fn made(&self, leader: Leader) -> MemoryLedger {
        let ledger = MemoryLedger::default();
        for (id, ended) in &self.ledger {
            let (epoch, undo, work) = (Epoch(0), record(), Commanded::Do(action()));
            let new = NewIntent { epoch, id: id.clone(), plan: plan_id(), work, undo, at_ms: 1 };
            ledger.intend(new).unwrap();
            if *ended {
                let outcome = Outcome::Done {
                    how: How::Applied,
                    took_ms: 0,
                    changes: Vec::new(),
                    findings: Vec::new(),
                };
                ledger.end(id, outcome, 1).unwrap();
            }
        }
        assert!(ledger.obey_welcome(leader.epoch, leader.coordinator).unwrap());
        ledger
    }

    fn keep(&mut self, ledger: &MemoryLedger) {
        self.leader = ledger.leader().unwrap();
        self.keep_entries(ledger);
    }

    fn keep_entries(&mut self, ledger: &MemoryLedger) {
        let entries = ledger.entries().into_iter();
        // A refusal is an answer and no trace on the host: it is given again.
        let begun = entries.filter(|entry| !matches!(entry.outcome(), Some(Outcome::Refused(_))));
        self.ledger = begun.map(|entry| (entry.id.clone(), entry.outcome().is_some())).collect();
    }
}

fn command_of(sent: &Sent) -> Command {
    Command { epoch: sent.epoch, id: sent.action.clone(), plan: plan_id(), work: Commanded::Do(action()) }
}

fn record() -> UndoRecord {
    UndoRecord::Tree { path: "/etc/replank-test".into() }
}

fn said(outcome: &Outcome) -> Said {
    match outcome {
        Outcome::Done { .. } => Said::Done,
        Outcome::Refused(refusal) if refusal.code == OLD_EPOCH => Said::OldEpoch,
        Outcome::Refused(_) | Outcome::Failed { .. } => panic!("no agent in good health says {outcome:?}"),
    }
}

/// A host on which one thing is done or not.
struct TheHost<'a> {
    standing: Standing,
    /// Whom the agent obeys by the time that the host has been looked at.
    meanwhile: Option<(&'a MemoryLedger, Leader)>,
    applied: u32,
    touchable: bool,
}

impl TheHost<'_> {
    fn untouchable() -> Self {
        Self { standing: Standing::Ready, meanwhile: None, applied: 0, touchable: false }
    }
}

impl Hands for TheHost<'_> {
    fn permits(&mut self, _: &Action) -> Result<(), Refusal> {
        assert!(self.touchable, "what is answered at once touches nothing");
        Ok(())
    }

    fn judge(&mut self, _: &Action) -> Result<Vec<Finding>, String> {
        Ok(Vec::new())
    }

    fn check(&mut self, _: &Action) -> Result<Standing, Refusal> {
        if let Some((ledger, leader)) = self.meanwhile {
            // Refused only where the rule that keeps it out is the one that is broken.
            drop(ledger.obey_welcome(leader.epoch, leader.coordinator));
        }
        Ok(self.standing)
    }

    fn prepare(&mut self, _: &Action) -> Result<UndoRecord, Refusal> {
        Ok(record())
    }

    fn apply(&mut self, _: &Action, _: &UndoRecord) -> Result<Report, ActError> {
        self.applied += 1;
        Ok(Report::default())
    }

    fn verify(&mut self, _: &Action, _: &UndoRecord) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&mut self, _: &Action, _: &UndoRecord) -> Result<Report, ActError> {
        unreachable!("nothing is taken back here")
    }

    fn cancelled(&mut self, _: &ActionId) -> bool {
        false
    }

    fn accepted(&mut self) {}

    fn now_ms(&mut self) -> UnixMs {
        1
    }

    fn elapsed(&mut self) -> Duration {
        Duration::ZERO
    }

    fn reached(&mut self, _: Moment, _: &ActionId) {}
}
