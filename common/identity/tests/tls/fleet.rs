//! A small fleet in memory: an authority, credentials for every role, a clock that the test sets, and handshakes
//! over byte buffers.

use replank_identity::{
    Authority, CredentialStore, Credentials, Issued, PrivateKey, Revocations, Role, UnixSeconds, tls,
};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::UnixTime;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
pub const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn at(now: UnixSeconds) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now.0)))
    }

    pub fn set(&self, now: UnixSeconds) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl tls::TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixSeconds(self.0.load(Ordering::SeqCst)).into())
    }
}

pub struct Fleet {
    pub authority: Authority,
    pub revocations: Arc<Revocations>,
    pub coordinator: Arc<CredentialStore>,
    pub server_clock: Arc<Clock>,
    pub client_clock: Arc<Clock>,
}

impl Fleet {
    pub fn new() -> Self {
        let authority = Authority::create(NOW).unwrap();
        let coordinator = store(&authority, "replank://coordinator").0;
        Self {
            authority,
            revocations: Arc::new(Revocations::default()),
            coordinator,
            server_clock: Clock::at(NOW),
            client_clock: Clock::at(NOW),
        }
    }

    /// Credentials of a caller of this fleet.
    pub fn caller(&self, role: &str) -> Arc<CredentialStore> {
        store(&self.authority, role).0
    }

    pub fn server(&self) -> Arc<ServerConfig> {
        tls::server_config(&self.coordinator, &self.revocations, self.server_clock.clone()).unwrap()
    }

    pub fn client(&self, credentials: &Arc<CredentialStore>) -> Arc<ClientConfig> {
        tls::client_config(credentials, self.client_clock.clone()).unwrap()
    }
}

/// A new key with a leaf that lives for 30 days.
pub fn leaf(authority: &Authority, role: &str) -> (PrivateKey, Issued) {
    let key = PrivateKey::generate().unwrap();
    let role: Role = role.parse().unwrap();
    let issued = authority.issue(&key.request().unwrap(), &role, DAY * 30, NOW).unwrap();
    (key, issued)
}

pub fn store(authority: &Authority, role: &str) -> (Arc<CredentialStore>, Issued) {
    let (key, issued) = leaf(authority, role);
    let credentials = Credentials::new(&issued.to_pem(), &key, authority.cert(), NOW).unwrap();
    (CredentialStore::new(credentials), issued)
}

/// An open connection, both ends.
pub struct Open {
    pub client: ClientConnection,
    pub server: ServerConnection,
}

/// Which side refused, and what the other side then heard.
#[derive(Debug)]
pub struct Refused {
    pub by: &'static str,
    pub error: rustls::Error,
    /// What the refused side makes of the alert.
    pub heard: Option<rustls::Error>,
}

impl Refused {
    pub fn code(&self) -> &'static str {
        tls::explain(&self.error).expect("an error that can be explained").code()
    }

    pub fn heard_code(&self) -> &'static str {
        tls::explain(self.heard.as_ref().expect("an alert")).expect("an alert that can be explained").code()
    }
}

/// Connects and sends a word each way: in TLS 1.3 a client believes to be connected before the server has looked
/// at its certificate, so a handshake alone proves too little.
pub fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Open, Box<Refused>> {
    let mut open = Open {
        client: ClientConnection::new(client.clone(), tls::server_name()).unwrap(),
        server: ServerConnection::new(server.clone()).unwrap(),
    };
    open.exchange()?;
    Ok(open)
}

impl Open {
    pub fn exchange(&mut self) -> Result<(), Box<Refused>> {
        let mut word = [0; 4];
        self.client.writer().write_all(b"ping").unwrap();
        self.pump()?;
        self.server.reader().read_exact(&mut word).expect("the server hears the client");
        self.server.writer().write_all(b"pong").unwrap();
        self.pump()?;
        self.client.reader().read_exact(&mut word).expect("the client hears the server");
        assert_eq!(&word, b"pong");
        Ok(())
    }

    /// Carries bytes both ways until there are no more.
    fn pump(&mut self) -> Result<(), Box<Refused>> {
        loop {
            let mut moved = false;
            while self.client.wants_write() {
                moved = true;
                let mut bytes = Vec::new();
                self.client.write_tls(&mut bytes).unwrap();
                self.server.read_tls(&mut bytes.as_slice()).unwrap();
                if let Err(error) = self.server.process_new_packets() {
                    let mut alert = Vec::new();
                    while self.server.wants_write() {
                        self.server.write_tls(&mut alert).unwrap();
                    }
                    self.client.read_tls(&mut alert.as_slice()).unwrap();
                    let heard = self.client.process_new_packets().err();
                    return Err(Box::new(Refused { by: "server", error, heard }));
                }
            }
            while self.server.wants_write() {
                moved = true;
                let mut bytes = Vec::new();
                self.server.write_tls(&mut bytes).unwrap();
                self.client.read_tls(&mut bytes.as_slice()).unwrap();
                if let Err(error) = self.client.process_new_packets() {
                    let mut alert = Vec::new();
                    while self.client.wants_write() {
                        self.client.write_tls(&mut alert).unwrap();
                    }
                    self.server.read_tls(&mut alert.as_slice()).unwrap();
                    let heard = self.server.process_new_packets().err();
                    return Err(Box::new(Refused { by: "client", error, heard }));
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }
}
