//! All OSDs of a cluster in the fewest sets, each of which may stop at once, one after another.
//!
//! **Units.** What stops together is a failure domain: the highest bucket of the CRUSH tree that may stop whole. Where machines one by one make fewer waves than
//! failure domains, which happens when few groups join them, it is the machine. OSDs outside the tree are put on machines by their addresses. A machine that may not
//! stop whole is taken apart into its OSDs, and OSDs that may not even stop alone are in no wave, and said so.
//!
//! **Constraints.** Every placement group is one: of its complete members, at most `copies − needed` may be in the same wave. Two machines with
//! MONs are one too. So failure domains need not be guessed from CRUSH rules: the groups themselves say which machines exclude each other, as they
//! are really placed, and disjoint roots run side by side because no group joins them.
//!
//! **The waves** hold for the documents as they are: each is safe when the ones before it are back and settled. Whoever runs them asks again
//! before each (`Redundancy::judge`).
//!
//! `units` makes the units and constraints, `fit` fills waves, `search` tries for fewer in small clusters, `bound` says why there cannot be fewer than so many.

mod bound;
mod fit;
mod plan;
mod search;
mod text;
mod units;

pub use bound::{LowerBound, Reason};
pub use plan::*;
pub use text::show_waves;
