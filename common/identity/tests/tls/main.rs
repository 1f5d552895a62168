//! Both sides of the TLS that replank speaks, against each other and against impostors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod fleet;
mod grpc;
mod handshake;
mod loopback;
