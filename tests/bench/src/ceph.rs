//! A large Ceph cluster: reading its documents, and all waves in which its OSDs may stop.

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::index;
use rand::{Rng, SeedableRng};
use replank_ceph::documents::{Health, OsdDump, OsdMetadata, OsdTree, PgDump, QuorumStatus};
use replank_ceph::redundancy::{Answer, Consents, Redundancy, StopSet};
use replank_ceph::seen::{Cluster, Seen, Stop};
use replank_ceph::waves::{Wave, plan_waves};
use replank_proto::MESSAGE_BYTES_MAX;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Instant;

const RACKS: u32 = 50;
const OSDS_PER_MACHINE: u32 = 10;
/// Rule: no two racks of [`documents`] may be down together, for some group has a copy in both and spares one.
const WAVES: u32 = RACKS;

/// What was measured. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CephFigures {
    /// Of this JSON.
    pub format: u32,
    pub osds: u32,
    pub groups: u32,
    /// Of `ceph pg dump`.
    pub list_bytes: usize,
    /// The list of groups, read into values.
    pub reading: f64,
    /// The same bytes as any JSON, which nobody who looks at all of it can do without.
    pub reading_bare: f64,
    /// Groups by their OSDs.
    pub indexing: f64,
    /// All waves and their lower bound.
    pub planning: f64,
    /// Only judging each of those waves once, which no proof of them can do without.
    pub judging: f64,
    pub waves: usize,
    pub lower_bound: u32,
    /// The inventory's answer, as it travels, and how long it takes to be read.
    pub inventory_bytes: usize,
    pub inventory_reading: f64,
    /// The answer to the question whether the largest wave may stop.
    pub wave_bytes: usize,
    pub wave_reading: f64,
}

impl CephFigures {
    pub const FORMAT: u32 = 2;
}

impl fmt::Display for CephFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { osds, groups, waves, lower_bound, indexing, .. } = self;
        let megabytes = self.list_bytes as f64 / 1e6;
        writeln!(f, "cluster   {osds} OSDs, {groups} placement groups, {megabytes:.1} MB of list")?;
        writeln!(
            f,
            "documents read in {:.2} s, {:.1} times the time of parsing the same bytes as any JSON; groups by OSD in {indexing:.2} s",
            self.reading,
            self.reading / self.reading_bare
        )?;
        writeln!(
            f,
            "waves     {waves}, lower bound {lower_bound}, found in {:.2} s, {:.1} times the time of judging them once",
            self.planning,
            self.planning / self.judging
        )?;
        let most = MESSAGE_BYTES_MAX as f64;
        let of_most = |bytes: usize| {
            format!(
                "{:.1} MB, {:.0} % of what a message may have",
                bytes as f64 / 1e6,
                bytes as f64 / most * 100.0
            )
        };
        writeln!(
            f,
            "answers   the inventory's {}, read in {:.2} s; the largest wave's {}, read in {:.2} s",
            of_most(self.inventory_bytes),
            self.inventory_reading,
            of_most(self.wave_bytes),
            self.wave_reading
        )
    }
}

/// `ceph pg dump`, `osd dump` and `osd tree` of a healthy cluster.
#[derive(Debug)]
pub struct Documents {
    pub list: String,
    pub map: String,
    pub tree: String,
    pub osds: u32,
}

/// Measures a cluster of about `osds` OSDs (at least one machine of ten in each of fifty racks) with `groups` placement groups.
///
/// # Errors
/// Whatever keeps one of the measurements from being what it says that it is.
pub fn measure(osds: u32, groups: u32) -> Result<CephFigures> {
    let made = documents(osds, groups)?;
    let (any, reading_bare) = timed(|| Ok(serde_json::from_str::<Value>(&made.list)?))?;
    drop(any);
    let (pgs, reading) = timed(|| Ok(PgDump::read("pg dump", made.list.as_bytes())?))?;
    let osds = OsdDump::read("osd dump", made.map.as_bytes())?;
    let tree = OsdTree::read("osd tree", made.tree.as_bytes())?;
    let consents = Consents::new();
    let (redundancy, indexing) = timed(|| Ok(Redundancy::new(&osds, &pgs, &consents)))?;
    let (plan, planning) = timed(|| Ok(plan_waves(&redundancy, &osds, Some(&tree), None, None)))?;
    let (safe, judging) = timed(|| {
        let set = |wave: &Wave| StopSet { osds: wave.osds.clone(), mons: wave.mons.clone() };
        Ok(plan.waves.iter().filter(|wave| redundancy.judge(&set(wave), None).answer == Answer::Safe).count())
    })?;
    ensure!(safe == plan.waves.len(), "only {safe} of {} waves are safe", plan.waves.len());
    let stopped: usize = plan.waves.iter().map(|wave| wave.osds.len()).sum();
    ensure!(stopped == made.osds as usize, "the waves stop {stopped} of {} OSDs", made.osds);
    ensure!(plan.lower_bound.waves == WAVES, "the lower bound is {}", plan.lower_bound.waves);
    let largest = plan.waves.iter().max_by_key(|wave| wave.osds.len()).context("there is no wave")?;
    let quorum = QuorumStatus::read("quorum", QUORUM)?;
    let stop = Stop::new(osds.clone(), pgs.clone(), quorum.clone(), Some(tree.clone()), largest.osds.clone());
    let (wave_bytes, wave_reading) = travels(&Seen::Stop(Box::new(stop)))?;
    let (inventory_bytes, inventory_reading) =
        travels(&Seen::Cluster(Box::new(inventory(osds, tree, pgs, quorum))))?;
    Ok(CephFigures {
        format: CephFigures::FORMAT,
        osds: made.osds,
        groups,
        list_bytes: made.list.len(),
        reading,
        reading_bare,
        indexing,
        planning,
        judging,
        waves: plan.waves.len(),
        lower_bound: plan.lower_bound.waves,
        inventory_bytes,
        inventory_reading,
        wave_bytes,
        wave_reading,
    })
}

