//! `RepositoryPin`: a repository under replank's own file names, and pins to exact versions.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | nothing new | prepared again |
//! | the pins written (apt only, first) | pins of a repository that is not there: no effect | `check` says ready |
//! | the repository written | a repository without index | `check` says half: `apply` fetches the index |
//! | the index fetched | all | `check` says done |
//! | undo: index removed | a repository without index | undo goes on |
//! | undo: files removed, the repository first | nothing | undo finds nothing to do |

use super::answer::{change, failure, file_failure, file_refusal, foreign_record, refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, given_back};
use crate::codes;
use crate::host::files::{self, Attributes, FileError};
use crate::host::packages::{self, PackagesError};
use replank_common::action::{PackagePin, Repository, RepositoryPin};
use replank_common::facts::PackageManager;
use replank_common::outcome::Refusal;
use replank_common::undo::{FileBefore, UndoRecord};
use std::path::{Path, PathBuf};

/// Above 1000 a pin even downgrades (apt_preferences(5)).
const PIN: u32 = 1001;
/// Below 100 a version never replaces an installed one; above 0 it still can be installed where nothing else offers the package.
const REST: u32 = 1;

/// A file of the pin: path and text.
#[derive(Debug, PartialEq, Eq)]
struct PinFile {
    path: PathBuf,
    text: String,
}

/// The files of a pin; the one that names the repository is last, so that it is never in force without its pins.
fn pin_files(action: &RepositoryPin) -> Result<Vec<PinFile>, Refusal> {
    let name = &action.name;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(odd(format!("`{name}` cannot be part of a file name")));
    }
    match (&action.repository, action.manager) {
        (Repository::Apt { uri, suite, components, options }, PackageManager::Apt) => {
            let words = [uri, suite].into_iter().chain(components).chain(options);
            words
                .chain(action.pins.iter().flat_map(|p| [&p.name, &p.version]))
                .try_for_each(|word| one_word(word))?;
            let options =
                if options.is_empty() { String::new() } else { format!("[{}] ", options.join(" ")) };
            let components = components.iter().map(|c| format!(" {c}")).collect::<String>();
            Ok(vec![
                PinFile {
                    path: format!("/etc/apt/preferences.d/replank-{name}.pref").into(),
                    text: preferences(uri, &action.pins),
                },
                PinFile {
                    path: format!("/etc/apt/sources.list.d/replank-{name}.list").into(),
                    text: format!("deb {options}{uri} {suite}{components}\n"),
                },
            ])
        }
        (Repository::Rpm { base_url, gpg_check, gpg_key }, PackageManager::Dnf | PackageManager::Yum) => {
            let words = std::iter::once(base_url).chain(gpg_key);
            words
                .chain(action.pins.iter().flat_map(|p| [&p.name, &p.version]))
                .try_for_each(|word| one_word(word))?;
            Ok(vec![PinFile {
                path: format!("/etc/yum.repos.d/replank-{name}.repo").into(),
                text: repo(action, base_url, *gpg_check, gpg_key.as_deref()),
            }])
        }
        (Repository::Apt { .. } | Repository::Rpm { .. }, manager) => {
            Err(odd(format!("the repository is not one for {}", manager.as_str())))
        }
    }
}

fn odd(reason: String) -> Refusal {
    refusal(codes::REPOSITORY_WRONG, reason, "correct the repository in the fleet file and plan again")
}

/// A word that can stand in a line of a configuration file without ending it.
fn one_word(text: &str) -> Result<(), Refusal> {
    if !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control()) {
        return Ok(());
    }
    Err(odd(format!("`{}` must be one word", text.escape_debug())))
}

fn preferences(uri: &str, pins: &[PackagePin]) -> String {
    let host =
        uri.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default()).unwrap_or_default();
    let mut text = format!("Package: *\nPin: origin \"{host}\"\nPin-Priority: {REST}\n");
    for pin in pins {
        text.push_str(&format!(
            "\nPackage: {}\nPin: version {}\nPin-Priority: {PIN}\n",
            pin.name, pin.version
        ));
    }
    text
}

