//! Files of the host: written whole or not at all, with their owner, mode and extended attributes, and given back from a record.
//!
//! Owns durability (fsync of file and directory) and what "as it was" means for one path. Knows no configuration syntax.

mod atomic;
mod change;
mod hash;
mod keep;

pub use atomic::{Attributes, make_directories, remove, replace, replace_link, sync_directory};
pub use change::{Restored, Side, change_of, give_back, link_digest, standing};
pub use hash::{digest_of_bytes, digest_of_file, digest_of_reader};
pub use keep::{blob, keep_bytes, look};

use std::path::{Path, PathBuf};

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what} {path}", path = .path.display())]
pub struct FileError {
    pub what: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: std::io::Error,
}

impl FileError {
    pub fn new(what: &'static str, path: impl AsRef<Path>, source: impl Into<std::io::Error>) -> Self {
        Self { what, path: path.as_ref().to_owned(), source: source.into() }
    }

    /// With its cause, for a message.
    pub fn full(&self) -> String {
        format!("{self}: {}", self.source)
    }
}
