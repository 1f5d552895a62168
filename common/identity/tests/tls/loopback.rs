//! Over real sockets with tokio-rustls, as the link uses it: above all, that a refusal can be read out of the
//! `io::Error` in which a transport hands it on.

use crate::fleet::{Fleet, NOW};
use replank_common::ids::HostName;
use replank_identity::token::{self, Admission, Ask};
use replank_identity::{
    AuthorityCert, CredentialStore, Credentials, Csr, JoinToken, PeerIdentity, PrivateKey, RevokedSet, Role,
    tls,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);

/// Serves `handshakes` connections, answering each with who it takes the caller for.
async fn serve(fleet: &Fleet, handshakes: usize) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls::TlsAcceptor::from(fleet.server());
    let task = tokio::spawn(async move {
        for _ in 0..handshakes {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let peer = PeerIdentity::from_tls(stream.get_ref().1.peer_certificates()).unwrap();
            let who = peer.map_or("nobody".to_owned(), |peer| peer.role.to_string());
            stream.write_all(who.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (address, task)
}

async fn ask(address: std::net::SocketAddr, config: Arc<rustls::ClientConfig>) -> io::Result<String> {
    let mut stream = tls::connect(config, TcpStream::connect(address).await?).await?;
    let mut who = String::new();
    stream.read_to_string(&mut who).await?;
    Ok(who)
}

#[tokio::test]
async fn a_revoked_host_reads_why_it_is_refused() {
    let fleet = Fleet::new();
    let client = fleet.client(&fleet.caller("replank://host/compute1"));
    let (address, server) = serve(&fleet, 2).await;
    let test = async {
        assert_eq!(ask(address, client.clone()).await.unwrap(), "replank://host/compute1");
        let hosts = [HostName::new("compute1").unwrap()].into();
        fleet.revocations.replace(RevokedSet { hosts, ..RevokedSet::default() });
        let error = ask(address, client).await.unwrap_err();
        assert_eq!(tls::explain(&error), Some(tls::TlsRefusal::OursRevoked));
        // A transport may wrap it once more.
        let wrapped = io::Error::other(error);
        assert_eq!(tls::explain(&wrapped).unwrap().code(), "certificate-revoked");
        server.await.unwrap();
    };
    tokio::time::timeout(PATIENCE, test).await.expect("done in time");
}

/// From a token on paper to a host that is known by its certificate.
#[tokio::test]
async fn a_host_enrols() {
    let fleet = Fleet::new();
    let (address, server) = serve(&fleet, 2).await;
    let host = HostName::new("compute1").unwrap();

    // The operator: `replank host token compute1`.
    let token = JoinToken::generate(fleet.authority.fingerprint()).unwrap();
    let record = token.record(host.clone(), NOW, Duration::from_secs(3_600));
    let paper = token.reveal();

    // The agent, unknown yet.
    let token: JoinToken = paper.parse().unwrap();
    let config = tls::enrolment_client_config(token.authority(), fleet.client_clock.clone()).unwrap();
    let first = ask(address, config);
    assert_eq!(tokio::time::timeout(PATIENCE, first).await.unwrap().unwrap(), "nobody");
    let key = PrivateKey::generate().unwrap();
    let request = key.request().unwrap();

    // The coordinator.
    let csr = Csr::from_der(request.der()).unwrap();
    let ours = fleet.authority.fingerprint();
    let wish = Ask { host: &host, key: csr.fingerprint() };
    let admitted = token::verify(&token, Some(&record), ours, wish, NOW).unwrap();
    let Admission::First(record) = admitted else { panic!("{admitted:?}") };
    let role = Role::Host(record.host.clone());
    let leaf = fleet.authority.issue(&csr, &role, Duration::from_secs(86_400), NOW).unwrap();

    // The agent again, with the answer.
    let authority = AuthorityCert::pinned(&fleet.authority.cert().to_pem(), token.authority()).unwrap();
    let credentials = Credentials::new(&leaf.to_pem(), &key, &authority, NOW).unwrap();
    let second = ask(address, fleet.client(&CredentialStore::new(credentials)));
    assert_eq!(tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap(), "replank://host/compute1");
    tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();
}

#[tokio::test]
async fn errors_that_are_not_about_certificates_are_left_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fleet = Fleet::new();
    let client = fleet.client(&fleet.caller("replank://host/compute1"));
    assert_eq!(tls::explain(&ask(address, client).await.unwrap_err()), None);
}
