//! `census.proto`.

use super::{BadMessage, absent, all, each, known, need, parse, path_text};
use crate::v1;
use replank_common::census as c;
use replank_common::ids::{BootId, HostName};
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

impl From<c::Incarnation> for v1::Incarnation {
    fn from(i: c::Incarnation) -> Self {
        Self { boot_id: i.boot_id.to_string(), pid: i.pid, start_ticks: i.start_ticks }
    }
}

impl TryFrom<v1::Incarnation> for c::Incarnation {
    type Error = BadMessage;
    fn try_from(m: v1::Incarnation) -> Result<Self, BadMessage> {
        Ok(Self { boot_id: boot_id("Incarnation", &m.boot_id)?, pid: m.pid, start_ticks: m.start_ticks })
    }
}

fn boot_id(message: &'static str, text: &str) -> Result<BootId, BadMessage> {
    parse::<Uuid>(message, "boot_id", text).map(BootId)
}

impl From<c::CensusSource> for v1::CensusSource {
    fn from(source: c::CensusSource) -> Self {
        match source {
            c::CensusSource::Proc => Self::Proc,
            c::CensusSource::StatusFiles => Self::StatusFiles,
            c::CensusSource::LibvirtApi => Self::LibvirtApi,
            c::CensusSource::Scopes => Self::Scopes,
        }
    }
}

fn source(message: &'static str, number: i32) -> Result<c::CensusSource, BadMessage> {
    match known::<v1::CensusSource>(message, "source", number)? {
        v1::CensusSource::Unspecified => Err(absent(message, "source")),
        v1::CensusSource::Proc => Ok(c::CensusSource::Proc),
        v1::CensusSource::StatusFiles => Ok(c::CensusSource::StatusFiles),
        v1::CensusSource::LibvirtApi => Ok(c::CensusSource::LibvirtApi),
        v1::CensusSource::Scopes => Ok(c::CensusSource::Scopes),
    }
}

impl From<c::GuestState> for v1::GuestState {
    fn from(state: c::GuestState) -> Self {
        use v1::guest_state::Kind;
        let (kind, detail) = match state {
            c::GuestState::Running => (Kind::Running, String::new()),
            c::GuestState::Paused(reason) => (Kind::Paused, reason),
            c::GuestState::Other(word) => (Kind::Other, word),
            c::GuestState::Unknown => (Kind::Unknown, String::new()),
        };
        Self { kind: kind.into(), detail }
    }
}

impl TryFrom<v1::GuestState> for c::GuestState {
    type Error = BadMessage;
    fn try_from(m: v1::GuestState) -> Result<Self, BadMessage> {
        use v1::guest_state::Kind;
        Ok(match known::<Kind>("GuestState", "kind", m.kind)? {
            Kind::Unspecified => return Err(absent("GuestState", "kind")),
            Kind::Running => Self::Running,
            Kind::Paused => Self::Paused(m.detail),
            Kind::Other => Self::Other(m.detail),
            Kind::Unknown => Self::Unknown,
        })
    }
}

impl From<c::Guest> for v1::Guest {
    fn from(g: c::Guest) -> Self {
        Self {
            uuid: g.uuid.to_string(),
            name: g.name,
            incarnation: Some(g.incarnation.into()),
            state: Some(g.state.into()),
            emulator: path_text(g.emulator),
            emulator_deleted: g.emulator_deleted,
            qemu_version: g.qemu_version.map(|v| v.to_string()),
            machine: g.machine,
            persistent: g.persistent,
            seen_by: g.seen_by.into_iter().map(|s| v1::CensusSource::from(s).into()).collect(),
        }
    }
}

impl TryFrom<v1::Guest> for c::Guest {
    type Error = BadMessage;
    fn try_from(m: v1::Guest) -> Result<Self, BadMessage> {
        let seen_by: Result<BTreeSet<_>, _> = m.seen_by.into_iter().map(|n| source("Guest", n)).collect();
        Ok(Self {
            uuid: parse("Guest", "uuid", &m.uuid)?,
            name: m.name,
            incarnation: need("Guest", "incarnation", m.incarnation)?.try_into()?,
            state: need("Guest", "state", m.state)?.try_into()?,
            emulator: m.emulator.into(),
            emulator_deleted: m.emulator_deleted,
            qemu_version: m.qemu_version.map(Version::new),
            machine: m.machine,
            persistent: m.persistent,
            seen_by: seen_by?,
        })
    }
}

impl From<c::EndCause> for v1::EndCause {
    fn from(cause: c::EndCause) -> Self {
        use v1::end_cause as w;
        Self {
            cause: Some(match cause {
                c::EndCause::GuestShutdown => w::Cause::GuestShutdown(w::GuestShutdown {}),
                c::EndCause::AskedOfLibvirt { who } => w::Cause::AskedOfLibvirt(w::AskedOfLibvirt { who }),
                c::EndCause::Migrated => w::Cause::Migrated(w::Migrated {}),
                c::EndCause::Unattributed { known } => w::Cause::Unattributed(w::Unattributed { known }),
            }),
        }
    }
}

