//! One link, from its hello to its end. What comes is checked against limits and against who the host is, and goes to the drive; what goes out
//! waits in a queue of bounded length.

use super::peer::{not_allowed, refusal};
use super::registry::{Admitted, Cut, Registry};
use crate::codes;
use replank_common::census::Census;
use replank_common::ids::{ActionId, BootId, Epoch, HostName};
use replank_common::leader::Leader;
use replank_common::outcome::Outcome;
use replank_common::planted::{self, Planted};
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use replank_core::run::Hello;
use replank_core::runs::{Event, LinkNumber, What};
use replank_identity::PeerIdentity;
use replank_proto::v1::link_request::Message;
use replank_proto::v1::{self, LinkRequest, LinkResponse, link_response};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status, Streaming};

/// For the first message.
const HELLO_TIME_MAX: Duration = Duration::from_secs(10);
/// Actions that an agent may remember as unfinished.
const UNFINISHED_MAX: usize = 10_000;
/// Guests, ends and disagreements of one census together.
const CENSUS_ITEMS_MAX: usize = 100_000;
/// Of what an agent says of a step at work.
const PROGRESS_CHARS_MAX: usize = 500;
/// Messages of no consequence that are not understood, before the link is cut.
const MISUNDERSTOOD_MAX: u32 = 100;

/// Why a link ends from this side: the agent broke the protocol.
struct Broken(String);

/// The coordinator's end of one link.
#[derive(Debug)]
pub(super) struct Session {
    registry: Arc<Registry>,
    host: HostName,
    number: LinkNumber,
    cut: Cut,
    hello: Hello,
    misunderstood: u32,
}

impl Session {
    /// Hears the hello and makes the link its host's own.
    ///
    /// # Errors
    /// No hello in time, one that cannot be understood, or one of another host.
    pub(super) async fn begin(
        stream: &mut Streaming<LinkRequest>,
        peer: &PeerIdentity,
        registry: &Arc<Registry>,
    ) -> Result<(Self, Outgoing), Status> {
        let first = tokio::time::timeout(HELLO_TIME_MAX, stream.message()).await;
        let first = first.map_err(|_| protocol("no hello came in time"))??;
        let Some(LinkRequest { message: Some(Message::Hello(hello)) }) = first else {
            return Err(protocol("the first message was no hello"));
        };
        let named = HostName::new(hello.host.clone()).map_err(|error| protocol(&error.to_string()))?;
        peer.speaks_for(&named).map_err(|refused| not_allowed(&refused))?;
        let facts = read_hello(&hello).map_err(|Broken(why)| protocol(&why))?;
        // What is no UUID names none of ours.
        let coordinator = hello.coordinator_seen.parse().ok();
        let met = Leader { epoch: facts.epoch_seen, coordinator };
        if !registry.may_lead(met) && !planted::is(Planted::LaterEpochAdmitted) {
            return Err(registry.later_epoch(&named, facts.epoch_seen).await);
        }
        let Admitted { number, queue, cut } = registry.admit(&named, peer, &hello)?;
        let outgoing = Outgoing::new(queue, cut.clone());
        let registry = Arc::clone(registry);
        Ok((Self { registry, host: named, number, cut, hello: facts, misunderstood: 0 }, outgoing))
    }

    /// Listens to the end of the link, and tells the drive of both its ends.
    pub(super) async fn run(mut self, mut stream: Streaming<LinkRequest>) {
        tracing::info!(host = %self.host, boot_id = %self.hello.boot_id, "the host is linked");
        let beats = tokio::spawn(beat(Arc::clone(&self.registry), self.host.clone(), self.number));
        let cut = self.cut.clone();
        let up = What::Up(self.hello.clone());
        let why = tokio::select! {
            () = cut.token.cancelled() => cut.why().message().to_owned(),
            why = self.listen(up, &mut stream) => why,
        };
        beats.abort();
        self.registry.leave(&self.host, self.number);
        tracing::warn!(host = %self.host, %why, "the host's link is down");
        // The agent's ears: the stream to it ends with the reason.
        self.cut.cut(Status::unavailable(why));
        // Fails only when the drive has ended.
        let _ = self.tell(What::Down).await;
    }

