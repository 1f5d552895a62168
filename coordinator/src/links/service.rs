//! The agents' service: enrolment, renewal, and the beginning of each link.

use super::authority::Issuer;
use super::peer::{not_allowed, now, peer_of, peer_refused, refusal};
use super::registry::Registry;
use super::session::{Outgoing, Session};
use crate::codes;
use crate::store::{Claim, StoreError};
use replank_common::ids::HostName;
use replank_identity::token::{self, Admission, Ask};
use replank_identity::{
    AuthorityError, BadCsr, Csr, Issued, JoinToken, PeerRefused, Revoked, TokenRecord, TokenRefused,
};
use replank_proto::MESSAGE_BYTES_MAX;
use replank_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use replank_proto::v1::{self, LinkRequest};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::{Code, Request, Response, Status, Streaming};

/// A caller without a certificate can only enrol; a token, a name and a certificate request fit many times.
const STRANGER_BYTES_MAX: usize = 64 << 10;
/// A token that somebody else claims meanwhile is judged once more, on what is written then.
const CLAIMS_MAX: usize = 2;

#[derive(Debug, Clone)]
pub(super) struct Agents {
    pub(super) registry: Arc<Registry>,
    pub(super) issuer: Arc<Issuer>,
    pub(super) sessions: TaskTracker,
}

#[tonic::async_trait]
impl AgentService for Agents {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let v1::EnrolRequest { token, host, csr } = request.into_inner();
        let token: JoinToken =
            token.parse().map_err(|error| token_refused(&TokenRefused::Malformed(error)))?;
        let host = HostName::new(host)
            .map_err(|error| refusal(Code::InvalidArgument, codes::BAD_REQUEST, "host-malformed", &error))?;
        let csr = Csr::from_der(&csr).map_err(|error| request_refused(&error))?;
        match self.admit(&token, &host, &csr).await {
            Ok(issued) => {
                tracing::info!(%host, serial = %issued.serial, "the host was enrolled");
                Ok(Response::new(v1::EnrolResponse { certificate_chain: self.issuer.chain(&issued) }))
            }
            Err(status) => {
                tracing::warn!(%host, token = %token.id(), reason = status.message(), "an enrolment was refused");
                Err(status)
            }
        }
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let peer = peer_of(&request)?;
        let host = peer.host().map_err(|refused| not_allowed(&refused))?;
        let csr = Csr::from_der(&request.get_ref().csr).map_err(|error| request_refused(&error))?;
        let issued = self.issuer.issue(&csr, host).map_err(|error| not_issued(&error))?;
        self.record(&issued).await?;
        tracing::info!(%host, serial = %issued.serial, "the host's certificate was renewed");
        Ok(Response::new(v1::RenewResponse { certificate_chain: self.issuer.chain(&issued) }))
    }

    type LinkStream = Outgoing;

    async fn link(&self, request: Request<Streaming<LinkRequest>>) -> Result<Response<Outgoing>, Status> {
        let peer = peer_of(&request)?;
        let host = peer.host().map_err(|refused| not_allowed(&refused))?.clone();
        let mut stream = request.into_inner();
        let begun = Session::begin(&mut stream, &peer, &self.registry).await;
        let (session, outgoing) = begun.inspect_err(|status| {
            tracing::warn!(%host, reason = status.message(), "a link was refused");
        })?;
        self.sessions.spawn(session.run(stream));
        Ok(Response::new(outgoing))
    }
}

impl Agents {
    async fn admit(&self, token: &JoinToken, host: &HostName, csr: &Csr) -> Result<Issued, Status> {
        let ask = Ask { host, key: csr.fingerprint() };
        for _ in 0..CLAIMS_MAX {
            let id = token.id();
            let record = self.registry.store.read(move |database| database.token(id)).await;
            let record = record.map_err(|error| store_failed(&error))?;
            let admission = token::verify(token, record.as_ref(), self.issuer.fingerprint(), ask, now())
                .map_err(|refused| token_refused(&refused))?;
            if self.registry.is_revoked(host) {
                return Err(peer_refused(&PeerRefused::Revoked(Revoked::Host { host: host.clone() })));
            }
            let issued = self.issuer.issue(csr, host).map_err(|error| not_issued(&error))?;
            match admission {
                Admission::Again => {
                    self.record(&issued).await?;
                    return Ok(issued);
                }
                Admission::First(used) => match self.claim(used, &issued).await? {
                    Claim::Won => return Ok(issued),
                    Claim::Lost => {}
                },
            }
        }
        Err(Status::aborted(format!(
            "{}: the token is being used by somebody else; ask again",
            codes::TOKEN_REFUSED
        )))
    }

    async fn claim(&self, used: TokenRecord, issued: &Issued) -> Result<Claim, Status> {
        let (issued, now_ms) = (issued.clone(), self.registry.clock.now_ms());
        let claimed =
            self.registry.store.write(move |database| database.claim_token(&used, &issued, now_ms)).await;
        claimed.map_err(|error| store_failed(&error))
    }

    async fn record(&self, issued: &Issued) -> Result<(), Status> {
        let (issued, now_ms) = (issued.clone(), self.registry.clock.now_ms());
        let recorded =
            self.registry.store.write(move |database| database.record_issued(&[issued], now_ms)).await;
        recorded.map_err(|error| store_failed(&error))
    }
}

fn token_refused(refused: &TokenRefused) -> Status {
    // The reason of a malformed token is in its source.
    match refused {
        TokenRefused::Malformed(why) => {
            refusal(Code::InvalidArgument, codes::TOKEN_REFUSED, refused.code(), why)
        }
        TokenRefused::Foreign { .. }
        | TokenRefused::Unknown { .. }
        | TokenRefused::WrongHost { .. }
        | TokenRefused::Used { .. }
        | TokenRefused::Expired { .. } => {
            refusal(Code::PermissionDenied, codes::TOKEN_REFUSED, refused.code(), refused)
        }
    }
}

pub(super) fn request_refused(error: &BadCsr) -> Status {
    refusal(Code::InvalidArgument, codes::REQUEST_REFUSED, error.code(), error)
}

pub(super) fn not_issued(error: &AuthorityError) -> Status {
    tracing::error!(code = codes::AUTHORITY, %error, "a certificate was not issued");
    Status::internal(format!("{}: {error}", codes::AUTHORITY))
}

pub(super) fn store_failed(error: &StoreError) -> Status {
    tracing::error!(code = error.code(), %error, "the store failed a request");
    Status::internal(format!("{}: {error}", error.code()))
}

/// The service as callers with a certificate see it, and as those without one do: they may say less.
#[derive(Debug, Clone)]
pub(super) struct ByCaller {
    known: AgentServiceServer<Agents>,
    stranger: AgentServiceServer<Agents>,
}

impl ByCaller {
    pub(super) fn new(agents: Agents) -> Self {
        let service = AgentServiceServer::new(agents);
        Self {
            known: service
                .clone()
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            stranger: service.max_decoding_message_size(STRANGER_BYTES_MAX),
        }
    }
}

impl NamedService for ByCaller {
    const NAME: &'static str = <AgentServiceServer<Agents> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for ByCaller {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if super::peer::is_known(request.extensions()) {
            self.known.call(request)
        } else {
            self.stranger.call(request)
        }
    }
}
