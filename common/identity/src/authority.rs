//! The fleet's own certificate authority: one self-signed ECDSA P-256 key that signs leafs and nothing else.

use crate::ids::{Fingerprint, NoRandomness, Serial};
use crate::key::{BadKey, Csr, PrivateKey};
use crate::role::{Level, Role};
use crate::time::{UnixSeconds, Validity};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long an authority lives: 10 years of 365.25 days.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 31_557_600);

/// Certificates begin this much before they are issued, so that a host whose clock is slow can use its own at
/// once. Short-lived leafs begin a tenth of their life earlier instead, or they would be born due for
/// renewal.
const BACKDATE_MAX: Duration = Duration::from_secs(300);

/// X.520 allows a common name of at most 64 characters; a longer one is left out, since nothing reads it.
const COMMON_NAME_MAX: usize = 64;

/// The public half of an authority: what every party of a fleet trusts.
#[derive(Clone)]
pub struct AuthorityCert {
    der: CertificateDer<'static>,
    fingerprint: Fingerprint,
    validity: Validity,
    roots: Arc<RootCertStore>,
}

/// Why a certificate, or a certificate and a key, are no authority.
#[derive(Debug, thiserror::Error)]
pub enum BadAuthority {
    #[error("expected exactly one certificate in the authority's PEM text, found {found}")]
    Count { found: usize },
    #[error("the authority's certificate cannot be parsed")]
    Encoding,
    #[error("the certificate is not one of an authority (it may not sign certificates)")]
    NotAnAuthority,
    #[error("the authority's certificate is not signed by its own key")]
    NotSelfSigned,
    #[error(
        "this is another authority: its fingerprint is {found}, expected {expected}; get the certificate from the \
         coordinator whose token was used"
    )]
    OtherAuthority { expected: Fingerprint, found: Fingerprint },
    #[error("the authority's private key is unusable")]
    Key(#[from] BadKey),
    #[error(
        "the authority's certificate and private key do not belong together; restore both from the same backup"
    )]
    Mismatch,
}

impl AuthorityCert {
    /// Reads a PEM text that holds the authority's certificate and no other.
    ///
    /// # Errors
    /// [`BadAuthority`] when it is not a self-signed certificate that may sign others.
    pub fn from_pem(pem: &str) -> Result<Self, BadAuthority> {
        let certs: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| BadAuthority::Encoding)?;
        let found = certs.len();
        let [der] = <[_; 1]>::try_from(certs).map_err(|_| BadAuthority::Count { found })?;
        Self::from_der(der)
    }

    /// As [`Self::from_pem`], and the authority must be the one with this fingerprint: what an agent does
    /// with the certificate that it is given at enrolment, since all that it trusts until then is the
    /// fingerprint in its token.
    ///
    /// # Errors
    /// [`BadAuthority::OtherAuthority`] above all.
    pub fn pinned(pem: &str, expected: Fingerprint) -> Result<Self, BadAuthority> {
        let cert = Self::from_pem(pem)?;
        if cert.fingerprint == expected {
            Ok(cert)
        } else {
            Err(BadAuthority::OtherAuthority { expected, found: cert.fingerprint })
        }
    }

    pub(crate) fn from_der(der: CertificateDer<'static>) -> Result<Self, BadAuthority> {
        let (rest, x509) = x509_parser::parse_x509_certificate(&der).map_err(|_| BadAuthority::Encoding)?;
        if !rest.is_empty() {
            return Err(BadAuthority::Encoding);
        }
        let is_ca = matches!(x509.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca);
        let may_sign = matches!(x509.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign());
        if !(is_ca && may_sign) {
            return Err(BadAuthority::NotAnAuthority);
        }
        x509.verify_signature(None).map_err(|_| BadAuthority::NotSelfSigned)?;
        let fingerprint = Fingerprint::of_spki(x509.public_key().raw);
        let validity = Validity::of(x509.validity()).ok_or(BadAuthority::Encoding)?;
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).map_err(|_| BadAuthority::Encoding)?;
        Ok(Self { fingerprint, validity, roots: Arc::new(roots), der })
    }

    pub fn to_pem(&self) -> String {
        pem_of(&self.der)
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 of the authority's public key; the part of a join token that says which fleet it is for.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

impl fmt::Debug for AuthorityCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityCert")
            .field("fingerprint", &self.fingerprint)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// An authority with its private key. Lives on the coordinator alone.
pub struct Authority {
    cert: AuthorityCert,
    issuer: Issuer<'static, KeyPair>,
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("a certificate must live at least one second")]
    NoLifetime,
    #[error(
        "the authority itself is not valid at {now}, only from {} to {}; check the clock, or make a new authority",
        .validity.not_before, .validity.not_after
    )]
    AuthorityNotValid { now: UnixSeconds, validity: Validity },
    #[error("`{name}` is neither a DNS name nor an IP address that the coordinator can be reached by")]
    ServerName { name: String },
    #[error("failed to sign the certificate")]
    Sign(#[source] rcgen::Error),
}

