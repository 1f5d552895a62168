//! Watching a run: lines from the store, woken by news. A watcher that cannot keep up misses news, never lines.

use super::error::Refused;
use super::handle::{Handle, News, Told};
use crate::store::Store;
use replank_common::ids::RunId;
use std::collections::VecDeque;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Lines read from the store at a time.
const LINES_AT_ONCE: u32 = 256;
/// What a stream holds ready for its reader.
const TOLD_AHEAD: usize = 16;

/// One watcher. It is read with [`Watching::next`], at its own pace.
#[derive(Debug)]
pub struct Watching {
    run: RunId,
    store: Store,
    news: broadcast::Receiver<News>,
    /// The next line to tell.
    next: u64,
    ready: VecDeque<Told>,
    /// The store may hold more lines than were read.
    behind: bool,
}

impl Watching {
    pub(super) async fn begin(handle: &Handle, run: RunId, since: u64) -> Result<Self, Refused> {
        // Listening before reading: what is written in between is told of, and read then.
        let news = handle.news.upgrade().ok_or(Refused::Stopped)?.subscribe();
        let mut watching = Self {
            run,
            store: handle.store.clone(),
            news,
            next: since.max(1),
            ready: VecDeque::new(),
            behind: true,
        };
        watching.read().await?;
        Ok(watching)
    }

    /// The run that is watched.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// What comes next; `None` when the drive has ended. Cancel safe.
    ///
    /// # Errors
    /// The store's; the watching is over then.
    pub async fn next(&mut self) -> Option<Result<Told, Refused>> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Some(Ok(told));
            }
            if self.behind {
                if let Err(refused) = self.read().await {
                    return Some(Err(refused));
                }
                continue;
            }
            match self.news.recv().await {
                Ok(News::Durable { run, seq }) => self.behind = run == self.run && seq >= self.next,
                Ok(News::Progress { run, at_ms, json }) if run == self.run => {
                    return Some(Ok(Told::Progress { at_ms, json }));
                }
                Ok(News::Progress { .. }) => {}
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// As a stream, for a service's answer. It ends with its reader.
    pub fn into_stream(mut self) -> ReceiverStream<Result<Told, Refused>> {
        let (sender, receiver) = mpsc::channel(TOLD_AHEAD);
        tokio::spawn(async move {
            loop {
                let told = tokio::select! {
                    () = sender.closed() => return,
                    told = self.next() => told,
                };
                let Some(told) = told else { return };
                let is_last = told.is_err();
                if sender.send(told).await.is_err() || is_last {
                    return;
                }
            }
        });
        ReceiverStream::new(receiver)
    }

    async fn read(&mut self) -> Result<(), Refused> {
        let (run, since) = (self.run.clone(), self.next);
        let lines = self.store.read(move |database| database.lines(&run, since, LINES_AT_ONCE)).await?;
        self.behind = lines.len() == LINES_AT_ONCE as usize;
        if let Some(last) = lines.last() {
            self.next = last.seq + 1;
        }
        self.ready.extend(lines.into_iter().map(Told::Line));
        Ok(())
    }
}
