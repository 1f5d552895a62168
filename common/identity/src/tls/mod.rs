//! TLS for both sides: 1.3 only, HTTP/2 only, without resumption, with credentials that can be replaced while
//! serving.
//!
//! Without resumption, because a resumed session carries the certificate of the session before: a revoked or
//! replaced one would live on in tickets.
//!
//! The server asks for a client certificate and does without one (an agent that enrols has none yet), so each
//! service must look at [`crate::PeerIdentity::from_tls`] and refuse who is nobody.
//!
//! `tests/tls/grpc.rs` is a small coordinator and a small agent in full, with tonic.
//!
//! # The coordinator
//! Handshakes run off the accept loop and in bounded number and time, or one silent client would keep out all
//! others.
//! ```
//! use replank_identity::{CredentialStore, Revocations, tls};
//! use std::{io, sync::Arc, time::Duration};
//! use tokio::net::{TcpListener, TcpStream};
//! use tokio::sync::{Semaphore, mpsc};
//!
//! const HANDSHAKES_MAX: usize = 256;
//! const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
//!
//! /// Feeds tonic's `serve_with_incoming(ReceiverStream::new(streams))`. The peer of a stream is
//! /// `PeerIdentity::from_tls(stream.get_ref().1.peer_certificates())`.
//! async fn accept(
//!     listener: TcpListener,
//!     credentials: Arc<CredentialStore>,
//!     revocations: Arc<Revocations>,
//!     streams: mpsc::Sender<io::Result<tokio_rustls::server::TlsStream<TcpStream>>>,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let config = tls::server_config(&credentials, &revocations, Arc::new(tls::SystemClock))?;
//!     let acceptor = tls::TlsAcceptor::from(config);
//!     let slots = Arc::new(Semaphore::new(HANDSHAKES_MAX));
//!     loop {
//!         let slot = slots.clone().acquire_owned().await?;
//!         let (socket, from) = listener.accept().await?;
//!         let (acceptor, streams) = (acceptor.clone(), streams.clone());
//!         tokio::spawn(async move {
//!             let _slot = slot;
//!             match tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(socket)).await {
//!                 Ok(Ok(stream)) => drop(streams.send(Ok(stream)).await),
//!                 Ok(Err(error)) => match tls::explain(&error) {
//!                     Some(refusal) => eprintln!("{from}: {}: {refusal}", refusal.code()),
//!                     None => eprintln!("{from}: {error}"),
//!                 },
//!                 Err(_) => eprintln!("{from}: no handshake within {HANDSHAKE_TIME_MAX:?}"),
//!             }
//!         });
//!     }
//! }
//! ```
//!
//! # An agent or an operator
//! ```
//! use replank_identity::{CredentialStore, tls};
//! use std::{io, sync::Arc};
//! use tokio::net::TcpStream;
//!
//! /// Inside tonic's `Endpoint::connect_with_connector(tower::service_fn(…))`, wrapped in hyper-util's
//! /// `TokioIo`. The endpoint's URI must say `http://`: TLS is done here, and tonic must not do it again.
//! /// Its `connect_timeout` bounds this whole.
//! async fn dial(
//!     address: &str,
//!     credentials: Arc<CredentialStore>,
//! ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
//!     let clock = Arc::new(tls::SystemClock);
//!     let config = tls::client_config(&credentials, clock).map_err(io::Error::other)?;
//!     tls::connect(config, TcpStream::connect(address).await?).await
//! }
//! ```

mod explain;
mod verify;

pub use explain::{TlsRefusal, explain};
pub use rustls::time_provider::{DefaultTimeProvider as SystemClock, TimeProvider};
pub use tokio_rustls::TlsAcceptor;
pub use verify::ServerRefused;
pub(crate) use verify::{client_chain, server_chain};

use crate::credentials::CredentialStore;
use crate::ids::Fingerprint;
use crate::revocation::Revocations;
use crate::role::Role;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{DnsName, ServerName};
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use verify::{ClientVerifier, CoordinatorVerifier, Trust};

