//! What a gate asks for, and the verdict on what was seen.

use super::{Gate, HaltReason, Verdict, WaitReason, ceph};
use replank_common::UnixMs;
use replank_common::census::{Census, Guest, Incarnation};
use replank_common::ids::{GuestUuid, HostName};
use replank_common::planted::{self, Planted};
use replank_common::reading::{LibvirtdSeen, Reading, ReadingRequest, ReadingValue};
use replank_common::version::Version;
use std::path::Path;

/// Why nothing is told by an answer to another question.
pub(super) const ANOTHER: &str = "the agent answered with another measurement";

/// Whether an agent can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkSeen {
    Up,
    /// `since_ms`: when it was cut; `None` when this coordinator never had it.
    Down {
        since_ms: Option<UnixMs>,
    },
}

/// A guest that the run answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub uuid: GuestUuid,
    pub name: String,
    pub incarnation: Incarnation,
}

/// What a gate is judged by.
pub trait Observed {
    fn link(&self, host: &HostName) -> LinkSeen;

    /// The newest answer that counts: asked for since this gate was first asked, and not too old. `None`: there is none yet.
    fn reading(&self, host: &HostName, request: &ReadingRequest) -> Option<&Reading>;

    /// The guests of the run's baseline on `host` that have neither ended nor left.
    fn watched(&self, host: &HostName) -> Vec<Watched>;
}

/// The measurements that decide `gate` for a step of `host`, and who takes them.
pub fn asks(gate: &Gate, host: &HostName) -> Vec<(HostName, ReadingRequest)> {
    let request = match gate {
        Gate::CensusHolds => ReadingRequest::Census,
        Gate::NoGuestJobs => ReadingRequest::GuestJobs,
        Gate::LibvirtdIs { .. } => ReadingRequest::Libvirtd,
        Gate::NewGuestsGet { virt_type, .. } => {
            ReadingRequest::EmulatorForNewGuests { virt_type: virt_type.clone() }
        }
        Gate::LibvirtTcpAnswers { from: _, address, port, tls } => ReadingRequest::LibvirtTcp {
            peer: host.clone(),
            address: address.clone(),
            port: *port,
            tls: *tls,
        },
        Gate::OsdsMayStop { osds, .. } => ReadingRequest::CephStop { osds: osds.clone() },
        Gate::OsdsSettled { osds, version, .. } => {
            ReadingRequest::CephSettle { osds: osds.clone(), version: version.clone() }
        }
        Gate::MonsInQuorum { .. } => ReadingRequest::CephMons,
        Gate::MdsMayStop { mds, .. } => ReadingRequest::CephMds { stopping: mds.clone() },
        Gate::MdsBack { .. } => ReadingRequest::CephMds { stopping: Vec::new() },
        Gate::CephDaemonsAre { .. } => ReadingRequest::CephDaemons,
        Gate::CephHealthKnown { .. } => ReadingRequest::CephHealth,
        Gate::NoScrub { .. } => ReadingRequest::CephGroups,
        Gate::EveryOsdIs { .. } | Gate::Required { .. } => ReadingRequest::CephMap,
    };
    vec![(asked_of(gate, host).clone(), request)]
}

/// The host that takes the measurements of `gate` for a step of `host`.
pub fn asked_of<'a>(gate: &'a Gate, host: &'a HostName) -> &'a HostName {
    match gate {
        Gate::CensusHolds
        | Gate::NoGuestJobs
        | Gate::LibvirtdIs { .. }
        | Gate::NewGuestsGet { .. }
        | Gate::CephDaemonsAre { .. } => host,
        Gate::LibvirtTcpAnswers { from, .. } => from,
        Gate::OsdsMayStop { via, .. }
        | Gate::OsdsSettled { via, .. }
        | Gate::MonsInQuorum { via, .. }
        | Gate::MdsMayStop { via, .. }
        | Gate::MdsBack { via, .. }
        | Gate::CephHealthKnown { via, .. }
        | Gate::NoScrub { via }
        | Gate::EveryOsdIs { via, .. }
        | Gate::Required { via, .. } => via,
    }
}

