//! The parts of the agent, as the link asks for them.

use super::Assembly;
use crate::codes;
use crate::failure::Failure;
use crate::guests::HostGuests;
use crate::host::Host;
use crate::ledger;
use crate::link::{GuestSource, Order, Performer, Ports, ReadingSource, Told, Work};
use crate::perform::{self, Command, Event};
use crate::readings;
use replank_agent_core::Ledger as _;
use replank_common::census::Census;
use replank_common::ids::{ActionId, CoordinatorId, Epoch, PlanId};
use replank_common::outcome::{Outcome, Refusal};
use replank_common::reading::{ReadingRequest, ReadingValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// All of them.
pub(super) fn all(assembly: &Assembly, deeds: Arc<Deeds>) -> Ports {
    Ports {
        performer: deeds,
        guests: Arc::new(Guests(Arc::clone(&assembly.guests))),
        readings: Arc::new(Readings(assembly.host.clone())),
    }
}

/// The performer and its ledger.
#[derive(Debug)]
pub(super) struct Deeds {
    performer: Arc<perform::Performer>,
    /// The ledger's, so that the link asks without waiting for a disk.
    epoch: AtomicU64,
}

impl Deeds {
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn new(performer: perform::Performer) -> Result<Self, Failure> {
        let epoch = AtomicU64::new(performer.ledger().epoch()?.0);
        Ok(Self { performer: Arc::new(performer), epoch })
    }

    pub(super) fn performer(&self) -> Arc<perform::Performer> {
        Arc::clone(&self.performer)
    }
}

impl Performer for Deeds {
    fn epoch_seen(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    fn coordinator_seen(&self) -> Option<CoordinatorId> {
        match self.performer.ledger().leader() {
            Ok(leader) => leader.coordinator,
            Err(error) => {
                tracing::error!(code = codes::LEDGER, "{error}");
                None
            }
        }
    }

    fn obey(&self, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Result<(), Refusal> {
        match self.performer.ledger().obey_welcome(epoch, coordinator) {
            Ok(true) => {
                self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
                Ok(())
            }
            Ok(false) => Err(refusal(
                codes::OLD_EPOCH,
                format!(
                    "its epoch is {epoch}, and another coordinator of epoch {} was obeyed",
                    self.epoch_seen()
                ),
                "one coordinator commands: stop the earlier one; if this one is to lead, start it once more",
            )),
            Err(error) => Err(refusal(
                codes::LEDGER,
                error.to_string(),
                "the agent obeys nobody until its ledger can be used again",
            )),
        }
    }

    fn unfinished(&self) -> Vec<ActionId> {
        match self.performer.ledger().unfinished() {
            Ok(entries) => entries.into_iter().map(|entry| entry.id).collect(),
            Err(error) => {
                tracing::error!(code = codes::LEDGER, "{error}");
                Vec::new()
            }
        }
    }

    fn perform(&self, order: &Order, tell: &(dyn Fn(Told) + Sync)) -> Outcome {
        let plan = match PlanId::new(order.plan_id.as_str()) {
            Ok(plan) => plan,
            Err(error) => {
                return Outcome::Refused(refusal(
                    codes::NOT_UNDERSTOOD,
                    format!("the command names no plan: {error}"),
                    "install the agent of the coordinator's version on this host",
                ));
            }
        };
        let work = match &order.work {
            Work::Do(action) => ledger::Work::Do(action.clone()),
            Work::Undo { of } => ledger::Work::Undo(of.clone()),
        };
        tracing::info!(action = %order.id, plan = %plan, "begins");
        let command = Command { epoch: order.epoch, id: order.id.clone(), plan, work };
        let outcome = self.performer.perform(&command, &|event| {
            tell(match event {
                Event::Accepted => Told::Accepted,
                Event::Progress { permille, text } => Told::Progress { permille, text },
            });
        });
        self.epoch.fetch_max(order.epoch.0.min(self.obeyed()), Ordering::AcqRel);
        log(&order.id, &outcome);
        outcome
    }

    fn observes_only(&self) -> bool {
        self.performer.policy().observe_only
    }

    fn ledger_actions(&self) -> u64 {
        self.performer.ledger().count().unwrap_or(0)
    }
}

impl Deeds {
    /// What the ledger says; what is known where it cannot be read.
    fn obeyed(&self) -> u64 {
        self.performer.ledger().epoch().unwrap_or(self.epoch_seen()).0
    }
}

fn log(id: &ActionId, outcome: &Outcome) {
    match outcome {
        Outcome::Done { how, took_ms, .. } => tracing::info!(action = %id, ?how, took_ms, "done"),
        Outcome::Refused(refusal) => tracing::warn!(action = %id, code = refusal.code, "refused: {refusal}"),
        Outcome::Failed { code, error, remedy, restored, took_ms } => {
            tracing::error!(action = %id, code, restored, took_ms, "failed: {error}; {remedy}");
        }
    }
}

fn refusal(code: &str, reason: String, remedy: &str) -> Refusal {
    Refusal { code: code.to_owned(), reason, remedy: remedy.to_owned(), findings: Vec::new() }
}

#[derive(Debug)]
struct Guests(Arc<HostGuests>);

impl GuestSource for Guests {
    fn census(&self) -> Census {
        self.0.news()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }
}

#[derive(Debug)]
struct Readings(Host);

impl ReadingSource for Readings {
    fn answer(&self, request: &ReadingRequest, deadline: Duration) -> ReadingValue {
        readings::answer(&self.0, request, deadline)
    }
}
