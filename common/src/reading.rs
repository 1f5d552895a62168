//! Readings: what an agent measures when a gate asks. Each says what was seen; the core judges.

use crate::UnixMs;
use crate::census::Census;
use crate::ceph::CephDaemon;
use crate::facts::Facts;
use crate::ids::HostName;
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadingRequest {
    /// Take a census now.
    Census,
    /// Collect all facts now.
    Facts,
    /// Ask libvirtd who it is.
    Libvirtd,
    /// Which emulator would a new guest get, for this virtualisation type (`kvm`, `qemu`) on the host's architecture?
    EmulatorForNewGuests { virt_type: String },
    /// Does libvirtd on `peer` answer at `address:port` over TCP as seen from this host?
    LibvirtTcp { peer: HostName, address: String, port: u16, tls: bool },
    /// Which guests have a job (migration, block job, save) in flight?
    GuestJobs,
    /// The daemons of Ceph that belong to this host.
    CephDaemons,
    /// What of the cluster decides whether these OSDs may be down at the same time.
    CephStop { osds: Vec<u32> },
    /// Are these OSDs back, as `version`, and their placement groups clean again? Looked at for some seconds, until it is so.
    CephSettle { osds: Vec<u32>, version: Version },
    /// The OSD map, and what every OSD was at its last boot.
    CephMap,
    /// Which MONs are in quorum.
    CephMons,
    /// Which MDS serves which rank of which file system, and which stand by; and which sessions would be waited for when these of them stop.
    CephMds { stopping: Vec<String> },
    /// How many placement groups are in which state.
    CephGroups,
    /// The reasons for which the cluster says that it is not well.
    CephHealth,
    /// Everything that planning wants to know of the cluster.
    CephCluster,
}

impl ReadingRequest {
    /// Whether the agent asks a cluster for it, which may take as long as the cluster is large; every other question is of the host alone.
    pub fn is_of_a_cluster(&self) -> bool {
        match self {
            Self::Census
            | Self::Facts
            | Self::Libvirtd
            | Self::EmulatorForNewGuests { .. }
            | Self::LibvirtTcp { .. }
            | Self::GuestJobs
            | Self::CephDaemons => false,
            Self::CephStop { .. }
            | Self::CephSettle { .. }
            | Self::CephMap
            | Self::CephMons
            | Self::CephMds { .. }
            | Self::CephGroups
            | Self::CephHealth
            | Self::CephCluster => true,
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadingValue {
    Census(Census),
    Facts(Box<Facts>),
    Libvirtd(LibvirtdSeen),
    EmulatorForNewGuests {
        path: PathBuf,
        version: Option<Version>,
    },
    /// `answered`: the peer spoke libvirt's protocol, an authentication demand included.
    LibvirtTcp {
        answered: bool,
        detail: String,
    },
    /// Names of guests with a job, and the job.
    GuestJobs(Vec<(String, String)>),
    CephDaemons(Vec<CephDaemonSeen>),
    /// What was seen of a cluster, as `replank_ceph::seen::Seen` writes and reads it.
    Ceph(String),
    /// It could not be measured; blocks, and says why.
    CannotTell {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtdSeen {
    /// systemd's ActiveState of the daemon's unit.
    pub active_state: String,
    pub pid: Option<u32>,
    pub start_ticks: Option<u64>,
    /// What the running daemon says of itself, over its API.
    pub running_version: Option<Version>,
    /// What the files on disk are, by the package manager.
    pub installed_version: Option<Version>,
}

/// A daemon of Ceph that belongs to a host, whether it runs or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephDaemonSeen {
    pub daemon: CephDaemon,
    /// systemd's unit that holds the process; `None`: none does.
    pub unit: Option<String>,
    /// Of the process; `None`: it does not run.
    pub pid: Option<u32>,
    pub start_ticks: Option<u64>,
    /// What the running process says of itself at its admin socket.
    pub running_version: Option<Version>,
    /// What the program on disk says of itself.
    pub installed_version: Option<Version>,
    /// The program that the process was started from is no longer there: it runs what was installed before.
    pub executable_deleted: bool,
    /// Why something above is not known; empty when all is.
    pub detail: String,
}

/// One measurement by one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub host: HostName,
    pub request: ReadingRequest,
    pub taken_at_ms: UnixMs,
    pub value: ReadingValue,
}
