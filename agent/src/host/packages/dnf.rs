//! dnf, or yum on EL7, over rpm.
//!
//! dnf owns the locks and the history; rpm answers what is installed. A transaction is carried out from package files with
//! every repository switched off.

use super::dnf_text::{self, without_zero_epoch};
use super::rpm_text::{self, QUERY};
use super::{
    ASK, COMMIT, Commit, Contents, FETCH, Installed, PackageFile, Packages, PackagesError, Resolved, Result,
    run, unreadable,
};
use crate::host::Host;
use crate::host::command::{Command, Output};
use crate::host::files::FileError;
use replank_common::action::PackagePin;
use replank_common::facts::PackageManager;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Dnf<'a> {
    host: &'a Host,
    /// `dnf` or `yum`.
    program: &'static str,
}

impl<'a> Dnf<'a> {
    pub fn new(host: &'a Host, program: &'static str) -> Self {
        Self { host, program }
    }

    fn dnf(&self) -> Command {
        // Not quiet: yum prints its table only when it may talk.
        let command = Command::new(self.program).arg("--assumeyes").deadline(ASK);
        let dirs = &self.host.directories;
        if dirs.is_real() {
            return command;
        }
        command
            .arg(format!("--installroot={}", dirs.root().display()))
            .arg(format!("--setopt=reposdir={}", dirs.at("/etc/yum.repos.d").display()))
            .arg("--releasever=/")
    }

    fn rpm(&self) -> Command {
        let command = Command::new("rpm").deadline(ASK);
        let dirs = &self.host.directories;
        if dirs.is_real() { command } else { command.args(["--root".into(), dirs.root().to_owned()]) }
    }

    /// replank's own repository in this file; it has the file's name.
    fn with_only(&self, command: Command, repository: &Path) -> Command {
        let id = repository.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        command.arg("--disablerepo=*").arg(format!("--enablerepo={id}"))
    }

    /// `name-version.architecture`, without an epoch of 0.
    fn spec(package: &Resolved, version: &str) -> String {
        Self::nevra(&package.name, version, &package.architecture)
    }

    fn nevra(name: &str, version: &str, architecture: &str) -> String {
        format!("{name}-{}.{architecture}", without_zero_epoch(version))
    }

    /// The transaction that this command would run. dnf answers 1 when it was told not to go on.
    fn table(&self, command: Command) -> Result<Vec<Resolved>> {
        let mut command = command;
        command.arguments.retain(|a| a != "--assumeyes");
        let command = command.arg("--assumeno");
        let output = self.host.programs.run(&command)?;
        let text = output.text();
        let said = String::from_utf8_lossy(&output.stderr);
        // Its shell goes on after an error, and then has nothing to do.
        let wrong = said.lines().any(|line| line.starts_with("Error") && !line.contains("Operation aborted"));
        if !text.contains("Transaction Summary") && (wrong || !text.contains("Nothing to do")) {
            return Err(super::complaint(&command, &output));
        }
        dnf_text::transaction(&text, &self.installed()?).map_err(|why| unreadable(self.program, why))
    }

    fn verb(commit: &Commit) -> &'static str {
        match (commit.again, commit.older) {
            (true, _) => "reinstall",
            // `install` of an older file than the installed one is not a downgrade everywhere.
            (false, true) => "downgrade",
            (false, false) => "install",
        }
    }

    /// The command of a transaction. What comes and what goes in one transaction is a matter for the package manager's own shell: taken
    /// one after the other, a package that goes would take along those that need it until they are replaced.
    fn command(&self, commit: &Commit) -> Result<Command> {
        let command = self.dnf().arg("--disablerepo=*").arg("--setopt=clean_requirements_on_remove=False");
        // `noscripts` alone leaves triggers, which are scripts of yet other packages.
        let command =
            if commit.no_scripts { command.arg("--setopt=tsflags=noscripts,notriggers") } else { command };
        let verb = Self::verb(commit);
        Ok(match (commit.files.is_empty(), commit.remove.is_empty()) {
            (_, true) => command.arg(verb).args(&commit.files),
            (true, false) => command.arg("remove").args(&commit.remove),
            (false, false) => {
                let files =
                    commit.files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" ");
                let text = format!("{verb} {files}\nremove {}\nrun\n", commit.remove.join(" "));
                let scratch = self.host.directories.scratch();
                let path = scratch.join("transaction.txt");
                fs::create_dir_all(&scratch).map_err(|e| FileError::new("make", &scratch, e))?;
                fs::write(&path, text).map_err(|e| FileError::new("write", &path, e))?;
                command.arg("shell").arg(&path)
            }
        })
    }

    fn find_file(&self, directory: &Path, package: &Resolved, version: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(directory).ok()?;
        entries.flatten().map(|entry| entry.path()).find(|path| {
            path.extension().is_some_and(|e| e == "rpm")
                && self.read_file(path).is_ok_and(|file| {
                    file.name == package.name
                        && file.architecture == package.architecture
                        && without_zero_epoch(&file.version) == without_zero_epoch(version)
                })
        })
    }
}

