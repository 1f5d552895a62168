//! The cluster of a plan, as far as the plan names it.
//!
//! A plan holds no pools and no placement groups, and a daemon only where it does something with it. So:
//!
//! | what | where it is from |
//! | --- | --- |
//! | OSDs, MONs, managers, MDS and gateways, and their hosts | restarts, changes of owner, gates |
//! | failure domains | OSDs that stop together are one, and so are the OSDs of a host |
//! | MONs whose host the plan does not name | they stand on hosts that have none |
//! | daemons that are done already | stand-ins of the new release, on hosts of which the plan names none |
//! | pools and groups | one pool of three copies, and one of two for each that the operator consents to; which OSDs a group has, the salt says |
//!
//! Nothing of this is chosen so that a plan succeeds: where the plan does not say enough of a cluster that could be sailed, there is none.

use super::drawn::{domains, replicated};
use super::layout::{Layout, Origin, Place, Seated};
use super::seen;
use replank_ceph::OsdId;
use replank_ceph::documents::Pool;
use replank_ceph::redundancy::Consents;
use replank_ceph::require::release_of;
use replank_common::action::{Action, Family};
use replank_common::ceph::{CephDaemon, CephKind, Requirement};
use replank_common::ids::HostName;
use replank_common::version::Version;
use replank_core::gate::Gate;
use replank_core::inventory::Inventory;
use replank_core::plan::{Plan, Work};
use std::collections::{BTreeMap, BTreeSet};

/// Copies of the pool that nobody named.
const COPIES: usize = 3;
/// MONs of a cluster of which no gate tells how many there are.
const MONS: usize = 3;
/// Groups of the pool of three copies for each OSD, and how many at least and at most.
const GROUPS_PER_OSD: usize = 2;
const GROUPS: (usize, usize) = (32, 512);

/// Too little is said of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotEnough {
    pub why: String,
}

/// Whether the plan does anything with a cluster.
fn is_of_a_cluster(plan: &Plan) -> bool {
    let acts = |work: &Work| matches!(work, Work::Act(action) if action.family() == Family::Ceph);
    let asks = |gate: &Gate| {
        !matches!(
            gate,
            Gate::CensusHolds
                | Gate::NoGuestJobs
                | Gate::LibvirtdIs { .. }
                | Gate::NewGuestsGet { .. }
                | Gate::LibvirtTcpAnswers { .. }
        )
    };
    plan.steps.iter().any(|step| acts(&step.work) || step.before.iter().chain(&step.after).any(asks))
}

/// What of a [`Layout`] is the same however its daemons are known.
#[derive(Debug)]
pub(super) struct Road {
    pub(super) from: Version,
    pub(super) to: Version,
    pub(super) map_flags: BTreeSet<String>,
    pub(super) required_release: Option<String>,
    pub(super) health_has_codes: bool,
}

/// Everything that steps and gates say, gathered.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// By host of the plan.
    pub(super) daemons: BTreeMap<CephDaemon, usize>,
    /// Daemons that are restarted on another version.
    pub(super) restarted: BTreeSet<CephDaemon>,
    /// What the others run.
    pub(super) runs: BTreeMap<CephDaemon, Version>,
    pub(super) installs: BTreeSet<usize>,
    /// OSDs that stop together.
    pub(super) waves: BTreeSet<BTreeSet<OsdId>>,
    /// Every MON, where a gate names them all.
    pub(super) all_mons: BTreeSet<String>,
    pub(super) consents: BTreeSet<String>,
    pub(super) requires: Vec<Requirement>,
    health: BTreeSet<String>,
    to: Option<Version>,
}

impl Said {
    pub(super) fn by(plan: &Plan) -> Self {
        let mut said = Self::default();
        let hosts: BTreeMap<&HostName, usize> = plan.hosts.iter().map(|host| &host.name).zip(0..).collect();
        for step in &plan.steps {
            let Some(&host) = hosts.get(&step.host) else { continue };
            if let Work::Act(action) = &*step.work {
                said.hears_of_action(host, action);
            }
            for gate in step.before.iter().chain(&step.after) {
                said.hears_of_gate(host, gate);
            }
        }
        said
    }

