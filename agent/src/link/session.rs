//! One link, from its hello to its end.

use super::census;
use super::commands::{self, Command};
use super::desk::{Desk, Heard};
use super::dial::Client;
use super::failure::LinkError;
use super::ports::{Order, Ports, Told};
use super::pulse::Pulse;
use super::task::Settings;
use crate::clock::now_ms;
use crate::codes;
use replank_common::ids::{CoordinatorId, Epoch, HostName};
use replank_common::outcome::{Outcome, Refusal};
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use replank_proto::v1::link_request::Message;
use replank_proto::v1::{self, LinkRequest};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, UnboundedReceiver, error::SendTimeoutError};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// For the answer to the hello.
const WELCOME_TIME_MAX: Duration = Duration::from_secs(10);
/// For writing down which epoch is obeyed, on a disk that is slow.
const OBEY_TIME_MAX: Duration = Duration::from_secs(60);
/// For the last messages when the agent stops.
pub(crate) const FAREWELL_TIME_MAX: Duration = Duration::from_millis(500);
/// Bounds on what a coordinator may set.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);
/// Messages that wait for the network. Progress is dropped beyond it; nothing else is.
const OUTGOING_MAX: usize = 256;
/// Questions answered at the same time; a coordinator asks a few for each gate.
const QUESTIONS_MAX: usize = 16;
/// For a question that names no deadline.
const QUESTION_TIME: Duration = Duration::from_secs(60);

/// What stays the same over all links of an agent.
#[derive(Debug)]
pub(crate) struct Context {
    pub settings: Settings,
    pub ports: Ports,
    pub desk: Desk,
    pub pulse: Arc<Pulse>,
}

/// Where messages to the coordinator go.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    sender: mpsc::Sender<LinkRequest>,
    patience: Duration,
}

/// The coordinator does not take what we send, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stuck;

impl Outgoing {
    pub(crate) async fn send(&self, message: Message) -> Result<(), Stuck> {
        let request = LinkRequest { message: Some(message) };
        match self.sender.send_timeout(request, self.patience).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Closed(_)) => Err(Stuck),
        }
    }

    /// Sends what may be lost.
    fn try_send(&self, message: Message) {
        // Full: the next progress says more.
        let _ = self.sender.try_send(LinkRequest { message: Some(message) });
    }
}

/// Runs one link to its end, which is `Ok` only when the agent stops. `on_welcome` is called once the coordinator is obeyed.
pub(crate) async fn run(
    mut client: Client,
    context: &Context,
    on_welcome: impl FnOnce(Epoch),
    stop: &CancellationToken,
) -> Result<(), LinkError> {
    let (sender, receiver) = mpsc::channel(OUTGOING_MAX);
    let mut out = Outgoing { sender, patience: WELCOME_TIME_MAX };
    context.pulse.within(WELCOME_TIME_MAX * 2);
    // Before the call: the coordinator may answer it only once it has heard who calls.
    out.send(Message::Hello(hello(context))).await.map_err(|Stuck| gone(context, "it takes no messages"))?;
    let opened = tokio::time::timeout(WELCOME_TIME_MAX, async {
        let response = client.link(ReceiverStream::new(receiver)).await;
        let mut stream =
            response.map_err(|status| LinkError::status(&context.settings.address, &status))?.into_inner();
        let first =
            stream.message().await.map_err(|status| LinkError::status(&context.settings.address, &status))?;
        Ok::<_, LinkError>((stream, first.map(commands::read)))
    });
    let (mut stream, first) =
        opened.await.map_err(|_| gone(context, "it did not welcome the agent in time"))??;
    let Some(Command::Welcome(welcome)) = first else {
        return Err(gone(context, "its first message was no welcome"));
    };
    let epoch = Epoch(welcome.epoch);
    let coordinator = match welcome.coordinator.as_str() {
        "" => None,
        named => match named.parse() {
            Ok(id) => Some(id),
            Err(error) => return Err(gone(context, &format!("its welcome names no coordinator: {error}"))),
        },
    };
    context.pulse.within(OBEY_TIME_MAX);
    obey(context, epoch, coordinator).await?;
    on_welcome(epoch);
    let heartbeat = milliseconds(welcome.heartbeat_interval_ms).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
    let silence = milliseconds(welcome.silence_limit_ms).max(heartbeat * 2);
    out.patience = silence;
    let (listener, heard) = mpsc::unbounded_channel();
    context.desk.listen(listener);
    let mut session =
        Session { context, out, helpers: JoinSet::new(), questions: Arc::new(Semaphore::new(QUESTIONS_MAX)) };
    session.helpers.spawn(census::report(Arc::clone(&context.ports.guests), session.out.clone()));
    let ended = session.talk(&mut stream, heard, heartbeat, silence, stop).await;
    context.desk.forget_waiting();
    if ended.is_ok() {
        // What was said goes out with the end of our half; the coordinator then ends its own.
        drop(session);
        let farewell = async { while let Ok(Some(_)) = stream.message().await {} };
        // Who does not answer a farewell is left without one.
        let _ = tokio::time::timeout(FAREWELL_TIME_MAX, farewell).await;
    }
    ended
}

