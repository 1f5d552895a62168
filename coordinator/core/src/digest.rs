//! Content addresses: SHA-256 over canonical bytes.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The canonical bytes of a value: pretty JSON in the order of its fields, with a line feed at the end.
pub(crate) fn canonical_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec_pretty(value).expect("plain data with text keys can always be written as JSON");
    bytes.push(b'\n');
    bytes
}

/// SHA-256 in 64 lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// A SHA-256 of bytes that come in small parts.
#[derive(Debug)]
pub(crate) struct Growing {
    hasher: Sha256,
    waiting: Vec<u8>,
}

impl Growing {
    const AT_ONCE: usize = 16 * 1024;

    pub(crate) fn new() -> Self {
        Self { hasher: Sha256::new(), waiting: Vec::with_capacity(2 * Self::AT_ONCE) }
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.waiting.extend_from_slice(part);
        if self.waiting.len() >= Self::AT_ONCE {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
    }

    /// In hexadecimal.
    pub(crate) fn hex(self) -> String {
        hex(&self.hasher.chain_update(&self.waiting).finalize())
    }
}

/// SHA-256, hexadecimal, of a value's canonical bytes.
pub(crate) fn of(value: &impl Serialize) -> String {
    sha256_hex(&canonical_bytes(value))
}
