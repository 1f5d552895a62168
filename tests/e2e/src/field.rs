//! Hosts, coordinator and agents, set up as an operator would.

use crate::ceph_fleet::{self, CephFleet};
use crate::coordinator::{Coordinator, PORT};
use crate::fleet::Fleet;
use crate::packages::Packages;
use crate::world::World;
use anyhow::{Context, Result, bail};
use replank_core::run::{Phase, Report, RunView};
use replank_lab::ceph::{CephSpec, Cluster, Pair, Releases};
use replank_lab::repo::{self, RepoDir};
use replank_lab::{Cut, Host, Kind, Lab, LabSpec, root};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// What to set up.
#[derive(Debug, Clone)]
pub struct FieldSpec {
    pub name: String,
    pub hosts: usize,
    pub guests_per_host: usize,
    /// A cluster on this many hosts instead of compute hosts.
    pub ceph: Option<(usize, CephSpec)>,
    /// The release of that cluster, and the one that its hosts' repository has.
    pub pair: Pair,
}

impl FieldSpec {
    pub fn new(name: &str, hosts: usize, guests_per_host: usize) -> Self {
        Self { name: name.to_owned(), hosts, guests_per_host, ceph: None, pair: Pair::default() }
    }

    /// Three hosts with an old cluster, and its client; see [`Cluster`].
    pub fn ceph(name: &str) -> Self {
        Self::ceph_of(name, Pair::default())
    }

    /// A cluster with daemons of every kind.
    pub fn ceph_of_every_kind(name: &str, pair: Pair) -> Self {
        Self { ceph: Some((3, CephSpec::of_every_kind())), pair, ..Self::new(name, 0, 0) }
    }

    /// As [`FieldSpec::ceph`], from and to other releases.
    pub fn ceph_of(name: &str, pair: Pair) -> Self {
        Self { ceph: Some((3, CephSpec::default())), pair, ..Self::new(name, 0, 0) }
    }
}

/// A run by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRef(pub String);

/// A command of the operator's that was answered with no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub exit: i32,
    /// Both streams.
    pub said: String,
    /// Standard output alone, for documents.
    pub document: String,
}

/// Everything together; all of it goes when it is dropped.
#[derive(Debug)]
pub struct Field {
    // Declared in the order in which they must end: the coordinator before the network that it lives in.
    pub coordinator: Coordinator,
    pub lab: Lab,
    pub packages: Packages,
    /// The cluster of a field that has one.
    ceph: Option<Cluster>,
    /// From and to which release that cluster goes.
    releases: Releases,
    /// This field's own copy of the repository, which a scenario may add hostile packages to.
    pub repository: RepoDir,
    pub began: SystemTime,
    directory: TempDir,
}

/// Two busy cores hold a guest back for a tenth of this at most; what libvirt does to a guest in its restart is far below.
const GAP_MAX_MS: i64 = 1_500;

/// How an agent finds its packages on a fresh host; taken away again once it is installed.
const AGENT_REPOSITORY: &str = "/etc/yum.repos.d/field.repo";

impl Field {
    /// Boots the hosts with old guests or an old cluster, starts the coordinator, and enrols an agent on each host, installed
    /// from its RPM: by dnf, or on Ceph hosts, which have none, by unpacking it.
    ///
    /// # Errors
    /// Any part of it failed, with what it said.
    pub fn up(spec: &FieldSpec) -> Result<Self> {
        let field = Self::bare(spec)?;
        for host in field.hosts() {
            field.install_agent(host)?;
            field.enrol_agent(host)?;
        }
        field.wait_linked(Duration::from_secs(30))?;
        Ok(field)
    }

