//! The definition, read off the documents group by group. Slow, plain, and nothing of the library's.
//!
//! A set of OSDs may stop when
//! 1. no other OSD is down while data is placed on it,
//! 2. each pool has exactly `pg_num` groups in the list, and each group is of a pool,
//! 3. every group with a member in the set, in `up` or `acting`, is active and in peace, none of its copies is in doubt,
//!    and without the set there are max(`min_size`, d) members of `acting` that are up and miss nothing,
//! 4. if MONs are looked at: those on machines of the set are on one machine, and the others in quorum are more than half.
//!
//! Where one of these is not known, the answer is that nobody can tell, unless another is known not to hold.

use super::cluster::Cluster;
use serde_json::Value;
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Yes,
    No,
    CannotTell,
}

/// Both lists are counted; a no is a no whatever else is in doubt.
#[derive(Default)]
struct Tally {
    against: usize,
    doubts: usize,
}

impl Tally {
    fn no(&mut self, if_so: bool) {
        self.against += usize::from(if_so);
    }
    fn doubt(&mut self, if_so: bool) {
        self.doubts += usize::from(if_so);
    }
    fn word(&self) -> Word {
        match (self.against, self.doubts) {
            (0, 0) => Word::Yes,
            (0, _) => Word::CannotTell,
            _ => Word::No,
        }
    }
}

pub fn may_stop(cluster: &Cluster, set: &BTreeSet<u32>) -> Word {
    let mut tally = Tally::default();
    let groups = groups_of(&cluster.pgs);
    let counted_under = cluster.pgs["last_osdmap_epoch"]
        .as_u64()
        .or_else(|| cluster.pgs["pg_map"]["last_osdmap_epoch"].as_u64());
    tally.doubt(counted_under.is_some_and(|epoch| epoch > cluster.osds["epoch"].as_u64().unwrap()));
    for osd in cluster.osds["osds"].as_array().unwrap() {
        let number = u32::try_from(osd["osd"].as_u64().unwrap()).unwrap();
        if set.contains(&number) {
            continue;
        }
        match (is_up(osd), osd.get("in").map(|placed| placed == 1)) {
            (None, _) | (Some(false), None) => tally.doubt(true),
            (Some(up), placed) => tally.no(!up && placed == Some(true)),
        }
    }
    for pool in cluster.osds["pools"].as_array().unwrap() {
        let prefix = format!("{}.", pool["pool"]);
        let listed =
            groups.iter().filter(|group| group["pgid"].as_str().unwrap().starts_with(&prefix)).count();
        tally.doubt(listed as u64 != pool["pg_num"].as_u64().unwrap());
    }
    for group in groups {
        judge(cluster, group, set, &mut tally);
    }
    if let Some(status) = &cluster.quorum {
        mons(cluster, status, set, &mut tally);
    }
    tally.word()
}

fn groups_of(list: &Value) -> &Vec<Value> {
    list.as_array()
        .or_else(|| list["pg_stats"].as_array())
        .or_else(|| list["pg_map"]["pg_stats"].as_array())
        .unwrap()
}

/// `None`: said in two ways.
fn is_up(osd: &Value) -> Option<bool> {
    let by_field = osd["up"] == 1;
    let by_state = osd["state"].as_array().unwrap().iter().any(|state| state == "up");
    (by_field == by_state).then_some(by_field)
}

fn members(list: &Value) -> BTreeSet<u32> {
    let numbers = list.as_array().unwrap().iter().map(|osd| u32::try_from(osd.as_u64().unwrap()).unwrap());
    numbers.filter(|osd| *osd != 2_147_483_647).collect()
}