    /// Returns why the link is over.
    async fn listen(&mut self, up: What, stream: &mut Streaming<LinkRequest>) -> String {
        const STOPPED: &str = "the coordinator is stopping";
        if self.tell(up).await.is_err() {
            return STOPPED.to_owned();
        }
        let silence = Duration::from_millis(u64::from(self.registry.heartbeat.silence_ms));
        loop {
            let next = match tokio::time::timeout(silence, stream.message()).await {
                Ok(Ok(Some(next))) => next,
                Ok(Ok(None)) => return "the agent closed it".to_owned(),
                Ok(Err(status)) => return format!("it broke: {}", status.message()),
                Err(_) => {
                    let text = format!("it was silent for {} ms", silence.as_millis());
                    self.cut.cut(refusal(Code::Aborted, codes::LINK_SILENT, "link-silent", &text));
                    return format!("{}: {text}", codes::LINK_SILENT);
                }
            };
            self.registry.heard(&self.host, self.number);
            let what = match self.read(next) {
                Ok(Some(what)) => what,
                Ok(None) => continue,
                Err(Broken(why)) => {
                    self.cut.cut(protocol(&why));
                    return format!("{}: {why}", codes::LINK_PROTOCOL);
                }
            };
            if self.tell(what).await.is_err() {
                return STOPPED.to_owned();
            }
        }
    }

    async fn tell(&self, what: What) -> Result<(), mpsc::error::SendError<Event>> {
        self.registry.events.send(Event { host: self.host.clone(), link: self.number, what }).await
    }

    /// What a message says to the drive, if anything.
    fn read(&mut self, request: LinkRequest) -> Result<Option<What>, Broken> {
        let Some(message) = request.message else {
            return self.pass_over("it is of a kind unknown here; the agent may be newer").map(|()| None);
        };
        match message {
            Message::Heartbeat(_) => Ok(None),
            Message::Hello(_) => Err(Broken("a second hello came".to_owned())),
            Message::Census(census) => {
                let census = self.census(census)?;
                self.registry.counted(&self.host, self.number, &census);
                Ok(Some(What::Census(Box::new(census))))
            }
            Message::Accepted(v1::Accepted { action_id }) => match action_id.parse() {
                Ok(action) => Ok(Some(What::Accepted { action })),
                Err(error) => self.pass_over(&format!("{error}")).map(|()| None),
            },
            Message::Progress(v1::Progress { action_id, permille, text }) => match action_id.parse() {
                Ok(action) => {
                    let text = text.chars().take(PROGRESS_CHARS_MAX).collect();
                    Ok(Some(What::Progress {
                        action,
                        permille: permille.map(|share| share.min(1_000)),
                        text,
                    }))
                }
                Err(error) => self.pass_over(&format!("{error}")).map(|()| None),
            },
            // An outcome that is passed over would be waited for without end and without a reason.
            Message::Outcome(v1::ActionOutcome { action_id, outcome }) => {
                let action: ActionId = action_id.parse().map_err(|error| Broken(format!("{error}")))?;
                let outcome = outcome.ok_or_else(|| Broken(format!("the outcome of {action} is empty")))?;
                let outcome = Outcome::try_from(outcome)
                    .map_err(|error| Broken(format!("the outcome of {action}: {error}")))?;
                Ok(Some(What::Outcome { action, outcome }))
            }
            Message::Reading(reading) => self.reading(reading),
        }
    }

    /// A census that cannot be read is no census, and a host without one cannot be watched: the link is not worth having.
    fn census(&self, census: v1::Census) -> Result<Census, Broken> {
        let items = census.guests.len() + census.ended.len() + census.disagreements.len();
        if items > CENSUS_ITEMS_MAX {
            return Err(Broken(format!("a census has {items} entries, more than {CENSUS_ITEMS_MAX}")));
        }
        let census = Census::try_from(census).map_err(|error| Broken(format!("a census: {error}")))?;
        if census.host != self.host {
            return Err(Broken(format!("a census is of host {}", census.host)));
        }
        Ok(census)
    }

