//! Undo records: what a thing was before replank changed it.
//!
//! The agent writes the record to its ledger before the change (P4), and gives back from the record alone (P7). A record
//! is restored only where the present state is what replank left; anything else was changed by somebody since, and is a
//! refusal that names it.

use crate::ceph::CephFlag;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What was at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileBefore {
    Absent,
    /// A regular file; its bytes are kept in the agent's own directory under their digest.
    File {
        sha256: String,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Symlink {
        target: PathBuf,
    },
}

/// One path as it was, and what replank made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    pub path: PathBuf,
    pub before: FileBefore,
    /// SHA-256 of the bytes that replank writes, in hexadecimal; `None` where replank removes the file.
    pub after_sha256: Option<String>,
    /// Directories that replank had to make for it, outermost first; removed again when empty.
    pub made_directories: Vec<PathBuf>,
}

/// A package before and after. `None`: not installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageChange {
    pub name: String,
    pub architecture: String,
    /// In the package manager's own full spelling, epoch and release included.
    pub before: Option<String>,
    pub after: Option<String>,
    /// Marked as installed on behalf of others (`apt-mark auto`); restored too.
    pub automatic_before: Option<bool>,
}

/// The packages of a transaction, and what was on the host before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagesBefore {
    pub changes: Vec<PackageChange>,
    /// The list of the files of these packages and of what lies around them (configuration, links of units, alternatives, accounts), kept
    /// in the agent's own directory under this digest.
    pub around_sha256: String,
}

/// A unit's state as systemd told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitBefore {
    pub unit: String,
    /// systemd's UnitFileState: `enabled`, `disabled`, `masked`, `masked-runtime`, `static`, …, empty if there is none.
    pub file_state: String,
    /// systemd's ActiveState.
    pub active_state: String,
    /// Symlinks that enabling, disabling or masking touches, with their targets as they were.
    pub links: Vec<FileChange>,
}

/// The owner of one file. The path is absolute where the file lies outside its daemon's directory, behind a link in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnedBefore {
    pub path: PathBuf,
    pub uid: u32,
    pub gid: u32,
}

/// How to take an action back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoRecord {
    /// The action changed nothing on the host.
    Nothing,
    Files(Vec<FileChange>),
    Packages(PackagesBefore),
    /// A directory of replank's own that may be removed once nothing maps or opens anything below it.
    Tree {
        path: PathBuf,
    },
    Unit(UnitBefore),
    /// libvirtd as it ran: its restart brings the daemon in line with the files on disk again.
    Libvirtd {
        pid: u32,
        start_ticks: u64,
        version: String,
    },
    /// Flags of the OSD map that were not set, and are ours to unset.
    CephFlags {
        unset: Vec<CephFlag>,
    },
    /// A setting of Ceph's daemons as it was; `None`: it was not set.
    CephConfig {
        before: Option<String>,
    },
    /// Whose the files of a daemon were.
    CephOwner {
        uid: u32,
        gid: u32,
        /// How many there were, for people.
        entries: u64,
        /// Those that were neither the owner's nor the new one's.
        others: Vec<OwnedBefore>,
    },
}
