//! Planted faults are sought: for each, which test catches it, and after how many seeds.
//!
//! Owns the list of what catches which fault, the seeking, and the table. What a fault breaks, and where, is `replank_common::planted`'s.
//! Never changes what is tested: a test that cannot catch its fault is mended where it is.

mod catcher;
#[cfg(feature = "planted-faults")]
pub mod seek;
mod suite;
mod table;

pub use catcher::{Catcher, Test, catcher};
pub use suite::{Suite, Verdict};
pub use table::{BEGIN, Caught, END, HEAD, Sought, row, table};
