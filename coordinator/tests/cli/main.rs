//! The command line as an operator has it: the real binary, its exit codes, its words, and the coordinator that it talks to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ceph;
mod coordinator;
mod files;
mod journey;
mod manual;
mod operators;
mod pages;
#[path = "../ports/mod.rs"]
mod ports;
mod refusals;
mod simulate;
mod support;