impl From<v1::EndCause> for c::EndCause {
    /// A cause of a kind unknown here is nobody's doing that this side can vouch for: it counts as lost.
    fn from(m: v1::EndCause) -> Self {
        use v1::end_cause as w;
        match m.cause {
            Some(w::Cause::GuestShutdown(_)) => Self::GuestShutdown,
            Some(w::Cause::AskedOfLibvirt(w::AskedOfLibvirt { who })) => Self::AskedOfLibvirt { who },
            Some(w::Cause::Migrated(_)) => Self::Migrated,
            Some(w::Cause::Unattributed(w::Unattributed { known })) => Self::Unattributed { known },
            None => Self::Unattributed { known: "the agent gave a cause that is unknown here".to_owned() },
        }
    }
}

impl From<c::GuestEnd> for v1::GuestEnd {
    fn from(end: c::GuestEnd) -> Self {
        Self {
            uuid: end.uuid.to_string(),
            name: end.name,
            incarnation: Some(end.incarnation.into()),
            at_ms: end.at_ms,
            cause: Some(end.cause.into()),
        }
    }
}

impl TryFrom<v1::GuestEnd> for c::GuestEnd {
    type Error = BadMessage;
    fn try_from(m: v1::GuestEnd) -> Result<Self, BadMessage> {
        Ok(Self {
            uuid: parse("GuestEnd", "uuid", &m.uuid)?,
            name: m.name,
            incarnation: need("GuestEnd", "incarnation", m.incarnation)?.try_into()?,
            at_ms: m.at_ms,
            cause: need("GuestEnd", "cause", m.cause)?.into(),
        })
    }
}

impl From<c::Disagreement> for v1::Disagreement {
    fn from(d: c::Disagreement) -> Self {
        use v1::disagreement as w;
        let disagreement = match d {
            c::Disagreement::Missing { guest, name, source } => w::Disagreement::Missing(w::Missing {
                guest: guest.to_string(),
                name,
                source: v1::CensusSource::from(source).into(),
            }),
            c::Disagreement::PidDiffers { guest, name, pids } => w::Disagreement::PidDiffers(w::PidDiffers {
                guest: guest.to_string(),
                name,
                pids: pids
                    .into_iter()
                    .map(|(source, pid)| w::SourcePid { source: v1::CensusSource::from(source).into(), pid })
                    .collect(),
            }),
            c::Disagreement::Twice { guest, pids } => {
                w::Disagreement::Twice(w::Twice { guest: guest.to_string(), pids })
            }
            c::Disagreement::Silent { source, why } => {
                w::Disagreement::Silent(w::Silent { source: v1::CensusSource::from(source).into(), why })
            }
            c::Disagreement::BadStatusFile { path, why } => {
                w::Disagreement::BadStatusFile(w::BadStatusFile { path: path_text(path), why })
            }
        };
        Self { disagreement: Some(disagreement) }
    }
}

impl TryFrom<v1::Disagreement> for c::Disagreement {
    type Error = BadMessage;
    fn try_from(m: v1::Disagreement) -> Result<Self, BadMessage> {
        use v1::disagreement::Disagreement as W;
        Ok(match need("Disagreement", "disagreement", m.disagreement)? {
            W::Missing(m) => Self::Missing {
                guest: parse("Missing", "guest", &m.guest)?,
                name: m.name,
                source: source("Missing", m.source)?,
            },
            W::PidDiffers(m) => {
                let pids: Result<BTreeMap<_, _>, _> =
                    m.pids.into_iter().map(|p| Ok((source("SourcePid", p.source)?, p.pid))).collect();
                Self::PidDiffers { guest: parse("PidDiffers", "guest", &m.guest)?, name: m.name, pids: pids? }
            }
            W::Twice(m) => Self::Twice { guest: parse("Twice", "guest", &m.guest)?, pids: m.pids },
            W::Silent(m) => Self::Silent { source: source("Silent", m.source)?, why: m.why },
            W::BadStatusFile(m) => Self::BadStatusFile { path: m.path.into(), why: m.why },
        })
    }
}

impl From<c::Census> for v1::Census {
    fn from(census: c::Census) -> Self {
        Self {
            host: census.host.into(),
            boot_id: census.boot_id.to_string(),
            sequence: census.sequence,
            agent_start_ms: census.agent_start_ms,
            taken_at_ms: census.taken_at_ms,
            guests: census.guests.into_values().map(Into::into).collect(),
            ended: each(census.ended),
            disagreements: each(census.disagreements),
        }
    }
}

impl TryFrom<v1::Census> for c::Census {
    type Error = BadMessage;
    fn try_from(m: v1::Census) -> Result<Self, BadMessage> {
        let mut guests = BTreeMap::new();
        for guest in m.guests {
            let guest = c::Guest::try_from(guest)?;
            if let Some(other) = guests.insert(guest.uuid, guest) {
                return Err(BadMessage {
                    message: "Census",
                    field: "guests",
                    why: format!("names guest {} twice", other.uuid),
                });
            }
        }
        Ok(Self {
            host: parse::<HostName>("Census", "host", &m.host)?,
            boot_id: boot_id("Census", &m.boot_id)?,
            sequence: m.sequence,
            agent_start_ms: m.agent_start_ms,
            taken_at_ms: m.taken_at_ms,
            guests,
            ended: all(m.ended)?,
            disagreements: all(m.disagreements)?,
        })
    }
}
