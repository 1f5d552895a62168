//! The verdicts of gates on what was seen, as an operator reads them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ceph;
mod cluster;
