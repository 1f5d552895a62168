//! Readings: what an agent measures when a gate asks. Each says what was seen; the core judges.

use crate::UnixMs;
use crate::census::Census;
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

/// One measurement by one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub host: HostName,
    pub request: ReadingRequest,
    pub taken_at_ms: UnixMs,
    pub value: ReadingValue,
}
