//! A resolved transaction with everything in it that the guard judges: files of both sides and the scriptlets that would run.

use crate::guard::{self, Transaction, TransactionItem};
use crate::host::Host;
use crate::host::packages::{Contents, Installed, Packages, PackagesError, Resolved};
use replank_common::finding::Finding;
use replank_common::outcome::Refusal;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Gathers the contents. `coming` gives those of what comes.
pub(super) fn gather(
    host: &Host,
    packages: &dyn Packages,
    resolved: &[Resolved],
    installed: &[Installed],
    coming: impl Fn(&Resolved) -> Result<Option<Contents>, PackagesError>,
) -> Result<Transaction, PackagesError> {
    let mut real = RealPaths::new(host);
    let mut items = Vec::with_capacity(resolved.len());
    for item in resolved {
        let mut found = TransactionItem {
            name: item.name.clone(),
            architecture: item.architecture.clone(),
            before: item.before.clone(),
            after: item.after.clone(),
            files_after: Vec::new(),
            files_before: Vec::new(),
            scriptlets: Vec::new(),
        };
        if let Some(contents) = coming(item)? {
            found.files_after = contents.files.iter().map(|path| real.of(path)).collect();
            found.scriptlets.extend(contents.scriptlets);
        }
        let same = |p: &&Installed| {
            p.name == item.name && (p.architecture == item.architecture || item.after.is_none())
        };
        if let Some(package) = installed.iter().find(same) {
            let contents = packages.contents_of_installed(package)?;
            found.files_before = contents.files.iter().map(|path| real.of(path)).collect();
            found.scriptlets.extend(contents.scriptlets);
        }
        items.push(found);
    }
    Ok(Transaction { manager: packages.manager(), items })
}

/// Lets the guard judge.
///
/// # Errors
/// As [`guard::verdict`] says.
pub(super) fn judged(host: &Host, transaction: &Transaction) -> Result<Vec<Finding>, Refusal> {
    guard::verdict(host.guests.judge(transaction))
}

/// Package managers spell a path as the package does (`/lib/…`); what a process maps has its real directory (`/usr/lib/…`).
struct RealPaths<'a> {
    host: &'a Host,
    directories: HashMap<PathBuf, PathBuf>,
}

impl<'a> RealPaths<'a> {
    fn new(host: &'a Host) -> Self {
        Self { host, directories: HashMap::new() }
    }

    fn of(&mut self, path: &Path) -> PathBuf {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
        if let Some(known) = self.directories.get(parent) {
            return known.join(name);
        }
        let real = self.resolve(parent);
        self.directories.insert(parent.to_owned(), real.clone());
        real.join(name)
    }

    /// The real directory, as far as it exists.
    fn resolve(&self, directory: &Path) -> PathBuf {
        let root = self.host.directories.root();
        for above in directory.ancestors() {
            let Ok(real) = std::fs::canonicalize(self.host.at(above)) else { continue };
            let Ok(below) = real.strip_prefix(root) else { break };
            let rest = directory.strip_prefix(above).unwrap_or(Path::new(""));
            return Path::new("/").join(below).join(rest);
        }
        directory.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn a_path_is_told_by_its_real_directory() {
        let world = World::new();
        world.file("/usr/lib/x/a.so", "");
        std::os::unix::fs::symlink("usr/lib", world.host.at("/lib")).unwrap();
        let mut real = RealPaths::new(&world.host);
        assert_eq!(real.of(Path::new("/lib/x/a.so")), Path::new("/usr/lib/x/a.so"));
        assert_eq!(real.of(Path::new("/lib/new/b.so")), Path::new("/usr/lib/new/b.so"));
        assert_eq!(real.of(Path::new("/opt/none/c")), Path::new("/opt/none/c"));
    }
}
