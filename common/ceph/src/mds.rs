//! Whether an MDS may stop, and whether one is back: what its file systems need of it.
//!
//! An MDS holds no data, and another takes its rank over in seconds, unless none is there, or the one that took over last is not done yet: until then the
//! clients of the file system wait.
//!
//! Whoever takes a rank over, or comes back to it, waits for every client that had a session before, up to `mds_reconnect_timeout`, and all others wait with it. From
//! Nautilus on the active manager mounts the file systems (src/pybind/mgr/volumes), and one that makes way for another begins anew without ending its sessions (src/mgr/MgrStandby.cc `respawn`).
//! So a change of managers would make the next change of an MDS a long one, unless a MON closed those sessions (from Octopus on, where managers tell of them) or the MDS itself did.

use crate::documents::{ACTIVE, FileSystem, LeftSession, Managers, MdsMap, Session};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// `session_autoclose` where a map does not tell (src/mds/MDSMap.h).
const CLOSES_AFTER_S: u32 = 300;
/// An MDS looks for sessions to close every `mds_tick_interval`, 5 s.
const TICKS: Duration = Duration::from_secs(10);

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
    /// Whoever serves the rank next waits for a manager that is gone.
    SessionLeft {
        filesystem: String,
        rank: u32,
        left: LeftSession,
        closes_after_s: u32,
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
            Self::SessionLeft { filesystem, rank, left: LeftSession { mds, manager }, closes_after_s } => {
                write!(
                    f,
                    "mds.{mds} holds rank {rank} of the file system {filesystem} and still has a session that mgr.{manager} left when it ended, \
                 which whoever serves the rank next would wait for, and all clients with it; the MDS closes it {closes_after_s} s after that end"
                )
            }
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

/// What keeps these MDS from stopping together: a rank that nobody serves, whoever holds it; one of theirs that nobody would take over, unless they are `alone` and come back to it
/// themselves; and a session of theirs that a manager left.
pub fn may_stop(map: &MdsMap, mds: &BTreeSet<String>, alone: bool) -> Vec<MdsMiss> {
    let mut misses = not_active(map);
    let mut free: BTreeSet<&String> = map.standing_by.difference(mds).collect();
    for one in &map.filesystems {
        for (holder, rank) in one.holders.iter().filter(|(holder, _)| mds.contains(*holder)) {
            let follows = |name: &String| one.follows.get(name) == Some(rank) && !mds.contains(name);
            // Whoever stands by takes over one rank.
            if !alone && !one.follows.keys().any(follows) && free.pop_first().is_none() {
                let (filesystem, rank, holder) = (one.name.clone(), *rank, holder.clone());
                misses.push(MdsMiss::NobodyStandsBy { filesystem, rank, holder });
            }
            misses.extend(map.left.iter().filter(|left| left.mds == *holder).map(|left| {
                MdsMiss::SessionLeft {
                    filesystem: one.name.clone(),
                    rank: *rank,
                    left: left.clone(),
                    closes_after_s: closes_after_s(one),
                }
            }));
        }
    }
    misses
}

fn closes_after_s(one: &FileSystem) -> u32 {
    one.closes_sessions_after_s.unwrap_or(CLOSES_AFTER_S)
}

/// The MDS whose sessions may be of managers that are gone: those that serve a file system, while the last change of managers, `ago`, is younger than what was left then can be.
pub fn to_be_asked<'a>(map: &'a MdsMap, managers: &Managers, ago: Duration) -> Vec<&'a str> {
    let may_be_there =
        |one: &&FileSystem| ago < Duration::from_secs(closes_after_s(one).into()).saturating_add(TICKS);
    let serve = |one: &'a FileSystem| {
        one.states.iter().filter(|(_, state)| *state == ACTIVE).map(|(name, _)| name.as_str())
    };
    map.filesystems.iter().filter(|_| managers.mounts).filter(may_be_there).flat_map(serve).collect()
}

/// The sessions of an MDS that managers left: of a manager's name, and older than the last change of managers, `ago`. A client that is only called as a manager is, is taken for one as
/// long as [`to_be_asked`] names its MDS, and no longer.
pub fn left(mds: &str, sessions: &[Session], managers: &Managers, ago: Duration) -> Vec<LeftSession> {
    let is_left = |session: &&Session| {
        managers.names.contains(&session.of) && session.up_for.is_some_and(|up_for| up_for > ago)
    };
    let owners: BTreeSet<&String> = sessions.iter().filter(is_left).map(|session| &session.of).collect();
    let left = |manager: &String| LeftSession { mds: mds.to_owned(), manager: manager.clone() };
    owners.into_iter().map(left).collect()
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
