//! Who is linked: one entry per host, and the one place where a link comes, is replaced, is cut and goes.

use super::handle::{AskError, HostStatus, LinkSeen, LinksError, NewToken, TOKEN_LIFE_MAX, TOKEN_LIFE_MIN};
use super::peer::{now, peer_refused, refusal};
use crate::codes;
use crate::config::Heartbeat;
use crate::drive::Clock;
use crate::store::Store;
use replank_common::census::Census;
use replank_common::ids::{CoordinatorId, Epoch, HostName};
use replank_common::leader::Leader;
use replank_common::reading::{Reading, ReadingRequest};
use replank_core::codes::RUN_DEPOSED;
use replank_core::run::{Command, Order, ReadingWant};
use replank_core::runs::{Event, LinkNumber};
use replank_identity::{Fingerprint, JoinToken, OperatorName, PeerIdentity, Revocations, RevokedSet};
use replank_proto::v1::link_response::Message;
use replank_proto::v1::{self, LinkResponse};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Messages that wait for a host before its link is cut.
const QUEUE_MAX: usize = 1024;
/// Events that wait for the drive before the links that bring more wait themselves.
const EVENTS_MAX: usize = 4096;
/// Numbers of questions asked outside of any run have this bit; those of runs never do.
const OWN_ASK: u64 = 1 << 63;
/// Of an agent's version, as it is shown.
const VERSION_CHARS_MAX: usize = 64;