/// A certificate as the authority issued it. The caller records it (serial, role, validity): revocation and
/// the list of who is in the fleet are made from these records.
#[derive(Debug, Clone)]
pub struct Issued {
    pub der: CertificateDer<'static>,
    pub serial: Serial,
    pub role: Role,
    pub validity: Validity,
    /// Of the key that the certificate is for.
    pub fingerprint: Fingerprint,
}

impl Issued {
    pub fn to_pem(&self) -> String {
        pem_of(&self.der)
    }
}

impl Authority {
    /// Makes a new authority that lives for ten years from `now` and can sign leafs only (path length 0).
    ///
    /// Its name contains its fingerprint: two fleets' authorities are never taken for one another, and TLS
    /// says "unknown issuer" and not "bad signature" when they meet.
    ///
    /// # Errors
    /// When the system has no randomness or signing fails.
    pub fn create(now: UnixSeconds) -> Result<Self, BadAuthority> {
        let key = PrivateKey::generate()?;
        let short: String = key.fingerprint().to_string().chars().take(16).collect();
        let validity =
            Validity { not_before: now.minus(BACKDATE_MAX), not_after: now.plus(AUTHORITY_LIFETIME) };
        let serial = Serial::random().map_err(|_| BadKey::Generate(rcgen::Error::RingUnspecified))?;
        let mut params = base_params(&format!("replank authority {short}"), serial, validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = key.into_pair();
        let cert = params.self_signed(&pair).map_err(BadKey::Generate)?;
        Ok(Self { cert: AuthorityCert::from_der(cert.der().clone())?, issuer: Issuer::new(params, pair) })
    }

    /// Reads an authority that [`Self::create`] made.
    ///
    /// # Errors
    /// [`BadAuthority`] when one half is unusable or the two do not belong together.
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, BadAuthority> {
        let cert = AuthorityCert::from_pem(cert_pem)?;
        let key = PrivateKey::from_pem(key_pem)?;
        if key.fingerprint() != cert.fingerprint {
            return Err(BadAuthority::Mismatch);
        }
        let issuer =
            Issuer::from_ca_cert_der(&cert.der, key.into_pair()).map_err(|_| BadAuthority::Encoding)?;
        Ok(Self { cert, issuer })
    }

    pub fn cert(&self) -> &AuthorityCert {
        &self.cert
    }

    /// PKCS #8 in PEM, wiped from memory when dropped.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.cert.fingerprint
    }

    /// Issues a leaf that speaks for `role` over the key that `csr` proved to hold; whatever names the
    /// request carried are not read. It ends `lifetime` after `now`, or with the authority if that is sooner.
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing was issued.
    pub fn issue(
        &self,
        csr: &Csr,
        role: &Role,
        lifetime: Duration,
        now: UnixSeconds,
    ) -> Result<Issued, AuthorityError> {
        self.sign(csr, role, Vec::new(), lifetime, now)
    }

    /// Issues the coordinator's leaf with the DNS names and IP addresses it is reached by. Replank itself
    /// goes by the role alone; the names are for other TLS clients (curl, Prometheus, a browser).
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing was issued.
    pub fn issue_coordinator(
        &self,
        csr: &Csr,
        names: &[&str],
        lifetime: Duration,
        now: UnixSeconds,
    ) -> Result<Issued, AuthorityError> {
        let names = names.iter().map(|name| server_name(name)).collect::<Result<_, _>>()?;
        self.sign(csr, &Role::Coordinator, names, lifetime, now)
    }

