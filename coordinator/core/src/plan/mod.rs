//! The plan: an immutable, content-addressed graph of steps, computed from a fleet file, an inventory and the catalog.
//!
//! Owns what a plan is (`model`). Never reads a clock or draws a random number: the same input gives the same bytes.

mod model;

pub use model::*;
