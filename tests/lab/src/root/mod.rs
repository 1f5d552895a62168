//! Root file systems, built from Debian's packages and cached by what they were built from.
//!
//! A root is built in a directory of its own, under a lock, and appears under its final name by one rename with
//! its marker already inside. So a cache that is absent, was cut off half-way or is used by two labs at once
//! needs no repair: what has the final name and the marker is whole, all else is removed and built again.
//!
//! A finished root is never written: hosts put an overlay on it.

mod mirror;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::command::{command, must_with_input};
use crate::error::{IoContext, LabError, Result};
use crate::mounts;

pub use mirror::Mirror;

/// Where roots are kept unless `REPLANK_LAB_CACHE` says otherwise.
pub const DEFAULT_CACHE: &str = "/var/cache/replank-lab";
/// A build that takes longer than this has lost its archive.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Part of every digest: raise it when the way of building changes what comes out.
const BUILD_VERSION: &str = "1";
/// Arguments of setpriv(1), before those of the command that may not outlive this process: a build whose owner was
/// killed would go on writing where the next one builds. Its mounts are its own too, and go with it.
const UNTIL_DEATH: [&str; 8] =
    ["--pdeathsig", "KILL", "--", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
const MARKER: &str = "complete";

/// What a root file system is made from.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// A short name, part of the directory's.
    pub name: String,
    /// Debian's code name of the release.
    pub suite: String,
    /// Whether the archive of security fixes is taken too. The one of an old release may name packages that it no longer holds.
    pub fixes: bool,
    /// Packages, beside the essential ones.
    pub packages: Vec<String>,
    /// A shell script, run on the machine with the new root as its first argument, after all packages are in.
    pub customize: String,
}

impl Recipe {
    /// A compute host of Debian 12: systemd, libvirt 9.0, qemu 7.2, apt and dnf.
    #[must_use]
    pub fn compute() -> Self {
        Self {
            name: "compute".to_owned(),
            suite: "bookworm".to_owned(),
            fixes: true,
            packages: package_list(include_str!("../../recipes/compute/packages")),
            customize: include_str!("../../recipes/compute/customize.sh").to_owned(),
        }
    }

    /// A host for the Ceph of this suite of Debian: all its daemons, librbd, apt.
    pub(crate) fn ceph(name: String, suite: String, fixes: bool) -> Self {
        Self {
            name,
            suite,
            fixes,
            packages: package_list(include_str!("../../recipes/ceph/packages")),
            customize: include_str!("../../recipes/ceph/customize.sh").to_owned(),
        }
    }

    /// Its sources in a mirror, as lines of a `sources.list`.
    #[must_use]
    pub fn sources(&self, mirror: &Mirror) -> Vec<String> {
        let security = mirror.security.clone().filter(|_| self.fixes);
        Mirror { security, ..mirror.clone() }.sources(&self.suite)
    }

    /// SHA-256 of everything that decides the content, in hexadecimal. The mirror is not part of it.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let packages = self.packages.join("\n");
        for part in [BUILD_VERSION, &self.name, &self.suite, &packages, &self.customize] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        if !self.fixes {
            hash.update("no fixes");
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Package names of a list: one a line, `#` starts a comment.
fn package_list(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A finished root, for reading only.
#[derive(Debug, Clone)]
pub struct Root {
    /// The directory to use as the lower layer.
    pub path: PathBuf,
    /// How long it took to build; none when it came from the cache.
    pub built_in: Option<Duration>,
}

/// The cache's directory: `$REPLANK_LAB_CACHE` or [`DEFAULT_CACHE`].
#[must_use]
pub fn cache_dir() -> PathBuf {
    std::env::var_os("REPLANK_LAB_CACHE")
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from(DEFAULT_CACHE), PathBuf::from)
}

/// The root of a recipe, from the cache or built now. Waits while another process builds the same one.
///
/// # Errors
/// When the archive cannot be reached or lacks a package, the cache cannot be written, or the build takes more
/// than half an hour.
pub fn prepare(recipe: &Recipe) -> Result<Root> {
    prepare_in(&cache_dir().join("roots"), recipe, build)
}

fn prepare_in(
    cache: &Path,
    recipe: &Recipe,
    build: impl FnOnce(&Recipe, &Path, &Path) -> Result<()>,
) -> Result<Root> {
    let name = format!("{}-{}", recipe.name, &recipe.digest()[..16]);
    fs::create_dir_all(cache).doing("create", cache)?;
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).doing("create", &lock_path)?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno.into())
        .doing("lock", &lock_path)?;

    let entry = cache.join(&name);
    let path = entry.join("root");
    if entry.join(MARKER).is_file() {
        return Ok(Root { path, built_in: None });
    }
    let unfinished = cache.join(format!("{name}.unfinished"));
    for leftover in [&entry, &unfinished] {
        mounts::remove_tree(leftover)?;
    }

    let since = Instant::now();
    fs::create_dir(&unfinished).doing("create", &unfinished)?;
    build(recipe, &unfinished.join("root"), &cache.join(format!("{name}.log")))?;
    let marker = unfinished.join(MARKER);
    fs::write(&marker, recipe.digest()).doing("write", &marker)?;
    // The rename must not reach the disk before what it names.
    nix::unistd::sync();
    fs::rename(&unfinished, &entry).doing("rename", &unfinished)?;
    Ok(Root { path, built_in: Some(since.elapsed()) })
}

