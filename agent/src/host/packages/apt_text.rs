//! What apt and dpkg print, in the C locale, and what of it is needed.

use super::{Installed, Resolved};
use replank_common::action::PackagePin;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// For `dpkg-query -W`: name, architecture, version, state; one package a line.
pub(super) const QUERY: &str = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Abbrev}\\n";

/// Reads the answer to [`QUERY`]. Packages of which only configuration is left (`rc`) or nothing (`un`) are not installed.
pub(super) fn installed(text: &str, automatic: &BTreeSet<String>) -> Result<Vec<Installed>, String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, architecture, version, state] = fields.as_slice() else {
            return Err(format!("`{line}` has not four fields"));
        };
        // dpkg-query(1): desired action, status, error flag.
        let mut letters = state.chars();
        let (want, status, error) = (letters.next(), letters.next(), letters.next().filter(|c| *c != ' '));
        let unfinished = match (status, error) {
            (Some('c' | 'n'), None) => continue,
            (Some('i'), None) => None,
            (Some('H'), _) => Some("half-installed"),
            (Some('U'), _) => Some("unpacked"),
            (Some('F'), _) => Some("half-configured"),
            (Some('W'), _) => Some("triggers-awaited"),
            (Some('t'), _) => Some("triggers-pending"),
            (_, Some(_)) => Some("marked as needing a reinstallation"),
            _ => return Err(format!("state `{state}` of {name} is unknown")),
        };
        found.push(Installed {
            name: (*name).to_owned(),
            architecture: (*architecture).to_owned(),
            version: (*version).to_owned(),
            automatic: Some(
                automatic.contains(*name) || automatic.contains(&format!("{name}:{architecture}")),
            ),
            held: want == Some('h'),
            unfinished: unfinished.map(str::to_owned),
        });
    }
    Ok(found)
}

/// Reads what `apt-get -s` says it would do: `Inst name [old] (new origin [arch]) …` and `Remv name [old] …`.
/// `architecture_of` gives that of an installed package, which `Remv` does not say.
pub(super) fn simulated(
    text: &str,
    architecture_of: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Resolved>, String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let (removes, rest) = match line.split_once(' ') {
            Some(("Inst", rest)) => (false, rest),
            Some(("Remv" | "Purg", rest)) => (true, rest),
            _ => continue,
        };
        let odd = || format!("`{line}`");
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let name = name.split(':').next().unwrap_or(name).to_owned();
        let (before, rest) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((version, rest)) => (Some(version.to_owned()), rest.trim_start()),
            None => (None, rest),
        };
        if removes {
            let architecture = architecture_of(&name).unwrap_or_default();
            found.push(Resolved { name, architecture, before: Some(before.ok_or_else(odd)?), after: None });
            continue;
        }
        let inside = rest.strip_prefix('(').and_then(|r| r.split_once(')')).ok_or_else(odd)?.0;
        let after = inside.split(' ').next().filter(|v| !v.is_empty()).ok_or_else(odd)?.to_owned();
        let architecture =
            inside.rsplit_once('[').and_then(|(_, a)| a.strip_suffix(']')).ok_or_else(odd)?.to_owned();
        found.push(Resolved { name, architecture, before, after: Some(after) });
    }
    Ok(found)
}

/// Reads `apt-cache madison`: `name | version | source`.
pub(super) fn madison(text: &str) -> Vec<PackagePin> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(" | ").map(str::trim);
            let (name, version) = (fields.next()?, fields.next()?);
            Some(PackagePin { name: name.to_owned(), version: version.to_owned() })
        })
        .collect()
}

/// Reads one field of the first stanza of a control file.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

/// Reads `dpkg-deb -c`: the columns of `tar -tv`; files and links, not directories.
pub(super) fn listed(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter(|line| !line.starts_with('d'))
        .filter_map(|line| {
            let mut rest = line;
            for _ in 0..5 {
                rest = rest.split_once(' ')?.1.trim_start();
            }
            // A hard link's target follows ` link to `, a symbolic link's ` -> `.
            let cut = if line.starts_with('l') { " -> " } else { " link to " };
            let path = rest.split(cut).next()?;
            Some(PathBuf::from(path.strip_prefix('.').unwrap_or(path)))
        })
        .collect()
}

/// What `apt-get indextargets` is asked for: the index as it lies on the host, and its name within the repository.
pub(super) const TARGETS: &str = "$(FILENAME)\t$(METAKEY)";

/// One fetched index of a repository, and where its release files lie if they are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) index: PathBuf,
    pub(super) releases: Vec<PathBuf>,
}

