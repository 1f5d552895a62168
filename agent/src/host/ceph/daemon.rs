//! One daemon of this host: its unit, its process.
//!
//! Up to Hammer on EL7 a daemon does not run under a unit of its own name: the init script starts it in a transient unit, and its pid file tells
//! the process (ceph 0.94, src/init-ceph.in). A pid in a file is believed only when that process's command line is the daemon's. A gateway of that time has no pid
//! file either: `pid file` is empty unless somebody sets it (src/common/config_opts.h), and src/init-radosgw.sysv does not. It is found by its command line alone.

use super::conf;
use crate::guests::processes::arguments;
use crate::host::Host;
use crate::host::command::Command;
use crate::host::proc::{self, ProcessId};
use crate::host::systemd::SystemdError;
use procfs::process::Process;
use replank_ceph::documents::version_number;
use replank_common::ceph::{CLUSTER, CephDaemon, CephKind};
use replank_common::version::Version;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{DirEntry, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the process was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The main process of its unit.
    Unit(ProcessId),
    /// Under no unit of its name; its pid file tells it.
    PidFile(ProcessId),
    /// A gateway under no unit of its name and without a pid file; its command line tells it.
    CommandLine(ProcessId),
}

impl Identity {
    pub fn process(self) -> ProcessId {
        match self {
            Self::Unit(process) | Self::PidFile(process) | Self::CommandLine(process) => process,
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
        self.name.unit()
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
        Ok(self.under_no_unit())
    }

    fn under_no_unit(&self) -> Option<Identity> {
        let by_line = || self.of_command_line().map(Identity::CommandLine);
        self.of_pid_file().map(Identity::PidFile).or_else(by_line)
    }

    /// Of gateways alone. Every other daemon of that time has a pid file, and its program does other work under the same name (`ceph-osd -i 3 --flush-journal`,
    /// `ceph-mon -i a --extract-monmap`), which must not pass for the daemon and be ended. Who started one of those by hand and without a pid file is told that it is
    /// down, and nothing is stopped.
    fn of_command_line(&self) -> Option<ProcessId> {
        match self.name.kind {
            CephKind::Rgw => {
                let entity = self.name.entity();
                gateways(self.host).into_iter().find(|(_, is)| *is == entity).map(|(process, _)| process)
            }
            CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds => None,
        }
    }

    fn of_pid_file(&self) -> Option<ProcessId> {
        let text = std::fs::read_to_string(self.host.at(self.pid_file())).ok()?;
        let process = proc::alive(self.host, text.trim().parse().ok()?)?;
        let stat = Process::new_with_root(self.host.at("/proc").join(process.pid.to_string())).ok()?;
        (entity_of(self.name.kind, &arguments(&stat))? == self.name.entity()).then_some(process)
    }

    fn pid_file(&self) -> PathBuf {
        PathBuf::from(format!("/var/run/ceph/{}.pid", self.name.entity()))
    }

    /// Asks the process to end, as its own stop does: by systemd where it runs under its unit, and by SIGTERM else. Never by force.
    ///
    /// # Errors
    /// systemd did not stop it in time. That a process under no unit has not ended shows later.
    pub fn stop(&self, running: Identity, deadline: Duration) -> Result<(), SystemdError> {
        match running {
            Identity::Unit(_) => self.host.systemd.stop(&self.unit(), deadline),
            Identity::PidFile(process) | Identity::CommandLine(process) => {
                // From the handle on the pid cannot be another's; whether it was before is asked once more.
                let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
                if let Some(handle) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
                    && self.under_no_unit().map(Identity::process) == Some(process)
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
        let tail = |log| Command::new("tail").args(["-n", "5"]).arg(log).deadline(Duration::from_secs(10));
        let logged = self.log().and_then(|log| self.host.programs.run_ok(&tail(log)).ok());
        let logged = logged.map(|output| output.text()).unwrap_or_default();
        let lines: Vec<&str> =
            said.lines().chain(logged.lines()).map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join(" | ")
    }

    /// The file that it wrote to last, of where `ceph.conf` and its release have it write: gateways of some releases have a directory of their own
    /// (src/common/config_opts.h `log_file`; src/rgw/rgw_main.cc `--log-file`).
    fn log(&self) -> Option<PathBuf> {
        let said = conf::said_to(self.host, self.name, "log_file").ok().flatten();
        let said = said.map(|value| self.name.filled(&value));
        let usual =
            ["ceph", "radosgw"].map(|of| format!("/var/log/{of}/{CLUSTER}-{}.log", self.name.entity()));
        let written = |path: String| {
            let path = Path::new(&path).is_absolute().then(|| self.host.at(&path))?;
            let found = path.metadata().ok().filter(Metadata::is_file)?;
            Some((found.modified().ok()?, path))
        };
        said.into_iter().chain(usual).filter_map(written).max().map(|(_, path)| path)
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

/// What a process of the kind's program was told to be (ceph 10.2, src/common/ceph_argparse.cc `ceph_argparse_early_args`: `-i` is not for clients, the last one
/// counts). `None`: it is another program, was told nothing, or only asked what it would be (`--show-config-value`, which init scripts do).
fn entity_of(kind: CephKind, arguments: &[Vec<u8>]) -> Option<String> {
    let mut words = arguments.iter().map(|word| String::from_utf8_lossy(word));
    let path = words.next()?;
    let words: Vec<_> = words.collect();
    if path.rsplit('/').next() != Some(program(kind)) || words.iter().any(|word| word.starts_with("--show")) {
        return None;
    }
    words.iter().enumerate().rev().find_map(|(at, word)| {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, value),
            None => (&**word, &**words.get(at + 1)?),
        };
        Some(match option {
            "-n" | "--name" => value.to_owned(),
            "--id" | "--user" => format!("{}.{value}", kind.entity_type()),
            "-i" if kind != CephKind::Rgw => format!("{}.{value}", kind.entity_type()),
            _ => return None,
        })
    })
}

/// The gateways that run on this host, by their command lines: each with its name, the one that runs longest first. One file is read of every process, which takes
/// milliseconds: often enough for a daemon that is looked for while it is down.
fn gateways(host: &Host) -> Vec<(ProcessId, String)> {
    let entries = std::fs::read_dir(host.at("/proc")).into_iter().flatten();
    let own = realm(host, "self");
    let named = |entry: std::io::Result<DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let pid = name.parse().ok()?;
        let process = Process::new_with_root(host.at("/proc").join(&name)).ok()?;
        let entity = entity_of(CephKind::Rgw, &arguments(&process))?;
        let process = proc::alive(host, pid)?;
        (realm(host, &name) == own).then_some((process, entity))
    };
    let mut found: Vec<_> = entries.filter_map(named).collect();
    found.sort_by_key(|(process, _)| (process.start_ticks, process.pid));
    found
}

/// Gateways that run on this host and have no data directory in `daemons`, which is all that is known of a daemon otherwise.
pub fn homeless_gateways(host: &Host, daemons: &[CephDaemon]) -> Vec<(ProcessId, String)> {
    let known: Vec<String> = daemons.iter().map(CephDaemon::entity).collect();
    gateways(host).into_iter().filter(|(_, entity)| !known.contains(entity)).collect()
}

/// What a process has with others of its host, and a container's has not: the numbers of processes, and the root of all files.
fn realm(host: &Host, process: &str) -> (Option<PathBuf>, Option<(u64, u64)>) {
    let of = host.at("/proc").join(process);
    let root = std::fs::metadata(of.join("root")).ok();
    (std::fs::read_link(of.join("ns/pid")).ok(), root.map(|root| (root.dev(), root.ino())))
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
    use crate::actions::testing::World;
    use crate::guests::processes::tests::fake_process;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_process_is_a_daemon_by_its_program_and_its_name() {
        let is = |daemon: &str, line: &str| {
            let daemon: CephDaemon = daemon.parse().unwrap();
            let arguments: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            entity_of(daemon.kind, &arguments) == Some(daemon.entity())
        };
        let hammer = "/usr/bin/ceph-osd -i 3 --pid-file /var/run/ceph/osd.3.pid -c /etc/ceph/ceph.conf --cluster ceph -f";
        assert!(is("osd.3", hammer));
        assert!(!is("osd.33", hammer) && !is("mon.3", hammer));
        assert!(is("mon.a", "/usr/bin/ceph-mon -f --cluster ceph --id a --setuser ceph --setgroup ceph"));
        assert!(is("rgw.zone", "/usr/bin/radosgw -f --cluster ceph --name client.rgw.zone"));
        assert!(is("rgw.radosgw.gateway", "/bin/radosgw -n client.radosgw.gateway"));
        assert!(!is("rgw.gateway", "/bin/radosgw -n client.radosgw.gateway"));
        assert!(is("rgw.radosgw.gateway", "/usr/bin/radosgw --cluster=ceph --id radosgw.gateway -f"));
        assert!(is("rgw.zone", "radosgw --name=client.rgw.zone") && !is("rgw.zone", "radosgw -i rgw.zone"));
        assert!(!is("rgw.zone", "/bin/radosgw -n client.rgw.zone --show-config-value log_file"));
        assert!(!is("rgw.zone", "/bin/radosgw-admin -n client.rgw.zone"));
        assert!(!is("osd.3", "tail -f -i 3") && !is("osd.3", "/usr/bin/ceph-osd"));
    }

    fn gateway(world: &World, pid: u32, start: u64, name: &str) {
        let arguments = ["/bin/radosgw", "-n", name];
        fake_process(&world.host.at("/proc"), pid, 1, "radosgw", start, &arguments, "/usr/bin/radosgw");
    }

    #[test]
    fn a_gateway_under_no_unit_and_without_a_pid_file_is_found_by_its_command_line() {
        let world = World::new();
        let name = "rgw.radosgw.gateway".parse().unwrap();
        let running = || Daemon::new(&world.host, &name).running().unwrap();
        assert_eq!(running(), None);
        gateway(&world, 204, 9, "client.radosgw.gateway2");
        assert_eq!(running(), None);
        // One that forks is told twice for an instant.
        gateway(&world, 203, 8, "client.radosgw.gateway");
        gateway(&world, 202, 9, "client.radosgw.gateway");
        let process = |pid, start_ticks| ProcessId { pid, start_ticks };
        assert_eq!(running(), Some(Identity::CommandLine(process(203, 8))));
        // Whoever sets a pid file has it written by that name.
        world.file("/var/run/ceph/client.radosgw.gateway.pid", "202\n");
        assert_eq!(running(), Some(Identity::PidFile(process(202, 9))));
        world.systemd.main_pid("ceph-radosgw@radosgw.gateway.service", 203);
        assert_eq!(running(), Some(Identity::Unit(process(203, 8))));
        assert_eq!(
            homeless_gateways(&world.host, std::slice::from_ref(&name)),
            [(process(204, 9), "client.radosgw.gateway2".to_owned())]
        );
    }

    #[test]
    fn a_gateway_of_a_container_is_not_the_hosts() {
        let world = World::new();
        let name = "rgw.zone".parse().unwrap();
        let running = || Daemon::new(&world.host, &name).running().unwrap();
        gateway(&world, 203, 8, "client.rgw.zone");
        let link = |target: &str, path: &str| {
            let path = world.host.at(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::remove_file(&path).ok();
            std::os::unix::fs::symlink(target, path).unwrap();
        };
        link("pid:[4026531836]", "/proc/self/ns/pid");
        link("pid:[4026532999]", "/proc/203/ns/pid");
        assert_eq!(running(), None);
        link("pid:[4026531836]", "/proc/203/ns/pid");
        assert!(running().is_some());
        link("/", "/proc/self/root");
        link("/proc", "/proc/203/root");
        assert_eq!(running(), None);
        link("/", "/proc/203/root");
        assert!(running().is_some());
    }

    #[test]
    fn one_under_no_unit_is_asked_to_end_while_it_is_still_itself() {
        let world = World::new();
        let name = "rgw.radosgw.gateway".parse().unwrap();
        let daemon = Daemon::new(&world.host, &name);
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        gateway(&world, child.id(), 8, "client.radosgw.gateway");
        let running = daemon.running().unwrap().unwrap();
        // Its pid is another's by now.
        gateway(&world, child.id(), 9, "client.radosgw.gateway");
        daemon.stop(running, Duration::ZERO).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        gateway(&world, child.id(), 8, "client.radosgw.gateway");
        daemon.stop(running, Duration::ZERO).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn the_last_words_are_of_the_log_that_was_written_last() {
        let world = World::new();
        let name = "rgw.radosgw.gateway".parse().unwrap();
        let log = || Daemon::new(&world.host, &name).log();
        assert_eq!(log(), None);
        let mut written = std::time::SystemTime::UNIX_EPOCH;
        for path in [
            "/var/log/ceph/ceph-client.radosgw.gateway.log",
            "/var/log/radosgw/ceph-client.radosgw.gateway.log",
            "/var/log/radosgw/client.radosgw.gateway.log",
        ] {
            world.file(conf::CONF, "[client.radosgw.gateway]\nlog file = /var/log/radosgw/$name.log\n");
            world.file(path, "");
            written += Duration::from_secs(1);
            std::fs::File::open(world.host.at(path)).unwrap().set_modified(written).unwrap();
            assert_eq!(log(), Some(world.host.at(path)));
        }
    }
}
