//! The recipe: what the repositories hold, as data that is compiled into the program.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::{Result, unreadable};
use crate::root;

const RECIPE: &str = include_str!("../../recipes/repo/recipe.toml");
pub(super) const QEMU_SPEC: &str = include_str!("../../recipes/repo/qemu.spec");
pub(super) const BASE_SPEC: &str = include_str!("../../recipes/repo/debian-base-provides.spec");

/// Part of the cache key: raised when code here changes what is built from the same recipe.
const LAYOUT: &str = "2";

/// What is built.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The hosts that the repositories are for.
    pub(super) host: root::Recipe,
    pub(super) suites: Suites,
    pub(super) libvirt: Libvirt,
    pub(super) qemu: Qemu,
    pub(super) base: Base,
}

/// `recipes/repo/recipe.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    suites: Suites,
    libvirt: Libvirt,
    qemu: Qemu,
    base: Base,
}

/// Where the later release comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suites {
    pub(crate) new: String,
    pub(crate) architecture: String,
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

/// Packages of Debian's base with libraries that RPMs link against.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    pub(super) packages: Vec<String>,
}

impl Recipe {
    /// The recipe of this build.
    pub(super) fn embedded() -> Result<Self> {
        let data: Data = toml::from_str(RECIPE).map_err(|e| unreadable("recipes/repo/recipe.toml", e))?;
        let Data { suites, libvirt, qemu, base } = data;
        Ok(Self { host: root::Recipe::compute(), suites, libvirt, qemu, base })
    }

    /// Names the result of this recipe: 16 hexadecimal digits, the same on every machine.
    pub(super) fn key(&self) -> String {
        let mut hash = Sha256::new();
        let host = self.host.packages.join("\n");
        for part in [LAYOUT, RECIPE, QEMU_SPEC, BASE_SPEC, &self.host.suite, &host] {
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

    #[test]
    fn another_host_is_another_repository() {
        let recipe = Recipe::embedded().unwrap();
        let mut other = Recipe::embedded().unwrap();
        other.host.packages.push("ceph-common".to_owned());
        assert_ne!(recipe.key(), other.key());
    }
}
