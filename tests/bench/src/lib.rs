//! Measurements of large fleets (planning, appending to the journal, resuming a run after `kill -9`) and of large Ceph clusters
//! ([`ceph`]: in which waves may all OSDs stop).
//!
//! Each figure stands beside a known one of the same run of the same machine: bare SQLite, plain SHA-256, a `SELECT` of everything. What is
//! measured is production's own code and binary; the fleet is made of the committed example ([`world`]), and its journal is written by the
//! real runs on a calm sea ([`calm`]).

pub mod calm;
pub mod ceph;
pub mod figures;
pub mod measure;
mod process;
pub mod world;
