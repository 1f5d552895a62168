//! The words that both sides of replank share, as plain data.
//!
//! Pure: no I/O, no clock, no runtime. The agent produces facts, censuses, readings and outcomes; the coordinator
//! produces actions. What a word means is said here once, and `proto` translates it for the wire.

pub mod action;
pub mod census;
pub mod ceph;
mod codes;
pub mod facts;
pub mod finding;
pub mod ids;
pub mod leader;
pub mod outcome;
pub mod planted;
pub mod reading;
pub mod undo;
pub mod version;

/// Milliseconds since the Unix epoch, in UTC. Passed in everywhere: nothing pure reads a clock.
pub type UnixMs = u64;
