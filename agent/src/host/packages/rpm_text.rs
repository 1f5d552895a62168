//! What rpm prints.

use super::dnf_text::without_zero_epoch;
use super::{Installed, PackageFile, scriptlet};
use crate::guard::{Phase, Scriptlet};

/// For `rpm -q --qf`: name, architecture, version with its epoch when there is one, size; one package a line.
pub(super) const QUERY: &str =
    "%{NAME}\\t%{ARCH}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{SIZE}\\n";

fn fields(line: &str) -> Result<[&str; 4], String> {
    let fields: Vec<&str> = line.split('\t').collect();
    fields.try_into().map_err(|_| format!("`{line}` has not four fields"))
}

/// Reads the answer to [`QUERY`]. `gpg-pubkey` stands for keys and is no package.
pub(super) fn installed(text: &str) -> Result<Vec<Installed>, String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let [name, architecture, version, _] = fields(line)?;
        if name == "gpg-pubkey" {
            continue;
        }
        found.push(Installed {
            name: name.to_owned(),
            architecture: architecture.to_owned(),
            version: without_zero_epoch(version).to_owned(),
            automatic: None,
            held: false,
            unfinished: None,
        });
    }
    Ok(found)
}

/// Reads the answer to [`QUERY`] about one package file.
pub(super) fn file(text: &str) -> Result<PackageFile, String> {
    let [name, architecture, version, size] = fields(text.trim_end())?;
    Ok(PackageFile {
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        version: without_zero_epoch(version).to_owned(),
        installed_bytes: size.parse().map_err(|_| format!("size `{size}` is no number"))?,
    })
}

/// The headings of `rpm -q --scripts --triggers --filetriggers`: what rpm calls a scriptlet, what a spec file calls it, when it runs in
/// an upgrade, and whether it then is the one of the package that goes.
const HEADINGS: [(&str, &str, Phase, bool); 7] = [
    ("preinstall scriptlet", "%pre", Phase::Before, false),
    ("postinstall scriptlet", "%post", Phase::After, false),
    ("preuninstall scriptlet", "%preun", Phase::Before, true),
    ("postuninstall scriptlet", "%postun", Phase::After, true),
    ("pretrans scriptlet", "%pretrans", Phase::Before, false),
    ("posttrans scriptlet", "%posttrans", Phase::After, false),
    ("trigger", "%trigger", Phase::After, false),
];

/// A line that begins another scriptlet: `postinstall scriptlet (using /bin/sh):`, `postinstall program: /sbin/ldconfig`,
/// `triggerin scriptlet (using /bin/sh) -- other`, `transfiletriggerin scriptlet …`.
fn heading(line: &str) -> Option<(&'static str, Phase, bool)> {
    let is_heading = line.contains(" scriptlet (using ") || line.contains(" program: ");
    if !is_heading || line.starts_with(char::is_whitespace) {
        return None;
    }
    let word = line.split(' ').next()?;
    HEADINGS
        .iter()
        .find(|(name, ..)| {
            name.split(' ').next() == Some(word) || (*name == "trigger" && word.contains("trigger"))
        })
        .map(|(_, spec, phase, old)| (*spec, *phase, *old))
}

/// The scriptlets that run when the package comes (`installed` false) or when it, being there, goes (`installed` true).
pub(super) fn scriptlets(text: &str, package: &str, version: &str, installed: bool) -> Vec<Scriptlet> {
    let mut found: Vec<Scriptlet> = Vec::new();
    for line in text.lines() {
        if let Some((name, phase, of_old)) = heading(line) {
            // The program's arguments, if the scriptlet is a program, are on the heading's own line.
            let rest = line.split_once(" program: ").map(|(_, program)| format!("{program}\n"));
            found.push(scriptlet(package, version, name, phase, of_old, rest.unwrap_or_default()));
        } else if let Some(last) = found.last_mut() {
            last.text.push_str(line);
            last.text.push('\n');
        }
    }
    found.retain(|s| s.of_old_package == installed);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPTS: &str = include_str!("fixtures/rpm-scripts.txt");

    #[test]
    fn scriptlets_are_told_apart_by_when_they_run() {
        let coming = scriptlets(SCRIPTS, "libvirt-daemon", "1-1", false);
        let names: Vec<&str> = coming.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["%pre", "%post", "%posttrans", "%trigger"]);
        assert_eq!(coming[1].text, "/sbin/ldconfig\n");
        let going = scriptlets(SCRIPTS, "libvirt-daemon", "1-1", true);
        let names: Vec<&str> = going.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["%preun", "%postun"]);
        assert!(going[1].text.contains("systemctl try-restart libvirtd.service"), "{}", going[1].text);
        assert!(going[1].of_old_package);
    }

    #[test]
    fn packages_are_read() {
        let found = installed(
            "gpg-pubkey\t(none)\t1-1\t0\nqemu-10.0.2\tx86_64\t10.0.2-1\t123\nbash\tx86_64\t1:5-2\t1\n",
        );
        let found = found.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].version, "1:5-2");
        assert!(file("nonsense").is_err());
    }
}
