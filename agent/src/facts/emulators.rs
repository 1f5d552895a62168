//! Every qemu on disk that a guest uses, has in its definition, or would get.

use super::Errors;
use crate::host::Host;
use crate::host::command::Command;
use quick_xml::Reader;
use quick_xml::events::Event;
use replank_common::census::Census;
use replank_common::facts::{EmulatorFact, LibvirtFacts};
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VERSION: Duration = Duration::from_secs(10);
/// Definitions of domains, running or not.
const DEFINITIONS: &str = "/etc/libvirt/qemu";

pub(super) fn collect(
    host: &Host,
    census: &Census,
    libvirt: Option<&LibvirtFacts>,
    errors: &mut Errors,
) -> Vec<EmulatorFact> {
    let mut users: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for guest in census.guests.values() {
        users.entry(guest.emulator.clone()).or_default().insert(guest.name.clone());
    }
    for (name, emulator) in definitions(host, errors) {
        users.entry(emulator).or_default().insert(name);
    }
    let defaults = libvirt.into_iter().flat_map(|libvirt| libvirt.default_emulators.values().cloned());
    for path in installed(host).into_iter().chain(defaults) {
        users.entry(path).or_default();
    }
    users
        .into_iter()
        .map(|(path, used_by)| {
            let (version, detail) = version_of(host, &path);
            EmulatorFact { path, version, detail, used_by: used_by.into_iter().collect() }
        })
        .collect()
}

/// The version that the emulator prints, and what it printed; `None` and why when it does not run.
pub(crate) fn version_of(host: &Host, path: &Path) -> (Option<Version>, String) {
    let command = Command::new(host.at(path)).arg("-version").deadline(VERSION);
    match host.programs.run_ok(&command) {
        Ok(output) => {
            let text = output.text();
            let line = text.lines().next().unwrap_or_default().trim().to_owned();
            match parse_version(&line) {
                Some(version) => (Some(version), line),
                None => (None, format!("it prints no version: {line}")),
            }
        }
        Err(error) => (None, error.to_string()),
    }
}

/// `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`; qemu 1.5: `QEMU emulator version 1.5.3 (qemu-kvm-1.5.3-…), Copyright …`.
fn parse_version(line: &str) -> Option<Version> {
    let (_, rest) = line.split_once("emulator version ")?;
    let word = rest.split([' ', ',']).next()?;
    word.starts_with(|c: char| c.is_ascii_digit()).then(|| Version::new(word))
}

/// System emulators in the usual places, and in relocated trees.
fn installed(host: &Host) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(host.at("/usr/bin"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("qemu-system-"))
        // A link to another emulator is that one.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| Path::new("/usr/bin").join(entry.file_name()))
        .collect();
    let kvm = PathBuf::from("/usr/libexec/qemu-kvm");
    if host.at(&kvm).is_file() {
        found.push(kvm);
    }
    let own = format!("qemu-system-{}", std::env::consts::ARCH);
    for tree in fs::read_dir(host.at("/opt/qemu")).into_iter().flatten().flatten() {
        let path = Path::new("/opt/qemu").join(tree.file_name()).join("bin").join(&own);
        if host.at(&path).is_file() {
            found.push(path);
        }
    }
    found
}

/// Domain and emulator of every definition that names one.
fn definitions(host: &Host, errors: &mut Errors) -> Vec<(String, PathBuf)> {
    let directory = host.at(DEFINITIONS);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            errors.add("definitions", format!("{}: {error}", directory.display()));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        match fs::read_to_string(&path).map_err(|e| e.to_string()).and_then(|text| emulator_of(&text)) {
            Ok(Some(emulator)) => {
                let name =
                    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                found.push((name, emulator));
            }
            Ok(None) => {}
            Err(why) => errors.add("definitions", format!("{}: {why}", path.display())),
        }
    }
    found
}

/// `/domain/devices/emulator` of a definition.
fn emulator_of(xml: &str) -> Result<Option<PathBuf>, String> {
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<Vec<u8>> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(element) => {
                let name = element.name().as_ref().to_vec();
                if name == b"emulator" && open == [b"domain".to_vec(), b"devices".to_vec()] {
                    let text = reader.read_text(element.name()).map_err(|error| error.to_string())?;
                    let text = text.xml10_content().map_err(|error| error.to_string())?;
                    let text = quick_xml::escape::unescape(&text).map_err(|error| error.to_string())?;
                    return Ok(Some(PathBuf::from(text.trim())));
                }
                open.push(name);
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Eof => return Ok(None),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_old_and_new_emulators_are_read() {
        let new = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)";
        assert_eq!(parse_version(new).unwrap().as_str(), "7.2.22");
        let old =
            "QEMU emulator version 1.5.3 (qemu-kvm-1.5.3-105.el7), Copyright (c) 2003-2008 Fabrice Bellard";
        assert_eq!(parse_version(old).unwrap().as_str(), "1.5.3");
        let bare = "QEMU emulator version 2.9.0, Copyright (c) 2003-2017 Fabrice Bellard";
        assert_eq!(parse_version(bare).unwrap().as_str(), "2.9.0");
        assert_eq!(parse_version("qemu: error while loading shared libraries"), None);
    }

    #[test]
    fn the_emulator_is_the_one_of_the_devices() {
        let xml = "<!-- x -->\n<domain type='qemu'><metadata><emulator>/no</emulator></metadata>\
                   <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>";
        assert_eq!(emulator_of(xml).unwrap().unwrap(), PathBuf::from("/usr/bin/qemu-system-x86_64"));
        assert_eq!(emulator_of("<domain><devices/></domain>").unwrap(), None);
        assert!(emulator_of("<domain><devices></domain>").is_err());
    }
}
