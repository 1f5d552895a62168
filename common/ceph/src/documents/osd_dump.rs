//! `ceph osd dump`: the pools with their redundancy, and every OSD with its standing.
//!
//! Hammer and Jewel say `crush_ruleset` where later releases say `crush_rule`; `features` may be a signed number; `public_addrs` came with
//! Nautilus; `erasure_code_profiles` is there in all of them, with its numbers as text.

use super::error::{DocumentError, Kind, Reading};
use super::json::{Addresses, Text, Truth, Whole, ip_of};
use crate::{OsdId, PoolId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The OSD map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsdDump {
    pub epoch: u32,
    pub fsid: Option<String>,
    pub flags: BTreeSet<String>,
    /// `luminous` and later; `None` before.
    pub require_osd_release: Option<String>,
    pub pools: BTreeMap<PoolId, Pool>,
    /// Those that exist.
    pub osds: BTreeMap<OsdId, Osd>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub id: PoolId,
    pub name: String,
    pub kind: PoolKind,
    pub size: Option<u32>,
    pub min_size: Option<u32>,
    pub pg_num: Option<u32>,
    /// `None` when it is said in both ways, differently.
    pub rule: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    Replicated,
    /// `None`: its profile is not in the map.
    Erasure(Option<Profile>),
    /// A type that no release known here makes, or none.
    Unknown,
}

/// How an erasure-coded pool spreads an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub name: String,
    /// `jerasure`, `isa`, `clay`, `lrc`, `shec`.
    pub plugin: String,
    pub k: u32,
    pub m: u32,
    /// `shec` only: how many losses it mends, which is less than m.
    pub c: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Osd {
    /// `None`: the field and the list of states disagree, or neither is there.
    pub up: Option<bool>,
    /// Data is placed on it. `None`: it is not said.
    pub placed: Option<bool>,
    /// The epoch at which it came up last.
    pub up_from: Option<u32>,
    /// Where it is reached; daemons of one machine share it.
    pub address: Option<IpAddr>,
    pub destroyed: bool,
    /// The feature bits of its last boot: the only word on its release before Luminous.
    pub features: Option<u64>,
}

impl OsdDump {
    /// # Errors
    /// Not JSON, another document, or a pool or OSD without its number or twice.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let reading = Reading { kind: Kind::OsdDump, file };
        let raw: RawDump = reading.json(bytes)?;
        let (Some(pools), Some(osds)) = (raw.pools, raw.osds) else {
            return Err(reading.other("pools` with `osds"));
        };
        let Some(epoch) = raw.epoch.and_then(Whole::u32) else {
            return Err(reading.field("epoch", "the map has no epoch"));
        };
        let mut dump = Self {
            epoch,
            fsid: raw.fsid,
            flags: flags(raw.flags.as_deref(), raw.flags_set),
            require_osd_release: raw.require_osd_release,
            pools: BTreeMap::new(),
            osds: BTreeMap::new(),
        };
        for (index, pool) in pools.into_iter().enumerate() {
            let path = format!("pools[{index}].pool");
            let id = pool.pool.and_then(Whole::u32).map(PoolId);
            let id = id.ok_or_else(|| reading.field(&path, "the pool has no number"))?;
            if dump.pools.insert(id, pool.mean(id, &raw.erasure_code_profiles)).is_some() {
                return Err(reading.field(path, format!("the pool {} is there twice", id.0)));
            }
        }
        let features: BTreeMap<u32, u64> =
            raw.osd_xinfo.iter().filter_map(|x| Some((x.osd?.u32()?, x.features?.bits()?))).collect();
        for (index, osd) in osds.into_iter().enumerate() {
            let path = format!("osds[{index}].osd");
            let id = osd.osd.and_then(Whole::u32).map(OsdId);
            let id = id.ok_or_else(|| reading.field(&path, "the OSD has no number"))?;
            if dump.osds.insert(id, osd.mean(features.get(&id.0).copied())).is_some() {
                return Err(reading.field(path, format!("{id} is there twice")));
            }
        }
        Ok(dump)
    }

    /// The pool of that name, or of that number if no name fits.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        let by_name = self.pools.values().find(|pool| pool.name == name);
        by_name.or_else(|| name.parse().ok().and_then(|number| self.pools.get(&PoolId(number))))
    }
}