    fn sign(
        &self,
        csr: &Csr,
        role: &Role,
        names: Vec<SanType>,
        lifetime: Duration,
        now: UnixSeconds,
    ) -> Result<Issued, AuthorityError> {
        if lifetime.as_secs() == 0 {
            return Err(AuthorityError::NoLifetime);
        }
        if !self.cert.validity.contains(now) {
            return Err(AuthorityError::AuthorityNotValid { now, validity: self.cert.validity });
        }
        let validity = Validity {
            not_before: now.minus(BACKDATE_MAX.min(lifetime / 10)),
            not_after: now.plus(lifetime).min(self.cert.validity.not_after),
        };
        let serial = Serial::random()?;
        // One purpose each: a host's certificate cannot serve, and the coordinator's cannot call.
        let (name, purpose) = match role {
            Role::Host(host) => (format!("host {host}"), ExtendedKeyUsagePurpose::ClientAuth),
            Role::Operator { name, level: Level::Viewer | Level::Operator | Level::Admin } => {
                (format!("operator {name}"), ExtendedKeyUsagePurpose::ClientAuth)
            }
            Role::Coordinator => ("coordinator".to_owned(), ExtendedKeyUsagePurpose::ServerAuth),
        };
        let uri = Ia5String::try_from(role.to_string()).map_err(AuthorityError::Sign)?;
        let mut params = base_params(&name, serial, validity);
        params.subject_alt_names = std::iter::once(SanType::URI(uri)).chain(names).collect();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(csr.key(), &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(Issued {
            der: cert.der().clone(),
            serial,
            role: role.clone(),
            validity,
            fingerprint: csr.fingerprint(),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cert", &self.cert).finish_non_exhaustive()
    }
}

fn base_params(common_name: &str, serial: Serial, validity: Validity) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "replank");
    if common_name.len() <= COMMON_NAME_MAX {
        name.push(DnType::CommonName, common_name);
    }
    // `UnixSeconds` of a certificate is at most the year 9999, which the date type holds.
    let date = |second: UnixSeconds| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(second.min(UnixSeconds::MAX).0)
    };
    let mut params = CertificateParams::default();
    params.not_before = date(validity.not_before);
    params.not_after = date(validity.not_after);
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.distinguished_name = name;
    params
}

fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    use rustls_pki_types::ServerName;
    let bad = || AuthorityError::ServerName { name: name.to_owned() };
    match ServerName::try_from(name).map_err(|_| bad())? {
        ServerName::DnsName(dns) => {
            Ok(SanType::DnsName(Ia5String::try_from(dns.as_ref().to_owned()).map_err(|_| bad())?))
        }
        ServerName::IpAddress(ip) => Ok(SanType::IpAddress(IpAddr::from(ip))),
        _ => Err(bad()),
    }
}

