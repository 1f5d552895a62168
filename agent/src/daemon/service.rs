//! The word with systemd: ready, what the link does, the watchdog, stopping; and the signals. Without systemd nothing is said.

use super::Request;
use crate::link::{LinkState, Pulse};
use crate::metrics::Metrics;
use replank_common::ids::ActionId;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;

/// SIGTERM, SIGINT and SIGHUP.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// # Errors
    /// The operating system refuses a handler.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hang_up.recv() => Request::Reload,
        }
    }

    /// Waits until it is told to stop again.
    pub(super) async fn second_stop(&mut self) {
        while self.next().await != Request::Stop {}
    }
}

pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

pub(super) fn stopping(at_work: Option<ActionId>) {
    let status = match at_work {
        Some(id) => format!("stopping; the action {id} is being finished"),
        None => "stopping".to_owned(),
    };
    tracing::info!("{status}");
    notify(&[NotifyState::Stopping, NotifyState::Status(&status)]);
}

/// Tells how the link stands, in `systemctl status` and in the metrics, until `stop`.
pub(super) async fn tell(mut state: Receiver<LinkState>, metrics: Metrics, stop: CancellationToken) {
    loop {
        let status = {
            let state = state.borrow_and_update();
            metrics.link_is(&state);
            describe(&state)
        };
        notify(&[NotifyState::Status(&status)]);
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = stop.cancelled() => return,
        }
    }
}

fn describe(state: &LinkState) -> String {
    match state {
        LinkState::Up { epoch, .. } => format!("linked to the coordinator, epoch {epoch}"),
        LinkState::Down { why: Some(why), .. } => format!("no link to the coordinator: {why}"),
        LinkState::Down { why: None, .. } => "dialling the coordinator".to_owned(),
    }
}

/// Feeds systemd's watchdog while the link gives its sign of life, until `stop`: what then remains takes a moment.
pub(super) async fn feed_watchdog(pulse: Arc<Pulse>, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let every = (limit / 4).max(Duration::from_millis(100));
    loop {
        match pulse.missing_at(Instant::now()) {
            None => notify(&[NotifyState::Watchdog]),
            Some(late) => tracing::error!(
                late_ms = late.as_millis(),
                "the link hangs; systemd starts the agent again unless it goes on"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd takes no notification");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use crate::link::LinkError;

    #[test]
    fn the_status_says_why_there_is_no_link() {
        let why = LinkError { code: codes::UNREACHABLE, text: "no route".to_owned() };
        let status = describe(&LinkState::Down { since_ms: 0, why: Some(why) });
        assert_eq!(status, "no link to the coordinator: RP4005: no route");
    }
}
