//! The rest of the agent, as the link needs it: an actor with a memory that the test can hold up, guests and measurements.

use crate::codes;
use crate::config::Address;
use crate::link::{Desk, GuestSource, Link, Order, Performer, Ports, ReadingSource, Settings, Told, Work};
use replank_common::census::Census;
use replank_common::ids::{ActionId, BootId, CoordinatorId, Epoch, HostName};
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::reading::{ReadingRequest, ReadingValue};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::coordinator::{Coordinator, PATIENCE};

/// Remembers what it did, as the ledger does; works only while it is let.
#[derive(Debug, Default)]
pub(super) struct Actor {
    state: Mutex<Memory>,
    let_go: Condvar,
}

#[derive(Debug, Default)]
struct Memory {
    epoch: Epoch,
    /// `None`: begun.
    known: BTreeMap<ActionId, Option<Outcome>>,
    done: Vec<ActionId>,
    held: bool,
    /// Stays with the look at the host, before the intent.
    looking: bool,
}

impl Memory {
    fn refuse_old(&self, epoch: Epoch) -> Result<(), Refusal> {
        if epoch >= self.epoch {
            return Ok(());
        }
        let (reason, remedy) = (format!("epoch {epoch} is old"), "stop it".to_owned());
        Err(Refusal { code: codes::OLD_EPOCH.to_owned(), reason, remedy, findings: Vec::new() })
    }
}

impl Actor {
    pub(super) fn hold(&self) {
        self.state.lock().unwrap().held = true;
    }

    pub(super) fn look(&self) {
        self.state.lock().unwrap().looking = true;
    }

    pub(super) fn let_go(&self) {
        let mut state = self.state.lock().unwrap();
        (state.held, state.looking) = (false, false);
        drop(state);
        self.let_go.notify_all();
    }

    pub(super) fn done(&self) -> Vec<String> {
        self.state.lock().unwrap().done.iter().map(ToString::to_string).collect()
    }
}

impl Performer for Actor {
    fn epoch_seen(&self) -> Epoch {
        self.state.lock().unwrap().epoch
    }

    fn coordinator_seen(&self) -> Option<CoordinatorId> {
        None
    }

    fn obey(&self, epoch: Epoch, _: Option<CoordinatorId>) -> Result<(), Refusal> {
        let mut state = self.state.lock().unwrap();
        state.refuse_old(epoch)?;
        state.epoch = epoch;
        Ok(())
    }

    fn unfinished(&self) -> Vec<ActionId> {
        let state = self.state.lock().unwrap();
        state.known.iter().filter(|(_, outcome)| outcome.is_none()).map(|(id, _)| id.clone()).collect()
    }

    fn perform(&self, order: &Order, tell: &(dyn Fn(Told) + Sync)) -> Outcome {
        let mut state = self.state.lock().unwrap();
        if let Some(Some(outcome)) = state.known.get(&order.id) {
            return outcome.clone();
        }
        while state.looking {
            state = self.let_go.wait(state).unwrap();
        }
        if let Err(refusal) = state.refuse_old(order.epoch) {
            return Outcome::Refused(refusal);
        }
        state.known.insert(order.id.clone(), None);
        tell(Told::Accepted);
        tell(Told::Progress { permille: Some(500), text: "half way".to_owned() });
        while state.held {
            state = self.let_go.wait(state).unwrap();
        }
        let how = match order.work {
            Work::Do(_) => How::Applied,
            Work::Undo { .. } => How::Undone,
        };
        let outcome = Outcome::Done { how, took_ms: 7, changes: Vec::new(), findings: Vec::new() };
        state.done.push(order.id.clone());
        state.known.insert(order.id.clone(), Some(outcome.clone()));
        outcome
    }

    fn observes_only(&self) -> bool {
        true
    }

    fn ledger_actions(&self) -> u64 {
        self.state.lock().unwrap().known.len() as u64
    }
}

#[derive(Debug)]
pub(super) struct Guests(pub(super) watch::Sender<u64>);

impl GuestSource for Guests {
    fn census(&self) -> Census {
        Census {
            host: HostName::new("compute1").unwrap(),
            boot_id: BootId(Uuid::nil()),
            sequence: *self.0.borrow(),
            agent_start_ms: 0,
            taken_at_ms: 0,
            guests: BTreeMap::new(),
            ended: Vec::new(),
            disagreements: Vec::new(),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Answers at once, or never for facts.
#[derive(Debug)]
struct Measures;

impl ReadingSource for Measures {
    fn answer(&self, request: &ReadingRequest, deadline: Duration) -> ReadingValue {
        match request {
            ReadingRequest::Facts => {
                std::thread::sleep(deadline + Duration::from_secs(1));
                ReadingValue::CannotTell { why: "too late".to_owned() }
            }
            _ => ReadingValue::GuestJobs(vec![("web".to_owned(), "migration".to_owned())]),
        }
    }
}

pub(super) struct Agent {
    pub(super) actor: Arc<Actor>,
    pub(super) guests: Arc<Guests>,
    pub(super) desk: Desk,
    pub(super) state: watch::Receiver<crate::link::LinkState>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Agent {
    pub(super) fn start(coordinator: &Coordinator) -> Self {
        let actor = Arc::new(Actor::default());
        let guests = Arc::new(Guests(watch::Sender::new(0)));
        let desk = Desk::start(actor.clone(), Arc::new(|_, _| {})).unwrap();
        let ports = Ports { performer: actor.clone(), guests: guests.clone(), readings: Arc::new(Measures) };
        let settings = Settings {
            address: coordinator.address.parse::<Address>().unwrap(),
            host: HostName::new("compute1").unwrap(),
            boot_id: BootId(Uuid::nil()),
            agent_start_ms: 12,
        };
        let link = Link::new(settings, coordinator.credentials("compute1"), ports, desk.clone());
        let stop = CancellationToken::new();
        let state = link.state();
        let running = tokio::spawn(link.run(stop.clone()));
        Self { actor, guests, desk, state, stop, running }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("the link stops").unwrap();
    }
}
