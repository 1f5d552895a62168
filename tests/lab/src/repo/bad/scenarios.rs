//! The hostile packages of the acceptance tests, each as an old and a new version.
//!
//! Build the pair for either format, install the old version, offer the new one.

use super::{PackageSpec, When};

/// Two versions of one package.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The version that a host has, `1.0`.
    pub old: PackageSpec,
    /// The version that is offered, `2.0`.
    pub new: PackageSpec,
}

/// How a script restarts the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// `systemctl restart`, which no `policy-rc.d` stops.
    Systemctl,
    /// `deb-systemd-invoke restart`, which asks `policy-rc.d` first, as Debian's own packages do.
    DebSystemdInvoke,
}

impl Restart {
    fn command(self, unit: &str) -> String {
        match self {
            Self::Systemctl => format!("systemctl try-restart {unit}"),
            Self::DebSystemdInvoke => format!("deb-systemd-invoke restart {unit}"),
        }
    }
}

fn pair(name: &str) -> Pair {
    let version = |version: &str| {
        PackageSpec::new(name, version).file(&format!("/usr/share/{name}/version"), format!("{version}\n"))
    };
    Pair { old: version("1.0"), new: version("2.0") }
}

/// The *old* version's removal script restarts `unit` when the new version replaces it: what libvirt's own RPM did
/// until 1.2.17 (`%postun daemon`), and what no new package can repair.
#[must_use]
pub fn old_removal_restarts(name: &str, unit: &str, how: Restart) -> Pair {
    let Pair { old, new } = pair(name);
    Pair { old: old.script(When::AfterRemove, &how.command(unit)), new }
}

/// The *new* version's installation script restarts `unit`.
#[must_use]
pub fn new_install_restarts(name: &str, unit: &str, how: Restart) -> Pair {
    let Pair { old, new } = pair(name);
    Pair { old, new: new.script(When::AfterInstall, &how.command(unit)) }
}

/// The new version's installation script writes over `library` with `cp`, keeping the inode: a process that has it
/// mapped sees the bytes change under it. `contents` should be a library's own bytes, so that a test that fails to find
/// this does not also crash the guest.
#[must_use]
pub fn overwrites_in_place(name: &str, library: &str, contents: Vec<u8>) -> Pair {
    let Pair { old, new } = pair(name);
    let carried = format!("/usr/share/{name}/library");
    let body = format!("cp {carried} {library}");
    Pair { old, new: new.file(&carried, contents).script(When::AfterInstall, &body) }
}

/// The old version owns the files `modules` (absolute paths, with their bytes) and the new one no longer does, so that
/// the package manager removes what a running process may still want to load.
#[must_use]
pub fn drops_modules(name: &str, modules: &[(&str, Vec<u8>)]) -> Pair {
    let Pair { old, new } = pair(name);
    let old = modules.iter().fold(old, |old, (path, bytes)| old.file(path, bytes.clone()));
    Pair { old, new }
}

/// The new version's installation script removes the directory `modules`, which no package manager's file list shows.
#[must_use]
pub fn deletes_module_directory(name: &str, modules: &str) -> Pair {
    let Pair { old, new } = pair(name);
    Pair { old, new: new.script(When::AfterInstall, &format!("rm -rf {modules}")) }
}
