//! Metrics for Prometheus: what this host's agent knows, and how it stands with its coordinator.
//!
//! Owns the families, their names and labels, and the one port that serves them. Measures nothing itself: a scrape starts no census, asks
//! libvirt nothing, and costs the guests nothing.

mod scrape;
mod serve;
#[cfg(test)]
mod tests;

pub use scrape::Sources;
pub use serve::serve;

use crate::ledger::{self, Ledger};
use crate::link::{LinkState, Observer, Order, Work};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use replank_agent_core::Ledger as _;
use replank_common::UnixMs;
use replank_common::ids::Direction;
use replank_common::outcome::{How, Outcome};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    /// Of the action, also where it was taken back; `unknown` where the ledger has forgotten it.
    kind: &'static str,
    /// `do` or `undo`.
    direction: &'static str,
    outcome: &'static str,
}

/// What is counted as it happens; cheap to share.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    actions: Family<ActionLabels, Counter>,
    reconnects: Counter,
    /// When the present or last link came to stand.
    linked: Arc<Mutex<Option<UnixMs>>>,
}

impl Metrics {
    /// Counts the outcome of each order.
    pub fn observer(&self, ledger: Arc<Ledger>) -> Observer {
        let actions = self.actions.clone();
        Arc::new(move |order, outcome| {
            let direction = match order.id.direction {
                Direction::Do => "do",
                Direction::Undo => "undo",
            };
            let labels = ActionLabels { kind: kind(order, &ledger), direction, outcome: word(outcome) };
            actions.get_or_create(&labels).inc();
        })
    }

    /// Takes note of how the link stands.
    pub fn link_is(&self, state: &LinkState) {
        let LinkState::Up { since_ms, .. } = *state else { return };
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        match linked.replace(since_ms) {
            Some(before) if before != since_ms => {
                self.reconnects.inc();
            }
            Some(_) | None => {}
        }
    }

    /// Everything that is served.
    pub fn registry(&self, sources: Sources) -> Registry {
        let mut registry = Registry::with_prefix("replank");
        registry.register(
            "agent_build",
            "The agent that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "actions",
            "Commands that ended, by the kind of their action and how they ended",
            self.actions.clone(),
        );
        registry.register(
            "link_reconnects",
            "How often the link came to stand again after the first time",
            self.reconnects.clone(),
        );
        registry.register_collector(Box::new(sources));
        registry
    }
}

fn kind(order: &Order, ledger: &Ledger) -> &'static str {
    match &order.work {
        Work::Do(action) => action.kind(),
        Work::Undo { of } => match ledger.look_up(of) {
            Ok(Some(ledger::Entry { work: ledger::Work::Do(action), .. })) => action.kind(),
            Ok(Some(ledger::Entry { work: ledger::Work::Undo(_), .. }) | None) | Err(_) => "unknown",
        },
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done { how, .. } => match how {
            How::Applied => "applied",
            How::FoundDone => "found-done",
            How::Finished => "finished",
            How::Undone => "undone",
            How::NothingToUndo => "nothing-to-undo",
        },
        Outcome::Refused(_) => "refused",
        Outcome::Failed { restored: true, .. } => "failed-restored",
        Outcome::Failed { restored: false, .. } => "failed",
    }
}
