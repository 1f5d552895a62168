//! What is written down of a lab in `/run/replank-lab/NAME/lab.json`, so that another process can use or remove it.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result};
use crate::host::Kind;
use crate::name::{DATA_DIR, LabName, NAMESPACES, STATE_DIR};
use crate::process::Process;

/// The record of one lab. It is written again after each thing that was started, and whatever is not in it
/// (the writer was killed in between) is found by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabState {
    /// The lab's name.
    pub name: LabName,
    /// Who booted it.
    pub owner: Process,
    /// Whether it was left up on purpose, to outlive its owner.
    pub detached: bool,
    /// The process that records beats, when it is not the owner itself.
    pub recorder: Option<Process>,
    /// Its hosts, in the order of their addresses.
    pub hosts: Vec<HostState>,
}

/// The record of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// The host's name: `compute1`, `ceph1`, …
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub kind: Kind,
    /// Its address on the lab's bridge.
    pub address: Ipv4Addr,
    /// The systemd-nspawn process.
    pub supervisor: Process,
    /// The host's first process, as the machine sees it.
    pub leader: Process,
    /// Its guests, by name.
    pub guests: Vec<String>,
}

impl LabState {
    fn path(name: &LabName) -> PathBuf {
        name.state_dir().join("lab.json")
    }

    /// Reads the record of a lab; none when there is none, or it cannot be understood.
    #[must_use]
    pub fn load(name: &LabName) -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::path(name)).ok()?).ok()
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn save(&self) -> Result<()> {
        let (directory, path) = (self.name.state_dir(), Self::path(&self.name));
        fs::create_dir_all(&directory).doing("create", &directory)?;
        let mut file = tempfile::NamedTempFile::new_in(&directory).doing("create a file in", &directory)?;
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from).doing("encode", &path)?;
        file.write_all(&text).doing("write", &path)?;
        file.persist(&path).map_err(|error| error.error).doing("rename", &path)?;
        Ok(())
    }
}

/// The names of all labs of which there is a state directory, a data directory or a network namespace.
#[must_use]
pub fn known_labs() -> Vec<LabName> {
    let entries = |directory: &str| fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = [STATE_DIR, DATA_DIR]
        .into_iter()
        .flat_map(entries)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let namespaces =
        entries(NAMESPACES).filter_map(|entry| LabName::of_namespace(entry.file_name().to_str()?));
    let mut names: Vec<LabName> = directories.chain(namespaces).collect();
    names.sort();
    names.dedup();
    names
}
