//! Gates: health conditions, judged from readings. Only `Pass` proceeds; "cannot tell" waits and says why (P6).
//!
//! Owns the conditions ([`Gate`]), what must be measured for each ([`asks`]), their judgement ([`judge`]) and the sentences
//! that tell an operator why something waits or stopped. Never measures anything itself, and never decides how old a
//! reading may be: [`Observed`] hands out only those that count.

mod ceph;
mod judge;
mod model;
mod text;

pub use judge::*;
pub use model::*;
pub use text::{duration, utc};
