//! What a hop of Ceph is made of, from one stable release to a later one.
//!
//! A release is a series here (`16.2`); the fleet file says which point release of it. What differs between releases is data: who comes
//! first, which flags are borrowed, what is written before a first start, which points of no return there are, what the health will say
//! meanwhile. How a wave is made and judged is the same for all.

use super::model::{MaskRow, QuietRow};
use replank_common::ceph::{CephFlag, CephKind};
use replank_common::version::Version;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephPart {
    pub releases: ReleasesRow,
    pub order: OrderRow,
    /// In the order in which kinds of daemons are passed.
    pub daemon: Vec<DaemonKindRow>,
    #[serde(default)]
    pub limit: Vec<LimitRow>,
    /// Flags that the OSD map must have before the voyage.
    #[serde(default)]
    pub needs: Vec<NeedsRow>,
    /// Flags of the OSD map that are set for the while.
    pub flag: Vec<FlagRow>,
    /// Written into `ceph.conf` before the first start of the new release.
    #[serde(default)]
    pub file: Vec<FileRow>,
    /// Settings of running daemons, borrowed.
    #[serde(default)]
    pub config: Vec<ConfigRow>,
    #[serde(default)]
    pub mask: Vec<MaskRow>,
    #[serde(default)]
    pub quiet: Vec<QuietRow>,
    /// In the order in which they are crossed, after the last daemon.
    #[serde(default)]
    pub point: Vec<PointRow>,
    /// The first quorum of new MONs alone.
    pub quorum: WayRow,
    /// A daemon that has started on the new release.
    pub back: WayRow,
    /// What the health says meanwhile and may say.
    #[serde(default)]
    pub health: Vec<HealthRow>,
    /// Options whose default is another one in the new release.
    #[serde(default)]
    pub default: Vec<DefaultRow>,
    /// Commands that one of the two releases lacks.
    #[serde(default)]
    pub command: Vec<CommandRow>,
    /// How the cluster's documents differ between the two.
    #[serde(default)]
    pub document: Vec<DocumentRow>,
    #[serde(default)]
    pub trap: Vec<TrapRow>,
    pub patience: PatienceRow,
}

impl CephPart {
    pub fn has_trap(&self, trap: Trap) -> Option<&TrapRow> {
        self.trap.iter().find(|row| row.trap == trap)
    }

