//! The planning half of the core, from an operator's files to a linted plan.

#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod catalog;
mod ceph;
mod cluster;
mod fleet_file;
mod golden;
mod lint;
mod owner;
mod pages;
mod plan_file;
mod preflight;
mod properties;
mod support;
