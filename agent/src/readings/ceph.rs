//! What is measured of a Ceph cluster, and of its daemons on this host.
//!
//! Each answer is a value of `replank_ceph::seen`, cut down to what was asked about. Where two documents belong together they are taken in the order in which a change
//! between them is seen as trouble and not overlooked: the list of groups before the map for a stop, the map before the list for settling.

use super::cannot_tell;
use crate::host::Host;
use crate::host::ceph::{Ceph, CephError, Daemon, daemons, installed_version};
use crate::host::command::CommandError;
use crate::host::systemd::SystemdError;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use procfs::process::Process;
use replank_ceph::OsdId;
use replank_ceph::documents::{
    FileSystem, Health, LeftSession, Managers, MdsMap, OsdDump, Session, read_versions, version_number,
};
use replank_ceph::mds;
use replank_ceph::require::second_messenger;
use replank_ceph::seen::{Cluster, Groups, LOOKING_MS, LOOKS_APART_MS, Look, Map, Seen, Settle};
use replank_ceph::settled::Unsettled;
use replank_common::ceph::CephDaemon;
use replank_common::reading::{CephDaemonSeen, ReadingValue};
use replank_common::version::Version;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[cfg(test)]
#[path = "ceph_tests.rs"]
mod tests;

/// Asked for a report each by a command of its own, which takes the better part of a second of a processor.
const FEW_REPORTERS: usize = 4;
/// Asked for a report by one command, which takes them one after the other.
const FEW_OSDS: usize = 64;
/// Between two looks of which the first missed something. A look itself takes a second or two.
const PAUSE: Duration = Duration::from_millis(300);

fn seen(answer: Result<Seen, CephError>) -> ReadingValue {
    match answer {
        Ok(seen) => ReadingValue::Ceph(seen.to_text()),
        Err(error) => cannot_tell(error),
    }
}

fn set(osds: &[u32]) -> BTreeSet<OsdId> {
    osds.iter().copied().map(OsdId).collect()
}

pub(super) fn stop(ceph: &Ceph<'_>, osds: &[u32]) -> ReadingValue {
    seen(ceph.stop(set(osds)).map(|stop| Seen::Stop(Box::new(stop))))
}

pub(super) fn map(ceph: &Ceph<'_>) -> ReadingValue {
    let look = || {
        let osds = ceph.osd_dump()?;
        let metadata = ceph.osd_metadata(&osds)?;
        let second_messenger = second_messenger(&ceph.ask(&["mon", "dump"])?);
        Ok(Seen::Map(Box::new(Map { osds, metadata, second_messenger })))
    };
    seen(look())
}

pub(super) fn mons(ceph: &Ceph<'_>) -> ReadingValue {
    seen(ceph.quorum().map(Seen::Mons))
}

/// With what of sessions is to be known of those that are about to stop.
pub(super) fn mds(ceph: &Ceph<'_>, stopping: &[String]) -> ReadingValue {
    let look = || {
        let mut map = mds_of(ceph)?;
        map.left = left_sessions(ceph, &map, stopping)?;
        Ok(Seen::Mds(map))
    };
    seen(look())
}

