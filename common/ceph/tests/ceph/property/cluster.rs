//! A random cluster: a tree, pools that are placed by a failure domain, and what the cluster prints of it; troubled or not.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// `CRUSH_ITEM_NONE`.
const NOBODY: u32 = 0x7fff_ffff;

/// All that decides a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub racks: u32,
    /// In each rack.
    pub machines: u32,
    /// On each machine, at most.
    pub osds: u32,
    pub pools: u32,
    pub troubled: bool,
    pub seed: u64,
}

#[derive(Debug, Clone)]
pub struct Cluster {
    pub shape: Shape,
    pub osds: Value,
    pub pgs: Value,
    pub tree: Value,
    pub quorum: Option<Value>,
    /// Names of pools.
    pub consents: Vec<String>,
    /// OSDs by machine; machine n is called `mn` and has the address 10.0.0.(n + 1).
    pub machines: Vec<Vec<u32>>,
}

/// k and m of a code, size, `min_size`.
type Kind = (Option<(u32, u32)>, u32, u32);

const POOLS: &[Kind] = &[
    (None, 3, 2),
    (None, 3, 2),
    (None, 3, 2),
    (None, 3, 1),
    (None, 3, 3),
    (None, 4, 2),
    (None, 2, 1),
    (None, 2, 2),
    (None, 1, 1),
    (Some((2, 1)), 3, 2),
    (Some((2, 1)), 3, 3),
    (Some((2, 2)), 4, 2),
    (Some((2, 2)), 4, 3),
    (Some((3, 3)), 6, 4),
    (Some((4, 2)), 6, 4),
    (Some((4, 2)), 6, 5),
    (Some((4, 4)), 8, 5),
    (Some((8, 3)), 11, 9),
];

const STATES: &[&str] = &[
    "active+clean",
    "active+clean+scrubbing+deep",
    "active+clean+remapped",
    "active+clean+snaptrim",
    "active+clean+inconsistent",
    "active+clean+wait",
    "active+clean+novel_word",
    "active+remapped+backfilling",
    "active+remapped+wait_backfill",
    "active+remapped+backfill_toofull",
    "active+recovery_wait+degraded",
    "active+undersized+degraded",
    "active+undersized+degraded+remapped+backfill_wait",
    "active+recovery_unfound+degraded",
    "active+recovering",
    "undersized+degraded+peered",
    "peering",
    "remapped+peering",
    "down",
    "incomplete",
    "stale+active+clean",
    "unknown",
    "inactive",
    "creating+activating",
    "active",
    "",
];

impl Cluster {
    pub fn new(shape: Shape) -> Self {
        let mut rng = StdRng::seed_from_u64(shape.seed);
        let mut next = 0;
        let mut machines = Vec::new();
        for _ in 0..shape.racks * shape.machines {
            let osds = rng.random_range(1..=shape.osds);
            machines.push((next..next + osds).collect::<Vec<u32>>());
            next += osds;
        }
        let consents = Vec::new();
        let nothing = json!({});
        let (osds, pgs, tree) = (nothing.clone(), nothing.clone(), nothing);
        let mut cluster = Self { shape, osds, pgs, tree, quorum: None, consents, machines };
        cluster.tree = cluster.draw();
        let (pools, groups) = cluster.place(&mut rng);
        cluster.osds = cluster.map(pools, &mut rng);
        cluster.pgs = listed(groups, &mut rng);
        if shape.troubled && rng.random_bool(0.05) {
            cluster.osds["epoch"] = json!(40);
        }
        if rng.random_bool(0.3) {
            cluster.quorum = Some(cluster.mons(&mut rng));
        }
        cluster
    }

    /// Racks under one root.
    fn draw(&self) -> Value {
        let per_rack = self.shape.machines as usize;
        let mut nodes = vec![];
        let racks: Vec<i64> = (0..i64::from(self.shape.racks)).map(|rack| -10 - rack).collect();
        nodes.push(json!({ "id": -1, "name": "default", "type": "root", "children": racks }));
        for (rack, machines) in (0_i64..).zip(self.machines.chunks(per_rack)) {
            let first = rack * i64::from(self.shape.machines);
            let below: Vec<i64> = (0..machines.len() as i64).map(|at| -1000 - first - at).collect();
            nodes.push(
                json!({ "id": -10 - rack, "name": format!("rack{rack}"), "type": "rack", "children": below }),
            );
            for (number, osds) in (first..).zip(machines) {
                nodes.push(json!({ "id": -1000 - number, "name": format!("m{number}"), "type": "host", "children": osds }));
            }
        }
        nodes.extend(self.machines.iter().flatten().map(|osd| json!({ "id": osd, "type": "osd" })));
        json!({ "nodes": nodes })
    }