fn hello(context: &Context) -> v1::Hello {
    let performer = &context.ports.performer;
    v1::Hello {
        host: context.settings.host.to_string(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: context.settings.boot_id.to_string(),
        epoch_seen: performer.epoch_seen().0,
        coordinator_seen: performer.coordinator_seen().map(|id| id.to_string()).unwrap_or_default(),
        unfinished_action_ids: performer.unfinished().iter().map(ToString::to_string).collect(),
        observe_only: performer.observes_only(),
        agent_start_ms: context.settings.agent_start_ms,
    }
}

/// Obeys the welcome, durably, or says why not.
async fn obey(context: &Context, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Result<(), LinkError> {
    let performer = Arc::clone(&context.ports.performer);
    let answer = tokio::task::spawn_blocking(move || performer.obey(epoch, coordinator)).await;
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) => {
            let code = if refusal.code == codes::OLD_EPOCH { codes::OLD_EPOCH } else { codes::LEDGER };
            Err(LinkError::new(code, format!("{}; {}", refusal.reason, refusal.remedy)))
        }
        Err(_) => Err(gone(context, "the agent is ending")),
    }
}

fn gone(context: &Context, why: &str) -> LinkError {
    LinkError::new(
        codes::UNREACHABLE,
        format!("the link to the coordinator at {} ended: {why}", context.settings.address),
    )
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(u64::from(count))
}

struct Session<'a> {
    context: &'a Context,
    out: Outgoing,
    /// Ended with the session.
    helpers: JoinSet<()>,
    questions: Arc<Semaphore>,
}

