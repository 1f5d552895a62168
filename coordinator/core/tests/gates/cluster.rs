//! A small cluster as its documents, open to changes, and what its gates say.
//!
//! osd.0 to osd.3, each alone on its machine; mon.a to mon.c on the machines of osd.0 to osd.2. Pool `rbd` has three copies, `thin` two.

use replank_ceph::OsdId;
use replank_ceph::documents::{
    Health, LeftSession, MdsMap, OsdDump, OsdMetadata, PgDump, QuorumStatus, read_osd_metadata,
};
use replank_ceph::seen::{Groups, Look, Map, Seen, Settle, Stop};
use replank_common::ids::HostName;
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use replank_core::gate::{Gate, LinkSeen, Observed, Watched, asks, judge};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
pub struct Cluster {
    pub osds: Value,
    pub pgs: Value,
    pub metadata: Value,
    pub quorum: Value,
    pub health: Value,
    pub mds: Value,
    /// Sessions that managers left.
    pub left: Vec<LeftSession>,
}

impl Cluster {
    pub fn new() -> Self {
        let osd = |id: u32| {
            json!({ "osd": id, "up": 1, "in": 1, "up_from": 100 + id, "state": ["exists", "up"],
                "public_addr": format!("10.0.0.{}:6800/1", id + 1) })
        };
        let pool = |id: u32, name: &str, size: u32| json!({ "pool": id, "pool_name": name, "type": 1, "size": size, "min_size": size - 1, "pg_num": 2, "crush_rule": 0 });
        let pg = |id: &str, members: &[u32]| {
            json!({ "pgid": id, "state": "active+clean", "up": members, "acting": members, "reported_epoch": "118",
                "stat_sum": { "num_objects_degraded": 0, "num_objects_missing_on_primary": 0, "num_objects_unfound": 0 } })
        };
        let metadata = |id: u32| json!({ "id": id, "ceph_version": "ceph version 16.2.15 (618f440892) pacific (stable)" });
        let mon = |(rank, name): (usize, &str)| json!({ "rank": rank, "name": name, "addr": format!("10.0.0.{}:6789/0", rank + 1) });
        let mds = |name: &str, rank: i32, state: &str| json!({ "name": name, "rank": rank, "state": state });
        let mons: Vec<Value> = ["a", "b", "c"].into_iter().enumerate().map(mon).collect();
        Self {
            osds: json!({ "epoch": 120, "flags": "noout,sortbitwise", "require_osd_release": "nautilus",
                "pools": [pool(1, "rbd", 3), pool(2, "thin", 2)], "osds": [osd(0), osd(1), osd(2), osd(3)] }),
            pgs: json!({ "pg_stats": [pg("1.0", &[0, 1, 2]), pg("1.1", &[1, 2, 3]), pg("2.0", &[2, 3]), pg("2.1", &[3, 2])] }),
            metadata: (0..4).map(metadata).collect(),
            quorum: json!({ "quorum_names": ["a", "b", "c"], "monmap": { "mons": mons } }),
            health: json!({ "status": "HEALTH_OK", "checks": {} }),
            mds: json!({ "standbys": [mds("b", -1, "up:standby")], "filesystems": [{ "mdsmap":
                { "fs_name": "home", "max_mds": 1, "in": [0], "info": { "gid_1": mds("a", 0, "up:active") } } }] }),
            left: Vec::new(),
        }
    }

    /// Changes fields of one thing in a list of `document`: `osd(1)`, `pg(0)`.
    pub fn osd(mut self, index: usize, fields: Value) -> Self {
        merge(&mut self.osds["osds"][index], fields);
        self
    }

    pub fn pg(mut self, index: usize, fields: Value) -> Self {
        merge(&mut self.pgs["pg_stats"][index], fields);
        self
    }

    pub fn map(mut self, fields: Value) -> Self {
        merge(&mut self.osds, fields);
        self
    }

    pub fn booted(mut self, index: usize, version: &str) -> Self {
        self.metadata[index]["ceph_version"] = json!(format!("ceph version {version} (0) x (stable)"));
        self
    }

    pub fn in_quorum(mut self, names: &[&str]) -> Self {
        self.quorum["quorum_names"] = json!(names);
        self
    }

    /// What of the MDS that serves the file system `home` is another.
    pub fn serving(mut self, fields: Value) -> Self {
        merge(&mut self.mds["filesystems"][0]["mdsmap"]["info"]["gid_1"], fields);
        self
    }

