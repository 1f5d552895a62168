//! Small clusters for the tests, as the documents that they would print.

use replank_ceph::OsdId;
use replank_ceph::documents::{OsdDump, PgDump, QuorumStatus};
use replank_ceph::redundancy::{Daemon, Redundancy, StopSet, Verdict, consents};
use serde_json::{Value, json};

/// The two documents, open to changes.
#[derive(Debug, Clone)]
pub struct World {
    pub osds: Value,
    pub pgs: Value,
}

impl World {
    /// `osds` OSDs, up and in, each alone on its machine.
    pub fn new(osds: u32) -> Self {
        let osd = |id| {
            json!({ "osd": id, "up": 1, "in": 1, "up_from": 100, "state": ["exists", "up"],
                "public_addr": format!("10.0.{}.{}:6800/1", id / 250, id % 250 + 1) })
        };
        let osds: Vec<Value> = (0..osds).map(osd).collect();
        let profiles = json!({ "four-two": { "k": "4", "m": "2" }, "two-one": { "k": "2", "m": "1" },
            "eight-three": { "k": "8", "m": "3" } });
        Self {
            osds: json!({ "epoch": 120, "pools": [], "osds": osds, "erasure_code_profiles": profiles }),
            pgs: json!({ "version": 1, "last_osdmap_epoch": 120, "pg_stats": [] }),
        }
    }

    /// A pool with one group for each list of members, all of them clean. The number of pools so far is its id, and `kind` the name of its profile, or "".
    pub fn pool(mut self, name: &str, profile: &str, size: u32, min_size: u32, groups: &[&[u32]]) -> Self {
        let pools = self.osds["pools"].as_array_mut().unwrap();
        let id = pools.len();
        let kind = if profile.is_empty() { 1 } else { 3 };
        pools.push(json!({ "pool": id, "pool_name": name, "type": kind, "size": size, "min_size": min_size,
            "pg_num": groups.len(), "crush_rule": 0, "erasure_code_profile": profile }));
        for (seed, members) in groups.iter().enumerate() {
            self.pgs["pg_stats"].as_array_mut().unwrap().push(json!({
                "pgid": format!("{id}.{seed:x}"), "state": "active+clean", "up": members, "acting": members,
                "reported_epoch": "118", "stats_invalid": "0",
                "stat_sum": { "num_objects_degraded": 0, "num_objects_missing_on_primary": 0, "num_objects_unfound": 0 },
            }));
        }
        self
    }

    /// Changes fields of a group.
    pub fn pg(mut self, index: usize, fields: Value) -> Self {
        merge(&mut self.pgs["pg_stats"][index], fields);
        self
    }

    /// Changes fields of an OSD.
    pub fn osd(mut self, index: usize, fields: Value) -> Self {
        merge(&mut self.osds["osds"][index], fields);
        self
    }

    pub fn map(mut self, fields: Value) -> Self {
        merge(&mut self.osds, fields);
        self
    }

    pub fn read(&self) -> (OsdDump, PgDump) {
        let osds = OsdDump::read("osd.json", self.osds.to_string().as_bytes()).unwrap();
        let pgs = PgDump::read("pg.json", self.pgs.to_string().as_bytes()).unwrap();
        (osds, pgs)
    }

    pub fn ask(&self, consented: &[&str], set: &[u32]) -> Verdict {
        let (osds, pgs) = self.read();
        let names: Vec<String> = consented.iter().map(|name| (*name).to_owned()).collect();
        let consents = consents(&osds, &names).unwrap();
        let set = StopSet { osds: set.iter().copied().map(OsdId).collect(), ..StopSet::default() };
        Redundancy::new(&osds, &pgs, &consents).judge(&set, None)
    }
}

fn merge(into: &mut Value, fields: Value) {
    for (key, value) in fields.as_object().unwrap().clone() {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(&key)),
            value => into[key] = value,
        }
    }
}

/// MONs by name and last byte of their address, and which of them are in quorum.
pub fn quorum(mons: &[(&str, u32)], in_quorum: &[&str]) -> QuorumStatus {
    let all: Vec<Value> = mons
        .iter()
        .enumerate()
        .map(|(rank, (name, host))| json!({ "rank": rank, "name": name, "addr": format!("10.0.0.{host}:6789/0") }))
        .collect();
    let text = json!({ "quorum_names": in_quorum, "monmap": { "mons": all } }).to_string();
    QuorumStatus::read("quorum.json", text.as_bytes()).unwrap()
}

pub fn daemons(names: &[&str]) -> Vec<Daemon> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}
