//! What everybody else sees of the drive.

use super::error::Refused;
use super::watch::Watching;
use crate::store::{Line, RunRow, Store};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, PlanId, RunId};
use replank_core::run::{Operate, Report, RunView};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Asks the drive. Cheap to clone; every call ends, also when the drive has.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) asks: mpsc::Sender<Ask>,
    /// Weak: the watchers' news end with the drive.
    pub(super) news: broadcast::WeakSender<News>,
    pub(super) store: Store,
    pub(super) epoch: Epoch,
}

/// One call's place in the drive's order.
#[derive(Debug)]
pub(super) enum Ask {
    PutPlan { bytes: Vec<u8>, answer: Answer<PlanId> },
    Apply { plan: PlanId, by: String, answer: Answer<RunId> },
    Operate { run: Option<RunId>, by: String, wish: Operate, answer: Answer<RunId> },
    View { run: Option<RunId>, answer: Answer<RunView> },
    Report { run: Option<RunId>, answer: Answer<Report> },
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// Told to every watcher.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// The run's journal is durable up to here.
    Durable {
        run: RunId,
        seq: u64,
    },
    Progress {
        run: RunId,
        at_ms: UnixMs,
        json: Arc<str>,
    },
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A line of the journal, durable. Lines come in order, without gaps, each once.
    Line(Line),
    /// What an agent says of a step at work; not kept, and left out when the watcher is slow. JSON with `host`, `step`, `permille` (or
    /// null) and `text`.
    Progress { at_ms: UnixMs, json: Arc<str> },
}

impl Handle {
    /// This coordinator's term of office.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Keeps a plan file after its digest and lint were checked. The same plan twice is the same as once.
    ///
    /// # Errors
    /// [`Refused::PlanFile`], [`Refused::Lint`], [`Refused::Unsound`].
    pub async fn put_plan(&self, bytes: Vec<u8>) -> Result<PlanId, Refused> {
        self.ask(|answer| Ask::PutPlan { bytes, answer }).await
    }

    /// The bytes of a plan file.
    ///
    /// # Errors
    /// `StoreError::UnknownPlan`.
    pub async fn plan(&self, id: PlanId) -> Result<Vec<u8>, Refused> {
        Ok(self.store.read(move |database| database.plan(&id)).await?)
    }

    /// Begins a run of a stored plan, for an operator by the name in the certificate.
    ///
    /// # Errors
    /// [`Refused::Busy`] and [`Refused::NotEnrolled`] among others; no run was begun then.
    pub async fn apply(&self, plan: PlanId, by: &str) -> Result<RunId, Refused> {
        let by = by.to_owned();
        self.ask(|answer| Ask::Apply { plan, by, answer }).await
    }

    /// An operator's wish; `None` means the latest run. The run that was meant.
    ///
    /// A resume with nobody acknowledged acknowledges nobody: whoever asks on behalf of an operator names the guests.
    ///
    /// # Errors
    /// [`Refused::Operator`] with the core's reason, [`Refused::Busy`] and [`Refused::LaterRun`] for the rollback of a finished run.
    pub async fn operate(&self, run: Option<RunId>, by: &str, wish: Operate) -> Result<RunId, Refused> {
        let by = by.to_owned();
        self.ask(|answer| Ask::Operate { run, by, wish, answer }).await
    }

    /// Where a run is now; `None` means the latest run.
    ///
    /// # Errors
    /// The run is unknown, or there is none.
    pub async fn view(&self, run: Option<RunId>) -> Result<RunView, Refused> {
        self.ask(|answer| Ask::View { run, answer }).await
    }

    /// What was done; `None` means the latest run.
    ///
    /// # Errors
    /// The run is unknown, or there is none.
    pub async fn report(&self, run: Option<RunId>) -> Result<Report, Refused> {
        self.ask(|answer| Ask::Report { run, answer }).await
    }

    /// Every run, the oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn runs(&self) -> Result<Vec<RunRow>, Refused> {
        Ok(self.store.read(|database| database.runs()).await?)
    }

    /// The id of the latest run.
    ///
    /// # Errors
    /// [`Refused::NoRun`].
    pub async fn latest(&self) -> Result<RunId, Refused> {
        self.runs().await?.pop().map(|row| row.run).ok_or(Refused::NoRun)
    }

    /// The journal of a run from line `since` on (0 and 1: from the beginning), then the lines that come, until the watcher is dropped
    /// or the drive ends. `None` means the latest run.
    ///
    /// # Errors
    /// The run is unknown, or there is none.
    pub async fn watch(&self, run: Option<RunId>, since: u64) -> Result<Watching, Refused> {
        let run = match run {
            Some(run) => run,
            None => self.latest().await?,
        };
        Watching::begin(self, run, since).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| Refused::Stopped)?;
        answered.await.map_err(|_| Refused::Stopped)?
    }
}
