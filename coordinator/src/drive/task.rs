//! The task: waits, takes in everything that waits, makes it durable, acts, answers.

use super::clock::Clock;
use super::error::{DriveError, Refused};
use super::handle::{Ask, Handle, Known, News};
use super::load;
use crate::links;
use crate::store::{Store, kinds};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, RunId};
use replank_core::run::Operate;
use replank_core::runs::{Event, Progress, Runs};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

/// Requests that wait for the drive before those who bring more wait themselves.
const ASKS_MAX: usize = 256;
/// News that a watcher may be behind before it reads the store again.
const NEWS_MAX: usize = 1024;
/// What is taken in before it is made durable: one sync for all of it, and no answer is late.
const BATCH_MAX: usize = 512;
/// The wants of every host are looked at anew this often, whatever the machines say of who was touched.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The drive before it runs.
#[derive(Debug)]
pub struct Drive {
    store: Store,
    clock: Clock,
    runs: Runs,
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
        let rows = store.read(|database| database.runs()).await?;
        let mut runs = Runs::new(epoch, rows.last().map(|row| row.run.clone()));
        for row in rows.into_iter().filter(|row| !row.standing.finished) {
            let machine = load::replayed(&store, &row.run).await?;
            tracing::info!(run = %row.run, %epoch, "the run is taken over");
            runs.take_over(row.run.clone(), machine, clock.now_ms())
                .map_err(|source| DriveError::Journal { run: row.run, source })?;
        }
        let (sender, asks) = mpsc::channel(ASKS_MAX);
        let (news, _) = broadcast::channel(NEWS_MAX);
        let handle = Handle { asks: sender, news: news.downgrade(), store: store.clone(), clock, epoch };
        Ok(Self { store, clock, runs, handle, asks, news })
    }

    /// This coordinator's term of office.
    pub fn epoch(&self) -> Epoch {
        self.handle.epoch
    }

    /// Whether it has taken this run over.
    pub fn holds(&self, run: &RunId) -> bool {
        self.runs.machine(run).is_some()
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
        mut events: links::Events,
        stop: CancellationToken,
    ) -> Result<(), DriveError> {
        let Self { store, clock, runs, handle, mut asks, news } = self;
        let epoch = handle.epoch;
        // The drive's own handle would keep its requests' other end open.
        drop(handle);
        let mut task = Task { store, clock, epoch, runs, links, news, replies: Vec::new() };
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Before the first wait: the runs that were taken over are led.
            task.commit().await?;
            let wake = task.until_wake();
            let mut taken = 1;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(event) = events.next() => task.event(event),
                Some(ask) = asks.recv() => task.answer(ask),
                () = tokio::time::sleep(wake) => {}
                _ = sweep.tick() => task.sweep().await?,
            }
            while taken < BATCH_MAX {
                // In turns: neither hosts nor operators can keep the others waiting.
                let (event, ask) = (events.try_next(), asks.try_recv().ok());
                if event.is_none() && ask.is_none() {
                    break;
                }
                taken += 1;
                if let Some(event) = event {
                    task.event(event);
                }
                if let Some(ask) = ask {
                    task.answer(ask);
                }
            }
            task.runs.tick(clock.now_ms());
        }
    }
}

/// An answer that is given once what it tells of is durable.
type Reply = Box<dyn FnOnce(&Runs) + Send>;

struct Task {
    store: Store,
    clock: Clock,
    epoch: Epoch,
    runs: Runs,
    links: links::Handle,
    news: broadcast::Sender<News>,
    replies: Vec<Reply>,
}

impl Task {
    fn until_wake(&self) -> Duration {
        let now_ms = self.clock.now_ms();
        let wake_ms = self.runs.wake_at_ms().map_or(u64::MAX, |wake_ms| wake_ms.saturating_sub(now_ms));
        // The sweep comes in any case.
        Duration::from_millis(wake_ms).min(SWEEP_EVERY)
    }

    fn event(&mut self, event: Event) {
        let at_ms = self.clock.now_ms();
        let Some(Progress { run, host, step, permille, text }) = self.runs.event(event, at_ms) else {
            return;
        };
        let json = json!({ "host": host, "step": step, "permille": permille, "text": text });
        // Nobody may be watching.
        drop(self.news.send(News::Progress { run, at_ms, json: Arc::from(json.to_string()) }));
    }

