//! The desk: orders that wait, and the one at work. One thread does them one after the other, link or no link.

use super::ports::{Order, Performer, Told};
use crate::codes;
use replank_common::ids::{ActionId, Epoch};
use replank_common::outcome::{Outcome, Refusal};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// A plan gives a host one step at a time; far more than that waiting is no plan of ours.
const WAITING_MAX: usize = 64;

/// What comes from the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Told(ActionId, Told),
    Ended(ActionId, Outcome),
}

/// Called with each outcome, for the metrics.
pub type Observer = Arc<dyn Fn(&Order, &Outcome) + Send + Sync>;

/// Takes orders and has them performed.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    performer: Arc<dyn Performer>,
    observer: Observer,
    state: Mutex<State>,
    /// An order came, the one at work ended, or the agent stops.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Order, Instant)>,
    at_work: Option<AtWork>,
    stopping: bool,
    /// Of the present link; what has no listener is found in the ledger.
    listener: Option<UnboundedSender<Heard>>,
}

#[derive(Debug)]
struct AtWork {
    id: ActionId,
    epoch: Epoch,
    /// The same command of a later coordinator. It is begun if the one at work turns out to have come too late (P9).
    later: Option<Order>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("state", &*self.inner.state()).finish_non_exhaustive()
    }
}

impl Desk {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system gives none.
    pub fn start(performer: Arc<dyn Performer>, observer: Observer) -> std::io::Result<Self> {
        let inner = Arc::new(Inner { performer, observer, state: Mutex::default(), moved: Condvar::new() });
        let own = Arc::clone(&inner);
        thread::Builder::new().name("actions".to_owned()).spawn(move || own.work())?;
        Ok(Self { inner })
    }

    /// Takes an order. One that waits or is at work already is not taken twice: its outcome answers both, unless it is refused for its epoch;
    /// then the one of the later coordinator is begun.
    ///
    /// # Errors
    /// A refusal; nothing of it is in the ledger.
    pub(crate) fn hand_in(&self, order: Order) -> Result<(), Refusal> {
        let mut state = self.inner.state();
        if state.stopping {
            return Err(refusal(
                codes::STOPPING,
                "the agent is stopping",
                "it is asked again when the agent is back",
            ));
        }
        if let Some(at_work) = state.at_work.as_mut().filter(|at_work| at_work.id == order.id) {
            if order.epoch > at_work.later.as_ref().map_or(at_work.epoch, |later| later.epoch) {
                at_work.later = Some(order);
            }
            return Ok(());
        }
        if let Some(known) = state.waiting.iter_mut().find(|(waiting, _)| waiting.id == order.id) {
            if order.epoch > known.0.epoch {
                *known = (order, Instant::now());
            }
            return Ok(());
        }
        if state.waiting.len() >= WAITING_MAX {
            return Err(refusal(
                codes::NOT_UNDERSTOOD,
                &format!("{WAITING_MAX} actions wait already, and a host does one at a time"),
                "see which coordinator sends them; this one was not taken",
            ));
        }
        state.waiting.push_back((order, Instant::now()));
        drop(state);
        self.inner.moved.notify_all();
        Ok(())
    }

    /// Takes a waiting order off the desk; whether there was one. The one at work goes on.
    pub(crate) fn cancel(&self, id: &ActionId) -> bool {
        let mut state = self.inner.state();
        let before = state.waiting.len();
        state.waiting.retain(|(order, _)| order.id != *id);
        state.waiting.len() < before
    }

    /// From now on this link hears what happens.
    pub(crate) fn listen(&self, listener: UnboundedSender<Heard>) {
        self.inner.state().listener = Some(listener);
    }

    /// The link ended: whoever comes next asks again for what has not begun.
    pub(crate) fn forget_waiting(&self) {
        let mut state = self.inner.state();
        state.drop_waiting();
        state.listener = None;
    }

    /// The action at work.
    pub fn at_work(&self) -> Option<ActionId> {
        self.inner.state().at_work.as_ref().map(|at_work| at_work.id.clone())
    }

    /// Takes no more orders, and waits for the one at work, at most for `bound`. Whether it ended. Blocking.
    pub fn stop(&self, bound: Duration) -> bool {
        let until = Instant::now() + bound;
        let mut state = self.inner.state();
        state.stopping = true;
        state.drop_waiting();
        self.inner.moved.notify_all();
        while state.at_work.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.inner.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl State {
    fn drop_waiting(&mut self) {
        self.waiting.clear();
        if let Some(at_work) = &mut self.at_work {
            at_work.later = None;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is one assignment or one call, so that it is whole also after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((order, handed_in)) = self.next() {
            let late = !order.deadline.is_zero() && handed_in.elapsed() > order.deadline;
            let outcome = if late {
                Outcome::Refused(refusal(
                    codes::CANCELLED,
                    "it waited on the host for longer than its deadline allows, and was not begun",
                    "retry the step",
                ))
            } else {
                self.perform(&order)
            };
            (self.observer)(&order, &outcome);
            let mut state = self.state();
            let later = state.at_work.take().and_then(|at_work| at_work.later);
            match later {
                Some(later) if is_of_an_old_epoch(&outcome) => {
                    state.waiting.push_front((later, Instant::now()));
                }
                Some(_) | None => send(&mut state, Heard::Ended(order.id, outcome)),
            }
            drop(state);
            self.moved.notify_all();
        }
    }

    fn next(&self) -> Option<(Order, Instant)> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            if let Some((order, handed_in)) = state.waiting.pop_front() {
                state.at_work = Some(AtWork { id: order.id.clone(), epoch: order.epoch, later: None });
                return Some((order, handed_in));
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn perform(&self, order: &Order) -> Outcome {
        let tell = |told| send(&mut self.state(), Heard::Told(order.id.clone(), told));
        match catch_unwind(AssertUnwindSafe(|| self.performer.perform(order, &tell))) {
            Ok(outcome) => outcome,
            Err(_) => {
                // The ledger holds the intent. A new process finds out what was done; this one must not go on as if it knew.
                tracing::error!(action = %order.id, "an action panicked; the agent ends and is started again");
                std::process::abort()
            }
        }
    }
}

fn send(state: &mut State, heard: Heard) {
    if state.listener.as_ref().is_some_and(|listener| listener.send(heard).is_err()) {
        state.listener = None;
    }
}

fn is_of_an_old_epoch(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(refusal) if refusal.code == codes::OLD_EPOCH)
}

fn refusal(code: &str, reason: &str, remedy: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
        findings: Vec::new(),
    }
}
