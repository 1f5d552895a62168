//! A simulated cluster as an operator and an inventory know it, so that the planner that production uses makes its plan.
//!
//! Owns the fleet file and the inventory of a [`Layout`]. Decides nothing of the plan.

use super::plan_id;
use crate::ceph::{Cluster, Documents, Layout};
use rand::Rng;
use rand::rngs::StdRng;
use replank_ceph::documents::Health;
use replank_ceph::seen;
use replank_common::census::Census;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::{
    CephDaemonFact, CephFacts, CephMount, CephUser, Facts, OsFacts, PackageFact, PackageManager, SpaceFact,
};
use replank_common::ids::{BootId, HostName};
use replank_common::version::Version;
use replank_core::catalog::Catalog;
use replank_core::fleet_file::{self, FleetFile};
use replank_core::inventory::{CephInventory, Inventory};
use replank_core::lint::{lint, show_notes};
use replank_core::plan::{Input, Plan, plan};
use replank_core::run::Index;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use uuid::Uuid;

const PACKAGES: [&str; 7] =
    ["ceph-base", "ceph-common", "ceph-mon", "ceph-mgr", "ceph-osd", "librados2", "librbd1"];
/// The user `ceph` of Debian.
const CEPH: u32 = 64_045;
const TAKEN_AT_MS: u64 = 1_000;
const SPACE_BYTES: u64 = 200 << 30;

/// How fast the operator lets a plan go.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub parallel_hosts: usize,
    pub staging_parallel: usize,
    pub canary: usize,
}

impl Pace {
    pub(crate) fn drawn(rng: &mut StdRng) -> Self {
        Self {
            parallel_hosts: rng.random_range(1..=3),
            staging_parallel: rng.random_range(1..=8),
            canary: rng.random_range(1..=2),
        }
    }
}

