//! Who calls, and how a refusal is said.

use crate::codes;
use replank_identity::{
    AccessRefused, Level, OperatorName, PeerIdentity, PeerRefused, Revocations, Role, UnixSeconds,
};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::{Code, Request, Status};

/// The key of a status's metadata with the stable name of a refusal, for machines.
const REFUSAL_NAME: &str = "replank-refusal";

/// What the listener notes of a connection: found in `Request::extensions`.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) peer: Option<PeerIdentity>,
    pub(super) revocations: Arc<Revocations>,
}

/// Certificates are judged by the wall clock, which may be set while the process lives.
pub(super) fn now() -> UnixSeconds {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(wall.as_secs())
}

/// Who sent a request, by a certificate that holds now.
///
/// # Errors
/// `UNAUTHENTICATED` with RP6101 or RP6102.
pub fn peer_of<T>(request: &Request<T>) -> Result<PeerIdentity, Status> {
    let caller = request.extensions().get::<Caller>();
    let Some(Caller { peer: Some(peer), revocations }) = caller else {
        let refused = AccessRefused::NoCertificate;
        return Err(refusal(Code::Unauthenticated, codes::NO_CERTIFICATE, refused.code(), &refused));
    };
    match peer.check(revocations, now()) {
        Ok(()) => Ok(peer.clone()),
        Err(refused) => Err(peer_refused(&refused)),
    }
}

/// The operator who sent a request, if of this level at least.
///
/// # Errors
/// As [`peer_of`]; `PERMISSION_DENIED` with RP6103.
pub fn operator_of<T>(request: &Request<T>, needed: Level) -> Result<OperatorName, Status> {
    caller_of(request, needed).map(|caller| caller.name)
}

/// An operator with the certificate that it called with.
#[derive(Debug, Clone)]
pub struct OperatorCaller {
    pub name: OperatorName,
    pub level: Level,
    pub(super) peer: PeerIdentity,
}

/// As [`operator_of`], for calls to which the certificate itself matters.
///
/// # Errors
/// As [`operator_of`].
pub fn caller_of<T>(request: &Request<T>, needed: Level) -> Result<OperatorCaller, Status> {
    let peer = peer_of(request)?;
    peer.require(needed).map_err(|refused| not_allowed(&refused))?;
    match &peer.role {
        Role::Operator { name, level } => Ok(OperatorCaller { name: name.clone(), level: *level, peer }),
        Role::Host(_) | Role::Coordinator => {
            Err(not_allowed(&AccessRefused::NotAnOperator { role: peer.role }))
        }
    }
}

pub(super) fn peer_refused(refused: &PeerRefused) -> Status {
    refusal(Code::Unauthenticated, codes::CERTIFICATE_REFUSED, refused.code(), refused)
}

pub(super) fn not_allowed(refused: &AccessRefused) -> Status {
    refusal(Code::PermissionDenied, codes::NOT_ALLOWED, refused.code(), refused)
}

/// `CODE: text`, with the stable name beside it.
pub(super) fn refusal(status: Code, code: &str, name: &'static str, text: &impl std::fmt::Display) -> Status {
    let mut status = Status::new(status, format!("{code}: {text}"));
    status.metadata_mut().insert(REFUSAL_NAME, tonic::metadata::MetadataValue::from_static(name));
    status
}

/// Whether a request came over a connection with a certificate.
pub(super) fn is_known(extensions: &tonic::codegen::http::Extensions) -> bool {
    extensions.get::<Caller>().is_some_and(|caller| caller.peer.is_some())
}
