//! Where a run is, how long still, and what exactly it waits for: for people, and as JSON.
//!
//! Made of the run's state and of what the leading process sees; decides nothing. The JSON form only grows.

mod build;
mod estimate;
mod model;
mod text;
mod waits;

pub use model::*;
