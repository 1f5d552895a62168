//! Whole handshakes between the two sides as they are used, with every kind of wrong party.

use crate::fleet::{DAY, Fleet, NOW, Open, Refused, connect, leaf, store};
use replank_common::ids::HostName;
use replank_identity::{Authority, Level, PeerIdentity, PrivateKey, RevokedSet, tls};
use rustls::client::Resumption;
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

const HOST: &str = "replank://host/compute1";

fn peer(open: &Open) -> Option<PeerIdentity> {
    PeerIdentity::from_tls(open.server.peer_certificates()).unwrap()
}

fn refused(result: Result<Open, Box<Refused>>) -> Box<Refused> {
    match result {
        Ok(_) => panic!("the connection was accepted"),
        Err(refused) => refused,
    }
}

/// Any chain with any key: what an attacker can present without this crate's checks.
fn certified(chain: &[&CertificateDer<'static>], key: &PrivateKey) -> CertifiedKey {
    let key = PrivateKeyDer::from_pem_slice(key.to_pem().as_bytes()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    CertifiedKey::new(chain.iter().map(|der| (*der).clone()).collect(), key)
}

/// `config`, but presenting `certified`.
fn rogue_client(config: &Arc<ClientConfig>, certified: CertifiedKey) -> Arc<ClientConfig> {
    let mut config = (**config).clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Arc::new(config)
}

fn rogue_server(chain: &[&CertificateDer<'static>], key: &PrivateKey) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certified = certified(chain, key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[test]
fn a_host_and_an_operator_are_known_by_their_certificates() {
    let fleet = Fleet::new();
    for role in [HOST, "replank://operator/alice?role=operator"] {
        let caller = fleet.caller(role);
        let open = connect(&fleet.client(&caller), &fleet.server()).unwrap();
        let peer = peer(&open).unwrap();
        assert_eq!(peer, *caller.current().identity());
        assert_eq!(peer.role.to_string(), role);
        assert_eq!(open.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(open.client.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[test]
fn a_hosts_certificate_is_no_operators() {
    let fleet = Fleet::new();
    let open = connect(&fleet.client(&fleet.caller(HOST)), &fleet.server()).unwrap();
    let host = peer(&open).unwrap();
    assert_eq!(host.require(Level::Viewer).unwrap_err().code(), "not-an-operator");
    assert_eq!(host.speaks_for(&HostName::new("compute2").unwrap()).unwrap_err().code(), "other-host");

    let viewer = fleet.caller("replank://operator/eve?role=viewer");
    let open = connect(&fleet.client(&viewer), &fleet.server()).unwrap();
    assert_eq!(peer(&open).unwrap().require(Level::Operator).unwrap_err().code(), "level-too-low");
}

/// Each side refuses to resume by itself, whatever the other one would like.
#[test]
fn nothing_is_resumed() {
    let fleet = Fleet::new();
    let (client, server) = (fleet.client(&fleet.caller(HOST)), fleet.server());
    let mut willing_client = (*client).clone();
    willing_client.resumption = Resumption::in_memory_sessions(8);
    let willing_client = Arc::new(willing_client);
    let mut willing_server = (*server).clone();
    willing_server.session_storage = ServerSessionMemoryCache::new(8);
    willing_server.send_tls13_tickets = 2;
    let willing_server = Arc::new(willing_server);

    let second = |client: &_, server: &_| {
        connect(client, server).unwrap();
        connect(client, server).unwrap().client.handshake_kind()
    };
    assert_eq!(second(&client, &server), Some(HandshakeKind::Full));
    assert_eq!(second(&client, &willing_server), Some(HandshakeKind::Full));
    assert_eq!(second(&willing_client, &server), Some(HandshakeKind::Full));
    // Two willing sides do resume: so the answers above mean something.
    assert_eq!(second(&willing_client, &willing_server), Some(HandshakeKind::Resumed));
}

#[test]
fn parties_of_another_fleet_are_refused_on_both_sides() {
    let (ours, theirs) = (Fleet::new(), Fleet::new());
    // Their server, our host.
    let caller = ours.caller(HOST);
    let wrong_server = refused(connect(&ours.client(&caller), &theirs.server()));
    assert_eq!((wrong_server.by, wrong_server.code()), ("client", "certificate-foreign"));

    // Our server, a client that trusts ours but holds a leaf of theirs.
    let (key, leaf) = leaf(&theirs.authority, HOST);
    let client = rogue_client(&ours.client(&caller), certified(&[&leaf.der], &key));
    let wrong_client = refused(connect(&client, &ours.server()));
    assert_eq!((wrong_client.by, wrong_client.code()), ("server", "certificate-foreign"));
    assert_eq!(wrong_client.heard_code(), "certificate-foreign");
}

#[test]
fn an_expired_leaf_is_refused_by_whoever_sees_it() {
    let fleet = Fleet::new();
    let (client, server) = (fleet.client(&fleet.caller(HOST)), fleet.server());
    connect(&client, &server).unwrap();

    fleet.server_clock.set(NOW.plus(DAY * 31));
    let at_server = refused(connect(&client, &server));
    assert_eq!((at_server.by, at_server.code()), ("server", "certificate-expired"));
    assert_eq!(at_server.heard_code(), "certificate-expired");

    fleet.server_clock.set(NOW);
    fleet.client_clock.set(NOW.plus(DAY * 31));
    let at_client = refused(connect(&client, &server));
    assert_eq!((at_client.by, at_client.code()), ("client", "certificate-expired"));
    let text = tls::explain(&at_client.error).unwrap().to_string();
    assert!(text.contains(&NOW.plus(DAY * 30).to_string()), "{text}");

    fleet.client_clock.set(NOW.minus(DAY));
    let early = refused(connect(&client, &server));
    assert_eq!((early.by, early.code()), ("client", "certificate-not-yet-valid"));
}

#[test]
fn a_revocation_acts_on_the_next_handshake_and_on_open_streams() {
    let fleet = Fleet::new();
    let (caller, issued) = store(&fleet.authority, HOST);
    let (client, server) = (fleet.client(&caller), fleet.server());
    let open = connect(&client, &server).unwrap();
    let known = peer(&open).unwrap();
    known.check(&fleet.revocations, NOW).unwrap();

    let compute1 = HostName::new("compute1").unwrap();
    for set in [
        RevokedSet { serials: [issued.serial].into(), ..RevokedSet::default() },
        RevokedSet { hosts: [compute1].into(), ..RevokedSet::default() },
    ] {
        fleet.revocations.replace(set);
        assert_eq!(known.check(&fleet.revocations, NOW).unwrap_err().code(), "certificate-revoked");
        let again = refused(connect(&client, &server));
        assert_eq!((again.by, again.code()), ("server", "certificate-revoked"));
        assert_eq!(again.heard_code(), "certificate-revoked");
        let neighbour = fleet.caller("replank://host/compute2");
        connect(&fleet.client(&neighbour), &server).unwrap();
    }
    fleet.revocations.replace(RevokedSet::default());
    connect(&client, &server).unwrap();
}

#[test]
fn credentials_rotate_between_two_connections_without_a_restart() {
    let fleet = Fleet::new();
    let caller = fleet.caller(HOST);
    // Made once, as at the start of a process.
    let (client, server) = (fleet.client(&caller), fleet.server());
    let mut first = connect(&client, &server).unwrap();

    let (host_key, host_leaf) = leaf(&fleet.authority, HOST);
    caller.publish(&host_leaf.to_pem(), &host_key, NOW).unwrap();
    let (own_key, own_leaf) = leaf(&fleet.authority, "replank://coordinator");
    fleet.coordinator.publish(&own_leaf.to_pem(), &own_key, NOW).unwrap();
    let second = connect(&client, &server).unwrap();

    let seen_by_server = |open: &Open| peer(open).unwrap().serial;
    let seen_by_client =
        |open: &Open| PeerIdentity::from_tls(open.client.peer_certificates()).unwrap().unwrap().serial;
    assert_eq!(seen_by_server(&second), host_leaf.serial);
    assert_eq!(seen_by_client(&second), own_leaf.serial);
    assert_ne!(seen_by_server(&first), host_leaf.serial);
    assert_ne!(seen_by_client(&first), own_leaf.serial);
    first.exchange().unwrap();
}

#[test]
fn a_refused_rotation_leaves_the_old_credentials_serving() {
    let fleet = Fleet::new();
    let (client, server) = (fleet.client(&fleet.caller(HOST)), fleet.server());
    let serial = fleet.coordinator.current().identity().serial;
    let (key, host_leaf) = leaf(&fleet.authority, HOST);
    let refused = fleet.coordinator.publish(&host_leaf.to_pem(), &key, NOW).unwrap_err();
    assert_eq!(refused.code(), "credentials-other-role");
    let (key, old) = leaf(&fleet.authority, "replank://coordinator");
    let refused = fleet.coordinator.publish(&old.to_pem(), &key, NOW.plus(DAY * 31)).unwrap_err();
    assert_eq!(refused.code(), "certificate-expired");

    let open = connect(&client, &server).unwrap();
    let seen = PeerIdentity::from_tls(open.client.peer_certificates()).unwrap().unwrap();
    assert_eq!(seen.serial, serial);
}

#[test]
fn enrolment_believes_the_fingerprint_and_shows_no_certificate() {
    let (ours, theirs) = (Fleet::new(), Fleet::new());
    let enrol = |fleet: &Fleet| {
        tls::enrolment_client_config(fleet.authority.fingerprint(), fleet.client_clock.clone()).unwrap()
    };
    let open = connect(&enrol(&ours), &ours.server()).unwrap();
    assert_eq!(peer(&open), None);

    let wrong = refused(connect(&enrol(&ours), &theirs.server()));
    assert_eq!((wrong.by, wrong.code()), ("client", "server-foreign"));
    let text = tls::explain(&wrong.error).unwrap().to_string();
    assert!(text.contains(&ours.authority.fingerprint().to_string()), "{text}");

    let enrolling = enrol(&ours);
    ours.client_clock.set(NOW.plus(DAY * 31));
    assert_eq!(refused(connect(&enrolling, &ours.server())).code(), "certificate-expired");
}

#[test]
fn enrolment_is_not_fooled_by_a_borrowed_authority() {
    let (ours, mallory) = (Fleet::new(), Fleet::new());
    let pinned = ours.authority.fingerprint();
    let enrolling = tls::enrolment_client_config(pinned, ours.client_clock.clone()).unwrap();
    let genuine = ours.authority.cert().der();

    // A leaf of his own, with our authority's certificate (which is public) beside it.
    let (key, own) = leaf(&mallory.authority, "replank://coordinator");
    let borrowed = refused(connect(&enrolling, &rogue_server(&[&own.der, genuine], &key)));
    assert_eq!(borrowed.code(), "certificate-foreign");
    let both = [&own.der, mallory.authority.cert().der(), genuine];
    assert_eq!(refused(connect(&enrolling, &rogue_server(&both, &key))).code(), "certificate-foreign");

    // A real host of our fleet, gone bad.
    let (key, host) = leaf(&ours.authority, HOST);
    let host = rogue_server(&[&host.der, genuine], &key);
    assert_eq!(refused(connect(&enrolling, &host)).code(), "certificate-wrong-purpose");
    let enrolled = ours.client(&ours.caller("replank://host/compute2"));
    assert_eq!(refused(connect(&enrolled, &host)).code(), "certificate-wrong-purpose");

    // A server that sends no authority proves nothing to somebody who knows only its fingerprint.
    let (key, bare) = leaf(&ours.authority, "replank://coordinator");
    assert_eq!(refused(connect(&enrolling, &rogue_server(&[&bare.der], &key))).code(), "server-foreign");
}

/// Certificates are public; only the key behind one proves anything.
#[test]
fn a_certificate_without_its_key_is_refused() {
    let fleet = Fleet::new();
    let client = fleet.client(&fleet.caller(HOST));
    let stranger = PrivateKey::generate().unwrap();
    let (_, coordinator) = leaf(&fleet.authority, "replank://coordinator");
    let (_, admin) = leaf(&fleet.authority, "replank://operator/alice?role=admin");

    let chain = [&coordinator.der, fleet.authority.cert().der()];
    let server = refused(connect(&client, &rogue_server(&chain, &stranger)));
    assert_eq!((server.by, server.code()), ("client", "certificate-foreign"));
    let caller = rogue_client(&client, certified(&[&admin.der], &stranger));
    assert_eq!(refused(connect(&caller, &fleet.server())).by, "server");
}

/// The purpose in the certificate keeps hosts from serving; the role must do so alone too, should an authority
/// ever be made to sign a leaf with both.
#[test]
fn a_role_is_checked_beside_the_purpose() {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
    let fleet = Fleet::new();
    let issuer = Issuer::from_ca_cert_der(
        fleet.authority.cert().der(),
        KeyPair::from_pem(&fleet.authority.key_pem()).unwrap(),
    )
    .unwrap();
    let key = PrivateKey::generate().unwrap();
    let forge = |roles: &[&str]| {
        let mut params = CertificateParams::default();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x41; 16]));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        for role in roles {
            params.subject_alt_names.push(SanType::URI(rcgen::string::Ia5String::try_from(*role).unwrap()));
        }
        let pair = KeyPair::from_pem(&key.to_pem()).unwrap();
        params.signed_by(&pair, &issuer).unwrap().der().clone()
    };
    let genuine = fleet.authority.cert().der();
    let clients = [
        fleet.client(&fleet.caller(HOST)),
        tls::enrolment_client_config(fleet.authority.fingerprint(), fleet.client_clock.clone()).unwrap(),
    ];
    for client in &clients {
        let serve =
            |roles: &[&str]| refused(connect(client, &rogue_server(&[&forge(roles), genuine], &key))).code();
        assert_eq!(serve(&[HOST]), "server-not-coordinator");
        assert_eq!(serve(&[]), "certificate-malformed");
        assert_eq!(serve(&["replank://coordinator", HOST]), "certificate-malformed");
        connect(client, &rogue_server(&[&forge(&["replank://coordinator"]), genuine], &key)).unwrap();
    }

    let call = |roles: &[&str]| {
        connect(&rogue_client(&clients[0], certified(&[&forge(roles)], &key)), &fleet.server())
    };
    assert_eq!(refused(call(&["replank://coordinator"])).code(), "certificate-wrong-purpose");
    assert_eq!(refused(call(&[])).code(), "certificate-malformed");
    assert_eq!(refused(call(&[HOST, "replank://operator/eve?role=admin"])).code(), "certificate-malformed");
    call(&[HOST]).unwrap();
}

#[test]
fn each_side_can_only_be_made_from_its_own_credentials() {
    let fleet = Fleet::new();
    let host = fleet.caller(HOST);
    let serve = tls::server_config(&host, &fleet.revocations, fleet.server_clock.clone());
    assert!(matches!(serve, Err(tls::TlsConfigError::NotTheCoordinator { .. })));
    let call = tls::client_config(&fleet.coordinator, fleet.client_clock.clone());
    assert!(matches!(call, Err(tls::TlsConfigError::NotACaller { .. })));
}

#[test]
fn an_authority_read_back_from_its_files_serves_the_same_fleet() {
    let fleet = Fleet::new();
    let reloaded = Authority::load(&fleet.authority.cert().to_pem(), &fleet.authority.key_pem()).unwrap();
    let (caller, issued) = store(&reloaded, HOST);
    let open = connect(&fleet.client(&caller), &fleet.server()).unwrap();
    assert_eq!(peer(&open).unwrap().serial, issued.serial);
}
