//! The recipe: what the repositories hold, as data that is compiled into the program.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::RepoError;

const RECIPE: &str = include_str!("../../recipes/repo/recipe.toml");
pub(super) const QEMU_SPEC: &str = include_str!("../../recipes/repo/qemu.spec");
pub(super) const BASE_SPEC: &str = include_str!("../../recipes/repo/debian-base-provides.spec");

/// Part of the cache key: raised when code here changes what is built from the same recipe.
const LAYOUT: u32 = 1;

/// `recipes/repo/recipe.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    pub(super) suites: Suites,
    pub(super) host: Packages,
    pub(super) libvirt: Libvirt,
    pub(super) qemu: Qemu,
    pub(super) base: Packages,
}

/// The two Debian suites that stand for the old and the new release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suites {
    pub(super) old: String,
    pub(super) new: String,
    pub(super) component: String,
    pub(super) architecture: String,
}

/// A list of binary packages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Packages {
    pub(super) packages: Vec<String>,
}

/// The in-place set: all binary packages of `source`, asked for by `packages`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Libvirt {
    pub(super) source: String,
    pub(super) packages: Vec<String>,
}

/// The relocated qemu and the Debian packages that its tree is made of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Qemu {
    pub(super) version: String,
    pub(super) release: String,
    pub(super) packages: Vec<String>,
}

impl Recipe {
    /// The recipe of this build.
    pub(super) fn embedded() -> Result<Self, RepoError> {
        toml::from_str(RECIPE).map_err(|e| RepoError::Unreadable {
            what: "recipes/repo/recipe.toml".to_owned(),
            detail: e.to_string(),
        })
    }

    /// Names the result of this recipe: 16 hexadecimal digits, the same on every machine.
    pub(super) fn key(&self) -> String {
        let mut hash = Sha256::new();
        for part in [LAYOUT.to_string().as_str(), RECIPE, QEMU_SPEC, BASE_SPEC] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_recipe_reads_and_names_no_mirror() {
        let recipe = Recipe::embedded().unwrap();
        assert_eq!(recipe.key().len(), 16);
        assert!(!RECIPE.contains("://"));
    }
}
