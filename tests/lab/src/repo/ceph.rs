//! The repository of Ceph hosts: the next release, and the libraries that come with it.
//!
//! Unlike libvirt's step this one crosses a release of Debian: Ceph's new programs are linked against the new C library,
//! so a step that leaves all else alone does not exist. apt is asked, with a host's own list of installed packages, what
//! it would do; exactly that is in the archive, and the old version of each package for the way back.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::apt::{Change, Session, Simulation};
use super::error::Result;
use super::{Kind, PackageVersions, RepoDir, RepoError, Versions, cache, closure, index};
use crate::ceph::{Pair, Releases, Set};
use crate::error::IoContext;
use crate::root;

/// Part of the cache key: raised when code here changes what is built from the same recipe.
const LAYOUT: &str = "2";

/// Returns the Ceph hosts' repository from `cache`, building it first when it is not there.
///
/// As with [`prepare`](super::prepare), the versions are those of the day of the build. The hosts' root is built first when it is
/// not there, since the step depends on what it holds.
///
/// # Errors
/// A tool is missing, the machine has no apt source for the recipe's suites, or the step would remove a package that the recipe does not name.
pub fn prepare(cache: &Path, pair: Pair) -> Result<RepoDir> {
    let (releases, host) = (pair.releases()?, pair.root()?);
    let name = format!("ceph-repo-{}", key(pair, &host));
    Ok(RepoDir::at(cache::get_or_build(cache, &name, |work| build(&releases, &host, work))?))
}

fn key(pair: Pair, host: &root::Recipe) -> String {
    let mut hash = Sha256::new();
    for part in [LAYOUT, pair.recipe(), &host.digest()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn build(recipe: &Releases, host: &root::Recipe, out: &Path) -> Result<()> {
    let path = root::prepare(host)?.path.join("var/lib/dpkg/status");
    let status = fs::read_to_string(&path).doing("read", &path)?;
    let scratch = tempfile::tempdir().doing("create a scratch directory in", std::env::temp_dir())?;
    let session = Session::open(&scratch.path().join("apt"), host, &recipe.suites)?;

    let set: Vec<&str> = recipe.ceph.packages.iter().map(String::as_str).collect();
    let step = session.simulate(&status, "", &set)?;
    let new = session.show(&closure::exact(&closure::installs(&step)))?;
    let mut sources = closure::sources_of(&status);
    sources.extend(closure::sources_of(&new));
    let versions = Versions {
        old_suite: host.suite.clone(),
        new_suite: recipe.suites.new.clone(),
        source: recipe.ceph.source.clone(),
        packages: classify(&step, &recipe.ceph, |name| sources.get(name) == Some(&recipe.ceph.source))?,
    };

    let apt_dir = out.join("apt");
    session.download(&versions.debs(), &apt_dir.join("pool"))?;
    versions.write(&apt_dir.join("versions.json"))?;
    index::apt(&apt_dir)
}

/// The step's packages in the order of their configuration, those that go last.
fn classify(
    step: &Simulation,
    recipe: &Set,
    is_member: impl Fn(&str) -> bool,
) -> Result<Vec<PackageVersions>> {
    let mut packages = Vec::new();
    for change in &step.changes {
        match change {
            Change::Remove { name, old } if recipe.removals.contains(name) => {
                packages.push(PackageVersions {
                    name: name.clone(),
                    kind: Kind::Removed,
                    old: Some(old.clone()),
                    new: None,
                })
            }
            Change::Remove { name, old } => {
                return Err(RepoError::Drags { step: "Ceph", detail: format!("remove `{name}` {old}") });
            }
            Change::Install { name, old, new } => packages.push(PackageVersions {
                name: name.clone(),
                kind: if is_member(name) { Kind::Member } else { Kind::Dependency },
                old: old.clone(),
                new: Some(new.clone()),
            }),
        }
    }
    let place = |package: &PackageVersions| step.configured.iter().position(|name| *name == package.name);
    packages.sort_by_key(|package| place(package).unwrap_or(usize::MAX));
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_may_be_upgraded_and_only_those_named_may_go() {
        let install = |name: &str, old: Option<&str>| Change::Install {
            name: name.to_owned(),
            old: old.map(str::to_owned),
            new: "2".to_owned(),
        };
        let mut step = Simulation {
            changes: vec![
                install("ceph-osd", Some("1")),
                install("libfmt9", None),
                install("libc6", Some("1")),
            ],
            configured: ["libc6", "libfmt9", "ceph-osd"].map(str::to_owned).to_vec(),
        };
        let recipe =
            Set { source: "ceph".to_owned(), packages: Vec::new(), removals: vec!["libssl3".to_owned()] };
        let packages = classify(&step, &recipe, |name| name.starts_with("ceph")).unwrap();
        let seen: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.kind, p.old.is_some())).collect();
        assert_eq!(
            seen,
            [
                ("libc6", Kind::Dependency, true),
                ("libfmt9", Kind::Dependency, false),
                ("ceph-osd", Kind::Member, true)
            ]
        );
        step.changes.push(Change::Remove { name: "libssl3".to_owned(), old: "1".to_owned() });
        let packages = classify(&step, &recipe, |_| false).unwrap();
        let gone = packages.last().unwrap();
        assert_eq!((gone.name.as_str(), gone.kind, gone.new.as_deref()), ("libssl3", Kind::Removed, None));
        step.changes.push(Change::Remove { name: "ceph-mds".to_owned(), old: "1".to_owned() });
        assert!(classify(&step, &recipe, |_| true).unwrap_err().to_string().contains("ceph-mds"));
    }
}
