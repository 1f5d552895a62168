//! The devices and files behind the links in a daemon's directory, and whether they are the ceph user's after the next boot too.

use crate::host::Host;
use crate::host::owners::{Behind, TreeError};
use replank_common::ceph::{CephDaemon, CephKind};
use std::path::{Path, PathBuf};

/// The types of partitions that udev gives to the ceph user whenever they appear (ceph 10.2 and 12.2, udev/95-ceph-osd.rules).
const GIVEN_BY_UDEV: [&str; 12] = [
    "4fbd7e29-9d25-41b8-afd0-062c0ceff05d",
    "4fbd7e29-8ae0-4982-bf9d-5a8d867af560",
    "4fbd7e29-9d25-41b8-afd0-5ec00ceff05d",
    "4fbd7e29-9d25-41b8-afd0-35865ceff05d",
    "45b0969e-9b03-4f30-b4c6-b4b80ceff106",
    "45b0969e-8ae0-4982-bf9d-5a8d867af560",
    "45b0969e-9b03-4f30-b4c6-5ec00ceff106",
    "45b0969e-9b03-4f30-b4c6-35865ceff106",
    "cafecafe-9b03-4f30-b4c6-b4b80ceff106",
    "cafecafe-8ae0-4982-bf9d-5a8d867af560",
    "30cd0809-c2b2-499c-8879-2d6b78529876",
    "5ce17fce-4087-4169-b7ff-056cc58473f9",
];
const RULES: [&str; 2] = ["/usr/lib/udev/rules.d/95-ceph-osd.rules", "/lib/udev/rules.d/95-ceph-osd.rules"];
/// Where `ceph-volume simple` keeps what it activates.
const SIMPLE: &str = "/etc/ceph/osd";

/// What a link in a daemon's directory leads to, outside of it.
#[derive(Debug)]
pub struct Leads {
    /// Such as `journal`.
    pub link: String,
    /// Where it ends.
    pub to: PathBuf,
    pub behind: Behind,
}

/// What the links in the directory itself lead to; none of those that stay within it or lead to nothing.
///
/// # Errors
/// The directory or what lies behind a link cannot be looked at.
pub fn leads(host: &Host, directory: &Path) -> Result<Vec<Leads>, TreeError> {
    let io = |path: &Path, error: &std::io::Error| {
        TreeError::look(path, rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO))
    };
    let here = host.at(directory);
    let own = std::fs::canonicalize(&here).map_err(|error| io(directory, &error))?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&here).map_err(|error| io(directory, &error))? {
        let entry = entry.map_err(|error| io(directory, &error))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        let to = match std::fs::canonicalize(entry.path()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            to => to.map_err(|error| io(&entry.path(), &error))?,
        };
        if !to.starts_with(&own) {
            let behind = Behind::open(&to)?;
            found.push(Leads { link: entry.file_name().to_string_lossy().into_owned(), to, behind });
        }
    }
    found.sort_by(|one, other| one.link.cmp(&other.link));
    Ok(found)
}

/// Whether a device becomes the ceph user's at every boot, by udev's rules or by `ceph-volume simple`.
pub fn is_given_at_boot(host: &Host, daemon: &CephDaemon, device: (u32, u32)) -> bool {
    let by_udev = part_type(host, device).is_some_and(|kind| GIVEN_BY_UDEV.contains(&kind.as_str()))
        && RULES.iter().any(|rules| host.at(rules).exists());
    by_udev || is_simple(host, daemon)
}

/// Whether `ceph-volume simple` activates the OSD.
pub fn is_simple(host: &Host, daemon: &CephDaemon) -> bool {
    let prefix = format!("{}-", daemon.id);
    let names = std::fs::read_dir(host.at(SIMPLE)).into_iter().flatten().flatten();
    daemon.kind == CephKind::Osd
        && names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .any(|name| name.starts_with(&prefix) && name.ends_with(".json"))
}

/// The GPT type of a partition as udev has read it, in lower case.
pub fn part_type(host: &Host, (major, minor): (u32, u32)) -> Option<String> {
    let known = std::fs::read_to_string(host.at(format!("/run/udev/data/b{major}:{minor}"))).ok()?;
    let said = known.lines().find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_TYPE="))?;
    Some(said.trim().to_lowercase())
}

/// Whether it is one of those that `ceph-disk` prepared to hold an OSD's data.
pub fn is_data_type(kind: &str) -> bool {
    kind.starts_with("4fbd7e29-")
}
