//! `ceph mgr dump` (Luminous and later): the managers, and since when the active one is active.

use super::error::{DocumentError, Kind, Reading};
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// The module that mounts file systems as soon as its manager is the active one (src/pybind/mgr/volumes; Nautilus and later).
const MOUNTS: &str = "volumes";

/// The managers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managers {
    /// The active one, and those that stand by.
    pub names: BTreeSet<String>,
    /// Whether an active one mounts the cluster's file systems.
    pub mounts: bool,
    /// When the active one became so.
    active_since: Option<Since>,
}

/// A moment as a MON writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Octopus and later.
    At(Timestamp),
    /// Up to Nautilus: by the clock on the MON's wall.
    OnTheWall(DateTime),
}

impl Managers {
    /// # Errors
    /// Not JSON, or another document.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let reading = Reading { kind: Kind::MgrDump, file };
        let raw: Raw = reading.json(bytes)?;
        let active = raw.active_name.ok_or_else(|| reading.other("active_name"))?;
        let standing_by = raw.standbys.into_iter().map(|one| one.name);
        let names = standing_by.chain([active]).filter(|name| !name.is_empty()).collect();
        let mounts = raw.available_modules.iter().any(|module| match module {
            RawModule::Named { name } | RawModule::Name(name) => name == MOUNTS,
        });
        Ok(Self { names, mounts, active_since: raw.active_change.as_deref().and_then(since) })
    }

    /// For how long the active one has been so, where the MON's clock shows the time of `zone`; `None` where that is not told, or not over yet.
    pub fn active_for(&self, now: Timestamp, zone: &TimeZone) -> Option<Duration> {
        let since = match self.active_since? {
            Since::At(at) => at,
            Since::OnTheWall(at) => zone.to_timestamp(at).ok()?,
        };
        let age: SignedDuration = now.duration_since(since);
        Duration::try_from(age).ok()
    }
}

fn since(text: &str) -> Option<Since> {
    match strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text) {
        Ok(parsed) => parsed.to_timestamp().ok().map(Since::At),
        Err(_) => DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", text).ok().map(Since::OnTheWall),
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    active_name: Option<String>,
    active_change: Option<String>,
    #[serde(default)]
    standbys: Vec<RawStandby>,
    #[serde(default)]
    available_modules: Vec<RawModule>,
}

#[derive(Debug, Deserialize)]
struct RawStandby {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawModule {
    Named {
        name: String,
    },
    /// Luminous.
    Name(String),
}
