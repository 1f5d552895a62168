//! The coordinator: the shell around the pure core.
//!
//! [`store`] keeps what must survive, [`links`] talks to the agents, [`drive`] gives every input its place in one order and is the only
//! owner of a clock, [`serve`] answers operators and holds the whole together, [`cli`] is the operator's end of the wire. Decisions are made in `replank-core` alone.

pub mod cli;
pub mod codes;
pub mod config;
pub mod drive;
pub mod init;
pub mod links;
pub mod serve;
pub mod store;