    fn hears_of_action(&mut self, host: usize, action: &Action) {
        match action {
            Action::CephRestart(restart) => {
                self.consents.extend(restart.consents.iter().cloned());
                self.to = Some(restart.expect.clone());
                for daemon in &restart.daemons {
                    self.daemons.insert(daemon.clone(), host);
                    self.restarted.insert(daemon.clone());
                }
            }
            Action::CephOwn(own) => {
                self.daemons.insert(own.daemon.clone(), host);
                if let Some(switch) = &own.switch {
                    self.consents.extend(switch.consents.iter().cloned());
                    self.runs.insert(own.daemon.clone(), switch.expect.clone());
                }
            }
            Action::CephRequire(require) => self.requires.push(require.what.clone()),
            Action::PackagesInstall(_) => drop(self.installs.insert(host)),
            Action::RepositoryPin(_)
            | Action::PackagesStage(_)
            | Action::TreeInstall(_)
            | Action::TreeTrial(_)
            | Action::TreeRetain(_)
            | Action::FileEdit(_)
            | Action::FileWrite(_)
            | Action::UnitMask(_)
            | Action::UnitEnable(_)
            | Action::UnitDropIn(_)
            | Action::LibvirtTrial(_)
            | Action::LibvirtAnchor(_)
            | Action::LibvirtRestart(_)
            | Action::CephFlags(_)
            | Action::CephConfig(_) => {}
        }
    }

    fn hears_of_gate(&mut self, host: usize, gate: &Gate) {
        match gate {
            Gate::OsdsMayStop { osds, consents, .. } => {
                self.consents.extend(consents.iter().cloned());
                if !osds.is_empty() {
                    self.waves.insert(osds.iter().copied().map(OsdId).collect());
                }
            }
            Gate::MonsInQuorum { mons, .. } => self.all_mons.extend(mons.iter().cloned()),
            Gate::CephDaemonsAre { daemons, version } => {
                for daemon in daemons {
                    self.daemons.insert(daemon.clone(), host);
                    self.runs.entry(daemon.clone()).or_insert_with(|| version.clone());
                }
            }
            Gate::EveryOsdIs { version, .. } => drop(self.to.get_or_insert_with(|| version.clone())),
            Gate::CephHealthKnown { allowed, .. } => self.health.extend(allowed.iter().cloned()),
            Gate::CensusHolds
            | Gate::NoGuestJobs
            | Gate::LibvirtdIs { .. }
            | Gate::NewGuestsGet { .. }
            | Gate::LibvirtTcpAnswers { .. }
            | Gate::OsdsSettled { .. }
            | Gate::MdsMayStop { .. }
            | Gate::MdsBack { .. }
            | Gate::NoScrub { .. }
            | Gate::Required { .. } => {}
        }
    }

    fn of_kind(&self, kind: CephKind) -> Vec<Seated> {
        let own = self.daemons.iter().filter(|(daemon, _)| daemon.kind == kind);
        own.map(|(daemon, host)| Seated { name: daemon.id.clone(), host: *host }).collect()
    }

    /// Where the voyage begins and where it leads, as far as the map shows it.
    pub(super) fn road(&self, plan: &Plan) -> Road {
        let to = self.to.clone().or_else(|| self.runs.values().next().cloned());
        let to = to.unwrap_or_else(|| Version::new("0"));
        let from = if self.restarted.is_empty() { to.clone() } else { began_with(plan) };
        let requires = |what: &Requirement| self.requires.contains(what);
        let is_release = |what: &Requirement| matches!(what, Requirement::RequireOsdRelease { .. });
        let release = release_of(if self.requires.iter().any(is_release) { &from } else { &to });
        let health_has_codes = self.health_has_codes();
        let since_luminous = health_has_codes && !requires(&Requirement::RequireJewelOsds);
        let sorts = (!requires(&Requirement::SortBitwise)).then(|| "sortbitwise".to_owned());
        Road {
            map_flags: sorts.into_iter().collect(),
            required_release: release.filter(|_| since_luminous).map(str::to_owned),
            health_has_codes,
            from,
            to,
        }
    }

