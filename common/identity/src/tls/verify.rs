//! What is checked of the other side in a handshake.

use super::provider;
use crate::authority::AuthorityCert;
use crate::ids::Fingerprint;
use crate::peer::{PeerIdentity, PeerRefused};
use crate::revocation::Revocations;
use crate::role::Role;
use replank_common::planted::{self, Planted};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, verify_server_cert_signed_by_trust_anchor};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// Why a client does not believe a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerRefused {
    #[error(
        "the server does not belong to the authority {expected} that the join token names; check the coordinator's \
         address, or make a token on that coordinator"
    )]
    OtherAuthority { expected: Fingerprint },
    #[error("the server is {role} and not the coordinator; check the address")]
    NotTheCoordinator { role: Role },
    #[error("the server's certificate speaks for nobody")]
    Peer(#[from] PeerRefused),
}

impl ServerRefused {
    /// The stable name of the refusal, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherAuthority { .. } => "server-foreign",
            Self::NotTheCoordinator { .. } => "server-not-coordinator",
            Self::Peer(refused) => refused.code(),
        }
    }
}

/// Checks a client's chain, validity and purpose. Not its role, and not revocation.
pub(crate) fn client_chain(
    authority: &AuthorityCert,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    WebPkiClientVerifier::builder_with_provider(authority.roots().clone(), provider().clone())
        .allow_unauthenticated()
        .build()
}

/// Checks that `leaf` was signed by `authority` itself for serving, and holds at `now`. Not its role.
pub(crate) fn server_chain(
    leaf: &CertificateDer<'_>,
    authority: &AuthorityCert,
    now: UnixTime,
) -> Result<(), Error> {
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(
        &ParsedCertificate::try_from(leaf)?,
        authority.roots(),
        &[],
        now,
        algorithms,
    )
}

/// The coordinator's view of who calls.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    revocations: Arc<Revocations>,
}

impl ClientVerifier {
    pub(super) fn new(chain: Arc<dyn ClientCertVerifier>, revocations: Arc<Revocations>) -> Self {
        Self { chain, revocations }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // The authority signs leafs itself (path length 0), so nothing that the peer sends between helps.
        let verified = self.chain.verify_client_cert(end_entity, &[], now)?;
        let peer = PeerIdentity::from_der(end_entity).map_err(refused)?;
        match &peer.role {
            Role::Host(_) | Role::Operator { .. } => {}
            // Its purpose, serving, was refused above already; here by role too.
            Role::Coordinator => return Err(CertificateError::ApplicationVerificationFailure.into()),
        }
        // Not as our own error: this one makes rustls tell the peer `certificate_revoked`.
        self.revocations.check(&peer).map_err(|_| CertificateError::Revoked)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What a client believes a coordinator by.
#[derive(Debug)]
pub(super) enum Trust {
    /// The authority it was enrolled with.
    Authority(AuthorityCert),
    /// Before enrolment: the authority, sent along by the server, whose key has this fingerprint.
    Pinned(Fingerprint),
}

/// A client's view of the server.
#[derive(Debug)]
pub(super) struct CoordinatorVerifier {
    trust: Trust,
}

impl CoordinatorVerifier {
    pub(super) fn new(trust: Trust) -> Self {
        Self { trust }
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        // Not compared: operators reach a coordinator by address, alias or virtual IP, and only the
        // authority, which names the coordinator by its role, decides who it is.
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Authority(_) if planted::is(Planted::OtherFleetsCertificate) => {}
            Trust::Authority(authority) => server_chain(end_entity, authority, now)?,
            Trust::Pinned(expected) => {
                // Anybody can send along an authority's certificate, so having it proves nothing: the leaf
                // must be signed by its key.
                let authority = intermediates
                    .iter()
                    .filter_map(|der| AuthorityCert::from_der(der.clone().into_owned()).ok())
                    .find(|authority| authority.fingerprint() == *expected)
                    .ok_or_else(|| refused(ServerRefused::OtherAuthority { expected: *expected }))?;
                server_chain(end_entity, &authority, now)?;
            }
        }
        let peer = PeerIdentity::from_der(end_entity).map_err(|error| refused(ServerRefused::from(error)))?;
        match peer.role {
            Role::Coordinator => Ok(ServerCertVerified::assertion()),
            role @ (Role::Host(_) | Role::Operator { .. }) => {
                Err(refused(ServerRefused::NotTheCoordinator { role }))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// Never asked for: the configurations allow TLS 1.3 alone.
fn only_tls13() -> Error {
    PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()
}
