//! `reading.proto`.

use super::{BadMessage, all, each, need, parse, path_text};
use crate::v1;
use replank_common::ids::HostName;
use replank_common::reading as r;
use replank_common::version::Version;

impl From<r::ReadingRequest> for v1::Measurement {
    fn from(request: r::ReadingRequest) -> Self {
        use v1::measurement as w;
        let measurement = match request {
            r::ReadingRequest::Census => w::Measurement::Census(w::TakeCensus {}),
            r::ReadingRequest::Facts => w::Measurement::Facts(w::CollectFacts {}),
            r::ReadingRequest::Libvirtd => w::Measurement::Libvirtd(w::AskLibvirtd {}),
            r::ReadingRequest::EmulatorForNewGuests { virt_type } => {
                w::Measurement::EmulatorForNewGuests(w::EmulatorForNewGuests { virt_type })
            }
            r::ReadingRequest::LibvirtTcp { peer, address, port, tls } => {
                w::Measurement::LibvirtTcp(w::LibvirtTcp {
                    peer: peer.into(),
                    address,
                    port: port.into(),
                    tls,
                })
            }
            r::ReadingRequest::GuestJobs => w::Measurement::GuestJobs(w::GuestJobs {}),
            r::ReadingRequest::CephDaemons => w::Measurement::CephDaemons(w::CephDaemons {}),
            r::ReadingRequest::CephStop { osds } => w::Measurement::CephStop(w::CephStop { osds }),
            r::ReadingRequest::CephSettle { osds, version } => {
                w::Measurement::CephSettle(w::CephSettle { osds, version: version.to_string() })
            }
            r::ReadingRequest::CephMap => w::Measurement::CephMap(w::CephMap {}),
            r::ReadingRequest::CephMons => w::Measurement::CephMons(w::CephMons {}),
            r::ReadingRequest::CephMds { stopping } => w::Measurement::CephMds(w::CephMds { stopping }),
            r::ReadingRequest::CephGroups => w::Measurement::CephGroups(w::CephGroups {}),
            r::ReadingRequest::CephHealth => w::Measurement::CephHealth(w::CephHealth {}),
            r::ReadingRequest::CephCluster => w::Measurement::CephCluster(w::CephCluster {}),
        };
        Self { measurement: Some(measurement) }
    }
}

impl TryFrom<v1::Measurement> for r::ReadingRequest {
    type Error = BadMessage;
    fn try_from(m: v1::Measurement) -> Result<Self, BadMessage> {
        use v1::measurement::Measurement as W;
        Ok(match need("Measurement", "measurement", m.measurement)? {
            W::Census(_) => Self::Census,
            W::Facts(_) => Self::Facts,
            W::Libvirtd(_) => Self::Libvirtd,
            W::EmulatorForNewGuests(m) => Self::EmulatorForNewGuests { virt_type: m.virt_type },
            W::LibvirtTcp(m) => Self::LibvirtTcp {
                peer: parse::<HostName>("LibvirtTcp", "peer", &m.peer)?,
                address: m.address,
                port: u16::try_from(m.port).map_err(|_| BadMessage {
                    message: "LibvirtTcp",
                    field: "port",
                    why: format!("is {}, and no TCP port is above 65535", m.port),
                })?,
                tls: m.tls,
            },
            W::GuestJobs(_) => Self::GuestJobs,
            W::CephDaemons(_) => Self::CephDaemons,
            W::CephStop(m) => Self::CephStop { osds: m.osds },
            W::CephSettle(m) => Self::CephSettle { osds: m.osds, version: Version::new(m.version) },
            W::CephMap(_) => Self::CephMap,
            W::CephMons(_) => Self::CephMons,
            W::CephMds(m) => Self::CephMds { stopping: m.stopping },
            W::CephGroups(_) => Self::CephGroups,
            W::CephHealth(_) => Self::CephHealth,
            W::CephCluster(_) => Self::CephCluster,
        })
    }
}

impl From<r::CephDaemonSeen> for v1::reading::CephDaemonSeen {
    fn from(seen: r::CephDaemonSeen) -> Self {
        Self {
            daemon: seen.daemon.to_string(),
            unit: seen.unit,
            pid: seen.pid,
            start_ticks: seen.start_ticks,
            running_version: seen.running_version.map(|v| v.to_string()),
            installed_version: seen.installed_version.map(|v| v.to_string()),
            executable_deleted: seen.executable_deleted,
            detail: seen.detail,
        }
    }
}

