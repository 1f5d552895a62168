//! A lab: hosts on a network of their own, guests on the hosts, and the record of the guests' beats.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use crate::beat::{self, Recorder};
use crate::ceph::Pair;
use crate::command::wait_for;
use crate::error::{IoContext, LabError, Result};
use crate::guest::GuestSpec;
use crate::host::{self, Booting, Host, Kind};
use crate::lock::LabLock;
use crate::name::LabName;
use crate::net::{self, Cut};
use crate::process::Process;
use crate::root::{self, Recipe, Root};
use crate::state::{HostState, LabState};
use crate::teardown;

/// How long hosts may take from their first process to an answering libvirtd.
const UP_LIMIT: Duration = Duration::from_secs(180);
/// How long guests may take from their start to their first beat.
const BEAT_LIMIT: Duration = Duration::from_secs(60);
/// Where hosts see the repository of packages.
pub const REPOSITORY: &str = "/srv/repo";

/// What lab to boot.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// Its name, part of everything it makes.
    pub name: LabName,
    /// How many compute hosts: `compute1`, `compute2`, …
    pub hosts: usize,
    /// How many plain guests each compute host starts with, numbered from 1 through the whole lab.
    pub guests_per_host: usize,
    /// How many hosts for Ceph: `ceph1`, `ceph2`, … They have no cluster yet: [`Cluster::make`](crate::ceph::Cluster::make).
    pub ceph_hosts: usize,
    /// Whether there is a host `client`, with librbd and no daemon.
    pub client: bool,
    /// A directory of package repositories, which hosts see read-only at [`REPOSITORY`].
    pub repository: Option<PathBuf>,
    /// More directories of the machine and where hosts see them, read-only.
    pub binds: Vec<(PathBuf, String)>,
    /// What the compute hosts' root is made from.
    pub recipe: Recipe,
    /// The release that Ceph hosts and the client have, and the next one.
    pub pair: Pair,
    /// Whether a lab that fails to come up is left as it is, for a look at it.
    pub keep_failed: bool,
    /// The `lab` program, to record beats in a process of its own that outlives this one. None records them in
    /// this process, on a thread.
    pub recorder: Option<PathBuf>,
}

impl LabSpec {
    /// One compute host without guests.
    #[must_use]
    pub fn new(name: LabName) -> Self {
        Self {
            name,
            hosts: 1,
            guests_per_host: 0,
            ceph_hosts: 0,
            client: false,
            repository: None,
            binds: Vec::new(),
            recipe: Recipe::compute(),
            pair: Pair::default(),
            keep_failed: false,
            recorder: None,
        }
    }

    /// So many hosts for Ceph and a client, and no compute host.
    #[must_use]
    pub fn ceph(name: LabName, ceph_hosts: usize) -> Self {
        Self { hosts: 0, ceph_hosts, client: true, ..Self::new(name) }
    }

    /// With Ceph hosts of this release.
    #[must_use]
    pub fn pair(self, pair: Pair) -> Self {
        Self { pair, ..self }
    }

    /// So many compute hosts.
    #[must_use]
    pub fn hosts(self, hosts: usize) -> Self {
        Self { hosts, ..self }
    }

    /// So many plain guests on each host.
    #[must_use]
    pub fn guests_per_host(self, guests_per_host: usize) -> Self {
        Self { guests_per_host, ..self }
    }

    /// With this directory at [`REPOSITORY`].
    #[must_use]
    pub fn repository(self, directory: PathBuf) -> Self {
        Self { repository: Some(directory), ..self }
    }

    /// The hosts in the order of their addresses.
    fn kinds(&self) -> Vec<(String, Kind)> {
        [(Kind::Compute, self.hosts), (Kind::Ceph, self.ceph_hosts), (Kind::Client, usize::from(self.client))]
            .into_iter()
            .flat_map(|(kind, count)| (1..=count).map(move |number| (kind.host_name(number), kind)))
            .collect()
    }
}

/// The finished roots of a lab, by the kind of host; none of a kind that it does not have.
#[derive(Debug, Default)]
struct Roots {
    compute: Option<Root>,
    ceph: Option<Root>,
}

