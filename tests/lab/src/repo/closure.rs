//! What the step from the old to the new set really needs, and proof that it needs nothing else.
//!
//! apt itself is asked, twice: what a lab host has installed (from nothing, old suite only), and what the upgrade does
//! to that host with every binary package of the one source pinned to the new suite. Asking for the whole suite instead
//! (`-t bookworm-backports`) would also upgrade systemd and its libraries.

use std::collections::BTreeMap;

use super::apt::{Change, Session, Simulation};
use super::error::{Result, unreadable};
use super::recipe::Recipe;
use super::{Kind, PackageVersions, RepoError, Versions};

/// Every essential or required package, as an apt pattern (apt-patterns(7)).
const MINIMAL_ROOT: &str = "?or(?essential,?priority(required))";

/// What a host has installed.
#[derive(Debug)]
pub(super) struct Host {
    versions: BTreeMap<String, String>,
    /// Their index entries.
    entries: String,
}

impl Host {
    /// Asks apt what the recipe's hosts have: essential and required packages, those of their list, and whatever these
    /// depend on.
    pub(super) fn simulate(session: &Session, recipe: &Recipe) -> Result<Self> {
        let mut wanted = vec![MINIMAL_ROOT];
        wanted.extend(recipe.host.packages.iter().map(String::as_str));
        let versions = installs(&session.simulate("", "", &wanted)?);
        let entries = session.show(&exact(&versions))?;
        Ok(Self { versions, entries })
    }

    /// The version of a package that hosts must have.
    pub(super) fn version(&self, package: &str) -> Result<&str> {
        let lacking = || unreadable("the hosts' packages", format!("`{package}` is not among them"));
        self.versions.get(package).map(String::as_str).ok_or_else(lacking)
    }
}

/// Works out the step's packages and versions.
///
/// # Errors
/// [`RepoError::Drags`] if the step would remove a package, or upgrade one that is not of the set.
pub(super) fn compute(session: &Session, recipe: &Recipe, host: &Host) -> Result<Versions> {
    let pins = format!(
        "Package: src:{}\nPin: release n={}\nPin-Priority: 990\n",
        recipe.libvirt.source, recipe.suites.new
    );
    let set: Vec<&str> = recipe.libvirt.packages.iter().map(String::as_str).collect();
    let step = session.simulate(&as_installed(&host.entries), &pins, &set)?;

    let mut sources = sources_of(&host.entries);
    sources.extend(sources_of(&session.show(&exact(&installs(&step)))?));
    Ok(Versions {
        old_suite: recipe.host.suite.clone(),
        new_suite: recipe.suites.new.clone(),
        source: recipe.libvirt.source.clone(),
        packages: classify(&step, &host.versions, &sources, &recipe.libvirt.source)?,
    })
}

/// Tells members from dependencies, in the order of configuration; members that the step does not touch come last.
fn classify(
    step: &Simulation,
    host: &BTreeMap<String, String>,
    sources: &BTreeMap<String, String>,
    source: &str,
) -> Result<Vec<PackageVersions>> {
    let is_member = |name: &str| sources.get(name).is_some_and(|s| s == source);
    let mut changed = BTreeMap::new();
    for change in &step.changes {
        match change {
            Change::Remove { name, old } => {
                return Err(RepoError::Drags { step: "libvirt", detail: format!("remove `{name}` {old}") });
            }
            Change::Install { name, old: Some(old), new } if !is_member(name) => {
                return Err(RepoError::Drags {
                    step: "libvirt",
                    detail: format!("change `{name}` from {old} to {new}"),
                });
            }
            Change::Install { name, old, new } => {
                let kind = if is_member(name) { Kind::Member } else { Kind::Dependency };
                changed.insert(
                    name.clone(),
                    PackageVersions { name: name.clone(), kind, old: old.clone(), new: Some(new.clone()) },
                );
            }
        }
    }
    let mut packages: Vec<_> = step.configured.iter().filter_map(|name| changed.remove(name)).collect();
    // apt configures all that it unpacks; a package without a `Conf` line would otherwise be lost silently.
    packages.extend(changed.into_values());
    for (name, version) in host {
        if is_member(name) && !packages.iter().any(|package| package.name == *name) {
            let (name, old) = (name.clone(), Some(version.clone()));
            packages.push(PackageVersions { name, kind: Kind::Member, old, new: None });
        }
    }
    Ok(packages)
}

