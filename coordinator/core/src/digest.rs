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
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// SHA-256, hexadecimal, of a value's canonical bytes.
pub(crate) fn of(value: &impl Serialize) -> String {
    sha256_hex(&canonical_bytes(value))
}