impl Roots {
    fn prepare(spec: &LabSpec) -> Result<Self> {
        let when = |wanted: bool, recipe: &Recipe| wanted.then(|| root::prepare(recipe)).transpose();
        Ok(Self {
            compute: when(spec.hosts > 0, &spec.recipe)?,
            ceph: when(spec.ceph_hosts > 0 || spec.client, &spec.pair.root()?)?,
        })
    }

    /// How long building took; none when all came from the cache.
    fn built_in(&self) -> Option<Duration> {
        [&self.compute, &self.ceph]
            .into_iter()
            .flatten()
            .filter_map(|root| root.built_in)
            .reduce(|a, b| a + b)
    }

    fn of(&self, kind: Kind) -> Result<&std::path::Path> {
        let root = match kind {
            Kind::Compute => &self.compute,
            Kind::Ceph | Kind::Client => &self.ceph,
        };
        let root =
            root.as_ref().ok_or_else(|| LabError::Refused(format!("no root for a host of kind {kind:?}")))?;
        Ok(&root.path)
    }
}

/// How long the parts of a boot took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Building the root; none when it came from the cache.
    pub root: Option<Duration>,
    /// From the first mount to all hosts up, libvirtd answering on those for guests.
    pub boot: Duration,
    /// From the first definition of a guest to a beat of each.
    pub guests: Duration,
}

/// A lab that is up. Dropping it removes every trace of it.
#[derive(Debug)]
pub struct Lab {
    state: LabState,
    hosts: Vec<Host>,
    guests: Vec<(String, GuestSpec)>,
    recorder: Option<Recorder>,
    children: Vec<Child>,
    times: Times,
    // Held as long as the lab is this process's own.
    _lock: LabLock,
}

impl Lab {
    /// Boots a lab, first removing whatever an earlier one of that name has left.
    ///
    /// # Errors
    /// When not root; when a running process has a lab of that name; when anything does not come up in time. What
    /// was begun is then removed, unless the specification says to keep it.
    pub fn up(spec: &LabSpec) -> Result<Self> {
        if !Uid::effective().is_root() {
            return Err(LabError::Refused(
                "the lab mounts file systems and makes namespaces: run it as root".into(),
            ));
        }
        if let Some(id) = (spec.hosts * spec.guests_per_host).checked_sub(usize::from(beat::MAX_GUEST) + 1) {
            let most = beat::MAX_GUEST;
            return Err(LabError::Refused(format!("a lab has at most {most} guests: {} too many", id + 1)));
        }
        let name = &spec.name;
        let lock = LabLock::take(name)?;
        teardown::remove(name)?;
        let owner = Process::current()
            .ok_or_else(|| LabError::Refused("failed to read this process's own /proc entry".to_owned()))?;
        let mut lab = Self {
            state: LabState { name: name.clone(), owner, detached: false, recorder: None, hosts: Vec::new() },
            hosts: Vec::new(),
            guests: Vec::new(),
            recorder: None,
            children: Vec::new(),
            times: Times::default(),
            _lock: lock,
        };
        lab.state.save()?;
        match lab.come_up(spec) {
            Ok(()) => Ok(lab),
            Err(error) => {
                lab.state.detached = spec.keep_failed;
                Err(error)
            }
        }
    }

    fn come_up(&mut self, spec: &LabSpec) -> Result<()> {
        let roots = Roots::prepare(spec)?;
        self.times.root = roots.built_in();
        net::create_lab(&spec.name)?;
        self.start_recorder(spec)?;

        let since = Instant::now();
        self.boot_hosts(spec, &roots)?;
        self.times.boot = since.elapsed();

        let since = Instant::now();
        self.start_guests(spec)?;
        self.times.guests = since.elapsed();
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &LabName {
        &self.state.name
    }

    /// Its hosts, in the order of their addresses.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts
            .iter()
            .find(|host| host.name() == name)
            .ok_or_else(|| LabError::Refused(format!("lab `{}` has no host `{name}`", self.state.name)))
    }

