//! What an agent saw of a cluster, as values that travel and that stand in an inventory.
//!
//! Owns their form (JSON text; it only grows, and readers ignore what they do not know) and the cutting down: a cluster may have 500,000 groups and
//! 10,000 OSDs, and a question about a few OSDs is answered with what decides it, no more and no less. The agent makes these, the core judges them, and the agent
//! judges [`Stop`] once more itself before it acts.

mod cluster;
mod groups;
mod settle;
mod stop;

pub use cluster::*;
pub use groups::*;
pub use settle::*;
pub use stop::*;

use crate::OsdId;
use crate::documents::{Health, MdsMap, OsdDump, OsdMetadata, QuorumStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long everything may take that an agent asks a cluster for one answer. Who asks waits as long before it asks again, and the agent ends what it began when
/// this has passed, so that never two of one question are at work on a host. The list of 500,000 placement groups alone takes a minute or more. Milliseconds.
pub const ANSWER_MS: u64 = 240_000;

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    Stop(Box<Stop>),
    Settle(Settle),
    Map(Box<Map>),
    Mons(QuorumStatus),
    Mds(MdsMap),
    Groups(Groups),
    Health(Health),
    Cluster(Box<Cluster>),
}

/// The OSD map, and what every OSD was at its last boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    pub osds: OsdDump,
    pub metadata: BTreeMap<OsdId, OsdMetadata>,
    /// Every MON of the map, and whether it has an address of the second messenger. `None`: the release knows no such thing.
    #[serde(default)]
    pub second_messenger: Option<BTreeMap<String, bool>>,
}

/// A text that no agent of a version known here wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "what was seen of the cluster does not read: {why}; see that agents and coordinator are of one version"
)]
pub struct Unreadable {
    pub why: String,
}

impl Seen {
    /// Its form on the wire.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("plain data with text keys can always be written as JSON")
    }

    /// # Errors
    /// Another form.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        serde_json::from_str(text).map_err(|error| Unreadable { why: error.to_string() })
    }

    /// The words for its kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop(_) => "what keeps OSDs from stopping",
            Self::Settle(_) => "how OSDs settle",
            Self::Map(_) => "the OSD map",
            Self::Mons(_) => "the quorum",
            Self::Mds(_) => "the map of MDS",
            Self::Groups(_) => "the states of the placement groups",
            Self::Health(_) => "the health",
            Self::Cluster(_) => "the whole cluster",
        }
    }
}