    /// The codes of checks are words in capitals.
    fn health_has_codes(&self) -> bool {
        let is_code = |text: &String| text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        self.health.is_empty() || self.health.iter().any(is_code)
    }
}

/// Sets of OSDs of which no two stop apart. The OSDs of a host belong together too, unless that would leave too few sets.
pub(super) fn in_domains(
    hosts: &BTreeMap<OsdId, usize>,
    waves: &BTreeSet<BTreeSet<OsdId>>,
) -> BTreeMap<OsdId, Place> {
    let mut of_hosts: BTreeMap<usize, BTreeSet<OsdId>> = BTreeMap::new();
    for (osd, host) in hosts {
        of_hosts.entry(*host).or_default().insert(*osd);
    }
    let joined = |with_hosts: bool| {
        let mut sets: Vec<BTreeSet<OsdId>> = hosts.keys().map(|osd| BTreeSet::from([*osd])).collect();
        let own = of_hosts.values().filter(|_| with_hosts);
        for together in waves.iter().chain(own) {
            let (touched, rest): (Vec<_>, Vec<_>) =
                sets.into_iter().partition(|set| !set.is_disjoint(together));
            sets = rest;
            sets.push(touched.into_iter().flatten().collect());
        }
        sets.retain(|set| !set.is_empty());
        sets.sort();
        sets
    };
    let mut sets = joined(true);
    if sets.len() < COPIES {
        let by_waves = joined(false);
        if by_waves.len() >= COPIES && !waves.is_empty() {
            sets = by_waves;
        }
    }
    let place = |(domain, set): (usize, &BTreeSet<OsdId>)| -> Vec<(OsdId, Place)> {
        set.iter().filter_map(|osd| Some((*osd, Place { host: *hosts.get(osd)?, domain }))).collect()
    };
    sets.iter().enumerate().flat_map(place).collect()
}

impl Layout {
    /// The plan's cluster. `inventory`: what it was made from, if that is at hand. `None`: the plan is of no cluster.
    ///
    /// # Errors
    /// [`NotEnough`].
    pub fn of_plan(plan: &Plan, inventory: Option<&Inventory>, salt: u64) -> Result<Option<Self>, NotEnough> {
        if !is_of_a_cluster(plan) {
            return Ok(None);
        }
        let said = Said::by(plan);
        if let Some(inventory) = inventory {
            return seen::layout(plan, &said, inventory, salt).map(Some);
        }
        let hosts: Vec<HostName> = plan.hosts.iter().map(|host| host.name.clone()).collect();
        let done: Vec<usize> =
            plan.hosts.iter().zip(0..).filter(|(host, _)| host.already_done).map(|(_, at)| at).collect();
        let others = (0..hosts.len()).filter(|host| !done.contains(host));
        let waiting: Vec<usize> = done.iter().copied().chain(others).collect();
        let mut stand_ins = Vec::new();
        let osd = |(daemon, host): (&CephDaemon, &usize)| Some((OsdId(daemon.osd_number()?), *host));
        let mut osds = in_domains(&said.daemons.iter().filter_map(osd).collect(), &said.waves);
        let Road { from, to, map_flags, required_release, health_has_codes } = said.road(plan);
        // Of hosts that are done nothing is named: their OSDs bear the copies all the same.
        let mut domain = domains(&osds).len();
        let mut number = osds.keys().last().map_or(0, |last| last.0 + 1);
        for host in &waiting {
            let is_named = osds.values().any(|place| place.host == *host);
            if !is_named && (done.contains(host) || domain < COPIES) {
                let osd = OsdId(number);
                stand_ins.push(osd.to_string());
                osds.insert(osd, Place { host: *host, domain });
                (number, domain) = (number + 1, domain + 1);
            }
        }
        let mons = mons(&said, &hosts, &waiting, &mut stand_ins);
        let pools = pools(&said, osds.len(), domain)?;
        let thin = pools.iter().filter(|pool| said.consents.contains(&pool.name)).map(|pool| pool.id);
        let others =
            said.daemons.iter().filter(|(daemon, _)| matches!(daemon.kind, CephKind::Mds | CephKind::Rgw));
        let mut runs: BTreeMap<String, Version> = said
            .runs
            .iter()
            .filter(|(daemon, _)| !said.restarted.contains(daemon))
            .map(|(daemon, version)| (daemon.to_string(), version.clone()))
            .collect();
        runs.extend(stand_ins.iter().map(|daemon| (daemon.clone(), to.clone())));
        // A MON that the plan does nothing with is done already.
        let is_done = |mon: &&String| !said.daemons.contains_key(&CephDaemon::mon((*mon).clone()));
        let done = said.all_mons.iter().filter(is_done);
        runs.extend(done.map(|mon| (format!("mon.{mon}"), to.clone())));
        // What a host without new packages has on its disk is what its daemons run, or will.
        let ready = (0..hosts.len()).filter(|host| !said.installs.contains(host));
        let of_host = |host: usize| {
            let own =
                said.daemons.iter().filter(|(daemon, at)| **at == host && !said.restarted.contains(daemon));
            own.filter_map(|(daemon, _)| said.runs.get(daemon)).next().unwrap_or(&to).clone()
        };
        Ok(Some(Self {
            domains: domains(&osds),
            racks: false,
            mgrs: said.of_kind(CephKind::Mgr),
            others: others.map(|(daemon, host)| (daemon.clone(), *host)).collect(),
            consents: thin.collect::<Consents>(),
            groups: BTreeMap::new(),
            installed: ready.map(|host| (host, of_host(host))).collect(),
            map_flags,
            operators_flags: BTreeSet::new(),
            required_release,
            health_has_codes,
            origin: Origin::Plan { stand_ins },
            hosts,
            osds,
            mons,
            pools,
            salt,
            from,
            to,
            runs,
        }))
    }
}