fn repo(action: &RepositoryPin, base_url: &str, gpg_check: bool, gpg_key: Option<&str>) -> String {
    let id = format!("replank-{}", action.name);
    let check = u8::from(gpg_check);
    let mut text = format!("[{id}]\nname={id}\nbaseurl={base_url}\nenabled=1\ngpgcheck={check}\n");
    if let Some(key) = gpg_key {
        text.push_str(&format!("gpgkey={key}\n"));
    }
    if !action.pins.is_empty() {
        let pins: Vec<String> = action.pins.iter().map(|p| format!("{}-{}", p.name, p.version)).collect();
        text.push_str(&format!("includepkgs={}\n", pins.join(" ")));
    }
    text
}

/// The file that names the repository.
fn repository_file(files: &[PinFile]) -> &Path {
    files.last().map_or(Path::new("/"), |file| &file.path)
}

/// Pins that the repository's index does not offer.
fn missing_pins(
    action: &RepositoryPin,
    host: &Host,
    repository: &Path,
) -> Result<Vec<String>, PackagesError> {
    if action.pins.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = action.pins.iter().map(|pin| pin.name.as_str()).collect();
    let offered = packages::of(host, action.manager).offered(repository, &names)?;
    let absent = action.pins.iter().filter(|pin| !offered.contains(pin));
    Ok(absent.map(|pin| format!("{} {}", pin.name, pin.version)).collect())
}

/// Which of the files are there with their text.
fn present(host: &Host, file: &PinFile) -> Result<bool, FileError> {
    match files::look(host, &file.path)? {
        FileBefore::File { sha256, .. } => Ok(sha256 == files::digest_of_bytes(file.text.as_bytes())),
        FileBefore::Absent | FileBefore::Symlink { .. } => Ok(false),
    }
}

const CANNOT_READ: &str =
    "check that the host reaches the repository and that the fleet file names it rightly";

