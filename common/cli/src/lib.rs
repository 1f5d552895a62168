//! What the command lines of both programs are made of.
//!
//! Owns how an exit code is defined once, and how help, completions and man pages come from one definition of the command line. Knows no
//! command: those are the programs'.

mod exit;
mod lesson;
mod manual;

pub use exit::Ending;
pub use lesson::Lesson;
pub use manual::{Manual, PageError};
