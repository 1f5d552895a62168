//! One daemon of this host: its unit, its process.
//!
//! Up to Hammer on EL7 a daemon does not run under a unit of its own name: the init script starts it in a transient unit, and its pid file tells
//! the process (ceph 0.94, src/init-ceph.in). A pid in a file is believed only when that process's command line is the daemon's.

use crate::guests::processes::arguments;
use crate::host::Host;
use crate::host::command::Command;
use crate::host::proc::{self, ProcessId};
use crate::host::systemd::SystemdError;
use procfs::process::Process;
use replank_ceph::documents::version_number;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::version::Version;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the process was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The main process of its unit.
    Unit(ProcessId),
    /// Under no unit of its name; its pid file tells it.
    PidFile(ProcessId),
}

impl Identity {
    pub fn process(self) -> ProcessId {
        match self {
            Self::Unit(process) | Self::PidFile(process) => process,
        }
    }
}

/// A daemon of this host.
#[derive(Debug)]
pub struct Daemon<'h> {
    host: &'h Host,
    name: &'h CephDaemon,
}

impl<'h> Daemon<'h> {
    pub fn new(host: &'h Host, name: &'h CephDaemon) -> Self {
        Self { host, name }
    }

    /// The unit that Jewel and later releases run it under.
    pub fn unit(&self) -> String {
        unit(self.name)
    }

    /// The process that runs now; `None` when there is none.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn running(&self) -> Result<Option<Identity>, SystemdError> {
        let status = self.host.systemd.status(&self.unit())?;
        if let Some(process) = status.main_pid.and_then(|pid| proc::alive(self.host, pid)) {
            return Ok(Some(Identity::Unit(process)));
        }
        Ok(self.of_pid_file().map(Identity::PidFile))
    }

    fn of_pid_file(&self) -> Option<ProcessId> {
        let text = std::fs::read_to_string(self.host.at(self.pid_file())).ok()?;
        let process = proc::alive(self.host, text.trim().parse().ok()?)?;
        let stat = Process::new_with_root(self.host.at("/proc").join(process.pid.to_string())).ok()?;
        is_daemon(self.name, &arguments(&stat)).then_some(process)
    }

    fn pid_file(&self) -> PathBuf {
        PathBuf::from(format!("/var/run/ceph/{}.pid", self.name))
    }

    /// Asks the process to end, as its own stop does: by systemd where it runs under its unit, and by SIGTERM else. Never by force.
    ///
    /// # Errors
    /// systemd did not stop it in time. That the process of a pid file has not ended shows later.
    pub fn stop(&self, running: Identity, deadline: Duration) -> Result<(), SystemdError> {
        match running {
            Identity::Unit(_) => self.host.systemd.stop(&self.unit(), deadline),
            Identity::PidFile(process) => {
                // From the handle on the pid cannot be another's; whether it was before is asked once more.
                let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
                if let Some(handle) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
                    && self.of_pid_file() == Some(process)
                {
                    // Gone already: as asked.
                    pidfd_send_signal(handle, Signal::TERM).ok();
                }
                Ok(())
            }
        }
    }

    /// The last lines of what it said, for people.
    pub fn last_words(&self) -> String {
        let journal = Command::new("journalctl")
            .args(["--no-pager", "-o", "cat", "-n", "15", "-u"])
            .arg(self.unit())
            .deadline(Duration::from_secs(10));
        let said = self.host.programs.run_ok(&journal).map(|output| output.text()).unwrap_or_default();
        let log = format!("/var/log/ceph/ceph-{}.{}.log", self.name.kind.as_str(), self.name.id);
        let tail =
            Command::new("tail").args(["-n", "5"]).arg(self.host.at(log)).deadline(Duration::from_secs(10));
        let logged = self.host.programs.run_ok(&tail).map(|output| output.text()).unwrap_or_default();
        let lines: Vec<&str> =
            said.lines().chain(logged.lines()).map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join(" | ")
    }
}

/// The name of every cluster that replank changes. One that is called otherwise has files of its own,
/// directories and words to its units; the preflight refuses it.
const CLUSTER: &str = "ceph";
/// Where a host says how its cluster is called, for the units of its daemons (ceph 10.2, systemd/ceph-osd@.service).
const NAMING: [&str; 2] = ["/etc/default/ceph", "/etc/sysconfig/ceph"];

/// The directory of a kind's data directories, and what stands before the id in their names.
fn place(kind: CephKind) -> (PathBuf, &'static str) {
    let (directory, prefix) = match kind {
        CephKind::Rgw => ("radosgw", "rgw."),
        CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds => (kind.as_str(), ""),
    };
    (Path::new("/var/lib/ceph").join(directory), prefix)
}

/// Every data directory of this host, with the name of its cluster and the daemon that it is of.
fn data_directories(host: &Host) -> Vec<(PathBuf, String, CephDaemon)> {
    let of = |kind: CephKind| {
        let (directory, prefix) = place(kind);
        let entries = std::fs::read_dir(host.at(&directory)).into_iter().flatten();
        entries.filter_map(move |entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            // The name of the cluster may have no hyphen.
            let (cluster, id) = name.split_once('-')?;
            let daemon =
                format!("{}.{}", kind.as_str(), id.strip_prefix(prefix)?).parse::<CephDaemon>().ok()?;
            Some((directory.join(&name), cluster.to_owned(), daemon))
        })
    };
    CephKind::ALL.into_iter().flat_map(of).collect()
}

