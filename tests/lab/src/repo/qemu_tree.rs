//! The relocated qemu's tree, made of Debian's own packages.
//!
//! qemu's paths are compiled in (`/usr/share/qemu`, `/usr/lib/x86_64-linux-gnu/qemu`, …), and on a host those belong to
//! the *old* build. But qemu looks first for a directory `qemu-bundle` beside its executable, and if there is one,
//! takes every compiled-in path below it (`util/cutils.c`, `get_relocated_path`, since 7.1). So the tree carries
//!
//! ```text
//! bin/qemu-system-x86_64
//! bin/qemu-bundle/usr -> ../..        /usr/share/qemu becomes <tree>/share/qemu, and so on
//! bin/qemu-bundle/etc -> ../../etc
//! lib/  share/  etc/
//! ```
//!
//! and needs neither a launcher nor an environment: `/proc/PID/exe` is the binary itself, libvirt, which clears the
//! environment, runs it as any other, and the tree works wherever it is put. The shared libraries are those of the host;
//! the old build's dependencies cover them (checked by the test `lab_repo_qemu_is_self_contained`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::RepoError;
use super::apt::Session;
use super::closure::Host;
use super::error::{Result, unreadable};
use super::recipe::Recipe;
use crate::error::IoContext;

/// What of the packages below `/usr/share` is not part of a running qemu. Licences (`doc/*/copyright`) stay.
const UNNEEDED_SHARES: [&str; 5] = ["applications", "doc-base", "icons", "lintian", "man"];

/// A staged tree.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) path: PathBuf,
    /// The Debian version of qemu-system-x86 that it was made from.
    pub(super) origin: String,
}

/// Downloads the recipe's packages and lays their files out as one tree below `scratch`.
///
/// # Errors
/// [`RepoError::NotSelfContained`] if a link leads out of the tree or the binary does not know `qemu-bundle`.
pub(super) fn stage(session: &Session, recipe: &Recipe, host: &Host, scratch: &Path) -> Result<Tree> {
    let debs = newest(session, recipe, host)?;
    let origin = debs
        .iter()
        .find_map(|(name, version)| (name == "qemu-system-x86").then(|| version.clone()))
        .ok_or_else(|| unreadable("recipes/repo/recipe.toml", "[qemu] lacks `qemu-system-x86`"))?;

    let unpacked = session.unpack(&debs, &scratch.join("qemu"))?;
    let tree = scratch.join("qemu-tree");
    lay_out(&unpacked, &tree)?;
    check_links(&tree)?;
    check_bundle_aware(&tree.join("bin/qemu-system-x86_64"))?;
    Ok(Tree { path: tree, origin })
}

/// Each package in the new suite's version, or the hosts' own where the new suite has none.
fn newest(session: &Session, recipe: &Recipe, host: &Host) -> Result<Vec<(String, String)>> {
    let mut debs = Vec::new();
    for name in &recipe.qemu.packages {
        let version = match session.version_in(&recipe.suites.new, name)? {
            Some(version) => version,
            None => host.version(name)?.to_owned(),
        };
        debs.push((name.clone(), version));
    }
    Ok(debs)
}

/// Moves `usr/{bin,lib,share}` and `etc` of the unpacked packages to the top of `tree` and adds the bundle links.
fn lay_out(unpacked: &Path, tree: &Path) -> Result<()> {
    fs::create_dir_all(tree).doing("create", tree)?;
    for (from, to) in [("usr/bin", "bin"), ("usr/lib", "lib"), ("usr/share", "share"), ("etc", "etc")] {
        let from = unpacked.join(from);
        fs::rename(&from, tree.join(to)).doing("move", &from)?;
    }
    let units = tree.join("lib/systemd");
    if units.exists() {
        fs::remove_dir_all(&units).doing("remove", &units)?;
    }
    for name in UNNEEDED_SHARES {
        let path = tree.join("share").join(name);
        if path.exists() {
            fs::remove_dir_all(&path).doing("remove", &path)?;
        }
    }
    keep_only_licences(&tree.join("share/doc"))?;

    let bundle = tree.join("bin/qemu-bundle");
    fs::create_dir(&bundle).doing("create", &bundle)?;
    for (link, to) in [("usr", "../.."), ("etc", "../../etc")] {
        let link = bundle.join(link);
        symlink(to, &link).doing("create the link", &link)?;
    }
    Ok(())
}

