//! The program as it is typed and as systemd runs it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use replank_agent::cli::exit::Exit;
use replank_agent::cli::manual::MANUAL;
use replank_common::ids::HostName;
use replank_identity::files::{self, PemPair};
use replank_identity::{Authority, PrivateKey, Role, UnixSeconds};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant, SystemTime};

const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration of its own; nothing of this machine's is read or written.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let text = format!(
            "host = \"compute1\"\nmetrics = \"off\"\nstate_directory = \"{}\"\npolicy = \"{}\"\n",
            place.path("state").display(),
            place.path("policy.toml").display()
        );
        std::fs::write(place.path("agent.toml"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replank-agent"));
        command.arg("--config").arg(self.path("agent.toml")).args(arguments).env_remove("REPLANK_TOKEN");
        command
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], exit: Exit) -> (String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(exit.code().into()), "{arguments:?}\n{out}\n{err}");
        (out, err)
    }

    /// An identity of a fleet of its own, and a coordinator's address where nobody listens.
    fn enrolled(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = UnixSeconds(since.as_secs());
        let authority = Authority::create(now).unwrap();
        let key = PrivateKey::generate().unwrap();
        let role = Role::Host(HostName::new("compute1").unwrap());
        let issued = authority.issue(&key.request().unwrap(), &role, Duration::from_secs(86_400), now);
        std::fs::create_dir_all(self.path("state/identity")).unwrap();
        files::write_private(&self.path("state/identity/authority.pem"), &authority.cert().to_pem()).unwrap();
        let pair = PemPair { chain: issued.unwrap().to_pem(), key: key.to_pem() };
        files::write_identity(&self.path("state/identity/identity.pem"), &pair).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::create_dir(self.path("conf.d")).unwrap();
        let text = format!("coordinator = \"127.0.0.1:{port}\"\n");
        std::fs::write(self.path("conf.d/10-enrolled.toml"), text).unwrap();
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn a_host_that_is_not_enrolled_is_told_what_to_do() {
    let place = Place::new();
    if !is_root() {
        let (_, err) = place.ends(&["run"], Exit::NotRoot);
        assert!(err.contains("RP4025"), "{err}");
        return;
    }
    let (out, err) = place.ends(&["run"], Exit::Identity);
    assert!(out.is_empty() && err.starts_with("replank-agent: RP4002: "), "{err}");
    assert!(err.contains("`replank host token compute1`") && err.contains("enrol --coordinator"), "{err}");
    place.ends(&["enrol", "--coordinator", "127.0.0.1:1", "--token", "rpk1.x"], Exit::Usage);
    assert!(!place.path("state").exists());
}

#[test]
fn what_reads_answers_without_an_agent() {
    let place = Place::new();
    let (out, _) = place.ends(&["check-config"], Exit::Done);
    assert!(out.contains("  this host is compute1\n"), "{out}");
    std::fs::write(place.path("policy.toml"), "observe_only = 3\n").unwrap();
    let (_, err) = place.ends(&["check-config"], Exit::BadFile);
    assert!(err.contains("policy.toml:1:16: RP4101 "), "{err}");
    place.ends(&["nonsense"], Exit::Usage);
    let (out, _) = place.ends(&["--version"], Exit::Done);
    assert_eq!(out, format!("replank-agent {}\n", env!("CARGO_PKG_VERSION")));
    if is_root() {
        let (out, _) = place.ends(&["ledger"], Exit::Done);
        assert_eq!(out, "nothing was done here\n");
        assert_eq!(place.ends(&["ledger", "--json"], Exit::Done).0, "[]\n");
        assert!(!place.path("state").exists(), "reading makes no ledger");
    }
}

#[test]
fn every_command_has_its_lesson_its_page_and_its_exit_codes() {
    let place = Place::new();
    let names: Vec<String> =
        MANUAL.command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let taught: Vec<&str> =
        MANUAL.lessons.iter().map(|lesson| lesson.path).filter(|name| !name.is_empty()).collect();
    assert_eq!(names, taught);
    let man = place.path("man");
    place.ends(&["man", "--dir", man.to_str().unwrap()], Exit::Done);
    for name in &names {
        let (help, _) = place.ends(&[name, "--help"], Exit::Done);
        let page = std::fs::read_to_string(man.join(format!("replank-agent-{name}.1"))).unwrap();
        // As roff is read: `\*(Aq` is an apostrophe, and `\-` a hyphen.
        let page = page.replace(r"\*(Aq", "'").replace('\\', "");
        for exit in MANUAL.lesson(name).unwrap().all_exits(MANUAL.everywhere) {
            assert!(help.contains(&format!("  {}  {}\n", exit.code(), exit.title())), "{help}");
            assert!(page.contains(exit.title()), "{name}: {}", exit.title());
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ends(&["completions", shell], Exit::Done).0.contains("check-config"));
    }
}

/// What systemd would be told.
struct Service {
    socket: UnixDatagram,
    child: Child,
    heard: Vec<String>,
}

impl Service {
    fn start(place: &Place, watchdog: Duration) -> Self {
        let path = place.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let child = place
            .command(&["run"])
            .env("NOTIFY_SOCKET", path)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .spawn()
            .unwrap();
        Self { socket, child, heard: Vec::new() }
    }

    #[track_caller]
    fn until(&mut self, what: &str, seen: impl Fn(&[String]) -> bool) {
        let begun = Instant::now();
        let mut buffer = [0; 4096];
        while !seen(&self.heard) {
            assert!(begun.elapsed() < PATIENCE, "{what} was not heard: {:#?}", self.heard);
            if let Ok(length) = self.socket.recv(&mut buffer) {
                self.heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn without_its_coordinator_the_agent_is_ready_feeds_the_watchdog_and_stops_in_good_order() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place.enrolled();
    let mut service = Service::start(&place, Duration::from_millis(400));
    service.until("ready", |heard| heard.iter().any(|said| said.contains("READY=1")));
    service.until("why there is no link", |heard| heard.iter().any(|said| said.contains("RP4005")));
    let fed = |heard: &[String]| heard.iter().filter(|said| said.contains("WATCHDOG=1")).count();
    service.until("the watchdog, long after its limit", |heard| fed(heard) > 20);
    // A bad policy is no reason to end.
    std::fs::write(place.path("policy.toml"), "observe_only = 3\n").unwrap();
    service.signal("HUP");
    let before = fed(&service.heard);
    service.until("the watchdog after a reload", |heard| fed(heard) > before + 5);
    service.signal("TERM");
    service.until("stopping", |heard| heard.iter().any(|said| said.contains("STOPPING=1")));
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
    let ledger = |path: &Path| path.join("ledger.sqlite").exists();
    assert!(ledger(&place.path("state")));
}

/// docs/planted-faults.md: what can be made to fail on purpose knows the variable that says how.
#[test]
fn no_fault_can_be_planted_in_it() {
    let grep =
        Command::new("grep").args(["-q", "REPLANK_PLANT", env!("CARGO_BIN_EXE_replank-agent")]).status();
    assert_eq!(grep.unwrap().code(), Some(1), "grep found it, or could not look");
}
