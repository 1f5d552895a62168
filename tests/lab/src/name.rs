//! The names of a lab's things. All of them begin with the lab's own, so that its removal finds them by name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// Where the state of running labs is kept.
pub(crate) const STATE_DIR: &str = "/run/replank-lab";
/// Where the writable layers of hosts are kept: they may grow to gigabytes, so not below `/run`.
pub(crate) const DATA_DIR: &str = "/var/lib/replank-lab";

/// Where `ip netns` keeps namespaces.
pub(crate) const NAMESPACES: &str = "/run/netns";

/// A lab's name: 1 to 20 lower-case letters, digits and dashes, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

impl LabName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory of the lab's state: `lab.json`, console logs, the recorder's socket.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        PathBuf::from(STATE_DIR).join(&self.0)
    }

    /// The file whose lock the one who boots or removes the lab holds.
    pub(crate) fn lock_file(&self) -> PathBuf {
        PathBuf::from(STATE_DIR).join(format!("{}.lock", self.0))
    }

    /// The directory of the hosts' file systems.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        PathBuf::from(DATA_DIR).join(&self.0)
    }

    /// The lab's own network namespace, as `ip netns` knows it. A dot is in no lab's name, so no lab's
    /// namespaces are taken for another's.
    #[must_use]
    pub fn namespace(&self) -> String {
        format!("rl.{}", self.0)
    }

    /// Whether the lab's network is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        namespace_path(&self.namespace()).exists()
    }

    /// The network namespace of one of its hosts.
    #[must_use]
    pub fn host_namespace(&self, host: &str) -> String {
        format!("rl.{}.{host}", self.0)
    }

    /// The lab that a namespace belongs to, by its name.
    pub(crate) fn of_namespace(namespace: &str) -> Option<Self> {
        namespace.strip_prefix("rl.")?.split('.').next()?.parse().ok()
    }

    /// The lab's cgroup, below the root of each hierarchy.
    pub(crate) fn cgroup(&self) -> PathBuf {
        PathBuf::from("replank-lab").join(&self.0)
    }
}

/// The file of a network namespace.
#[must_use]
pub(crate) fn namespace_path(namespace: &str) -> PathBuf {
    PathBuf::from(NAMESPACES).join(namespace)
}

impl FromStr for LabName {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self, LabError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for LabName {
    type Error = LabError;

    fn try_from(text: String) -> Result<Self, LabError> {
        let fits = (1..=20).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if fits {
            return Ok(Self(text));
        }
        Err(LabError::Refused(format!(
            "`{text}` is no name for a lab: use 1 to 20 of a-z, 0-9 and -, beginning with a letter"
        )))
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_never_leave_its_directory() {
        for bad in ["", "a/b", "..", "a.b", "-a", "A", "a b", "abcdefghijklmnopqrstu"] {
            assert!(bad.parse::<LabName>().is_err(), "`{bad}` was taken");
        }
        let name: LabName = "e2e-1".parse().unwrap();
        assert_eq!(name.namespace(), "rl.e2e-1");
        assert_eq!(LabName::of_namespace(&name.host_namespace("compute1")), Some(name));
        assert_eq!(LabName::of_namespace("another"), None);
    }
}