/// The daemons that have a data directory on this host, in order.
pub fn daemons(host: &Host) -> Vec<CephDaemon> {
    let own = data_directories(host).into_iter().filter(|(_, cluster, _)| cluster == CLUSTER);
    let all: BTreeSet<CephDaemon> = own.map(|(_, _, daemon)| daemon).collect();
    all.into_iter().collect()
}

/// What on this host is of a cluster of another name: a daemon's data, or what its units are told. The configuration of one whose client the host is says nothing of
/// its daemons.
pub fn other_clusters(host: &Host) -> BTreeMap<PathBuf, String> {
    let named = NAMING.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(host.at(path)).ok()?;
        let said = text.lines().filter_map(|line| line.trim().strip_prefix("CLUSTER=")).next_back()?;
        Some((PathBuf::from(path), said.trim_matches(['"', '\'']).to_owned()))
    });
    let data = data_directories(host).into_iter().map(|(path, cluster, _)| (path, cluster));
    data.chain(named).filter(|(_, cluster)| cluster != CLUSTER).collect()
}

/// Where a daemon's data is, in a cluster of the usual name.
pub fn data_directory(name: &CephDaemon) -> PathBuf {
    let (directory, prefix) = place(name.kind);
    directory.join(format!("{CLUSTER}-{prefix}{}", name.id))
}

/// The unit of a daemon.
pub(super) fn unit(daemon: &CephDaemon) -> String {
    let id = &daemon.id;
    match daemon.kind {
        CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds => {
            format!("ceph-{}@{id}.service", daemon.kind.as_str())
        }
        CephKind::Rgw => format!("ceph-radosgw@rgw.{id}.service"),
    }
}

/// As the cluster names it.
pub(super) fn entity(daemon: &CephDaemon) -> String {
    match daemon.kind {
        CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds => daemon.to_string(),
        CephKind::Rgw => format!("client.rgw.{}", daemon.id),
    }
}

/// The file name of a kind's executable.
fn program(kind: CephKind) -> &'static str {
    match kind {
        CephKind::Mon => "ceph-mon",
        CephKind::Mgr => "ceph-mgr",
        CephKind::Osd => "ceph-osd",
        CephKind::Mds => "ceph-mds",
        CephKind::Rgw => "radosgw",
    }
}

fn is_daemon(daemon: &CephDaemon, arguments: &[Vec<u8>]) -> bool {
    let Some((first, rest)) = arguments.split_first() else { return false };
    let name = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let id = daemon.id.as_bytes();
    let entity = entity(daemon);
    let names_it = |pair: &[Vec<u8>]| match pair[0].as_slice() {
        b"-i" | b"--id" => pair[1] == id,
        b"-n" | b"--name" => pair[1] == entity.as_bytes(),
        _ => false,
    };
    name == program(daemon.kind).as_bytes() && rest.windows(2).any(names_it)
}

/// The version that a start of such a daemon would run now.
///
/// # Errors
/// The program is missing, does not start, or says something else.
pub fn installed_version(host: &Host, kind: CephKind) -> Result<Version, String> {
    let command = Command::new(program(kind)).arg("--version").deadline(Duration::from_secs(15));
    let output = host.programs.run_ok(&command).map_err(|error| error.to_string())?;
    let said = output.text();
    version_number(&said).ok_or_else(|| format!("`{command}` says `{}`", said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_a_daemon_by_its_program_and_its_id() {
        let is = |daemon: &str, line: &str| {
            let arguments: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            is_daemon(&daemon.parse().unwrap(), &arguments)
        };
        let hammer = "/usr/bin/ceph-osd -i 3 --pid-file /var/run/ceph/osd.3.pid -c /etc/ceph/ceph.conf --cluster ceph -f";
        assert!(is("osd.3", hammer));
        assert!(!is("osd.33", hammer) && !is("mon.3", hammer));
        assert!(is("mon.a", "/usr/bin/ceph-mon -f --cluster ceph --id a --setuser ceph --setgroup ceph"));
        assert!(is("rgw.zone", "/usr/bin/radosgw -f --cluster ceph --name client.rgw.zone"));
        assert!(!is("osd.3", "tail -f -i 3") && !is("osd.3", "/usr/bin/ceph-osd"));
    }

    #[test]
    fn a_cluster_of_another_name_is_told_by_its_daemons_and_not_by_its_clients() {
        let world = crate::actions::testing::World::new();
        world.file("/etc/ceph/backup.conf", "[global]\n");
        world.file("/etc/default/ceph", "# CLUSTER=x\nCLUSTER=ceph\n");
        world.file("/var/lib/ceph/osd/ceph-3/type", "bluestore");
        assert!(other_clusters(&world.host).is_empty());
        world.file("/var/lib/ceph/osd/backup-3/type", "bluestore");
        world.file("/var/lib/ceph/radosgw/backup-rgw.zone/done", "");
        world.file("/etc/sysconfig/ceph", "CLUSTER=\"backup\"\n");
        let named = other_clusters(&world.host);
        let paths: Vec<&str> = named.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            ["/etc/sysconfig/ceph", "/var/lib/ceph/osd/backup-3", "/var/lib/ceph/radosgw/backup-rgw.zone"]
        );
        assert!(named.values().all(|name| name == "backup"));
        assert_eq!(daemons(&world.host), [CephDaemon::osd(3)]);
    }

    #[test]
    fn units_are_those_of_the_packages() {
        let unit = |name: &str| unit(&name.parse().unwrap());
        assert_eq!(unit("osd.3"), "ceph-osd@3.service");
        assert_eq!(unit("mgr.ceph1"), "ceph-mgr@ceph1.service");
        assert_eq!(unit("rgw.zone"), "ceph-radosgw@rgw.zone.service");
    }
}
