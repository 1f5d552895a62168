//! Censuses: one at the beginning of each link, one after each change, and one every so often for what changes without a sign.

use super::ports::GuestSource;
use super::session::Outgoing;
use replank_proto::v1::link_request::Message;
use std::sync::Arc;
use std::time::Duration;

/// A disagreement of the sources can come without any guest starting or ending: libvirt loses one.
const EVERY: Duration = Duration::from_secs(30);

/// Sends censuses until the link ends.
pub(crate) async fn report(guests: Arc<dyn GuestSource>, out: Outgoing) {
    let mut changes = guests.changes();
    loop {
        let source = Arc::clone(&guests);
        let census = match tokio::task::spawn_blocking(move || source.census()).await {
            Ok(census) => census,
            // Only while the agent ends.
            Err(_) => return,
        };
        if out.send(Message::Census(census.into())).await.is_err() {
            return;
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
