//! The verdicts on what was seen of a Ceph cluster and of a host's daemons of it.

use super::judge::ANOTHER;
use super::{Gate, Verdict, WaitReason};
use replank_ceph::OsdId;
use replank_ceph::documents::{Health, HealthReason, Osd, QuorumStatus};
use replank_ceph::mds::{self, MdsMiss};
use replank_ceph::redundancy::{self, Answer, show_objection};
use replank_ceph::require::is_required;
use replank_ceph::seen::{Groups, Map, Seen, Settle, Settling, Stop};
use replank_ceph::settled::show_unsettled;
use replank_common::ceph::{CephDaemon, Requirement};
use replank_common::ids::HostName;
use replank_common::reading::CephDaemonSeen;
use replank_common::version::Version;
use std::collections::BTreeSet;

/// Lines of a reason that an operator is shown; the others are counted.
const SHOWN: usize = 3;

/// Judges a gate by what `via` saw of the cluster. An error is why nothing is told.
pub(super) fn judge(gate: &Gate, via: &HostName, text: &str) -> Result<Verdict, String> {
    let seen = Seen::read(text).map_err(|error| error.to_string())?;
    match (gate, &seen) {
        (Gate::OsdsMayStop { osds, mons, consents, .. }, Seen::Stop(stop)) => {
            may_stop(via, osds, mons, consents, stop)
        }
        (Gate::OsdsSettled { osds, version, .. }, Seen::Settle(settle)) => {
            settled(via, osds, version, settle)
        }
        (Gate::MonsInQuorum { mons, .. }, Seen::Mons(quorum)) => Ok(in_quorum(via, mons, quorum)),
        (Gate::MdsMayStop { mds, alone, .. }, Seen::Mds(map)) => {
            Ok(served(via, &mds::may_stop(map, &names(mds), *alone)))
        }
        (Gate::MdsBack { mds, .. }, Seen::Mds(map)) => Ok(served(via, &mds::are_back(map, &names(mds)))),
        (Gate::CephHealthKnown { allowed, .. }, Seen::Health(health)) => {
            Ok(health_known(via, allowed, health))
        }
        (Gate::NoScrub { .. }, Seen::Groups(groups)) => no_scrub(via, groups),
        (Gate::EveryOsdIs { version, .. }, Seen::Map(map)) => Ok(every_osd_is(via, version, map)),
        (Gate::Required { what, .. }, Seen::Map(map)) => required(via, what, map),
        (
            Gate::CensusHolds
            | Gate::NoGuestJobs
            | Gate::LibvirtdIs { .. }
            | Gate::NewGuestsGet { .. }
            | Gate::LibvirtTcpAnswers { .. }
            | Gate::OsdsMayStop { .. }
            | Gate::OsdsSettled { .. }
            | Gate::MonsInQuorum { .. }
            | Gate::MdsMayStop { .. }
            | Gate::MdsBack { .. }
            | Gate::CephDaemonsAre { .. }
            | Gate::CephHealthKnown { .. }
            | Gate::NoScrub { .. }
            | Gate::EveryOsdIs { .. }
            | Gate::Required { .. },
            Seen::Stop(_)
            | Seen::Settle(_)
            | Seen::Map(_)
            | Seen::Mons(_)
            | Seen::Mds(_)
            | Seen::Groups(_)
            | Seen::Health(_)
            | Seen::Cluster(_),
        ) => Err(format!("{ANOTHER}: {}", seen.name())),
    }
}

fn may_stop(
    via: &HostName,
    osds: &[u32],
    mons: &[String],
    consents: &[String],
    stop: &Stop,
) -> Result<Verdict, String> {
    let set = osds.iter().copied().map(OsdId).collect();
    let named = names(mons);
    if let Some(stranger) = named.iter().find(|mon| !stop.quorum.mons.contains_key(*mon)) {
        return Err(format!("the map of MONs has no mon.{stranger}"));
    }
    let redundancy::Verdict { answer, mut objections, .. } =
        stop.judge(&set, &named, consents).map_err(|error| error.to_string())?;
    if answer == Answer::Safe {
        return Ok(Verdict::Pass);
    }
    // What is certain says more than what cannot be told.
    objections.sort_by_key(|objection| (!objection.certain(), objection.code()));
    let (lines, more) = first(objections.iter().map(show_objection).collect());
    Ok(Verdict::Wait(WaitReason::CephMayNotStop {
        host: via.clone(),
        what: stop_names(osds, mons),
        code: objections.first().map(|objection| objection.code().to_owned()).unwrap_or_default(),
        lines,
        more,
    }))
}

