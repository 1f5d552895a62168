//! Clusters written from a few words: hosts in racks, with their daemons, as an inventory shows them.

use crate::support::{CEPH_TOML, World, host, version};
use replank_ceph::documents::{Health, OsdDump, OsdTree, PgDump, QuorumStatus};
use replank_ceph::seen::Cluster;
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::{
    CephDaemonFact, CephFacts, CephMount, CephUser, Facts, PackageFact, PackageManager,
};
use replank_core::fleet_file;
use replank_core::inventory::{CephInventory, Inventory};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One host of a cluster.
#[derive(Debug, Clone)]
pub struct Machine {
    pub name: String,
    pub rack: String,
    pub mon: bool,
    pub mgr: bool,
    pub rgw: bool,
    pub osds: Vec<u32>,
}

impl Machine {
    pub fn new(name: &str, rack: &str, osds: std::ops::Range<u32>) -> Self {
        let (name, rack) = (name.to_owned(), rack.to_owned());
        Self { name, rack, mon: false, mgr: false, rgw: false, osds: osds.collect() }
    }

    pub fn with(mut self, mon: bool, mgr: bool) -> Self {
        (self.mon, self.mgr) = (mon, mgr);
        self
    }
}

/// A pool whose copies are in different racks.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    pub name: &'static str,
    pub size: u32,
    pub min_size: u32,
    pub pgs: u32,
}

/// What differs between releases and systems.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub running: &'static str,
    pub package: &'static str,
    pub manager: PackageManager,
    pub os: (&'static str, &'static str),
    pub flags: &'static str,
    pub require: Option<&'static str>,
    pub packages: &'static [&'static str],
    /// Whose the data is.
    pub owner: u32,
}

pub const NAUTILUS: Kind = Kind {
    running: "14.2.21",
    package: "14.2.21-1",
    manager: PackageManager::Apt,
    os: ("debian", "11"),
    flags: "sortbitwise,recovery_deletes,purged_snapdirs,pglog_hardlimit",
    require: Some("nautilus"),
    packages: &["ceph-base", "ceph-common", "ceph-mon", "ceph-mgr", "ceph-osd", "librados2", "librbd1"],
    owner: 64045,
};

pub const HAMMER: Kind = Kind {
    running: "0.94.10",
    package: "1:0.94.10-0.el7",
    manager: PackageManager::Yum,
    os: ("centos", "7"),
    flags: "",
    require: None,
    packages: &["ceph", "ceph-common", "librados2", "librbd1"],
    owner: 0,
};

pub fn daemon(kind: CephKind, id: &str, of: Kind) -> CephDaemonFact {
    let init = of.owner == 0;
    let daemon = CephDaemon { kind, id: id.to_owned() };
    let unit = if init { format!("ceph-{daemon}.1448800000.123456789.service") } else { daemon.unit() };
    CephDaemonFact {
        daemon,
        unit: Some(unit),
        pid: Some(1000),
        running: Some(version(of.running)),
        installed: Some(version(of.running)),
        data_owner: Some((of.owner, of.owner)),
        journal_owner: None,
        object_store: (kind == CephKind::Osd)
            .then(|| if init { "filestore".to_owned() } else { "bluestore".to_owned() }),
        fs_type: Some("xfs".to_owned()),
        init: init.then(|| "sysvinit".to_owned()),
        runs_as: Some(of.owner),
        files: None,
        mounted_by: (kind == CephKind::Osd).then_some(CephMount::Udev),
        behind: Vec::new(),
    }
}

fn facts(machine: &Machine, of: Kind, base: &Facts) -> Facts {
    let mut facts = base.clone();
    facts.host = host(&machine.name);
    facts.census.guests.clear();
    facts.libvirt = None;
    facts.emulators.clear();
    facts.errors.clear();
    facts.units.clear();
    (facts.os.id, facts.os.version_id) = (of.os.0.to_owned(), of.os.1.to_owned());
    facts.os.pretty_name = format!("{} {}", of.os.0, of.os.1);
    facts.package_managers = vec![of.manager];
    let packages = of.packages.iter().map(|name| PackageFact {
        name: (*name).to_owned(),
        architecture: "amd64".to_owned(),
        version: of.package.to_owned(),
    });
    facts.packages = BTreeMap::from([(of.manager, packages.collect())]);
    let mut daemons = Vec::new();
    daemons.extend(machine.mon.then(|| daemon(CephKind::Mon, &machine.name, of)));
    daemons.extend(machine.mgr.then(|| daemon(CephKind::Mgr, &machine.name, of)));
    daemons.extend(machine.rgw.then(|| daemon(CephKind::Rgw, &machine.name, of)));
    daemons.extend(machine.osds.iter().map(|osd| daemon(CephKind::Osd, &osd.to_string(), of)));
    facts.ceph = Some(CephFacts {
        other_clusters: std::collections::BTreeMap::new(),
        daemons,
        ceph_user: (of.owner != 0).then_some(CephUser { uid: of.owner, gid: of.owner }),
        selinux: Some("disabled".to_owned()),
        config: BTreeMap::new(),
        short_hostname: machine.name.clone(),
        admin_keyring: machine.mon,
    });
    facts
}

