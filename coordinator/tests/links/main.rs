//! The links and the drive as a whole: real TLS on loopback, a real store in a folder of its own, and hosts that speak the wire.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod agent;
mod coordinator;
#[cfg(feature = "crash-points")]
mod crashes;
mod enrolment;
mod plans;
#[path = "../ports/mod.rs"]
mod ports;
mod process;
mod runs;
mod sessions;
mod takeover;