fn settled(via: &HostName, osds: &[u32], version: &Version, settle: &Settle) -> Result<Verdict, String> {
    let set = osds.iter().copied().map(OsdId).collect();
    match settle.judge(&set, version) {
        Settling::Settled => Ok(Verdict::Pass),
        Settling::Misses(look, misses) => {
            let (lines, more) = first(misses.iter().map(|miss| show_unsettled(miss, &look.osds)).collect());
            Ok(Verdict::Wait(WaitReason::OsdsUnsettled {
                host: via.clone(),
                what: osd_names(osds),
                lines,
                more,
            }))
        }
        Settling::TooShort { ms } => {
            Ok(Verdict::Wait(WaitReason::OsdsSettling { host: via.clone(), what: osd_names(osds), ms }))
        }
        Settling::NoLook => Err("the agent did not look at the cluster".to_owned()),
    }
}

fn in_quorum(via: &HostName, mons: &[String], quorum: &QuorumStatus) -> Verdict {
    let out: Vec<String> = mons.iter().filter(|mon| !quorum.in_quorum.contains(*mon)).cloned().collect();
    if out.is_empty() {
        return Verdict::Pass;
    }
    let in_quorum = quorum.in_quorum.iter().cloned().collect();
    Verdict::Wait(WaitReason::MonsOutOfQuorum { host: via.clone(), mons: out, in_quorum })
}

fn names(daemons: &[String]) -> BTreeSet<String> {
    daemons.iter().cloned().collect()
}

fn served(via: &HostName, misses: &[MdsMiss]) -> Verdict {
    if misses.is_empty() {
        return Verdict::Pass;
    }
    let (lines, more) = first(misses.iter().map(ToString::to_string).collect());
    Verdict::Wait(WaitReason::RanksNotServed { host: via.clone(), lines, more })
}

/// Judged by each daemon's process alone: what the cluster says of a daemon is of its last boot.
pub(super) fn daemons_are(
    host: &HostName,
    daemons: &[CephDaemon],
    version: &Version,
    seen: &[CephDaemonSeen],
) -> Verdict {
    for daemon in daemons {
        let not = |found: Option<Version>, detail: String| {
            let (host, daemon, expected) = (host.clone(), daemon.clone(), version.clone());
            Verdict::Wait(WaitReason::CephDaemonIsNot { host, daemon, expected, found, detail })
        };
        let Some(seen) = seen.iter().find(|seen| seen.daemon == *daemon) else {
            return not(None, "there is no such daemon on this host".to_owned());
        };
        let found = seen.running_version.clone();
        if seen.pid.is_none() {
            let detail = if seen.detail.is_empty() { "it does not run" } else { &seen.detail };
            return not(None, detail.to_owned());
        }
        if found.as_ref() != Some(version) {
            return not(found, seen.detail.clone());
        }
        if seen.executable_deleted {
            return not(None, "the program that it was started from is no longer on disk".to_owned());
        }
    }
    Verdict::Pass
}

fn health_known(via: &HostName, allowed: &[String], health: &Health) -> Verdict {
    let known = |reason: &HealthReason| reason.muted || allowed.iter().any(|allowed| reason.is(allowed));
    let reasons: Vec<String> =
        health.reasons.iter().filter(|reason| !known(reason)).map(reason_text).collect();
    if reasons.is_empty() {
        return Verdict::Pass;
    }
    Verdict::Wait(WaitReason::CephHealthUnknown { host: via.clone(), reasons })
}

fn reason_text(HealthReason { check, text, .. }: &HealthReason) -> String {
    match check {
        Some(check) if text.is_empty() => check.clone(),
        Some(check) => format!("{check}, {text}"),
        None => text.clone(),
    }
}

fn no_scrub(via: &HostName, groups: &Groups) -> Result<Verdict, String> {
    let scrubs = groups.scrubs();
    if scrubs > 0 {
        let named = groups.scrubbing.iter().map(ToString::to_string).collect();
        return Ok(Verdict::Wait(WaitReason::Scrubbing { host: via.clone(), groups: scrubs, named }));
    }
    match groups.unclear() {
        0 => Ok(Verdict::Pass),
        unclear => Err(format!("the cluster does not know the state of placement groups: of {unclear}")),
    }
}