fn address(index: usize) -> String {
    format!("192.0.2.{}:6800/1", index + 1)
}

pub fn cluster(machines: &[Machine], pools: &[Pool], of: Kind) -> Cluster {
    let mut osds: Vec<Value> = Vec::new();
    for (index, machine) in machines.iter().enumerate() {
        for osd in &machine.osds {
            osds.push(json!({ "osd": osd, "up": 1, "in": 1, "up_from": 5, "public_addr": address(index), "state": ["exists", "up"] }));
        }
    }
    let pool_rows: Vec<Value> = (1..).zip(pools).map(|(id, pool)| json!({
        "pool": id, "pool_name": pool.name, "type": 1, "size": pool.size, "min_size": pool.min_size, "pg_num": pool.pgs, "crush_rule": 0,
    })).collect();
    let mut dump = json!({ "epoch": 100, "fsid": "f", "flags": of.flags, "pools": pool_rows, "osds": osds });
    if let Some(release) = of.require {
        dump["require_osd_release"] = json!(release);
    }
    let mut racks: Vec<(&str, Vec<&Machine>)> = Vec::new();
    for machine in machines.iter().filter(|machine| !machine.osds.is_empty()) {
        match racks.iter_mut().find(|(name, _)| *name == machine.rack) {
            Some((_, inside)) => inside.push(machine),
            None => racks.push((&machine.rack, vec![machine])),
        }
    }
    let (mut nodes, mut next, mut rack_ids) = (Vec::new(), -2, Vec::new());
    for (rack, inside) in &racks {
        let mut host_ids = Vec::new();
        for machine in inside {
            next -= 1;
            let children: Vec<u32> = machine.osds.iter().rev().copied().collect();
            nodes.push(json!({ "id": next, "name": machine.name, "type": "host", "children": children }));
            nodes.extend(
                machine
                    .osds
                    .iter()
                    .map(|osd| json!({ "id": osd, "name": format!("osd.{osd}"), "type": "osd" })),
            );
            host_ids.insert(0, next);
        }
        next -= 1;
        nodes.push(json!({ "id": next, "name": rack, "type": "rack", "children": host_ids }));
        rack_ids.insert(0, next);
    }
    nodes.insert(0, json!({ "id": -1, "name": "default", "type": "root", "children": rack_ids }));
    let mut pgs = Vec::new();
    for (pool_id, pool) in (1..).zip(pools) {
        for seed in 0..pool.pgs as usize {
            let acting: Vec<u32> = (0..pool.size as usize)
                .map(|copy| {
                    let inside = &racks[(seed + copy) % racks.len()].1;
                    let machine = inside[(seed / racks.len() + copy) % inside.len()];
                    machine.osds[(seed / 3) % machine.osds.len()]
                })
                .collect();
            pgs.push(json!({
                "pgid": format!("{pool_id}.{seed:x}"), "state": "active+clean", "up": acting, "acting": acting, "reported_epoch": "100",
                "stat_sum": { "num_objects_degraded": 0, "num_objects_missing_on_primary": 0, "num_objects_unfound": 0 },
            }));
        }
    }
    let with_mon: Vec<(usize, &Machine)> =
        machines.iter().enumerate().filter(|(_, machine)| machine.mon).collect();
    let names: Vec<&str> = with_mon.iter().map(|(_, machine)| machine.name.as_str()).collect();
    let mons: Vec<Value> = with_mon
        .iter()
        .map(|(index, machine)| json!({ "name": machine.name, "addr": address(*index) }))
        .collect();
    let bytes = |value: &Value| serde_json::to_vec(value).unwrap();
    let osds = OsdDump::read("osd dump", &bytes(&dump)).unwrap();
    Cluster {
        metadata: BTreeMap::new(),
        tree: OsdTree::read("osd tree", &bytes(&json!({ "nodes": nodes, "stray": [] }))).unwrap(),
        pgs: PgDump::read("pg dump", &bytes(&json!({ "pg_stats": pgs }))).unwrap(),
        quorum: QuorumStatus::read(
            "quorum",
            &bytes(&json!({ "quorum_names": names, "monmap": { "mons": mons } })),
        )
        .unwrap(),
        health: Health { level: "HEALTH_OK".to_owned(), reasons: Vec::new() },
        versions: None,
        mon_versions: names.iter().map(|name| ((*name).to_owned(), Some(version(of.running)))).collect(),
        tunables: BTreeMap::from([("profile".to_owned(), "hammer".to_owned())]),
        osd_used_permille: osds.osds.keys().map(|osd| (*osd, 420)).collect(),
        mon_caps: BTreeMap::from([("client.admin".to_owned(), "allow *".to_owned())]),
        time_skew_ms: BTreeMap::new(),
        mon_features: Vec::new(),
        second_messenger: None,
        filesystems: Some(Vec::new()),
        errors: BTreeMap::new(),
        osds,
    }
}

