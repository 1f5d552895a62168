//! Who is let in, and who is not.

use replank_common::ids::HostName;
use replank_common::reading::{ReadingRequest, ReadingValue};
use replank_coordinator::config::Folder;
use replank_coordinator::links::LinksError;
use replank_coordinator::{codes, links::AskError};
use replank_identity::files::{self, PemPair};
use replank_identity::{Authority, Credentials, OperatorName, PrivateKey, tls};
use replank_proto::v1;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

use crate::agent::{self, Host};
use crate::coordinator::{BY, Coordinator, PATIENCE, init};
use crate::plans::host;

const MINUTE: Duration = Duration::from_secs(60);

fn name_of(status: &Status) -> &str {
    status.metadata().get("replank-refusal").and_then(|name| name.to_str().ok()).unwrap_or("")
}

#[tokio::test]
async fn a_token_admits_one_host_once_and_its_own_key_again() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let (address, authority) = (coordinator.address, &coordinator.authority);
    let token = coordinator.token("compute1", MINUTE).await;
    let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());

    let refused = agent::enrol(address, authority, &token, "compute2", &key).await.unwrap_err();
    assert_eq!(name_of(&refused), "token-wrong-host");
    assert!(refused.message().starts_with("RP6104: "), "{refused}");
    let first = agent::enrol(address, authority, &token, "compute1", &key).await.unwrap();
    assert_eq!(first.current().identity().role.to_string(), "replank://host/compute1");
    // The answer was lost: the same key asks again.
    agent::enrol(address, authority, &token, "compute1", &key).await.unwrap();
    let refused = agent::enrol(address, authority, &token, "compute1", &other).await.unwrap_err();
    assert_eq!(name_of(&refused), "token-used");

    let foreign = agent::foreign_token();
    for (token, name) in [("rpk1.nonsense", "token-malformed"), (foreign.as_str(), "token-foreign")] {
        let refused = agent::enrol(address, authority, token, "compute1", &other).await.unwrap_err();
        assert_eq!(name_of(&refused), name);
    }
    let brief = coordinator.token("compute3", Duration::from_secs(1)).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let refused = agent::enrol(address, authority, &brief, "compute3", &other).await.unwrap_err();
    assert_eq!(name_of(&refused), "token-expired");

    let hosts = coordinator.links.hosts().await.unwrap();
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["compute1"]);
    let endless = coordinator.links.create_token(&host("compute1"), Duration::from_secs(1 << 40)).await;
    assert!(matches!(endless, Err(LinksError::Lifetime { .. })));
    coordinator.stop().await;
}

#[tokio::test]
async fn without_a_certificate_one_may_enrol_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let mut client = agent::stranger(&coordinator).await;
    let renew = client.renew(v1::RenewRequest { csr: Vec::new() }).await.unwrap_err();
    assert_eq!((renew.code(), name_of(&renew)), (Code::Unauthenticated, "no-certificate"));
    let link = client.link(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(name_of(&link), "no-certificate");
    // More than a request for a certificate can need.
    let large = v1::EnrolRequest { csr: vec![0; 1 << 20], ..v1::EnrolRequest::default() };
    assert_eq!(client.enrol(large).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_certificate_is_renewed_for_its_own_host_alone() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let mut client = agent::dial_as(coordinator.address, &compute1.credentials).await.unwrap();
    let key = PrivateKey::generate().unwrap();
    let csr = key.request().unwrap().der().to_vec();
    let chain = client.renew(v1::RenewRequest { csr }).await.unwrap().into_inner().certificate_chain;
    // Refuses a chain of another role.
    compute1.credentials.publish(&chain, &key, agent::now()).unwrap();
    compute1.link(&coordinator).await;

    let bad = client.renew(v1::RenewRequest { csr: vec![1, 2, 3] }).await.unwrap_err();
    assert!(bad.message().starts_with("RP6106: ") && name_of(&bad) == "csr-malformed", "{bad}");

    // With another host's name in the hello.
    let mut hello = compute1.hello();
    hello.host = "compute2".to_owned();
    let refused = compute1.link_saying(&coordinator, hello).await.map(drop).unwrap_err();
    assert_eq!((refused.code(), name_of(&refused)), (Code::PermissionDenied, "other-host"));
    assert!(refused.message().starts_with("RP6103: "), "{refused}");
}

#[tokio::test]
async fn a_revoked_host_is_cut_at_once_and_let_in_again_only_by_a_new_token() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let unused = coordinator.token("compute1", MINUTE).await;
    let mut open = agent::dial_as(coordinator.address, &compute1.credentials).await.unwrap();
    let link = compute1.link(&coordinator).await;
    let by = OperatorName::new(BY).unwrap();
    let stranger = coordinator.links.revoke(&HostName::new("stranger").unwrap(), &by).await;
    assert!(matches!(stranger, Err(LinksError::UnknownHost { .. })));

    let begun = Instant::now();
    coordinator.revoke("compute1").await;
    let why = link.ended().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(why.message().starts_with("RP6105: ") && name_of(&why) == "host-revoked", "{why}");
    // A connection from before, and a new one.
    let refused = open.renew(v1::RenewRequest { csr: Vec::new() }).await.unwrap_err();
    assert_eq!(name_of(&refused), "certificate-revoked");
    let error = agent::dial_as(coordinator.address, &compute1.credentials).await.unwrap_err();
    assert_eq!(tls::explain(&error), Some(tls::TlsRefusal::OursRevoked), "{error:?}");
    let key = PrivateKey::generate().unwrap();
    let (address, authority) = (coordinator.address, &coordinator.authority);
    let refused = agent::enrol(address, authority, &unused, "compute1", &key).await.unwrap_err();
    assert_eq!(name_of(&refused), "token-unknown", "a token from before is void");
    assert!(coordinator.links.hosts().await.unwrap()[0].revoked);

    let again = Host::enrol(&coordinator, "compute1").await;
    again.link(&coordinator).await;
    let old = agent::dial_as(coordinator.address, &compute1.credentials).await;
    assert!(old.is_err(), "the old certificate stays revoked");
    assert!(!coordinator.links.hosts().await.unwrap()[0].revoked);
}

