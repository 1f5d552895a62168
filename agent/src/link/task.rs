//! Keeping a link up: dial, talk, and again.

use super::desk::Desk;
use super::dial;
use super::failure::LinkError;
use super::identity::tls_config;
use super::ports::Ports;
use super::session::{self, Context};
use crate::clock::now_ms;
use crate::config::Address;
use replank_common::UnixMs;
use replank_common::ids::{BootId, Epoch, HostName};
use replank_identity::CredentialStore;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
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
    pub observe_only: bool,
}

/// The link of this agent, to be run.
#[derive(Debug)]
pub struct Link {
    context: Context,
    credentials: Arc<CredentialStore>,
    state: watch::Sender<LinkState>,
}

impl Link {
    pub fn new(settings: Settings, credentials: Arc<CredentialStore>, ports: Ports, desk: Desk) -> Self {
        let context = Context { settings, ports, desk };
        let state = watch::Sender::new(LinkState::Down { since_ms: now_ms(), why: None });
        Self { context, credentials, state }
    }

    /// How the link stands, now and from now on.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Keeps the link up until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut wait = WAIT_MIN;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let error = tokio::select! {
                () = stop.cancelled() => return,
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
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn once(&self, stop: &CancellationToken) -> Result<(), LinkError> {
        let config = tls_config(&self.credentials)?;
        let client = dial::dial(&self.context.settings.address, config).await?;
        let on_welcome = |epoch| {
            tracing::info!(%epoch, coordinator = %self.context.settings.address, "linked");
            self.state.send_replace(LinkState::Up { since_ms: now_ms(), epoch });
        };
        session::run(client, &self.context, on_welcome, stop).await
    }
}

/// Between half of `wait` and all of it, so that a fleet does not return in one instant.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..=1.0))
}
