//! The Ceph cluster, asked through the `ceph` command with a deadline for every call; the daemons of this host, as processes.
//!
//! Owns what is asked and how a daemon is found. `replank_ceph` owns what the answers mean. A cluster without quorum answers nothing and the command
//! would wait for ever, so each call has `--connect-timeout` and is ended when its deadline passes.

pub mod conf;
mod daemon;
mod data;
pub mod devices;
mod socket;

pub use daemon::{Daemon, Identity, homeless_gateways, installed_version};
pub use data::{daemons, nobodys, other_clusters};

use super::Host;
use super::command::{Command, CommandError, Output};
use replank_ceph::OsdId;
use replank_ceph::documents::{
    DocumentError, OsdDump, OsdMetadata, OsdTree, PgDump, QuorumStatus, read_osd_metadata,
};
use replank_ceph::seen::{ANSWER_MS, Stop};
use replank_common::ceph::CephDaemon;
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// For the MONs to be found.
const CONNECT: &str = "10";
/// For one question or one change.
const ASK: Duration = Duration::from_secs(45);
/// For a report that would come by itself within 5 s.
const FLUSH: Duration = Duration::from_secs(5);
/// For the list of all placement groups: up to 3 kB each, and there may be 500,000.
const LIST: Duration = Duration::from_secs(180);
/// What belongs together is answered together, or not at all.
const _: () = assert!(LIST.as_millis() + ASK.as_millis() < ANSWER_MS as u128);
/// Of the list of all placement groups; 500,000 of Nautilus are 1.5 GB.
const LIST_BYTES: usize = 4 << 30;
/// Where the daemons' admin sockets are unless somebody configured another place.
const SOCKETS: &str = "/var/run/ceph";
/// For a daemon's own admin socket.
const SOCKET: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum CephError {
    #[error(transparent)]
    Tool(#[from] CommandError),
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("the answer of `{command}` cannot be understood: {said}")]
    Unreadable { command: String, said: String },
}

impl CephError {
    /// By which errno the cluster answered a command with a no: the tool writes `Error EINVAL: why` of what a daemon answered (ceph 0.94 to 18, src/ceph.in). `None`: there
    /// was no answer. Of two errnos it writes the same when no daemon answered in time.
    pub fn answered_no(&self) -> Option<&str> {
        let Self::Tool(CommandError::Failed { said, .. }) = self else { return None };
        said.lines().find_map(|line| {
            let (errno, _) = line.trim().strip_prefix("Error ")?.split_once(':')?;
            let is_one = errno.starts_with('E') && errno.bytes().all(|byte| byte.is_ascii_uppercase());
            (is_one && !matches!(errno, "EINTR" | "ETIMEDOUT")).then_some(errno)
        })
    }
}

/// The cluster that this host's `/etc/ceph/ceph.conf` names, with this host's keyring.
#[derive(Debug)]
pub struct Ceph<'h> {
    host: &'h Host,
    /// No question is open for longer.
    until: Option<Instant>,
}

impl<'h> Ceph<'h> {
    pub fn new(host: &'h Host) -> Self {
        Self { host, until: None }
    }

    /// The same for somebody who waits for all answers together until then, and for none afterwards.
    pub fn until(host: &'h Host, until: Instant) -> Self {
        Self { host, until: Some(until) }
    }

