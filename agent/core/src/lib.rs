//! How an agent carries out a command, and what its ledger allows: the rules, without a host.
//!
//! Owns the order in which a command passes epoch, ledger, policy, guard and action ([`perform`]), which entry may follow which in
//! a ledger ([`ledger`]), and what must not be done to what live guests use ([`guard`]). What touches the world is passed in as [`Hands`], what remembers as a [`Ledger`]: the agent passes its
//! host and its file, a simulation hosts and ledgers of its own, so that both run these same rules.
//!
//! Never reads a clock, does I/O, starts a thread or draws a random number.

pub mod act;
pub mod codes;
pub mod guard;
pub mod ledger;
pub mod perform;
pub mod usage;

pub use ledger::Ledger;
pub use perform::{Acted, Begin, Begun, Command, Hands, Moment, begin, perform};
