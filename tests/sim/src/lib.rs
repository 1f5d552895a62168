//! Many voyages of the simulated fleet, one seed each, and their summary.
//!
//! Owns threads, the clock and the words of the summary. What a voyage is and what is judged on it is `replank-sim`'s.

pub mod many;
pub mod summary;