    pub fn manager_left(mut self, manager: &str) -> Self {
        self.left.push(LeftSession { mds: "a".to_owned(), manager: manager.to_owned() });
        self
    }

    pub fn nobody_stands_by(mut self) -> Self {
        self.mds["standbys"] = json!([]);
        self
    }

    pub fn healthy(mut self, health: Value) -> Self {
        self.health = health;
        self
    }

    fn dump(&self) -> OsdDump {
        OsdDump::read("osd.json", self.osds.to_string().as_bytes()).unwrap()
    }

    fn list(&self) -> PgDump {
        PgDump::read("pg.json", self.pgs.to_string().as_bytes()).unwrap()
    }

    fn booted_as(&self) -> BTreeMap<OsdId, OsdMetadata> {
        read_osd_metadata("metadata.json", self.metadata.to_string().as_bytes()).unwrap()
    }

    pub fn look(&self, after_ms: u64, osds: &[u32]) -> Look {
        Look::new(after_ms, self.dump(), self.booted_as(), self.list(), &set(osds))
    }

    /// What an agent that sees this cluster answers.
    pub fn answer(&self, request: &ReadingRequest) -> Seen {
        let quorum = QuorumStatus::read("quorum.json", self.quorum.to_string().as_bytes()).unwrap();
        match request {
            ReadingRequest::CephStop { osds } => {
                Seen::Stop(Box::new(Stop::new(self.dump(), self.list(), quorum, None, set(osds))))
            }
            ReadingRequest::CephSettle { osds, .. } => {
                Seen::Settle(Settle { looks: vec![self.look(0, osds), self.look(5_000, osds)] })
            }
            ReadingRequest::CephMap => {
                let second_messenger = Some([("a".to_owned(), true), ("b".to_owned(), false)].into());
                Seen::Map(Box::new(Map { osds: self.dump(), metadata: self.booted_as(), second_messenger }))
            }
            ReadingRequest::CephMons => Seen::Mons(quorum),
            ReadingRequest::CephMds { stopping } => {
                let mut map = MdsMap::read("mds.json", self.mds.to_string().as_bytes()).unwrap();
                let left = self.left.iter().filter(|left| stopping.contains(&left.mds));
                map.left = left.cloned().collect();
                Seen::Mds(map)
            }
            ReadingRequest::CephGroups => Seen::Groups(Groups::new(&self.list())),
            ReadingRequest::CephHealth => {
                Seen::Health(Health::read("health.json", self.health.to_string().as_bytes()).unwrap())
            }
            other => panic!("{other:?} is not asked of a cluster"),
        }
    }

    /// The verdict on `gate`, in words.
    pub fn says(&self, gate: &Gate) -> String {
        let [(_, request)] = &asks(gate, &host())[..] else { panic!("{gate:?} asks one question") };
        said(gate, ReadingValue::Ceph(self.answer(request).to_text()))
    }
}

/// The verdict on `gate` if that is the answer to its question.
pub fn said(gate: &Gate, value: ReadingValue) -> String {
    struct One(Reading);
    impl Observed for One {
        fn link(&self, _: &HostName) -> LinkSeen {
            LinkSeen::Up
        }
        fn reading(&self, host: &HostName, request: &ReadingRequest) -> Option<&Reading> {
            (self.0.host == *host && self.0.request == *request).then_some(&self.0)
        }
        fn watched(&self, _: &HostName) -> Vec<Watched> {
            Vec::new()
        }
    }
    let [(of, request)] = &asks(gate, &host())[..] else { panic!("{gate:?} asks one question") };
    let reading = Reading { host: of.clone(), request: request.clone(), taken_at_ms: 1, value };
    judge(gate, &host(), &One(reading)).to_string()
}

/// The step's host.
pub fn host() -> HostName {
    HostName::new("ceph2").unwrap()
}

/// The host that asks the cluster.
pub fn via() -> HostName {
    HostName::new("ceph1").unwrap()
}

fn set(osds: &[u32]) -> BTreeSet<OsdId> {
    osds.iter().copied().map(OsdId).collect()
}

fn merge(into: &mut Value, fields: Value) {
    for (key, value) in fields.as_object().unwrap().clone() {
        into[key] = value;
    }
}
