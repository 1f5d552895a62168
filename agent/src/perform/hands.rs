//! What the rules call: this host's policy, guard, actions and clock, for one command.

use super::dispatch::performs;
use super::performer::{Event, Performer};
use crate::clock::now_ms;
use replank_agent_core::act::{ActError, Failure, Report, Standing};
use replank_agent_core::{Hands, Moment};
use replank_common::UnixMs;
use replank_common::action::Action;
use replank_common::finding::Finding;
use replank_common::ids::ActionId;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use std::time::{Duration, Instant};

pub(super) struct HostHands<'a> {
    performer: &'a Performer,
    tell: &'a (dyn Fn(Event) + Sync),
    began: Instant,
}

impl<'a> HostHands<'a> {
    pub(super) fn new(performer: &'a Performer, tell: &'a (dyn Fn(Event) + Sync)) -> Self {
        Self { performer, tell, began: Instant::now() }
    }
}

impl Hands for HostHands<'_> {
    fn permits(&mut self, action: &Action) -> Result<(), Refusal> {
        self.performer.policy().permits(action)
    }

    fn judge(&mut self, action: &Action) -> Result<Vec<Finding>, String> {
        self.performer.host().guests.judge_action(action)
    }

    fn check(&mut self, action: &Action) -> Result<Standing, Refusal> {
        performs(action).check(self.performer.host())
    }

    fn prepare(&mut self, action: &Action) -> Result<UndoRecord, Refusal> {
        performs(action).prepare_aloud(self.performer.host(), &progress(self.tell))
    }

    fn apply(&mut self, action: &Action, record: &UndoRecord) -> Result<Report, ActError> {
        performs(action).apply(self.performer.host(), record, &progress(self.tell))
    }

    fn verify(&mut self, action: &Action, record: &UndoRecord) -> Result<(), Failure> {
        performs(action).verify(self.performer.host(), record)
    }

    fn undo(&mut self, action: &Action, record: &UndoRecord) -> Result<Report, ActError> {
        performs(action).undo(self.performer.host(), record, &progress(self.tell))
    }

    fn cancelled(&mut self, id: &ActionId) -> bool {
        self.performer.was_cancelled(id)
    }

    fn accepted(&mut self) {
        (self.tell)(Event::Accepted);
    }

    fn now_ms(&mut self) -> UnixMs {
        now_ms()
    }

    fn elapsed(&mut self) -> Duration {
        self.began.elapsed()
    }

    fn reached(&mut self, moment: Moment, id: &ActionId) {
        if cfg!(feature = "crash-points") {
            replank_crash::reach(&format!("ledger.{moment} {} {:?}", id.step, id.direction));
        }
    }
}

fn progress(tell: &(dyn Fn(Event) + Sync)) -> impl Fn(Option<u32>, &str) + Sync {
    move |permille, text| tell(Event::Progress { permille, text: text.to_owned() })
}
