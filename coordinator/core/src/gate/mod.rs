//! Gates: health conditions, judged from readings. Only `Pass` proceeds; "cannot tell" waits and says why (P6).
//!
//! Owns the conditions and their judgement. Never measures anything itself.

mod model;

pub use model::*;
