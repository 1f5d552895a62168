//! What everybody else sees of the drive. What is heavy (reading a plan, replaying a finished run) is done by whoever asks, never by the drive.

use super::clock::Clock;
use super::error::{Refused, names};
use super::load;
use super::watch::Watching;
use crate::store::{Line, RunRow, Store};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, PlanId, RunId};
use replank_core::run::{Index, Machine, Operate, OperatorRefusal, Report, RunView};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// A run that changed while it was looked at is looked at again, this often at most.
const TRIES_MAX: usize = 3;

/// Asks the drive. Cheap to clone; every call ends, also when the drive has.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) asks: mpsc::Sender<Ask>,
    /// Weak: the watchers' news end with the drive.
    pub(super) news: broadcast::WeakSender<News>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) epoch: Epoch,
}

/// One call's place in the drive's order.
#[derive(Debug)]
pub(super) enum Ask {
    Apply {
        index: Arc<Index>,
        by: String,
        answer: Answer<RunId>,
    },
    Operate {
        run: RunId,
        by: String,
        wish: Operate,
        answer: Answer<Known<()>>,
    },
    /// Take a finished run up again, to roll it back.
    Adopt {
        machine: Box<Machine>,
        run: RunId,
        by: String,
        wish: Operate,
        /// The latest run when its successors were looked at.
        latest: RunId,
        answer: Answer<Known<()>>,
    },
    View {
        run: RunId,
        answer: Answer<Known<Option<RunView>>>,
    },
    Report {
        run: RunId,
        answer: Answer<Known<Option<Report>>>,
    },
    Active {
        answer: Answer<Vec<RunView>>,
    },
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// Whether the drive has the run in its hands.
#[derive(Debug)]
pub(super) enum Known<T> {
    Here(T),
    /// Finished in an earlier life of the coordinator, or unknown.
    Elsewhere,
}

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
        let plan = load::checked(bytes).await?;
        let (id, now_ms) = (plan.id().clone(), self.clock.now_ms());
        self.store.write(move |database| database.put_plan(&plan, now_ms)).await?;
        Ok(id)
    }

    /// The bytes of a plan file.
    ///
    /// # Errors
    /// `StoreError::UnknownPlan`.
    pub async fn plan(&self, id: PlanId) -> Result<Vec<u8>, Refused> {
        Ok(self.store.read(move |database| database.plan(&id)?.bytes()).await?)
    }

    /// Begins a run of a stored plan, for an operator by the name in the certificate.
    ///
    /// # Errors
    /// [`Refused::Busy`] and [`Refused::NotEnrolled`] among others; no run was begun then.
    pub async fn apply(&self, plan: PlanId, by: &str) -> Result<RunId, Refused> {
        let index = load::index(self.plan(plan).await?).await?;
        self.are_enrolled(&index).await?;
        let by = by.to_owned();
        self.ask(|answer| Ask::Apply { index, by, answer }).await
    }

    async fn are_enrolled(&self, index: &Index) -> Result<(), Refused> {
        let (certificates, revoked) =
            self.store.read(|database| Ok((database.hosts()?, database.revoked()?))).await?;
        let hosts = || index.plan().hosts.iter().map(|host| &host.name);
        let strangers =
            hosts().filter(|host| certificates.binary_search_by(|known| known.host.cmp(host)).is_err());
        for (hosts, why) in [
            (names(strangers), "have never been enrolled"),
            (names(hosts().filter(|host| revoked.hosts.contains(host))), "were revoked"),
        ] {
            if !hosts.is_empty() {
                return Err(Refused::NotEnrolled { hosts, why });
            }
        }
        Ok(())
    }

    /// An operator's wish; `None` means the latest run. The run that was meant.
    ///
    /// # Errors
    /// [`Refused::Operator`] with the core's reason, [`Refused::Busy`] and [`Refused::LaterRun`] for the rollback of a finished run.
    pub async fn operate(&self, run: Option<RunId>, by: &str, wish: Operate) -> Result<RunId, Refused> {
        let run = self.meant(run).await?;
        let ask = |answer| Ask::Operate { run: run.clone(), by: by.to_owned(), wish: wish.clone(), answer };
        if let Known::Here(()) = self.ask(ask).await? {
            return Ok(run);
        }
        for _ in 0..TRIES_MAX {
            let latest = self.latest().await?;
            let machine = Box::new(load::machine(&self.store, &run).await?);
            match wish {
                Operate::Rollback { .. } => {}
                Operate::Approve { .. }
                | Operate::Pause
                | Operate::Resume { .. }
                | Operate::Retry { .. }
                | Operate::Abort => return Err(OperatorRefusal::Finished.into()),
            }
            load::unchanged_since(&self.store, &run, &machine).await?;
            let (run, by, wish) = (run.clone(), by.to_owned(), wish.clone());
            let ask = |answer| Ask::Adopt { machine, run: run.clone(), by, wish, latest, answer };
            if let Known::Here(()) = self.ask(ask).await? {
                return Ok(run);
            }
        }
        Err(Refused::Stopped)
    }

    /// Where a run is now; `None` means the latest run.
    ///
    /// # Errors
    /// The run is unknown, or there is none.
    pub async fn view(&self, run: Option<RunId>) -> Result<RunView, Refused> {
        let run = self.meant(run).await?;
        let view = match self.ask(|answer| Ask::View { run: run.clone(), answer }).await? {
            Known::Here(view) => view,
            Known::Elsewhere => load::machine(&self.store, &run).await?.view(self.clock.now_ms()),
        };
        Ok(view.expect("every journal begins with the run's creation"))
    }

    /// What was done; `None` means the latest run.
    ///
    /// # Errors
    /// The run is unknown, or there is none.
    pub async fn report(&self, run: Option<RunId>) -> Result<Report, Refused> {
        let run = self.meant(run).await?;
        let report = match self.ask(|answer| Ask::Report { run: run.clone(), answer }).await? {
            Known::Here(report) => report,
            Known::Elsewhere => load::machine(&self.store, &run).await?.state().report(),
        };
        Ok(report.expect("every journal begins with the run's creation"))
    }

    /// Where every run is that is not finished: for metrics.
    ///
    /// # Errors
    /// The drive has ended.
    pub async fn active(&self) -> Result<Vec<RunView>, Refused> {
        self.ask(|answer| Ask::Active { answer }).await
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
        let run = self.meant(run).await?;
        Watching::begin(self, run, since).await
    }

    async fn meant(&self, run: Option<RunId>) -> Result<RunId, Refused> {
        match run {
            Some(run) => Ok(run),
            None => self.latest().await,
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| Refused::Stopped)?;
        answered.await.map_err(|_| Refused::Stopped)?
    }
}