/// The sessions that managers left with MDS of these names. A list of sessions is taken from an MDS at its work, so one is asked only where there can be such sessions.
fn left_sessions(ceph: &Ceph<'_>, map: &MdsMap, stopping: &[String]) -> Result<Vec<LeftSession>, CephError> {
    let serves = |name: &String| map.filesystems.iter().any(|one| one.holders.contains_key(name));
    if !stopping.iter().any(serves) {
        return Ok(Vec::new());
    }
    let managers = match ceph.ask(&["mgr", "dump"]) {
        Ok(answer) => Managers::read("ceph mgr dump", &answer)?,
        // Before Luminous there is no such command, and no manager.
        Err(error) if error.answered_no() == Some("EINVAL") => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let Some(ago) = managers.active_for(Timestamp::now(), &TimeZone::system()) else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    for name in mds::to_be_asked(map, &managers, ago) {
        if stopping.iter().any(|stops| stops == name) {
            let of = format!("mds.{name}");
            let answer = ceph.ask(&["tell", &of, "session", "ls"])?;
            let sessions = Session::read_all(&format!("ceph tell {of} session ls"), &answer)?;
            left.extend(mds::left(name, &sessions, &managers, ago));
        }
    }
    Ok(left)
}

fn mds_of(ceph: &Ceph<'_>) -> Result<MdsMap, CephError> {
    // Hammer has one file system at most, and no command of the other name.
    let answer = match ceph.ask(&["fs", "dump"]) {
        Err(CephError::Tool(CommandError::Failed { .. })) => ceph.ask(&["mds", "dump"])?,
        answer => answer?,
    };
    Ok(MdsMap::read("ceph fs dump", &answer)?)
}

pub(super) fn groups(ceph: &Ceph<'_>) -> ReadingValue {
    seen(ceph.pg_dump().map(|pgs| Seen::Groups(Groups::new(&pgs))))
}

pub(super) fn health(ceph: &Ceph<'_>) -> ReadingValue {
    seen(health_of(ceph).map(Seen::Health))
}

fn health_of(ceph: &Ceph<'_>) -> Result<Health, CephError> {
    Ok(Health::read("ceph health", &ceph.ask(&["health", "detail"])?)?)
}

/// Looks until nothing is missing, having the last groups reported at once instead of within 5 s, and once more as soon as that counts; or for as long as one looks at most.
pub(super) fn settle(ceph: &Ceph<'_>, osds: &[u32], version: &Version) -> ReadingValue {
    settle_within(ceph, osds, version, Duration::from_millis(LOOKING_MS))
}

fn settle_within(ceph: &Ceph<'_>, osds: &[u32], version: &Version, most: Duration) -> ReadingValue {
    let (of, began) = (set(osds), Instant::now());
    let look = || {
        let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let map = ceph.osd_dump()?;
        let metadata = ceph.osd_metadata(&map)?;
        let count = map.osds.len();
        Ok::<_, CephError>((Look::new(after_ms, map, metadata, ceph.pg_dump()?, &of), count))
    };
    let mut first: Option<Look> = None;
    let mut may_hurry = true;
    loop {
        let (now, count) = match look() {
            Ok(now) => now,
            Err(error) => return cannot_tell(error),
        };
        let misses = now.misses(&of, version);
        match (first.take(), misses.is_empty()) {
            // The second good look, late enough: the pause below saw to that.
            (Some(first), true) => return seen(Ok(Seen::Settle(Settle { looks: vec![first, now] }))),
            (None, true) => {
                // One that has begun to be clean is looked at to the end, whatever the time.
                let again_ms = now.after_ms + LOOKS_APART_MS;
                std::thread::sleep(Duration::from_millis(again_ms).saturating_sub(began.elapsed()));
                first = Some(now);
            }
            (_, false) if began.elapsed() >= most => {
                return seen(Ok(Seen::Settle(Settle { looks: vec![now] })));
            }
            (_, false) => {
                let silent = late_reporters(&now, &misses, count);
                may_hurry = may_hurry && hurry(ceph, &silent);
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Whose report is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Reporters {
    These(BTreeSet<OsdId>),
    All,
    /// So many that they will have reported by themselves before all are asked.
    TooMany,
}

/// The OSDs that lead the groups which a look misses, and so are the ones that report them, which they do every 5 s by themselves.
fn late_reporters(look: &Look, misses: &[Unsettled], osds: usize) -> Reporters {
    let mut late = BTreeSet::new();
    let mut unreported = false;
    for miss in misses {
        let pg = match miss {
            // Its groups have nobody who could tell news of them.
            Unsettled::OsdDown { .. } | Unsettled::OsdNotBack { .. } | Unsettled::OsdVersion { .. } => {
                return Reporters::TooMany;
            }
            Unsettled::PgMapOld { .. } | Unsettled::PgAbsent { .. } => continue,
            Unsettled::PgNotReported { pg, .. } => {
                unreported = true;
                pg
            }
            Unsettled::PgNotClean { pg, .. } | Unsettled::PgElsewhere { pg } => pg,
        };
        let group = look.pgs.pgs.iter().find(|group| group.id == *pg);
        late.extend(group.and_then(|group| group.acting.as_ref()?.first()));
    }
    match late.len() {
        0..=FEW_REPORTERS => Reporters::These(late),
        _ if unreported && osds <= FEW_OSDS => Reporters::All,
        _ => Reporters::TooMany,
    }
}

/// Has them report now. `false`: it failed, and trying again would only take time; they report by themselves soon.
fn hurry(ceph: &Ceph<'_>, late: &Reporters) -> bool {
    match late {
        Reporters::TooMany => true,
        Reporters::All => ceph.flush_pg_stats("osd.*").is_ok(),
        Reporters::These(late) => std::thread::scope(|scope| {
            let one = |osd: &OsdId| {
                let name = osd.to_string();
                scope.spawn(move || ceph.flush_pg_stats(&name).is_ok())
            };
            let asked: Vec<_> = late.iter().map(one).collect();
            // Every one is waited for, also after one that failed.
            let answers: Vec<bool> = asked.into_iter().map(|thread| thread.join().unwrap_or(false)).collect();
            answers.into_iter().all(|answered| answered)
        }),
    }
}

pub(super) fn own_daemons(host: &Host) -> ReadingValue {
    match daemons(host).iter().map(|daemon| of_daemon(host, daemon)).collect() {
        Ok(all) => ReadingValue::CephDaemons(all),
        Err(error) => cannot_tell(error),
    }
}

/// One daemon of this host as it is now.
///
/// # Errors
/// systemd does not answer.
pub fn of_daemon(host: &Host, name: &CephDaemon) -> Result<CephDaemonSeen, SystemdError> {
    let daemon = Daemon::new(host, name);
    let running = daemon.running()?;
    let process = running.map(crate::host::ceph::Identity::process);
    let mut detail = Vec::new();
    let mut known = |version: Result<Version, String>| version.map_err(|why| detail.push(why)).ok();
    let running_version =
        process.and_then(|_| known(Ceph::new(host).running_version(name).map_err(|error| error.to_string())));
    let installed_version = known(installed_version(host, name.kind));
    let executable_deleted = process.is_some_and(|process| {
        let process = Process::new_with_root(host.at("/proc").join(process.pid.to_string()));
        process
            .and_then(|process| process.exe())
            .is_ok_and(|exe| exe.to_string_lossy().ends_with(" (deleted)"))
    });
    Ok(CephDaemonSeen {
        daemon: name.clone(),
        unit: matches!(running, Some(crate::host::ceph::Identity::Unit(_))).then(|| daemon.unit()),
        pid: process.map(|process| process.pid),
        start_ticks: process.map(|process| process.start_ticks),
        running_version,
        installed_version,
        executable_deleted,
        detail: detail.join("; "),
    })
}

/// Everything. Without the map, the groups and the quorum there is nothing to plan with; whatever else is not told is said so.
pub(super) fn cluster(ceph: &Ceph<'_>) -> ReadingValue {
    let look = || {
        let pgs = ceph.pg_dump()?;
        let osds = ceph.osd_dump()?;
        let tree = ceph.osd_tree()?;
        let quorum = ceph.quorum()?;
        let health = health_of(ceph)?;
        let metadata = ceph.osd_metadata(&osds)?;
        let mut rest = Rest { ceph, errors: BTreeMap::new() };
        let versions = rest.versions(&osds);
        let mon_versions = rest.mon_versions(quorum.mons.keys());
        let (tunables, osd_used_permille) = (rest.tunables(), rest.used());
        let (mon_caps, time_skew_ms, mon_features) = (rest.mon_caps(), rest.skew(), rest.mon_features());
        let filesystems = rest.filesystems();
        let second_messenger = second_messenger(&ceph.ask(&["mon", "dump"])?);
        let errors = rest.errors;
        Ok(Seen::Cluster(Box::new(Cluster {
            osds,
            tree,
            pgs,
            quorum,
            health,
            metadata,
            versions,
            mon_versions,
            tunables,
            osd_used_permille,
            mon_caps,
            time_skew_ms,
            mon_features,
            second_messenger,
            filesystems,
            errors,
        })))
    };
    seen(look())
}

/// Questions that some releases do not answer.
struct Rest<'c> {
    ceph: &'c Ceph<'c>,
    errors: BTreeMap<String, String>,
}

impl Rest<'_> {
    /// The document, or null with the reason kept.
    fn ask(&mut self, arguments: &[&str]) -> Value {
        let answer = self.ceph.ask(arguments).map_err(|error| error.to_string());
        let read = answer.and_then(|answer| {
            serde_json::from_slice(answer.trim_ascii()).map_err(|error| format!("it is not JSON: {error}"))
        });
        read.unwrap_or_else(|why| {
            self.errors.insert(format!("ceph {}", arguments.join(" ")), why);
            Value::Null
        })
    }

    fn versions(&mut self, osds: &OsdDump) -> Option<BTreeMap<String, BTreeMap<String, u32>>> {
        // The command came with Luminous.
        osds.require_osd_release.as_ref()?;
        let answer = self.ceph.ask(&["versions"]).map_err(|error| error.to_string());
        let read = answer
            .and_then(|answer| read_versions("ceph versions", &answer).map_err(|error| error.to_string()));
        read.map_err(|why| self.errors.insert("ceph versions".to_owned(), why)).ok()
    }

    fn mon_versions<'n>(
        &mut self,
        names: impl Iterator<Item = &'n String>,
    ) -> BTreeMap<String, Option<Version>> {
        let answer = self.ask(&["mon", "metadata"]);
        let of = |name: &String| {
            let entry = answer.as_array()?.iter().find(|entry| entry["name"] == name.as_str())?;
            version_number(entry["ceph_version"].as_str()?)
        };
        names.map(|name| (name.clone(), of(name))).collect()
    }

    fn tunables(&mut self) -> BTreeMap<String, String> {
        let answer = self.ask(&["osd", "crush", "show-tunables"]);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        answer.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    fn used(&mut self) -> BTreeMap<OsdId, u32> {
        let answer = self.ask(&["osd", "df"]);
        let of = |node: &Value| {
            let id = u32::try_from(node["id"].as_u64()?).ok()?;
            let permille = (node["utilization"].as_f64()? * 10.0).round().clamp(0.0, 1_000.0);
            // Between 0 and 1000.
            Some((OsdId(id), permille as u32))
        };
        answer["nodes"].as_array().into_iter().flatten().filter_map(of).collect()
    }

    fn mon_caps(&mut self) -> BTreeMap<String, String> {
        let answer = self.ask(&["auth", "list"]);
        let of = |entry: &Value| {
            Some((entry["entity"].as_str()?.to_owned(), entry["caps"]["mon"].as_str()?.to_owned()))
        };
        answer["auth_dump"].as_array().into_iter().flatten().filter_map(of).collect()
    }

    fn skew(&mut self) -> BTreeMap<String, u64> {
        let answer = self.ask(&["time-sync-status"]);
        let of = |(name, entry): (&String, &Value)| {
            let ms = (entry["skew"].as_f64()?.abs() * 1_000.0).round().min(1e12);
            Some((name.clone(), ms as u64))
        };
        answer["time_skew_status"].as_object().into_iter().flatten().filter_map(of).collect()
    }

    fn filesystems(&mut self) -> Option<Vec<FileSystem>> {
        let map = mds_of(self.ceph)
            .map_err(|error| self.errors.insert("ceph fs dump".to_owned(), error.to_string()));
        map.ok().map(|map| map.filesystems)
    }

    fn mon_features(&mut self) -> Vec<String> {
        let answer = self.ask(&["mon", "feature", "ls"]);
        let persistent = answer["monmap"]["persistent"].as_array().into_iter().flatten();
        persistent.filter_map(|feature| feature.as_str().map(str::to_owned)).collect()
    }
}
