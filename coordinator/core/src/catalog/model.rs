//! What a hop is made of, and how its file spells it.

use super::ceph::CephPart;
use replank_common::facts::{OsFacts, PackageManager};
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything the program knows of releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Catalog {
    /// By id.
    pub hops: BTreeMap<String, Hop>,
    /// By [`replank_common::action::Action::kind`], and `observe` and `give-back`.
    pub times: BTreeMap<String, Time>,
    pub watchers: Vec<Watcher>,
}

/// A way from one version of a component to a later one, on one kind of host. Of Ceph, from one stable release to a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Such as `debian-12-libvirt-9.0-to-11.3`.
    pub id: String,
    /// The series that it starts from: `9.0` covers 9.0.0 and 9.0.1.
    pub from: Version,
    /// The exact version that it leads to; of Ceph a series, of which the fleet file names the point release.
    pub to: Version,
    pub manager: PackageManager,
    /// As `uname -m` prints them.
    pub architectures: Vec<String>,
    pub os: Vec<OsRow>,
    pub packages: PackagesRow,
    pub part: Part,
    pub flaws: Vec<Flaw>,
    /// Times that differ from the general ones.
    pub times: BTreeMap<String, Time>,
    pub source: String,
}

impl Hop {
    /// Whether the hop was made for this operating system.
    pub fn is_for(&self, os: &OsFacts) -> bool {
        let known = self
            .os
            .iter()
            .any(|row| row.id == os.id && Version::new(os.version_id.as_str()).is_of_series(&row.version_id));
        known && self.architectures.contains(&os.architecture)
    }

