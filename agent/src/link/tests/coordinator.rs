//! A coordinator in this process: real TLS and HTTP/2 on loopback, and a test that says what it says.

use replank_common::ids::HostName;
use replank_identity::token::{self, Ask};
use replank_identity::{
    Authority, CredentialStore, Credentials, Csr, JoinToken, PeerIdentity, PrivateKey, Revocations, Role,
    TokenRecord, UnixSeconds, tls,
};
use replank_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use replank_proto::v1::{self, LinkRequest, LinkResponse, link_request, link_response};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::link::identity::now;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
const LIFE: Duration = Duration::from_secs(86_400);

/// The coordinator's end of one link.
pub(super) struct End {
    said: Streaming<LinkRequest>,
    say: mpsc::Sender<Result<LinkResponse, Status>>,
}

impl End {
    /// What the agent says next, heartbeats and censuses left out.
    pub(super) async fn heard(&mut self) -> link_request::Message {
        loop {
            match self.anything().await {
                link_request::Message::Heartbeat(_) | link_request::Message::Census(_) => {}
                message => return message,
            }
        }
    }

    pub(super) async fn anything(&mut self) -> link_request::Message {
        let next =
            tokio::time::timeout(PATIENCE, self.said.message()).await.expect("the agent says something");
        next.expect("the link is up").expect("the agent has not closed").message.expect("a message")
    }

    /// Whether the agent has given the link up.
    pub(super) async fn is_given_up(&mut self) -> bool {
        loop {
            match tokio::time::timeout(PATIENCE, self.said.message()).await.expect("the agent gives up") {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return true,
            }
        }
    }

    pub(super) async fn say(&self, message: link_response::Message) {
        self.say.send(Ok(LinkResponse { message: Some(message) })).await.unwrap();
    }

    pub(super) async fn hello(&mut self) -> v1::Hello {
        match self.anything().await {
            link_request::Message::Hello(hello) => hello,
            other => panic!("the first message is {other:?}"),
        }
    }

    pub(super) async fn welcome(&mut self, epoch: u64) -> v1::Hello {
        let hello = self.hello().await;
        self.welcome_with(epoch, 100, 10_000).await;
        hello
    }

    pub(super) async fn welcome_with(&self, epoch: u64, heartbeat_interval_ms: u32, silence_limit_ms: u32) {
        let coordinator = String::new();
        let welcome = v1::Welcome { epoch, heartbeat_interval_ms, silence_limit_ms, coordinator };
        self.say(link_response::Message::Welcome(welcome)).await;
    }

    pub(super) async fn outcome(&mut self) -> v1::ActionOutcome {
        loop {
            if let link_request::Message::Outcome(outcome) = self.heard().await {
                return outcome;
            }
        }
    }
}

pub(super) struct Coordinator {
    pub(super) address: String,
    pub(super) authority: Arc<Authority>,
    links: mpsc::Receiver<End>,
    records: Arc<Mutex<Vec<TokenRecord>>>,
}

