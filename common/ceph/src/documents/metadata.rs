//! `ceph osd metadata` and `ceph versions`: what each daemon was at its *last boot*, also one that is down now. Only the running process
//! proves a version.

use super::error::{DocumentError, Kind, Reading};
use super::json::{Text, Whole};
use crate::OsdId;
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an OSD said of itself when it booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsdMetadata {
    /// `ceph version 10.2.10 (…)`.
    pub version: Option<String>,
    pub host: Option<String>,
}

impl OsdMetadata {
    /// `10.2.10`.
    pub fn version_number(&self) -> Option<Version> {
        version_number(self.version.as_deref()?)
    }
}

/// The number in what a daemon of any release says of itself: `ceph version 10.2.10 (5dc1e4c05cb6) …`.
pub fn version_number(text: &str) -> Option<Version> {
    let number = text.trim().strip_prefix("ceph version ")?.split_whitespace().next()?;
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| Version::new(number))
}

/// Reads `osd metadata` of all OSDs, or, as Hammer gives it, of one.
///
/// # Errors
/// Not JSON, another document, or an entry without its number.
pub fn read_osd_metadata(file: &str, bytes: &[u8]) -> Result<BTreeMap<OsdId, OsdMetadata>, DocumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Root {
        All(Vec<BTreeMap<String, serde_json::Value>>),
        One(BTreeMap<String, serde_json::Value>),
    }
    let reading = Reading { kind: Kind::OsdMetadata, file };
    let entries = match reading.json(bytes)? {
        Root::All(entries) => entries,
        Root::One(entry) => vec![entry],
    };
    let mut all = BTreeMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let id = entry.get("id").and_then(|id| Whole::deserialize(id).ok()).and_then(Whole::u32).map(OsdId);
        let id = id.ok_or_else(|| reading.field(format!("[{index}].id"), "the OSD has no number"))?;
        let text =
            |key: &str| entry.get(key).and_then(|value| Text::deserialize(value).ok()).map(|text| text.0);
        all.insert(id, OsdMetadata { version: text("ceph_version"), host: text("hostname") });
    }
    Ok(all)
}

/// Reads `versions` (Luminous and later): for each kind of daemon, how many run each version.
///
/// # Errors
/// Not JSON, or another document.
pub fn read_versions(
    file: &str,
    bytes: &[u8],
) -> Result<BTreeMap<String, BTreeMap<String, u32>>, DocumentError> {
    let reading = Reading { kind: Kind::Versions, file };
    let raw: BTreeMap<String, BTreeMap<String, u32>> = reading.json(bytes)?;
    if !raw.contains_key("mon") {
        return Err(reading.other("mon"));
    }
    Ok(raw)
}