impl TryFrom<v1::reading::CephDaemonSeen> for r::CephDaemonSeen {
    type Error = BadMessage;
    fn try_from(m: v1::reading::CephDaemonSeen) -> Result<Self, BadMessage> {
        Ok(Self {
            daemon: parse("CephDaemonSeen", "daemon", &m.daemon)?,
            unit: m.unit,
            pid: m.pid,
            start_ticks: m.start_ticks,
            running_version: m.running_version.map(Version::new),
            installed_version: m.installed_version.map(Version::new),
            executable_deleted: m.executable_deleted,
            detail: m.detail,
        })
    }
}

impl v1::Reading {
    /// The message for a reading that answers the request with this `ask_id`.
    pub fn answering(ask_id: u64, reading: r::Reading) -> Self {
        use v1::reading as w;
        let value = match reading.value {
            r::ReadingValue::Census(census) => w::Value::Census(census.into()),
            r::ReadingValue::Facts(facts) => match serde_json::to_vec(&facts) {
                Ok(json) => w::Value::FactsJson(json),
                Err(error) => {
                    w::Value::CannotTell(w::CannotTell { why: format!("facts do not encode: {error}") })
                }
            },
            r::ReadingValue::Libvirtd(seen) => w::Value::Libvirtd(w::LibvirtdSeen {
                active_state: seen.active_state,
                pid: seen.pid,
                start_ticks: seen.start_ticks,
                running_version: seen.running_version.map(|v| v.to_string()),
                installed_version: seen.installed_version.map(|v| v.to_string()),
            }),
            r::ReadingValue::EmulatorForNewGuests { path, version } => {
                w::Value::EmulatorForNewGuests(w::EmulatorSeen {
                    path: path_text(path),
                    version: version.map(|v| v.to_string()),
                })
            }
            r::ReadingValue::LibvirtTcp { answered, detail } => {
                w::Value::LibvirtTcp(w::TcpSeen { answered, detail })
            }
            r::ReadingValue::GuestJobs(jobs) => w::Value::GuestJobs(w::GuestJobsSeen {
                jobs: jobs.into_iter().map(|(guest, job)| w::GuestJob { guest, job }).collect(),
            }),
            r::ReadingValue::CephDaemons(daemons) => {
                w::Value::CephDaemons(w::CephDaemonsSeen { daemons: each(daemons) })
            }
            r::ReadingValue::Ceph(json) => w::Value::Ceph(json),
            r::ReadingValue::CannotTell { why } => w::Value::CannotTell(w::CannotTell { why }),
        };
        Self {
            host: reading.host.into(),
            ask_id,
            measurement: Some(reading.request.into()),
            taken_at_ms: reading.taken_at_ms,
            value: Some(value),
        }
    }
}

impl TryFrom<v1::Reading> for r::Reading {
    type Error = BadMessage;
    fn try_from(m: v1::Reading) -> Result<Self, BadMessage> {
        use v1::reading::Value as W;
        let value = match need("Reading", "value", m.value)? {
            W::Census(census) => r::ReadingValue::Census(census.try_into()?),
            W::FactsJson(json) => {
                let facts = serde_json::from_slice(&json).map_err(|error| BadMessage {
                    message: "Reading",
                    field: "facts_json",
                    why: format!("does not read as facts: {error}"),
                })?;
                r::ReadingValue::Facts(facts)
            }
            W::Libvirtd(seen) => r::ReadingValue::Libvirtd(r::LibvirtdSeen {
                active_state: seen.active_state,
                pid: seen.pid,
                start_ticks: seen.start_ticks,
                running_version: seen.running_version.map(Version::new),
                installed_version: seen.installed_version.map(Version::new),
            }),
            W::EmulatorForNewGuests(seen) => r::ReadingValue::EmulatorForNewGuests {
                path: seen.path.into(),
                version: seen.version.map(Version::new),
            },
            W::LibvirtTcp(seen) => {
                r::ReadingValue::LibvirtTcp { answered: seen.answered, detail: seen.detail }
            }
            W::GuestJobs(seen) => {
                r::ReadingValue::GuestJobs(seen.jobs.into_iter().map(|j| (j.guest, j.job)).collect())
            }
            W::CephDaemons(seen) => r::ReadingValue::CephDaemons(all(seen.daemons)?),
            W::Ceph(json) => r::ReadingValue::Ceph(json),
            W::CannotTell(seen) => r::ReadingValue::CannotTell { why: seen.why },
        };
        Ok(Self {
            host: parse::<HostName>("Reading", "host", &m.host)?,
            request: need("Reading", "measurement", m.measurement)?.try_into()?,
            taken_at_ms: m.taken_at_ms,
            value,
        })
    }
}
