//! Indexes of the two repositories, private copies, and adding a package to one.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::error::io;
use super::{RepoDir, RepoError, run};

/// Fields of the apt archive's `Release` file; a pin can name them (`Pin: release o=replank-lab`).
const RELEASE: [&str; 3] = [
    "APT::FTPArchive::Release::Origin=replank-lab",
    "APT::FTPArchive::Release::Label=replank-lab",
    "APT::FTPArchive::Release::Suite=lab",
];

/// Writes `Packages` and `Release` for the flat archive `dir` with its packages in `dir/pool`.
pub(super) fn apt(dir: &Path) -> Result<(), RepoError> {
    let packages = run::output(
        Command::new("apt-ftparchive").args(["packages", "pool"]).current_dir(dir),
        "index the apt archive",
    )?;
    let path = dir.join("Packages");
    fs::write(&path, packages).map_err(|e| io("write", &path, e))?;
    // A `Release` that is there would be listed in the new one.
    let path = dir.join("Release");
    if path.exists() {
        fs::remove_file(&path).map_err(|e| io("remove", &path, e))?;
    }
    let mut command = Command::new("apt-ftparchive");
    for field in RELEASE {
        command.args(["-o", field]);
    }
    let release = run::output(command.args(["release", "."]).current_dir(dir), "write the Release file")?;
    fs::write(&path, release).map_err(|e| io("write", &path, e))
}

/// Writes `repodata` for the RPM repository `dir`.
pub(super) fn rpm(dir: &Path) -> Result<(), RepoError> {
    run::output(
        Command::new("createrepo_c").args(["--quiet", "--update"]).arg(dir),
        "index the RPM repository",
    )?;
    Ok(())
}

/// Copies a whole repository; packages become hard links where the file system allows it. Indexes never do: they are
/// rewritten in place.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), RepoError> {
    fs::create_dir(to).map_err(|e| io("create", to, e))?;
    let entries = fs::read_dir(from).map_err(|e| io("list", from, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| io("list", from, e))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(|e| io("inspect", &source, e))?.is_dir() {
            copy(&source, &target)?;
            continue;
        }
        let is_package = source.extension().is_some_and(|ext| ext == "deb" || ext == "rpm");
        if !(is_package && fs::hard_link(&source, &target).is_ok()) {
            fs::copy(&source, &target).map_err(|e| io("copy", &source, e))?;
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
pub fn add(repo: &RepoDir, package: &Path) -> Result<(), RepoError> {
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
        fs::remove_file(&target).map_err(|e| io("remove", &target, e))?;
    }
    fs::copy(package, &target).map_err(|e| io("copy", package, e))?;
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