/// Jewel and before have only the text; a text that is absent leaves the list.
fn flags(text: Option<&str>, list: Option<Vec<String>>) -> BTreeSet<String> {
    match text {
        Some(text) => text.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect(),
        None => list.unwrap_or_default().into_iter().collect(),
    }
}

#[derive(Debug, Deserialize)]
struct RawDump {
    epoch: Option<Whole>,
    fsid: Option<String>,
    flags: Option<String>,
    flags_set: Option<Vec<String>>,
    require_osd_release: Option<String>,
    pools: Option<Vec<RawPool>>,
    osds: Option<Vec<RawOsd>>,
    #[serde(default)]
    osd_xinfo: Vec<RawXinfo>,
    #[serde(default)]
    erasure_code_profiles: BTreeMap<String, BTreeMap<String, Text>>,
}

#[derive(Debug, Deserialize)]
struct RawPool {
    pool: Option<Whole>,
    pool_name: Option<String>,
    r#type: Option<Whole>,
    size: Option<Whole>,
    min_size: Option<Whole>,
    pg_num: Option<Whole>,
    crush_rule: Option<Whole>,
    crush_ruleset: Option<Whole>,
    erasure_code_profile: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawOsd {
    osd: Option<Whole>,
    up: Option<Truth>,
    r#in: Option<Truth>,
    up_from: Option<Whole>,
    public_addr: Option<String>,
    public_addrs: Option<Addresses>,
    state: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct RawXinfo {
    osd: Option<Whole>,
    features: Option<Whole>,
}

impl RawPool {
    fn mean(self, id: PoolId, profiles: &BTreeMap<String, BTreeMap<String, Text>>) -> Pool {
        let kind = match self.r#type {
            Some(Whole(1)) => PoolKind::Replicated,
            Some(Whole(3)) => {
                let name = self.erasure_code_profile.filter(|name| !name.is_empty());
                PoolKind::Erasure(name.and_then(|name| profile(&name, profiles.get(&name)?)))
            }
            Some(Whole(_)) | None => PoolKind::Unknown,
        };
        let rule = match (self.crush_rule.and_then(Whole::u32), self.crush_ruleset.and_then(Whole::u32)) {
            (Some(rule), Some(ruleset)) if rule != ruleset => None,
            (rule, ruleset) => rule.or(ruleset),
        };
        Pool {
            id,
            name: self.pool_name.unwrap_or_else(|| id.0.to_string()),
            kind,
            size: self.size.and_then(Whole::u32),
            min_size: self.min_size.and_then(Whole::u32),
            pg_num: self.pg_num.and_then(Whole::u32),
            rule,
        }
    }
}

/// `None` when k or m is not said, or is no number.
fn profile(name: &str, said: &BTreeMap<String, Text>) -> Option<Profile> {
    let number = |key: &str| said.get(key).and_then(|Text(text)| text.trim().parse().ok());
    let plugin = said.get("plugin").map_or_else(|| "jerasure".to_owned(), |Text(text)| text.clone());
    Some(Profile { name: name.to_owned(), plugin, k: number("k")?, m: number("m")?, c: number("c") })
}

impl RawOsd {
    fn mean(self, features: Option<u64>) -> Osd {
        let states = self.state.unwrap_or_default();
        let has = |word: &str| states.iter().any(|state| state == word);
        let up = match (self.up, states.is_empty()) {
            (Some(Truth(up)), true) => Some(up),
            (Some(Truth(up)), false) => (up == has("up")).then_some(up),
            (None, true) => None,
            (None, false) => Some(has("up")),
        };
        Osd {
            up,
            placed: self.r#in.map(|Truth(placed)| placed),
            up_from: self.up_from.and_then(Whole::u32),
            address: ip_of(self.public_addrs.as_ref(), self.public_addr.as_deref()),
            destroyed: has("destroyed"),
            features,
        }
    }
}
