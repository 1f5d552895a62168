//! `ceph fs dump` (Jewel and later) and `ceph mds dump` (Hammer): the file systems, and which MDS serves what of them.

use super::error::{DocumentError, Kind, Reading};
use super::json::Whole;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// In an MDS map's flags: an MDS may follow a rank and replay its journal (src/include/ceph_fs.h `CEPH_MDSMAP_ALLOW_STANDBY_REPLAY`; Nautilus).
const ALLOW_STANDBY_REPLAY: u64 = 1 << 5;

/// One file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    pub name: String,
    /// How many ranks its owner wants.
    pub max_mds: u32,
    /// The ranks that it has, whether somebody holds them or not.
    pub ranks: BTreeSet<u32>,
    /// Each MDS that holds a rank, by its name.
    pub holders: BTreeMap<String, u32>,
    /// The MDS that follow a rank.
    pub following: BTreeSet<String>,
    pub may_follow: bool,
}

impl FileSystem {
    /// Those that have a rank, or are to have one. A cluster without a file system has none.
    ///
    /// # Errors
    /// Not JSON, or another document.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Self>, DocumentError> {
        let reading = Reading { kind: Kind::FsDump, file };
        let raw: Raw = reading.json(bytes)?;
        let maps: Vec<RawMap> = match raw.filesystems {
            Some(all) => all.into_iter().map(|one| one.mdsmap).collect(),
            None => vec![reading.json(bytes)?],
        };
        let mut all = Vec::new();
        for (index, map) in maps.into_iter().enumerate() {
            let path = format!("filesystems[{index}].mdsmap");
            let ranks = map.ranks.ok_or_else(|| reading.other("in"))?;
            let max_mds = map.max_mds.and_then(Whole::u32);
            let max_mds = max_mds.ok_or_else(|| reading.field(&path, "it has no max_mds"))?;
            let mut one = Self {
                name: map.fs_name.unwrap_or_else(|| "cephfs".to_owned()),
                max_mds,
                ranks: ranks.into_iter().filter_map(Whole::u32).collect(),
                holders: BTreeMap::new(),
                following: BTreeSet::new(),
                may_follow: map
                    .flags
                    .and_then(Whole::bits)
                    .is_some_and(|flags| flags & ALLOW_STANDBY_REPLAY != 0),
            };
            for (gid, mds) in map.info.unwrap_or_default() {
                let name =
                    mds.name.ok_or_else(|| reading.field(format!("{path}.info.{gid}"), "it has no name"))?;
                let state = mds.state.unwrap_or_default();
                // Hammer lists those that stand by among the others, with the rank -1.
                let Some(rank) = mds.rank.and_then(Whole::u32) else { continue };
                match state.as_str() {
                    "up:standby-replay" => {
                        one.following.insert(name);
                    }
                    "up:standby" => {}
                    _ => {
                        one.holders.insert(name, rank);
                    }
                }
            }
            if !one.ranks.is_empty() {
                all.push(one);
            }
        }
        Ok(all)
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    filesystems: Option<Vec<RawFs>>,
}

#[derive(Debug, Deserialize)]
struct RawFs {
    mdsmap: RawMap,
}

#[derive(Debug, Deserialize)]
struct RawMap {
    fs_name: Option<String>,
    max_mds: Option<Whole>,
    #[serde(rename = "in")]
    ranks: Option<Vec<Whole>>,
    flags: Option<Whole>,
    info: Option<BTreeMap<String, RawMds>>,
}

#[derive(Debug, Deserialize)]
struct RawMds {
    name: Option<String>,
    rank: Option<Whole>,
    state: Option<String>,
}
