//! Directories built once and kept: `<cache>/<name>` exists only when it is complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::error::Result;
use crate::error::IoContext;

/// Returns `<cache>/<name>`, building it with `build` when it does not exist.
///
/// `build` gets an empty directory on the same file system, which is renamed into place when it succeeds and removed
/// when it fails. A lock per name (an advisory one, which the kernel drops with its holder) keeps two processes
/// from building the same thing twice; what a killed builder left behind is removed by the next one.
pub(super) fn get_or_build(
    cache: &Path,
    name: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let target = cache.join(name);
    if target.is_dir() {
        return Ok(target);
    }
    fs::create_dir_all(cache).doing("create the cache directory", cache)?;
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).doing("open the lock", &lock_path)?;
    lock.lock().doing("take the lock", &lock_path)?;
    if target.is_dir() {
        return Ok(target);
    }

    let partial = cache.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).doing("remove the unfinished", &partial)?;
    }
    fs::create_dir(&partial).doing("create", &partial)?;
    if let Err(error) = build(&partial) {
        // The build's own error matters more than one of tidying, which the next builder does again.
        let _ = fs::remove_dir_all(&partial);
        return Err(error);
    }
    // The rename must not reach the disk before what it names.
    nix::unistd::sync();
    fs::rename(&partial, &target).doing("move into place", &target)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::super::RepoError;
    use super::*;

    #[test]
    fn a_failed_build_leaves_nothing_and_the_next_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let failed = get_or_build(dir.path(), "thing", |out| {
            fs::write(out.join("half"), "x").unwrap();
            Err(RepoError::Drags { step: "libvirt", detail: "fail".to_owned() })
        });
        assert!(failed.is_err());
        assert!(!dir.path().join("thing").exists() && !dir.path().join("thing.partial").exists());

        // As if a builder had been killed.
        fs::create_dir(dir.path().join("thing.partial")).unwrap();
        fs::write(dir.path().join("thing.partial/stale"), "x").unwrap();
        let built = get_or_build(dir.path(), "thing", |out| {
            Ok(fs::write(out.join("whole"), "x").doing("write", out)?)
        })
        .unwrap();
        assert!(built.join("whole").exists() && !built.join("stale").exists());
        get_or_build(dir.path(), "thing", |_| panic!("built twice")).unwrap();
    }

    #[test]
    fn two_at_once_build_once() {
        let dir = tempfile::tempdir().unwrap();
        let built = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    get_or_build(dir.path(), "thing", |_| {
                        built.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(built.into_inner(), 1);
    }
}
