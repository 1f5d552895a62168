//! Everything that planning wants to know of a cluster.

use crate::OsdId;
use crate::documents::{FileSystem, Health, OsdDump, OsdMetadata, OsdTree, PgDump, QuorumStatus};
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A cluster as one of its hosts saw it. What could not be learned is an entry in `errors`, never a silent gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub osds: OsdDump,
    pub tree: OsdTree,
    /// Every group, without its counts where it is clean.
    pub pgs: PgDump,
    pub quorum: QuorumStatus,
    pub health: Health,
    /// What each OSD was at its last boot, also of those that are down.
    pub metadata: BTreeMap<OsdId, OsdMetadata>,
    /// By kind of daemon, how many booted with each version; `None`: not before Luminous.
    pub versions: Option<BTreeMap<String, BTreeMap<String, u32>>>,
    /// What each MON of the map says of itself; `None`: it did not answer.
    pub mon_versions: BTreeMap<String, Option<Version>>,
    /// `ceph osd crush show-tunables`, values as text.
    pub tunables: BTreeMap<String, String>,
    /// How full each OSD is, in thousandths.
    pub osd_used_permille: BTreeMap<OsdId, u32>,
    /// What each entity may do with MONs, such as `profile rbd`.
    pub mon_caps: BTreeMap<String, String>,
    /// How far each MON's clock is from the leader's.
    pub time_skew_ms: BTreeMap<String, u64>,
    /// The features that the MONs have for good, as `ceph mon feature ls` names them.
    pub mon_features: Vec<String>,
    #[serde(default)]
    pub second_messenger: Option<BTreeMap<String, bool>>,
    /// The file systems that have a rank; `None`: nobody asked, or nobody answered.
    #[serde(default)]
    pub filesystems: Option<Vec<FileSystem>>,
    /// What could not be learned, and why.
    pub errors: BTreeMap<String, String>,
}