/// Judges `gate` for a step of `host`. Total: whatever cannot be told waits.
pub fn judge(gate: &Gate, host: &HostName, observed: &impl Observed) -> Verdict {
    let mut verdict = Verdict::Pass;
    for (of, request) in asks(gate, host) {
        if let LinkSeen::Down { since_ms } = observed.link(&of) {
            return Verdict::Wait(WaitReason::LinkDown { host: of, since_ms });
        }
        let Some(reading) = observed.reading(&of, &request) else {
            return Verdict::Wait(WaitReason::NoReadingYet { host: of, of: name_of(&request) });
        };
        verdict = judge_one(gate, host, &of, &request, reading, observed);
        if verdict != Verdict::Pass {
            break;
        }
    }
    verdict
}

/// The words for a measurement, as they stand in "no reading of … yet".
pub fn name_of(request: &ReadingRequest) -> String {
    match request {
        ReadingRequest::Census => "the census".to_owned(),
        ReadingRequest::Facts => "the facts".to_owned(),
        ReadingRequest::Libvirtd => "libvirtd".to_owned(),
        ReadingRequest::EmulatorForNewGuests { virt_type } => {
            format!("the emulator that a new {virt_type} guest gets")
        }
        ReadingRequest::LibvirtTcp { peer, address, port, .. } => {
            format!("libvirtd of {peer} at {address}:{port}")
        }
        ReadingRequest::GuestJobs => "the guests' jobs".to_owned(),
        ReadingRequest::CephDaemons => "the daemons of Ceph".to_owned(),
        ReadingRequest::CephStop { osds } if osds.is_empty() => "what depends on the MONs".to_owned(),
        ReadingRequest::CephStop { osds } => format!("what depends on {}", ceph::osd_names(osds)),
        ReadingRequest::CephSettle { osds, .. } => format!("the settling of {}", ceph::osd_names(osds)),
        ReadingRequest::CephMap => "the OSD map".to_owned(),
        ReadingRequest::CephMons => "the quorum of the MONs".to_owned(),
        ReadingRequest::CephMds { .. } => "the map of MDS".to_owned(),
        ReadingRequest::CephGroups => "the states of the placement groups".to_owned(),
        ReadingRequest::CephHealth => "the health of the cluster".to_owned(),
        ReadingRequest::CephCluster => "the whole cluster".to_owned(),
    }
}