impl Coordinator {
    pub(super) async fn start() -> Self {
        let authority = Arc::new(Authority::create(now()).unwrap());
        let key = PrivateKey::generate().unwrap();
        let issued =
            authority.issue_coordinator(&key.request().unwrap(), &["localhost"], LIFE, now()).unwrap();
        let credentials = Credentials::new(&issued.to_pem(), &key, authority.cert(), now()).unwrap();
        let store = CredentialStore::new(credentials);
        let config =
            tls::server_config(&store, &Arc::new(Revocations::default()), Arc::new(tls::SystemClock))
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = tls::TlsAcceptor::from(config);
        let (streams, incoming) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, streams) = (acceptor.clone(), streams.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        drop(streams.send(Ok::<_, io::Error>(Accepted(stream))).await);
                    }
                });
            }
        });
        let (ends, links) = mpsc::channel(8);
        let records = Arc::new(Mutex::new(Vec::new()));
        let service = Service { authority: Arc::clone(&authority), records: Arc::clone(&records), ends };
        let server = Server::builder().add_service(AgentServiceServer::new(service));
        tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
        Self { address, authority, links, records }
    }

    /// The next link that an agent dials.
    pub(super) async fn link(&mut self) -> End {
        tokio::time::timeout(PATIENCE, self.links.recv()).await.expect("an agent dials").unwrap()
    }

    pub(super) fn token(&self, host: &str, lifetime: Duration) -> String {
        let token = JoinToken::generate(self.authority.fingerprint()).unwrap();
        let record = token.record(HostName::new(host).unwrap(), now(), lifetime);
        self.records.lock().unwrap().push(record);
        token.reveal().to_string()
    }

    /// Credentials of a host of this fleet.
    pub(super) fn credentials(&self, host: &str) -> Arc<CredentialStore> {
        let key = PrivateKey::generate().unwrap();
        let role = Role::Host(HostName::new(host).unwrap());
        let issued = self.authority.issue(&key.request().unwrap(), &role, LIFE, now()).unwrap();
        CredentialStore::new(Credentials::new(&issued.to_pem(), &key, self.authority.cert(), now()).unwrap())
    }
}

struct Service {
    authority: Arc<Authority>,
    records: Arc<Mutex<Vec<TokenRecord>>>,
    ends: mpsc::Sender<End>,
}

impl Service {
    fn issue(&self, csr: &Csr, host: HostName, now: UnixSeconds) -> Result<String, Status> {
        let issued = self.authority.issue(csr, &Role::Host(host), LIFE, now);
        let issued = issued.map_err(|error| Status::internal(error.to_string()))?;
        Ok(format!("{}{}", issued.to_pem(), self.authority.cert().to_pem()))
    }
}

#[tonic::async_trait]
impl AgentService for Service {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let v1::EnrolRequest { token, host, csr } = request.into_inner();
        let named = |code: &str, text: String| Status::permission_denied(format!("{code}: {text}"));
        let csr = Csr::from_der(&csr).map_err(|error| named(error.code(), error.to_string()))?;
        let token: JoinToken = token.parse().map_err(|error| named("token-malformed", format!("{error}")))?;
        let host = HostName::new(host).unwrap();
        let mut records = self.records.lock().unwrap();
        let record = records.iter_mut().find(|record| record.id == token.id());
        let ask = Ask { host: &host, key: csr.fingerprint() };
        let ours = self.authority.fingerprint();
        match token::verify(&token, record.as_deref(), ours, ask, now()) {
            Ok(token::Admission::First(used)) => *record.unwrap() = used,
            Ok(token::Admission::Again) => {}
            Err(refused) => return Err(named(refused.code(), refused.to_string())),
        }
        Ok(Response::new(v1::EnrolResponse { certificate_chain: self.issue(&csr, host, now())? }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let Some(Caller(Some(PeerIdentity { role: Role::Host(host), .. }))) =
            request.extensions().get().cloned()
        else {
            return Err(Status::unauthenticated("not-a-host: only a host renews"));
        };
        let csr = Csr::from_der(&request.get_ref().csr)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(v1::RenewResponse { certificate_chain: self.issue(&csr, host, now())? }))
    }

    type LinkStream = ReceiverStream<Result<LinkResponse, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<LinkRequest>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        assert!(matches!(
            request.extensions().get(),
            Some(Caller(Some(PeerIdentity { role: Role::Host(_), .. })))
        ));
        let (say, stream) = mpsc::channel(64);
        drop(self.ends.send(End { said: request.into_inner(), say }).await);
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Accepted(TlsStream<TcpStream>);

#[derive(Clone)]
struct Caller(Option<PeerIdentity>);

impl Connected for Accepted {
    type ConnectInfo = Caller;
    fn connect_info(&self) -> Caller {
        Caller(PeerIdentity::from_tls(self.0.get_ref().1.peer_certificates()).unwrap())
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
