//! Staged sets: the package files of both directions of one transaction, in the agent's own directory, with a manifest.
//!
//! ```text
//! staged/<manager>-<digest of the pins>/new/*      the versions that come
//!                                       old/*      the versions that were there, for the way back
//!                                       manifest.json   written last: a set without it is not staged
//! ```

use super::answer::refusal;
use crate::codes;
use crate::host::Host;
use crate::host::files::{Attributes, FileError, digest_of_bytes, digest_of_file, replace};
use crate::host::packages::{Contents, Packages, PackagesError, Resolved};
use replank_common::action::PackagePin;
use replank_common::facts::PackageManager;
use replank_common::outcome::Refusal;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One staged package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedFile {
    /// Relative to the set's directory.
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
    pub(crate) installed_bytes: u64,
    /// As they were read when it was staged; the same as long as its bytes are. `None`: of the way back, and where an older agent staged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<Contents>,
}

/// One package of the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedItem {
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) automatic_before: Option<bool>,
    pub(crate) new: Option<StagedFile>,
    pub(crate) old: Option<StagedFile>,
}

impl StagedItem {
    pub(crate) fn file(&self, side: Side) -> Option<&StagedFile> {
        match side {
            Side::New => self.new.as_ref(),
            Side::Old => self.old.as_ref(),
        }
    }

    pub(crate) fn resolved(&self) -> Resolved {
        Resolved {
            name: self.name.clone(),
            architecture: self.architecture.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
        }
    }
}

/// A staged transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedSet {
    pub(crate) manager: PackageManager,
    pub(crate) pins: Vec<PackagePin>,
    pub(crate) items: Vec<StagedItem>,
}

/// Which files of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Side {
    New,
    Old,
}

impl StagedSet {
    /// The set's directory, by what it was asked for.
    pub(crate) fn directory(host: &Host, manager: PackageManager, pins: &[PackagePin]) -> PathBuf {
        let mut words: Vec<String> = pins.iter().map(|pin| format!("{} {}", pin.name, pin.version)).collect();
        words.sort();
        let digest = digest_of_bytes(words.join("\n").as_bytes());
        host.directories.staged().join(format!("{}-{}", manager.as_str(), &digest[..24]))
    }

    pub(crate) fn own_directory(&self, host: &Host) -> PathBuf {
        Self::directory(host, self.manager, &self.pins)
    }

    /// The package files of one side, absolute, in the order of the transaction.
    pub(crate) fn files(&self, host: &Host, side: Side) -> Vec<PathBuf> {
        let directory = self.own_directory(host);
        self.items.iter().filter_map(|item| item.file(side)).map(|file| directory.join(&file.path)).collect()
    }

    /// What the file of a package holds on one side; `None` where it has none there.
    ///
    /// # Errors
    /// It is not a package file.
    pub(crate) fn contents(
        &self,
        host: &Host,
        packages: &dyn Packages,
        of: &Resolved,
        side: Side,
    ) -> Result<Option<Contents>, PackagesError> {
        let is = |item: &&StagedItem| item.name == of.name && item.architecture == of.architecture;
        let Some(file) = self.items.iter().find(is).and_then(|item| item.file(side)) else { return Ok(None) };
        match &file.contents {
            Some(known) => Ok(Some(known.clone())),
            None => packages.contents_of_file(&self.own_directory(host).join(&file.path)).map(Some),
        }
    }

    /// The transaction, in an order that does not depend on the resolver.
    pub(crate) fn resolved(&self) -> Vec<Resolved> {
        let mut found: Vec<Resolved> = self.items.iter().map(StagedItem::resolved).collect();
        found.sort();
        found
    }

    /// Writes the manifest: from here on the set is staged.
    pub(crate) fn write(&self, host: &Host) -> Result<(), FileError> {
        let path = self.own_directory(host).join(MANIFEST);
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| FileError::new("write", &path, io::Error::other(e)))?;
        replace(&path, &bytes, &Attributes::plain(0o600), &host.boundary)
    }

    /// The first file that is not what was staged, and why.
    pub(crate) fn damage(&self, host: &Host) -> Option<String> {
        let directory = self.own_directory(host);
        self.items.iter().flat_map(|item| [&item.new, &item.old]).flatten().find_map(|file| {
            match digest_of_file(&directory.join(&file.path)) {
                Ok(sha256) if sha256 == file.sha256 => None,
                Ok(_) => Some(format!("{} has other bytes than were staged", file.path.display())),
                Err(error) => Some(error.full()),
            }
        })
    }
}

const MANIFEST: &str = "manifest.json";
const STAGE_AGAIN: &str = "run the step that fetches the packages again";

/// Reads the set in this directory; `None` when it has no manifest.
pub(crate) fn read(directory: &Path) -> Result<Option<StagedSet>, FileError> {
    let path = directory.join(MANIFEST);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| FileError::new("understand", &path, io::Error::other(e))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("read", &path, e)),
    }
}

/// The set staged for exactly these pins, every file checked.
///
/// # Errors
/// `RP5110` when it is not staged, or not any more.
pub(crate) fn exactly(
    host: &Host,
    manager: PackageManager,
    pins: &[PackagePin],
) -> Result<StagedSet, Refusal> {
    let directory = StagedSet::directory(host, manager, pins);
    let set = read(&directory).map_err(|e| refusal(codes::PACKAGES_NOT_STAGED, e.full(), STAGE_AGAIN))?;
    let names = pins.iter().map(|pin| pin.name.as_str()).collect::<Vec<_>>().join(", ");
    let set = set.ok_or_else(|| {
        refusal(codes::PACKAGES_NOT_STAGED, format!("{names}: these packages are not staged"), STAGE_AGAIN)
    })?;
    unaltered(host, set)
}

/// The set, if every file of it is as it was staged.
fn unaltered(host: &Host, set: StagedSet) -> Result<StagedSet, Refusal> {
    match set.damage(host) {
        Some(why) => Err(refusal(
            codes::PACKAGES_NOT_STAGED,
            format!("the staged packages were altered: {why}"),
            STAGE_AGAIN,
        )),
        None => Ok(set),
    }
}

/// The newest set that has all of these packages on this side, every file checked. On the old side the pins name what was installed
/// when the set was staged.
///
/// # Errors
/// `RP5110` when there is none.
pub(crate) fn containing(
    host: &Host,
    manager: PackageManager,
    pins: &[PackagePin],
    side: Side,
) -> Result<StagedSet, Refusal> {
    let mut found: Vec<(std::time::SystemTime, StagedSet)> = Vec::new();
    for entry in fs::read_dir(host.directories.staged()).into_iter().flatten().flatten() {
        let Ok(Some(set)) = read(&entry.path()) else { continue };
        let version = |item: &StagedItem| match side {
            Side::New => item.after.clone(),
            Side::Old => item.before.clone(),
        };
        let has = |pin: &PackagePin| {
            set.items.iter().any(|item| item.name == pin.name && version(item).as_ref() == Some(&pin.version))
        };
        let written = fs::metadata(entry.path().join(MANIFEST)).and_then(|m| m.modified());
        if set.manager == manager && pins.iter().all(has) {
            found.push((written.unwrap_or(std::time::UNIX_EPOCH), set));
        }
    }
    found.sort_by_key(|(written, _)| *written);
    let names = pins.iter().map(|pin| format!("{} {}", pin.name, pin.version)).collect::<Vec<_>>().join(", ");
    let (_, set) = found.pop().ok_or_else(|| {
        refusal(codes::PACKAGES_NOT_STAGED, format!("{names}: not among the staged packages"), STAGE_AGAIN)
    })?;
    unaltered(host, set)
}
