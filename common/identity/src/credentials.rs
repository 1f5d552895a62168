//! Credentials: a leaf, its key and the authority it belongs to, checked as a whole before anybody uses them,
//! and the store from which TLS reads them in each handshake.

use crate::authority::AuthorityCert;
use crate::key::{BadKey, PrivateKey};
use crate::peer::{PeerIdentity, PeerRefused};
use crate::role::Role;
use crate::time::UnixSeconds;
use crate::tls;
use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::prelude::GeneralName;

/// A leaf with its key, known to be usable: signed by the authority, in force, for the purpose of its role,
/// and its key is the one at hand.
#[derive(Debug, Clone)]
pub struct Credentials {
    certified: Arc<CertifiedKey>,
    identity: PeerIdentity,
    authority: AuthorityCert,
}

/// Why credentials cannot be used. Those in use stay in use.
#[derive(Debug, thiserror::Error)]
pub enum BadCredentials {
    #[error("found no certificate in the PEM text")]
    NoCertificate,
    #[error("the certificate cannot be parsed")]
    Encoding,
    #[error("the private key is unusable")]
    Key(#[from] BadKey),
    #[error(
        "the certificate and the private key do not belong together; both must be from the same enrolment"
    )]
    Mismatch,
    #[error("the certificate speaks for nobody")]
    Peer(#[from] PeerRefused),
    #[error("the authority {} does not vouch for the certificate at {now}", .authority)]
    Chain { authority: crate::Fingerprint, now: UnixSeconds, source: rustls::Error },
    #[error("the new certificate is for {found}, and this is {own}")]
    OtherRole { own: Role, found: Role },
    #[error("failed to set up the verification of the certificate")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

impl BadCredentials {
    /// The stable name of the refusal, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate | Self::Encoding | Self::Key(_) => "credentials-malformed",
            Self::Mismatch => "credentials-mismatch",
            Self::Peer(refused) => refused.code(),
            Self::Chain { source, .. } => {
                tls::explain(source).map_or("credentials-untrusted", |refusal| refusal.code())
            }
            Self::OtherRole { .. } => "credentials-other-role",
            Self::Verifier(_) => "credentials-untrusted",
        }
    }
}

impl Credentials {
    /// Checks the leaf (the first certificate of `chain_pem`; more are ignored) with its key against the
    /// authority, as a peer would at `now`. The coordinator's are presented together with the authority's
    /// certificate, which enrolment needs.
    ///
    /// # Errors
    /// [`BadCredentials`] says which check failed.
    pub fn new(
        chain_pem: &str,
        key: &PrivateKey,
        authority: &AuthorityCert,
        now: UnixSeconds,
    ) -> Result<Self, BadCredentials> {
        let leaf = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .next()
            .ok_or(BadCredentials::NoCertificate)?
            .map_err(|_| BadCredentials::Encoding)?;
        let identity = PeerIdentity::from_der(&leaf)?;
        if identity.fingerprint != key.fingerprint() {
            return Err(BadCredentials::Mismatch);
        }
        let untrusted = |source| BadCredentials::Chain { authority: authority.fingerprint(), now, source };
        let chain = match identity.role {
            Role::Host(_) | Role::Operator { .. } => {
                tls::client_chain(authority)?
                    .verify_client_cert(&leaf, &[], now.into())
                    .map_err(untrusted)?;
                vec![leaf]
            }
            Role::Coordinator => {
                tls::server_chain(&leaf, authority, now.into()).map_err(untrusted)?;
                vec![leaf, authority.der().clone()]
            }
        };
        let certified = CertifiedKey::from_der(chain, key.to_der(), tls::provider()).map_err(untrusted)?;
        Ok(Self { certified: Arc::new(certified), identity, authority: authority.clone() })
    }

    /// Whom they speak for.
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    pub fn authority(&self) -> &AuthorityCert {
        &self.authority
    }

    /// Whether the certificate holds exactly these DNS names and IP addresses, in whatever order.
    pub fn is_named(&self, names: &[&str]) -> bool {
        let Some(leaf) = self.certified.cert.first() else { return false };
        let Ok((_, x509)) = x509_parser::parse_x509_certificate(leaf) else { return false };
        let Ok(Some(found)) = x509.subject_alternative_name() else { return names.is_empty() };
        let found: BTreeSet<Vec<u8>> = found
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.as_bytes().to_vec()),
                GeneralName::IPAddress(octets) => Some(octets.to_vec()),
                _ => None,
            })
            .collect();
        let wanted = names.iter().map(|name| match name.parse() {
            Ok(IpAddr::V4(address)) => address.octets().to_vec(),
            Ok(IpAddr::V6(address)) => address.octets().to_vec(),
            Err(_) => name.as_bytes().to_vec(),
        });
        found == wanted.collect()
    }
}

/// The credentials in use. TLS configurations hold the store and read it in each handshake, so that a renewed
/// leaf is in service from the next connection on, without a restart; connections that are open stay as they
/// are.
#[derive(Debug)]
pub struct CredentialStore {
    live: ArcSwap<Credentials>,
}

