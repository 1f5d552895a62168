//! The word with systemd: ready, how it goes, alive, stopping. Without systemd, nothing is said.

use crate::drive;
use crate::links;
use replank_core::run::Phase;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the status line is brought up to date, without a watchdog.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// An answer of the drive that takes longer is none.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Says that it is ready, and from then on, while the drive answers, that it lives.
pub(super) async fn keep_told(runs: drive::Handle, hosts: links::Handle, stop: CancellationToken) {
    tell(&[NotifyState::Ready]);
    // Twice in each span that systemd grants, so that one late turn is not taken for a death.
    let every = sd_notify::watchdog_enabled().map_or(TELL_EVERY, |limit| (limit / 2).min(TELL_EVERY));
    loop {
        match tokio::time::timeout(ANSWER_TIME_MAX, status(&runs, &hosts)).await {
            Ok(status) => tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]),
            Err(_) => tracing::error!("the drive gave no answer; systemd is not told that all is well"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// In one line: the epoch, the hosts, the latest run. Asks the drive, which is what is to be proved alive.
async fn status(runs: &drive::Handle, hosts: &links::Handle) -> String {
    let seen = hosts.seen();
    let linked = seen.values().filter(|host| host.linked).count();
    let run = match runs.view(None).await {
        Ok(view) => match view.phase {
            Phase::Completed | Phase::Aborted | Phase::RolledBack => format!("latest run {}", view.phase),
            Phase::Counting
            | Phase::Running
            | Phase::AtHold
            | Phase::Held
            | Phase::Paused
            | Phase::Halted
            | Phase::AskingWayBack
            | Phase::RollingBack
            | Phase::Aborting
            | Phase::Closing => {
                format!("{} {}, {}/{} steps", view.run, view.phase, view.steps_done, view.steps_total)
            }
        },
        Err(_) => "no run".to_owned(),
    };
    format!("epoch {}; {linked} of {} hosts linked; {run}", runs.epoch(), seen.len())
}
