//! `ceph fs dump` (Jewel and later) and `ceph mds dump` (Hammer): the file systems, which MDS serves what of them, and which stand by.

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
    /// What each MDS that holds a rank is about: [`ACTIVE`] once it serves. Empty where an inventory is from before this was kept.
    #[serde(default)]
    pub states: BTreeMap<String, String>,
    /// The MDS that follow a rank.
    pub following: BTreeSet<String>,
    /// Which rank each of them follows.
    #[serde(default)]
    pub follows: BTreeMap<String, u32>,
    pub may_follow: bool,
    /// An MDS closes a session of which it has heard nothing for so long (`session_autoclose`).
    #[serde(default)]
    pub closes_sessions_after_s: Option<u32>,
}

/// The state of an MDS that serves its rank.
pub const ACTIVE: &str = "up:active";
/// After the state of one that the MONs have not heard of for a while.
const SILENT: &str = " (laggy)";

/// A session that a manager left when it ended. The MDS does not know, and keeps it until it has heard nothing for long enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftSession {
    pub mds: String,
    pub manager: String,
}

/// The MDS of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MdsMap {
    /// Those that have a rank. A cluster without a file system has none.
    pub filesystems: Vec<FileSystem>,
    /// Have no rank, and may take one over.
    pub standing_by: BTreeSet<String>,
    /// What was found of sessions, where somebody asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftSession>,
}

impl MdsMap {
    /// # Errors
    /// Not JSON, or another document.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let reading = Reading { kind: Kind::FsDump, file };
        let raw: Raw = reading.json(bytes)?;
        let maps: Vec<RawMap> = match raw.filesystems {
            Some(all) => all.into_iter().map(|one| one.mdsmap).collect(),
            None => vec![reading.json(bytes)?],
        };
        let heard = |mds: &RawMds| mds.state.as_deref() == Some("up:standby") && mds.laggy_since.is_none();
        let standbys = raw.standbys.unwrap_or_default();
        let standbys = standbys.into_iter().filter(heard).filter_map(|mds| mds.name);
        let mut whole = Self { standing_by: standbys.collect(), ..Self::default() };
        for (index, map) in maps.into_iter().enumerate() {
            let path = format!("filesystems[{index}].mdsmap");
            let ranks = map.ranks.ok_or_else(|| reading.other("in"))?;
            let max_mds = map.max_mds.and_then(Whole::u32);
            let max_mds = max_mds.ok_or_else(|| reading.field(&path, "it has no max_mds"))?;
            let mut one = FileSystem {
                name: map.fs_name.unwrap_or_else(|| "cephfs".to_owned()),
                max_mds,
                ranks: ranks.into_iter().filter_map(Whole::u32).collect(),
                holders: BTreeMap::new(),
                states: BTreeMap::new(),
                following: BTreeSet::new(),
                follows: BTreeMap::new(),
                may_follow: map
                    .flags
                    .and_then(Whole::bits)
                    .is_some_and(|flags| flags & ALLOW_STANDBY_REPLAY != 0),
                closes_sessions_after_s: map.session_autoclose.and_then(Whole::u32),
            };
            for (gid, mds) in map.info.unwrap_or_default() {
                let stands_by = heard(&mds);
                let name =
                    mds.name.ok_or_else(|| reading.field(format!("{path}.info.{gid}"), "it has no name"))?;
                let mut state = mds.state.unwrap_or_default();
                // Hammer lists those that stand by among the others, with the rank -1.
                let Some(rank) = mds.rank.and_then(Whole::u32) else {
                    whole.standing_by.extend(stands_by.then_some(name));
                    continue;
                };
                match state.as_str() {
                    "up:standby-replay" => {
                        one.following.insert(name.clone());
                        if mds.laggy_since.is_none() {
                            one.follows.insert(name, rank);
                        }
                    }
                    "up:standby" => {}
                    _ => {
                        if mds.laggy_since.is_some() {
                            state.push_str(SILENT);
                        }
                        one.states.insert(name.clone(), state);
                        one.holders.insert(name, rank);
                    }
                }
            }
            if !one.ranks.is_empty() {
                whole.filesystems.push(one);
            }
        }
        Ok(whole)
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    filesystems: Option<Vec<RawFs>>,
    standbys: Option<Vec<RawMds>>,
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
    session_autoclose: Option<Whole>,
    info: Option<BTreeMap<String, RawMds>>,
}

#[derive(Debug, Deserialize)]
struct RawMds {
    name: Option<String>,
    rank: Option<Whole>,
    state: Option<String>,
    /// Only of one that the MONs have not heard of for a while.
    laggy_since: Option<serde::de::IgnoredAny>,
}
