//! A real Ceph cluster on the lab's hosts, made from nothing as a person would by hand: no images, no orchestrator.
//!
//! ```text
//! ceph1  mon.ceph1  mgr.ceph1  osd.0  osd.1  mds.ceph1             pool `volumes`        three copies, one on each host
//! ceph2  mon.ceph2  mgr.ceph2  osd.2  osd.3  mds.ceph2  rgw.ceph2  pool `volumes-coded`  erasure-coded over OSDs, see [`Coded`]
//! ceph3  mon.ceph3  mgr.ceph3  osd.4  osd.5             rgw.ceph3  file system `shelf` and the pools of gateways
//! client no daemon: writes numbered records to an image on each pool, to files and to objects, see [`Writer`]
//! ```
//! MDS and gateways are there where [`CephSpec`] asks for them.
//!
//! An OSD is bluestore on a plain file of its host. All keys are made once and given to the first monitors with their
//! store, so that no daemon waits for another to be introduced to it. The admin's key is on all Ceph hosts and on no other.
//!
//! This room makes clusters and looks at them. It never upgrades one: that is the work of the programs under test.

mod conf;
mod gateways;
mod mds;
mod mgrs;
mod mons;
mod osds;
mod pair;
mod pools;
mod writer;

use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::command::{self, wait_for};
use crate::error::{LabError, Result};
use crate::host::{Host, Kind};
use crate::lab::Lab;

use osds::Osd;
pub(crate) use pair::Set;
pub use pair::{Pair, Releases};
pub use pools::{CODED_POOL, POOL};
pub use writer::{Ack, Found, Log, Stall, Verdict, Writer};

/// How long a whole cluster may take from its first command to clean groups.
const MAKE_LIMIT: Duration = Duration::from_secs(180);
/// How long one question to a cluster that has its quorum may take.
const ASK_LIMIT: Duration = Duration::from_secs(30);

/// How the erasure-coded pool spreads a piece of data, which decides how much of the cluster may stop at once.
///
/// By the rule that what is left must be at least `max(min_size, k + 1)`, `min_size` being the releases' default k + 1:
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Coded {
    /// k = 2, m = 3: five of six OSDs hold a piece each, so a host holds at most two, and three are left without
    /// it: a host at a time, as for three copies.
    #[default]
    HostAtATime,
    /// k = 4, m = 2: all six OSDs hold a piece, and five must be left: one OSD at a time, however many hosts there are.
    OsdAtATime,
}

impl Coded {
    /// Pieces that hold the data, and pieces that may be lost.
    #[must_use]
    pub fn k_and_m(self) -> (usize, usize) {
        match self {
            Self::HostAtATime => (2, 3),
            Self::OsdAtATime => (4, 2),
        }
    }
}

/// What cluster to make.
#[derive(Debug, Clone)]
pub struct CephSpec {
    /// How many OSDs each host has.
    pub osds_per_host: usize,
    /// How big the file of an OSD is; it is sparse.
    pub osd_mib: u64,
    /// The erasure-coded pool.
    pub coded: Coded,
    /// How many MDS there are, on the first hosts: one serves the file system, the others stand by. Without any there is no file system.
    pub mds: usize,
    /// How many RADOS gateways there are, on the last hosts.
    pub gateways: usize,
}

impl CephSpec {
    /// With daemons of every kind: one MDS that serves and one that stands by, and two gateways.
    #[must_use]
    pub fn of_every_kind() -> Self {
        Self { mds: 2, gateways: 2, ..Self::default() }
    }
}

impl Default for CephSpec {
    fn default() -> Self {
        Self { osds_per_host: 2, osd_mib: 4096, coded: Coded::default(), mds: 0, gateways: 0 }
    }
}

/// A cluster that was made, as long as its lab is up.
#[derive(Debug, Clone)]
pub struct Cluster {
    hosts: Vec<Host>,
    client: Option<Host>,
    osds: Vec<Osd>,
    spec: CephSpec,
    fsid: Uuid,
    made_in: Duration,
}