pub fn world(fleet: &str, machines: &[Machine], pools: &[Pool], of: Kind) -> World {
    let mut world = World::debian();
    let base = world.facts("compute1").clone();
    world.fleet = fleet_file::parse("ceph.toml", fleet).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    world.inventory = Inventory::new(7, machines.iter().map(|machine| facts(machine, of, &base)));
    let via = host(&machines.iter().find(|machine| machine.mon).unwrap().name);
    world.inventory.ceph = Some(CephInventory { via, taken_at_ms: 7, cluster: cluster(machines, pools, of) });
    world
}

/// The shape of the lab: three hosts with a MON, a manager and two OSDs each, and a client.
pub fn nautilus() -> World {
    let machines: Vec<Machine> = (1..=3)
        .map(|n| Machine::new(&format!("ceph{n}"), &format!("rack{n}"), 2 * (n - 1)..2 * n).with(true, true))
        .collect();
    let pools = [Pool { name: "volumes", size: 3, min_size: 2, pgs: 32 }];
    world(CEPH_TOML, &machines, &pools, NAUTILUS)
}

pub fn hammer_machines() -> Vec<Machine> {
    let mut machines: Vec<Machine> =
        (1..=3).map(|n| Machine::new(&format!("mon{n}"), "", 0..0).with(true, false)).collect();
    machines.extend((0..37).map(|n| {
        let rack = format!("rack{}", 1 + n / 8);
        Machine::new(&format!("osd{:02}", n + 1), &rack, 4 * n..4 * n + 4)
    }));
    machines
}

/// A fleet file for those machines.
pub fn hammer_toml(machines: &[Machine]) -> String {
    let mut text = String::from(
        "[fleet]\nname = \"old-harbour\"\nhops = [\"el7-ceph-0.94-to-10.2\"]\n\n[pace]\nstaging_parallel = 8\n\n[ceph]\nversion = \"10.2.10\"\n\
         repository = \"ceph\"\npackages = [\n",
    );
    for name in ["ceph", "ceph-common", "librados2", "librbd1"] {
        writeln!(text, "    {{ name = \"{name}\", version = \"1:10.2.10-0.el7\" }},").unwrap();
    }
    text.push_str("]\nadmin = [\"mon1\"]\n\n[[repository]]\nname = \"ceph\"\nkind = \"rpm\"\nbase_url = \"https://packages.example/ceph/\"\n");
    for machine in machines {
        let roles = if machine.mon { "ceph-mon" } else { "ceph-osd" };
        writeln!(text, "\n[[host]]\nname = \"{}\"\nroles = [\"{roles}\"]", machine.name).unwrap();
    }
    text
}

/// Forty hosts: three with MONs, 37 with four OSDs each, in five racks.
pub fn hammer() -> World {
    let machines = hammer_machines();
    let pools = [
        Pool { name: "volumes", size: 3, min_size: 2, pgs: 512 },
        Pool { name: "images", size: 3, min_size: 2, pgs: 64 },
    ];
    world(&hammer_toml(&machines), &machines, &pools, HAMMER)
}

/// Makes the host's daemons of these kinds what they are once they were restarted, and its packages new.
pub fn finish(world: &mut World, name: &str, kinds: &[CephKind]) {
    let goal = match &world.fleet.goal {
        replank_core::fleet_file::Goal::Ceph(goal) => goal.clone(),
        replank_core::fleet_file::Goal::Guests(_) | replank_core::fleet_file::Goal::CephOwnership(_) => {
            panic!("no voyage of Ceph")
        }
    };
    let facts = world.facts(name);
    for all in facts.packages.values_mut() {
        for fact in all {
            if let Some(pin) = goal.packages.iter().find(|pin| pin.name == fact.name) {
                fact.version = pin.version.clone();
            }
        }
    }
    for fact in &mut facts.ceph.as_mut().unwrap().daemons {
        fact.installed = Some(goal.version.clone());
        if kinds.contains(&fact.daemon.kind) {
            fact.running = Some(goal.version.clone());
        }
    }
}