/// Reads lines of [`TARGETS`]. apt names a fetched file by its address with `_` for `/`, so that all files of one repository begin alike,
/// and those of others may (`…_debian_dists_bookworm_…`, `…_debian-security_dists_…`): the part that is the repository's own ends where the name of
/// the index begins.
pub(super) fn targets(text: &str) -> Vec<Target> {
    let target = |line: &str| {
        let (path, key) = line.split_once('\t')?;
        let index = PathBuf::from(path);
        let name = index.file_name()?.to_str()?;
        let repository = &name[..name.rfind(&format!("_{}", key.replace('/', "_")))?];
        let beside = |release: &&str| index.with_file_name(format!("{repository}_{release}"));
        let releases = ["InRelease", "Release", "Release.gpg"].iter().map(beside).collect();
        Some(Target { index, releases })
    };
    text.lines().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: &str = include_str!("fixtures/dpkg-query.txt");
    const SIMULATED: &str = include_str!("fixtures/apt-simulate.txt");
    const BACK: &str = include_str!("fixtures/apt-simulate-back.txt");

    #[test]
    fn a_real_simulation_is_read() {
        let found = simulated(SIMULATED, |_| None).unwrap();
        assert_eq!(found.len(), 21);
        let daemon = found.iter().find(|r| r.name == "libvirt-daemon").unwrap();
        assert_eq!(daemon.before.as_deref(), Some("9.0.0-4+deb12u2"));
        assert_eq!(daemon.after.as_deref(), Some("11.3.0-2~bpo12+1"));
        assert_eq!(daemon.architecture, "amd64");
        let fresh = found.iter().find(|r| r.name == "libvirt-daemon-log").unwrap();
        assert_eq!(fresh.before, None);
        assert!(found.iter().any(|r| r.architecture == "all"));
    }

    #[test]
    fn a_real_way_back_with_removals_is_read() {
        let found = simulated(BACK, |_| Some("amd64".to_owned())).unwrap();
        let gone: Vec<&str> = found.iter().filter(|r| r.after.is_none()).map(|r| r.name.as_str()).collect();
        assert_eq!(gone.len(), 13);
        assert!(gone.contains(&"libvirt-daemon-log"));
        let library = found.iter().find(|r| r.name == "libvirt0").unwrap();
        assert_eq!(library.after.as_deref(), Some("9.0.0-4+deb12u2"));
    }

    #[test]
    fn an_odd_simulation_is_an_error_and_not_a_gap() {
        assert!(simulated("Inst something new\n", |_| None).is_err());
        assert!(simulated("Remv something\n", |_| None).is_err());
        assert_eq!(simulated("Conf a (1 x [all])\nReading…\n", |_| None).unwrap(), []);
    }

    #[test]
    fn states_of_packages_are_told_apart() {
        let automatic = BTreeSet::from(["libyajl2".to_owned()]);
        let found = installed(STATES, &automatic).unwrap();
        let by_name = |name: &str| found.iter().find(|p| p.name == name);
        assert_eq!(by_name("dnsmasq-base"), None, "only its configuration is left");
        assert!(by_name("libyajl2").unwrap().automatic.unwrap());
        assert!(by_name("seabios").unwrap().held);
        assert_eq!(by_name("half").unwrap().unfinished.as_deref(), Some("half-configured"));
        assert_eq!(by_name("libvirt0").unwrap().unfinished, None);
        assert!(installed("a\tb\tc\tzz \n", &automatic).is_err());
        assert!(installed("a b\n", &automatic).is_err());
    }

    #[test]
    fn what_a_repository_offers_is_read() {
        let text = "  libvirt0 | 11.3.0-2~bpo12+1 | file:/srv/repo/apt ./ Packages\n  libvirt0 | 9.0.0-4+deb12u2 | file:/srv/repo/apt ./ Packages\n";
        let offered = madison(text);
        assert_eq!(offered.len(), 2);
        assert_eq!(offered[1].version, "9.0.0-4+deb12u2");
    }

    #[test]
    fn files_of_an_archive_are_read_with_their_links() {
        let text = "drwxr-xr-x root/root         0 2025-04-01 10:00 ./usr/\n\
                    -rw-r--r-- root/root      1234 2025-04-01 10:00 ./usr/lib/a b.so\n\
                    lrwxrwxrwx root/root         0 2025-04-01 10:00 ./usr/lib/x.so -> x.so.1\n\
                    hrw-r--r-- root/root         0 2025-04-01 10:00 ./usr/lib/y link to ./usr/lib/z\n";
        let listed: Vec<String> = listed(text).iter().map(|p| p.display().to_string()).collect();
        assert_eq!(listed, ["/usr/lib/a b.so", "/usr/lib/x.so", "/usr/lib/y"]);
    }

    #[test]
    fn the_files_of_one_repository_are_told_from_those_of_others_that_begin_alike() {
        let lists = "/var/lib/apt/lists";
        let text = format!(
            "{lists}/mirror.example_debian_dists_bookworm_main_binary-amd64_Packages.lz4\tmain/binary-amd64/Packages\n\
             {lists}/_srv_repo_apt_._Packages\tPackages\nno line of it\n"
        );
        let found = targets(&text);
        let [archive, flat] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            archive.releases[0],
            PathBuf::from(lists).join("mirror.example_debian_dists_bookworm_InRelease")
        );
        assert_eq!(flat.index, PathBuf::from(lists).join("_srv_repo_apt_._Packages"));
        assert_eq!(flat.releases[1], PathBuf::from(lists).join("_srv_repo_apt_._Release"));
    }
}
