//! A patient operator: approves what is reached, has tried again what is held, acknowledges what is lost.

use crate::fleet::Fleet;
use crate::promise::Promise;
use replank_common::ids::{GuestUuid, HoldId, StepId};
use replank_core::run::{Operate, OperatorRefusal};

impl Fleet {
    /// Reads the view for what is held: slow in a large fleet.
    pub(crate) fn look_for_held(&mut self) {
        let Some(view) = self.view() else { return };
        let held = view.waits.into_iter().filter(|wait| wait.code == "RP3025");
        self.watcher.held.extend(held.filter_map(|wait| wait.step));
    }

    /// One look of that operator.
    pub(crate) fn decide_what_waits(&mut self) {
        let Some(machine) = self.machine() else { return };
        let state = machine.state();
        if state.finished().is_some() {
            return;
        }
        if state.halt().is_some() || state.paused().is_some() {
            let lost = state.open_losses().iter().flat_map(|loss| &loss.guests);
            let acknowledged: Vec<GuestUuid> = lost.map(|(uuid, _)| *uuid).collect();
            let resumed = self.operate(Operate::Resume { acknowledged });
            self.judge.check(Promise::Quiet, resumed.is_ok(), || {
                format!("an operator who names every loss is refused: {resumed:?}")
            });
            return;
        }
        let holds: Vec<HoldId> = self.watcher.reached.iter().cloned().collect();
        for hold in holds {
            match self.operate(Operate::Approve { hold }) {
                Ok(()) | Err(OperatorRefusal::NotForward { .. } | OperatorRefusal::Halted { .. }) => {}
                Err(refusal) => self.judge.check(Promise::Quiet, false, || {
                    format!("an approval of a hold that is reached is refused: {refusal}")
                }),
            }
        }
        let held: Vec<StepId> = self.watcher.held.iter().cloned().collect();
        for step in held {
            match self.operate(Operate::Retry { step: step.clone() }) {
                Ok(()) | Err(OperatorRefusal::Halted { .. }) => {}
                Err(_) => {
                    // What a rollback or an abort has passed by is not held any more.
                    self.watcher.held.remove(&step);
                }
            }
        }
    }
}