    /// The guests started through the lab, each with the name of its host.
    #[must_use]
    pub fn guests(&self) -> &[(String, GuestSpec)] {
        &self.guests
    }

    /// How long its boot took.
    #[must_use]
    pub fn times(&self) -> Times {
        self.times
    }

    /// The address on the hosts' network at which a coordinator in the lab's namespace is reached; hosts resolve
    /// it as `coordinator`.
    #[must_use]
    pub fn coordinator_address(&self) -> Ipv4Addr {
        net::COORDINATOR
    }

    /// A command of the machine that runs in the lab's network namespace, not yet started; its pid is the
    /// program's own. It is killed with the lab.
    #[must_use]
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        net::command_in(&self.state.name.namespace(), program, args)
    }

    /// Runs a function on a thread inside the lab's network namespace. Sockets made there stay there.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the function's own error.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        net::within(&self.state.name, work)
    }

    /// Drops all frames between a host and one TCP port of the coordinator's until [`Lab::heal_link`]; guests'
    /// beats and everything else still pass. Neither side is told. A second cut replaces the first.
    ///
    /// # Errors
    /// When the host's firewall refuses the rule.
    pub fn cut_link(&self, host: &str, port: u16, which: Cut) -> Result<()> {
        net::cut(&self.state.name, self.host(host)?.name(), port, which)
    }

    /// Cuts a host off from these TCP ports of every other host, and them from its own, until [`Lab::heal_link`]. Connections of the host with itself
    /// stay.
    ///
    /// # Errors
    /// When the host's firewall refuses the rule.
    pub fn cut_ports(&self, host: &str, ports: &[u16]) -> Result<()> {
        net::cut_ports(&self.state.name, self.host(host)?.name(), ports)
    }

    /// Ends what [`Lab::cut_link`] or [`Lab::cut_ports`] began; fine when nothing is cut.
    ///
    /// # Errors
    /// When the host's firewall cannot be changed.
    pub fn heal_link(&self, host: &str) -> Result<()> {
        net::heal(&self.state.name, self.host(host)?.name())
    }

    /// The record of the guests' beats.
    ///
    /// # Errors
    /// When another process records them: ask it with [`beat::ask`].
    pub fn beats(&self) -> Result<&Recorder> {
        self.recorder.as_ref().ok_or_else(|| {
            LabError::Refused("the beats of this lab are recorded by a process of its own".to_owned())
        })
    }

    /// Makes and starts one more guest, and waits for its first beat.
    ///
    /// # Errors
    /// When its number is taken, libvirt refuses it, or it does not beat in time.
    pub fn start_guest(&mut self, host: &str, spec: GuestSpec) -> Result<()> {
        let id = spec.id;
        self.begin_guest(host, spec)?;
        self.wait_for_beats(&[id])
    }

    /// Leaves the lab up when this value is dropped, for others to use and to remove by name.
    ///
    /// # Errors
    /// When its beats are recorded in this process, or its record cannot be written.
    pub fn detach(mut self) -> Result<()> {
        if self.recorder.is_some() {
            return Err(LabError::Refused(
                "a lab whose beats are recorded here cannot outlive this process".into(),
            ));
        }
        self.state.detached = true;
        self.state.save()
    }

    fn start_recorder(&mut self, spec: &LabSpec) -> Result<()> {
        let name = &self.state.name;
        let Some(program) = &spec.recorder else {
            self.recorder = Some(Recorder::start(name)?);
            return Ok(());
        };
        let log_path = name.state_dir().join("recorder.log");
        let log = File::create(&log_path).doing("create", &log_path)?;
        // Inside the lab's namespace as a whole, so that the lab's removal finds it without any record of it.
        let program = program.display().to_string();
        let args = [program.as_str(), "record", "--name", name.as_str()];
        let child = net::command_in(&name.namespace(), "setsid", &args)
            .stdout(Stdio::from(log.try_clone().doing("open", &log_path)?))
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(|source| LabError::Start { program, source })?;
        self.state.recorder = i32::try_from(child.id()).ok().and_then(Process::find);
        self.children.push(child);
        self.state.save()?;
        wait_for("the recorder of beats", Duration::from_secs(10), || {
            Ok(beat::ask(name, None).map(drop).map_err(|error| {
                format!("{error}: {}", fs::read_to_string(&log_path).unwrap_or_default().trim())
            }))
        })
    }

    fn boot_hosts(&mut self, spec: &LabSpec, roots: &Roots) -> Result<()> {
        let hosts = spec.kinds();
        let addresses = hosts
            .iter()
            .enumerate()
            .map(|(index, (name, _))| Ok((name.clone(), net::host_address(index)?)))
            .collect::<Result<Vec<_>>>()?;
        let hosts_file = host::hosts_file(&addresses);
        let mut binds = spec.binds.clone();
        binds.extend(spec.repository.clone().map(|directory| (directory, REPOSITORY.to_owned())));

        for (index, (name, kind)) in hosts.iter().enumerate() {
            let (host, supervisor) = host::boot(Booting {
                lab: &spec.name,
                name,
                kind: *kind,
                index,
                root: roots.of(*kind)?,
                hosts_file: &hosts_file,
                binds: &binds,
            })?;
            let found = i32::try_from(supervisor.id()).ok().and_then(Process::find);
            let leader = Process::find(host.leader_pid());
            self.children.push(supervisor);
            let (Some(supervisor), Some(leader)) = (found, leader) else {
                return Err(LabError::Refused(format!("host `{name}` ended at once")));
            };
            self.state.hosts.push(HostState {
                name: name.clone(),
                kind: *kind,
                address: host.address(),
                supervisor,
                leader,
                guests: Vec::new(),
            });
            self.state.save()?;
            self.hosts.push(host);
        }
        self.hosts.iter().try_for_each(|host| host.wait_until_up(UP_LIMIT))
    }

    fn start_guests(&mut self, spec: &LabSpec) -> Result<()> {
        let compute = self.hosts.iter().filter(|host| host.kind() == Kind::Compute);
        let names: Vec<String> = compute.map(|host| host.name().to_owned()).collect();
        let mut ids = 1..=beat::MAX_GUEST;
        for name in &names {
            for id in ids.by_ref().take(spec.guests_per_host) {
                self.begin_guest(name, GuestSpec::new(id))?;
            }
        }
        let started: Vec<u8> = self.guests.iter().map(|(_, guest)| guest.id).collect();
        self.wait_for_beats(&started)
    }

    fn begin_guest(&mut self, host: &str, spec: GuestSpec) -> Result<()> {
        if self.guests.iter().any(|(_, guest)| guest.id == spec.id || guest.name == spec.name) {
            return Err(LabError::Refused(format!("guest `{}` ({}) is there already", spec.name, spec.id)));
        }
        spec.start(self.host(host)?)?;
        if let Some(state) = self.state.hosts.iter_mut().find(|state| state.name == host) {
            state.guests.push(spec.name.clone());
        }
        self.guests.push((host.to_owned(), spec));
        self.state.save()
    }

    fn wait_for_beats(&self, guests: &[u8]) -> Result<()> {
        if let Some(recorder) = &self.recorder {
            return recorder.wait_for_beats(guests, BEAT_LIMIT);
        }
        wait_for("a beat of each guest", BEAT_LIMIT, || {
            let heard: Vec<u8> =
                beat::ask(&self.state.name, None)?.iter().map(|one| one.report.guest).collect();
            let silent: Vec<u8> = guests.iter().copied().filter(|guest| !heard.contains(guest)).collect();
            Ok(if silent.is_empty() { Ok(()) } else { Err(format!("silent: guests {silent:?}")) })
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.state.detached {
            return;
        }
        self.recorder = None;
        // The children are killed by the removal, and stay zombies until they are waited for.
        let removed = teardown::remove(&self.state.name);
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(error) = removed {
            eprintln!("lab: {error}");
        }
    }
}

/// Removes every trace of a lab that no running process has for its own. Nothing there is fine.
///
/// # Errors
/// When a running process has it, or something cannot be removed.
pub fn down(name: &LabName) -> Result<()> {
    let _lock = LabLock::take(name)?;
    teardown::remove(name)
}
