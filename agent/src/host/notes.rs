//! What an action has to remember between `prepare` and `verify` beyond its undo record: small JSON files of the agent's own, written
//! durably, one an action and key.

use super::Host;
use super::files::{Attributes, FileError, digest_of_bytes, make_directories, remove, replace};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;

/// Where the note of an action is. `key` is anything that tells this action from others of its kind.
fn path(host: &Host, kind: &str, key: &str) -> PathBuf {
    host.directories.notes().join(format!("{kind}-{}.json", &digest_of_bytes(key.as_bytes())[..32]))
}

/// Writes a note over the one of an earlier time.
///
/// # Errors
/// The agent's directory cannot be written.
pub fn write(host: &Host, kind: &str, key: &str, note: &impl Serialize) -> Result<(), FileError> {
    let path = path(host, kind, key);
    let bytes =
        serde_json::to_vec_pretty(note).map_err(|e| FileError::new("write", &path, io::Error::other(e)))?;
    make_directories(&path, &host.boundary)?;
    replace(&path, &bytes, &Attributes::plain(0o600), &host.boundary)
}

/// Reads a note; `None` when there is none.
///
/// # Errors
/// It cannot be read, or is not a note of this kind.
pub fn read<T: DeserializeOwned>(host: &Host, kind: &str, key: &str) -> Result<Option<T>, FileError> {
    let path = path(host, kind, key);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| FileError::new("understand", &path, io::Error::other(e))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("read", &path, e)),
    }
}

/// Removes a note; none there is no error.
///
/// # Errors
/// It cannot be removed.
pub fn forget(host: &Host, kind: &str, key: &str) -> Result<(), FileError> {
    remove(&path(host, kind, key), &host.boundary)
}
