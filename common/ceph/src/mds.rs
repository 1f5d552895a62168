//! Whether an MDS may stop, and whether one is back: what its file systems need of it.
//!
//! An MDS holds no data, and another takes its rank over in seconds, unless none is there, or the one that took over last is not done yet: until then the
//! clients of the file system wait.

use crate::documents::{ACTIVE, FileSystem, MdsMap};
use std::collections::BTreeSet;
use std::fmt;

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MdsMiss {
    /// `held`: by which MDS, and what that one is about.
    NotActive {
        filesystem: String,
        rank: u32,
        held: Option<(String, String)>,
    },
    NobodyStandsBy {
        filesystem: String,
        rank: u32,
        holder: String,
    },
    /// The MONs have not heard of it since it started.
    NotBack {
        mds: String,
    },
}

impl fmt::Display for MdsMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotActive { filesystem, rank, held: Some((mds, state)) } => {
                write!(
                    f,
                    "rank {rank} of the file system {filesystem} is not active: mds.{mds}, which holds it, is {state}"
                )
            }
            Self::NotActive { filesystem, rank, held: None } => {
                write!(f, "rank {rank} of the file system {filesystem} is not active: no MDS holds it")
            }
            Self::NobodyStandsBy { filesystem, rank, holder } => write!(
                f,
                "mds.{holder} holds rank {rank} of the file system {filesystem}, and no other MDS stands by to take it over"
            ),
            Self::NotBack { mds } => write!(f, "mds.{mds} is not in the map of MDS yet"),
        }
    }
}

/// The ranks that nobody serves now.
pub fn not_active(map: &MdsMap) -> Vec<MdsMiss> {
    map.filesystems.iter().flat_map(not_active_of).collect()
}

/// The ranks of one file system that nobody serves now.
pub fn not_active_of(one: &FileSystem) -> impl Iterator<Item = MdsMiss> {
    one.ranks.iter().filter_map(move |rank| {
        let mut holders = one.holders.iter().filter(|(_, held)| *held == rank).map(|(name, _)| name);
        let holder = holders.next();
        let state =
            holder.map(|name| one.states.get(name).map_or("in a state that is not told", String::as_str));
        if state == Some(ACTIVE) {
            return None;
        }
        let held = holder.zip(state).map(|(name, state)| (name.clone(), state.to_owned()));
        Some(MdsMiss::NotActive { filesystem: one.name.clone(), rank: *rank, held })
    })
}

/// What keeps these MDS from stopping together: a rank that nobody serves, whoever holds it, and one of theirs that nobody would take over.
pub fn may_stop(map: &MdsMap, mds: &BTreeSet<String>) -> Vec<MdsMiss> {
    let mut misses = not_active(map);
    let mut free: BTreeSet<&String> = map.standing_by.difference(mds).collect();
    for one in &map.filesystems {
        for (holder, rank) in one.holders.iter().filter(|(holder, _)| mds.contains(*holder)) {
            let follows = |name: &String| one.follows.get(name) == Some(rank) && !mds.contains(name);
            // Whoever stands by takes over one rank.
            if !one.follows.keys().any(follows) && free.pop_first().is_none() {
                let (filesystem, rank, holder) = (one.name.clone(), *rank, holder.clone());
                misses.push(MdsMiss::NobodyStandsBy { filesystem, rank, holder });
            }
        }
    }
    misses
}

/// What is missing until these MDS are back: each is known to the MONs again, and every rank is served.
pub fn are_back(map: &MdsMap, mds: &BTreeSet<String>) -> Vec<MdsMiss> {
    let known = |name: &String| {
        let serves = |one: &FileSystem| one.holders.contains_key(name) || one.following.contains(name);
        map.standing_by.contains(name) || map.filesystems.iter().any(serves)
    };
    let absent = mds.iter().filter(|name| !known(name)).map(|mds| MdsMiss::NotBack { mds: mds.clone() });
    absent.chain(not_active(map)).collect()
}