    fn run_ok(&self, command: Command) -> Result<Output, CommandError> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let deadline = left.map_or(command.deadline, |left| left.min(command.deadline));
        self.host.programs.run_ok(&command.deadline(deadline))
    }

    /// Asks; the answer is a JSON document.
    ///
    /// # Errors
    /// The command is missing, fails, or passes its deadline.
    pub fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>, CephError> {
        Ok(self.run_ok(question(arguments))?.stdout)
    }

    /// Changes something.
    ///
    /// # Errors
    /// As [`Ceph::ask`].
    pub fn tell(&self, arguments: &[&str]) -> Result<(), CephError> {
        self.run_ok(command().args(arguments).deadline(ASK))?;
        Ok(())
    }

    /// # Errors
    /// As [`Ceph::ask`], or the document does not read. So do the following.
    pub fn osd_dump(&self) -> Result<OsdDump, CephError> {
        Ok(OsdDump::read("ceph osd dump", &self.ask(&["osd", "dump"])?)?)
    }

    /// Has `who` (`osd.3`, `osd.*`) report its groups now. Every release knows the command; Hammer and Jewel answer when a MON has taken the
    /// report, later ones when it is on its way to the manager (OSD.cc `flush_pg_stats`).
    ///
    /// # Errors
    /// As [`Ceph::ask`].
    pub fn flush_pg_stats(&self, who: &str) -> Result<(), CephError> {
        self.run_ok(command().args(["tell", who, "flush_pg_stats"]).deadline(FLUSH))?;
        Ok(())
    }

    /// The full one, which tells when each group was reported.
    ///
    /// # Errors
    /// As [`Ceph::osd_dump`].
    pub fn pg_dump(&self) -> Result<PgDump, CephError> {
        let list = question(&["pg", "dump"]).deadline(LIST).output_limit(LIST_BYTES);
        Ok(PgDump::read("ceph pg dump", &self.run_ok(list)?.stdout)?)
    }

    /// # Errors
    /// As [`Ceph::osd_dump`].
    pub fn quorum(&self) -> Result<QuorumStatus, CephError> {
        Ok(QuorumStatus::read("ceph quorum_status", &self.ask(&["quorum_status"])?)?)
    }

    /// # Errors
    /// As [`Ceph::osd_dump`].
    pub fn osd_tree(&self) -> Result<OsdTree, CephError> {
        Ok(OsdTree::read("ceph osd tree", &self.ask(&["osd", "tree"])?)?)
    }

    /// Of every OSD that exists, up or down: what it said at its last boot. Hammer must be asked for one at a time.
    ///
    /// # Errors
    /// As [`Ceph::osd_dump`].
    pub fn osd_metadata(&self, osds: &OsdDump) -> Result<BTreeMap<OsdId, OsdMetadata>, CephError> {
        const NAME: &str = "ceph osd metadata";
        match self.ask(&["osd", "metadata"]) {
            Ok(answer) => Ok(read_osd_metadata(NAME, &answer)?),
            Err(CephError::Tool(CommandError::Failed { .. })) => {
                let mut all = BTreeMap::new();
                for id in osds.osds.keys() {
                    let answer = self.ask(&["osd", "metadata", &id.0.to_string()])?;
                    // Its document has no number of its own there.
                    all.extend(read_osd_metadata(NAME, &answer).or_else(|_| one(NAME, *id, &answer))?);
                }
                Ok(all)
            }
            Err(error) => Err(error),
        }
    }

    /// What decides whether the OSDs `of` and MONs may stop.
    ///
    /// # Errors
    /// As [`Ceph::osd_dump`].
    pub fn stop(&self, of: BTreeSet<OsdId>) -> Result<Stop, CephError> {
        let pgs = self.pg_dump()?;
        // Side by side: each takes a second of which the cluster has nothing, and waves wait for it.
        let (osds, quorum, tree) = std::thread::scope(|scope| {
            let (quorum, tree) = (scope.spawn(|| self.quorum()), scope.spawn(|| self.osd_tree()));
            (self.osd_dump(), join(quorum), join(tree))
        });
        Ok(Stop::new(osds?, pgs, quorum?, Some(tree?), of))
    }

    /// What a daemon of this host that runs says of itself, over its admin socket.
    ///
    /// # Errors
    /// It does not answer, or with something else.
    pub fn running_version(&self, daemon: &CephDaemon) -> Result<Version, CephError> {
        let answer = self.asked_itself(daemon, "version")?;
        let said = serde_json::from_slice::<serde_json::Value>(&answer).ok();
        let version = said.as_ref().and_then(|said| said.get("version")?.as_str()).map(Version::new);
        version.ok_or_else(|| CephError::Unreadable {
            command: format!("ceph daemon {daemon} version"),
            said: String::from_utf8_lossy(&answer).trim().to_owned(),
        })
    }

    /// Whether a MON of this host says itself that it is in quorum. What the others say right after its restart may be from before it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn in_quorum(&self, mon: &CephDaemon) -> Result<bool, CephError> {
        let answer = self.socket(mon, &["mon_status"])?;
        let said: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(matches!(said["state"].as_str(), Some("leader" | "peon")))
    }

    /// Whether an OSD of this host says itself that the map has its boot. In the map it may seem up before, as the one that was stopped.
    ///
    /// # Errors
    /// It does not answer.
    pub fn is_active(&self, osd: &CephDaemon) -> Result<bool, CephError> {
        let answer = self.asked_itself(osd, "status")?;
        let said: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(said["state"] == "active")
    }

    fn asked_itself(&self, daemon: &CephDaemon, question: &str) -> Result<Vec<u8>, CephError> {
        match self.answer_of_socket(daemon, question) {
            Some(answer) => Ok(answer),
            // Its socket is somewhere else: the command finds it by the configuration.
            None => self.socket(daemon, &[question]),
        }
    }

    /// Of the first socket behind which somebody lives: a daemon that was killed leaves its own behind.
    fn answer_of_socket(&self, daemon: &CephDaemon, question: &str) -> Option<Vec<u8>> {
        let sockets = socket::sockets_of(&self.host.at(SOCKETS), &daemon.entity());
        sockets.iter().find_map(|path| socket::ask(path, question).ok())
    }

    /// Asks a daemon of this host over its admin socket, which needs no quorum.
    ///
    /// # Errors
    /// It does not answer.
    pub fn socket(&self, daemon: &CephDaemon, arguments: &[&str]) -> Result<Vec<u8>, CephError> {
        let command =
            Command::new("ceph").arg("daemon").arg(daemon.entity()).args(arguments).deadline(SOCKET);
        Ok(self.run_ok(command)?.stdout)
    }
}

fn join<T>(asked: std::thread::ScopedJoinHandle<'_, T>) -> T {
    asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn command() -> Command {
    Command::new("ceph").args(["--connect-timeout", CONNECT])
}

fn question(arguments: &[&str]) -> Command {
    command().args(["--format", "json"]).args(arguments).deadline(ASK)
}

fn one(name: &str, id: OsdId, answer: &[u8]) -> Result<BTreeMap<OsdId, OsdMetadata>, DocumentError> {
    let mut value: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    if let Some(entry) = value.as_object_mut() {
        entry.insert("id".to_owned(), id.0.into());
    }
    read_osd_metadata(name, value.to_string().as_bytes())
}