const QUORUM: &[u8] =
    br#"{"quorum_names": ["a"], "monmap": {"mons": [{"rank": 0, "name": "a", "addr": "10.0.0.1:6789/0"}]}}"#;

/// What an agent sends of such a cluster when it is asked for everything.
fn inventory(osds: OsdDump, tree: OsdTree, pgs: PgDump, quorum: QuorumStatus) -> Cluster {
    let booted = |osd: u32| OsdMetadata {
        version: Some(format!("ceph version 14.2.21 ({:040x}) nautilus (stable)", 1)),
        host: Some(format!("m{}", osd / OSDS_PER_MACHINE)),
    };
    let metadata = osds.osds.keys().map(|osd| (*osd, booted(osd.0))).collect();
    let osd_used_permille = osds.osds.keys().map(|osd| (*osd, 500)).collect();
    Cluster {
        osds,
        tree,
        pgs,
        quorum,
        metadata,
        osd_used_permille,
        health: Health { level: "HEALTH_OK".to_owned(), reasons: Vec::new() },
        versions: None,
        mon_versions: BTreeMap::new(),
        tunables: BTreeMap::new(),
        mon_caps: BTreeMap::new(),
        time_skew_ms: BTreeMap::new(),
        mon_features: Vec::new(),
        second_messenger: None,
        filesystems: None,
        errors: BTreeMap::new(),
    }
}

/// How large an answer is on its way, and how long it takes to be read; it must fit.
fn travels(seen: &Seen) -> Result<(usize, f64)> {
    let text = seen.to_text();
    ensure!(
        text.len() < MESSAGE_BYTES_MAX,
        "{} has {} bytes and would not fit a message",
        seen.name(),
        text.len()
    );
    let (read, reading) = timed(|| Ok(Seen::read(&text)?))?;
    ensure!(read == *seen, "{} is another when it has travelled", seen.name());
    Ok((text.len(), reading))
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let begun = Instant::now();
    let value = work()?;
    Ok((value, begun.elapsed().as_secs_f64()))
}

/// A quarter of the groups is erasure-coded 8+3 over racks, the rest has three copies over racks.
fn documents(osds: u32, groups: u32) -> Result<Documents> {
    let machines_per_rack = (osds / RACKS / OSDS_PER_MACHINE).max(1);
    let per_rack = machines_per_rack * OSDS_PER_MACHINE;
    let osds = RACKS * per_rack;
    let wide = groups / 4;
    let mut rng = StdRng::seed_from_u64(1);
    let mut list = String::from("[");
    for group in 0..groups {
        let (pool, seed, size) = if group < wide { (1, group, 11) } else { (0, group - wide, 3) };
        let racks = index::sample(&mut rng, RACKS as usize, size);
        let members: Vec<u32> =
            racks.iter().map(|rack| rack as u32 * per_rack + rng.random_range(0..per_rack)).collect();
        let comma = if group == 0 { "" } else { ",\n" };
        write!(
            list,
            "{comma}{{\"pgid\":\"{pool}.{seed:x}\",\"state\":\"active+clean\",\"up\":{members:?},\"acting\":{members:?},\
             \"reported_epoch\":\"90\",\"stat_sum\":{{\"num_objects_degraded\":0,\"num_objects_missing_on_primary\":0,\"num_objects_unfound\":0}}}}"
        )
        .context("a string takes all that is written to it")?;
    }
    list.push(']');
    let standing: Vec<_> = (0..osds)
        .map(|osd| json!({ "osd": osd, "up": 1, "in": 1, "up_from": 50, "state": ["exists", "up"] }))
        .collect();
    let map = json!({ "epoch": 100, "osds": standing, "erasure_code_profiles": { "wide": { "k": "8", "m": "3" } }, "pools": [
        { "pool": 0, "pool_name": "rbd", "type": 1, "size": 3, "min_size": 2, "pg_num": groups - wide },
        { "pool": 1, "pool_name": "cold", "type": 3, "size": 11, "min_size": 9, "pg_num": wide, "erasure_code_profile": "wide" },
    ] });
    let tree = tree(machines_per_rack);
    Ok(Documents { list, map: map.to_string(), tree: tree.to_string(), osds })
}

/// Racks of machines of OSDs, numbered one after another.
fn tree(machines_per_rack: u32) -> Value {
    let rack_id = |rack: u32| -10 - i64::from(rack);
    let machine_id = |machine: u32| -1_000 - i64::from(machine);
    let racks: Vec<i64> = (0..RACKS).map(rack_id).collect();
    let mut nodes = vec![json!({ "id": -1, "name": "default", "type": "root", "children": racks })];
    for rack in 0..RACKS {
        let machines = rack * machines_per_rack..(rack + 1) * machines_per_rack;
        let below: Vec<i64> = machines.clone().map(machine_id).collect();
        nodes.push(
            json!({ "id": rack_id(rack), "name": format!("rack{rack}"), "type": "rack", "children": below }),
        );
        for machine in machines {
            let osds = machine * OSDS_PER_MACHINE..(machine + 1) * OSDS_PER_MACHINE;
            nodes.extend(osds.clone().map(|osd| json!({ "id": osd, "type": "osd" })));
            let below: Vec<u32> = osds.collect();
            nodes.push(json!({ "id": machine_id(machine), "name": format!("m{machine}"), "type": "host", "children": below }));
        }
    }
    json!({ "nodes": nodes })
}