#[tokio::test]
async fn hosts_are_asked_at_once_within_one_deadline() {
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("c"));
    let coordinator = Coordinator::start(&dir.path().join("c")).await;
    let compute1 = Host::enrol(&coordinator, "compute1").await;
    let compute2 = Host::enrol(&coordinator, "compute2").await;
    let _link = compute1.link(&coordinator).await;
    let _silent = compute2.link_silent(&coordinator).await;
    let names = ["compute1", "compute2", "compute3"].map(host);
    let begun = Instant::now();
    let deadline = Duration::from_millis(300);
    let answers = coordinator.links.ask_all(names, ReadingRequest::Census, deadline).await;
    assert!(begun.elapsed() < PATIENCE / 4);
    let answers: Vec<_> = answers.into_values().collect();
    let Ok(reading) = &answers[0] else { panic!("{answers:?}") };
    let ReadingValue::Census(census) = &reading.value else { panic!("{reading:?}") };
    assert_eq!(census.guests.len(), 1);
    assert!(matches!(&answers[1], Err(AskError::NoAnswer { deadline_ms: 300, .. })), "{answers:?}");
    assert!(matches!(&answers[2], Err(AskError::NotLinked { .. })), "{answers:?}");
    let seen = coordinator.links.seen();
    assert!(seen[&host("compute1")].linked && seen[&host("compute1")].census.is_some());
    assert!(codes::TABLE.iter().any(|(code, _)| *code == codes::LINK_REPLACED));
}

#[tokio::test]
async fn the_coordinators_own_certificate_is_renewed_when_due_and_made_anew_when_expired() {
    const DAY: u64 = 86_400;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("c");
    init(&dir);
    let folder = Folder::new(&dir);
    // An authority that was there before its leafs.
    let authority = Authority::create(agent::now().minus(Duration::from_secs(30 * DAY))).unwrap();
    files::write_public(&folder.authority(), &authority.cert().to_pem()).unwrap();
    files::write_private(&folder.authority_key(), &authority.key_pem()).unwrap();
    let on_disk = || {
        let pair = files::read_identity(&folder.identity()).unwrap();
        let key = PrivateKey::from_pem(&pair.key).unwrap();
        Credentials::new(&pair.chain, &key, authority.cert(), agent::now())
    };
    // Of a life of ten days nine are over; then, the whole.
    for (begun_days_ago, is_expired) in [(9, false), (11, true)] {
        let key = PrivateKey::generate().unwrap();
        let begun = agent::now().minus(Duration::from_secs(begun_days_ago * DAY));
        let (csr, life) = (key.request().unwrap(), Duration::from_secs(10 * DAY));
        let issued = authority.issue_coordinator(&csr, &["localhost"], life, begun).unwrap();
        let chain = issued.to_pem();
        files::write_identity(&folder.identity(), &PemPair { chain, key: key.to_pem() }).unwrap();
        assert_eq!(on_disk().is_err(), is_expired);
        let coordinator = Coordinator::start(&dir).await;
        assert_ne!(on_disk().unwrap().identity().serial, issued.serial);
        // Hosts believe the new one.
        Host::enrol(&coordinator, &format!("compute{begun_days_ago}")).await.link(&coordinator).await;
        coordinator.stop().await;
    }
}
