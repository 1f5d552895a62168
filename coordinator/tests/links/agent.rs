//! A host that speaks the wire: a ledger, guests, and as many links as the test wants.

use hyper_util::rt::TokioIo;
use replank_common::census::{Census, CensusSource, EndCause, Guest, GuestEnd, GuestState, Incarnation};
use replank_common::ids::{BootId, Epoch, GuestUuid, HostName};
use replank_common::leader::Leader;
use replank_common::outcome::{How, OLD_EPOCH, Outcome, Refusal};
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use replank_coordinator::drive::Clock;
use replank_identity::{
    Authority, AuthorityCert, CredentialStore, Credentials, JoinToken, PrivateKey, UnixSeconds, tls,
};
use replank_proto::v1::agent_service_client::AgentServiceClient;
use replank_proto::v1::link_request::Message as Say;
use replank_proto::v1::link_response::Message as Heard;
use replank_proto::v1::{self, LinkRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::coordinator::{Coordinator, PATIENCE};
use crate::plans::host;

type Client = AgentServiceClient<Channel>;

pub fn now() -> UnixSeconds {
    UnixSeconds::from_ms(Clock::start().now_ms())
}

pub async fn channel(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_timeout(PATIENCE);
    let connector = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move {
            let socket = TcpStream::connect(address).await?;
            tls::connect(config, socket).await.map(TokioIo::new)
        }
    });
    endpoint.connect_with_connector(connector).await
}