impl Cluster {
    /// Makes a cluster on all Ceph hosts of a lab, and waits until all its groups are clean. The lab's client, if it
    /// has one, is given a key for the two pools.
    ///
    /// # Errors
    /// When the lab has no Ceph host, a tool refuses, or something does not come up in time.
    pub fn make(lab: &Lab, spec: &CephSpec) -> Result<Self> {
        let of = |kind: Kind| lab.hosts().iter().filter(move |host| host.kind() == kind).cloned();
        let hosts: Vec<Host> = of(Kind::Ceph).collect();
        if hosts.is_empty() {
            return Err(LabError::Refused(format!("lab `{}` has no host for Ceph", lab.name())));
        }
        for (what, many) in [("MDS", spec.mds), ("gateways", spec.gateways)] {
            if many > hosts.len() {
                let text = format!("{many} {what} on {} hosts: a host has one at most", hosts.len());
                return Err(LabError::Refused(text));
            }
        }
        let since = Instant::now();
        let osds = osds::numbered(&hosts, spec.osds_per_host);
        let mut cluster = Self {
            hosts,
            osds,
            client: of(Kind::Client).next(),
            spec: spec.clone(),
            fsid: Uuid::new_v4(),
            made_in: Duration::ZERO,
        };
        cluster.come_up()?;
        cluster.made_in = since.elapsed();
        Ok(cluster)
    }

    fn come_up(&self) -> Result<()> {
        let first = self.admin();
        let osds = &self.osds;
        let conf = conf::text(self.fsid, &self.hosts, &self.spec);
        let keys = mons::make_keys(first, self)?;
        let monmap = mons::make_map(first, self.fsid, &self.hosts)?;
        // Everything of a host that needs no other host, on all hosts side by side.
        on_each(&self.hosts, |host| {
            conf::write(host, &conf, &keys)?;
            mons::start(host, &monmap, &keys)?;
            mgrs::prepare(host, &keys)?;
            if self.has_mds(host) {
                mds::prepare(host, &keys)?;
            }
            if self.has_gateway(host) {
                gateways::prepare(host, &keys)?;
            }
            osds.iter()
                .filter(|osd| osd.host == host.name())
                .try_for_each(|osd| osds::make_store(host, osd, &keys))
        })?;
        if let Some(client) = &self.client {
            conf::write_client(client, &conf, &keys)?;
        }
        self.wait_for_quorum(self.hosts.len(), MAKE_LIMIT)?;
        osds::announce(first, osds)?;
        on_each(&self.hosts, |host| {
            mgrs::start(host)?;
            osds::start(host, osds)
        })?;
        self.wait_until("all OSDs up", MAKE_LIMIT, |status| status.osds_up == osds.len())?;
        pools::make(first, &self.spec)?;
        if self.spec.mds > 0 {
            self.serve_files()?;
        }
        if self.spec.gateways > 0 {
            self.serve_objects()?;
        }
        self.wait_for_clean(MAKE_LIMIT)
    }

    /// Makes the file system, and waits until one MDS serves it and the others stand by.
    fn serve_files(&self) -> Result<()> {
        mds::make_file_system(self.admin())?;
        let served: Vec<Host> = self.hosts.iter().filter(|host| self.has_mds(host)).cloned().collect();
        on_each(&served, mds::start)?;
        wait_for("the file system", MAKE_LIMIT, || {
            let map = self.ask(&["fs", "dump"])?;
            Ok(mds::is_served(&map, self.spec.mds))
        })
    }

    /// Starts the gateways, one to make their pools and then the others, and gives the client a name to them.
    fn serve_objects(&self) -> Result<()> {
        for host in self.gateways() {
            gateways::start(host)?;
            wait_for("a gateway", MAKE_LIMIT, || gateways::answers(host))?;
        }
        gateways::make_user(self.admin())
    }

