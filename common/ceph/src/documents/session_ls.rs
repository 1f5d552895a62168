//! `ceph tell mds.NAME session ls`: the sessions that an MDS has with clients.

use super::error::{DocumentError, Kind, Reading};
use serde::Deserialize;
use std::time::Duration;

/// A client's session with an MDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// As whom the client came: what stands behind `client.`, or behind `mgr.` where it is a manager.
    pub of: String,
    /// For how long the MDS has had it; `None` before Nautilus.
    pub up_for: Option<Duration>,
}

impl Session {
    /// # Errors
    /// Not JSON, or another document.
    pub fn read_all(file: &str, bytes: &[u8]) -> Result<Vec<Self>, DocumentError> {
        let raw: Vec<Raw> = Reading { kind: Kind::SessionLs, file }.json(bytes)?;
        let one = |raw: Raw| Self {
            of: raw.client_metadata.entity_id.unwrap_or_default(),
            up_for: raw.uptime.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        Ok(raw.into_iter().map(one).collect())
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    uptime: Option<f64>,
    #[serde(default)]
    client_metadata: RawMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct RawMetadata {
    entity_id: Option<String>,
}