    /// Hosts and a coordinator, and no agent.
    ///
    /// # Errors
    /// Any part of it failed, with what it said.
    pub fn bare(spec: &FieldSpec) -> Result<Self> {
        let packages = Packages::find()?;
        // On the disk of the repository's cache, so that a copy is a handful of links.
        let directory = tempfile::Builder::new().prefix("replank-field-").tempdir_in("/var/tmp")?;
        let (repository, lab_spec) = match &spec.ceph {
            None => {
                let prepared = repo::prepare(&root::cache_dir())?;
                let repository = prepared.copy_to(&directory.path().join("repo"))?;
                repo::add(&repository, &packages.agent_rpm()?)?;
                (
                    repository,
                    LabSpec::new(spec.name.parse()?).hosts(spec.hosts).guests_per_host(spec.guests_per_host),
                )
            }
            Some((hosts, _)) => {
                let prepared = repo::prepare_ceph(&root::cache_dir(), spec.pair)?;
                let repository = prepared.copy_to(&directory.path().join("repo"))?;
                (repository, LabSpec::ceph(spec.name.parse()?, *hosts).pair(spec.pair))
            }
        };
        let lab = Lab::up(&lab_spec.repository(repository.path().to_owned()))?;
        let ids: Vec<u8> = lab.guests().iter().map(|(_, guest)| guest.id).collect();
        lab.beats()?.wait_for_beats(&ids, Duration::from_secs(60))?;
        let ceph = spec.ceph.as_ref().map(|(_, spec)| Cluster::make(&lab, spec)).transpose()?;
        let began = SystemTime::now();
        let mut coordinator = Coordinator::init(&lab, &packages, &directory.path().join("coordinator"))?;
        coordinator.start(&lab)?;
        let releases = spec.pair.releases()?;
        Ok(Self { coordinator, lab, packages, ceph, releases, repository, began, directory })
    }

    /// Installs the newest agent, on a compute host with dnf from the repository.
    ///
    /// # Errors
    /// What dnf said.
    pub fn install_agent(&self, host: &Host) -> Result<()> {
        match host.kind() {
            Kind::Compute => agent_with_dnf(host, "install"),
            Kind::Ceph | Kind::Client => {
                host.unpack_rpm(&self.packages.agent_rpm()?)?;
                host.must(&["systemctl", "daemon-reload"])?;
                Ok(())
            }
        }
    }