impl CredentialStore {
    pub fn new(credentials: Credentials) -> Arc<Self> {
        Arc::new(Self { live: ArcSwap::from_pointee(credentials) })
    }

    pub fn current(&self) -> Arc<Credentials> {
        self.live.load_full()
    }

    /// Puts new credentials into service, after they were checked against the authority and against who this
    /// is: a renewal never changes the role or the level.
    ///
    /// # Errors
    /// [`BadCredentials`]; the old ones stay in service.
    pub fn publish(
        &self,
        chain_pem: &str,
        key: &PrivateKey,
        now: UnixSeconds,
    ) -> Result<Arc<Credentials>, BadCredentials> {
        let current = self.current();
        let new = Credentials::new(chain_pem, key, &current.authority, now)?;
        if new.identity.role != current.identity.role {
            return Err(BadCredentials::OtherRole {
                own: current.identity.role.clone(),
                found: new.identity.role,
            });
        }
        let new = Arc::new(new);
        self.live.store(new.clone());
        Ok(new)
    }
}

impl ResolvesServerCert for CredentialStore {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.live.load().certified.clone())
    }
}

impl ResolvesClientCert for CredentialStore {
    /// Always offers the leaf, also to a server that names other authorities: its refusal says more than our
    /// silence.
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.live.load().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Issued};
    use std::time::Duration;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    struct Fleet {
        authority: Authority,
        key: PrivateKey,
    }

    impl Fleet {
        fn new() -> Self {
            Self { authority: Authority::create(NOW).unwrap(), key: PrivateKey::generate().unwrap() }
        }

        fn issue(&self, role: &str) -> Issued {
            let csr = self.key.request().unwrap();
            self.authority.issue(&csr, &role.parse().unwrap(), DAY, NOW).unwrap()
        }

        fn check(&self, pem: &str, now: UnixSeconds) -> Result<Credentials, BadCredentials> {
            Credentials::new(pem, &self.key, self.authority.cert(), now)
        }
    }

    #[test]
    fn good_credentials_of_each_role_are_accepted() {
        let fleet = Fleet::new();
        for (role, chain) in [
            ("replank://host/a", 1),
            ("replank://operator/alice?role=viewer", 1),
            ("replank://coordinator", 2),
        ] {
            let good = fleet.check(&fleet.issue(role).to_pem(), NOW).unwrap();
            assert_eq!(good.identity().role.to_string(), role);
            assert_eq!(good.certified.cert.len(), chain, "{role}");
        }
    }

    #[test]
    fn each_flaw_has_its_own_name() {
        let fleet = Fleet::new();
        let leaf = fleet.issue("replank://host/a");
        let code = |result: Result<Credentials, BadCredentials>| result.unwrap_err().code();
        assert_eq!(code(fleet.check("", NOW)), "credentials-malformed");
        assert_eq!(
            code(fleet.check(&leaf.to_pem(), leaf.validity.not_after.plus(DAY))),
            "certificate-expired"
        );
        assert_eq!(code(fleet.check(&leaf.to_pem(), NOW.minus(DAY))), "certificate-not-yet-valid");

        let mut foreign = Fleet::new();
        assert_eq!(code(foreign.check(&leaf.to_pem(), NOW)), "credentials-mismatch");
        foreign.key = PrivateKey::from_pem(&fleet.key.to_pem()).unwrap();
        assert_eq!(code(foreign.check(&leaf.to_pem(), NOW)), "certificate-foreign");
        assert_eq!(code(fleet.check(&fleet.authority.cert().to_pem(), NOW)), "certificate-malformed");
    }

    #[test]
    fn a_bad_renewal_leaves_the_old_credentials_in_service() {
        let fleet = Fleet::new();
        let old = fleet.check(&fleet.issue("replank://host/a").to_pem(), NOW).unwrap();
        let serial = old.identity().serial;
        let store = CredentialStore::new(old);

        let other_host = fleet.issue("replank://host/b").to_pem();
        let refused = store.publish(&other_host, &fleet.key, NOW).unwrap_err();
        assert_eq!(refused.code(), "credentials-other-role");
        let new = fleet.issue("replank://host/a");
        let other_key = PrivateKey::generate().unwrap();
        assert_eq!(store.publish(&new.to_pem(), &other_key, NOW).unwrap_err().code(), "credentials-mismatch");
        let mut foreign = Fleet::new();
        foreign.key = PrivateKey::from_pem(&fleet.key.to_pem()).unwrap();
        let foreign = foreign.issue("replank://host/a").to_pem();
        assert_eq!(store.publish(&foreign, &fleet.key, NOW).unwrap_err().code(), "certificate-foreign");
        assert_eq!(store.current().identity().serial, serial);

        store.publish(&new.to_pem(), &fleet.key, NOW).unwrap();
        assert_eq!(store.current().identity().serial, new.serial);
    }
}
