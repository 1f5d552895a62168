//! The agent of one host: it takes the census, keeps the ledger, and performs typed privileged actions after its own guard has agreed.
//!
//! What it never does: stop, pause or destroy a guest, open a qemu monitor socket, or repair a disagreement by itself (P3).

pub mod actions;
pub mod cli;
pub mod clock;
pub mod codes;
pub mod config;
pub mod daemon;
pub mod facts;
pub mod failure;
pub mod guard;
pub mod guests;
pub mod host;
pub mod ledger;
pub mod link;
pub mod metrics;
pub mod perform;
pub mod policy;
pub mod readings;
mod toml_file;
