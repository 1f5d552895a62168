//! Keeping a link up: dial, talk, and again.

use super::desk::Desk;
use super::dial;
use super::failure::LinkError;
use super::identity::tls_config;
use super::ports::Ports;
use super::pulse::Pulse;
use super::session::{self, Context};
use crate::clock::now_ms;
use crate::config::Address;
use replank_common::UnixMs;
use replank_common::ids::{BootId, Epoch, HostName};
use replank_identity::CredentialStore;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// The wait after the first failure; doubled with each, up to the next.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// For what nobody but a person can mend: a revoked host, another fleet's coordinator.
const WAIT_FOR_HELP: Duration = Duration::from_secs(60);
/// A link that stood for this long was good; the next failure is a first one.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    Down { since_ms: UnixMs, why: Option<LinkError> },
    Up { since_ms: UnixMs, epoch: Epoch },
}

/// What a link says of its host, and whom it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub address: Address,
    pub host: HostName,
    pub boot_id: BootId,
    pub agent_start_ms: UnixMs,
}

/// The link of this agent, to be run.
#[derive(Debug)]
pub struct Link {
    context: Context,
    credentials: Arc<CredentialStore>,
    state: watch::Sender<LinkState>,
    redial: Arc<Notify>,
}

impl Link {
    pub fn new(settings: Settings, credentials: Arc<CredentialStore>, ports: Ports, desk: Desk) -> Self {
        let context = Context { settings, ports, desk, pulse: Arc::new(Pulse::default()) };
        let state = watch::Sender::new(LinkState::Down { since_ms: now_ms(), why: None });
        Self { context, credentials, state, redial: Arc::new(Notify::new()) }
    }

    /// Its sign of life.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.context.pulse)
    }

    /// Notified, the link is given up and dialled again at once: what the agent says of itself, or its certificate, has changed.
    pub fn redial(&self) -> Arc<Notify> {
        Arc::clone(&self.redial)
    }

    /// How the link stands, now and from now on.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Keeps the link up until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        self.keep_up(stop).await;
        self.context.pulse.rest();
    }

    async fn keep_up(&self, stop: CancellationToken) {
        let mut wait = WAIT_MIN;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let error = tokio::select! {
                () = farewell(&stop) => return,
                () = self.redial.notified() => {
                    self.context.desk.forget_waiting();
                    self.state.send_replace(LinkState::Down { since_ms: now_ms(), why: None });
                    continue;
                }
                ended = self.once(&stop) => match ended {
                    Ok(()) => return,
                    Err(error) => error,
                },
            };
            let stood = matches!(*self.state.borrow(), LinkState::Up { .. }) && begun.elapsed() >= GOOD_AFTER;
            if stood {
                wait = WAIT_MIN;
            }
            let pause = if error.is_passing() { jittered(wait) } else { jittered(WAIT_FOR_HELP) };
            tracing::warn!(code = error.code, again_in_ms = pause.as_millis(), "{}", error.text);
            self.state.send_replace(LinkState::Down { since_ms: now_ms(), why: Some(error) });
            wait = (wait * 2).min(WAIT_MAX);
            self.context.pulse.within(pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.redial.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn once(&self, stop: &CancellationToken) -> Result<(), LinkError> {
        self.context.pulse.within(dial::DIAL_TIME_MAX);
        let config = tls_config(&self.credentials)?;
        let client = dial::dial(&self.context.settings.address, config).await?;
        let on_welcome = |epoch| {
            tracing::info!(%epoch, coordinator = %self.context.settings.address, "linked");
            self.state.send_replace(LinkState::Up { since_ms: now_ms(), epoch });
        };
        session::run(client, &self.context, on_welcome, stop).await
    }
}

/// A link that stands gets a moment to end in good order.
async fn farewell(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(session::FAREWELL_TIME_MAX * 2).await;
}

/// Between half of `wait` and all of it, so that a fleet does not return in one instant.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..=1.0))
}
