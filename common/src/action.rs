//! Actions: the typed privileged operations that an agent can perform. There is no "run this shell text".
//!
//! An action says what shall be true afterwards, completely: nothing is chosen while acting. Its undo is not said here;
//! the agent records what was there before (see [`crate::undo`]).

use crate::ceph::{CephDaemon, CephFlag, ConfigWay, Requirement};
use crate::facts::PackageManager;
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The families a host's policy file allows or forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    Repositories,
    Packages,
    Trees,
    Files,
    Units,
    Libvirt,
    Ceph,
}

impl Family {
    pub const ALL: [Self; 7] = [
        Self::Repositories,
        Self::Packages,
        Self::Trees,
        Self::Files,
        Self::Units,
        Self::Libvirt,
        Self::Ceph,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repositories => "repositories",
            Self::Packages => "packages",
            Self::Trees => "trees",
            Self::Files => "files",
            Self::Units => "units",
            Self::Libvirt => "libvirt",
            Self::Ceph => "ceph",
        }
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    RepositoryPin(RepositoryPin),
    PackagesStage(PackagesStage),
    PackagesInstall(PackagesInstall),
    TreeInstall(TreeInstall),
    TreeTrial(TreeTrial),
    TreeRetain(TreeRetain),
    FileEdit(FileEdit),
    FileWrite(FileWrite),
    UnitMask(UnitMask),
    UnitEnable(UnitEnable),
    UnitDropIn(UnitDropIn),
    LibvirtTrial(LibvirtTrial),
    LibvirtAnchor(LibvirtAnchor),
    LibvirtRestart(LibvirtRestart),
    CephFlags(CephFlags),
    CephConfig(CephConfig),
    CephRestart(CephRestart),
    CephRequire(CephRequire),
    CephOwn(CephOwn),
}

impl Action {
    pub fn family(&self) -> Family {
        match self {
            Self::RepositoryPin(_) => Family::Repositories,
            Self::PackagesStage(_) | Self::PackagesInstall(_) => Family::Packages,
            Self::TreeInstall(_) | Self::TreeTrial(_) | Self::TreeRetain(_) => Family::Trees,
            Self::FileEdit(_) | Self::FileWrite(_) => Family::Files,
            Self::UnitMask(_) | Self::UnitEnable(_) | Self::UnitDropIn(_) => Family::Units,
            Self::LibvirtTrial(_) | Self::LibvirtAnchor(_) | Self::LibvirtRestart(_) => Family::Libvirt,
            Self::CephFlags(_)
            | Self::CephConfig(_)
            | Self::CephRestart(_)
            | Self::CephRequire(_)
            | Self::CephOwn(_) => Family::Ceph,
        }
    }

    /// The word of the action's kind, as logs, metrics and error pages use it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RepositoryPin(_) => "repository-pin",
            Self::PackagesStage(_) => "packages-stage",
            Self::PackagesInstall(_) => "packages-install",
            Self::TreeInstall(_) => "tree-install",
            Self::TreeTrial(_) => "tree-trial",
            Self::TreeRetain(_) => "tree-retain",
            Self::FileEdit(_) => "file-edit",
            Self::FileWrite(_) => "file-write",
            Self::UnitMask(_) => "unit-mask",
            Self::UnitEnable(_) => "unit-enable",
            Self::UnitDropIn(_) => "unit-drop-in",
            Self::LibvirtTrial(_) => "libvirt-trial",
            Self::LibvirtAnchor(_) => "libvirt-anchor",
            Self::LibvirtRestart(_) => "libvirt-restart",
            Self::CephFlags(_) => "ceph-flags",
            Self::CephConfig(_) => "ceph-config",
            Self::CephRestart(_) => "ceph-restart",
            Self::CephRequire(_) => "ceph-require",
            Self::CephOwn(_) => "ceph-own",
        }
    }
}

/// A package at an exact version, in its manager's full spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePin {
    pub name: String,
    pub version: String,
}

