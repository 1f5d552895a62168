//! The agent as a running program: its parts put together, started, watched over, and stopped.
//!
//! Owns the order of starting and stopping, what signals mean, and the word with systemd. Decides nothing about an action, and touches no
//! guest: they are no children of this process, and its end changes nothing for them.
//!
//! | signal | what happens |
//! | --- | --- |
//! | SIGTERM, SIGINT | no further order is taken; the action at work is finished, at most within [`STOP_TIME_MAX`], and its outcome told; then the end |
//! | the same again | the end at once; the ledger holds the intent, and the next start goes on from there |
//! | SIGHUP | policy and identity are read again; what cannot be used is refused, and the old one stays |
//!
//! The watchdog is fed while the link gives its sign of life in time. A coordinator that is away, a slow census and a long action miss none.

mod assembly;
mod census;
mod log;
mod ports;
mod reload;
mod service;

pub use assembly::{Assembly, guests, host, require_root};
pub use log::begin as begin_log;

use crate::failure::Failure;
use crate::guests::watch;
use crate::link::{Desk, Link, LinkState, keep_renewed};
use crate::metrics::{self, Metrics};
use ports::Deeds;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// For the action at work when the agent is told to stop; below the unit's `TimeoutStopSec=`.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(110);
/// For every part to end in good order; what has not is dropped.
const END_TIME_MAX: Duration = Duration::from_secs(3);

/// What is asked of a running agent from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Read policy and identity again.
    Reload,
    Stop,
}

/// A running agent.
#[derive(Debug)]
pub struct Daemon {
    assembly: Assembly,
    deeds: Arc<Deeds>,
    desk: Desk,
    redial: Arc<tokio::sync::Notify>,
    state: Receiver<LinkState>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Daemon {
    /// Starts every part, and tells systemd when they run. The link may be up much later.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub async fn start(assembly: Assembly) -> Result<Self, Failure> {
        let deeds = Arc::new(Deeds::new(assembly.performer())?);
        let metrics = Metrics::default();
        let desk = Desk::start(deeds.clone(), metrics.observer(Arc::clone(&assembly.ledger)))
            .map_err(Failure::system("a thread for actions"))?;
        let link = Link::new(
            assembly.link_settings(),
            Arc::clone(&assembly.credentials),
            ports::all(&assembly, deeds.clone()),
            desk.clone(),
        );
        let (state, pulse, redial) = (link.state(), link.pulse(), link.redial());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();

        // The watch explains only ends of guests that a census has listed.
        census::first(&assembly.guests).await;
        let (guests, token) = (Arc::clone(&assembly.guests), stop.clone());
        tasks.spawn(async move {
            if let Err(error) = watch::run(guests, watch::Means::default(), token).await {
                tracing::error!(%error, "guests are not watched; their ends are noticed by the next census only");
            }
        });
        tasks.spawn(census::keep_fresh(Arc::clone(&assembly.guests), stop.clone()));
        if let Some(address) = assembly.config.metrics {
            let registry = metrics.registry(metrics::Sources {
                guests: Arc::clone(&assembly.guests),
                deeds: deeds.performer(),
                link: state.clone(),
                credentials: Arc::clone(&assembly.credentials),
            });
            tasks.spawn(metrics::serve(address, Arc::new(registry), stop.clone()));
        }
        tasks.spawn(service::tell(state.clone(), metrics, stop.clone()));
        tasks.spawn(keep_renewed(
            assembly.address.clone(),
            assembly.identity.clone(),
            Arc::clone(&assembly.credentials),
            stop.clone(),
        ));
        tasks.spawn(link.run(stop.clone()));
        service::ready();
        tasks.spawn(service::feed_watchdog(pulse, stop.clone()));
        Ok(Self { assembly, deeds, desk, redial, state, tasks, stop })
    }

    /// How the link stands, now and from now on.
    pub fn link(&self) -> Receiver<LinkState> {
        self.state.clone()
    }

    /// Reads policy and identity again. What cannot be used is refused, and the old one stays.
    pub fn reload(&self) {
        if reload::all(&self.assembly, &self.deeds.performer()) {
            self.redial.notify_one();
        }
    }

    /// Stops, the action at work first. Whether that ended in time; what did not is left to the ledger.
    pub async fn stop(mut self) -> bool {
        service::stopping(self.desk.at_work());
        let desk = self.desk.clone();
        let ended = tokio::task::spawn_blocking(move || desk.stop(STOP_TIME_MAX)).await.unwrap_or(false);
        if !ended {
            tracing::warn!(action = ?self.desk.at_work(), "the action at work has not ended in time; the next start finishes it");
        }
        self.stop.cancel();
        let ends = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END_TIME_MAX, ends).await.is_err() {
            tracing::debug!("not every part ended in good order");
        }
        ended
    }
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// A part cannot be started.
pub async fn run(assembly: Assembly) -> Result<(), Failure> {
    let mut signals = service::Signals::listen().map_err(Failure::system("signals"))?;
    let daemon = Daemon::start(assembly).await?;
    while signals.next().await == Request::Reload {
        daemon.reload();
    }
    tokio::select! {
        _ = daemon.stop() => {}
        () = signals.second_stop() => tracing::warn!("told to stop a second time; an action at work is finished by the next start"),
    }
    Ok(())
}