    /// The component's name.
    pub fn component(&self) -> &'static str {
        match self.part {
            Part::Qemu(_) => "qemu",
            Part::Libvirt(_) => "libvirt",
            Part::Ceph(_) => "ceph",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Qemu(QemuPart),
    Libvirt(Box<LibvirtPart>),
    Ceph(Box<CephPart>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsRow {
    pub id: String,
    /// A series: `7` covers `7.2`.
    pub version_id: Version,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagesRow {
    /// All packages that can make up the component, old or new. One that is installed must be pinned.
    pub names: Vec<String>,
    /// Those that a fleet file must pin in any case.
    pub required: Vec<String>,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuPart {
    /// The emulator's file name in the new build's bin directory.
    pub emulator: String,
    /// Directories of the old build; a new one that opens a file there is not self-contained.
    pub old_prefixes: Vec<PathBuf>,
    /// Below the new prefix.
    pub rom_directories: Vec<PathBuf>,
    pub old_rom_directories: Vec<PathBuf>,
    /// What running guests may load later.
    pub lazy: Vec<LazyRow>,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LazyRow {
    /// A directory or a glob.
    pub path: PathBuf,
    pub why: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtPart {
    pub daemon: DaemonRow,
    #[serde(default)]
    pub mask: Vec<MaskRow>,
    #[serde(default)]
    pub quiet: Vec<QuietRow>,
    pub remote: RemoteRow,
    pub emulator: EmulatorRow,
    pub back: BackRow,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonRow {
    pub unit: String,
    /// Units that installing the packages must leave as the same process.
    pub undisturbed: Vec<String>,
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    Always,
    /// The unit is loaded on the host.
    Loaded,
    /// needrestart is installed on the host.
    Needrestart,
}

/// A unit that is masked for the time of the upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRow {
    pub unit: String,
    pub when: When,
    pub why: String,
    pub source: String,
}

/// A file that keeps services from being restarted while packages are installed; borrowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietRow {
    /// The last part of the step's id.
    pub step: String,
    pub title: String,
    pub path: PathBuf,
    pub mode: u32,
    pub contents: String,
    pub when: When,
    pub source: String,
}

/// How libvirtd is told to listen for remote TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "style", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RemoteRow {
    /// systemd listens (libvirt 5.6 and later); the daemon refuses `--listen`.
    Sockets { conf: PathBuf, tcp_socket: String, tls_socket: String, source: String },
    /// The daemon listens when it is started with `--listen`; then `listen_tls` defaults to on, and without
    /// certificates the daemon does not start.
    ListenFlag { conf: PathBuf, args_file: PathBuf, args_key: String, source: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lookup {
    /// The first in the daemon's `PATH`.
    Path,
    /// A path in libvirt's own code wins over `PATH`.
    CompiledIn,
}

/// How libvirtd finds the emulator for a new guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmulatorRow {
    pub lookup: Lookup,
    /// What stays in the daemon's `PATH` behind the new directory.
    pub path_tail: String,
    pub source: String,
}

/// Whether the way back stays open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackRow {
    /// Whether the old version can read every status file that the new one writes. If not, its first start is a point of
    /// no return (P8).
    pub old_reads_new: bool,
    pub reason: String,
    pub alternative: String,
    pub source: String,
}

/// What keeps a known flaw from doing harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlawGuard {
    /// Only the operator can know: blocks until the fleet file's `build_has` names it.
    Declare,
    /// A trial of every plan finds it on the host itself.
    Trial,
    /// Worth knowing.
    Note,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flaw {
    /// A commit, or a short name.
    pub id: String,
    pub affects: String,
    pub effect: String,
    pub guard: FlawGuard,
    pub remedy: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    pub expected_ms: u64,
    /// Added to `expected_ms` for each guest of the host.
    #[serde(default)]
    pub per_guest_ms: u64,
    /// Added to `expected_ms` for each package that the action names.
    #[serde(default)]
    pub per_package_ms: u64,
    pub deadline_ms: u64,
    pub source: String,
}

impl Time {
    /// What is expected with so many guests and packages, and the deadline at `percent` of what is usual. Milliseconds.
    pub fn of(&self, guests: u64, packages: u64, percent: u64) -> (u64, u64) {
        let more = self.per_guest_ms * guests + self.per_package_ms * packages;
        // Twice what they are expected to add, for a deadline must leave room.
        (self.expected_ms + more, (self.deadline_ms + 2 * more) * percent / 100)
    }
}

/// Services that act on guests by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watcher {
    pub units: Vec<String>,
    pub danger: String,
    pub remedy: String,
    pub source: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TimeRow {
    pub(super) action: String,
    #[serde(flatten)]
    pub(super) time: Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimesFile {
    pub(super) time: Vec<TimeRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchersFile {
    pub(super) watcher: Vec<Watcher>,
}

/// A hop as its file spells it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HopFile {
    hop: HopHead,
    os: Vec<OsRow>,
    packages: PackagesRow,
    qemu: Option<QemuPart>,
    libvirt: Option<LibvirtPart>,
    ceph: Option<CephPart>,
    #[serde(default)]
    flaw: Vec<Flaw>,
    #[serde(default)]
    time: Vec<TimeRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HopHead {
    id: String,
    from: Version,
    to: Version,
    manager: PackageManager,
    architectures: Vec<String>,
    source: String,
}

impl TryFrom<HopFile> for Hop {
    type Error = String;
    fn try_from(file: HopFile) -> Result<Self, String> {
        let HopFile { hop, os, packages, qemu, libvirt, ceph, flaw, time } = file;
        let HopHead { id, from, to, manager, architectures, source } = hop;
        let part = match (qemu, libvirt, ceph) {
            (Some(qemu), None, None) => Part::Qemu(qemu),
            (None, Some(libvirt), None) => Part::Libvirt(Box::new(libvirt)),
            (None, None, Some(ceph)) => Part::Ceph(Box::new(ceph)),
            (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return Err(format!("hop `{id}` must have one of the sections [qemu], [libvirt] and [ceph]"));
            }
        };
        let times = super::by_action(time);
        Ok(Self { id, from, to, manager, architectures, os, packages, part, flaws: flaw, times, source })
    }
}