/// A package repository as the operator wrote it in the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repository {
    /// A line for `/etc/apt/sources.list.d`: `deb [options] uri suite components`.
    Apt { uri: String, suite: String, components: Vec<String>, options: Vec<String> },
    /// A section for `/etc/yum.repos.d`.
    Rpm { base_url: String, gpg_check: bool, gpg_key: Option<String> },
}

/// Add the repository under replank's own file name and pin the named packages to exact versions, so that nothing else
/// comes along. Borrowed: given back at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryPin {
    pub manager: PackageManager,
    /// Names the files: `replank-<name>.list`, `.pref`, `.repo`.
    pub name: String,
    pub repository: Repository,
    pub pins: Vec<PackagePin>,
}

/// Fetch the packages of both directions (the new versions, and those installed now, for the way back), check their
/// checksums, read their scriptlets and the scriptlets of the installed ones, resolve the transaction without running it,
/// compare it with what guests use, check the space. Changes nothing outside replank's own directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagesStage {
    pub manager: PackageManager,
    pub install: Vec<PackagePin>,
    /// Packages that may go, by name: libraries that a later release has under another name. Any other that would go is a refusal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<String>,
    /// Bytes that must stay available on every file system written to, after everything.
    pub spare_bytes: u64,
}

/// Bring the packages to the staged versions, from the staged files alone, with restarts of daemons suppressed. The guard
/// runs again on the resolved transaction. Refuses when the resolved transaction is not the one that was staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagesInstall {
    pub manager: PackageManager,
    pub install: Vec<PackagePin>,
    /// Units that must be the same process after as before (`libvirtd.service`, `virtlogd.service`, …).
    pub undisturbed_units: Vec<String>,
}

/// Install a relocated build beside the old one: a package that owns nothing outside `prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeInstall {
    pub manager: PackageManager,
    pub package: PackagePin,
    /// Such as `/opt/qemu/10.0.2`.
    pub prefix: PathBuf,
}

/// Run the new emulator once, stopped and without a guest, and watch which files it opens: none below `old_prefixes`. Check that it
/// is of `version`, knows every machine type that this host's guests have, and compare the size classes of its ROMs with
/// those of the old emulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeTrial {
    pub emulator: PathBuf,
    pub version: Version,
    pub old_prefixes: Vec<PathBuf>,
    pub rom_directories: Vec<PathBuf>,
    pub old_rom_directories: Vec<PathBuf>,
}

/// Keep what running guests use: every file that their processes map, and what they may load later (`lazy` directories and globs),
/// copied with a manifest into an immutable directory below the agent's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeRetain {
    /// Names the directory.
    pub name: String,
    /// Directories whose files a running qemu or its libraries may open later: modules, Ceph plug-ins, ROMs.
    pub lazy: Vec<PathBuf>,
}

/// The dialects of `replank-conf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    Ini,
    Systemd,
    Shell,
    Libvirt,
    Ceph,
}

/// One change to a configuration file. `section` only for dialects with sections. An empty `values` unsets the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    pub section: Option<String>,
    pub key: String,
    /// One value, or several where the dialect repeats keys or has lists; without quotes, as the reader means them.
    pub values: Vec<SettingValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingValue {
    Text(String),
    Number(i64),
}

/// Change the named keys of a configuration file and not another byte, atomically, with the old bytes kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEdit {
    pub path: PathBuf,
    pub dialect: Dialect,
    pub settings: Vec<Setting>,
    /// Make the file when it is absent; else its absence is a refusal.
    pub create: bool,
}

/// Put a whole small file of replank's own in place, atomically. Refuses when something else is there, unless it has the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileWrite {
    pub path: PathBuf,
    pub contents: String,
    pub mode: u32,
    /// Set the present file aside and put it back on undo, instead of refusing.
    pub replace: bool,
}

/// Mask a unit, and stop nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitMask {
    pub unit: String,
    /// In `/run` instead of `/etc`.
    pub runtime: bool,
}

/// Enable or disable a unit for the next boot; starts and stops nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitEnable {
    pub unit: String,
    pub enable: bool,
}