/// The MONs that are named, each on the host that is named with it or on one that has none; where no gate names them all, as many as a cluster has.
fn mons(said: &Said, hosts: &[HostName], waiting: &[usize], stand_ins: &mut Vec<String>) -> Vec<Seated> {
    let mut mons = said.of_kind(CephKind::Mon);
    let mut missing: Vec<(String, bool)> = said
        .all_mons
        .iter()
        .filter(|name| !mons.iter().any(|mon| mon.name == **name))
        .map(|name| (name.clone(), false))
        .collect();
    if said.all_mons.is_empty() {
        missing.extend((mons.len()..MONS).map(|at| (format!("stand-in-{}", at + 1), true)));
    }
    for (at, (name, made_up)) in missing.into_iter().enumerate() {
        let is_own = |host: &&usize| hosts[**host].as_str() == name;
        let is_free = |host: &&usize| !mons.iter().any(|mon: &Seated| mon.host == **host);
        let host = waiting.iter().filter(is_free).find(is_own).or_else(|| waiting.iter().find(is_free));
        // More MONs than hosts: some share one.
        let host = host.or_else(|| waiting.get(at % waiting.len().max(1))).copied().unwrap_or(0);
        if made_up {
            stand_ins.push(format!("mon.{name}"));
        }
        mons.push(Seated { name, host });
    }
    mons
}

fn pools(said: &Said, osds: usize, domains: usize) -> Result<Vec<Pool>, NotEnough> {
    let groups = |per_osd: usize| u32::try_from((osds * per_osd).clamp(GROUPS.0, GROUPS.1)).unwrap_or(0);
    let mut pools = Vec::new();
    if domains >= COPIES {
        pools.push(replicated(1, "simulated", 3, groups(GROUPS_PER_OSD)));
    }
    if domains >= 2 {
        pools.extend((2..).zip(&said.consents).map(|(id, name)| replicated(id, name, 2, groups(1))));
    }
    if pools.is_empty() {
        let why = format!(
            "the plan names OSDs of {domains} failure domains, and copies of data need three, or two where you consent to it"
        );
        return Err(NotEnough { why });
    }
    Ok(pools)
}

/// What is left of the old release in a plan's words: `Ceph 14.2 → 16.2.15`.
fn began_with(plan: &Plan) -> Version {
    let words = plan.summary.iter().find_map(|line| line.strip_prefix("Ceph ")?.split_once(" → "));
    Version::new(words.map_or("0", |(from, _)| from))
}