    pub fn kind(&self, kind: CephKind) -> Option<&DaemonKindRow> {
        self.daemon.iter().find(|row| row.kind == kind)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasesRow {
    /// As `require-osd-release` spells it: `nautilus`.
    pub from: String,
    pub to: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRow {
    /// The release itself demands that MONs come first.
    pub mon_first_is_enforced: bool,
    /// One old MON stays in quorum until the first OSDs are judged, because a quorum of new MONs alone cannot be taken back.
    pub old_mon_stays_for_the_canary: bool,
    pub why: String,
    pub source: String,
}

/// One kind of daemon on the new release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonKindRow {
    pub kind: CephKind,
    /// With `{id}` for the daemon's [`instance`](replank_common::ceph::CephDaemon::instance).
    pub unit: String,
    /// Packages that the daemon runs from.
    pub packages: Vec<String>,
    /// How a running daemon of the old release is found where it is not this unit's.
    #[serde(default)]
    pub old: Option<String>,
    /// Units to enable for the next boot, with `{id}`; empty where the old release has enabled them.
    #[serde(default)]
    pub enable: Vec<String>,
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The release that runs before.
    From,
    /// The release that the fleet file asks for.
    To,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// This point release or a later one.
    Minimum(Version),
    /// Any but this one.
    Forbidden(Version),
}

/// A point release that must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    pub side: Side,
    #[serde(flatten)]
    pub limit: Limit,
    pub why: String,
    pub source: String,
}

impl LimitRow {
    /// Whether `version` is what the row rules out.
    pub fn rules_out(&self, version: &Version) -> bool {
        match &self.limit {
            Limit::Minimum(minimum) => version < minimum,
            Limit::Forbidden(forbidden) => version == forbidden,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeedsRow {
    pub flag: String,
    pub why: String,
    pub remedy: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagRow {
    pub flag: CephFlag,
    pub why: String,
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileWhen {
    Always,
    /// The data of a daemon of this section is not the user ceph's.
    OwnedByRoot,
    /// An OSD of the host lies on ext4.
    Ext4,
}

/// One key of `ceph.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    pub section: String,
    /// With blanks, as Ceph's own documents spell it.
    pub key: String,
    pub value: String,
    pub when: FileWhen,
    /// It is for the time of the voyage alone, and given back.
    #[serde(default)]
    pub borrowed: bool,
    pub why: String,
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigHow {
    /// In the MONs' own store (Mimic and later).
    Central,
    /// Into each running daemon, lost when it restarts.
    Inject,
}

/// The section of the MONs' store that every daemon and every client reads.
pub const GLOBAL: &str = "global";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigRow {
    /// A kind of daemon, one daemon, or [`GLOBAL`].
    pub section: String,
    /// With underscores.
    pub name: String,
    pub value: String,
    pub how: ConfigHow,
    /// The old release does not know it: it is set once every MON is new, before the first OSD is restarted.
    #[serde(default)]
    pub new_mons_only: bool,
    pub why: String,
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    SortBitwise,
    RequireJewelOsds,
    RequireOsdRelease,
    EnableMsgr2,
}

/// A switch of the whole cluster that cannot be switched back (P8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointRow {
    pub what: Point,
    /// How long the cluster should have rested before.
    pub rest_ms: u64,
    pub reason: String,
    pub alternative: String,
    pub source: String,
}

/// What is lost, and the safe way when going back is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WayRow {
    pub reason: String,
    pub alternative: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthRow {
    /// A check's name, or the words that a text begins with where there are no names.
    pub reason: String,
    pub why: String,
    /// What makes it go away.
    pub cure: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultRow {
    pub option: String,
    /// `-`: there was or is no such option.
    pub before: String,
    pub after: String,
    pub effect: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRow {
    pub command: String,
    pub since: String,
    pub instead: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentRow {
    pub document: String,
    pub difference: String,
    pub source: String,
}

/// What the preflight looks for on this hop, beside what it looks for on every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trap {
    /// A user `ceph` that is not the packages' own.
    UserCeph,
    /// OSDs on ext4.
    Ext4Names,
    /// The packages relabel every file of every OSD.
    SelinuxRelabel,
    /// Clients make images that older clients cannot open.
    RbdFeatures,
    /// Tunables that the new release warns of.
    LegacyTunables,
    /// An OSD moves itself in the CRUSH map when it starts.
    CrushUpdateOnStart,
    /// `setuser match path`: in the wrong section, or missing where data is root's.
    SetuserMatchPath,
    /// A gateway that will run as ceph, and whose data and key are another's.
    GatewayKey,
    /// A journal on a partition of root's under an OSD that will run as ceph.
    RootJournal,
    /// OSDs on an object store that the new release no longer has.
    ObjectStore,
    /// Clients that take over locks need a capability.
    BlacklistCaps,
    /// The store is converted on the first start, for hours.
    QuickFix,
    /// MDS ranks have to be reduced to one.
    MdsRanks,
    /// There must be a manager.
    ManagerNeeded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrapRow {
    pub trap: Trap,
    pub effect: String,
    pub remedy: String,
    pub source: String,
}

/// How long things may take. Each is of one host, all its daemons of one kind side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatienceRow {
    /// Until a daemon that was told to end must be gone.
    pub stop_ms: u64,
    /// Until a daemon that was started must run.
    pub start_ms: u64,
    /// Expected from the start until a MON is in quorum.
    pub mon_settles_ms: u64,
    /// Expected from the start until every group of an OSD is clean.
    pub osd_settles_ms: u64,
    pub source: String,
}