fn judge_one(
    gate: &Gate,
    host: &HostName,
    of: &HostName,
    request: &ReadingRequest,
    reading: &Reading,
    observed: &impl Observed,
) -> Verdict {
    match (gate, &reading.value) {
        (_, ReadingValue::CannotTell { why }) => {
            Verdict::Wait(WaitReason::CannotTell { host: of.clone(), of: name_of(request), why: why.clone() })
        }
        (Gate::CensusHolds, ReadingValue::Census(census)) => census_holds(host, census, observed),
        (Gate::NoGuestJobs, ReadingValue::GuestJobs(jobs)) => match jobs.first() {
            None => Verdict::Pass,
            Some((guest, job)) => Verdict::Wait(WaitReason::GuestJob {
                host: host.clone(),
                guest: guest.clone(),
                job: job.clone(),
            }),
        },
        (Gate::LibvirtdIs { version }, ReadingValue::Libvirtd(seen)) => libvirtd_is(host, version, seen),
        (Gate::NewGuestsGet { emulator, .. }, ReadingValue::EmulatorForNewGuests { path, .. }) => {
            new_guests_get(host, emulator, path)
        }
        (Gate::LibvirtTcpAnswers { from, .. }, ReadingValue::LibvirtTcp { answered, detail }) => {
            if *answered {
                Verdict::Pass
            } else {
                Verdict::Wait(WaitReason::NoTcpAnswer {
                    host: host.clone(),
                    from: from.clone(),
                    detail: detail.clone(),
                })
            }
        }
        (Gate::CephDaemonsAre { daemons, version }, ReadingValue::CephDaemons(seen)) => {
            ceph::daemons_are(host, daemons, version, seen)
        }
        (
            Gate::OsdsMayStop { .. }
            | Gate::OsdsSettled { .. }
            | Gate::MonsInQuorum { .. }
            | Gate::MdsMayStop { .. }
            | Gate::MdsBack { .. }
            | Gate::CephHealthKnown { .. }
            | Gate::NoScrub { .. }
            | Gate::EveryOsdIs { .. }
            | Gate::Required { .. },
            ReadingValue::Ceph(text),
        ) => ceph::judge(gate, of, text).unwrap_or_else(|why| {
            Verdict::Wait(WaitReason::CannotTell { host: of.clone(), of: name_of(request), why })
        }),
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
            ReadingValue::Census(_)
            | ReadingValue::Facts(_)
            | ReadingValue::Libvirtd(_)
            | ReadingValue::EmulatorForNewGuests { .. }
            | ReadingValue::LibvirtTcp { .. }
            | ReadingValue::GuestJobs(_)
            | ReadingValue::CephDaemons(_)
            | ReadingValue::Ceph(_),
        ) => Verdict::Wait(WaitReason::CannotTell {
            host: of.clone(),
            of: name_of(request),
            why: ANOTHER.to_owned(),
        }),
    }
}

fn census_holds(host: &HostName, census: &Census, observed: &impl Observed) -> Verdict {
    if !census.agrees() && !planted::is(Planted::DisagreementPasses) {
        return Verdict::Wait(WaitReason::CensusDisagrees {
            host: host.clone(),
            lines: census.disagreements.iter().map(ToString::to_string).collect(),
        });
    }
    for guest in observed.watched(host) {
        let seen = census.guests.get(&guest.uuid);
        let same = |seen: &Guest| seen.incarnation == guest.incarnation;
        if seen.is_some_and(|seen| same(seen) || planted::is(Planted::AnyLifeIsTheLife)) {
            continue;
        }
        let end = census.end_of(guest.uuid, guest.incarnation);
        if end.is_some_and(|end| end.cause.is_owners_doing()) {
            continue;
        }
        return Verdict::Halt(HaltReason::GuestLost {
            host: host.clone(),
            guest: guest.uuid,
            name: guest.name,
            known: known_of(end.map(|end| &end.cause)),
            at_ms: end.map_or(census.taken_at_ms, |end| end.at_ms),
        });
    }
    Verdict::Pass
}

/// What is known of an end that nobody's doing explains.
pub(crate) fn known_of(cause: Option<&replank_common::census::EndCause>) -> String {
    use replank_common::census::EndCause;
    match cause {
        Some(EndCause::Unattributed { known }) => known.clone(),
        Some(EndCause::GuestShutdown | EndCause::AskedOfLibvirt { .. } | EndCause::Migrated) | None => {
            "it is no longer in the census, and nothing tells why".to_owned()
        }
    }
}

fn libvirtd_is(host: &HostName, version: &Version, seen: &LibvirtdSeen) -> Verdict {
    if seen.active_state != "active" {
        return Verdict::Wait(WaitReason::LibvirtdNotActive {
            host: host.clone(),
            state: seen.active_state.clone(),
        });
    }
    if seen.running_version.as_ref() == Some(version) {
        return Verdict::Pass;
    }
    Verdict::Wait(WaitReason::LibvirtdVersion {
        host: host.clone(),
        expected: version.clone(),
        found: seen.running_version.clone(),
    })
}

fn new_guests_get(host: &HostName, expected: &Path, found: &Path) -> Verdict {
    if expected == found {
        return Verdict::Pass;
    }
    Verdict::Wait(WaitReason::WrongEmulator {
        host: host.clone(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}