impl Session<'_> {
    async fn talk(
        &mut self,
        stream: &mut Streaming<v1::LinkResponse>,
        mut heard: UnboundedReceiver<Heard>,
        heartbeat: Duration,
        silence: Duration,
        stop: &CancellationToken,
    ) -> Result<(), LinkError> {
        let stuck = |Stuck| gone(self.context, "it takes no messages");
        let mut beat = tokio::time::interval(heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sequence = 0;
        let mut last_heard = Instant::now();
        loop {
            // A beat wakes this loop, and each message that goes out then may wait for the network.
            self.context.pulse.within(heartbeat + silence);
            let quiet_until = tokio::time::Instant::from_std(last_heard + silence);
            tokio::select! {
                () = stop.cancelled() => {
                    while let Ok(heard) = heard.try_recv() {
                        self.pass_on(heard).await.map_err(stuck)?;
                    }
                    return Ok(());
                }
                message = stream.message() => {
                    last_heard = Instant::now();
                    match message {
                        Ok(Some(message)) => self.command(commands::read(message)).await.map_err(stuck)?,
                        Ok(None) => return Err(gone(self.context, "the coordinator closed it")),
                        Err(status) => return Err(LinkError::status(&self.context.settings.address, &status)),
                    }
                }
                Some(heard) = heard.recv() => self.pass_on(heard).await.map_err(stuck)?,
                _ = beat.tick() => {
                    sequence += 1;
                    let beat = v1::Heartbeat { sequence, sent_at_ms: now_ms() };
                    self.out.send(Message::Heartbeat(beat)).await.map_err(stuck)?;
                }
                () = tokio::time::sleep_until(quiet_until) => {
                    let why = format!("it was silent for {} ms", silence.as_millis());
                    return Err(gone(self.context, &why));
                }
            }
            while self.helpers.try_join_next().is_some() {}
        }
    }

    async fn pass_on(&self, heard: Heard) -> Result<(), Stuck> {
        match heard {
            Heard::Told(id, Told::Accepted) => {
                self.out.send(Message::Accepted(v1::Accepted { action_id: id.to_string() })).await
            }
            Heard::Told(id, Told::Progress { permille, text }) => {
                self.out.try_send(Message::Progress(v1::Progress {
                    action_id: id.to_string(),
                    permille,
                    text,
                }));
                Ok(())
            }
            Heard::Ended(id, outcome) => self.answer(id.to_string(), outcome).await,
        }
    }

    async fn answer(&self, action_id: String, outcome: Outcome) -> Result<(), Stuck> {
        self.out.send(Message::Outcome(v1::ActionOutcome { action_id, outcome: Some(outcome.into()) })).await
    }

    async fn command(&mut self, command: Command) -> Result<(), Stuck> {
        match command {
            Command::Do(order) => self.order(*order).await,
            Command::Cancel { epoch, id } => {
                if self.is_old(epoch) {
                    tracing::warn!(%epoch, action = %id, "a cancellation of an earlier coordinator was ignored");
                    return Ok(());
                }
                if !self.context.desk.cancel(&id) {
                    return Ok(());
                }
                let refusal = refusal(
                    codes::CANCELLED,
                    "it was cancelled before it started".to_owned(),
                    "nothing was done; ask again when it is wanted after all",
                );
                self.answer(id.to_string(), Outcome::Refused(refusal)).await
            }
            Command::Ask { epoch, ask_id, request, deadline } => {
                if self.is_old(epoch) {
                    let why =
                        format!("the question carries epoch {epoch}, and a later coordinator was obeyed");
                    return self.read_out(ask_id, request, ReadingValue::CannotTell { why }).await;
                }
                self.ask(ask_id, request, deadline).await
            }
            Command::BadOrder { action_id, why } => {
                let refusal = refusal(
                    codes::NOT_UNDERSTOOD,
                    format!("the command is not understood: {why}"),
                    "install the agent of the coordinator's version on this host",
                );
                self.answer(action_id, Outcome::Refused(refusal)).await
            }
            Command::BadAsk { ask_id, why } => {
                let value =
                    ReadingValue::CannotTell { why: format!("the question is not understood: {why}") };
                // The question itself could not be read; the id is what it is matched by.
                self.read_out(ask_id, ReadingRequest::Census, value).await
            }
            Command::Welcome(_) | Command::Heartbeat | Command::Unknown => Ok(()),
        }
    }

    /// The ledger has the last word on the epoch; asked here as well, an old one is refused at once and not only in its turn.
    fn is_old(&self, epoch: Epoch) -> bool {
        epoch < self.context.ports.performer.epoch_seen()
    }

    async fn order(&self, order: Order) -> Result<(), Stuck> {
        let id = order.id.to_string();
        let refused = if self.is_old(order.epoch) {
            let highest = self.context.ports.performer.epoch_seen();
            Err(refusal(
                codes::OLD_EPOCH,
                format!(
                    "the command carries epoch {}, and a coordinator of epoch {highest} was obeyed",
                    order.epoch
                ),
                "an earlier coordinator must not command; stop it",
            ))
        } else {
            self.context.desk.hand_in(order)
        };
        match refused {
            Ok(()) => Ok(()),
            Err(refusal) => self.answer(id, Outcome::Refused(refusal)).await,
        }
    }

    async fn ask(&mut self, ask_id: u64, request: ReadingRequest, deadline: Duration) -> Result<(), Stuck> {
        let permit = match Arc::clone(&self.questions).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                let why = format!("{QUESTIONS_MAX} questions are being answered already");
                return self.read_out(ask_id, request, ReadingValue::CannotTell { why }).await;
            }
        };
        let deadline = if deadline.is_zero() { QUESTION_TIME } else { deadline };
        let (source, host, out) =
            (Arc::clone(&self.context.ports.readings), self.context.settings.host.clone(), self.out.clone());
        self.helpers.spawn(async move {
            let asked = request.clone();
            let measuring = tokio::task::spawn_blocking(move || {
                let value = source.answer(&asked, deadline);
                // Kept until the measurement itself ends, also when nobody waits for it any more.
                drop(permit);
                value
            });
            let value = match tokio::time::timeout(deadline, measuring).await {
                Ok(Ok(value)) => value,
                Ok(Err(_)) => ReadingValue::CannotTell {
                    why: "the measurement failed in the agent; see its log".to_owned(),
                },
                Err(_) => ReadingValue::CannotTell {
                    why: format!("it took longer than {} ms", deadline.as_millis()),
                },
            };
            // A link that is gone is noticed by its session.
            let _ = out.send(reading(host, ask_id, request, value)).await;
        });
        Ok(())
    }

    async fn read_out(&self, ask_id: u64, request: ReadingRequest, value: ReadingValue) -> Result<(), Stuck> {
        self.out.send(reading(self.context.settings.host.clone(), ask_id, request, value)).await
    }
}

fn reading(host: HostName, ask_id: u64, request: ReadingRequest, value: ReadingValue) -> Message {
    Message::Reading(v1::Reading::answering(ask_id, Reading { host, request, taken_at_ms: now_ms(), value }))
}

fn refusal(code: &str, reason: String, remedy: &str) -> Refusal {
    Refusal { code: code.to_owned(), reason, remedy: remedy.to_owned(), findings: Vec::new() }
}
