//! May these OSDs stop? Answered from the placement groups themselves (P10).
//!
//! **The rule.** A set S may stop if every placement group that has a member in S, now or where CRUSH wants it, is in service and keeps
//! `max(min_size, d)` complete copies on OSDs that are up and not in S. A copy is complete when the documents say that it misses
//! nothing. d is what keeps the data safe when, meanwhile, one more disk dies:
//!
//! | pool | d |
//! | --- | --- |
//! | replicated, size 3 and more | 2 |
//! | replicated, size 2 | 1, and only with the operator's consent |
//! | replicated, size 1 | 0, and only with consent: it is an outage and called one |
//! | erasure-coded, mends 2 losses and more | k + 1 (size − losses + 1) |
//! | erasure-coded, mends 1 loss | k, and only with consent |
//!
//! `min_size` alone would not do: it is about availability, and old releases set it to k for erasure-coded pools, so that a set that leaves no
//! redundancy at all would pass.
//!
//! Nothing stops while an OSD outside S is down and data is placed on it, or while a group is missing from the list. `need` has the table above, `copies`
//! judges what a group's report is worth, `judge` applies the rule, `objection` says it to people and machines. `ceph osd ok-to-stop` is
//! never asked: Hammer and Jewel have none, and later ones count availability.

mod copies;
mod judge;
mod names;
mod need;
mod objection;
mod text;

pub use judge::*;
pub use names::*;
pub use need::*;
pub use objection::*;
pub(super) use text::list;
pub use text::{objections_in_a_line, show_objection, show_objections, show_verdict};
