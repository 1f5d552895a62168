//! `ceph osd tree`: which OSD is in which bucket.

use super::error::{DocumentError, Kind, Reading};
use super::json::Whole;
use crate::OsdId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The CRUSH hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsdTree {
    /// Every OSD under a bucket, from left to right as the tree is drawn; of one that stands in several places, the first.
    pub leaves: Vec<Leaf>,
    /// OSDs that exist and stand under no bucket.
    pub stray: BTreeSet<OsdId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub osd: OsdId,
    /// The buckets above it, the lowest first.
    pub above: Vec<Bucket>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub id: i64,
    pub name: String,
    /// `host`, `rack`, `root`, or what the cluster's own CRUSH map calls it.
    pub kind: String,
}

impl OsdTree {
    /// # Errors
    /// Not JSON, another document, or buckets that contain themselves.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let reading = Reading { kind: Kind::OsdTree, file };
        let raw: RawTree = reading.json(bytes)?;
        let nodes = raw.nodes.ok_or_else(|| reading.other("nodes"))?;
        let mut by_id: BTreeMap<i64, &RawNode> = BTreeMap::new();
        let mut children: BTreeSet<i64> = BTreeSet::new();
        for (index, node) in nodes.iter().enumerate() {
            let id =
                node.id().ok_or_else(|| reading.field(format!("nodes[{index}].id"), "it has no number"))?;
            // One OSD under two roots is listed once under each.
            if by_id.insert(id, node).is_some() && id < 0 {
                return Err(
                    reading.field(format!("nodes[{index}].id"), format!("bucket {id} is there twice"))
                );
            }
            children.extend(node.below());
        }
        let mut tree = Self { leaves: Vec::new(), stray: BTreeSet::new() };
        tree.stray.extend(raw.stray.iter().filter_map(RawNode::osd));
        let mut seen = BTreeSet::new();
        // Roots as they are listed. A shadow of a device class (`default~ssd`) holds the same OSDs once more.
        for node in nodes.iter().filter(|node| node.bucket().is_some_and(|bucket| !bucket.name.contains('~')))
        {
            if node.id().is_some_and(|id| !children.contains(&id)) {
                tree.descend(node, &by_id, &mut Vec::new(), &mut seen, &reading)?;
            }
        }
        let loose = nodes.iter().filter_map(RawNode::osd).filter(|osd| !seen.contains(osd));
        tree.stray.extend(loose);
        Ok(tree)
    }

    fn descend(
        &mut self,
        node: &RawNode,
        by_id: &BTreeMap<i64, &RawNode>,
        above: &mut Vec<Bucket>,
        seen: &mut BTreeSet<OsdId>,
        reading: &Reading<'_>,
    ) -> Result<(), DocumentError> {
        if let Some(osd) = node.osd() {
            if seen.insert(osd) {
                self.leaves.push(Leaf { osd, above: above.iter().rev().cloned().collect() });
            }
            return Ok(());
        }
        let Some(bucket) = node.bucket() else { return Ok(()) };
        if above.iter().any(|higher| higher.id == bucket.id) {
            return Err(reading.field("nodes", format!("the bucket `{}` contains itself", bucket.name)));
        }
        above.push(bucket);
        for child in node.below().filter_map(|id| by_id.get(&id)) {
            self.descend(child, by_id, above, seen, reading)?;
        }
        above.pop();
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct RawTree {
    nodes: Option<Vec<RawNode>>,
    #[serde(default)]
    stray: Vec<RawNode>,
}

#[derive(Debug, Deserialize)]
struct RawNode {
    id: Option<Whole>,
    name: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    children: Vec<Whole>,
}

impl RawNode {
    fn id(&self) -> Option<i64> {
        i64::try_from(self.id?.0).ok()
    }

    fn osd(&self) -> Option<OsdId> {
        u32::try_from(self.id()?).ok().map(OsdId)
    }

    fn bucket(&self) -> Option<Bucket> {
        let id = self.id().filter(|id| *id < 0)?;
        let name = self.name.clone().unwrap_or_else(|| id.to_string());
        Some(Bucket { id, name, kind: self.r#type.clone().unwrap_or_default() })
    }

    /// Ceph prints the children in the opposite order of how it draws them.
    fn below(&self) -> impl Iterator<Item = i64> {
        self.children.iter().rev().filter_map(|child| i64::try_from(child.0).ok())
    }
}