/// Builds with mmdebstrap into `target`; what it says goes to `log`.
fn build(recipe: &Recipe, target: &Path, log: &Path) -> Result<()> {
    let mirror = Mirror::of_this_machine()?;
    let script = tempfile::Builder::new().prefix("lab-customize-").tempfile().doing("create", "a script")?;
    fs::write(script.path(), &recipe.customize).doing("write", script.path())?;
    fs::set_permissions(script.path(), fs::Permissions::from_mode(0o755)).doing("chmod", script.path())?;

    let limit = BUILD_LIMIT.as_secs().to_string();
    let mut args: Vec<String> =
        UNTIL_DEATH.iter().chain(&["timeout", &limit, "mmdebstrap"]).map(|s| (*s).to_owned()).collect();
    args.extend(["--mode=root", "--format=directory", "--variant=minbase"].map(str::to_owned));
    args.push(format!("--logfile={}", log.display()));
    args.extend(mirror.options.iter().map(|option| format!("--aptopt={option}")));
    args.push("--aptopt=Acquire::Languages \"none\"".to_owned());
    // Nobody reads manuals in a test host.
    for path in ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"] {
        args.push(format!("--dpkgopt=path-exclude={path}"));
    }
    args.push(format!("--include={}", recipe.packages.join(",")));
    // mmdebstrap hands hooks to a shell when they are no plain path: `"$1"` is the root.
    args.push(format!("--customize-hook=sh {} \"$1\"", script.path().display()));
    args.push(recipe.suite.clone());
    args.push(target.display().to_string());
    args.push("-".to_owned());

    let sources = recipe.sources(&mirror).join("\n") + "\n";
    must_with_input(command("setpriv", args), sources.as_bytes()).map_err(|error| match error {
        LabError::Command { command, status, .. } => LabError::Command {
            command,
            status,
            said: fs::read_to_string(log).map(|text| crate::command::tail(&text)).unwrap_or_default(),
        },
        other => other,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn recipe() -> Recipe {
        Recipe {
            name: "bare".to_owned(),
            suite: "bookworm".to_owned(),
            fixes: true,
            packages: vec!["systemd".to_owned()],
            customize: String::new(),
        }
    }

    fn fake_build(_: &Recipe, target: &Path, _: &Path) -> Result<()> {
        fs::create_dir(target).unwrap();
        fs::write(target.join("hello"), "here").unwrap();
        Ok(())
    }

    #[test]
    fn every_part_of_a_recipe_changes_its_digest() {
        let base = recipe().digest();
        assert_eq!(base, recipe().digest());
        for changed in [
            Recipe { suite: "trixie".to_owned(), ..recipe() },
            Recipe { fixes: false, ..recipe() },
            Recipe { packages: vec!["systemd".to_owned(), "dbus".to_owned()], ..recipe() },
            Recipe { customize: "true".to_owned(), ..recipe() },
        ] {
            assert_ne!(base, changed.digest());
        }
    }

    #[test]
    fn a_root_is_built_once_and_then_found() {
        let cache = tempfile::tempdir().unwrap();
        let first = prepare_in(&cache.path().join("not/there/yet"), &recipe(), fake_build).unwrap();
        assert!(first.built_in.is_some() && first.path.join("hello").is_file());
        let again = prepare_in(&cache.path().join("not/there/yet"), &recipe(), |_, _, _| {
            panic!("a finished root was built again")
        })
        .unwrap();
        assert_eq!((again.path, again.built_in), (first.path, None));
    }

    #[test]
    fn a_build_that_was_cut_off_is_built_again() {
        let cache = tempfile::tempdir().unwrap();
        let cut_off = prepare_in(cache.path(), &recipe(), |recipe, target, log| {
            fake_build(recipe, target, log)?;
            Err(LabError::Refused("power is gone".to_owned()))
        });
        assert!(cut_off.is_err());
        assert!(prepare_in(cache.path(), &recipe(), fake_build).unwrap().built_in.is_some());
        // An entry without its marker is no better.
        let entry = prepare_in(cache.path(), &recipe(), fake_build).unwrap().path;
        fs::remove_file(entry.parent().unwrap().join(MARKER)).unwrap();
        fs::remove_file(entry.join("hello")).unwrap();
        assert!(prepare_in(cache.path(), &recipe(), fake_build).unwrap().path.join("hello").is_file());
    }

    #[test]
    fn two_at_once_build_one() {
        let cache = tempfile::tempdir().unwrap();
        let builds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    prepare_in(cache.path(), &recipe(), |recipe, target, log| {
                        builds.fetch_add(1, Ordering::SeqCst);
                        fake_build(recipe, target, log)
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(builds.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_compute_recipe_has_what_a_compute_host_needs() {
        let packages = Recipe::compute().packages;
        for needed in ["libvirt-daemon-system", "qemu-system-x86", "dnf", "rpm", "needrestart", "strace"] {
            assert!(packages.iter().any(|package| package == needed), "{needed} is missing");
        }
        assert!(packages.iter().all(|package| !package.contains(['#', ' '])));
    }
}
