//! `ceph quorum_status`: the MONs, and which of them are in quorum.

use super::error::{DocumentError, Kind, Reading};
use super::json::{Addresses, Whole, ip_of};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The MONs of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumStatus {
    /// Every MON of the map, with its address.
    pub mons: BTreeMap<String, Option<IpAddr>>,
    pub in_quorum: BTreeSet<String>,
}

impl QuorumStatus {
    /// # Errors
    /// Not JSON, another document, or a quorum that its own map of MONs contradicts.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let reading = Reading { kind: Kind::QuorumStatus, file };
        let raw: Raw = reading.json(bytes)?;
        let listed = raw.monmap.and_then(|map| map.mons).ok_or_else(|| reading.other("monmap.mons"))?;
        let names = raw.quorum_names.ok_or_else(|| reading.other("quorum_names"))?;
        let mut mons = BTreeMap::new();
        let mut ranks = BTreeMap::new();
        for (index, mon) in listed.into_iter().enumerate() {
            let path = format!("monmap.mons[{index}].name");
            let name = mon.name.ok_or_else(|| reading.field(&path, "the MON has no name"))?;
            let one = mon.public_addr.as_deref().or(mon.addr.as_deref());
            if mons.insert(name.clone(), ip_of(mon.public_addrs.as_ref(), one)).is_some() {
                return Err(reading.field(path, format!("mon.{name} is there twice")));
            }
            if let Some(Whole(rank)) = mon.rank {
                ranks.insert(rank, name);
            }
        }
        let in_quorum: BTreeSet<String> = names.into_iter().collect();
        if let Some(stranger) = in_quorum.iter().find(|name| !mons.contains_key(*name)) {
            return Err(
                reading.field("quorum_names", format!("mon.{stranger} is in quorum and not in the map"))
            );
        }
        if let Some(quorum) = raw.quorum {
            let by_rank: BTreeSet<_> = quorum.iter().map(|rank| ranks.get(&rank.0)).collect();
            if by_rank != in_quorum.iter().map(Some).collect() {
                return Err(reading.field("quorum", "the ranks in quorum are not those of `quorum_names`"));
            }
        }
        Ok(Self { mons, in_quorum })
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    quorum: Option<Vec<Whole>>,
    quorum_names: Option<Vec<String>>,
    monmap: Option<RawMap>,
}

#[derive(Debug, Deserialize)]
struct RawMap {
    mons: Option<Vec<RawMon>>,
}

#[derive(Debug, Deserialize)]
struct RawMon {
    rank: Option<Whole>,
    name: Option<String>,
    addr: Option<String>,
    public_addr: Option<String>,
    public_addrs: Option<Addresses>,
}
