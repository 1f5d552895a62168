//! The devices and files behind the links in a daemon's directory, and whether they are the ceph user's after the next boot too; and who mounts an OSD's data then.

use crate::host::Host;
use crate::host::owners::{Behind, TreeError};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::facts::CephMount;
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

/// Who sees to it that an OSD's data is there after a boot. `None`: it is mounted, and by nobody who is known.
pub fn mounted_by(host: &Host, osd: &CephDaemon) -> Option<CephMount> {
    let directory = osd.data_directory();
    let mounts = std::fs::read_to_string(host.at("/proc/self/mountinfo")).ok()?;
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<&str>>());
    let Some(mount) =
        mount.into_iter().rfind(|fields| fields.get(4).is_some_and(|at| Path::new(at) == directory))
    else {
        return host.at(&directory).is_dir().then_some(CephMount::Directory);
    };
    let fstab = std::fs::read_to_string(host.at("/etc/fstab")).unwrap_or_default();
    let in_fstab = fstab
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_whitespace().nth(1))
        .any(|at| Path::new(at) == directory);
    if in_fstab {
        return Some(CephMount::Fstab);
    }
    let kind = mount.iter().position(|field| *field == "-").and_then(|dash| mount.get(dash + 1));
    if kind == Some(&"tmpfs") || is_simple(host, osd) {
        return Some(CephMount::CephVolume);
    }
    let (major, minor) = mount.get(2)?.split_once(':')?;
    let by_udev = part_type(host, (major.parse().ok()?, minor.parse().ok()?))
        .is_some_and(|kind| kind.starts_with("4fbd7e29-"));
    if by_udev {
        return Some(CephMount::Udev);
    }
    // As systemd-escape(1) writes a path.
    let unit = directory.to_string_lossy().trim_start_matches('/').replace('-', "\\x2d").replace('/', "-");
    host.at(format!("/etc/systemd/system/{unit}.mount")).exists().then_some(CephMount::Fstab)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn who_mounts_an_osd_is_told_by_what_mounts_it_at_a_boot() {
        let world = World::new();
        let osd = CephDaemon::osd(3);
        let told = || mounted_by(&world.host, &osd);
        assert_eq!(told(), None);
        world.file("/var/lib/ceph/osd/ceph-3/type", "filestore");
        world.file("/proc/self/mountinfo", "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
        assert_eq!(told(), Some(CephMount::Directory));
        world.file(
            "/proc/self/mountinfo",
            "36 25 8:17 / /var/lib/ceph/osd/ceph-3 rw,noatime shared:9 - xfs /dev/sdb1 rw\n",
        );
        assert_eq!(told(), None);
        world.file("/etc/systemd/system/var-lib-ceph-osd-ceph\\x2d3.mount", "[Mount]\n");
        assert_eq!(told(), Some(CephMount::Fstab));
        world.file(
            "/run/udev/data/b8:17",
            "E:ID_FS_TYPE=xfs\nE:ID_PART_ENTRY_TYPE=4fbd7e29-9d25-41b8-afd0-062c0ceff05d\n",
        );
        assert_eq!(told(), Some(CephMount::Udev));
        world.file("/etc/ceph/osd/3-e6a7.json", "{}");
        assert_eq!(told(), Some(CephMount::CephVolume));
        world.file(
            "/etc/fstab",
            "# /dev/sdb1 /var/lib/ceph/osd/ceph-3\nUUID=1 /var/lib/ceph/osd/ceph-33 xfs defaults 0 0\n",
        );
        assert_eq!(told(), Some(CephMount::CephVolume));
        world.file("/etc/fstab", "UUID=1 /var/lib/ceph/osd/ceph-3 xfs noatime 0 0\n");
        assert_eq!(told(), Some(CephMount::Fstab));
    }

    #[test]
    fn a_device_stays_the_ceph_users_only_where_something_gives_it_at_every_boot() {
        let world = World::new();
        let osd = CephDaemon::osd(3);
        let told = || is_given_at_boot(&world.host, &osd, (8, 18));
        world.file("/run/udev/data/b8:18", "E:ID_PART_ENTRY_TYPE=45B0969E-9B03-4F30-B4C6-B4B80CEFF106\n");
        assert!(!told(), "nobody reads the type");
        world.file("/lib/udev/rules.d/95-ceph-osd.rules", "");
        assert!(told());
        world.file("/run/udev/data/b8:18", "E:ID_PART_ENTRY_TYPE=0fc63daf-8483-4772-8e79-3d69d8477de4\n");
        assert!(!told());
        world.file("/etc/ceph/osd/33-e6a7.json", "{}");
        assert!(!told());
        world.file("/etc/ceph/osd/3-e6a7.json", "{}");
        assert!(told());
    }
}