    fn reading(&mut self, message: v1::Reading) -> Result<Option<What>, Broken> {
        let (ask, taken_at_ms) = (message.ask_id, message.taken_at_ms);
        let asked = message.measurement.clone().and_then(|asked| ReadingRequest::try_from(asked).ok());
        if let Some(v1::reading::Value::Census(census)) = &message.value {
            // The same limits as one that comes by itself.
            let census = self.census(census.clone())?;
            self.registry.counted(&self.host, self.number, &census);
        }
        let reading = match Reading::try_from(message) {
            Ok(reading) if reading.host == self.host => reading,
            Ok(reading) => return Err(Broken(format!("a reading is of host {}", reading.host))),
            // Who asked waits for an answer, and this is one.
            Err(error) => {
                self.pass_over(&format!("a reading: {error}"))?;
                Reading {
                    host: self.host.clone(),
                    request: asked.unwrap_or(ReadingRequest::Census),
                    taken_at_ms,
                    value: ReadingValue::CannotTell { why: format!("the answer is not understood: {error}") },
                }
            }
        };
        let reading = self.registry.answer(&self.host, self.number, ask, reading);
        Ok(reading.map(|reading| What::Reading { ask, reading: Box::new(reading) }))
    }

    fn pass_over(&mut self, why: &str) -> Result<(), Broken> {
        tracing::warn!(host = %self.host, code = codes::LINK_PROTOCOL, %why, "a message was passed over");
        self.misunderstood += 1;
        if self.misunderstood > MISUNDERSTOOD_MAX {
            return Err(Broken(format!("{MISUNDERSTOOD_MAX} messages were not understood, the last: {why}")));
        }
        Ok(())
    }
}

fn read_hello(hello: &v1::Hello) -> Result<Hello, Broken> {
    let unfinished = &hello.unfinished_action_ids;
    if unfinished.len() > UNFINISHED_MAX {
        let count = unfinished.len();
        return Err(Broken(format!(
            "the hello names {count} unfinished actions, more than {UNFINISHED_MAX}"
        )));
    }
    let boot_id: uuid::Uuid =
        hello.boot_id.parse().map_err(|error| Broken(format!("the boot id of the hello: {error}")))?;
    Ok(Hello {
        boot_id: BootId(boot_id),
        agent_start_ms: hello.agent_start_ms,
        epoch_seen: Epoch(hello.epoch_seen),
        observe_only: hello.observe_only,
        // One of a form that is not known here is none of this coordinator's.
        unfinished: unfinished.iter().filter_map(|id| id.parse().ok()).collect(),
    })
}

fn protocol(why: &str) -> Status {
    let text = format!("{why}; install agent and coordinator of one version");
    refusal(Code::InvalidArgument, codes::LINK_PROTOCOL, "link-protocol", &text)
}

/// Says that the coordinator lives, for as long as it is not aborted.
async fn beat(registry: Arc<Registry>, host: HostName, number: LinkNumber) {
    let interval = Duration::from_millis(u64::from(registry.heartbeat.interval_ms));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for sequence in 1.. {
        ticks.tick().await;
        let beat = v1::Heartbeat { sequence, sent_at_ms: registry.clock.now_ms() };
        registry.send(&host, number, link_response::Message::Heartbeat(beat));
    }
}

/// What goes out to the agent: the queue, and at the end the reason.
#[derive(Debug)]
pub(super) struct Outgoing {
    queue: mpsc::Receiver<LinkResponse>,
    cut: Cut,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl Outgoing {
    fn new(queue: mpsc::Receiver<LinkResponse>, cut: Cut) -> Self {
        let cancelled = Box::pin(cut.token.clone().cancelled_owned());
        Self { queue, cut, cancelled, over: false }
    }
}

impl Stream for Outgoing {
    type Item = Result<LinkResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.cancelled.as_mut().poll(cx).is_ready() {
            self.over = true;
            return Poll::Ready(Some(Err(self.cut.why())));
        }
        match self.queue.poll_recv(cx) {
            Poll::Ready(Some(response)) => Poll::Ready(Some(Ok(response))),
            // The registry holds the queue's other end until the link leaves it, and then the cut follows.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Outgoing {
    /// The agent is gone, or does not want to hear more.
    fn drop(&mut self) {
        self.cut.cut(Status::cancelled("the agent closed it"));
    }
}
