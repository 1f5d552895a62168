//! A peer's certificate, read into who it speaks for.

use crate::ids::{Fingerprint, Serial};
use crate::revocation::{Revocations, Revoked};
use crate::role::{BadRole, Role, SCHEME};
use crate::time::{UnixSeconds, Validity};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::GeneralName;

/// Whom a certificate speaks for.
///
/// Only reads: that the fleet's authority signed the certificate was checked in the TLS handshake. Never
/// build one from a certificate that came by another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    pub role: Role,
    pub serial: Serial,
    pub validity: Validity,
    /// Of the peer's key.
    pub fingerprint: Fingerprint,
}

/// Why a certificate speaks for nobody here, or no longer does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    #[error("the certificate cannot be parsed")]
    Encoding,
    #[error("the certificate carries no replank role; it was not issued by a replank authority")]
    NoRole,
    #[error("the certificate carries {count} replank roles; exactly one is allowed")]
    ManyRoles { count: usize },
    #[error("the certificate's role is malformed")]
    BadRole(#[from] BadRole),
    #[error("the certificate's serial number is not one that a replank authority gives")]
    BadSerial,
    #[error("the certificate of {role} ended at {at}; enrol again with a new join token")]
    Expired { role: Role, at: UnixSeconds },
    #[error("the certificate of {role} holds only from {from}; check the clocks of both sides")]
    NotYetValid { role: Role, from: UnixSeconds },
    #[error(transparent)]
    Revoked(#[from] Revoked),
}

impl PeerRefused {
    /// The stable name of the refusal, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Encoding | Self::NoRole | Self::ManyRoles { .. } | Self::BadRole(_) | Self::BadSerial => {
                "certificate-malformed"
            }
            Self::Expired { .. } => "certificate-expired",
            Self::NotYetValid { .. } => "certificate-not-yet-valid",
            Self::Revoked(_) => "certificate-revoked",
        }
    }
}

impl PeerIdentity {
    /// Reads a leaf certificate.
    ///
    /// # Errors
    /// [`PeerRefused`] when it carries no role, more than one, or one in any but the canonical spelling.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, PeerRefused> {
        let (rest, x509) = x509_parser::parse_x509_certificate(der).map_err(|_| PeerRefused::Encoding)?;
        if !rest.is_empty() {
            return Err(PeerRefused::Encoding);
        }
        let names = x509.subject_alternative_name().map_err(|_| PeerRefused::Encoding)?;
        let roles: Vec<&str> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                // Any spelling of the scheme counts, so that an odd one is refused rather than overlooked.
                GeneralName::URI(uri) if is_ours(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let role = match roles[..] {
            [] => return Err(PeerRefused::NoRole),
            [uri] => uri.parse()?,
            _ => return Err(PeerRefused::ManyRoles { count: roles.len() }),
        };
        Ok(Self {
            role,
            serial: Serial::from_der_integer(x509.raw_serial()).ok_or(PeerRefused::BadSerial)?,
            validity: Validity::of(x509.validity()).ok_or(PeerRefused::Encoding)?,
            fingerprint: Fingerprint::of_spki(x509.public_key().raw),
        })
    }

    /// Reads what TLS knows of the peer: `None` when it presented no certificate, which is right for
    /// enrolment only.
    ///
    /// # Errors
    /// As [`Self::from_der`].
    pub fn from_tls(chain: Option<&[CertificateDer<'_>]>) -> Result<Option<Self>, PeerRefused> {
        chain.and_then(<[_]>::first).map(Self::from_der).transpose()
    }

    /// Whether the certificate still holds: not ended, not revoked. The handshake checked the same, but a
    /// stream outlives its handshake by months; so ask again for each message.
    ///
    /// # Errors
    /// [`PeerRefused::Expired`], [`PeerRefused::NotYetValid`] or [`PeerRefused::Revoked`].
    pub fn check(&self, revocations: &Revocations, now: UnixSeconds) -> Result<(), PeerRefused> {
        if now > self.validity.not_after {
            return Err(PeerRefused::Expired { role: self.role.clone(), at: self.validity.not_after });
        }
        if now < self.validity.not_before {
            return Err(PeerRefused::NotYetValid { role: self.role.clone(), from: self.validity.not_before });
        }
        Ok(revocations.check(self)?)
    }
}

fn is_ours(uri: &str) -> bool {
    uri.as_bytes().get(..SCHEME.len()).is_some_and(|head| head.eq_ignore_ascii_case(SCHEME.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber};

    fn certificate(uris: &[&str], serial: &[u8]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["compute1".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(Ia5String::try_from(*uri).unwrap()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn read(uris: &[&str]) -> Result<PeerIdentity, PeerRefused> {
        PeerIdentity::from_der(&certificate(uris, &[0x41; 16]))
    }

    #[test]
    fn exactly_one_role_is_needed() {
        let one = read(&["replank://host/compute1"]).unwrap();
        assert_eq!(one.role.to_string(), "replank://host/compute1");
        assert_eq!(one.serial.as_bytes(), &[0x41; 16]);

        assert_eq!(read(&[]), Err(PeerRefused::NoRole));
        assert_eq!(read(&["https://example.org/"]), Err(PeerRefused::NoRole));
        let two = ["replank://host/compute1", "replank://coordinator"];
        assert_eq!(read(&two), Err(PeerRefused::ManyRoles { count: 2 }));
        let twice = ["replank://host/compute1", "replank://host/compute1"];
        assert_eq!(read(&twice), Err(PeerRefused::ManyRoles { count: 2 }));
        let odd = ["replank://host/compute1", "RePlank://coordinator"];
        assert_eq!(read(&odd), Err(PeerRefused::ManyRoles { count: 2 }));
        assert!(matches!(read(&["REPLANK://host/compute1"]), Err(PeerRefused::BadRole(_))));
        assert!(matches!(read(&["replank://root/compute1"]), Err(PeerRefused::BadRole(_))));
    }

    #[test]
    fn foreign_serials_and_broken_bytes_are_refused() {
        let uri = ["replank://coordinator"];
        assert_eq!(PeerIdentity::from_der(&certificate(&uri, &[1])), Err(PeerRefused::BadSerial));
        let mut bytes = certificate(&uri, &[0x41; 16]).to_vec();
        bytes.push(0);
        assert_eq!(PeerIdentity::from_der(&CertificateDer::from(bytes)), Err(PeerRefused::Encoding));
        assert_eq!(PeerIdentity::from_tls(None), Ok(None));
        assert_eq!(PeerIdentity::from_tls(Some(&[])), Ok(None));
    }

    #[test]
    fn a_certificate_can_end_in_the_middle_of_a_stream() {
        let peer = read(&["replank://host/compute1"]).unwrap();
        let none = Revocations::default();
        let end = peer.validity.not_after;
        assert_eq!(peer.check(&none, end), Ok(()));
        let after = UnixSeconds(end.0 + 1);
        assert_eq!(peer.check(&none, after).unwrap_err().code(), "certificate-expired");
        let before = UnixSeconds(peer.validity.not_before.0 - 1);
        assert_eq!(peer.check(&none, before).unwrap_err().code(), "certificate-not-yet-valid");
    }
}
