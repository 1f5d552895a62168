//! The wire of replank.
//!
//! Owns the generated messages and services (`v1`), and their translation to and from the types of `replank-common`, made
//! once at the edge. A message that a newer peer sends with unknown fields is read without them; one whose `oneof` is unknown here is
//! a [`BadMessage`], never a guess.

mod convert;

pub use convert::BadMessage;

/// Version 1 of the wire. Changes only by addition; `proto/baseline.txt` and its test hold it to that.
pub mod v1 {
    tonic::include_proto!("replank.v1");
}

/// The largest message that either side accepts, in bytes: the facts of a host with a thousand guests fit many times.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
