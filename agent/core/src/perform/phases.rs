//! From a durable intent to a durable outcome.

use super::{Hands, Moment, say};
use crate::act::{ActError, Failure, Report, Standing};
use crate::ledger::Ledger;
use replank_common::action::{Action, Family};
use replank_common::ids::ActionId;
use replank_common::outcome::{How, Outcome};
use replank_common::planted::{self, Planted};
use replank_common::undo::UndoRecord;
use std::time::Duration;

/// A command whose intent is durable. Lost, as an agent that dies loses it, it is found again in the ledger.
#[derive(Debug)]
#[must_use]
pub struct Begun {
    pub(super) id: ActionId,
    /// What is carried out, or taken back.
    pub(super) action: Action,
    pub(super) deed: Deed,
    pub(super) record: UndoRecord,
    /// As [`Hands::elapsed`] told.
    pub(super) began: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// `resumed`: an earlier life of the agent began it.
    Do {
        standing: Standing,
        resumed: bool,
    },
    Undo,
}

/// A command that was carried out, well or not. The ledger does not know it yet.
#[derive(Debug)]
#[must_use]
pub struct Acted {
    id: ActionId,
    outcome: Outcome,
    took: Duration,
}

impl Begun {
    pub fn id(&self) -> &ActionId {
        &self.id
    }

    pub fn action(&self) -> &Action {
        &self.action
    }

    /// What it is taken back from.
    pub fn record(&self) -> &UndoRecord {
        &self.record
    }

    /// Carries it out, or takes it back.
    pub fn act(self, hands: &mut dyn Hands) -> Acted {
        let outcome = match self.deed {
            Deed::Do { standing, resumed } => self.carry_out(standing, resumed, hands),
            Deed::Undo => self.take_back(hands),
        };
        let took = self.took(hands);
        Acted { id: self.id, outcome, took }
    }

    fn carry_out(&self, standing: Standing, resumed: bool, hands: &mut dyn Hands) -> Outcome {
        hands.reached(Moment::Acting, &self.id);
        let outcome = match self.apply(standing, hands) {
            Ok(report) => {
                let how = match (standing, resumed) {
                    (Standing::Done | Standing::Half, _) | (Standing::Ready, true) => How::Finished,
                    (Standing::Ready, false) => How::Applied,
                };
                say::done(how, self.took(hands), report)
            }
            // It turned out on the way that it must not be; nothing outside the agent's own directory has changed.
            Err(ActError::Refused(refusal)) if resumed => say::refused_half_way(refusal),
            Err(ActError::Refused(refusal)) => Outcome::Refused(refusal),
            Err(ActError::Failed(failure)) => self.failed(failure, hands),
        };
        hands.reached(Moment::Acted, &self.id);
        outcome
    }

    fn apply(&self, standing: Standing, hands: &mut dyn Hands) -> Result<Report, ActError> {
        let report = match standing {
            Standing::Done => Report::default(),
            Standing::Ready | Standing::Half => hands.apply(&self.action, &self.record)?,
        };
        hands.verify(&self.action, &self.record)?;
        Ok(report)
    }

    /// What cannot hurt a guest is put back at once. Packages and trees are left for the operator to decide about: going back is as
    /// weighty there as going on.
    fn failed(&self, failure: Failure, hands: &mut dyn Hands) -> Outcome {
        let restored = match self.action.family() {
            Family::Files | Family::Units | Family::Repositories => {
                hands.undo(&self.action, &self.record).is_ok()
            }
            // Flags and settings of the cluster; nothing else of it can be put back.
            Family::Ceph => {
                matches!(self.action, Action::CephFlags(_) | Action::CephConfig(_))
                    && hands.undo(&self.action, &self.record).is_ok()
            }
            Family::Packages | Family::Trees | Family::Libvirt => false,
        };
        say::failed(failure, restored, self.took(hands))
    }

    fn take_back(&self, hands: &mut dyn Hands) -> Outcome {
        hands.reached(Moment::Undoing, &self.id);
        let outcome = match hands.undo(&self.action, &self.record) {
            Ok(report) => say::done(How::Undone, self.took(hands), report),
            Err(ActError::Refused(refusal)) => Outcome::Refused(refusal),
            Err(ActError::Failed(failure)) => say::failed(failure, false, self.took(hands)),
        };
        hands.reached(Moment::Undone, &self.id);
        outcome
    }

    fn took(&self, hands: &mut dyn Hands) -> Duration {
        hands.elapsed().saturating_sub(self.began)
    }
}

impl Acted {
    pub fn id(&self) -> &ActionId {
        &self.id
    }

    /// What would be answered once it is written.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Writes the outcome down and answers it. Where it cannot be written, the answer is a failure whose intent stays open, never a
    /// refusal: something may have been changed.
    pub fn end<L: Ledger>(self, ledger: &L, hands: &mut dyn Hands) -> Outcome {
        if planted::is(Planted::OutcomeUnwritten) {
            return self.outcome;
        }
        let at_ms = hands.now_ms();
        match ledger.end(&self.id, self.outcome.clone(), at_ms) {
            Ok(_) => {
                hands.reached(Moment::Ended, &self.id);
                self.outcome
            }
            Err(error) => say::unrecorded::<L>(&error, self.took),
        }
    }
}