impl Packages for Dnf<'_> {
    fn manager(&self) -> PackageManager {
        if self.program == "yum" { PackageManager::Yum } else { PackageManager::Dnf }
    }

    fn installed(&self) -> Result<Vec<Installed>> {
        let output = run(self.host, &self.rpm().args(["-qa", "--qf", QUERY]))?;
        let mut found = rpm_text::installed(&output.text()).map_err(|why| unreadable("rpm -qa", why))?;
        // An interrupted rpm transaction leaves the old version beside the new one. Kernels are meant to be several.
        for at in 0..found.len() {
            let twin = found.iter().enumerate().any(|(i, p)| {
                i != at && p.name == found[at].name && p.architecture == found[at].architecture
            });
            if twin && !found[at].name.starts_with("kernel") {
                found[at].unfinished = Some("installed in two versions".to_owned());
            }
        }
        Ok(found)
    }

    fn refresh(&self, repository: &Path) -> Result<()> {
        let command = self.with_only(self.dnf(), repository).arg("makecache").deadline(FETCH);
        run(self.host, &command).map(|_| ())
    }

    fn offered(&self, repository: &Path, names: &[&str]) -> Result<Vec<PackagePin>> {
        let format = "%{name}\\t%{epoch}:%{version}-%{release}\\n";
        let command = match self.manager() {
            // yum's own is a program apart, of yum-utils.
            PackageManager::Yum => {
                let id = repository.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                Command::new("repoquery")
                    .args(["--show-duplicates", "--repoid", &id, "--qf", format])
                    .deadline(ASK)
            }
            PackageManager::Apt | PackageManager::Dnf => {
                self.with_only(self.dnf(), repository).args(["-q", "repoquery", "--qf", format])
            }
        };
        Ok(dnf_text::offered(&run(self.host, &command.args(names))?.text()))
    }

    fn forget(&self, repository: &Path) -> Result<()> {
        let id = repository.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let cache = self.host.at(if self.program == "yum" { "/var/cache/yum" } else { "/var/cache/dnf" });
        let mine = |path: &Path| {
            path.file_name().is_some_and(|n| {
                let n = n.to_string_lossy();
                n == id.as_str() || n.starts_with(&format!("{id}-")) || n.starts_with(&format!("{id}."))
            })
        };
        let entries =
            walkdir::WalkDir::new(&cache).max_depth(4).into_iter().filter_map(std::result::Result::ok);
        for entry in entries.filter(|entry| mine(entry.path())).collect::<Vec<_>>() {
            let path = entry.path();
            let removed =
                if entry.file_type().is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            match removed {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(FileError::new("remove", path, e).into()),
            }
        }
        Ok(())
    }

    fn resolve(&self, pins: &[PackagePin]) -> Result<Vec<Resolved>> {
        let specs = pins.iter().map(|pin| format!("{}-{}", pin.name, without_zero_epoch(&pin.version)));
        self.table(self.dnf().arg("install").args(specs).deadline(FETCH))
    }

    fn fetch(&self, package: &Resolved, version: &str, directory: &Path) -> Result<PathBuf> {
        // What is installed can only be had again by a reinstallation that stops after the download. The repository may well offer it
        // behind a list of the versions that may be installed, as replank's own pins are.
        let command = match (package.before.as_deref() == Some(version), self.manager()) {
            (false, _) => self.dnf().arg("install"),
            (true, PackageManager::Yum) => {
                self.dnf().args(["--disableexcludes=all", "--disableincludes=all", "reinstall"])
            }
            (true, PackageManager::Dnf | PackageManager::Apt) => {
                self.dnf().args(["--disableexcludes=all", "reinstall"])
            }
        };
        let command = command.args(["--downloadonly".into(), "--downloaddir".into(), directory.to_owned()]);
        run(self.host, &command.arg(Self::spec(package, version)).deadline(FETCH))?;
        self.find_file(directory, package, version).ok_or_else(|| PackagesError::NotFound {
            said: format!("{} brought no file of {}", self.program, Self::spec(package, version)),
        })
    }

    /// dnf compares what it fetched with the index itself, and does not tell.
    fn index_digest(&self, _package: &Resolved, _version: &str) -> Result<Option<String>> {
        Ok(None)
    }

    fn read_file(&self, file: &Path) -> Result<PackageFile> {
        let output = run(self.host, &Command::new("rpm").args(["-qp", "--qf", QUERY]).arg(file))?;
        rpm_text::file(&output.text()).map_err(|why| unreadable("rpm -qp", why))
    }

    fn contents_of_file(&self, file: &Path) -> Result<Contents> {
        let package = self.read_file(file)?;
        let list = run(self.host, &Command::new("rpm").args(["-qp", "--qf", FILES]).arg(file))?;
        let scripts = Command::new("rpm").args(["-qp", "--scripts", "--triggers"]).arg(file);
        let scripts = run(self.host, &scripts)?.text();
        Ok(Contents {
            files: files(&list.text()),
            scriptlets: rpm_text::scriptlets(&scripts, &package.name, &package.version, false),
        })
    }

    fn contents_of_installed(&self, package: &Installed) -> Result<Contents> {
        let spec = Self::nevra(&package.name, &package.version, &package.architecture);
        let list = run(self.host, &self.rpm().args(["-q", "--qf", FILES, &spec]))?;
        let scripts = run(self.host, &self.rpm().args(["-q", "--scripts", "--triggers", &spec]))?.text();
        Ok(Contents {
            files: files(&list.text()),
            scriptlets: rpm_text::scriptlets(&scripts, &package.name, &package.version, true),
        })
    }

    fn rehearse(&self, commit: &Commit) -> Result<Vec<Resolved>> {
        self.table(self.command(commit)?)
    }

    fn commit(&self, commit: &Commit) -> Result<Output> {
        run(self.host, &self.command(commit)?.deadline(COMMIT))
    }

    fn finish(&self, keep: &[PackagePin]) -> Result<()> {
        for package in self.installed()?.into_iter().filter(|p| p.unfinished.is_some()) {
            let kept = keep.iter().find(|pin| pin.name == package.name);
            match kept {
                Some(pin) if pin.version == package.version => {}
                Some(_) => {
                    let spec = Self::nevra(&package.name, &package.version, &package.architecture);
                    // Files that the version that stays has too are left by rpm.
                    let command = self.rpm().args(["-e", "--nodeps", "--noscripts", "--notriggers", &spec]);
                    run(self.host, &command.deadline(COMMIT))?;
                }
                None => {
                    return Err(PackagesError::Unresolvable {
                        said: format!("an interrupted transaction left {} installed twice", package.name),
                    });
                }
            }
        }
        Ok(())
    }

    /// rpm keeps nothing of a removed package but files that were changed, which it renames.
    fn forget_removed(&self, _names: &[String]) -> Result<()> {
        Ok(())
    }

    /// dnf's own reason for a package changes with each of its transactions and is not ours to set.
    fn mark_automatic(&self, _names: &[String], _automatic: bool) -> Result<()> {
        Ok(())
    }
}

/// Mode and path, one file a line: rpm lists directories too.
const FILES: &str = "[%{FILEMODES:perms} %{FILENAMES}\\n]";

fn files(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter(|line| !line.starts_with('d'))
        .filter_map(|line| line.split_once(' '))
        .map(|(_, path)| PathBuf::from(path))
        .collect()
}