    /// The hosts that have an agent: all but the client of a cluster.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.lab.hosts().iter().filter(|host| host.kind() != Kind::Client)
    }

    /// The cluster.
    ///
    /// # Errors
    /// This field has none.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.ceph.as_ref().context("this field has no cluster")
    }

    /// From and to which release the cluster of such a field goes.
    pub fn releases(&self) -> &Releases {
        &self.releases
    }

    /// Upgrades to the newest agent of the repository with dnf.
    ///
    /// # Errors
    /// What dnf said.
    pub fn upgrade_agent(&self, host: &Host) -> Result<()> {
        agent_with_dnf(host, "upgrade")
    }

    /// Gives the host a token, enrols its agent and starts it.
    ///
    /// # Errors
    /// What the commands said.
    pub fn enrol_agent(&self, host: &Host) -> Result<()> {
        let token = self.replank(&["host", "token", host.name()])?;
        let token = token
            .split_whitespace()
            .find(|word| word.starts_with("rpk1."))
            .context("no token was printed")?;
        host.must(&[
            "replank-agent",
            "enrol",
            "--coordinator",
            &format!("coordinator:{PORT}"),
            "--token",
            token,
        ])?;
        host.must(&["systemctl", "enable", "--now", "--quiet", "replank-agent.service"])?;
        Ok(())
    }

    /// Waits until the coordinator hears every host.
    ///
    /// # Errors
    /// It does not in time; says which.
    pub fn wait_linked(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let hosts: serde_json::Value = serde_json::from_str(&self.replank(&["host", "list", "--json"])?)?;
            let text = hosts.to_string();
            let linked = text.matches("\"linked\":true").count();
            let agents = self.hosts().count();
            if linked == agents {
                return Ok(());
            }
            if Instant::now() > deadline {
                let mut why = format!("{linked} of {agents} hosts are linked: {text}\n");
                for host in self.hosts() {
                    why.push_str(&host.sh("journalctl -u replank-agent --no-pager -n 20 2>&1 || true")?);
                }
                bail!("{why}{}", self.coordinator.log_tail());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs the operator's command line, which must succeed.
    ///
    /// # Errors
    /// What it said.
    pub fn replank(&self, arguments: &[&str]) -> Result<String> {
        self.coordinator.must(&self.lab, arguments)
    }

    /// Runs the operator's command line, which must not succeed.
    ///
    /// # Errors
    /// It succeeded, or was killed.
    pub fn refused(&self, arguments: &[&str]) -> Result<Refused> {
        let output = self.coordinator.replank(&self.lab, arguments)?;
        let document = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = format!("{document}{}", String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(exit) if exit != 0 => Ok(Refused { exit, said, document }),
            _ => bail!("replank {} was to be refused, and: {}\n{said}", arguments.join(" "), output.status),
        }
    }

    /// The host that scenarios with one host have, and the canary of the others.
    ///
    /// # Errors
    /// There is none.
    pub fn first(&self) -> Result<&Host> {
        self.hosts().next().context("the field has no host with an agent")
    }

    /// What was done and how long it took, with the proof per guest.
    ///
    /// # Errors
    /// What `replank report` said.
    pub fn report(&self, run: &RunRef) -> Result<Report> {
        let text = self.replank(&["report", &run.0, "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("the report does not read: {text}"))
    }

    /// How every host is now.
    ///
    /// # Errors
    /// A command on a host failed.
    pub fn worlds(&self) -> Result<Vec<(String, World)>> {
        self.lab.hosts().iter().map(|host| Ok((host.name().to_owned(), World::of(host)?))).collect()
    }

    /// Every host is as it was, leaving out what `but` names.
    ///
    /// # Errors
    /// Names every difference.
    pub fn same_worlds(&self, before: &[(String, World)], but: &[&str]) -> Result<()> {
        let mut differences = String::new();
        for ((host, was), (_, is)) in before.iter().zip(self.worlds()?) {
            let difference = was.differs_from(&is, but);
            if !difference.is_empty() {
                differences.push_str(&format!("--- {host}\n{difference}"));
            }
        }
        if differences.is_empty() { Ok(()) } else { bail!("hosts are not what they were:\n{differences}") }
    }

    /// Approves holds until `hold` is reached and waits for approval.
    ///
    /// # Errors
    /// The run stopped elsewhere, or took too long.
    pub fn sail_to_hold(&self, run: &RunRef, hold: &str, limit: Duration) -> Result<RunView> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let view =
                self.wait(run, left, "waits for approval", |view| unapproved(view).next().is_some())?;
            if unapproved(&view).any(|reached| reached == hold) {
                return Ok(view);
            }
            for other in unapproved(&view) {
                self.replank(&["approve", &run.0, other])?;
            }
        }
    }

    /// Takes a run back and waits until that has ended.
    ///
    /// # Errors
    /// It was refused, stopped, or took too long.
    pub fn roll_back(&self, run: &RunRef, limit: Duration) -> Result<RunView> {
        self.replank(&["rollback", &run.0])?;
        // While it is asked for, the view still tells why an earlier one was refused.
        let view = self.wait(run, limit, "is rolled back", |view| {
            !matches!(view.phase, Phase::AskingWayBack | Phase::RollingBack | Phase::Closing)
        })?;
        if view.phase == Phase::RolledBack {
            return Ok(view);
        }
        bail!("the way back is closed:\n{}", self.trouble(run))
    }

    /// Prints each guest's longest gap between beats since the field was up, and fails on what a guest would have noticed.
    ///
    /// # Errors
    /// Names the guests that stood still for longer than a pause, restarted or were lost.
    pub fn print_gaps(&self, ended: &[u8]) -> Result<()> {
        self.all_beat_but(ended)?;
        let now = SystemTime::now();
        let mut paused = Vec::new();
        for (host, guest) in self.lab.guests().iter().filter(|(_, guest)| !ended.contains(&guest.id)) {
            let window = self
                .lab
                .beats()?
                .between(guest.id, self.began, now)
                .with_context(|| format!("guest {} was never heard", guest.name))?;
            println!(
                "{host} {}: {} beats, longest gap {} ms",
                guest.name, window.beats, window.longest_gap_ms
            );
            if window.longest_gap_ms >= GAP_MAX_MS {
                paused.push(format!("{} on {host}: {} ms", guest.name, window.longest_gap_ms));
            }
        }
        if paused.is_empty() { Ok(()) } else { bail!("guests stood still: {}", paused.join(", ")) }
    }

    /// A path in the field's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the fleet file and gives its path.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn fleet_file(&self, fleet: &Fleet) -> Result<String> {
        self.write_fleet_file(&fleet.text(&self.lab, &self.repository)?)
    }

    fn write_fleet_file(&self, text: &str) -> Result<String> {
        let path = self.path("fleet.toml");
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Plans; gives the plan file's path.
    ///
    /// # Errors
    /// What `replank plan` said.
    pub fn plan(&self, fleet: &Fleet) -> Result<String> {
        self.plan_of(&self.fleet_file(fleet)?)
    }

    /// Plans the cluster's voyage; gives the plan file's path.
    ///
    /// # Errors
    /// What `replank plan` said.
    pub fn plan_ceph(&self, fleet: &CephFleet) -> Result<String> {
        self.plan_of(&self.write_fleet_file(&fleet.text(self)?)?)
    }

    /// Plans the change of owner of the cluster's files; gives the plan file's path.
    ///
    /// # Errors
    /// What `replank plan` said.
    pub fn plan_ceph_ownership(&self) -> Result<String> {
        self.plan_of(&self.write_fleet_file(&ceph_fleet::ownership_text(self)?)?)
    }

    fn plan_of(&self, fleet_file: &str) -> Result<String> {
        let plan = self.path("plan.json").to_string_lossy().into_owned();
        self.replank(&["plan", "-f", fleet_file, "-o", &plan])?;
        Ok(plan)
    }

    /// Begins a run of a plan file.
    ///
    /// # Errors
    /// What `replank apply` said.
    pub fn apply(&self, plan: &str) -> Result<RunRef> {
        let said = self.replank(&["apply", plan])?;
        let run = said
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .find(|word| word.starts_with("run-"))
            .with_context(|| format!("no run id in: {said}"))?;
        Ok(RunRef(run.to_owned()))
    }

    /// Where a run is; `None` while the coordinator does not answer.
    ///
    /// # Errors
    /// The answer cannot be read.
    pub fn view(&self, run: &RunRef) -> Result<Option<RunView>> {
        // `status` tells the run's condition by its exit code too, so success is not asked for here: the answer is.
        let output = self.coordinator.replank(&self.lab, &["status", &run.0, "--json"])?;
        if output.stdout.is_empty() {
            return Ok(None);
        }
        Ok(Some(
            serde_json::from_slice(&output.stdout).with_context(|| {
                format!("status does not read: {}", String::from_utf8_lossy(&output.stdout))
            })?,
        ))
    }

    /// Waits until `wanted` says yes of the run.
    ///
    /// # Errors
    /// It did not within `limit`, or stopped where it needs a decision; with what the run waits for.
    pub fn wait(
        &self,
        run: &RunRef,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&RunView) -> bool,
    ) -> Result<RunView> {
        let stopped =
            |view: &RunView| view.phase.is_end() || matches!(view.phase, Phase::Halted | Phase::Held);
        let view = self.see(run, limit, what, |view| wanted(view) || stopped(view))?;
        if wanted(&view) {
            return Ok(view);
        }
        bail!("the run is {} while waiting until it {what}:\n{}", view.phase, self.trouble(run))
    }

    /// As [`Field::wait`], also for a run that is halted, held or at its end.
    ///
    /// # Errors
    /// It did not within `limit`; with what the run waits for.
    pub fn see(
        &self,
        run: &RunRef,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&RunView) -> bool,
    ) -> Result<RunView> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(view) = self.view(run)?.filter(&wanted) {
                return Ok(view);
            }
            if Instant::now() > deadline {
                bail!("the run did not become so within {limit:?}: {what}:\n{}", self.trouble(run));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits for the end of the present course, approving every hold that is reached.
    ///
    /// # Errors
    /// It stopped elsewhere, or took too long.
    pub fn sail(&self, run: &RunRef, limit: Duration) -> Result<RunView> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let view = self.wait(run, left, "ends or waits for approval", |view| {
                view.phase.is_end() || unapproved(view).next().is_some()
            })?;
            if view.phase.is_end() {
                return Ok(view);
            }
            for hold in unapproved(&view) {
                self.replank(&["approve", &run.0, hold])?;
            }
        }
    }

    /// Everything that helps to see why a run stands still.
    pub fn trouble(&self, run: &RunRef) -> String {
        let mut text = String::new();
        for words in [["why", &run.0], ["status", &run.0]] {
            if let Ok(output) = self.coordinator.replank(&self.lab, &words) {
                text.push_str(&String::from_utf8_lossy(&output.stdout));
                text.push_str(&String::from_utf8_lossy(&output.stderr));
            }
        }
        for host in self.hosts() {
            if let Ok(lines) = host.sh("journalctl -u replank-agent --no-pager -n 15 2>&1 || true") {
                text.push_str(&format!("--- {}\n{lines}", host.name()));
            }
        }
        text.push_str("--- coordinator\n");
        text.push_str(&self.coordinator.log_tail());
        text
    }

    /// The guests' longest gaps between beats since the field was up, in the form that `replank report --beats` reads:
    /// guest uuid to text.
    ///
    /// # Errors
    /// The recorder is not there, or a guest was never heard.
    pub fn beats_file(&self) -> Result<String> {
        let now = SystemTime::now();
        let mut gaps = BTreeMap::new();
        for (_, guest) in self.lab.guests() {
            let window = self
                .lab
                .beats()?
                .between(guest.id, self.began, now)
                .with_context(|| format!("guest {} was never heard", guest.name))?;
            gaps.insert(guest.uuid.to_string(), format!("{} ms", window.longest_gap_ms));
        }
        let path = self.path("beats.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&gaps)?)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Every guest that the lab started beats, without a restart or a loss since the field was up.
    ///
    /// # Errors
    /// Names the guests that do not, and what happened to them.
    pub fn all_beat(&self) -> Result<()> {
        self.all_beat_but(&[])
    }

    /// As [`Field::all_beat`], leaving out the guests that a scenario itself ended.
    ///
    /// # Errors
    /// Names the guests that do not, and what happened to them.
    pub fn all_beat_but(&self, ended: &[u8]) -> Result<()> {
        let ids: Vec<u8> =
            self.lab.guests().iter().map(|(_, guest)| guest.id).filter(|id| !ended.contains(id)).collect();
        self.lab.beats()?.wait_for_beats(&ids, Duration::from_secs(10))?;
        for (host, guest) in self.lab.guests() {
            if ended.contains(&guest.id) {
                continue;
            }
            let window = self.lab.beats()?.between(guest.id, self.began, SystemTime::now());
            match window {
                Some(window) if window.restarts == 0 && window.twice == 0 => {}
                other => bail!("guest {} on {host} is not what it was: {other:?}", guest.name),
            }
        }
        Ok(())
    }

    /// Cuts a host off from the coordinator, and from nothing else.
    ///
    /// # Errors
    /// The rule cannot be set.
    pub fn cut(&self, host: &str) -> Result<()> {
        Ok(self.lab.cut_link(host, PORT, Cut::Both)?)
    }

    /// # Errors
    /// The rule cannot be removed.
    pub fn heal(&self, host: &str) -> Result<()> {
        Ok(self.lab.heal_link(host)?)
    }
}

fn agent_with_dnf(host: &Host, verb: &str) -> Result<()> {
    host.write(AGENT_REPOSITORY, b"[field]\nname=field\nbaseurl=file:///srv/repo/rpm\ngpgcheck=0\n", 0o644)?;
    host.sh(&format!(
        "dnf -y -q --disablerepo='*' --enablerepo=field --refresh {verb} replank-agent >/dev/null; rm {AGENT_REPOSITORY}"
    ))?;
    Ok(())
}

/// Holds that are reached and not approved.
fn unapproved(view: &RunView) -> impl Iterator<Item = &str> {
    view.holds
        .iter()
        .filter(|hold| hold.reached_ms.is_some() && hold.approved.is_none())
        .map(|hold| hold.id.as_str())
}
