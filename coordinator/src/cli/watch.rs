//! Following a run by its watch stream, from the first line not shown, over broken connections.
//!
//! Lines are shown in the order of the journal, each once. Where the run stands is never folded here: whenever the stream is quiet after a
//! line, the coordinator is asked, so a halt that was resumed long ago does not end a watching that begins before it.

use super::connect::{Asks, Coordinator, is_broken};
use super::event_text;
use super::failure::Failure;
use super::output::Output;
use super::progress::Bars;
use super::runs;
use replank_common::ids::RunId;
use replank_core::run::{Phase, RunView};
use replank_proto::v1::{WatchRequest, WatchResponse};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Streaming};

/// So long after a line, everything that was written with it has come.
const QUIET: Duration = Duration::from_millis(200);
/// How often the bars are brought up to date when nothing happens.
const REFRESH: Duration = Duration::from_secs(2);
/// Between two attempts to connect again.
const PAUSE: Duration = Duration::from_secs(1);
/// A coordinator that is away for longer is no restart.
const AWAY_MAX: Duration = Duration::from_secs(300);

/// What is wanted of a watching.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The first line to show; they count from 1.
    pub since: u64,
    /// End when the run waits for an operator.
    pub until_hold: bool,
    /// An end other than completed is a failure.
    pub completed: bool,
}