/// The file that the operator writes.
pub fn fleet_file(layout: &Layout, pace: Pace) -> String {
    let Pace { parallel_hosts, staging_parallel, canary } = pace;
    let mut text = format!(
        "[fleet]\nname = \"simulated\"\nhops = [\"debian-ceph-14.2-to-16.2\"]\n\n\
         [pace]\nparallel_hosts = {parallel_hosts}\nstaging_parallel = {staging_parallel}\ncanary = {canary}\n\n\
         [ceph]\nversion = \"{}\"\nrepository = \"ceph\"\npackages = [\n",
        layout.to
    );
    for name in PACKAGES {
        let _ = writeln!(text, "    {{ name = \"{name}\", version = \"{}\" }},", package(&layout.to));
    }
    let quoted =
        |names: Vec<&str>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let thin = layout.pools.iter().filter(|pool| layout.consents.contains(&pool.id));
    let _ = writeln!(
        text,
        "]\nadmin = [{}]\nconsent = [{}]\n\n[[repository]]\nname = \"ceph\"\nkind = \"apt\"\nuri = \"copy:///srv/apt\"\nsuite = \"./\"",
        quoted(layout.hosts.iter().take(1).map(HostName::as_str).collect()),
        quoted(thin.map(|pool| pool.name.as_str()).collect()),
    );
    for (host, name) in layout.hosts.iter().enumerate() {
        let mut roles: Vec<&str> = Vec::new();
        for daemon in layout.daemons_of(host) {
            let role = match daemon.kind {
                CephKind::Mon => "ceph-mon",
                CephKind::Mgr => "ceph-mgr",
                CephKind::Osd => "ceph-osd",
                CephKind::Mds => "ceph-mds",
                CephKind::Rgw => "ceph-rgw",
            };
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        let _ = writeln!(text, "\n[[host]]\nname = \"{name}\"\nroles = [{}]", quoted(roles));
    }
    text
}

/// As `replank inventory` finds the cluster before anything has happened.
pub fn inventory(layout: &Layout) -> Inventory {
    let cluster = Cluster::new(layout.clone(), 0, TAKEN_AT_MS);
    let documents = cluster.documents().expect("a cluster that has just begun has a quorum");
    let mut inventory =
        Inventory::new(TAKEN_AT_MS, (0..layout.hosts.len()).map(|host| facts(layout, &cluster, host)));
    let cluster = as_seen(documents);
    inventory.ceph = Some(CephInventory { via: layout.hosts[0].clone(), taken_at_ms: TAKEN_AT_MS, cluster });
    inventory
}

/// The plan that the planner makes for the cluster, judged by its second reader.
///
/// # Errors
/// What the planner or its reader finds, in their words: a simulated cluster is as good as a cluster can be.
pub fn planned(layout: &Layout, pace: Pace) -> Result<Plan, String> {
    let fleet: FleetFile = fleet_file::parse("fleet.toml", &fleet_file(layout, pace))
        .map_err(|mistakes| mistakes.to_string())?;
    let catalog = Catalog::load(&[]).map_err(|error| error.to_string())?;
    let inventory = inventory(layout);
    let input = Input { fleet: &fleet, inventory: &inventory, catalog: &catalog, parent: None };
    let (plan, _) = plan(&input).map_err(|refused| refused.to_string())?;
    let notes = lint(&plan);
    if notes.is_empty() { Ok(plan) } else { Err(show_notes(&notes)) }
}

/// The planner's plan, and the cluster on the hosts in the plan's order.
///
/// # Errors
/// Those of [`planned`].
pub(crate) fn planned_index(layout: Layout, pace: Pace) -> Result<(Arc<Index>, Layout), String> {
    let plan = planned(&layout, pace)?;
    let hosts = plan.hosts.iter().map(|host| host.name.clone()).collect();
    let layout = layout.on(hosts).ok_or("the plan leaves out a host of the cluster")?;
    let index = Index::new(plan_id(), plan).map_err(|unsound| unsound.to_string())?;
    Ok((Arc::new(index), layout))
}

fn package(version: &Version) -> String {
    format!("{version}-1")
}

fn as_seen(documents: Documents) -> seen::Cluster {
    let metadata = documents.metadata();
    seen::Cluster {
        metadata,
        tree: documents.tree,
        pgs: documents.groups.expect("a manager that has run for long knows its groups"),
        health: Health { level: "HEALTH_OK".to_owned(), reasons: documents.health },
        versions: None,
        mon_versions: documents.mons.into_iter().map(|(mon, version)| (mon, Some(version))).collect(),
        tunables: BTreeMap::from([("profile".to_owned(), "jewel".to_owned())]),
        osd_used_permille: documents.osds.osds.keys().map(|osd| (*osd, 420)).collect(),
        mon_caps: BTreeMap::from([("client.admin".to_owned(), "allow *".to_owned())]),
        time_skew_ms: BTreeMap::new(),
        mon_features: Vec::new(),
        second_messenger: None,
        filesystems: Some(Vec::new()),
        errors: BTreeMap::new(),
        quorum: documents.quorum,
        osds: documents.osds,
    }
}

fn facts(layout: &Layout, cluster: &Cluster, host: usize) -> Facts {
    let name = layout.hosts[host].clone();
    let boot_id = BootId(Uuid::from_u128(host as u128 + 1));
    let installed = cluster.installed(host).unwrap_or(&layout.from);
    let running = cluster.running(host);
    let daemons = layout.daemons_of(host).into_iter().map(|daemon| {
        let version = running.get(&daemon.to_string()).cloned();
        fact(daemon, version, installed)
    });
    Facts {
        boot_id,
        machine_id: format!("{:032x}", host + 1),
        collected_at_ms: TAKEN_AT_MS,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        os: OsFacts {
            id: "debian".to_owned(),
            version_id: "11".to_owned(),
            pretty_name: "Debian 11".to_owned(),
            kernel: "5.10".to_owned(),
            architecture: "x86_64".to_owned(),
            pidfd: true,
        },
        package_managers: vec![PackageManager::Apt],
        packages: BTreeMap::from([(
            PackageManager::Apt,
            PACKAGES
                .map(|name| PackageFact {
                    name: name.to_owned(),
                    architecture: "amd64".to_owned(),
                    version: package(installed),
                })
                .into(),
        )]),
        units: Vec::new(),
        libvirt: None,
        emulators: Vec::new(),
        census: Census {
            host: name.clone(),
            boot_id,
            sequence: 1,
            agent_start_ms: 1,
            taken_at_ms: TAKEN_AT_MS,
            guests: BTreeMap::new(),
            ended: Vec::new(),
            disagreements: Vec::new(),
        },
        space: vec![SpaceFact {
            path: "/".into(),
            total_bytes: SPACE_BYTES,
            available_bytes: SPACE_BYTES / 2,
            free_inodes: 1 << 24,
            read_only: false,
        }],
        memory_total_bytes: 64 << 30,
        memory_available_bytes: 32 << 30,
        cpus: 16,
        addresses: vec![format!("10.1.0.{}", host + 1)],
        needrestart_automatic: None,
        ceph: Some(CephFacts {
            daemons: daemons.collect(),
            ceph_user: Some(CephUser { uid: CEPH, gid: CEPH }),
            selinux: Some("disabled".to_owned()),
            config: BTreeMap::new(),
            short_hostname: name.to_string(),
            admin_keyring: host == 0,
            other_clusters: BTreeMap::new(),
        }),
        errors: Vec::new(),
        host: name,
    }
}

fn fact(daemon: CephDaemon, running: Option<Version>, installed: &Version) -> CephDaemonFact {
    let is_osd = daemon.kind == CephKind::Osd;
    CephDaemonFact {
        unit: Some(daemon.unit()),
        pid: Some(1_000),
        running,
        installed: Some(installed.clone()),
        data_owner: Some((CEPH, CEPH)),
        journal_owner: None,
        object_store: is_osd.then(|| "bluestore".to_owned()),
        fs_type: Some("xfs".to_owned()),
        init: None,
        runs_as: Some(CEPH),
        mounted_by: is_osd.then_some(CephMount::CephVolume),
        behind: Vec::new(),
        files: None,
        daemon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Of some of these clusters the planner makes waves of several hosts, of some it is asked for thin pools.
    #[test]
    fn the_planner_plans_whatever_cluster_is_drawn() {
        for seed in 0..60 {
            let mut rng = StdRng::seed_from_u64(seed);
            let layout = Layout::drawn(&mut rng);
            let pace = Pace::drawn(&mut rng);
            let (index, moved) =
                planned_index(layout.clone(), pace).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            assert!(index.plan().osd_waves.is_some_and(|waves| waves.planned >= waves.least));
            for (osd, place) in &layout.osds {
                assert_eq!(layout.hosts[place.host], moved.hosts[moved.osds[osd].host]);
            }
        }
    }
}
