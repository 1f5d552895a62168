//! The operator's fleet file: TOML in, [`FleetFile`] out, or every mistake that can be found at once.
//!
//! Say, then mean: `raw` is what may be typed, `model` what it means; `mean` goes from one to the other. The catalog is
//! not asked here: whether a hop exists is for `plan::preflight` to say. Never reads a file: the text is passed in.

mod mean;
mod mistake;
mod model;
mod raw;
mod strike;

pub use mean::parse;
pub use mistake::{Mistake, Mistakes};
pub use model::*;
