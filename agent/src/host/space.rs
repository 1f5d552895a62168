//! Room on file systems.

use super::Host;
use replank_common::facts::SpaceFact;
use rustix::fs::StatVfsMountFlags;
use std::io;
use std::path::Path;

/// The file system that holds `path`, or that will hold it: the nearest parent that exists is asked.
///
/// # Errors
/// The file system does not answer.
pub fn of(host: &Host, path: &Path) -> io::Result<SpaceFact> {
    let mut here = host.at(path);
    while !here.exists() && here.pop() {}
    let stat = rustix::fs::statvfs(&here)?;
    Ok(SpaceFact {
        path: path.to_owned(),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        // A file system without a fixed number of them says that it has none at all; none free of some is another matter.
        free_inodes: if stat.f_files == 0 { u64::MAX } else { stat.f_favail },
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn a_directory_to_be_made_is_on_the_file_system_of_its_parent() {
        let world = World::new();
        world.file("/var/x", "");
        let of_parent = of(&world.host, Path::new("/var")).unwrap();
        let of_child = of(&world.host, Path::new("/var/lib/none")).unwrap();
        assert_eq!(of_parent.total_bytes, of_child.total_bytes);
        assert!(!of_child.read_only && of_child.total_bytes > 0);
    }
}
