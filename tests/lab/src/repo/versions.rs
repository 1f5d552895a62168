//! `apt/versions.json`: what a fleet file or a catalog may pin.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{Result, unreadable};
use crate::error::IoContext;

/// The step from the old to the new set, as apt would take it on a lab host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Debian's name for the old release (`bookworm`).
    pub old_suite: String,
    /// Debian's name for where the new versions come from (`bookworm-backports`).
    pub new_suite: String,
    /// The source package whose binaries are the set.
    pub source: String,
    /// In the order in which apt would configure them.
    pub packages: Vec<PackageVersions>,
}

/// One binary package of the step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageVersions {
    /// The binary package.
    pub name: String,
    /// Whether it is of the set or only needed by it.
    pub kind: Kind,
    /// The version that a host has before; absent if the step brings the package in, so that going back removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The version after; absent if the step leaves the package as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// Why a package is in the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Built from [`Versions::source`]: pin it to the exact version.
    Member,
    /// Needed by the new set. Of a step within one release of Debian: from the old suite, and not needed by the old set; a
    /// host may have it already, even in another version of the same release: do not pin it. Of a step to the next
    /// release: one of its libraries, in many cases newer than the host's own.
    Dependency,
    /// Goes with the step: a library that the next release has under another name.
    Removed,
}

impl Versions {
    /// The packages of the set itself, with the version that each has before the step.
    pub fn old_members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members().filter_map(|package| Some((package.name.as_str(), package.old.as_deref()?)))
    }

    /// The packages of the set itself, with the version that each has after the step.
    pub fn new_members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members().filter_map(|package| Some((package.name.as_str(), package.new.as_deref()?)))
    }

    /// The set's packages that only the new release has: going back removes them.
    pub fn only_new_members(&self) -> impl Iterator<Item = &str> {
        self.members().filter(|package| package.old.is_none()).map(|package| package.name.as_str())
    }

    /// What the new set needs beside itself, with the version that each has after the step.
    pub fn new_dependencies(&self) -> impl Iterator<Item = (&str, &str)> {
        let dependencies = self.packages.iter().filter(|package| package.kind == Kind::Dependency);
        dependencies.filter_map(|package| Some((package.name.as_str(), package.new.as_deref()?)))
    }

    /// The packages that the step removes.
    pub fn removed(&self) -> impl Iterator<Item = &str> {
        let removed = self.packages.iter().filter(|package| package.kind == Kind::Removed);
        removed.map(|package| package.name.as_str())
    }

    fn members(&self) -> impl Iterator<Item = &PackageVersions> {
        self.packages.iter().filter(|package| package.kind == Kind::Member)
    }

    /// Every `(name, version)` that the archive must hold.
    pub(super) fn debs(&self) -> Vec<(String, String)> {
        self.packages
            .iter()
            .flat_map(|package| {
                [&package.old, &package.new]
                    .into_iter()
                    .flatten()
                    .map(|version| (package.name.clone(), version.clone()))
            })
            .collect()
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).doing("read", path)?;
        serde_json::from_str(&text).map_err(|e| unreadable(path.display().to_string(), e))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text =
            serde_json::to_string_pretty(self).map_err(|e| unreadable(path.display().to_string(), e))?;
        Ok(fs::write(path, text + "\n").doing("write", path)?)
    }
}