/// A drop-in `replank-<name>.conf` for a unit, and a reload of systemd's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitDropIn {
    pub unit: String,
    pub name: String,
    pub contents: String,
}

/// Which libvirt reads the copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialOf {
    /// The staged new version, before it is installed. Its undo does nothing.
    New,
    /// The version before this run, from the files staged for the way back. Trying is all the action does; its *undo* tries again
    /// and refuses when a guest cannot be read, so that a rollback stops before it endangers anybody.
    Old,
}

/// Let a libvirtd of the other version read copies of the status files, in process, mount, network and IPC namespaces of its own, and
/// report which guests it could not read. Changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtTrial {
    pub manager: PackageManager,
    pub of: TrialOf,
    /// The packages staged by `PackagesStage` that hold that libvirt.
    pub packages: Vec<PackagePin>,
}

/// Remember the running libvirtd. Does nothing going forward; its undo, coming last on the way back, restarts libvirtd under watch
/// when the running one is not the one on disk or its configuration has changed since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtAnchor {
    pub unit: String,
    /// Sockets of libvirtd to bring in line with their enablement when the daemon is restarted.
    pub sockets: Vec<String>,
}

/// Restart libvirtd once, under a watch on every incarnation; `expect` is what the new daemon must say of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtRestart {
    pub unit: String,
    pub expect: Version,
    /// Sockets that must be listening afterwards (`libvirtd-tcp.socket`); started before the daemon.
    pub sockets: Vec<String>,
}

/// Set flags of the OSD map. Those that are set already are whoever's they were: the record names the others, and the undo unsets these alone.
/// Borrowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephFlags {
    pub flags: Vec<CephFlag>,
}

/// Give a setting of the cluster's daemons a value for a while. The record holds what it was before, or that it was not set. Borrowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephConfig {
    /// Whose: `global`, `mon`, `mgr`, `osd`, or one daemon.
    pub section: String,
    /// With underscores, as Ceph prints it.
    pub name: String,
    pub value: String,
    pub way: ConfigWay,
}

/// Stop daemons of this host side by side, see that they are gone, and start them from what is on disk now, which must be `expect`. One that runs it
/// already is left alone. Before the first stop the agent judges for itself, from the cluster's own documents, whether they may (P10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephRestart {
    pub daemons: Vec<CephDaemon>,
    /// What each daemon must say of itself afterwards, such as `16.2.15`.
    pub expect: Version,
    /// OSDs of other hosts that may be down at the same time: those of the same wave.
    pub beside: Vec<u32>,
    /// Pools whose thin redundancy the operator accepts.
    pub consents: Vec<String>,
    /// A daemon that still runs so long after it was asked to end fails the step.
    pub stop_ms: u64,
    /// A daemon that does not run the new version so long after its start fails the step.
    pub start_ms: u64,
}

/// Have the cluster require something of every OSD, for good. Refused while an OSD that exists, up or down, is older.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephRequire {
    pub what: Requirement,
}

/// Give the files of one daemon of this host to the user that it shall run as, and the directory itself last: `setuser match path` looks at that one alone,
/// so that whatever is done half starts as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephOwn {
    pub daemon: CephDaemon,
    /// The numbers of the host's user `ceph`.
    pub uid: u32,
    pub gid: u32,
    /// How many files are looked at in a second while the daemon runs; 0: as fast as an idle disk lets.
    pub files_per_second: u32,
    /// `None`: no more than what can be done while the daemon runs.
    pub switch: Option<OwnSwitch>,
}

/// The daemon stops, what it made meanwhile follows, and it starts as its new user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnSwitch {
    /// What the daemon runs before and after.
    pub expect: Version,
    /// Pools whose thin redundancy the operator accepts.
    pub consents: Vec<String>,
    /// A daemon that still runs so long after it was asked to end fails the step.
    pub stop_ms: u64,
    /// Files that are not all changed so long after it has ended wait for another try, and it starts as before.
    pub down_ms: u64,
    /// A daemon that does not run so long after its start is started as before.
    pub start_ms: u64,
}