async fn dial(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<Client, tonic::transport::Error> {
    Ok(AgentServiceClient::new(channel(address, config).await?))
}

/// A client as a host that has these credentials.
pub async fn dial_as(
    address: SocketAddr,
    credentials: &Arc<CredentialStore>,
) -> Result<Client, tonic::transport::Error> {
    dial(address, tls::client_config(credentials, Arc::new(tls::SystemClock)).unwrap()).await
}

/// A client without a certificate.
pub async fn stranger(coordinator: &Coordinator) -> Client {
    let authority = coordinator.authority.fingerprint();
    let config = tls::enrolment_client_config(authority, Arc::new(tls::SystemClock)).unwrap();
    dial(coordinator.address, config).await.unwrap()
}

/// Trades a token for credentials, with a key that may have been used before.
pub async fn enrol(
    address: SocketAddr,
    authority: &AuthorityCert,
    token: &str,
    name: &str,
    key: &PrivateKey,
) -> Result<Arc<CredentialStore>, Status> {
    let config = tls::enrolment_client_config(authority.fingerprint(), Arc::new(tls::SystemClock)).unwrap();
    let mut client = dial(address, config).await.unwrap();
    let csr = key.request().unwrap().der().to_vec();
    let request = v1::EnrolRequest { token: token.to_owned(), host: name.to_owned(), csr };
    let chain = client.enrol(request).await?.into_inner().certificate_chain;
    assert!(chain.contains(&authority.to_pem()), "the authority comes along");
    Ok(CredentialStore::new(Credentials::new(&chain, key, authority, now()).unwrap()))
}

/// A token of another fleet.
pub fn foreign_token() -> String {
    let other = Authority::create(now()).unwrap();
    JoinToken::generate(other.fingerprint()).unwrap().reveal().to_string()
}

#[derive(Debug, Default)]
struct Machine {
    guests: BTreeMap<GuestUuid, Guest>,
    ended: Vec<GuestEnd>,
    sequence: u64,
    /// Durable, as the ledger is.
    leader: Leader,
    ledger: BTreeMap<String, Outcome>,
    /// Every command that came, in order, also those that the ledger knew.
    commands: Vec<(u64, String)>,
    /// Those of them that came with an epoch that is obeyed no more.
    refused: Vec<(u64, String)>,
    /// Actions really done.
    done: Vec<String>,
    /// Commands are taken and not answered.
    holding: bool,
    held: Vec<String>,
    questions: u64,
    blows: Option<Blows>,
}

/// Kills the coordinator, as `kill -9` does, while this host has a command and has not answered it: each command's first time before it is
/// done, its second time after.
#[derive(Debug)]
struct Blows {
    /// The coordinator's process; 0 while there is none.
    pid: Arc<AtomicU32>,
    came: BTreeMap<String, usize>,
}

impl Blows {
    fn strike(&self) {
        let pid = self.pid.load(Ordering::SeqCst);
        assert_ne!(pid, 0, "a command came of a coordinator that does not run");
        let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(status.unwrap().success());
    }
}

/// A host with one guest.
#[derive(Clone)]
pub struct Host {
    pub name: HostName,
    pub credentials: Arc<CredentialStore>,
    machine: Arc<Mutex<Machine>>,
}

/// One link of a host; dropped, it is gone without a word.
pub struct Link {
    pub epoch: u64,
    say: mpsc::Sender<Say>,
    task: tokio::task::JoinHandle<Option<Status>>,
}

type Opened = (v1::Welcome, mpsc::Sender<LinkRequest>, Streaming<v1::LinkResponse>);

/// Neither speaks nor listens.
pub struct Silent {
    pub out: mpsc::Sender<LinkRequest>,
    pub stream: Streaming<v1::LinkResponse>,
}

impl Silent {
    /// The next command, kept back: it is on its way for as long as the test likes.
    pub async fn command(&mut self) -> Heard {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("a command comes");
            let message = next.unwrap().expect("the link stands").message.expect("a known message");
            if matches!(message, Heard::Execute(_) | Heard::Undo(_)) {
                return message;
            }
        }
    }

    /// Reads what came, to the end of the link, and says why it ended.
    pub async fn ended(mut self) -> Status {
        let reading = async {
            loop {
                match self.stream.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ended without a reason"),
                    Err(status) => return status,
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the coordinator ends the link")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    pub async fn say(&self, what: Say) {
        self.say.send(what).await.unwrap();
    }

    /// Over a link that may be gone.
    pub async fn try_say(&self, what: Say) -> Result<(), mpsc::error::SendError<Say>> {
        self.say.send(what).await
    }

    /// Why the coordinator ended it; `None` when it ended without a reason.
    pub async fn ended(mut self) -> Option<Status> {
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the coordinator ends the link").unwrap()
    }
}

impl Host {
    /// Enrols with a new token.
    pub async fn enrol(coordinator: &Coordinator, name: &str) -> Self {
        let token = coordinator.token(name, Duration::from_secs(600)).await;
        let key = PrivateKey::generate().unwrap();
        let credentials =
            enrol(coordinator.address, &coordinator.authority, &token, name, &key).await.unwrap();
        Self::with(name, credentials)
    }

    pub fn with(name: &str, credentials: Arc<CredentialStore>) -> Self {
        let this = Self { name: host(name), credentials, machine: Arc::default() };
        this.start_guest();
        this
    }

    fn boot_id(&self) -> BootId {
        BootId(Uuid::from_u128(7))
    }

    pub fn start_guest(&self) {
        let mut machine = self.machine.lock().unwrap();
        let number = machine.guests.len() as u128 + 1;
        let of_host = self.name.as_str().bytes().fold(0_u128, |sum, byte| sum * 31 + u128::from(byte));
        let uuid = GuestUuid(Uuid::from_u128(of_host * 1_000 + number));
        let guest = Guest {
            uuid,
            name: format!("{}-vm{number}", self.name),
            incarnation: Incarnation { boot_id: self.boot_id(), pid: 100, start_ticks: 1_000 },
            state: GuestState::Running,
            emulator: "/usr/bin/qemu-system-x86_64".into(),
            emulator_deleted: false,
            qemu_version: None,
            machine: None,
            persistent: Some(true),
            seen_by: CensusSource::ALL.into_iter().collect(),
        };
        machine.guests.insert(uuid, guest);
    }

    /// Its qemu dies; nobody knows why.
    pub fn kill_guest(&self) -> Say {
        let mut machine = self.machine.lock().unwrap();
        let (uuid, guest) = machine.guests.pop_first().expect("a guest");
        machine.ended.push(GuestEnd {
            uuid,
            name: guest.name,
            incarnation: guest.incarnation,
            at_ms: Clock::start().now_ms(),
            cause: EndCause::Unattributed { known: "killed by signal 9".to_owned() },
        });
        drop(machine);
        Say::Census(self.census().into())
    }

    pub fn census(&self) -> Census {
        let mut machine = self.machine.lock().unwrap();
        machine.sequence += 1;
        Census {
            host: self.name.clone(),
            boot_id: self.boot_id(),
            sequence: machine.sequence,
            agent_start_ms: 12,
            taken_at_ms: Clock::start().now_ms(),
            guests: machine.guests.clone(),
            ended: machine.ended.clone(),
            disagreements: Vec::new(),
        }
    }

    pub fn hello(&self) -> v1::Hello {
        let machine = self.machine.lock().unwrap();
        v1::Hello {
            host: self.name.to_string(),
            agent_version: "0.1.0".to_owned(),
            boot_id: self.boot_id().to_string(),
            epoch_seen: machine.leader.epoch.0,
            coordinator_seen: machine.leader.coordinator.map(|id| id.to_string()).unwrap_or_default(),
            unfinished_action_ids: machine.held.clone(),
            observe_only: false,
            agent_start_ms: 12,
        }
    }

    pub async fn link(&self, coordinator: &Coordinator) -> Link {
        self.link_saying(coordinator, self.hello()).await.unwrap()
    }

    /// Dials, says the hello and waits for the welcome.
    pub async fn link_saying(&self, coordinator: &Coordinator, hello: v1::Hello) -> Result<Link, Status> {
        self.link_to(coordinator.address, hello).await
    }

    /// As [`Self::link_saying`], to wherever a coordinator may be.
    pub async fn link_to(&self, address: SocketAddr, hello: v1::Hello) -> Result<Link, Status> {
        let (welcome, out, stream) = self.open(address, hello).await?;
        let (say, said) = mpsc::channel(1024);
        let interval = Duration::from_millis(u64::from(welcome.heartbeat_interval_ms));
        let task = tokio::spawn(self.clone().talk(stream, out, said, interval));
        Ok(Link { epoch: welcome.epoch, say, task })
    }

    /// A link over which nothing is said but the hello, and whose messages nobody takes.
    pub async fn link_silent(&self, coordinator: &Coordinator) -> Silent {
        self.link_silent_to(coordinator.address).await
    }

    pub async fn link_silent_to(&self, address: SocketAddr) -> Silent {
        let (_, out, stream) = self.open(address, self.hello()).await.unwrap();
        Silent { out, stream }
    }

    /// Takes a message of a silent link that was kept back.
    pub async fn hear_late(&self, silent: &Silent, message: Heard) {
        for answer in self.hear(message) {
            silent.out.send(LinkRequest { message: Some(answer) }).await.unwrap();
        }
    }

    async fn open(&self, address: SocketAddr, hello: v1::Hello) -> Result<Opened, Status> {
        let dialled = dial_as(address, &self.credentials).await;
        let mut client = dialled.map_err(|error| Status::unavailable(error.to_string()))?;
        let (out, receiver) = mpsc::channel(1024);
        out.send(LinkRequest { message: Some(Say::Hello(hello)) }).await.unwrap();
        let mut stream = client.link(ReceiverStream::new(receiver)).await?.into_inner();
        let first = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap()?;
        let first = first.ok_or_else(|| Status::unavailable("the stream ended"))?;
        let Some(Heard::Welcome(welcome)) = first.message else { panic!("no welcome: {first:?}") };
        let mut machine = self.machine.lock().unwrap();
        let coordinator = Some(welcome.coordinator.parse().unwrap());
        match machine.leader.after_welcome(Epoch(welcome.epoch), coordinator) {
            Some(leader) => machine.leader = leader,
            None => return Err(Status::failed_precondition(format!("{OLD_EPOCH}: the host obeys another"))),
        }
        drop(machine);
        Ok((welcome, out, stream))
    }

    async fn talk(
        self,
        mut stream: Streaming<v1::LinkResponse>,
        out: mpsc::Sender<LinkRequest>,
        mut said: mpsc::Receiver<Say>,
        interval: Duration,
    ) -> Option<Status> {
        let mut beat = tokio::time::interval(interval);
        let mut sequence = 0;
        let mut answers = vec![Say::Census(self.census().into())];
        loop {
            for answer in answers.drain(..) {
                out.send(LinkRequest { message: Some(answer) }).await.ok()?;
            }
            tokio::select! {
                heard = stream.message() => match heard {
                    Ok(Some(heard)) => answers = self.hear(heard.message.expect("a known message")),
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                },
                Some(say) = said.recv() => answers.push(say),
                _ = beat.tick() => {
                    sequence += 1;
                    answers.push(Say::Heartbeat(v1::Heartbeat { sequence, sent_at_ms: 0 }));
                }
            }
        }
    }

    fn hear(&self, heard: Heard) -> Vec<Say> {
        match heard {
            Heard::Heartbeat(_) | Heard::Cancel(_) | Heard::Welcome(_) => Vec::new(),
            Heard::Execute(v1::Execute { epoch, action_id, action, .. }) => {
                assert!(action.is_some(), "{action_id} has no action");
                self.command(epoch, action_id, How::Applied)
            }
            Heard::Undo(v1::Undo { epoch, action_id, .. }) => self.command(epoch, action_id, How::Undone),
            Heard::Reading(ask) => {
                self.machine.lock().unwrap().questions += 1;
                let request = ReadingRequest::try_from(ask.measurement.unwrap()).unwrap();
                let value = match &request {
                    ReadingRequest::Census => ReadingValue::Census(self.census()),
                    ReadingRequest::GuestJobs => ReadingValue::GuestJobs(Vec::new()),
                    other => ReadingValue::CannotTell { why: format!("{other:?} is not measured here") },
                };
                let taken_at_ms = Clock::start().now_ms();
                let reading = Reading { host: self.name.clone(), request, taken_at_ms, value };
                vec![Say::Reading(v1::Reading::answering(ask.ask_id, reading))]
            }
        }
    }

    fn command(&self, epoch: u64, id: String, how: How) -> Vec<Say> {
        let mut machine = self.machine.lock().unwrap();
        machine.commands.push((epoch, id.clone()));
        match machine.leader.after_command(Epoch(epoch)) {
            Some(leader) => machine.leader = leader,
            None => {
                let refusal = Refusal {
                    code: OLD_EPOCH.to_owned(),
                    reason: format!("{epoch} is old"),
                    remedy: "stop it".to_owned(),
                    findings: Vec::new(),
                };
                let answer = outcome_of(&id, &Outcome::Refused(refusal));
                machine.refused.push((epoch, id));
                return vec![answer];
            }
        }
        let times = machine.blows.as_mut().map(|blows| {
            let times = blows.came.entry(id.clone()).or_default();
            *times += 1;
            *times
        });
        if let (Some(times @ (1 | 2)), Some(blows)) = (times, &machine.blows) {
            blows.strike();
            if times == 2 {
                drop(machine.act(id, how));
            }
            return Vec::new();
        }
        if let Some(outcome) = machine.ledger.get(&id) {
            return vec![outcome_of(&id, outcome)];
        }
        let accepted = Say::Accepted(v1::Accepted { action_id: id.clone() });
        if machine.holding {
            if !machine.held.contains(&id) {
                machine.held.push(id.clone());
            }
            let progress =
                v1::Progress { action_id: id, permille: Some(500), text: "half of it is done".to_owned() };
            return vec![accepted, Say::Progress(progress)];
        }
        vec![accepted, machine.act(id, how)]
    }

    /// From here on the coordinator is killed twice over each command.
    #[cfg(feature = "crash-points")]
    pub fn strike(&self, pid: &Arc<AtomicU32>) {
        let blows = Blows { pid: Arc::clone(pid), came: BTreeMap::new() };
        self.machine.lock().unwrap().blows = Some(blows);
    }

    /// From here on commands are accepted and not finished.
    pub fn hold(&self) {
        self.machine.lock().unwrap().holding = true;
    }

    /// Finishes what was held. What the agent would say of it.
    pub fn let_go(&self) -> Vec<Say> {
        let mut machine = self.machine.lock().unwrap();
        machine.holding = false;
        let held = std::mem::take(&mut machine.held);
        held.into_iter().map(|id| machine.act(id, How::Applied)).collect()
    }

    /// The outcome of everything that was done, as the ledger has it.
    pub fn outcomes(&self) -> Vec<Say> {
        let machine = self.machine.lock().unwrap();
        machine.ledger.iter().map(|(id, outcome)| outcome_of(id, outcome)).collect()
    }

    /// Epoch and id of every command that came.
    pub fn commands(&self) -> Vec<(u64, String)> {
        self.machine.lock().unwrap().commands.clone()
    }

    /// Those of the commands that came with an epoch that is obeyed no more.
    pub fn refused(&self) -> Vec<(u64, String)> {
        self.machine.lock().unwrap().refused.clone()
    }

    /// Panics when an action was done twice.
    pub fn done(&self) -> Vec<String> {
        let done = self.machine.lock().unwrap().done.clone();
        let once: BTreeSet<&String> = done.iter().collect();
        assert_eq!(once.len(), done.len(), "done twice: {done:?}");
        done
    }

    pub async fn until_commands(&self, count: usize) -> Vec<(u64, String)> {
        let begun = Instant::now();
        loop {
            let commands = self.commands();
            if commands.len() >= count {
                return commands;
            }
            assert!(begun.elapsed() < PATIENCE, "only {commands:?} came to {}", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Machine {
    fn act(&mut self, id: String, how: How) -> Say {
        let outcome = Outcome::Done { how, took_ms: 1, changes: Vec::new(), findings: Vec::new() };
        self.done.push(id.clone());
        let say = outcome_of(&id, &outcome);
        self.ledger.insert(id, outcome);
        say
    }
}

fn outcome_of(id: &str, outcome: &Outcome) -> Say {
    Say::Outcome(v1::ActionOutcome { action_id: id.to_owned(), outcome: Some(outcome.clone().into()) })
}
