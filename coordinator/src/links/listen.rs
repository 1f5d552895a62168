//! The listener: accepts, does TLS off the accept loop, and hands the connections to tonic.

use super::authority::Issuer;
use super::handle::Handle;
use super::operators::Operators;
use super::peer::Caller;
use super::registry::{Events, Registry};
use super::service::{Agents, ByCaller};
use crate::codes;
use crate::config::{Folder, Settings};
use crate::drive::Clock;
use crate::store::{Store, StoreError};
use replank_common::ids::Epoch;
use replank_identity::files::FileError;
use replank_identity::tls::{self, TlsAcceptor, TlsConfigError};
use replank_identity::{AuthorityError, BadAuthority, BadCredentials, BadKey, PeerIdentity, Revocations};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

/// Handshakes at the same time; more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 256;
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections at the same time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32_768;
/// After an error of `accept`, of which running out of file descriptors is the one to be expected.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection whose other end vanished without a word is closed within the sum of both.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIME_MAX: Duration = Duration::from_secs(10);
/// Calls at the same time on one connection.
const STREAMS_MAX: u32 = 64;
/// How long calls may take to end after a stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(3);

/// Why the links cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LinksFailed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the authority's files cannot be used; restore the coordinator's folder from a backup")]
    Authority(#[from] BadAuthority),
    #[error("the coordinator's certificate cannot be used; remove `coordinator.pem`, and a new one is made")]
    Credentials(#[from] BadCredentials),
    #[error("failed to make a key for the coordinator")]
    Key(#[from] BadKey),
    #[error("failed to make the coordinator's certificate: {0}")]
    Issue(AuthorityError),
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    #[error("the listener failed")]
    Serve(#[from] tonic::transport::Error),
}

impl From<AuthorityError> for LinksFailed {
    fn from(error: AuthorityError) -> Self {
        Self::Issue(error)
    }
}

impl LinksFailed {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::File(_) => codes::FOLDER_FILE,
            Self::Authority(_) | Self::Credentials(_) | Self::Key(_) | Self::Issue(_) | Self::Tls(_) => {
                codes::AUTHORITY
            }
            Self::Serve(_) => codes::LISTEN,
        }
    }
}

/// The links before they are served.
#[derive(Debug)]
pub struct Links {
    registry: Arc<Registry>,
    issuer: Arc<Issuer>,
}

impl Links {
    /// Reads the folder's authority, the coordinator's own certificate (renewing it if it is due) and the revocations.
    ///
    /// `epoch` is what every welcome carries: the drive's.
    ///
    /// # Errors
    /// A file of the folder cannot be used.
    pub async fn open(
        folder: &Folder,
        settings: &Settings,
        store: Store,
        clock: Clock,
        epoch: Epoch,
    ) -> Result<(Self, Events), LinksFailed> {
        let revoked = store.read(|database| database.revoked()).await?;
        let issuer = Arc::new(Issuer::open(folder, settings, store.clone(), clock).await?);
        let (registry, events) = Registry::new(
            store,
            clock,
            epoch,
            settings.heartbeat,
            Arc::new(Revocations::new(revoked)),
            issuer.fingerprint(),
        );
        Ok((Self { registry: Arc::new(registry), issuer }, events))
    }

    pub fn handle(&self) -> Handle {
        Handle { registry: Arc::clone(&self.registry) }
    }

    /// The operators' certificates.
    pub fn operators(&self) -> Operators {
        Operators::new(Arc::clone(&self.registry), Arc::clone(&self.issuer))
    }

    /// Serves the agents, and `others` (the operators' service) beside them, until `stop`; links are cut then, and calls have a
    /// little time to end.
    ///
    /// # Errors
    /// [`LinksFailed::Tls`], [`LinksFailed::Serve`].
    pub async fn serve(
        self,
        listener: TcpListener,
        others: Routes,
        stop: CancellationToken,
    ) -> Result<(), LinksFailed> {
        let config =
            tls::server_config(self.issuer.own(), &self.registry.revocations, Arc::new(tls::SystemClock))?;
        let (streams, incoming) = mpsc::channel(1);
        let sessions = TaskTracker::new();
        let agents = Agents {
            registry: Arc::clone(&self.registry),
            issuer: Arc::clone(&self.issuer),
            sessions: sessions.clone(),
        };
        let revocations = Arc::clone(&self.registry.revocations);
        let accepting = accept(listener, TlsAcceptor::from(config), revocations, streams);
        let serving = Server::builder()
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_TIME_MAX))
            .max_concurrent_streams(Some(STREAMS_MAX))
            .add_routes(others.add_service(ByCaller::new(agents)))
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), stop.clone().cancelled_owned());
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            served = &mut serving => Some(served),
            () = accepting => None,
            () = self.issuer.keep_renewed() => None,
            () = stop.cancelled() => None,
        };
        self.registry.stop();
        sessions.close();
        let ending = async {
            let served = match ended {
                Some(served) => served,
                None => serving.await,
            };
            sessions.wait().await;
            served
        };
        match tokio::time::timeout(STOP_TIME_MAX, ending).await {
            Ok(served) => served?,
            Err(_) => tracing::warn!("some calls did not end in time; they are dropped"),
        }
        Ok(())
    }
}

/// Accepts for ever. The peer of a connection is read once; each call on it asks whether the certificate still holds.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    revocations: Arc<Revocations>,
    streams: mpsc::Sender<io::Result<Accepted>>,
) {
    let (handshakes, connections) =
        (Arc::new(Semaphore::new(HANDSHAKES_MAX)), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let slots =
            (Arc::clone(&handshakes).acquire_owned().await, Arc::clone(&connections).acquire_owned().await);
        let (Ok(handshake), Ok(connection)) = slots else { return };
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, revocations, streams) = (acceptor.clone(), Arc::clone(&revocations), streams.clone());
        tokio::spawn(async move {
            let _handshake = handshake;
            match tokio::time::timeout(HANDSHAKE_TIME_MAX, shake(&acceptor, socket, revocations, connection))
                .await
            {
                // Fails only when the coordinator is stopping.
                Ok(Ok(accepted)) => drop(streams.send(Ok(accepted)).await),
                Ok(Err(why)) => tracing::warn!(%from, why, "a connection was refused"),
                Err(_) => tracing::warn!(%from, "no handshake came within {HANDSHAKE_TIME_MAX:?}"),
            }
        });
    }
}

async fn shake(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    revocations: Arc<Revocations>,
    connection: OwnedSemaphorePermit,
) -> Result<Accepted, String> {
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    let stream = acceptor.accept(socket).await.map_err(|error| match tls::explain(&error) {
        Some(refusal) => format!("{}: {refusal}", codes::CERTIFICATE_REFUSED),
        None => error.to_string(),
    })?;
    let peer = PeerIdentity::from_tls(stream.get_ref().1.peer_certificates())
        .map_err(|refused| format!("{}: {refused}", codes::CERTIFICATE_REFUSED))?;
    Ok(Accepted { stream, caller: Caller { peer, revocations }, _connection: connection })
}

/// A connection whose caller is known, or known to be nobody.
struct Accepted {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    _connection: OwnedSemaphorePermit,
}

impl Connected for Accepted {
    type ConnectInfo = Caller;
    fn connect_info(&self) -> Caller {
        self.caller.clone()
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
