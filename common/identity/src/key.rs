//! Private keys, and the requests that prove possession of one.

use crate::ids::Fingerprint;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

/// A request of ours has some 250 bytes. The limit keeps a stranger's request from costing more than a
/// glance.
const CSR_BYTES_MAX: usize = 8 * 1024;

/// An ECDSA P-256 private key. Never shown by `Debug`; the only way out is [`PrivateKey::to_pem`].
pub struct PrivateKey {
    pair: KeyPair,
}

/// Why there is no usable private key.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    #[error("failed to make a private key")]
    Generate(#[source] rcgen::Error),
    #[error("found no private key in the PEM text; expected a `PRIVATE KEY` section")]
    NoKey,
    #[error("the private key is not an ECDSA P-256 key in PKCS #8; replank uses no other kind")]
    Kind,
}

impl PrivateKey {
    /// Draws a new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`BadKey::Generate`] when there is none.
    pub fn generate() -> Result<Self, BadKey> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(BadKey::Generate)?;
        Ok(Self { pair })
    }

    /// Reads the first private key of a PEM text, which may also hold certificates.
    ///
    /// # Errors
    /// [`BadKey`] when there is no key or one of another kind.
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        let PrivateKeyDer::Pkcs8(der) =
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadKey::NoKey)?
        else {
            return Err(BadKey::Kind);
        };
        let pair =
            KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(|_| BadKey::Kind)?;
        Ok(Self { pair })
    }

    /// PKCS #8 in PEM, wiped from memory when dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    /// The fingerprint of the public half.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_spki(&self.pair.subject_public_key_info())
    }

    /// A request for a certificate over this key. It asks for no name: the authority decides whom the key
    /// speaks for.
    ///
    /// # Errors
    /// [`BadKey::Generate`] when signing fails.
    pub fn request(&self) -> Result<Csr, BadKey> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(BadKey::Generate)?;
        Ok(Csr {
            der: request.der().to_vec(),
            key: spki(&self.pair.subject_public_key_info()).ok_or(BadKey::NoKey)?,
            fingerprint: self.fingerprint(),
        })
    }

    pub(crate) fn into_pair(self) -> KeyPair {
        self.pair
    }

    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A certificate signing request (PKCS #10) whose sender has proved to hold the key. Names in it were not
/// even read.
#[derive(Clone)]
pub struct Csr {
    der: Vec<u8>,
    key: rcgen::SubjectPublicKeyInfo,
    fingerprint: Fingerprint,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCsr {
    #[error("the certificate request has {bytes} bytes; at most {CSR_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("the certificate request is not PKCS #10 in DER")]
    Encoding,
    #[error("the certificate request is for a key that is not ECDSA P-256; replank uses no other kind")]
    KeyKind,
    #[error("the certificate request is not signed by the key it is for")]
    Possession,
}

impl BadCsr {
    /// The stable name of the refusal, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } | Self::Encoding => "csr-malformed",
            Self::KeyKind => "csr-key-kind",
            Self::Possession => "csr-possession",
        }
    }
}

impl Csr {
    /// Parses a request and checks its signature (proof of possession).
    ///
    /// # Errors
    /// [`BadCsr`] says what is wrong with it.
    pub fn from_der(der: &[u8]) -> Result<Self, BadCsr> {
        if der.len() > CSR_BYTES_MAX {
            return Err(BadCsr::TooLong { bytes: der.len() });
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| BadCsr::Encoding)?;
        if !rest.is_empty() {
            return Err(BadCsr::Encoding);
        }
        let spki_der = request.certification_request_info.subject_pki.raw;
        let key = spki(spki_der).ok_or(BadCsr::KeyKind)?;
        request.verify_signature().map_err(|_| BadCsr::Possession)?;
        Ok(Self { der: der.to_vec(), key, fingerprint: Fingerprint::of_spki(spki_der) })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The fingerprint of the key that the certificate is asked for.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn key(&self) -> &rcgen::SubjectPublicKeyInfo {
        &self.key
    }
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csr").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The public key in `spki_der` if it is ECDSA P-256.
fn spki(spki_der: &[u8]) -> Option<rcgen::SubjectPublicKeyInfo> {
    let key = rcgen::SubjectPublicKeyInfo::from_der(spki_der).ok()?;
    (key.algorithm() == &PKCS_ECDSA_P256_SHA256).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem_and_is_not_shown() {
        let key = PrivateKey::generate().unwrap();
        let pem = key.to_pem();
        assert_eq!(PrivateKey::from_pem(&pem).unwrap().fingerprint(), key.fingerprint());
        let shown = format!("{key:?}");
        assert!(pem.lines().skip(1).all(|line| line.starts_with("---") || !shown.contains(line)), "{shown}");
    }

    #[test]
    fn only_p256_keys_are_read() {
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(matches!(PrivateKey::from_pem(&p384.serialize_pem()), Err(BadKey::Kind)));
        assert!(matches!(PrivateKey::from_pem("nothing here"), Err(BadKey::NoKey)));
        let request = CertificateParams::default().serialize_request(&p384).unwrap();
        assert_eq!(Csr::from_der(request.der()).unwrap_err(), BadCsr::KeyKind);
    }

    #[test]
    fn a_request_must_be_signed_by_its_own_key() {
        let key = PrivateKey::generate().unwrap();
        let csr = key.request().unwrap();
        assert_eq!(Csr::from_der(csr.der()).unwrap().fingerprint(), key.fingerprint());

        // The thief replaces the public key in somebody's request by the one he wants a certificate for.
        let other = PrivateKey::generate().unwrap();
        let (own, wanted) = (key.pair.public_key_raw(), other.pair.public_key_raw());
        let mut stolen = csr.der().to_vec();
        let at = stolen.windows(own.len()).position(|window| window == own).unwrap();
        stolen[at..at + own.len()].copy_from_slice(wanted);
        assert_eq!(Csr::from_der(&stolen).unwrap_err(), BadCsr::Possession);

        let mut long = csr.der().to_vec();
        long.push(0);
        assert_eq!(Csr::from_der(&long).unwrap_err(), BadCsr::Encoding);
        assert_eq!(Csr::from_der(&[0; CSR_BYTES_MAX + 1]).unwrap_err().code(), "csr-malformed");
    }
}
