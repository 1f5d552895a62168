//! The thinking part of the coordinator: pure functions over plain data.
//!
//! `fleet_file`, `inventory` and `catalog` are read into values; `plan` makes an immutable plan of them; `lint` reads finished plans with
//! other eyes; `gate` judges readings; `run` folds a journal into a state and says what to do next; `runs` is all that one
//! coordinator has in its hands, and what was sent on which link. Nothing here knows a runtime, a clock, a file system or a network: time and bytes are passed in.

pub mod catalog;
pub mod codes;
mod digest;
pub mod fleet_file;
pub mod gate;
pub mod inventory;
pub mod lint;
pub mod plan;
pub mod run;
pub mod runs;