    /// Pools, and all their groups.
    fn place(&mut self, rng: &mut StdRng) -> (Vec<Value>, Vec<Value>) {
        let per_rack = self.shape.machines as usize;
        let each: Vec<Vec<u32>> = self.machines.iter().flatten().map(|osd| vec![*osd]).collect();
        let racks: Vec<Vec<u32>> = self.machines.chunks(per_rack).map(<[Vec<u32>]>::concat).collect();
        let domains = [each, self.machines.clone(), racks];
        let (mut pools, mut groups) = (Vec::new(), Vec::new());
        for id in 0..self.shape.pools {
            let (code, size, min_size) = *POOLS.choose(rng).unwrap();
            // Healthy clusters have the redundancy that they ask for; pools that never can would be the same answer every time.
            if !self.shape.troubled && size == min_size && size > 1 {
                continue;
            }
            let fits: Vec<&Vec<Vec<u32>>> =
                domains.iter().filter(|domain| domain.len() >= size as usize).collect();
            // Mostly the widest domain that has room, as people do.
            let Some(domain) = (if rng.random_bool(0.7) { fits.last() } else { fits.choose(rng) }) else {
                continue;
            };
            // Half of the cluster, for roots that share nothing.
            let half = rng.random_bool(0.2) && domain.len() >= 2 * size as usize;
            let domain = if half { &domain[..domain.len() / 2] } else { &domain[..] };
            let pg_num = 1 << rng.random_range(2..7);
            let name = format!("pool{id}");
            pools.push(json!({ "pool": id, "pool_name": name, "type": if code.is_some() { 3 } else { 1 }, "size": size,
                "min_size": min_size, "pg_num": pg_num, "erasure_code_profile": if code.is_some() { name.clone() } else { String::new() } }));
            for seed in 0..pg_num {
                let chosen = domain.choose_multiple(rng, size as usize);
                let members: Vec<u32> = chosen.map(|bucket| *bucket.choose(rng).unwrap()).collect();
                groups.push(self.group(&format!("{id}.{seed:x}"), members, code.is_some(), rng));
            }
            if !self.shape.troubled || rng.random_bool(0.5) {
                self.consents.push(name);
            }
        }
        if self.shape.troubled && rng.random_bool(0.1) {
            groups.pop();
        }
        (pools, groups)
    }

    fn group(&self, id: &str, members: Vec<u32>, coded: bool, rng: &mut StdRng) -> Value {
        let mut up = members.clone();
        up.shuffle(rng);
        if coded || rng.random_bool(0.7) {
            up.clone_from(&members);
        }
        let mut group = json!({ "pgid": id, "state": "active+clean", "up": up, "acting": members, "reported_epoch": "60",
            "stats_invalid": "0", "stat_sum": { "num_objects": 9, "num_objects_degraded": 0,
            "num_objects_missing_on_primary": 0, "num_objects_unfound": 0 } });
        if !self.shape.troubled || rng.random_bool(0.8) {
            return group;
        }
        let osds: Vec<u32> = self.machines.iter().flatten().copied().collect();
        let any = |rng: &mut StdRng| *osds.choose(rng).unwrap();
        group["state"] = json!(STATES.choose(rng).unwrap());
        let mut acting = members;
        match rng.random_range(0..8) {
            0 => drop(acting.pop()),
            1 => acting[0] = NOBODY,
            2 => acting[0] = any(rng),
            3 => group["up"] = json!([any(rng), any(rng)]),
            4 if rng.random_bool(0.1) => acting.clear(),
            5 if rng.random_bool(0.1) => acting.push(999),
            _ => {}
        }
        if rng.random_bool(0.5) {
            let named: Vec<u32> =
                acting.iter().chain(&[any(rng)]).filter(|_| rng.random_bool(0.7)).copied().collect();
            let shard =
                |(at, osd): (usize, &u32)| if coded { format!("{osd}({at})") } else { osd.to_string() };
            group["avail_no_missing"] = json!(named.iter().enumerate().map(shard).collect::<Vec<_>>());
        }
        group["acting"] = json!(acting);
        match rng.random_range(0..8) {
            0 => group["stat_sum"]["num_objects_degraded"] = json!(3),
            1 => group["stat_sum"]["num_objects_missing_on_primary"] = json!(1),
            2 if rng.random_bool(0.2) => group["stat_sum"]["num_objects_unfound"] = json!(1),
            3 => drop(group.as_object_mut().unwrap().remove("stat_sum")),
            4 => group["stats_invalid"] = json!("1"),
            5 => drop(group.as_object_mut().unwrap().remove("reported_epoch")),
            6 => group["reported_epoch"] = json!("30"),
            _ => {}
        }
        group
    }

