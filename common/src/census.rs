//! Guests, their incarnations, and the census of one host.
//!
//! A guest is proved alive by its incarnation: the same (boot id, pid, start time) before and after is the same qemu
//! process; a pid alone may be reused. The census is taken from four independent sources that must agree; where they
//! do not, the disagreement is reported and nothing is repaired (P3).

use crate::UnixMs;
use crate::ids::{BootId, GuestUuid, HostName};
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// One life of a guest's qemu process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incarnation {
    pub boot_id: BootId,
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks between the host's boot and the process's start.
    pub start_ticks: u64,
}

impl fmt::Display for Incarnation {
    /// Short, for tables: `pid 4711, started at tick 123456`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}, started at tick {}", self.pid, self.start_ticks)
    }
}

/// The four sources of a census.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CensusSource {
    /// Processes whose command line is a qemu's with `-uuid`.
    Proc,
    /// `/run/libvirt/qemu/*.xml`.
    StatusFiles,
    /// libvirtd's own answer.
    LibvirtApi,
    /// `machine-qemu*.scope` below `machine.slice`.
    Scopes,
}

impl CensusSource {
    pub const ALL: [Self; 4] = [Self::Proc, Self::StatusFiles, Self::LibvirtApi, Self::Scopes];

    pub fn describe(self) -> &'static str {
        match self {
            Self::Proc => "/proc",
            Self::StatusFiles => "libvirt's status files",
            Self::LibvirtApi => "libvirt's API",
            Self::Scopes => "the cgroup scopes",
        }
    }
}

/// What libvirt says a guest is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestState {
    Running,
    /// Paused, with libvirt's reason such as `user`, `ioerror`, `migration`.
    Paused(String),
    /// Any other state, in libvirt's word.
    Other(String),
    /// libvirt could not be asked in time.
    Unknown,
}

/// One active guest of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    pub uuid: GuestUuid,
    pub name: String,
    pub incarnation: Incarnation,
    pub state: GuestState,
    /// Where the process's executable was when it started (`/proc/PID/exe` without ` (deleted)`).
    pub emulator: PathBuf,
    /// The executable has since been replaced or removed on disk.
    pub emulator_deleted: bool,
    /// The qemu that runs, as asked of the running process's own image; `None` where it cannot be told.
    pub qemu_version: Option<Version>,
    /// `-machine` without options, such as `pc-i440fx-7.2`.
    pub machine: Option<String>,
    /// Persistent in libvirt's sense; `None` when libvirt could not be asked.
    pub persistent: Option<bool>,
    /// The sources that know the guest.
    pub seen_by: BTreeSet<CensusSource>,
}

/// Why a guest's process ended. Only an owner's doing is not a loss (P1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum EndCause {
    /// The guest shut itself down (libvirt's event `Stopped Shutdown`).
    GuestShutdown,
    /// Somebody asked libvirt to end it (libvirt's event `Stopped Destroyed` while libvirtd ran on), with who, when known.
    AskedOfLibvirt { who: Option<String> },
    /// It left by live migration (libvirt's event `Stopped Migrated`).
    Migrated,
    /// The process died or was killed, or nothing tells why: counts as lost. The text says what is known.
    Unattributed { known: String },
}

impl EndCause {
    /// Whether the guest's own owner ended or moved it.
    pub fn is_owners_doing(&self) -> bool {
        match self {
            Self::GuestShutdown | Self::AskedOfLibvirt { .. } | Self::Migrated => true,
            Self::Unattributed { .. } => false,
        }
    }
}

/// A guest that was in a census and ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestEnd {
    pub uuid: GuestUuid,
    pub name: String,
    pub incarnation: Incarnation,
    /// When the agent learned of the end, by the host's clock.
    pub at_ms: UnixMs,
    pub cause: EndCause,
}

/// One thing on which the sources of a census do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disagreement {
    /// A source answered, but does not know a guest that another source knows.
    Missing { guest: GuestUuid, name: String, source: CensusSource },
    /// Two sources give different pids for one guest.
    PidDiffers { guest: GuestUuid, name: String, pids: BTreeMap<CensusSource, u32> },
    /// Two processes carry the same uuid (P2).
    Twice { guest: GuestUuid, pids: Vec<u32> },
    /// A source could not be read at all.
    Silent { source: CensusSource, why: String },
    /// A status file that could not be read as one.
    BadStatusFile { path: PathBuf, why: String },
}

/// The guests of one host at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Census {
    pub host: HostName,
    pub boot_id: BootId,
    /// Grows with each census that this agent process takes; with `agent_start_ms` it orders censuses of one host.
    pub sequence: u64,
    pub agent_start_ms: UnixMs,
    pub taken_at_ms: UnixMs,
    /// By uuid.
    pub guests: BTreeMap<GuestUuid, Guest>,
    /// Ends that this agent saw since it started, oldest first, at most the last 1024.
    pub ended: Vec<GuestEnd>,
    /// Empty when the four sources agree.
    pub disagreements: Vec<Disagreement>,
}

impl Census {
    /// Whether all four sources answered and told the same.
    pub fn agrees(&self) -> bool {
        self.disagreements.is_empty()
    }

    /// The end of one incarnation, if the agent saw it.
    pub fn end_of(&self, uuid: GuestUuid, incarnation: Incarnation) -> Option<&GuestEnd> {
        self.ended.iter().rev().find(|end| end.uuid == uuid && end.incarnation == incarnation)
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { guest, name, source } => {
                write!(f, "guest {name} ({guest}) is not known to {}", source.describe())
            }
            Self::PidDiffers { guest, name, pids } => {
                write!(f, "guest {name} ({guest}) has different pids:")?;
                for (source, pid) in pids {
                    write!(f, " {pid} by {};", source.describe())?;
                }
                Ok(())
            }
            Self::Twice { guest, pids } => {
                write!(f, "guest {guest} runs in {} processes: {pids:?}", pids.len())
            }
            Self::Silent { source, why } => write!(f, "{} cannot be read: {why}", source.describe()),
            Self::BadStatusFile { path, why } => {
                write!(f, "status file {} cannot be read: {why}", path.display())
            }
        }
    }
}
