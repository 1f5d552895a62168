//! What the program knows of releases, as data files: hops from one version of a component to a later one.
//!
//! The files lie in `coordinator/core/catalog` and are compiled in; an operator may add more. A new release pair is a new
//! file, not new code. Every row names where it was learned. Never reads a file: bytes are passed in.

mod ceph;
mod check;
mod check_ceph;
mod model;

pub use ceph::*;
pub use model::*;

use crate::codes;
use serde::Deserialize;
use std::collections::BTreeMap;

const BUILT_IN: [(&str, &str); 9] = [
    ("debian-12-libvirt-9.0-to-11.3.toml", include_str!("../../catalog/debian-12-libvirt-9.0-to-11.3.toml")),
    ("debian-12-qemu-7.2-to-10.0.2.toml", include_str!("../../catalog/debian-12-qemu-7.2-to-10.0.2.toml")),
    ("debian-ceph-14.2-to-16.2.toml", include_str!("../../catalog/debian-ceph-14.2-to-16.2.toml")),
    ("debian-ceph-16.2-to-18.2.toml", include_str!("../../catalog/debian-ceph-16.2-to-18.2.toml")),
    ("el7-ceph-0.94-to-10.2.toml", include_str!("../../catalog/el7-ceph-0.94-to-10.2.toml")),
    ("el7-ceph-10.2-to-12.2.toml", include_str!("../../catalog/el7-ceph-10.2-to-12.2.toml")),
    ("el7-ceph-12.2-to-14.2.toml", include_str!("../../catalog/el7-ceph-12.2-to-14.2.toml")),
    ("el7-libvirt-1.2.17-to-3.2.0.toml", include_str!("../../catalog/el7-libvirt-1.2.17-to-3.2.0.toml")),
    ("el7-qemu-kvm-1.5.3-to-2.9.0.toml", include_str!("../../catalog/el7-qemu-kvm-1.5.3-to-2.9.0.toml")),
];
const TIMES: (&str, &str) = ("times.toml", include_str!("../../catalog/times.toml"));
const WATCHERS: (&str, &str) = ("watchers.toml", include_str!("../../catalog/watchers.toml"));

/// A catalog file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: catalog file {file}: {problem}; mend the file, or leave it out", codes::CATALOG_FILE)]
pub struct CatalogError {
    pub file: String,
    pub problem: String,
}

impl Catalog {
    /// The catalog that is compiled in, with the operator's own hop files: name and TOML text of each.
    ///
    /// # Errors
    /// A file that is not a hop in the catalog's form, is not consistent, or takes an id that is taken.
    pub fn load(extra: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let times: TimesFile = read(TIMES.0, TIMES.1)?;
        let watchers: WatchersFile = read(WATCHERS.0, WATCHERS.1)?;
        let mut catalog =
            Self { hops: BTreeMap::new(), times: by_action(times.time), watchers: watchers.watcher };
        for (file, text) in BUILT_IN.iter().chain(extra) {
            let refuse = |problem: String| CatalogError { file: (*file).to_owned(), problem };
            let raw: HopFile = read(file, text)?;
            let hop = Hop::try_from(raw).map_err(refuse)?;
            if catalog.hops.contains_key(&hop.id) {
                return Err(refuse(format!("the hop `{}` is in the catalog already", hop.id)));
            }
            catalog.hops.insert(hop.id.clone(), hop);
        }
        match check::problems(&catalog).into_iter().next() {
            None => Ok(catalog),
            Some((file, problem)) => Err(CatalogError { file, problem }),
        }
    }

    /// The time of an action for one hop: the hop's own, else the general one.
    pub fn time<'c>(&'c self, hop: &'c Hop, action: &str) -> Option<&'c Time> {
        hop.times.get(action).or_else(|| self.times.get(action))
    }

    /// SHA-256, hexadecimal, over the whole catalog.
    pub fn digest(&self) -> String {
        crate::digest::of(self)
    }
}

fn read<'t, T: Deserialize<'t>>(file: &str, text: &'t str) -> Result<T, CatalogError> {
    toml::from_str(text)
        .map_err(|error| CatalogError { file: file.to_owned(), problem: error.to_string().trim().to_owned() })
}

fn by_action(rows: Vec<TimeRow>) -> BTreeMap<String, Time> {
    rows.into_iter().map(|row| (row.action, row.time)).collect()
}
