//! What a failed handshake means, in words and under a stable name.

use super::ServerRefused;
use crate::peer::PeerRefused;
use crate::time::UnixSeconds;
use rustls::{AlertDescription, CertificateError, Error};
use std::error::Error as StdError;

/// Why TLS came to nothing, where certificates were the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsRefusal {
    #[error("the peer's certificate is of another authority; the two sides belong to different fleets")]
    ForeignAuthority,
    #[error("the peer's certificate ended at {at}; renew it, and check the clocks of both sides")]
    Expired { at: UnixSeconds },
    #[error("the peer's certificate holds only from {from}; check the clocks of both sides")]
    NotYetValid { from: UnixSeconds },
    #[error("the peer's certificate was revoked")]
    Revoked,
    #[error(
        "the peer's certificate is not for this side of a connection (a host cannot serve, a coordinator cannot call)"
    )]
    WrongPurpose,
    #[error("the peer's certificate is not acceptable: {0}")]
    Peer(#[from] PeerRefused),
    #[error(transparent)]
    Server(#[from] ServerRefused),
    #[error(
        "the other side refused our certificate: it is of another authority; enrol with this coordinator"
    )]
    OursForeign,
    #[error("the other side refused our certificate: it has expired; enrol again with a new join token")]
    OursExpired,
    #[error(
        "the other side refused our certificate: it was revoked; ask an admin to readmit this host or operator"
    )]
    OursRevoked,
    #[error("the other side refused our certificate ({alert})")]
    OursRefused { alert: String },
}

impl TlsRefusal {
    /// The stable name of the refusal, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ForeignAuthority | Self::OursForeign => "certificate-foreign",
            Self::Expired { .. } | Self::OursExpired => "certificate-expired",
            Self::NotYetValid { .. } => "certificate-not-yet-valid",
            Self::Revoked | Self::OursRevoked => "certificate-revoked",
            Self::WrongPurpose => "certificate-wrong-purpose",
            Self::Peer(refused) => refused.code(),
            Self::Server(refused) => refused.code(),
            Self::OursRefused { .. } => "certificate-refused",
        }
    }
}

/// Finds the TLS refusal behind an error, however deep a transport has wrapped it; `None` when certificates
/// were not the reason. Works on errors of [`super::connect`] and of accepting, also as tonic hands them on.
pub fn explain(error: &(dyn StdError + 'static)) -> Option<TlsRefusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return of_rustls(tls);
        }
        // An `io::Error` hides the error that it wraps and shows that one's source as its own.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn of_rustls(error: &Error) -> Option<TlsRefusal> {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA => Some(TlsRefusal::OursForeign),
            AlertDescription::CertificateExpired => Some(TlsRefusal::OursExpired),
            AlertDescription::CertificateRevoked => Some(TlsRefusal::OursRevoked),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => Some(TlsRefusal::OursRefused { alert: format!("{alert:?}") }),
            _ => None,
        },
        _ => None,
    }
}

fn of_certificate(error: &CertificateError) -> Option<TlsRefusal> {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some(TlsRefusal::ForeignAuthority)
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            Some(TlsRefusal::Expired { at: (*not_after).into() })
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            Some(TlsRefusal::NotYetValid { from: (*not_before).into() })
        }
        CertificateError::Revoked => Some(TlsRefusal::Revoked),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::ApplicationVerificationFailure => {
            Some(TlsRefusal::WrongPurpose)
        }
        CertificateError::Other(other) => {
            let inner: &(dyn StdError + 'static) = &*other.0;
            if let Some(refused) = inner.downcast_ref::<PeerRefused>() {
                return Some(refused.clone().into());
            }
            inner.downcast_ref::<ServerRefused>().map(|refused| refused.clone().into())
        }
        _ => None,
    }
}