fn pem_of(der: &CertificateDer<'_>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der.to_vec()), config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerIdentity;
    use x509_parser::prelude::GeneralName;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn host(name: &str) -> Role {
        format!("replank://host/{name}").parse().unwrap()
    }

    #[test]
    fn an_authority_survives_its_files() {
        let made = Authority::create(NOW).unwrap();
        let loaded = Authority::load(&made.cert().to_pem(), &made.key_pem()).unwrap();
        assert_eq!(loaded.fingerprint(), made.fingerprint());
        let csr = PrivateKey::generate().unwrap().request().unwrap();
        let issued = loaded.issue(&csr, &host("compute1"), DAY, NOW).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&issued.der).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(made.cert().der()).unwrap();
        leaf.verify_signature(Some(ca.public_key())).unwrap();
        assert_eq!(leaf.issuer(), ca.subject());
        let constraints = ca.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.path_len_constraint == Some(0));
    }

    #[test]
    fn halves_of_two_authorities_are_refused() {
        let (one, two) = (Authority::create(NOW).unwrap(), Authority::create(NOW).unwrap());
        let load = |cert: &str, key: &str| Authority::load(cert, key).unwrap_err();
        assert!(matches!(load(&one.cert().to_pem(), &two.key_pem()), BadAuthority::Mismatch));
        let both = one.cert().to_pem() + &two.cert().to_pem();
        assert!(matches!(load(&both, &one.key_pem()), BadAuthority::Count { found: 2 }));
        assert!(matches!(
            AuthorityCert::pinned(&one.cert().to_pem(), two.fingerprint()),
            Err(BadAuthority::OtherAuthority { .. })
        ));
        let csr = PrivateKey::generate().unwrap().request().unwrap();
        let leaf = one.issue(&csr, &Role::Coordinator, DAY, NOW).unwrap();
        assert!(matches!(AuthorityCert::from_pem(&leaf.to_pem()), Err(BadAuthority::NotAnAuthority)));
    }

    #[test]
    fn an_altered_authority_is_refused() {
        let authority = Authority::create(NOW).unwrap();
        let mut bytes = authority.cert().der().to_vec();
        let at = bytes.windows(17).position(|window| window == b"replank authority").unwrap();
        bytes[at] = b'R';
        let altered = AuthorityCert::from_der(CertificateDer::from(bytes));
        assert!(matches!(altered, Err(BadAuthority::NotSelfSigned)), "{altered:?}");
    }

    #[test]
    fn the_names_a_request_asks_for_are_ignored() {
        let authority = Authority::create(NOW).unwrap();
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut wishes = CertificateParams::new(vec!["coordinator.example".to_owned()]).unwrap();
        wishes
            .subject_alt_names
            .push(SanType::URI(Ia5String::try_from("replank://operator/mallory?role=admin").unwrap()));
        wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = wishes.serialize_request(&pair).unwrap();
        let csr = Csr::from_der(request.der()).unwrap();
        let issued = authority.issue(&csr, &host("compute1"), DAY, NOW).unwrap();

        assert_eq!(PeerIdentity::from_der(&issued.der).unwrap().role, host("compute1"));
        let (_, leaf) = x509_parser::parse_x509_certificate(&issued.der).unwrap();
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert!(matches!(names[..], [GeneralName::URI("replank://host/compute1")]), "{names:?}");
        assert!(!leaf.is_ca());
        assert!(!issued.to_pem().contains("mallory") && !leaf.subject().to_string().contains("coordinator"));
    }

    #[test]
    fn the_coordinator_may_be_reached_by_name_and_address() {
        let authority = Authority::create(NOW).unwrap();
        let csr = PrivateKey::generate().unwrap().request().unwrap();
        let issued = authority.issue_coordinator(&csr, &["ctl.example", "192.0.2.7"], DAY, NOW).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&issued.der).unwrap();
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert!(matches!(
            names[..],
            [
                GeneralName::URI("replank://coordinator"),
                GeneralName::DNSName("ctl.example"),
                GeneralName::IPAddress([192, 0, 2, 7])
            ]
        ));
        let refused = authority.issue_coordinator(&csr, &["not a name"], DAY, NOW).unwrap_err();
        assert!(refused.to_string().contains("`not a name`"), "{refused}");
    }

    #[test]
    fn a_leaf_never_outlives_its_authority() {
        let authority = Authority::create(NOW).unwrap();
        let end = authority.cert().validity().not_after;
        let csr = PrivateKey::generate().unwrap().request().unwrap();
        let late = end.minus(DAY);
        let issued = authority.issue(&csr, &host("a"), DAY * 30, late).unwrap();
        assert_eq!(issued.validity.not_after, end);
        assert!(matches!(
            authority.issue(&csr, &host("a"), DAY, end.plus(DAY)),
            Err(AuthorityError::AuthorityNotValid { .. })
        ));
        assert!(matches!(
            authority.issue(&csr, &host("a"), Duration::from_millis(900), NOW),
            Err(AuthorityError::NoLifetime)
        ));
    }

    #[test]
    fn a_long_host_name_fits() {
        let authority = Authority::create(NOW).unwrap();
        let csr = PrivateKey::generate().unwrap().request().unwrap();
        let name = [&*"x".repeat(63), &*"y".repeat(63), &*"z".repeat(63)].join(".");
        let issued = authority.issue(&csr, &host(&name), DAY, NOW).unwrap();
        assert_eq!(PeerIdentity::from_der(&issued.der).unwrap().role, host(&name));
        let (_, leaf) = x509_parser::parse_x509_certificate(&issued.der).unwrap();
        assert_eq!(leaf.subject().to_string(), "O=replank");
    }
}