/// Shows a run, the latest one for `None`, until it ends, is halted, or, if that is wanted, waits for an operator.
///
/// # Errors
/// [`Failure::Halted`], [`Failure::Waits`], [`Failure::NotCompleted`] for how it stands; otherwise as the coordinator refuses, or when it
/// was away for too long.
pub async fn follow(
    out: Output,
    coordinator: &Coordinator,
    run: Option<&RunId>,
    wanted: Wanted,
) -> Result<(), Failure> {
    let view = runs::view(coordinator, run).await?;
    let bars = (out.terminal && !out.json).then(|| Bars::new(view.run.as_str()));
    let mut watch = Watch {
        out,
        run: view.run,
        wanted,
        next: wanted.since,
        bars,
        connected: false,
        said: BTreeMap::new(),
        told: None,
    };
    let mut away_since = Instant::now();
    loop {
        watch.connected = false;
        let failure = match watch.once(coordinator).await {
            Ok(()) => return Ok(()),
            Err(failure) if is_broken(&failure) => failure,
            Err(failure) => return Err(failure),
        };
        if watch.connected {
            watch.note(&format!("the connection broke; going on with line {} when it is back", watch.next));
            away_since = Instant::now();
        }
        if away_since.elapsed() > AWAY_MAX {
            return Err(failure);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Watch {
    out: Output,
    run: RunId,
    wanted: Wanted,
    /// The first line not shown yet.
    next: u64,
    bars: Option<Bars>,
    /// The present attempt to connect came through.
    connected: bool,
    /// The last progress shown of each step, without a terminal.
    said: BTreeMap<String, String>,
    /// The last phase of which it was said what it waits for.
    told: Option<Phase>,
}

impl Watch {
    /// One connection's worth. `Ok`: the run has ended.
    async fn once(&mut self, coordinator: &Coordinator) -> Result<(), Failure> {
        let request = WatchRequest { run_id: self.run.to_string(), since_index: self.next };
        // Without a limit of time: runs take hours.
        let answer = coordinator.client().watch(Request::new(request)).await;
        let mut stream = answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner();
        self.connected = true;
        let mut look_at = Instant::now() + QUIET;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(look_at) => {
                    let stands = self.look(coordinator).await;
                    let ends = match &stands {
                        Ok(ended) => *ended,
                        Err(failure) => !is_broken(failure),
                    };
                    if ends {
                        self.rest(coordinator, &mut stream).await?;
                        self.bars = None;
                        return stands.map(drop);
                    }
                    stands?;
                    look_at = Instant::now() + REFRESH;
                }
                message = next(coordinator, &mut stream) => {
                    if self.show(&message?)? {
                        look_at = Instant::now() + QUIET;
                    }
                }
            }
        }
    }

    /// Prints the lines that are on their way: where the run stands may be known before the line that says so has come.
    async fn rest(
        &mut self,
        coordinator: &Coordinator,
        stream: &mut Streaming<WatchResponse>,
    ) -> Result<(), Failure> {
        let mut until = Instant::now() + QUIET;
        while let Ok(message) = tokio::time::timeout_at(until, next(coordinator, stream)).await {
            if self.show(&message?)? {
                until = Instant::now() + QUIET;
            }
        }
        Ok(())
    }

    /// Prints one message; whether it was a line of the journal.
    fn show(&mut self, message: &WatchResponse) -> Result<bool, Failure> {
        let value: Value = serde_json::from_slice(&message.event_json)
            .map_err(|error| Failure::Answer { what: "`watch`", why: error.to_string() })?;
        if message.index == 0 {
            self.progress(message.at_ms, &value)?;
            return Ok(false);
        }
        // A line that was shown before the connection broke.
        if message.index < self.next {
            return Ok(false);
        }
        self.next = message.index + 1;
        if self.out.json {
            self.out.json_line(&json!({ "index": message.index, "at_ms": message.at_ms, "event": value }))?;
        } else {
            self.line(&event_text::line(message.index, message.at_ms, &value))?;
        }
        Ok(true)
    }

    fn progress(&mut self, at_ms: u64, value: &Value) -> Result<(), Failure> {
        if self.out.json {
            return self.out.json_line(&json!({ "index": 0, "at_ms": at_ms, "progress": value }));
        }
        if let Some(bars) = &self.bars {
            bars.said(value);
            return Ok(());
        }
        let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        // A step that says the same again, if for its share, has nothing new for a log.
        let said = self.said.entry(format!("{} {}", word("host"), word("step"))).or_default();
        if *said == word("text") {
            return Ok(());
        }
        word("text").clone_into(said);
        event_text::progress(at_ms, value).map_or(Ok(()), |line| self.line(&line))
    }

    /// Asks where the run is. `Ok(true)`: it has ended.
    async fn look(&mut self, coordinator: &Coordinator) -> Result<bool, Failure> {
        let view = runs::view(coordinator, Some(&self.run)).await?;
        if let Some(bars) = &mut self.bars {
            bars.show(&view);
        }
        let run = view.run.to_string();
        match view.phase {
            Phase::Halted => {
                self.tell(&view);
                Err(Failure::Halted { run })
            }
            Phase::AtHold | Phase::Held | Phase::Paused => {
                self.tell(&view);
                if !self.wanted.until_hold {
                    return Ok(false);
                }
                Err(Failure::Waits { run })
            }
            Phase::Aborted | Phase::RolledBack if self.wanted.completed => {
                Err(Failure::NotCompleted { run, how: view.phase.to_string() })
            }
            Phase::Completed | Phase::Aborted | Phase::RolledBack => {
                self.note(&format!("{run} {}; see what was done: replank report {run}", view.phase));
                Ok(true)
            }
            Phase::Counting
            | Phase::Running
            | Phase::AskingWayBack
            | Phase::RollingBack
            | Phase::Aborting
            | Phase::Closing => {
                self.told = None;
                Ok(false)
            }
        }
    }

    /// Says once what the run waits for.
    fn tell(&mut self, view: &RunView) {
        if self.told.replace(view.phase) != Some(view.phase) && !self.out.json {
            self.note(view.why().trim_end());
        }
    }

    fn line(&self, text: &str) -> Result<(), Failure> {
        let print = || self.out.data(&format!("{text}\n"));
        self.bars.as_ref().map_or_else(print, |bars| bars.above(print))
    }

    fn note(&self, text: &str) {
        let print = || self.out.note(text);
        self.bars.as_ref().map_or_else(print, |bars| bars.above(print));
    }
}

/// The next message. A stream that ends is a connection that ended: runs do not end streams.
async fn next(
    coordinator: &Coordinator,
    stream: &mut Streaming<WatchResponse>,
) -> Result<WatchResponse, Failure> {
    match stream.message().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Failure::OutcomeUnknown {
            why: "the coordinator ended the watching".to_owned(),
            remedy: "try again",
        }),
        Err(status) => Err(coordinator.failure(Asks::Reads, &status)),
    }
}