/// The one protocol spoken inside: HTTP/2, for gRPC.
const ALPN_H2: &[u8] = b"h2";

/// Sent as the server's name by every client. Never compared with anything: a coordinator is known by its
/// role.
const SERVER_NAME: &str = "coordinator.replank.internal";

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    #[error("only the coordinator may serve, and these credentials are for {role}; use the coordinator's")]
    NotTheCoordinator { role: Role },
    #[error(
        "only hosts and operators call, and these credentials are for {role}; use an operator's or a host's"
    )]
    NotACaller { role: Role },
    #[error("failed to set up TLS")]
    Rustls(#[from] rustls::Error),
    #[error("failed to set up the verification of client certificates")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// aws-lc-rs, named here and never looked up as the process default: which cryptography is used must not
/// depend on which library set the default first.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// The name that a client gives to rustls; [`connect`] does so itself.
pub fn server_name() -> ServerName<'static> {
    let name = DnsName::try_from(SERVER_NAME).expect("a constant that is a DNS name");
    ServerName::DnsName(name)
}

/// The coordinator's side. Client certificates are optional, but one that is presented must be of this
/// authority, in force, carry a host's or an operator's role, and not be revoked.
///
/// Credentials and revocations are read anew in each handshake.
///
/// # Errors
/// [`TlsConfigError::NotTheCoordinator`] when the credentials are somebody else's.
pub fn server_config(
    credentials: &Arc<CredentialStore>,
    revocations: &Arc<Revocations>,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let current = credentials.current();
    match &current.identity().role {
        Role::Coordinator => {}
        role @ (Role::Host(_) | Role::Operator { .. }) => {
            return Err(TlsConfigError::NotTheCoordinator { role: role.clone() });
        }
    }
    let verifier = ClientVerifier::new(client_chain(current.authority())?, revocations.clone());
    let mut config = ServerConfig::builder_with_details(provider().clone(), clock)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(credentials.clone());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Ok(Arc::new(config))
}

/// A host's or an operator's side: believes the authority's coordinator, by whatever name or address it was
/// reached, and presents the credentials that are current when it connects.
///
/// # Errors
/// [`TlsConfigError::NotACaller`] when the credentials are the coordinator's.
pub fn client_config(
    credentials: &Arc<CredentialStore>,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let current = credentials.current();
    match &current.identity().role {
        Role::Host(_) | Role::Operator { .. } => {}
        Role::Coordinator => return Err(TlsConfigError::NotACaller { role: Role::Coordinator }),
    }
    let trust = Trust::Authority(current.authority().clone());
    let config = ClientConfig::builder_with_details(provider().clone(), clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(CoordinatorVerifier::new(trust)))
        .with_client_cert_resolver(credentials.clone());
    Ok(finish(config))
}

/// An agent's side before it has credentials: believes the coordinator whose authority has this fingerprint
/// (from the join token), and presents nothing.
///
/// # Errors
/// [`TlsConfigError::Rustls`].
pub fn enrolment_client_config(
    authority: Fingerprint,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let config = ClientConfig::builder_with_details(provider().clone(), clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(CoordinatorVerifier::new(Trust::Pinned(authority))))
        .with_no_client_auth();
    Ok(finish(config))
}

/// Does a client's handshake over `socket` and waits for the server's first byte, which stays to be read.
///
/// In TLS 1.3 a client is done before the server has judged its certificate. HTTP/2 would begin to write, and lose
/// the server's reason in a reset connection. A server of HTTP/2 speaks at once when it accepts a client (tonic's
/// does, unless it was told `accept_http1`), so its first byte means: accepted. There is no time limit here.
///
/// # Errors
/// Of the socket or of TLS; [`explain`] tells which certificate was refused and why.
pub async fn connect<S>(config: Arc<ClientConfig>, socket: S) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = TlsConnector::from(config).connect(server_name(), socket).await?;
    if stream.fill_buf().await?.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the new connection"));
    }
    Ok(stream)
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Arc::new(config)
}
