//! Censuses of the agent's own accord: the first, and one now and then while no coordinator asks for any.

use crate::clock::now_ms;
use crate::guests::HostGuests;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The first one is waited for no longer: a host whose libvirt hangs needs its agent all the more.
const FIRST_TIME_MAX: Duration = Duration::from_secs(10);
/// A linked agent takes one at least every 30 s, so this is for one without a link.
const STALE_AFTER: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Takes the first census.
pub(super) async fn first(guests: &Arc<HostGuests>) {
    let taking = take(guests);
    match tokio::time::timeout(FIRST_TIME_MAX, taking).await {
        Ok(()) => {}
        Err(_) => tracing::warn!(
            "the first census takes longer than {} s; the agent goes on without it",
            FIRST_TIME_MAX.as_secs()
        ),
    }
}

/// Takes one whenever the last is stale, until `stop`.
pub(super) async fn keep_fresh(guests: Arc<HostGuests>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let stale_ms = u64::try_from(STALE_AFTER.as_millis()).unwrap_or(u64::MAX);
        let last = guests.last_census_ms().unwrap_or(0);
        // A clock that was set back makes the last one look young for ever.
        let now = now_ms();
        if now.saturating_sub(last) >= stale_ms || last > now {
            tokio::select! {
                () = take(&guests) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

async fn take(guests: &Arc<HostGuests>) {
    let guests = Arc::clone(guests);
    // Fails only while the agent ends.
    let _ = tokio::task::spawn_blocking(move || guests.take()).await;
}
