//! Indexes of the two repositories, private copies, and adding a package to one.

use std::fs;
use std::path::Path;

use super::error::Result;
use super::{RepoDir, RepoError};
use crate::command::{command, must};
use crate::error::IoContext;

/// Fields of the apt archive's `Release` file; a pin can name them (`Pin: release o=replank-lab`).
const RELEASE: [&str; 3] = [
    "APT::FTPArchive::Release::Origin=replank-lab",
    "APT::FTPArchive::Release::Label=replank-lab",
    "APT::FTPArchive::Release::Suite=lab",
];

/// Writes `Packages` and `Release` for the flat archive `dir` with its packages in `dir/pool`.
pub(super) fn apt(dir: &Path) -> Result<()> {
    let mut ftparchive = command("apt-ftparchive", ["packages", "pool"]);
    ftparchive.current_dir(dir);
    let packages = must(ftparchive)?;
    let path = dir.join("Packages");
    fs::write(&path, packages).doing("write", &path)?;
    // A `Release` that is there would be listed in the new one.
    let path = dir.join("Release");
    if path.exists() {
        fs::remove_file(&path).doing("remove", &path)?;
    }
    let mut ftparchive = command("apt-ftparchive", RELEASE.iter().flat_map(|field| ["-o", field]));
    ftparchive.args(["release", "."]).current_dir(dir);
    let release = must(ftparchive)?;
    Ok(fs::write(&path, release).doing("write", path)?)
}

/// Writes `repodata` for the RPM repository `dir`.
pub(super) fn rpm(dir: &Path) -> Result<()> {
    let mut createrepo = command("createrepo_c", ["--quiet", "--update"]);
    createrepo.arg(dir);
    must(createrepo)?;
    Ok(())
}

/// Copies a whole repository; packages become hard links where the file system allows it. Indexes never do: they are
/// rewritten in place.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).doing("create", to)?;
    let entries = fs::read_dir(from).doing("list", from)?;
    for entry in entries {
        let entry = entry.doing("list", from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().doing("inspect", &source)?.is_dir() {
            copy(&source, &target)?;
            continue;
        }
        let is_package = source.extension().is_some_and(|ext| ext == "deb" || ext == "rpm");
        if !(is_package && fs::hard_link(&source, &target).is_ok()) {
            fs::copy(&source, &target).doing("copy", &source)?;
        }
    }
    Ok(())
}

/// Adds a `.deb` or `.rpm` file to `repo`, which must be a test's own copy ([`RepoDir::copy_to`]), and indexes it anew.
///
/// A package of the same file name is replaced, in the copy only.
///
/// # Errors
/// The file is neither a `.deb` nor an `.rpm`, cannot be copied, or an index tool refuses it.
pub fn add(repo: &RepoDir, package: &Path) -> Result<()> {
    let not_a_package = || RepoError::BadSpec {
        name: package.display().to_string(),
        detail: "neither a .deb nor an .rpm file".to_owned(),
    };
    let file_name = package.file_name().ok_or_else(not_a_package)?;
    let is_deb = match package.extension().and_then(|ext| ext.to_str()) {
        Some("deb") => true,
        Some("rpm") => false,
        _ => return Err(not_a_package()),
    };
    let dir = if is_deb { repo.apt().join("pool") } else { repo.rpm() };
    let target = dir.join(file_name);
    // Writing through a hard link would reach the cached repository.
    if target.exists() {
        fs::remove_file(&target).doing("remove", &target)?;
    }
    fs::copy(package, &target).doing("copy", package)?;
    if is_deb { apt(&repo.apt()) } else { rpm(&repo.rpm()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_shares_packages_and_owns_its_indexes() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("apt/pool")).unwrap();
        fs::write(from.join("apt/pool/a.deb"), "package").unwrap();
        fs::write(from.join("apt/Packages"), "index").unwrap();
        let to = dir.path().join("to");
        copy(&from, &to).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&from.join("apt/pool/a.deb")), inode(&to.join("apt/pool/a.deb")));
        assert_ne!(inode(&from.join("apt/Packages")), inode(&to.join("apt/Packages")));
        assert!(copy(&from, &to).is_err(), "an existing directory is never written over");
    }

    #[test]
    fn only_packages_can_be_added() {
        let repo = RepoDir::at("/nonexistent".into());
        let text = add(&repo, Path::new("/tmp/notes.txt")).unwrap_err().to_string();
        assert!(text.contains("notes.txt"), "{text}");
    }
}