/// Where the drive hears of the hosts.
#[derive(Debug)]
pub struct Events(pub(super) mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` when the links are gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event if one waits.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// What there is of a host.
#[derive(Debug, Default)]
struct Entry {
    seen: LinkSeen,
    link: Option<Live>,
    /// It was refused, having obeyed a coordinator of this epoch.
    later: Option<Epoch>,
}

#[derive(Debug)]
struct Live {
    number: LinkNumber,
    queue: mpsc::Sender<LinkResponse>,
    cut: Cut,
    /// Questions outside of any run.
    asks: BTreeMap<u64, oneshot::Sender<Reading>>,
}

/// Ends a link from outside, and remembers why for the agent's ears.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut {
    pub(super) token: CancellationToken,
    why: Arc<OnceLock<Status>>,
}

impl Cut {
    /// The first reason stands.
    pub(super) fn cut(&self, why: Status) {
        // Lost only to an earlier reason.
        drop(self.why.set(why));
        self.token.cancel();
    }

    pub(super) fn why(&self) -> Status {
        self.why.get().cloned().unwrap_or_else(|| Status::unavailable("the link was cut"))
    }
}

#[derive(Debug, Default)]
struct Hosts {
    entries: BTreeMap<HostName, Entry>,
    last_number: u64,
    last_ask: u64,
    stopping: bool,
}

/// Shared by the services, the sessions and every handle.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) epoch: Epoch,
    /// This start of a coordinator, for agents that meet another one of the same epoch.
    pub(super) id: CoordinatorId,
    pub(super) heartbeat: Heartbeat,
    pub(super) revocations: Arc<Revocations>,
    pub(super) authority: Fingerprint,
    pub(super) events: mpsc::Sender<Event>,
    hosts: Mutex<Hosts>,
    /// Held while the revocations are written and then put in force, so that they are in force in the order in which they were written.
    pub(super) revoking: tokio::sync::Mutex<()>,
    /// Wakes whoever holds a stream open for a caller, to look whether the caller's certificate still holds.
    revoked: tokio::sync::watch::Sender<()>,
}

/// What a new link is given.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) number: LinkNumber,
    pub(super) queue: mpsc::Receiver<LinkResponse>,
    pub(super) cut: Cut,
}

impl Registry {
    pub(super) fn new(
        store: Store,
        clock: Clock,
        epoch: Epoch,
        heartbeat: Heartbeat,
        revocations: Arc<Revocations>,
        authority: Fingerprint,
    ) -> (Self, Events) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let id = CoordinatorId(uuid::Uuid::new_v4());
        let (hosts, revoking, revoked) = Default::default();
        (
            Self {
                store,
                clock,
                epoch,
                id,
                heartbeat,
                revocations,
                authority,
                events,
                hosts,
                revoking,
                revoked,
            },
            Events(receiver),
        )
    }

    /// Puts revocations in force that are written. [`Self::revoking`] is held meanwhile.
    pub(super) fn enforce(&self, set: RevokedSet) {
        self.revocations.replace(set);
        self.revoked.send_replace(());
    }

    /// Woken by each [`Self::enforce`] from here on.
    pub(super) fn enforcements(&self) -> tokio::sync::watch::Receiver<()> {
        self.revoked.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a link the host's own, in place of any before it. The welcome is the first message of its queue.
    ///
    /// # Errors
    /// The host was revoked, or the coordinator is stopping.
    pub(super) fn admit(
        &self,
        host: &HostName,
        peer: &PeerIdentity,
        hello: &v1::Hello,
    ) -> Result<Admitted, Status> {
        let mut hosts = self.lock();
        if hosts.stopping {
            return Err(stopping());
        }
        // Under the lock: a revocation that comes later finds the link and cuts it.
        peer.check(&self.revocations, now()).map_err(|refused| peer_refused(&refused))?;
        hosts.last_number += 1;
        let number = LinkNumber(hosts.last_number);
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let welcome = v1::Welcome {
            epoch: self.epoch.0,
            heartbeat_interval_ms: self.heartbeat.interval_ms,
            silence_limit_ms: self.heartbeat.silence_ms,
            coordinator: self.id.to_string(),
        };
        sender
            .try_send(message(Message::Welcome(welcome)))
            .expect("a new queue has room, and its receiver is here");
        let cut = Cut::default();
        let entry = hosts.entries.entry(host.clone()).or_default();
        let live = Live { number, queue: sender, cut: cut.clone(), asks: BTreeMap::new() };
        if let Some(before) = entry.link.replace(live) {
            tracing::warn!(%host, code = codes::LINK_REPLACED, "a newer link of the host replaced this one");
            let text = "a newer link of the same host replaced this one; see that only one agent runs with this identity";
            before.cut.cut(refusal(Code::Aborted, codes::LINK_REPLACED, "link-replaced", &text));
        }
        entry.later = None;
        entry.seen = LinkSeen {
            linked: true,
            heard_at_ms: Some(self.clock.now_ms()),
            agent_version: hello.agent_version.chars().take(VERSION_CHARS_MAX).collect(),
            observe_only: hello.observe_only,
            census: entry.seen.census.take(),
            census_at_ms: entry.seen.census_at_ms,
        };
        Ok(Admitted { number, queue, cut })
    }

    /// Whether a host that says so in its hello may be this coordinator's: it has obeyed no later one, and no other one of this epoch.
    pub(super) fn may_lead(&self, seen: Leader) -> bool {
        seen.after_welcome(self.epoch, Some(self.id)).is_some()
    }

    /// The refusal of a host that obeyed a later coordinator, or says so. It concerns that host alone: no host can end the coordinator of
    /// all the others by a word. What keeps two coordinators apart are the agents, which obey none that is earlier.
    pub(super) async fn later_epoch(&self, host: &HostName, seen: Epoch) -> Status {
        tracing::error!(%host, %seen, own = %self.epoch, code = RUN_DEPOSED, "the host has obeyed another coordinator");
        self.lock().entries.entry(host.clone()).or_default().later = Some(seen);
        if let Err(error) = self.store.write(move |database| database.heard_of(seen)).await {
            tracing::warn!(%error, "the later epoch was not remembered; it is told again at the host's next try");
        }
        let text = format!(
            "host {host} has obeyed another coordinator, of epoch {seen}, and this one has epoch {}; see that only one coordinator runs, with the \
             newest folder, and start that one again: it then has a later epoch",
            self.epoch
        );
        refusal(Code::FailedPrecondition, RUN_DEPOSED, "later-epoch", &text)
    }

    /// The hosts that are refused because they obeyed another coordinator, and its epoch.
    pub(super) fn obey_another(&self) -> BTreeMap<HostName, Epoch> {
        let hosts = self.lock();
        hosts.entries.iter().filter_map(|(host, entry)| Some((host.clone(), entry.later?))).collect()
    }

    pub(super) fn is_revoked(&self, host: &HostName) -> bool {
        self.revocations.current().hosts.contains(host)
    }

    /// A link has ended.
    pub(super) fn leave(&self, host: &HostName, number: LinkNumber) {
        let mut hosts = self.lock();
        if let Some(entry) = hosts.entries.get_mut(host)
            && entry.link.as_ref().is_some_and(|link| link.number == number)
        {
            entry.link = None;
            entry.seen.linked = false;
        }
    }

    /// A message of any kind came.
    pub(super) fn heard(&self, host: &HostName, number: LinkNumber) {
        let now_ms = self.clock.now_ms();
        self.with(host, number, |entry| entry.seen.heard_at_ms = Some(now_ms));
    }

    pub(super) fn counted(&self, host: &HostName, number: LinkNumber, census: &Census) {
        let (census, now_ms) = (Arc::new(census.clone()), self.clock.now_ms());
        self.with(host, number, |entry| {
            entry.seen.census = Some(census);
            entry.seen.census_at_ms = Some(now_ms);
        });
    }

    /// Gives an answer to whoever asked outside of any run; gives it back when it is a run's.
    pub(super) fn answer(
        &self,
        host: &HostName,
        number: LinkNumber,
        ask: u64,
        reading: Reading,
    ) -> Option<Reading> {
        if ask & OWN_ASK == 0 {
            return Some(reading);
        }
        self.with(host, number, |entry| {
            let waiting = entry.link.as_mut().and_then(|link| link.asks.remove(&ask));
            if let Some(waiting) = waiting {
                // Who asked may have gone.
                drop(waiting.send(reading));
            }
        });
        None
    }

    fn with(&self, host: &HostName, number: LinkNumber, act: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().entries.get_mut(host)
            && entry.link.as_ref().is_some_and(|link| link.number == number)
        {
            act(entry);
        }
    }

    /// Queues a message for one link, and cuts the link when its queue is full.
    pub(super) fn send(&self, host: &HostName, number: LinkNumber, body: Message) {
        self.with(host, number, |entry| {
            let Some(link) = &entry.link else { return };
            queue(host, link, body);
        });
    }

    /// Cuts every link, and admits no other.
    pub(super) fn stop(&self) {
        let mut hosts = self.lock();
        hosts.stopping = true;
        for entry in hosts.entries.values() {
            if let Some(link) = &entry.link {
                link.cut.cut(stopping());
            }
        }
    }

    pub(super) fn seen(&self) -> BTreeMap<HostName, LinkSeen> {
        self.lock().entries.iter().map(|(host, entry)| (host.clone(), entry.seen.clone())).collect()
    }

    pub(super) async fn hosts(&self) -> Result<Vec<HostStatus>, LinksError> {
        let (certificates, revoked) =
            self.store.read(|database| Ok((database.hosts()?, database.revoked()?))).await?;
        let mut seen = self.seen();
        let status = |certificate: crate::store::Certificate| HostStatus {
            seen: seen.remove(&certificate.host).unwrap_or_default(),
            revoked: revoked.hosts.contains(&certificate.host),
            certificate_expires_at_ms: certificate.not_after_s.saturating_mul(1_000),
            name: certificate.host,
        };
        Ok(certificates.into_iter().map(status).collect())
    }

    pub(super) async fn revoke(&self, host: &HostName, by: &OperatorName) -> Result<(), LinksError> {
        let (name, by, now_ms) = (host.clone(), by.as_str().to_owned(), self.clock.now_ms());
        let _order = self.revoking.lock().await;
        let revoked = self
            .store
            .write(move |database| Ok((database.revoke_host(&name, &by, now_ms)?, database.revoked()?)))
            .await?;
        let (true, set) = revoked else {
            return Err(LinksError::UnknownHost { host: host.clone() });
        };
        self.enforce(set);
        tracing::warn!(%host, code = codes::HOST_REVOKED, "the host was revoked");
        let hosts = self.lock();
        if let Some(link) = hosts.entries.get(host).and_then(|entry| entry.link.as_ref()) {
            link.cut.cut(host_revoked(host));
        }
        Ok(())
    }

    pub(super) async fn create_token(
        &self,
        host: &HostName,
        lifetime: Duration,
    ) -> Result<NewToken, LinksError> {
        if !(TOKEN_LIFE_MIN..=TOKEN_LIFE_MAX).contains(&lifetime) {
            return Err(LinksError::Lifetime { seconds: lifetime.as_secs() });
        }
        let token = JoinToken::generate(self.authority).map_err(|_| LinksError::NoRandomness)?;
        let record = token.record(host.clone(), now(), lifetime);
        let (expires_at_ms, now_ms) = (record.expires_at.0.saturating_mul(1_000), self.clock.now_ms());
        let _order = self.revoking.lock().await;
        let set = self
            .store
            .write(move |database| {
                database.put_token(&record, now_ms)?;
                database.revoked()
            })
            .await?;
        // A new token lets a revoked host in again, without its old certificates.
        self.enforce(set);
        Ok(NewToken { text: token.reveal().to_string(), expires_at_ms })
    }

    pub(super) async fn ask(
        &self,
        host: &HostName,
        request: ReadingRequest,
        deadline: Duration,
    ) -> Result<Reading, AskError> {
        let not_linked = || AskError::NotLinked { host: host.clone() };
        let (sender, answered) = oneshot::channel();
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let (number, ask) = {
            let mut hosts = self.lock();
            hosts.last_ask += 1;
            let ask = OWN_ASK | hosts.last_ask;
            let link =
                hosts.entries.get_mut(host).and_then(|entry| entry.link.as_mut()).ok_or_else(not_linked)?;
            link.asks.insert(ask, sender);
            let question = question(self.epoch, ask, request, deadline_ms);
            queue(host, link, question);
            (link.number, ask)
        };
        match tokio::time::timeout(deadline, answered).await {
            Ok(Ok(reading)) => Ok(reading),
            Ok(Err(_)) => Err(AskError::LinkBroke { host: host.clone() }),
            Err(_) => {
                self.with(host, number, |entry| {
                    if let Some(link) = &mut entry.link {
                        link.asks.remove(&ask);
                    }
                });
                Err(AskError::NoAnswer { host: host.clone(), deadline_ms: u64::from(deadline_ms) })
            }
        }
    }
}

fn queue(host: &HostName, link: &Live, body: Message) {
    match link.queue.try_send(message(body)) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            tracing::warn!(%host, code = codes::LINK_SLOW, "the host does not take its messages; its link is cut");
            let text = format!("{QUEUE_MAX} messages wait for this host; see why its agent takes none");
            link.cut.cut(refusal(Code::ResourceExhausted, codes::LINK_SLOW, "link-slow", &text));
        }
        // The session ends by itself, and its link with it.
        Err(TrySendError::Closed(_)) => {}
    }
}

fn message(body: Message) -> LinkResponse {
    LinkResponse { message: Some(body) }
}

fn stopping() -> Status {
    Status::unavailable(format!("{}: the coordinator is stopping", codes::NOT_SERVING))
}

fn host_revoked(host: &HostName) -> Status {
    let text = format!("host {host} was revoked; an admin lets it in again with `replank host token {host}`");
    refusal(Code::Unauthenticated, codes::HOST_REVOKED, "host-revoked", &text)
}

fn question(epoch: Epoch, ask_id: u64, request: ReadingRequest, deadline_ms: u32) -> Message {
    Message::Reading(v1::ReadingRequest {
        epoch: epoch.0,
        ask_id,
        measurement: Some(request.into()),
        deadline_ms,
    })
}

/// The message for what a run wants to know.
pub(super) fn asking(want: &ReadingWant) -> Message {
    question(want.epoch, want.ask, want.request.clone(), clamp(want.deadline_ms))
}

/// The message for what a run commands.
pub(super) fn commanding(command: &Command) -> Message {
    let (epoch, action_id, plan_id) = (command.epoch.0, command.action.to_string(), command.plan.to_string());
    let deadline_ms = clamp(command.deadline_ms);
    match &command.order {
        Order::Execute(action) => {
            let action = Some((**action).clone().into());
            Message::Execute(v1::Execute { epoch, action_id, action, deadline_ms, plan_id })
        }
        Order::Undo { of } => {
            Message::Undo(v1::Undo { epoch, action_id, of_action_id: of.to_string(), deadline_ms, plan_id })
        }
    }
}

fn clamp(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}
