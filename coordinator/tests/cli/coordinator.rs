//! A coordinator of one's own: the real `replank serve`, with hosts that are enrolled and have no agent, and operators of each level.

use crate::ports::free_address;
use crate::support::{Desk, command};
use replank_common::ids::HostName;
use replank_coordinator::config::Folder;
use replank_coordinator::store::Database;
use replank_identity::files::{self, PemPair};
use replank_identity::{Authority, Level, OperatorName, PrivateKey, Role, UnixSeconds};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(86_400);
const START_TIME_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Serving {
    process: Child,
    pub metrics: SocketAddr,
}

impl Serving {
    /// Makes the folder `c` with the three hosts of the example and an operator of each level, whose settings are
    /// `c/viewer.toml`, `c/operator.toml` and `c/admin.toml`; starts the coordinator and waits until it answers.
    pub fn begin(desk: &Desk) -> Self {
        init(desk);
        Self::start(desk)
    }

    /// Starts the coordinator of the folder `c`.
    pub fn start(desk: &Desk) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(desk.path("log")).unwrap();
        let process = command(&desk.path("."), &["serve", "--dir", "c"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let settings = replank_coordinator::config::Settings::read(&desk.path("c/coordinator.toml")).unwrap();
        let serving = Self { process, metrics: settings.metrics };
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            let said = desk.run(&["--config", "c/admin.toml", "runs"]);
            if said.code == 0 {
                return serving;
            }
            assert!(
                Instant::now() < deadline,
                "no answer of the coordinator: {said:#?}\n{}",
                desk.read("log")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Tells it to stop; its exit code.
    pub fn stop(mut self) -> i32 {
        let pid = self.process.id().to_string();
        let told = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        self.process.wait().unwrap().code().unwrap_or(-1)
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// What Prometheus would read: the body, and the head before it.
    pub fn scrape(&self) -> (String, String) {
        let mut socket = TcpStream::connect(self.metrics).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: replank\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (body.to_owned(), head.to_owned())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Gone already, when the test ended it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

pub fn init(desk: &Desk) {
    let (listen, metrics) = (free_address(), free_address());
    desk.must(&[
        "init",
        "--dir",
        "c",
        "--name",
        "127.0.0.1",
        "--listen",
        &listen.to_string(),
        "--metrics",
        &metrics.to_string(),
    ]);
    let folder = Folder::new(desk.path("c"));
    let pair = files::read_pair(&folder.authority(), &folder.authority_key()).unwrap();
    let authority = Authority::load(&pair.chain, &pair.key).unwrap();
    let mut database = Database::open(&folder.database()).unwrap();
    for host in ["compute1", "compute2", "compute3"] {
        let request = PrivateKey::generate().unwrap().request().unwrap();
        let issued =
            authority.issue(&request, &Role::Host(HostName::new(host).unwrap()), DAY, now()).unwrap();
        database.record_issued(&[issued], now().0 * 1000).unwrap();
    }
    for level in [Level::Viewer, Level::Operator, Level::Admin] {
        identity(desk, &format!("c/{level}1.pem"), &format!("{level}1"), level, 90 * DAY);
        settings(folder.root(), &level.to_string(), listen);
    }
}

/// Makes the identity file of an operator, as the authority of the folder `c` does.
pub fn identity(desk: &Desk, file: &str, name: &str, level: Level, lifetime: Duration) {
    let folder = Folder::new(desk.path("c"));
    let pair = files::read_pair(&folder.authority(), &folder.authority_key()).unwrap();
    let authority = Authority::load(&pair.chain, &pair.key).unwrap();
    let (key, name) = (PrivateKey::generate().unwrap(), OperatorName::new(name).unwrap());
    let role = Role::Operator { name, level };
    let issued = authority.issue(&key.request().unwrap(), &role, lifetime, now()).unwrap();
    let pair = PemPair { chain: issued.to_pem(), key: key.to_pem() };
    Database::open(&folder.database()).unwrap().record_issued(&[issued], now().0 * 1000).unwrap();
    files::write_identity(&desk.path(file), &pair).unwrap();
}

fn settings(folder: &Path, level: &str, listen: SocketAddr) {
    let text =
        format!("coordinator = \"{listen}\"\nauthority = \"authority.pem\"\nidentity = \"{level}1.pem\"\n");
    std::fs::write(folder.join(format!("{level}.toml")), text).unwrap();
}

fn now() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}
