//! A private apt: the machine's mirror and transport, but its own sources, lists, cache and dpkg status.
//!
//! Nothing of the machine's package state is read or changed, and none of its hooks runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{Result, unreadable};
use super::recipe::Suites;
use crate::command::{command, must};
use crate::error::IoContext;
use crate::root::{self, Mirror};

/// The key ring of Debian's archive, from package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private apt with fetched indexes of the hosts' suite and of the later one.
#[derive(Debug)]
pub(super) struct Session {
    dir: PathBuf,
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
    /// The order in which apt would have packages configured.
    pub(super) configured: Vec<String>,
}

impl Session {
    /// Makes the private directories below `dir` and fetches the indexes.
    ///
    /// The hosts' suite is taken with its updates and security fixes, exactly as their root is built, so that the old
    /// versions here are the versions there.
    pub(super) fn open(dir: &Path, host: &root::Recipe, suites: &Suites) -> Result<Self> {
        let mirror = Mirror::of_this_machine()?;
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).doing("create", path)?;
        }
        let signed_by = if Path::new(KEYRING).exists() {
            format!("deb [signed-by={KEYRING}] ")
        } else {
            "deb ".to_owned()
        };
        let mut sources = host.sources(&mirror);
        sources.push(format!("deb {} {} main", mirror.archive, suites.new));
        let sources: String =
            sources.iter().map(|line| line.replacen("deb ", &signed_by, 1) + "\n").collect();

        let session = Self { dir: dir.to_path_buf() };
        session.write("sources.list", &sources)?;
        session.write("preferences", "")?;
        session.write("status", "")?;
        session.write("apt.conf", &configuration(dir, &mirror.options, &suites.architecture))?;
        must(session.tool("apt-get", ["update"]))?;
        Ok(session)
    }

    /// Asks what `apt-get install packages` would do on a host with this dpkg `status` and these `preferences`.
    pub(super) fn simulate(&self, status: &str, preferences: &str, packages: &[&str]) -> Result<Simulation> {
        self.write("status", status)?;
        self.write("preferences", preferences)?;
        let mut command = self.tool("apt-get", ["--simulate", "install"]);
        command.args(packages);
        parse_simulation(&must(command)?)
    }

    /// The index entries of exactly these `name=version`s, blank-line separated.
    pub(super) fn show(&self, packages: &[String]) -> Result<String> {
        let mut command = self.tool("apt-cache", ["show", "--no-all-versions"]);
        command.args(packages);
        Ok(must(command)?)
    }

    /// The version that `package` has in `suite`.
    pub(super) fn version_in(&self, suite: &str, package: &str) -> Result<Option<String>> {
        let text = must(self.tool("apt-cache", ["madison", package]))?;
        Ok(parse_madison(&text, suite))
    }

    /// Downloads exactly these `(name, version)`s into `to`, verified against the signed indexes, and returns the
    /// files in the same order. File names carry no epoch, as in Debian's own pool: apt's `file:` method would decode
    /// the `%3a` in the `Filename` of an archive of ours.
    pub(super) fn download(&self, debs: &[(String, String)], to: &Path) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(to).doing("create", to)?;
        let mut command = self.tool("apt-get", ["download"]);
        command.args(debs.iter().map(|(name, version)| format!("{name}={version}"))).current_dir(to);
        must(command)?;
        let mut files = Vec::new();
        for (name, version) in debs {
            let (from, file) = downloaded(to, name, version)?;
            fs::rename(&from, &file).doing("rename", from)?;
            files.push(file);
        }
        Ok(files)
    }

    /// As [`Session::download`], and unpacks all of them into one directory, `<to>.unpacked`, which it returns.
    pub(super) fn unpack(&self, debs: &[(String, String)], to: &Path) -> Result<PathBuf> {
        let unpacked = to.with_extension("unpacked");
        for deb in self.download(debs, to)? {
            must(command("dpkg-deb", ["--extract".as_ref(), deb.as_os_str(), unpacked.as_os_str()]))?;
        }
        Ok(unpacked)
    }

    fn tool<const N: usize>(&self, program: &str, args: [&str; N]) -> Command {
        let mut command = command(program, args);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C.UTF-8");
        command
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        Ok(fs::write(&path, text).doing("write", path)?)
    }
}

/// Finds what `apt-get download` called a package, and says what it is to be called.
fn downloaded(dir: &Path, name: &str, version: &str) -> Result<(PathBuf, PathBuf)> {
    let plain = version.split_once(':').map_or(version, |(_, rest)| rest);
    for arch in ["amd64", "all"] {
        let from = dir.join(format!("{name}_{}_{arch}.deb", version.replace(':', "%3a")));
        if from.exists() {
            return Ok((from, dir.join(format!("{name}_{plain}_{arch}.deb"))));
        }
    }
    Err(unreadable(
        format!("the downloaded package `{name}` {version}"),
        format!("apt left no such file in `{}`", dir.display()),
    ))
}

/// The whole configuration: apt reads the file that `APT_CONFIG` names first, and with the other places switched off
/// here, nothing else.
fn configuration(dir: &Path, transport: &[String], architecture: &str) -> String {
    let transport: String = transport.iter().map(|option| format!("{option};\n")).collect();
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
fn parse_simulation(text: &str) -> Result<Simulation> {
    let mut simulation = Simulation::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(verb @ ("Inst" | "Remv" | "Conf")) = words.next() else { continue };
        let lacking = || unreadable("apt's simulation", line);
        let name = words.next().ok_or_else(lacking)?.to_owned();
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
            "Remv" => simulation.changes.push(Change::Remove { name, old: old.ok_or_else(lacking)? }),
            _ => simulation.changes.push(Change::Install { name, old, new: new.ok_or_else(lacking)? }),
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