/// Every OSD that exists: one that is down when a cluster begins to ask for a release could never return without it. One that was destroyed has
/// no daemon and no data.
fn every_osd_is(via: &HostName, version: &Version, map: &Map) -> Verdict {
    let others = map.osds.osds.iter().filter(|(_, osd)| !osd.destroyed).filter_map(|(id, osd)| {
        let found = map.metadata.get(id).and_then(|metadata| metadata.version_number());
        (found.as_ref() != Some(version)).then(|| other_version(*id, osd, found))
    });
    let (osds, more) = first(others.collect());
    if osds.is_empty() {
        return Verdict::Pass;
    }
    Verdict::Wait(WaitReason::OsdsOfOtherVersions {
        host: via.clone(),
        expected: version.clone(),
        osds,
        more,
    })
}

fn other_version(id: OsdId, osd: &Osd, found: Option<Version>) -> String {
    let standing = match osd.up {
        Some(true) => "up",
        Some(false) => "down",
        None => "up or down",
    };
    match found {
        Some(found) => format!("{id} ({standing}) is {found}"),
        None => format!("of {id} ({standing}) no version is known"),
    }
}

fn required(via: &HostName, what: &Requirement, map: &Map) -> Result<Verdict, String> {
    let missing = match what {
        _ if is_required(what, &map.osds) => None,
        Requirement::SortBitwise | Requirement::RequireJewelOsds => {
            Some(format!("its flags are {}", some_or_none(map.osds.flags.iter().cloned().collect())))
        }
        Requirement::RequireOsdRelease { .. } => Some(match &map.osds.require_osd_release {
            Some(found) => format!("it is {found}"),
            None => "it has none".to_owned(),
        }),
        Requirement::EnableMsgr2 => {
            let Some(mons) = &map.second_messenger else {
                return Err("the map of MONs does not say at which addresses they listen".to_owned());
            };
            let without: Vec<String> =
                mons.iter().filter(|(_, has)| !**has).map(|(mon, _)| mon.clone()).collect();
            (!without.is_empty()).then(|| format!("{} without an address for it", mon_names(&without)))
        }
    };
    Ok(match missing {
        None => Verdict::Pass,
        Some(found) => {
            Verdict::Wait(WaitReason::NotRequired { host: via.clone(), what: what.clone(), found })
        }
    })
}

/// The first lines, and how many more there are.
fn first(mut lines: Vec<String>) -> (Vec<String>, u32) {
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    (lines, u32::try_from(more).unwrap_or(u32::MAX))
}

fn some_or_none(names: Vec<String>) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// `osd.1, osd.2`; of many the first, and how many there are.
pub(super) fn osd_names(osds: &[u32]) -> String {
    let names: Vec<String> = osds.iter().map(|osd| OsdId(*osd).to_string()).collect();
    few(&names)
}

pub(super) fn stop_names(osds: &[u32], mons: &[String]) -> String {
    let osds = osds.iter().map(|osd| OsdId(*osd).to_string());
    let names: Vec<String> = osds.chain(mons.iter().map(|mon| format!("mon.{mon}"))).collect();
    few(&names)
}

/// `mon.a is`, `mon.a, mon.b are`.
pub(super) fn mon_names(mons: &[String]) -> String {
    some(&prefixed("mon", mons), " is", " are")
}

/// `mds.a, mds.b`.
pub(super) fn daemon_names(kind: &str, ids: &[String]) -> String {
    few(&prefixed(kind, ids))
}

pub(super) fn prefixed(kind: &str, ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| format!("{kind}.{id}")).collect()
}

/// The names with the word that fits their number.
pub(super) fn some(names: &[String], one: &str, many: &str) -> String {
    format!("{}{}", few(names), if names.len() == 1 { one } else { many })
}

fn few(names: &[String]) -> String {
    const NAMED: usize = 8;
    match names.get(..NAMED) {
        Some(shown) if names.len() > NAMED => format!("{} … ({} in all)", shown.join(", "), names.len()),
        Some(_) | None => some_or_none(names.to_vec()),
    }
}
