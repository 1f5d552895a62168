//! A private apt: the machine's mirror and transport, but its own sources, lists, cache and dpkg status.
//!
//! Nothing of the machine's package state is read or changed, and none of its hooks runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::io;
use super::recipe::Recipe;
use super::{RepoError, mirror, run};

/// The key ring of Debian's archive, from package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private apt with fetched indexes of both suites.
#[derive(Debug)]
pub(super) struct Session {
    dir: PathBuf,
    old_suite: String,
}

/// One change that apt would make, from `apt-get -s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Installs or replaces a package.
    Install { name: String, old: Option<String>, new: String },
    /// Removes a package.
    Remove { name: String, old: String },
}

/// What apt would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Simulation {
    pub(super) changes: Vec<Change>,
    /// The order in which packages would be configured: every package after those it depends on.
    pub(super) configured: Vec<String>,
}

impl Session {
    /// Makes the private directories below `dir` and fetches the indexes of the recipe's two suites.
    pub(super) fn open(dir: &Path, recipe: &Recipe) -> Result<Self, RepoError> {
        let suites = &recipe.suites;
        let targets = run::output(
            Command::new("apt-get").args([
                "indextargets",
                "--format",
                mirror::FORMAT,
                "Created-By: Packages",
            ]),
            "ask apt for its sources",
        )?;
        let uri = mirror::find(&targets, &suites.old, &suites.component)?;
        let transport = mirror::transport_settings(&run::output(
            Command::new("apt-config").arg("dump"),
            "read the machine's apt configuration",
        )?);

        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).map_err(|e| io("create", &path, e))?;
        }
        let signed_by =
            if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let sources: String = [&suites.old, &suites.new]
            .map(|suite| format!("deb {signed_by}{uri} {suite} {}\n", suites.component))
            .concat();
        let session = Self { dir: dir.to_path_buf(), old_suite: suites.old.clone() };
        session.write("sources.list", &sources)?;
        session.write("preferences", "")?;
        session.write("status", "")?;
        session.write("apt.conf", &configuration(dir, &transport, &suites.architecture))?;
        run::output(session.tool("apt-get").arg("update"), "fetch the package indexes")?;
        Ok(session)
    }

    /// Asks what `apt-get install packages` would do on a host with this dpkg `status` and these `preferences`.
    pub(super) fn simulate(
        &self,
        status: &str,
        preferences: &str,
        packages: &[&str],
    ) -> Result<Simulation, RepoError> {
        self.write("status", status)?;
        self.write("preferences", preferences)?;
        let text = run::output(
            self.tool("apt-get").args(["--simulate", "install"]).args(packages),
            "simulate an installation",
        )?;
        parse_simulation(&text)
    }

    /// The index entries of exactly these `name=version`s, blank-line separated.
    pub(super) fn show(&self, packages: &[String]) -> Result<String, RepoError> {
        run::output(
            self.tool("apt-cache").args(["show", "--no-all-versions"]).args(packages),
            "read package entries",
        )
    }

    /// The version that `package` has in `suite`.
    pub(super) fn version_in(&self, suite: &str, package: &str) -> Result<Option<String>, RepoError> {
        let text = run::output(self.tool("apt-cache").args(["madison", package]), "list versions")?;
        Ok(parse_madison(&text, suite))
    }

    /// The suite that hosts run.
    pub(super) fn old_suite(&self) -> &str {
        &self.old_suite
    }

    /// Downloads exactly these `(name, version)`s into `to`, verified against the signed indexes, and returns the
    /// files in the same order. File names carry no epoch, as in Debian's own pool: a `%3a` in an apt archive's
    /// `Filename` would be decoded by apt's `file:` method.
    pub(super) fn download(&self, debs: &[(String, String)], to: &Path) -> Result<Vec<PathBuf>, RepoError> {
        fs::create_dir_all(to).map_err(|e| io("create", to, e))?;
        let wanted: Vec<String> = debs.iter().map(|(name, version)| format!("{name}={version}")).collect();
        run::output(
            self.tool("apt-get").arg("download").args(&wanted).current_dir(to),
            "download Debian packages",
        )?;
        let mut files = Vec::new();
        for (name, version) in debs {
            let (from, file) = self.downloaded(to, name, version)?;
            fs::rename(&from, &file).map_err(|e| io("rename", &from, e))?;
            files.push(file);
        }
        Ok(files)
    }

    /// Finds what `apt-get download` called a package, and says what it is to be called.
    fn downloaded(&self, dir: &Path, name: &str, version: &str) -> Result<(PathBuf, PathBuf), RepoError> {
        let plain = version.split_once(':').map_or(version, |(_, rest)| rest);
        for arch in ["amd64", "all"] {
            let from = dir.join(format!("{name}_{}_{arch}.deb", version.replace(':', "%3a")));
            if from.exists() {
                return Ok((from, dir.join(format!("{name}_{plain}_{arch}.deb"))));
            }
        }
        Err(RepoError::Unreadable {
            what: format!("the downloaded package `{name}` {version}"),
            detail: format!("apt left no such file in `{}`", dir.display()),
        })
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf"));
        command
    }

    fn write(&self, name: &str, text: &str) -> Result<(), RepoError> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|e| io("write", &path, e))
    }
}