    fn gateways(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| self.has_gateway(host))
    }

    fn has_mds(&self, host: &Host) -> bool {
        self.hosts.iter().take(self.spec.mds).any(|one| one.name() == host.name())
    }

    fn has_gateway(&self, host: &Host) -> bool {
        self.hosts.iter().rev().take(self.spec.gateways).any(|one| one.name() == host.name())
    }

    /// How many daemons it has.
    #[must_use]
    pub fn daemons(&self) -> usize {
        2 * self.hosts.len() + self.osds.len() + self.spec.mds + self.spec.gateways
    }

    /// The kinds of daemons that a host has, as Ceph names them.
    #[must_use]
    pub fn kinds_on(&self, host: &Host) -> Vec<&'static str> {
        let mut kinds = vec!["mon", "mgr", "osd"];
        kinds.extend(self.has_mds(host).then_some("mds"));
        kinds.extend(self.has_gateway(host).then_some("rgw"));
        kinds
    }

    /// Its hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host from which it is asked.
    #[must_use]
    pub fn admin(&self) -> &Host {
        &self.hosts[0]
    }

    /// The lab's client.
    ///
    /// # Errors
    /// When the lab has none.
    pub fn client(&self) -> Result<&Host> {
        self.client.as_ref().ok_or_else(|| LabError::Refused("this lab has no host `client`".to_owned()))
    }

    /// What it was made as.
    #[must_use]
    pub fn spec(&self) -> &CephSpec {
        &self.spec
    }

    /// How long making it took.
    #[must_use]
    pub fn made_in(&self) -> Duration {
        self.made_in
    }

    /// The OSDs of a host.
    #[must_use]
    pub fn osds_of(&self, host: &str) -> Vec<u32> {
        self.osds.iter().filter(|osd| osd.host == host).map(|osd| osd.id).collect()
    }

    /// The host of an OSD.
    ///
    /// # Errors
    /// When there is no such OSD.
    pub fn host_of(&self, osd: u32) -> Result<&Host> {
        let name = self.osds.iter().find(|one| one.id == osd).map(|one| one.host.as_str());
        let found = self.hosts.iter().find(|host| Some(host.name()) == name);
        found.ok_or_else(|| LabError::Refused(format!("this cluster has no osd.{osd}")))
    }

    /// What the cluster answers to a command, as JSON.
    ///
    /// # Errors
    /// When it does not answer in time, or not with JSON.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let argv = [&["ceph", "--connect-timeout", "20", "--format", "json"], words].concat();
        let output = self.admin().run_within(&argv, ASK_LIMIT)?;
        let line = argv.join(" ");
        if !output.status.success() {
            return Err(command::failed(line, output.status, &output));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| LabError::Refused(format!("`{line}` did not answer with JSON: {error}")))
    }

    /// Waits until so many monitors are in the quorum.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_for_quorum(&self, monitors: usize, limit: Duration) -> Result<()> {
        self.wait_until("a quorum", limit, |status| status.quorum == monitors)
    }

    /// Waits until every OSD is up and every placement group active and clean.
    ///
    /// # Errors
    /// When that does not come in time, with the states seen last.
    pub fn wait_for_clean(&self, limit: Duration) -> Result<()> {
        let groups = pools::GROUPS;
        let osds = self.osds.len();
        self.wait_until("all groups clean", limit, |status| {
            status.osds_up == osds && status.groups >= groups && status.states == ["active+clean"]
        })
    }

    fn wait_until(&self, what: &str, limit: Duration, holds: impl Fn(&Status) -> bool) -> Result<()> {
        wait_for(what, limit, || {
            // While there is no quorum the question itself fails, and that is the reason to wait on.
            let answer = match self.ask(&["status"]) {
                Ok(answer) => answer,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let status = Status::of(&answer);
            Ok(if holds(&status) { Ok(()) } else { Err(format!("{status:?}")) })
        })
    }
}

/// The little of `ceph status` that tells whether the lab is ready; unlike the programs under test it knows only the
/// releases of the lab.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    quorum: usize,
    osds_up: usize,
    groups: usize,
    /// The states of groups, each once.
    states: Vec<String>,
}

impl Status {
    fn of(answer: &Value) -> Self {
        let count = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        // One level deeper up to Nautilus.
        let osds = if answer["osdmap"]["osdmap"].is_object() {
            &answer["osdmap"]["osdmap"]
        } else {
            &answer["osdmap"]
        };
        let states = answer["pgmap"]["pgs_by_state"].as_array().into_iter().flatten();
        Self {
            quorum: answer["quorum"].as_array().map_or(0, Vec::len),
            osds_up: count(&osds["num_up_osds"]),
            groups: count(&answer["pgmap"]["num_pgs"]),
            states: states.filter_map(|state| Some(state["state_name"].as_str()?.to_owned())).collect(),
        }
    }
}

/// Starts a unit, now and at every boot.
fn enable(host: &Host, unit: &str) -> Result<()> {
    host.must(&["systemctl", "enable", "--quiet", "--now", unit])?;
    Ok(())
}

/// Works on all hosts side by side; the first error is the answer, after all have ended.
fn on_each(hosts: &[Host], work: impl Fn(&Host) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = hosts.iter().map(|host| scope.spawn(move || work(host))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .fold(Ok(()), Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_of_either_release_reads() {
        let map = json!({"num_osds": 6, "num_up_osds": 5});
        let groups = json!({"num_pgs": 48, "pgs_by_state": [{"state_name": "active+clean", "count": 48}]});
        let old = json!({"quorum": [0, 1, 2], "osdmap": {"osdmap": map}, "pgmap": groups});
        let new = json!({"quorum": [0, 1, 2], "osdmap": map, "pgmap": groups});
        let expected = Status { quorum: 3, osds_up: 5, groups: 48, states: vec!["active+clean".to_owned()] };
        assert_eq!(Status::of(&old), expected);
        assert_eq!(Status::of(&new), expected);
    }
}
