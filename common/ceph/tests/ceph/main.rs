//! What of a Ceph cluster may stop: documents of every release, the rule, the waves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod documents;
mod mds;
mod pages;
mod property;
mod recorded;
mod safety;
mod seen;
mod settled;
mod waves;
mod world;