/// The whole configuration: apt reads the file that `APT_CONFIG` names first, and with the other places switched off
/// here, nothing else.
fn configuration(dir: &Path, transport: &str, architecture: &str) -> String {
    let dir = dir.display();
    format!(
        r#"{transport}Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "{dir}/preferences";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{dir}/state";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
"#
    )
}

/// Reads the `Inst`, `Remv` and `Conf` lines of `apt-get --simulate`.
fn parse_simulation(text: &str) -> Result<Simulation, RepoError> {
    let mut simulation = Simulation::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(verb @ ("Inst" | "Remv" | "Conf")) = words.next() else { continue };
        let unreadable =
            || RepoError::Unreadable { what: "apt's simulation".to_owned(), detail: line.to_owned() };
        let name = words.next().ok_or_else(unreadable)?.to_owned();
        let mut old = None;
        let mut new = None;
        for word in words {
            if let Some(version) = word.strip_prefix('(') {
                new = Some(version.trim_end_matches(')').to_owned());
                break;
            }
            if old.is_none() {
                old = word.strip_prefix('[').map(|version| version.trim_end_matches(']').to_owned());
            }
        }
        match verb {
            "Conf" => simulation.configured.push(name),
            "Remv" => simulation.changes.push(Change::Remove { name, old: old.ok_or_else(unreadable)? }),
            _ => simulation.changes.push(Change::Install { name, old, new: new.ok_or_else(unreadable)? }),
        }
    }
    Ok(simulation)
}

/// Reads `apt-cache madison` (`package | version | uri suite/component arch Packages`).
fn parse_madison(text: &str, suite: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split('|').map(str::trim);
        let (_, version, origin) = (fields.next()?, fields.next()?, fields.next()?);
        let in_suite = origin.split_whitespace().nth(1)?.split('/').next()? == suite;
        in_suite.then(|| version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_is_read_line_by_line() {
        let text = "\
Reading package lists...
Inst mdevctl (1.2.0-3+b1 Debian:12.15/oldstable [amd64]) []
Inst libvirt0 [9.0.0-4] (11.3.0-2~bpo12+1 Debian Backports:oldstable-backports [amd64]) [libvirt-daemon:amd64 ]
Remv old-thing [1:2.3-1]
Conf libvirt0 (11.3.0-2~bpo12+1 Debian Backports:oldstable-backports [amd64])
";
        let read = parse_simulation(text).unwrap();
        assert_eq!(
            read.changes,
            [
                Change::Install { name: "mdevctl".into(), old: None, new: "1.2.0-3+b1".into() },
                Change::Install {
                    name: "libvirt0".into(),
                    old: Some("9.0.0-4".into()),
                    new: "11.3.0-2~bpo12+1".into()
                },
                Change::Remove { name: "old-thing".into(), old: "1:2.3-1".into() },
            ]
        );
        assert_eq!(read.configured, ["libvirt0"]);
    }

    #[test]
    fn a_line_without_a_version_is_refused() {
        assert!(parse_simulation("Inst libvirt0\n").is_err());
    }

    #[test]
    fn madison_tells_suites_apart() {
        let text = " seabios | 1.16.3-2~bpo12+1 | http://m.example/debian bookworm-backports/main amd64 Packages\n   \
                    seabios | 1.16.2-1 | http://m.example/debian bookworm/main amd64 Packages\n";
        assert_eq!(parse_madison(text, "bookworm").as_deref(), Some("1.16.2-1"));
        assert_eq!(parse_madison(text, "bookworm-backports").as_deref(), Some("1.16.3-2~bpo12+1"));
        assert_eq!(parse_madison(text, "sid"), None);
    }
}