fn keep_only_licences(doc: &Path) -> Result<()> {
    for path in files_below(doc)? {
        if path.file_name().is_none_or(|name| name != "copyright") {
            fs::remove_file(&path).doing("remove", &path)?;
        }
    }
    Ok(())
}

/// Every path below `dir` that is not a directory; links are not followed.
pub(super) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).doing("list", &dir)? {
            let entry = entry.doing("list", &dir)?;
            if entry.file_type().doing("inspect", entry.path())?.is_dir() {
                open.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Refuses a link that is absolute or climbs out of the tree: it would name a file of the host.
fn check_links(tree: &Path) -> Result<()> {
    for path in files_below(tree)? {
        let Ok(target) = fs::read_link(&path) else { continue };
        let relative = path.strip_prefix(tree).unwrap_or(&path);
        if !stays_inside(relative, &target) {
            let detail = format!("link `{}` leads to `{}`", relative.display(), target.display());
            return Err(RepoError::NotSelfContained { detail });
        }
    }
    Ok(())
}

/// Whether a link at `link` (relative to the tree) with this `target` stays in the tree.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// A build that does not look for its bundle would silently use the host's ROMs and modules.
fn check_bundle_aware(binary: &Path) -> Result<()> {
    const NAME: &[u8] = b"/qemu-bundle\0";
    let bytes = fs::read(binary).doing("read", binary)?;
    if bytes.windows(NAME.len()).any(|window| window == NAME) {
        return Ok(());
    }
    let detail = "its binary does not know `qemu-bundle` (qemu before 7.1)".to_owned();
    Err(RepoError::NotSelfContained { detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_tree_are_seen() {
        let stays = |link: &str, target: &str| stays_inside(Path::new(link), Path::new(target));
        assert!(stays("bin/qemu-bundle/usr", "../.."));
        assert!(stays("share/qemu/a.bin", "../seabios/a.bin"));
        assert!(stays("bin/kvm", "./qemu-system-x86_64"));
        assert!(!stays("bin/qemu-bundle/usr", "../../.."));
        assert!(!stays("share/qemu/a.bin", "/usr/share/seabios/a.bin"));
        assert!(!stays("share/a", "../../share/a"));
    }

    #[test]
    fn a_tree_is_laid_out_and_unneeded_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let unpacked = dir.path().join("unpacked");
        for file in [
            "usr/bin/qemu-system-x86_64",
            "usr/lib/x86_64-linux-gnu/qemu/block-rbd.so",
            "usr/lib/systemd/system/some.service",
            "usr/share/qemu/bios.bin",
            "usr/share/doc/qemu/copyright",
            "usr/share/doc/qemu/changelog.gz",
            "usr/share/man/man1/qemu.1",
            "etc/qemu-ifup",
        ] {
            let path = unpacked.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let tree = dir.path().join("tree");
        lay_out(&unpacked, &tree).unwrap();
        check_links(&tree).unwrap();
        let files: Vec<_> = files_below(&tree)
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(&tree).unwrap().display().to_string())
            .collect();
        assert_eq!(
            files,
            [
                "bin/qemu-bundle/etc",
                "bin/qemu-bundle/usr",
                "bin/qemu-system-x86_64",
                "etc/qemu-ifup",
                "lib/x86_64-linux-gnu/qemu/block-rbd.so",
                "share/doc/qemu/copyright",
                "share/qemu/bios.bin",
            ]
        );
        let through_bundle = tree.join("bin/qemu-bundle/usr/share/qemu/bios.bin");
        assert_eq!(
            fs::canonicalize(through_bundle).unwrap(),
            fs::canonicalize(tree.join("share/qemu/bios.bin")).unwrap()
        );
        assert!(check_bundle_aware(&tree.join("bin/qemu-system-x86_64")).is_err());
    }
}