/// Package to version of all that a simulation installs.
pub(super) fn installs(simulation: &Simulation) -> BTreeMap<String, String> {
    simulation
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Install { name, new, .. } => Some((name.clone(), new.clone())),
            Change::Remove { .. } => None,
        })
        .collect()
}

pub(super) fn exact(packages: &BTreeMap<String, String>) -> Vec<String> {
    packages.iter().map(|(name, version)| format!("{name}={version}")).collect()
}

/// Turns index entries into a dpkg status file in which they are all installed.
fn as_installed(entries: &str) -> String {
    let mut status = String::with_capacity(entries.len() + 64 * 200);
    for line in entries.lines() {
        status.push_str(line);
        status.push('\n');
        if line.starts_with("Package: ") {
            status.push_str("Status: install ok installed\n");
        }
    }
    status
}

/// Package to source package. An entry without `Source` is built from a source of its own name; a version may follow
/// the name in brackets.
pub(super) fn sources_of(entries: &str) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for entry in entries.split("\n\n") {
        let field = |key: &str| entry.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let Some(package) = field("Package:") else { continue };
        let source = field("Source:").and_then(|s| s.split_whitespace().next()).unwrap_or(package);
        sources.insert(package.to_owned(), source.to_owned());
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: &str = "Package: libvirt0\nSource: libvirt\nVersion: 9\n\nPackage: libvirt-common\nSource: libvirt \
                           (9-1)\nVersion: 11\n\nPackage: mdevctl\nVersion: 1\n\nPackage: udev\nSource: systemd\n";

    fn install(name: &str, old: Option<&str>, new: &str) -> Change {
        Change::Install { name: name.to_owned(), old: old.map(str::to_owned), new: new.to_owned() }
    }

    fn run(changes: Vec<Change>, configured: &[&str]) -> Result<Vec<PackageVersions>> {
        let configured = configured.iter().map(|s| (*s).to_owned()).collect();
        let host = BTreeMap::from([("libvirt0".to_owned(), "9".to_owned())]);
        classify(&Simulation { changes, configured }, &host, &sources_of(ENTRIES), "libvirt")
    }

    #[test]
    fn packages_come_in_the_order_of_configuration() {
        let step = vec![
            install("libvirt0", Some("9"), "11"),
            install("libvirt-common", None, "11"),
            install("mdevctl", None, "1"),
        ];
        let packages = run(step, &["mdevctl", "libvirt-common", "libvirt0"]).unwrap();
        let names: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.kind, p.old.as_deref())).collect();
        assert_eq!(
            names,
            [
                ("mdevctl", Kind::Dependency, None),
                ("libvirt-common", Kind::Member, None),
                ("libvirt0", Kind::Member, Some("9"))
            ]
        );
    }

    #[test]
    fn an_upgrade_outside_the_set_is_refused() {
        let text = run(vec![install("udev", Some("252"), "254")], &["udev"]).unwrap_err().to_string();
        assert!(text.contains("`udev` from 252 to 254"), "{text}");
    }

    #[test]
    fn a_removal_is_refused() {
        let remove = Change::Remove { name: "libvirt0".to_owned(), old: "9".to_owned() };
        assert!(run(vec![remove], &[]).is_err());
    }

    #[test]
    fn a_member_that_the_step_leaves_alone_is_listed_without_a_new_version() {
        let packages = run(vec![], &[]).unwrap();
        assert_eq!((packages[0].old.as_deref(), packages[0].new.as_deref()), (Some("9"), None));
    }

    #[test]
    fn an_entry_becomes_an_installed_package() {
        assert!(
            as_installed(ENTRIES).starts_with("Package: libvirt0\nStatus: install ok installed\nSource:")
        );
    }
}
