//! From which release to which a cluster of the lab can go, as data: `recipes/ceph/*-to-*.toml`.

use serde::Deserialize;

use crate::error::{LabError, Result};
use crate::repo::Suites;
use crate::root;

const NAUTILUS_TO_PACIFIC: &str = include_str!("../../recipes/ceph/nautilus-to-pacific.toml");
const PACIFIC_TO_REEF: &str = include_str!("../../recipes/ceph/pacific-to-reef.toml");

/// A release that hosts run, and the one that their repository offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pair {
    /// 14.2.21 of bullseye, 16.2.15 of bookworm.
    #[default]
    NautilusToPacific,
    /// 16.2.15 of bookworm, 18.2.7 of trixie.
    PacificToReef,
}

/// A pair's recipe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releases {
    /// The catalog's hop.
    pub hop: String,
    /// What daemons say of themselves at first.
    pub from: String,
    /// What they say in the end.
    pub to: String,
    /// The release that the cluster requires of its OSDs in the end.
    pub required: String,
    pub(crate) hosts: Hosts,
    pub(crate) suites: Suites,
    pub(crate) ceph: Set,
}

/// The root of hosts and client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hosts {
    pub(crate) name: String,
    pub(crate) suite: String,
    pub(crate) fixes: bool,
}

/// All binary packages of `source`, asked for by `packages`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    pub(crate) source: String,
    pub(crate) packages: Vec<String>,
    /// What the step may remove.
    pub(crate) removals: Vec<String>,
}

impl Pair {
    pub(crate) fn recipe(self) -> &'static str {
        match self {
            Self::NautilusToPacific => NAUTILUS_TO_PACIFIC,
            Self::PacificToReef => PACIFIC_TO_REEF,
        }
    }

    /// What it is made of.
    ///
    /// # Errors
    /// When its recipe does not read.
    pub fn releases(self) -> Result<Releases> {
        toml::from_str(self.recipe())
            .map_err(|error| LabError::Refused(format!("the recipe of {self:?} does not read: {error}")))
    }

    /// The root of its hosts and of its client.
    ///
    /// # Errors
    /// When its recipe does not read.
    pub fn root(self) -> Result<root::Recipe> {
        let Hosts { name, suite, fixes } = self.releases()?.hosts;
        Ok(root::Recipe::ceph(name, suite, fixes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_read_fit_together_and_name_no_mirror() {
        let pairs = [Pair::NautilusToPacific, Pair::PacificToReef];
        let releases = pairs.map(|pair| pair.releases().unwrap());
        assert_eq!(releases[0].to, releases[1].from);
        assert_ne!(pairs[0].root().unwrap().digest(), pairs[1].root().unwrap().digest());
        for pair in pairs {
            assert!(!pair.recipe().contains("://"));
        }
    }
}