    fn map(&self, pools: Vec<Value>, rng: &mut StdRng) -> Value {
        let mut profiles = serde_json::Map::new();
        for pool in &pools {
            let (size, min_size) = (pool["size"].as_u64().unwrap(), pool["min_size"].as_u64().unwrap());
            if pool["type"] == 3 && !(self.shape.troubled && rng.random_bool(0.1)) {
                let fits =
                    POOLS.iter().filter(|(_, s, m)| (u64::from(*s), u64::from(*m)) == (size, min_size));
                let (k, m) = fits.filter_map(|(code, ..)| *code).next().unwrap();
                profiles.insert(
                    pool["pool_name"].as_str().unwrap().to_owned(),
                    json!({ "k": k.to_string(), "m": m.to_string() }),
                );
            }
        }
        let mut osds = Vec::new();
        for (machine, members) in self.machines.iter().enumerate() {
            for osd in members {
                let mut entry = json!({ "osd": osd, "up": 1, "in": 1, "up_from": 50, "state": ["exists", "up"],
                    "public_addr": format!("10.0.0.{}:6800/9", machine + 1) });
                if self.shape.troubled && rng.random_bool(0.06) {
                    match rng.random_range(0..6) {
                        0 => entry["up_from"] = json!(70),
                        1 if rng.random_bool(0.3) => entry["state"] = json!(["exists"]),
                        2 if rng.random_bool(0.3) => drop(entry.as_object_mut().unwrap().remove("in")),
                        3 | 4 => {
                            (entry["up"], entry["in"], entry["state"]) =
                                (json!(0), json!(0), json!(["exists"]));
                        }
                        _ => (entry["up"], entry["state"]) = (json!(0), json!(["exists"])),
                    }
                }
                osds.push(entry);
            }
        }
        json!({ "epoch": 80, "pools": pools, "osds": osds, "erasure_code_profiles": profiles })
    }

    /// Three or five MONs, some of them on machines of OSDs.
    fn mons(&self, rng: &mut StdRng) -> Value {
        let number = if rng.random_bool(0.5) { 3 } else { 5 };
        let mut places: Vec<usize> = (0..self.machines.len() + 4).collect();
        places.shuffle(rng);
        let mons: Vec<Value> = (0..number)
            .map(|rank| json!({ "rank": rank, "name": format!("mon{rank}"), "addr": format!("10.0.0.{}:6789/0", places[rank % places.len()] + 1) }))
            .collect();
        let out = if self.shape.troubled && rng.random_bool(0.5) { number - 1 } else { number };
        let names: Vec<String> = (0..out).map(|rank| format!("mon{rank}")).collect();
        json!({ "quorum_names": names, "monmap": { "mons": mons } })
    }
}

/// In one of the forms of a full dump.
fn listed(groups: Vec<Value>, rng: &mut StdRng) -> Value {
    match rng.random_range(0..3) {
        0 => json!(groups),
        1 => json!({ "version": 4, "last_osdmap_epoch": 60, "pg_stats": groups }),
        _ => json!({ "pg_ready": true, "pg_map": { "last_osdmap_epoch": 60, "pg_stats": groups } }),
    }
}
