//! The task.

use super::clock::Clock;
use super::error::DriveError;
use super::handle::{Ask, Handle, News};
use crate::links;
use crate::store::Store;
use replank_common::ids::Epoch;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

/// Requests that wait for the drive before those who bring more wait themselves.
const ASKS_MAX: usize = 256;
/// News that a watcher may be behind before it reads the store again.
const NEWS_MAX: usize = 1024;

/// The drive before it runs.
#[derive(Debug)]
pub struct Drive {
    store: Store,
    clock: Clock,
    epoch: Epoch,
    handle: Handle,
    asks: mpsc::Receiver<Ask>,
    news: broadcast::Sender<News>,
}

impl Drive {
    /// Begins a new epoch, and brings every run that is not finished back from its journal.
    ///
    /// # Errors
    /// The store fails, or a journal or plan is not as it was written.
    pub async fn begin(store: Store, clock: Clock) -> Result<Self, DriveError> {
        let epoch = store.write(|database| database.next_epoch()).await?;
        let (sender, asks) = mpsc::channel(ASKS_MAX);
        let (news, _) = broadcast::channel(NEWS_MAX);
        let handle = Handle { asks: sender, news: news.downgrade(), store: store.clone(), epoch };
        Ok(Self { store, clock, epoch, handle, asks, news })
    }

    /// This coordinator's term of office.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Drives, until `stop` or the first error. `events` is what [`links::Links::open`] gave, `links` its handle.
    ///
    /// # Errors
    /// [`DriveError`]; nothing is commanded any more.
    pub async fn run(
        self,
        links: links::Handle,
        events: links::Events,
        stop: CancellationToken,
    ) -> Result<(), DriveError> {
        let _ = (links, events);
        stop.cancelled().await;
        Ok(())
    }
}