fn judge(cluster: &Cluster, group: &Value, set: &BTreeSet<u32>, tally: &mut Tally) {
    let (up, acting) = (members(&group["up"]), members(&group["acting"]));
    if up.is_empty() && acting.is_empty() {
        tally.doubt(true);
        return;
    }
    let everybody: BTreeSet<u32> = up.union(&acting).copied().collect();
    if everybody.is_disjoint(set) {
        return;
    }
    let words: Vec<&str> = group["state"].as_str().unwrap().split('+').collect();
    let says = |word: &str| words.contains(&word);
    let pool = group["pgid"].as_str().unwrap().split('.').next().unwrap();
    let pools = cluster.osds["pools"].as_array().unwrap();
    let Some(pool) = pools.iter().find(|candidate| candidate["pool"].as_u64() == pool.parse().ok()) else {
        return tally.doubt(true);
    };
    let Some(needed) = needed(cluster, pool) else { return tally.doubt(true) };
    // Words that say nothing, or nothing that is understood.
    if ["", "unknown", "inactive", "novel_word", "stale"].iter().any(|word| says(word)) {
        return tally.doubt(true);
    }
    let peace = ["peering", "peered", "down", "incomplete", "creating", "activating", "wait", "laggy"];
    if !says("active") || peace.iter().any(|word| says(word)) {
        return tally.no(true);
    }
    let counts = group.get("stat_sum").filter(|_| group["stats_invalid"] == "0");
    let count = |name: &str| counts.map(|counts| counts[name].as_u64().unwrap());
    let doubtful = says("inconsistent")
        || says("recovery_unfound")
        || count("num_objects_unfound").is_some_and(|n| n > 0);
    if doubtful {
        return tally.no(true);
    }
    if acting.is_empty() {
        return tally.doubt(true);
    }
    let osds = cluster.osds["osds"].as_array().unwrap();
    let find = |number: &u32| osds.iter().find(|osd| osd["osd"] == *number);
    let reported: Option<u64> =
        group.get("reported_epoch").map(|epoch| epoch.as_str().unwrap().parse().unwrap());
    for member in &everybody {
        let Some(osd) = find(member) else { return tally.doubt(true) };
        let came = osd["up_from"].as_u64().unwrap();
        if is_up(osd) == Some(true) && reported.is_some_and(|reported| came > reported) {
            return tally.doubt(true);
        }
    }
    let missing =
        count("num_objects_degraded").zip(count("num_objects_missing_on_primary")).map(|(a, b)| a + b);
    let mending = ["degraded", "undersized", "recovering", "recovery_wait"].iter().any(|word| says(word));
    let moving = words.iter().any(|word| word.contains("backfill"));
    let named: Option<BTreeSet<String>> = group.get("avail_no_missing").map(|list| {
        let osd = |shard: &Value| shard.as_str().unwrap().split('(').next().unwrap().to_owned();
        list.as_array().unwrap().iter().map(osd).collect()
    });
    let complete: BTreeSet<u32> = match named {
        Some(named) if !named.is_empty() => {
            acting.into_iter().filter(|osd| named.contains(&osd.to_string())).collect()
        }
        // All is well, and the counts do not say otherwise.
        _ if says("clean") && !mending && !moving && missing.unwrap_or(0) == 0 => acting,
        None if !mending && missing == Some(0) => acting,
        _ => return tally.doubt(true),
    };
    let left =
        complete.iter().filter(|osd| !set.contains(osd) && find(osd).and_then(is_up) == Some(true)).count();
    tally.no((left as u64) < needed);
}

/// max(`min_size`, d).
fn needed(cluster: &Cluster, pool: &Value) -> Option<u64> {
    let name = pool["pool_name"].as_str().unwrap();
    let consented = cluster.consents.iter().any(|consent| consent == name);
    let (size, min_size) = (pool["size"].as_u64().unwrap(), pool["min_size"].as_u64().unwrap());
    let (d, none_without_consent) = if pool["type"] == 1 {
        match size {
            1 => (0, true),
            2 => (1, true),
            _ => (2, false),
        }
    } else {
        let said = cluster.osds["erasure_code_profiles"].get(name);
        let (k, m) = match said {
            Some(code) => {
                let number = |key: &str| code[key].as_str().unwrap().parse::<u64>().unwrap();
                (number("k"), number("m"))
            }
            // At the least what min_size allows.
            None => (min_size, size - min_size),
        };
        match m {
            0 => return None,
            1 => (k, true),
            _ => (k + 1, false),
        }
    };
    Some(match (none_without_consent, consented, size) {
        // Nothing may go.
        (true, false, _) => size.max(min_size),
        // The one copy goes, as agreed.
        (true, true, 1) if pool["type"] == 1 => 0,
        _ => d.max(min_size),
    })
}

fn mons(cluster: &Cluster, status: &Value, set: &BTreeSet<u32>, tally: &mut Tally) {
    let machine = |address: &Value| address.as_str().unwrap().split(':').next().unwrap().to_owned();
    let osds = cluster.osds["osds"].as_array().unwrap().iter();
    let stopping = osds.filter(|osd| set.contains(&u32::try_from(osd["osd"].as_u64().unwrap()).unwrap()));
    let machines: BTreeSet<String> = stopping.map(|osd| machine(&osd["public_addr"])).collect();
    let mons = status["monmap"]["mons"].as_array().unwrap();
    let gone: Vec<&Value> = mons.iter().filter(|mon| machines.contains(&machine(&mon["addr"]))).collect();
    if gone.is_empty() {
        return;
    }
    let quorum = status["quorum_names"].as_array().unwrap();
    let left = quorum.iter().filter(|name| !gone.iter().any(|mon| mon["name"] == **name)).count();
    tally.no(2 * left <= mons.len());
    let places: BTreeSet<String> = gone.iter().map(|mon| machine(&mon["addr"])).collect();
    tally.no(places.len() > 1);
}