impl Perform for RepositoryPin {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let files = pin_files(self)?;
        let mut all = true;
        for file in &files {
            if present(host, file).map_err(|e| file_refusal(&e))? {
                continue;
            }
            all = false;
            if files::look(host, &file.path).map_err(|e| file_refusal(&e))? != FileBefore::Absent {
                return Err(refusal(
                    codes::REPOSITORY_OTHER,
                    format!("{} is there already and says something else", file.path.display()),
                    "another run may still hold it: finish or roll that back, or remove the file",
                ));
            }
        }
        if !all {
            return Ok(Standing::Ready);
        }
        match missing_pins(self, host, repository_file(&files)) {
            Ok(missing) if missing.is_empty() => Ok(Standing::Done),
            Ok(_) | Err(_) => Ok(Standing::Half),
        }
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let changes = pin_files(self)?
            .iter()
            .map(|file| {
                files::change_of(host, &file.path, Some(files::digest_of_bytes(file.text.as_bytes())))
            })
            .collect::<Result<_, _>>()
            .map_err(|e| file_refusal(&e))?;
        Ok(UndoRecord::Files(changes))
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let files = pin_files(self).map_err(|r| failure(codes::REPOSITORY_WRONG, r.reason, r.remedy))?;
        let mut report = Report::default();
        for file in &files {
            let here = host.at(&file.path);
            files::make_directories(&here, &host.boundary)
                .and_then(|_| {
                    files::replace(&here, file.text.as_bytes(), &Attributes::plain(0o644), &host.boundary)
                })
                .map_err(|e| file_failure(&e))?;
            report.changes.push(change(file.path.display().to_string(), "absent", "written"));
        }
        progress(Some(300), "fetching the repository's index");
        let repository = repository_file(&files);
        packages::of(host, self.manager).refresh(repository).map_err(|e| {
            failure(
                codes::REPOSITORY_INDEX,
                format!("the index of `{}` cannot be fetched: {e}", self.name),
                CANNOT_READ,
            )
        })?;
        host.boundary.reached("repository-pin: index fetched");
        Ok(report)
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let files = pin_files(self).map_err(|r| failure(codes::REPOSITORY_WRONG, r.reason, r.remedy))?;
        let missing = missing_pins(self, host, repository_file(&files)).map_err(|e| {
            failure(
                codes::REPOSITORY_INDEX,
                format!("the index of `{}` cannot be read: {e}", self.name),
                CANNOT_READ,
            )
        })?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(failure(
            codes::REPOSITORY_LACKS,
            format!("`{}` does not offer {}", self.name, missing.join(", ")),
            "correct the versions in the fleet file, or put the packages into the repository, then plan again",
        ))
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let UndoRecord::Files(changes) = record else { return Err(foreign_record("repository-pin")) };
        let files = pin_files(self)?;
        if host.at(repository_file(&files)).exists() {
            packages::of(host, self.manager).forget(repository_file(&files)).map_err(|e| {
                ActError::Failed(failure(
                    codes::REPOSITORY_INDEX,
                    format!("the fetched index of `{}` cannot be removed: {e}", self.name),
                    "see the message, then retry",
                ))
            })?;
            host.boundary.reached("repository-pin: index removed");
        }
        given_back::paths(host, changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apt(uri: &str) -> RepositoryPin {
        RepositoryPin {
            manager: PackageManager::Apt,
            name: "libvirt".into(),
            repository: Repository::Apt {
                uri: uri.into(),
                suite: "./".into(),
                components: vec![],
                options: vec!["trusted=yes".into()],
            },
            pins: vec![PackagePin { name: "libvirt0".into(), version: "11.3.0-2~bpo12+1".into() }],
        }
    }

    #[test]
    fn the_files_for_apt() {
        let files = pin_files(&apt("file:///srv/repo/apt")).unwrap();
        assert_eq!(
            files[0].text,
            "Package: *\nPin: origin \"\"\nPin-Priority: 1\n\n\
             Package: libvirt0\nPin: version 11.3.0-2~bpo12+1\nPin-Priority: 1001\n"
        );
        assert_eq!(files[1].path, Path::new("/etc/apt/sources.list.d/replank-libvirt.list"));
        assert_eq!(files[1].text, "deb [trusted=yes] file:///srv/repo/apt ./\n");
        assert!(
            pin_files(&apt("http://mirror.example/debian")).unwrap()[0]
                .text
                .contains("origin \"mirror.example\"")
        );
    }

    #[test]
    fn the_file_for_dnf() {
        let action = RepositoryPin {
            manager: PackageManager::Dnf,
            repository: Repository::Rpm {
                base_url: "file:///srv/repo/rpm".into(),
                gpg_check: false,
                gpg_key: None,
            },
            pins: vec![PackagePin { name: "qemu-10.0.2".into(), version: "10.0.2-1".into() }],
            ..apt("")
        };
        assert_eq!(
            pin_files(&action).unwrap()[0].text,
            "[replank-libvirt]\nname=replank-libvirt\nbaseurl=file:///srv/repo/rpm\nenabled=1\ngpgcheck=0\n\
             includepkgs=qemu-10.0.2-10.0.2-1\n"
        );
    }

    #[test]
    fn a_line_cannot_be_broken_out_of() {
        for uri in ["file:/a b", "file:/a\ndeb file:/evil ./", ""] {
            assert_eq!(pin_files(&apt(uri)).unwrap_err().code, "RP5001", "{uri}");
        }
        let action = RepositoryPin { name: "../x".into(), ..apt("file:/a") };
        assert_eq!(pin_files(&action).unwrap_err().code, "RP5001");
        let action = RepositoryPin { manager: PackageManager::Dnf, ..apt("file:/a") };
        assert!(pin_files(&action).unwrap_err().reason.contains("dnf"));
    }
}
