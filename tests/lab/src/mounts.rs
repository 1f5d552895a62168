//! Mounts below a directory, as `/proc/self/mountinfo` tells them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::error::{IoContext, Result};

/// Mount points at or below a directory, the deepest first.
///
/// # Errors
/// When the kernel's table cannot be read.
pub fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").doing("read", "/proc/self/mountinfo")?;
    Ok(parse_below(&table, directory))
}

fn parse_below(table: &str, directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| point.starts_with(directory))
        .collect();
    // Later lines lie upon earlier ones.
    found.reverse();
    found.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    found
}

/// Undoes the octal escapes (`\040` for a space) of the kernel's mount table.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Unmounts everything at or below a directory. One that is busy is detached: it goes with its last user.
///
/// # Errors
/// When the table cannot be read. Mounts that stay are seen by the caller's own look afterwards.
pub fn unmount_below(directory: &Path) -> Result<()> {
    for point in below(directory)? {
        if umount2(&point, MntFlags::UMOUNT_NOFOLLOW).is_err() {
            let _ = umount2(&point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH);
        }
    }
    Ok(())
}

/// Removes a directory tree, first unmounting whatever is mounted in it. Absent is fine.
///
/// # Errors
/// When something is still mounted there, since removing would then reach outside; or a file cannot be removed.
pub fn remove_tree(directory: &Path) -> Result<()> {
    unmount_below(directory)?;
    if let Some(point) = below(directory)?.first() {
        return Err(std::io::Error::from_raw_os_error(nix::libc::EBUSY)).doing("unmount", point);
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.doing("remove", directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                         30 22 0:31 / /srv/lab\\040a/root rw - overlay overlay rw\n\
                         31 30 0:32 / /srv/lab\\040a/root/srv/repo rw - tmpfs tmpfs rw\n\
                         32 22 0:33 / /srv/lab\\040ab rw - tmpfs tmpfs rw\n";

    #[test]
    fn only_what_is_inside_and_the_deepest_first() {
        assert_eq!(
            parse_below(TABLE, Path::new("/srv/lab a")),
            [Path::new("/srv/lab a/root/srv/repo"), Path::new("/srv/lab a/root")]
        );
    }
}