    fn answer(&mut self, ask: Ask) {
        let now_ms = self.clock.now_ms();
        match ask {
            Ask::Apply { index, by, answer } => {
                let run = new_run(now_ms);
                let created = self.runs.create(run.clone(), index, &by, now_ms);
                let created = created.map(|()| run).map_err(Refused::from);
                self.reply(move |_| drop(answer.send(created)));
            }
            Ask::Operate { run, by, wish, answer } => {
                if self.runs.machine(&run).is_none() || self.needs_a_look(&run) {
                    self.reply(move |_| drop(answer.send(Ok(Known::Elsewhere))));
                    return;
                }
                let done = self.operate(&run, &by, wish, now_ms);
                self.reply(move |_| drop(answer.send(done)));
            }
            Ask::Adopt { machine, run, by, wish, latest, answer } => {
                if self.runs.latest() != Some(&latest) {
                    self.reply(move |_| drop(answer.send(Ok(Known::Elsewhere))));
                    return;
                }
                let adopted = self.runs.adopt(run.clone(), *machine, now_ms);
                let done = match adopted {
                    Ok(()) => self.operate(&run, &by, wish, now_ms),
                    Err(source) => Err(Refused::Damaged(DriveError::Journal { run, source })),
                };
                self.reply(move |_| drop(answer.send(done)));
            }
            Ask::View { run, answer } => self.reply(move |runs| {
                let view = runs.machine(&run).map(|machine| machine.view(now_ms));
                drop(answer.send(Ok(view.map_or(Known::Elsewhere, Known::Here))));
            }),
            Ask::Report { run, answer } => self.reply(move |runs| {
                let report = runs.machine(&run).map(|machine| machine.state().report());
                drop(answer.send(Ok(report.map_or(Known::Elsewhere, Known::Here))));
            }),
            Ask::Active { answer } => {
                self.reply(move |runs| drop(answer.send(Ok(runs.views(now_ms)))));
            }
        }
    }

    fn operate(
        &mut self,
        run: &RunId,
        by: &str,
        wish: Operate,
        now_ms: UnixMs,
    ) -> Result<Known<()>, Refused> {
        Ok(Known::Here(self.runs.operate(run, by, wish, now_ms)?))
    }

    /// A finished run that is not the latest: whether later ones changed the same hosts is found out before it is taken up again.
    fn needs_a_look(&self, run: &RunId) -> bool {
        self.runs.is_finished(run) && self.runs.latest() != Some(run)
    }

    fn reply(&mut self, reply: impl FnOnce(&Runs) + Send + 'static) {
        self.replies.push(Box::new(reply));
    }

    /// The store is asked whose it is, too: a coordinator that has nothing to append would keep its agents from a later one for ever.
    async fn sweep(&mut self) -> Result<(), DriveError> {
        let epoch = self.epoch;
        self.store.write(move |database| database.is_led_by(epoch)).await?;
        self.runs.sweep();
        Ok(())
    }

    /// Durable first; then everything that rests on it.
    async fn commit(&mut self) -> Result<(), DriveError> {
        let appends = self.runs.appends();
        let kinds = cfg!(feature = "crash-points").then(|| kinds(&appends));
        if !appends.is_empty() {
            let ends: Vec<(RunId, Option<u64>)> = appends
                .iter()
                .map(|append| (append.run.clone(), append.records.last().map(|record| record.seq)))
                .collect();
            let epoch = self.epoch;
            self.store.write(move |database| database.append(epoch, &appends)).await?;
            for (run, seq) in ends {
                if let Some(seq) = seq {
                    drop(self.news.send(News::Durable { run, seq }));
                }
            }
        }
        self.runs.durable(&self.links);
        for reply in std::mem::take(&mut self.replies) {
            reply(&self.runs);
        }
        // An instant at which the crash tests kill the coordinator, named as those of the journal.
        if let Some(kinds) = kinds.filter(|kinds| !kinds.is_empty()) {
            replank_crash::reach(&format!("drive.sent {kinds}"));
        }
        Ok(())
    }
}

/// Runs sort by the time they were made.
fn new_run(now_ms: u64) -> RunId {
    let nanos = u32::try_from(now_ms % 1_000).unwrap_or(0) * 1_000_000;
    let time = uuid::Timestamp::from_unix(uuid::NoContext, now_ms / 1_000, nanos);
    let id = uuid::Uuid::new_v7(time).simple().to_string();
    RunId::new(format!("run-{id}")).expect("a UUID in 32 digits makes a run id")
}
