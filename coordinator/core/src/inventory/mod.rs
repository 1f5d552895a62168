//! The facts of every host, as one document: what `replank inventory` writes and `replank plan --inventory` reads.
//!
//! Its JSON form only grows: readers ignore unknown fields in facts and refuse a newer format. Never asks a host.

use crate::{codes, digest};
use replank_ceph::seen::Cluster;
use replank_common::UnixMs;
use replank_common::facts::Facts;
use replank_common::ids::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the inventory's form.
pub const INVENTORY_FORMAT: u32 = 1;

/// A Ceph cluster as one of its hosts saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CephInventory {
    /// The host that asked the cluster.
    pub via: HostName,
    pub taken_at_ms: UnixMs,
    pub cluster: Cluster,
}

/// Facts of every host that answered, and why the others did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub format: u32,
    pub taken_at_ms: UnixMs,
    pub hosts: BTreeMap<HostName, Facts>,
    /// Hosts that are enrolled but gave no facts, and why.
    #[serde(default)]
    pub missing: BTreeMap<HostName, String>,
    /// `None`: no host was asked, or none could ask.
    #[serde(default)]
    pub ceph: Option<CephInventory>,
}

/// An inventory file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    #[error(
        "{}: the inventory is not in its JSON form: {why}; take a new one with `replank inventory`",
        codes::INVENTORY_FORM
    )]
    Form { why: String },
    #[error(
        "{}: the inventory has format {found}, this replank reads up to {INVENTORY_FORMAT}; \
         use the replank that wrote it",
        codes::INVENTORY_NEWER
    )]
    Newer { found: u32 },
}

impl Inventory {
    /// An inventory without missing hosts, in today's format.
    pub fn new(taken_at_ms: UnixMs, facts: impl IntoIterator<Item = Facts>) -> Self {
        let hosts = facts.into_iter().map(|facts| (facts.host.clone(), facts)).collect();
        Self { format: INVENTORY_FORMAT, taken_at_ms, hosts, missing: BTreeMap::new(), ceph: None }
    }

    /// Reads an inventory file.
    ///
    /// # Errors
    /// Bytes that are not an inventory, or one of a newer format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InventoryError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let form = |error: serde_json::Error| InventoryError::Form { why: error.to_string() };
        // The format first: the rest of a newer one may not fit at all.
        let Head { format } = serde_json::from_slice(bytes).map_err(form)?;
        if format > INVENTORY_FORMAT {
            return Err(InventoryError::Newer { found: format });
        }
        serde_json::from_slice(bytes).map_err(form)
    }

    /// Pretty JSON; the same inventory always gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        digest::canonical_bytes(self)
    }

    /// SHA-256, hexadecimal, of [`Self::to_bytes`].
    pub fn digest(&self) -> String {
        digest::of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_survives_its_own_bytes_and_ignores_what_it_does_not_know() {
        let inventory = Inventory::new(7, []);
        let bytes = inventory.to_bytes();
        assert_eq!(Inventory::from_bytes(&bytes).unwrap(), inventory);
        let grown =
            String::from_utf8(bytes).unwrap().replace("\"format\": 1,", "\"format\": 1, \"later\": [1],");
        assert_eq!(Inventory::from_bytes(grown.as_bytes()).unwrap(), inventory);
    }

    #[test]
    fn a_newer_format_is_refused_before_its_content_is_read() {
        let newer = br#"{ "format": 2, "hosts": "elsewhere" }"#;
        assert_eq!(Inventory::from_bytes(newer), Err(InventoryError::Newer { found: 2 }));
        assert!(matches!(Inventory::from_bytes(b"[]"), Err(InventoryError::Form { .. })));
    }
}
