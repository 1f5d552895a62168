//! Package repositories for lab hosts: a directory that is bind-mounted read-only at `/srv/repo`.
//!
//! [`prepare`] builds it once per recipe (`recipes/repo/`) and keeps it in a cache:
//!
//! ```text
//! apt/  pool/*.deb, Packages, Release     libvirt old and new, with what the step from one to the other needs
//!       versions.json                     [`Versions`]: exact old and new version of each package
//! rpm/  qemu-10.0.2-*.rpm                 qemu below /opt/qemu/10.0.2 and nowhere else, self-contained
//!       debian-base-provides-*.rpm        lets dnf resolve on a Debian root, whose RPM database is empty
//!       repodata/
//! ```
//!
//! Ceph hosts have one of their own ([`prepare_ceph`], one a [`Pair`](crate::ceph::Pair) of releases): `apt/` alone, with Ceph's next release and
//! every library that it needs.
//!
//! Packages come from the mirror that the machine's own apt uses; the project names none. What the package managers do
//! with the result, command line by command line, is in `NOTES.md` beside this file.
//!
//! For one test's private, altered repository there is [`RepoDir::copy_to`] with [`bad`] and [`add`].
//!
//! This module never installs anything on the machine that it runs on.

mod apt;
pub mod bad;
mod cache;
mod ceph;
mod closure;
mod error;
mod index;
pub mod proof;
mod qemu_tree;
mod recipe;
mod rpms;
mod versions;

use std::path::{Path, PathBuf};

use crate::error::IoContext;

pub use ceph::prepare as prepare_ceph;
pub use error::{RepoError, Result};
pub use index::add;
pub(crate) use recipe::Suites;
pub use versions::{Kind, PackageVersions, Versions};

/// A prepared repository: a directory with `apt/` and `rpm/`.
#[derive(Debug, Clone)]
pub struct RepoDir {
    path: PathBuf,
}

impl RepoDir {
    fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The directory to bind-mount at [`REPOSITORY`](crate::REPOSITORY).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The flat apt archive.
    pub fn apt(&self) -> PathBuf {
        self.path.join("apt")
    }

    /// The RPM repository.
    pub fn rpm(&self) -> PathBuf {
        self.path.join("rpm")
    }

    /// Reads `apt/versions.json`.
    ///
    /// # Errors
    /// The file is missing or is not what [`prepare`] writes.
    pub fn versions(&self) -> Result<Versions> {
        Versions::read(&self.apt().join("versions.json"))
    }

    /// A private copy for one test: package files are hard links where the file system allows it, indexes are real
    /// copies, so that [`add`] can never alter the cached repository.
    ///
    /// # Errors
    /// `target` exists already, or a file cannot be copied.
    pub fn copy_to(&self, target: &Path) -> Result<RepoDir> {
        index::copy(&self.path, target)?;
        Ok(RepoDir::at(target.to_path_buf()))
    }
}

/// Returns the repository of this build's recipe from `cache`, building it first when it is not there.
///
/// Needs the network (the machine's own apt sources) only when it builds: about ten seconds. Several processes may ask
/// at once; one builds, the others wait for its lock. A build that fails or is killed leaves nothing that a later
/// call would mistake for a repository.
///
/// The versions in it are those that the mirror offered on the day of the build. To follow a newer point release of
/// Debian, remove the cached directory.
///
/// # Errors
/// A tool is missing (`tests/lab/setup.sh` installs them), the machine has no apt source for the recipe's suites, or
/// the relocated qemu is not self-contained.
pub fn prepare(cache: &Path) -> Result<RepoDir> {
    let recipe = recipe::Recipe::embedded()?;
    let path = cache::get_or_build(cache, &format!("repo-{}", recipe.key()), |work| build(&recipe, work))?;
    Ok(RepoDir::at(path))
}

/// Builds the whole repository below `out`, which exists and is empty; scratch files stay outside of it.
fn build(recipe: &recipe::Recipe, out: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().doing("create a scratch directory in", std::env::temp_dir())?;
    let session = apt::Session::open(&scratch.path().join("apt"), &recipe.host, &recipe.suites)?;
    let host = closure::Host::simulate(&session, recipe)?;

    let apt_dir = out.join("apt");
    let versions = closure::compute(&session, recipe, &host)?;
    session.download(&versions.debs(), &apt_dir.join("pool"))?;
    versions.write(&apt_dir.join("versions.json"))?;
    index::apt(&apt_dir)?;

    let rpm_dir = out.join("rpm");
    let tree = qemu_tree::stage(&session, recipe, &host, scratch.path())?;
    rpms::qemu(recipe, &tree, scratch.path(), &rpm_dir)?;
    rpms::base_provides(&session, recipe, &host, scratch.path(), &rpm_dir)?;
    index::rpm(&rpm_dir)
}
