//! apt and dpkg.
//!
//! A transaction is carried out from package files with every source switched off, so apt's resolver sees what is installed and those
//! files and nothing else. Daemons are held by policy-rc.d, which the maintainer scripts of Debian ask before they touch one
//! (deb-systemd-invoke, invoke-rc.d); see `actions::packages_install`.

use super::apt_text::{self, QUERY, TARGETS, Target};
use super::{
    ASK, COMMIT, Commit, Contents, FETCH, Installed, PackageFile, Packages, PackagesError, Resolved, Result,
    run, scriptlet, unreadable,
};
use crate::guard::Phase;
use crate::host::Host;
use crate::host::command::{Command, Output};
use crate::host::files::{FileError, digest_of_bytes};
use replank_common::action::PackagePin;
use replank_common::facts::PackageManager;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Scripts of a package that comes, and those of the package that is there and goes or is replaced (deb-postinst(5) and its kin).
const NEW_SCRIPTS: [(&str, Phase); 2] = [("preinst", Phase::Before), ("postinst", Phase::After)];
const OLD_SCRIPTS: [(&str, Phase); 2] = [("prerm", Phase::Before), ("postrm", Phase::After)];

#[derive(Debug)]
pub struct Apt<'a> {
    host: &'a Host,
}

impl<'a> Apt<'a> {
    pub fn new(host: &'a Host) -> Self {
        Self { host }
    }

    /// A command of apt, told of the host's root when that is not ours.
    fn apt(&self, program: &str) -> Command {
        let command = Command::new(program)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBIAN_PRIORITY", "critical")
            .env("APT_LISTCHANGES_FRONTEND", "none")
            .env("UCF_FORCE_CONFFOLD", "1")
            // needrestart(1): stay out of this transaction; should it run all the same, only list.
            .env("NEEDRESTART_SUSPEND", "replank")
            .env("NEEDRESTART_MODE", "l")
            .deadline(ASK);
        let dirs = &self.host.directories;
        if dirs.is_real() {
            return command;
        }
        let root = dirs.root().display();
        command
            .args(["-o", &format!("Dir={root}")])
            .args(["-o", &format!("Dir::State::status={root}/var/lib/dpkg/status")])
            .args(["-o", "Dir::Bin::Methods=/usr/lib/apt/methods", "-o", "Dir::Bin::dpkg=/usr/bin/dpkg"])
            .args(["-o", &format!("DPkg::Options::=--root={root}")])
            .args(["-o", &format!("Dir::Log={root}/var/log/apt")])
    }

    fn dpkg(&self, program: &str) -> Command {
        let command = Command::new(program).deadline(ASK).env("DEBIAN_FRONTEND", "noninteractive");
        let dirs = &self.host.directories;
        match (dirs.is_real(), program) {
            (true, _) => command,
            (false, "dpkg") => command.arg(format!("--root={}", dirs.root().display())),
            (false, _) => command.arg(format!("--admindir={}", dirs.at("/var/lib/dpkg").display())),
        }
    }

    /// The only source is this file.
    fn with_only(&self, command: Command, repository: &Path) -> Command {
        command
            .args(["-o", &format!("Dir::Etc::sourcelist={}", self.host.at(repository).display())])
            .args(["-o", "Dir::Etc::sourceparts=-"])
    }

    /// The fetched files of the sources in this file.
    fn targets(&self, sources: &Path) -> Result<Vec<Target>> {
        let command = self.with_only(self.apt("apt-get"), sources);
        let output = run(self.host, &command.args(["indextargets", "--format", TARGETS]))?;
        Ok(apt_text::targets(&output.text()))
    }

