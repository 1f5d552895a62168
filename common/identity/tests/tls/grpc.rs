//! With tonic, as the coordinator and the agents use it: the peer is known in each call, and a refused client reads the
//! reason from the error of connecting.

use crate::fleet::{Fleet, NOW, leaf};
use hyper_util::rt::TokioIo;
use replank_common::ids::HostName;
use replank_identity::{PeerIdentity, PeerRefused, RevokedSet, tls};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Service, http};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection whose peer was read once, when it was accepted.
struct Accepted {
    stream: TlsStream<TcpStream>,
    peer: Option<PeerIdentity>,
}

impl Accepted {
    fn new(stream: TlsStream<TcpStream>) -> Result<Self, PeerRefused> {
        let peer = PeerIdentity::from_tls(stream.get_ref().1.peer_certificates())?;
        Ok(Self { stream, peer })
    }
}

/// What a service finds in `Request::extensions`.
#[derive(Clone)]
struct Caller(Option<PeerIdentity>);

impl Connected for Accepted {
    type ConnectInfo = Caller;
    fn connect_info(&self) -> Caller {
        Caller(self.peer.clone())
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The service `test.Who`, written out by hand: answers with the caller's role.
#[derive(Clone)]
struct Who;

impl tonic::server::NamedService for Who {
    const NAME: &'static str = "test.Who";
}

impl tonic::server::UnaryService<()> for Who {
    type Response = String;
    type Future = std::future::Ready<Result<Response<String>, Status>>;
    fn call(&mut self, request: Request<()>) -> Self::Future {
        let who = match request.extensions().get::<Caller>() {
            Some(Caller(Some(peer))) => peer.role.to_string(),
            Some(Caller(None)) => "nobody".to_owned(),
            None => "unknown".to_owned(),
        };
        std::future::ready(Ok(Response::new(who)))
    }
}

impl Service<http::Request<tonic::body::Body>> for Who {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async {
            let codec = ProstCodec::<String, ()>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Who, request).await)
        })
    }
}

async fn serve(fleet: &Fleet) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls::TlsAcceptor::from(fleet.server());
    let (streams, incoming) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, streams) = (acceptor.clone(), streams.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let accepted = Accepted::new(stream).map_err(io::Error::other);
                drop(streams.send(accepted).await);
            });
        }
    });
    tokio::spawn(Server::builder().add_service(Who).serve_with_incoming(ReceiverStream::new(incoming)));
    address
}

async fn dial(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_timeout(PATIENCE)
        .connect_with_connector(tower::service_fn(move |_| {
            let config = config.clone();
            async move {
                let socket = TcpStream::connect(address).await?;
                tls::connect(config, socket).await.map(TokioIo::new)
            }
        }))
        .await
}

async fn ask(channel: Channel) -> String {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec = ProstCodec::<(), String>::default();
    let path = http::uri::PathAndQuery::from_static("/test.Who/Ask");
    let call = client.unary(Request::new(()), path, codec);
    tokio::time::timeout(PATIENCE, call).await.expect("an answer in time").unwrap().into_inner()
}

#[tokio::test]
async fn a_service_knows_its_caller() {
    let fleet = Fleet::new();
    let address = serve(&fleet).await;
    let role = "replank://host/compute1";
    let channel = dial(address, fleet.client(&fleet.caller(role))).await.unwrap();
    assert_eq!(ask(channel).await, role);
    let pinned = fleet.authority.fingerprint();
    let enrolling = tls::enrolment_client_config(pinned, fleet.client_clock.clone()).unwrap();
    assert_eq!(ask(dial(address, enrolling).await.unwrap()).await, "nobody");
}

#[tokio::test]
async fn rotation_needs_no_new_server_and_no_new_endpoint() {
    let fleet = Fleet::new();
    let address = serve(&fleet).await;
    let role = "replank://host/compute1";
    let caller = fleet.caller(role);
    let config = fleet.client(&caller);
    let before = dial(address, config.clone()).await.unwrap();
    for (store, role) in [(&caller, role), (&fleet.coordinator, "replank://coordinator")] {
        let (key, new) = leaf(&fleet.authority, role);
        store.publish(&new.to_pem(), &key, NOW).unwrap();
    }
    assert_eq!(ask(dial(address, config).await.unwrap()).await, role);
    assert_eq!(ask(before).await, role, "an open connection stays");
}

#[tokio::test]
async fn a_refused_client_reads_the_reason_through_tonic() {
    let fleet = Fleet::new();
    let address = serve(&fleet).await;
    let client = fleet.client(&fleet.caller("replank://host/compute1"));
    let hosts = [HostName::new("compute1").unwrap()].into();
    fleet.revocations.replace(RevokedSet { hosts, ..RevokedSet::default() });
    // Many times: the reason must not depend on whose packet is first.
    for _ in 0..50 {
        let error = dial(address, client.clone()).await.unwrap_err();
        assert_eq!(tls::explain(&error), Some(tls::TlsRefusal::OursRevoked), "{error:?}");
    }
    let other = Fleet::new();
    let pinned = other.authority.fingerprint();
    let enrolling = tls::enrolment_client_config(pinned, fleet.client_clock.clone()).unwrap();
    let error = dial(address, enrolling).await.unwrap_err();
    assert_eq!(tls::explain(&error).unwrap().code(), "server-foreign", "{error:?}");
}
