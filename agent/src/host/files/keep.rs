//! Old bytes, kept in the agent's own directory under their digest before anything is changed.

use super::atomic::{Attributes, make_directories, replace};
use super::{FileError, digest_of_bytes, digest_of_file};
use crate::host::Host;
use replank_common::undo::FileBefore;
use std::io;
use std::path::{Path, PathBuf};

/// Larger files are no configuration; keeping them would fill the agent's directory.
const KEEP_LIMIT: u64 = 64 << 20;

/// Where the bytes of this digest are kept.
pub fn blob(host: &Host, sha256: &str) -> PathBuf {
    host.directories.blobs().join(sha256)
}

/// Keeps `bytes` durably; their digest.
///
/// # Errors
/// The agent's directory cannot be written.
pub fn keep_bytes(host: &Host, bytes: &[u8]) -> Result<String, FileError> {
    let sha256 = digest_of_bytes(bytes);
    let path = blob(host, &sha256);
    // An existing blob is trusted only when it is whole.
    if digest_of_file(&path).ok().as_deref() != Some(sha256.as_str()) {
        make_directories(&path, &host.boundary)?;
        replace(&path, bytes, &Attributes::plain(0o600), &host.boundary)?;
    }
    Ok(sha256)
}

/// What is at the host's `path` now; a regular file's bytes are kept.
///
/// # Errors
/// It cannot be looked at, is neither file nor link, or its bytes cannot be kept.
pub fn look(host: &Host, path: &Path) -> Result<FileBefore, FileError> {
    let here = host.at(path);
    let metadata = match std::fs::symlink_metadata(&here) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(FileBefore::Absent);
        }
        Err(e) => return Err(FileError::new("look at", &here, e)),
    };
    if metadata.is_symlink() {
        let target = std::fs::read_link(&here).map_err(|e| FileError::new("read the link", &here, e))?;
        return Ok(FileBefore::Symlink { target });
    }
    if !metadata.is_file() {
        return Err(FileError::new("keep", &here, io::Error::other("it is neither a file nor a link")));
    }
    if metadata.len() > KEEP_LIMIT {
        return Err(FileError::new(
            "keep",
            &here,
            io::Error::other("it is too large for a configuration file"),
        ));
    }
    let bytes = std::fs::read(&here).map_err(|e| FileError::new("read", &here, e))?;
    let attributes = Attributes::of(&here)?;
    let sha256 = keep_bytes(host, &bytes)?;
    Ok(FileBefore::File { sha256, mode: attributes.mode, uid: attributes.uid, gid: attributes.gid })
}
