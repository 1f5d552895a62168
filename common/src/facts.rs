//! Facts: what an agent reports of its host. What could not be learned is an entry in `errors`, never a silent gap.
//!
//! The JSON form is part of the inventory file, so fields are only added, and readers ignore unknown ones.

use crate::UnixMs;
use crate::census::Census;
use crate::ceph::CephDaemon;
use crate::ids::{BootId, HostName};
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    Apt,
    Dnf,
    Yum,
}

impl PackageManager {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Yum => "yum",
        }
    }
}

/// `/etc/os-release` and the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsFacts {
    /// `ID`, such as `debian`, `centos`.
    pub id: String,
    /// `VERSION_ID`, such as `12`, `7`.
    pub version_id: String,
    pub pretty_name: String,
    pub kernel: String,
    pub architecture: String,
    /// Whether `pidfd_open` works (Linux 5.3).
    pub pidfd: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFact {
    pub name: String,
    pub architecture: String,
    /// The package manager's full spelling.
    pub version: String,
}

/// A systemd unit that matters to guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFact {
    pub name: String,
    /// systemd's LoadState, ActiveState, SubState and UnitFileState.
    pub load_state: String,
    pub active_state: String,
    pub sub_state: String,
    pub file_state: String,
    /// systemd's KillMode for services; anything but `process` on libvirtd would take guests along.
    pub kill_mode: Option<String>,
    pub drop_ins: Vec<PathBuf>,
}

/// A file system that the upgrade writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceFact {
    pub path: PathBuf,
    pub total_bytes: u64,
    pub available_bytes: u64,
    pub free_inodes: u64,
    pub read_only: bool,
}

/// A domain that libvirt starts by itself, and whether it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutostartFact {
    pub name: String,
    pub active: bool,
}

/// A libvirt hook and what it answers to `reconnect`, tried with a domain name that no guest has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFact {
    pub path: PathBuf,
    /// The exit code for `reconnect begin -`; `None`: not executable, killed or timed out.
    pub reconnect_exit: Option<i32>,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibvirtFacts {
    /// systemd's unit of the daemon: `libvirtd.service` or `virtqemud.service`.
    pub unit: String,
    /// What the running daemon says of itself; `None`: it does not answer.
    pub running_version: Option<Version>,
    /// libvirt's idea of the default emulator: path by virtualisation type (`kvm`, `qemu`).
    pub default_emulators: BTreeMap<String, PathBuf>,
    pub autostart: Vec<AutostartFact>,
    pub hooks: Vec<HookFact>,
    /// Effective values in libvirtd.conf: `listen_tcp`, `listen_tls`, `auth_tcp`, `tcp_port`, `listen_addr`.
    pub config: BTreeMap<String, String>,
    /// Guests with a migration, block job or save in flight: name and job.
    pub jobs: Vec<(String, String)>,
}

/// A qemu on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulatorFact {
    pub path: PathBuf,
    /// What `-version` prints; `None`: it does not run, `detail` says why.
    pub version: Option<Version>,
    pub detail: String,
    /// Guests whose definition or status names this path.
    pub used_by: Vec<String>,
}

/// The user that Ceph's packages make, or another of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CephUser {
    pub uid: u32,
    pub gid: u32,
}

/// A daemon of Ceph whose data lies on the host, whether it runs or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CephDaemonFact {
    pub daemon: CephDaemon,
    /// systemd's unit that holds the process; `None`: none does, or it does not run.
    pub unit: Option<String>,
    pub pid: Option<u32>,
    /// What the running process says of itself.
    pub running: Option<Version>,
    /// What the program on disk is.
    pub installed: Option<Version>,
    /// Owner of the data directory itself: user and group.
    pub data_owner: Option<(u32, u32)>,
    /// Owner of the device or file behind an OSD's `journal`.
    pub journal_owner: Option<(u32, u32)>,
    /// `bluestore`, `filestore`; of OSDs only.
    pub object_store: Option<String>,
    /// Of the data directory: `xfs`, `ext4`.
    pub fs_type: Option<String>,
    /// `sysvinit`, `systemd`: the marker that the tool which prepared an OSD has left.
    pub init: Option<String>,
    /// The user that its process acts as.
    #[serde(default)]
    pub runs_as: Option<u32>,
    /// Who sees to it that an OSD's data is there after a boot. `None`: it cannot be told, or was not asked.
    #[serde(default)]
    pub mounted_by: Option<CephMount>,
    /// About how many files it has, where its file system is its own and counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// What the links in its directory lead to, outside of it.
    #[serde(default)]
    pub behind: Vec<CephBehindFact>,
}

/// Who mounts an OSD's data at a boot, which decides who starts the OSD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CephMount {
    /// It is mounted before daemons are started, by `/etc/fstab` or a unit of the host's own.
    Fstab,
    /// udev, when the disk appears, and it enables the OSD for that boot.
    Udev,
    /// `ceph-volume`, which enables the OSD for that boot.
    CephVolume,
    /// It is no file system of its own.
    Directory,
}

/// What a link in a daemon's directory leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CephBehindFact {
    /// Such as `journal`.
    pub link: String,
    pub path: PathBuf,
    pub owner: (u32, u32),
    /// A device, whose owner a boot forgets.
    pub device: bool,
    /// Whether the ceph user may read and write it.
    pub serves: bool,
    /// Whether something gives it to the ceph user at every boot.
    pub given_at_boot: bool,
}

/// What of Ceph is on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CephFacts {
    pub daemons: Vec<CephDaemonFact>,
    pub ceph_user: Option<CephUser>,
    /// `enforcing`, `permissive`, `disabled`; `None`: it cannot be told.
    pub selinux: Option<String>,
    /// The keys of `ceph.conf` as `section/key`, blanks in the key written as underscores.
    pub config: BTreeMap<String, String>,
    /// The first part of the host's own name, which an OSD's bucket is named by.
    pub short_hostname: String,
    pub admin_keyring: bool,
    /// What on the host is of a cluster that is not called `ceph`, and that cluster's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_clusters: BTreeMap<PathBuf, String>,
}

/// Everything an agent knows of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub host: HostName,
    pub boot_id: BootId,
    pub machine_id: String,
    pub collected_at_ms: UnixMs,
    pub agent_version: String,
    pub os: OsFacts,
    /// The managers that work here, the host's native one first. A Debian host with dnf has both.
    pub package_managers: Vec<PackageManager>,
    /// Installed packages that the catalog may care about (libvirt*, qemu*, seabios, ipxe*, librbd*, ceph*, …).
    pub packages: BTreeMap<PackageManager, Vec<PackageFact>>,
    pub units: Vec<UnitFact>,
    pub libvirt: Option<LibvirtFacts>,
    pub emulators: Vec<EmulatorFact>,
    pub census: Census,
    pub space: Vec<SpaceFact>,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    pub cpus: u32,
    pub addresses: Vec<String>,
    /// Whether needrestart is installed, and would restart services by itself.
    pub needrestart_automatic: Option<bool>,
    /// `None`: there is nothing of Ceph.
    #[serde(default)]
    pub ceph: Option<CephFacts>,
    /// What could not be learned.
    pub errors: Vec<FactError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactError {
    pub fact: String,
    pub why: String,
}
