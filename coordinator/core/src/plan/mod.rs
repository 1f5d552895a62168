//! The plan: an immutable, content-addressed graph of steps, computed from a fleet file, an inventory and the catalog.
//!
//! Owns what a plan is (`model`), how it is written and proved unchanged (`file`, and
//! `pieces` of it), what stands in its way (`preflight`), how
//! it is made (`make`, `host`, `order`; over a cluster `ceph` and `owner`, of `strand`s) and how it reads (`show`). Never reads a clock or draws a random number: the same
//! input gives the same bytes.

mod ceph;
mod estimate;
mod file;
mod finding;
mod host;
mod loans;
mod make;
mod mds;
mod model;
mod order;
mod owner;
mod pieces;
mod preflight;
mod remote;
mod report;
mod show;
mod state;
mod strand;
mod target;
mod text;

pub use estimate::{Estimate, estimate};
pub use file::PlanFileError;
pub use loans::{Loan, loans};
pub use make::{Input, plan};
pub use model::*;
pub use pieces::{Proof, Reader, cut};
pub use preflight::preflight;
pub use report::{PlanReport, Refused, show_findings};
pub use show::show;
pub(crate) use text::names;
pub use text::show_duration;
