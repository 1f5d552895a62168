//! What is measured of a Ceph cluster, and of its daemons on this host.
//!
//! Each answer is a value of `replank_ceph::seen`, cut down to what was asked about. Where two documents belong together they are taken in the order in which a change
//! between them is seen as trouble and not overlooked: the list of groups before the map for a stop, the map before the list for settling.

use super::cannot_tell;
use crate::host::Host;
use crate::host::ceph::{Ceph, CephError, Daemon, daemons, installed_version};
use crate::host::systemd::SystemdError;
use procfs::process::Process;
use replank_ceph::OsdId;
use replank_ceph::documents::{Health, OsdDump, read_versions, version_number};
use replank_ceph::require::second_messenger;
use replank_ceph::seen::{Cluster, Groups, LOOKING_MS, LOOKS_APART_MS, Look, Map, Seen, Settle};
use replank_common::ceph::CephDaemon;
use replank_common::reading::{CephDaemonSeen, ReadingValue};
use replank_common::version::Version;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[cfg(test)]
#[path = "ceph_tests.rs"]
mod tests;

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

pub(super) fn stop(host: &Host, osds: &[u32]) -> ReadingValue {
    let ceph = Ceph::new(host);
    seen(ceph.stop(set(osds)).map(|stop| Seen::Stop(Box::new(stop))))
}

pub(super) fn map(host: &Host) -> ReadingValue {
    let ceph = Ceph::new(host);
    let look = || {
        let osds = ceph.osd_dump()?;
        let metadata = ceph.osd_metadata(&osds)?;
        let second_messenger = second_messenger(&ceph.ask(&["mon", "dump"])?);
        Ok(Seen::Map(Box::new(Map { osds, metadata, second_messenger })))
    };
    seen(look())
}

pub(super) fn mons(host: &Host) -> ReadingValue {
    seen(Ceph::new(host).quorum().map(Seen::Mons))
}

pub(super) fn groups(host: &Host) -> ReadingValue {
    seen(Ceph::new(host).pg_dump().map(|pgs| Seen::Groups(Groups::new(&pgs))))
}

pub(super) fn health(host: &Host) -> ReadingValue {
    seen(health_of(&Ceph::new(host)).map(Seen::Health))
}

fn health_of(ceph: &Ceph<'_>) -> Result<Health, CephError> {
    Ok(Health::read("ceph health", &ceph.ask(&["health", "detail"])?)?)
}

/// Looks until nothing is missing, and once more as soon as that counts; or for as long as one looks at most.
pub(super) fn settle(host: &Host, osds: &[u32], version: &Version) -> ReadingValue {
    settle_within(host, osds, version, Duration::from_millis(LOOKING_MS))
}

fn settle_within(host: &Host, osds: &[u32], version: &Version, most: Duration) -> ReadingValue {
    let (ceph, of, began) = (Ceph::new(host), set(osds), Instant::now());
    let look = || {
        let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let map = ceph.osd_dump()?;
        let metadata = ceph.osd_metadata(&map)?;
        Ok::<_, CephError>(Look::new(after_ms, map, metadata, ceph.pg_dump()?, &of))
    };
    let mut first: Option<Look> = None;
    loop {
        let now = match look() {
            Ok(now) => now,
            Err(error) => return cannot_tell(error),
        };
        let good = now.misses(&of, version).is_empty();
        match (first.take(), good) {
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
            (_, false) => std::thread::sleep(PAUSE),
        }
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
pub(super) fn cluster(host: &Host) -> ReadingValue {
    let ceph = Ceph::new(host);
    let look = || {
        let pgs = ceph.pg_dump()?;
        let osds = ceph.osd_dump()?;
        let tree = ceph.osd_tree()?;
        let quorum = ceph.quorum()?;
        let health = health_of(&ceph)?;
        let metadata = ceph.osd_metadata(&osds)?;
        let mut rest = Rest { ceph: &ceph, errors: BTreeMap::new() };
        let versions = rest.versions(&osds);
        let mon_versions = rest.mon_versions(quorum.mons.keys());
        let (tunables, osd_used_permille) = (rest.tunables(), rest.used());
        let (mon_caps, time_skew_ms, mon_features) = (rest.mon_caps(), rest.skew(), rest.mon_features());
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

    fn mon_features(&mut self) -> Vec<String> {
        let answer = self.ask(&["mon", "feature", "ls"]);
        let persistent = answer["monmap"]["persistent"].as_array().into_iter().flatten();
        persistent.filter_map(|feature| feature.as_str().map(str::to_owned)).collect()
    }
}
