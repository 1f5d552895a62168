//! What dnf (and yum 3) print of a transaction, in the C locale.

use super::{Installed, Resolved, compatible};
use replank_common::action::PackagePin;

/// What a heading of the transaction's table says of the packages below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Comes,
    Goes,
}

/// dnf 4 `output.py` and yum 3 `output.py` (`listTransaction`).
const HEADINGS: [(&str, Does); 15] = [
    ("Installing:", Does::Comes),
    ("Installing dependencies:", Does::Comes),
    ("Installing for dependencies:", Does::Comes),
    ("Installing weak dependencies:", Does::Comes),
    ("Installing group/module packages:", Does::Comes),
    ("Upgrading:", Does::Comes),
    ("Updating:", Does::Comes),
    ("Updating for dependencies:", Does::Comes),
    ("Downgrading:", Does::Comes),
    ("Reinstalling:", Does::Comes),
    ("Removing:", Does::Goes),
    ("Removing dependent packages:", Does::Goes),
    ("Removing unused dependencies:", Does::Goes),
    ("Removing for dependencies:", Does::Goes),
    ("Removing depended packages:", Does::Goes),
];

/// Two spellings of one version: dnf leaves an epoch of 0 out, and `repoquery` does not.
pub(super) fn without_zero_epoch(version: &str) -> &str {
    version.strip_prefix("0:").unwrap_or(version)
}

/// Reads the table that dnf prints before it asks whether to go on. Every heading must be known: a package under one
/// that is not would be a package that nobody looked at.
pub(super) fn transaction(text: &str, installed: &[Installed]) -> Result<Vec<Resolved>, String> {
    let before = |name: &str, architecture: &str| {
        let same = |p: &&Installed| p.name == name && p.architecture == architecture;
        let akin = |p: &&Installed| p.name == name && compatible(&p.architecture, architecture);
        installed.iter().find(same).or_else(|| installed.iter().find(akin)).map(|p| p.version.clone())
    };
    let mut found: Vec<Resolved> = Vec::new();
    let mut lines = text.lines().skip_while(|line| !line.starts_with(" Package")).skip(1).peekable();
    if lines.peek().is_none() {
        return if text.contains("Nothing to do") { Ok(found) } else { Err("there is no table".to_owned()) };
    }
    let mut does = None;
    let mut words: Vec<&str> = Vec::new();
    for line in lines {
        if line.starts_with("Transaction Summary") {
            return if words.is_empty() { Ok(found) } else { Err(format!("a row is not whole: {words:?}")) };
        }
        if line.starts_with("===") || line.trim().is_empty() {
            continue;
        }
        if !line.starts_with(' ') {
            let heading = HEADINGS.iter().find(|(heading, _)| *heading == line.trim_end());
            does = Some(heading.ok_or_else(|| format!("heading `{line}` is unknown"))?.1);
            continue;
        }
        if let Some(old) = line.trim_start().strip_prefix("replacing ") {
            let odd = || format!("`{line}`");
            let (package, version) = old.trim().split_once(' ').ok_or_else(odd)?;
            let (name, architecture) = package.rsplit_once('.').ok_or_else(odd)?;
            found.push(resolved(name, architecture, Some(version.trim().to_owned()), None));
            continue;
        }
        // A long name stands on a line of its own, the rest of its row on the next: name, architecture, version,
        // repository, size, and its unit when that is not bytes.
        words.extend(line.split_whitespace());
        if words.len() < 5 {
            continue;
        }
        let [name, architecture, version, ..] = words.as_slice() else { continue };
        let version = without_zero_epoch(version).to_owned();
        found.push(match does.ok_or("a row stands before any heading")? {
            Does::Comes => resolved(name, architecture, before(name, architecture), Some(version)),
            Does::Goes => resolved(name, architecture, Some(version), None),
        });
        words.clear();
    }
    Err("the table has no end".to_owned())
}

fn resolved(name: &str, architecture: &str, before: Option<String>, after: Option<String>) -> Resolved {
    Resolved { name: name.to_owned(), architecture: architecture.to_owned(), before, after }
}

/// Reads `repoquery --qf '%{name}\t%{epoch}:%{version}-%{release}'`.
pub(super) fn offered(text: &str) -> Vec<PackagePin> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, version)| PackagePin {
            name: name.to_owned(),
            version: without_zero_epoch(version.trim()).to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALL: &str = include_str!("fixtures/dnf-assumeno.txt");
    const MANY: &str = include_str!("fixtures/dnf-assumeno-many.txt");

    fn have(name: &str, architecture: &str, version: &str) -> Installed {
        Installed {
            name: name.into(),
            architecture: architecture.into(),
            version: version.into(),
            automatic: None,
            held: false,
            unfinished: None,
        }
    }

    #[test]
    fn a_real_table_is_read() {
        let found = transaction(INSTALL, &[]).unwrap();
        assert_eq!(found, [resolved("qemu-10.0.2", "x86_64", None, Some("10.0.2-1".into()))]);
    }

    #[test]
    fn long_names_removals_and_replacements_are_read() {
        let found = transaction(MANY, &[have("libvirt-daemon", "x86_64", "1.2.17-13.el7")]).unwrap();
        assert_eq!(
            found,
            [
                resolved(
                    "libvirt-daemon",
                    "x86_64",
                    Some("1.2.17-13.el7".into()),
                    Some("3.2.0-14.el7".into())
                ),
                resolved("qemu-kvm", "x86_64", Some("10:1.5.3-105.el7".into()), None),
                resolved(
                    "libvirt-daemon-driver-storage-a-name-too-long-for-its-column",
                    "x86_64",
                    None,
                    Some("3.2.0-14.el7".into())
                ),
                resolved("old-thing", "noarch", Some("1-1".into()), None),
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert_eq!(transaction("Dependencies resolved.\nNothing to do.\nComplete!\n", &[]).unwrap(), []);
        assert!(transaction("garbage", &[]).is_err());
        let unknown = INSTALL.replace("Installing:", "Enchanting:");
        assert!(transaction(&unknown, &[]).unwrap_err().contains("Enchanting"));
        let cut = INSTALL.split("Transaction Summary").next().unwrap();
        assert!(transaction(cut, &[]).is_err());
    }
}