    /// The files with the host's other sources, as apt reads them (sources.list(5)).
    fn other_sources(&self, but: &Path) -> Result<Vec<PathBuf>> {
        let is_read = |path: &Path| path.extension().is_some_and(|e| e == "list" || e == "sources");
        let mut found = vec![PathBuf::from("/etc/apt/sources.list")];
        let parts = Path::new("/etc/apt/sources.list.d");
        match fs::read_dir(self.host.at(parts)) {
            Ok(entries) => found.extend(entries.flatten().map(|entry| parts.join(entry.file_name()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(FileError::new("list", self.host.at(parts), e).into()),
        }
        found.retain(|path| path != but && is_read(path) && self.host.at(path).exists());
        found.sort();
        Ok(found)
    }

    /// No source and no pin, so that there is nothing but the files named and nothing to be downloaded. (`--no-download` would have apt
    /// hand dpkg the files without their directories.)
    fn files_command(&self, commit: &Commit, simulate: bool) -> Result<Command> {
        let lists = self.host.directories.scratch().join("no-lists");
        fs::create_dir_all(lists.join("partial")).map_err(|e| FileError::new("make", &lists, e))?;
        let command = self.apt("apt-get");
        let command = if simulate { command.arg("-s") } else { command };
        let command = if commit.again { command.arg("--reinstall") } else { command };
        Ok(command
            .args(["-q", "-y", "--no-install-recommends", "--allow-downgrades"])
            .args(["-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=/dev/null"])
            .args(["-o", "Dir::Etc::Preferences=/dev/null", "-o", "Dir::Etc::PreferencesParts=/dev/null"])
            .args(["-o", &format!("Dir::State::Lists={}", lists.display())])
            .args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="])
            .args(["-o", "APT::Sandbox::User=root", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=60"])
            .args(["-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Options::=--force-confdef"])
            .arg("install")
            .args(&commit.files)
            .args(commit.remove.iter().map(|name| format!("{name}-"))))
    }

    fn simulated(&self, output: &Output) -> Result<Vec<Resolved>> {
        let installed = self.installed()?;
        let architecture_of =
            |name: &str| installed.iter().find(|p| p.name == name).map(|p| p.architecture.clone());
        apt_text::simulated(&output.text(), architecture_of).map_err(|why| unreadable("apt-get -s", why))
    }

    /// Scripts in `directory` under `<prefix><name>`.
    fn scripts(
        directory: &Path,
        prefix: &str,
        (package, version): (&str, &str),
        which: &[(&str, Phase)],
        of_old_package: bool,
    ) -> Result<Vec<crate::guard::Scriptlet>> {
        let mut found = Vec::new();
        for (name, phase) in which {
            let path = directory.join(format!("{prefix}{name}"));
            match fs::read(&path) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    found.push(scriptlet(package, version, name, *phase, of_old_package, text));
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(FileError::new("read", &path, e).into()),
            }
        }
        Ok(found)
    }
}

impl Packages for Apt<'_> {
    fn manager(&self) -> PackageManager {
        PackageManager::Apt
    }

    fn installed(&self) -> Result<Vec<Installed>> {
        let automatic: BTreeSet<String> = run(self.host, &self.apt("apt-mark").arg("showauto"))?
            .text()
            .lines()
            .map(str::to_owned)
            .collect();
        let output = run(self.host, &self.dpkg("dpkg-query").args(["-W", "-f", QUERY]))?;
        apt_text::installed(&output.text(), &automatic).map_err(|why| unreadable("dpkg-query", why))
    }

    fn refresh(&self, repository: &Path) -> Result<()> {
        let command = self.with_only(self.apt("apt-get"), repository).deadline(FETCH);
        // Without List-Cleanup apt would remove the indexes of all other sources.
        let command = command.args(["-q", "-o", "APT::Get::List-Cleanup=0", "-o", "APT::Sandbox::User=root"]);
        let command =
            command.args(["-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Retries=3", "update"]);
        let output = run(self.host, &command)?;
        // Older apt (before 2.1) knows no Error-Mode and answers 0 with a warning.
        let said = output.complaint();
        if String::from_utf8_lossy(&output.stderr)
            .lines()
            .any(|l| l.starts_with("W: Failed") || l.starts_with("E:"))
        {
            return Err(PackagesError::NotFound { said });
        }
        Ok(())
    }

    fn offered(&self, repository: &Path, names: &[&str]) -> Result<Vec<PackagePin>> {
        let command = self.with_only(self.apt("apt-cache"), repository).arg("madison").args(names);
        let command = command.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
        Ok(apt_text::madison(&run(self.host, &command)?.text()))
    }

    fn forget(&self, repository: &Path) -> Result<()> {
        let (mut kept, mut releases, mut indexes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for target in self.targets(repository)? {
            releases.extend(target.releases);
            indexes.insert(target.index);
        }
        // The host's own sources may name the same repository, and names of indexes begin alike.
        for other in self.other_sources(repository)? {
            for target in self.targets(&other)? {
                kept.extend(target.releases);
                kept.insert(target.index);
            }
        }
        // Indexes last: apt tells of what is there, and after a crash of what is left.
        for path in releases.iter().chain(&indexes).filter(|path| !kept.contains(*path)) {
            match fs::remove_file(path) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(FileError::new("remove", path, e).into()),
            }
        }
        Ok(())
    }

    fn resolve(&self, pins: &[PackagePin]) -> Result<Vec<Resolved>> {
        let command =
            self.apt("apt-get").args(["-s", "-q", "-y", "--no-install-recommends", "--allow-downgrades"]);
        let command =
            command.arg("install").args(pins.iter().map(|pin| format!("{}={}", pin.name, pin.version)));
        let output = run(self.host, &command)?;
        self.simulated(&output)
    }

    fn fetch(&self, package: &Resolved, version: &str, directory: &Path) -> Result<PathBuf> {
        let wanted = format!("{}:{}={version}", package.name, package.architecture);
        // `all` is no architecture that can be asked for.
        let wanted = wanted.replace(":all=", "=");
        let command = self.apt("apt-get").directory(directory).deadline(FETCH);
        let command =
            command.args(["-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download"]);
        match run(self.host, &command.arg(&wanted)) {
            Ok(_) => {}
            Err(PackagesError::NotFound { said }) => {
                return self.cached(package, version, directory, said);
            }
            Err(other) => return Err(other),
        }
        find_file(directory, package, version).ok_or_else(|| {
            unreadable("apt-get download", format!("it said yes and brought no file of {wanted}"))
        })
    }

    fn index_digest(&self, package: &Resolved, version: &str) -> Result<Option<String>> {
        let wanted = format!("{}={version}", package.name);
        match run(self.host, &self.apt("apt-cache").args(["show", "--no-all-versions", &wanted])) {
            Ok(output) => Ok(apt_text::field(&output.text(), "SHA256").map(str::to_owned)),
            Err(PackagesError::NotFound { .. } | PackagesError::Tool(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn read_file(&self, file: &Path) -> Result<PackageFile> {
        let output = run(self.host, &Command::new("dpkg-deb").arg("-f").arg(file))?;
        let text = output.text();
        let field = |name: &str| apt_text::field(&text, name).map(str::to_owned);
        let missing = || unreadable("dpkg-deb -f", format!("{} lacks a field", file.display()));
        let kibibytes: u64 = field("Installed-Size").and_then(|s| s.parse().ok()).unwrap_or_default();
        Ok(PackageFile {
            name: field("Package").ok_or_else(missing)?,
            architecture: field("Architecture").ok_or_else(missing)?,
            version: field("Version").ok_or_else(missing)?,
            installed_bytes: kibibytes * 1024,
        })
    }

    fn contents_of_file(&self, file: &Path) -> Result<Contents> {
        let package = self.read_file(file)?;
        let output = run(self.host, &Command::new("dpkg-deb").arg("-c").arg(file).deadline(ASK))?;
        let name = format!("control-{}", digest_of_bytes(file.as_os_str().as_encoded_bytes()));
        let directory = self.host.directories.scratch().join(name);
        fs::create_dir_all(&directory).map_err(|e| FileError::new("make", &directory, e))?;
        let scriptlets = run(self.host, &Command::new("dpkg-deb").arg("-e").arg(file).arg(&directory))
            .and_then(|_| {
                Self::scripts(&directory, "", (&package.name, &package.version), &NEW_SCRIPTS, false)
            });
        fs::remove_dir_all(&directory).map_err(|e| FileError::new("remove", &directory, e))?;
        Ok(Contents { files: apt_text::listed(&output.text()), scriptlets: scriptlets? })
    }

    fn contents_of_installed(&self, package: &Installed) -> Result<Contents> {
        let Installed { name, architecture, version, .. } = package;
        let info = self.host.at("/var/lib/dpkg/info");
        // dpkg writes the architecture into the name only for packages that may be there for several.
        let prefix = [format!("{name}:{architecture}"), name.clone()]
            .into_iter()
            .find(|stem| info.join(format!("{stem}.list")).exists())
            .ok_or_else(|| PackagesError::NotFound { said: format!("{name} is not installed") })?;
        let list = info.join(format!("{prefix}.list"));
        let text = fs::read_to_string(&list).map_err(|e| FileError::new("read", &list, e))?;
        let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
        let files =
            text.lines().map(PathBuf::from).filter(|path| !is_directory(&self.host.at(path))).collect();
        let scriptlets = Self::scripts(&info, &format!("{prefix}."), (name, version), &OLD_SCRIPTS, true)?;
        Ok(Contents { files, scriptlets })
    }

    fn rehearse(&self, commit: &Commit) -> Result<Vec<Resolved>> {
        let output = run(self.host, &self.files_command(commit, true)?)?;
        self.simulated(&output)
    }

    fn commit(&self, commit: &Commit) -> Result<Output> {
        run(self.host, &self.files_command(commit, false)?.deadline(COMMIT))
    }

    fn finish(&self, _keep: &[PackagePin]) -> Result<()> {
        let command = self.dpkg("dpkg").args(["--force-confold", "--force-confdef", "--configure", "-a"]);
        run(self.host, &command.deadline(COMMIT)).map(|_| ())
    }

    fn forget_removed(&self, names: &[String]) -> Result<()> {
        let query = self.dpkg("dpkg-query").args(["-W", "-f", "${Package}\\t${db:Status-Abbrev}\\n"]);
        let text = run(self.host, &query)?.text();
        let left: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(name, state)| state.get(1..2) == Some("c") && names.iter().any(|n| n == name))
            .map(|(name, _)| name)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        for name in &left {
            let script = self.host.at("/var/lib/dpkg/info").join(format!("{name}.postrm"));
            match fs::remove_file(&script) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(FileError::new("remove", &script, e).into()),
            }
        }
        self.host.boundary.reached("apt: purge scripts removed");
        run(self.host, &self.dpkg("dpkg").arg("--purge").args(&left).deadline(COMMIT)).map(|_| ())
    }

    fn mark_automatic(&self, names: &[String], automatic: bool) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let mark = if automatic { "auto" } else { "manual" };
        run(self.host, &self.apt("apt-mark").arg(mark).args(names)).map(|_| ())
    }
}

impl Apt<'_> {
    /// The version from apt's own cache of packages that were installed before.
    fn cached(&self, package: &Resolved, version: &str, directory: &Path, said: String) -> Result<PathBuf> {
        let cache = self.host.at("/var/cache/apt/archives");
        let Some(found) = find_file(&cache, package, version) else {
            return Err(PackagesError::NotFound { said });
        };
        let target = directory.join(found.file_name().unwrap_or_default());
        fs::copy(&found, &target).map_err(|e| FileError::new("copy", &found, e))?;
        Ok(target)
    }
}

/// The file of a package in a directory. apt writes an epoch's colon as `%3a`.
fn find_file(directory: &Path, package: &Resolved, version: &str) -> Option<PathBuf> {
    let name = format!("{}_{}_{}.deb", package.name, version.replace(':', "%3a"), package.architecture);
    Some(directory.join(name)).filter(|path| path.is_file())
}
