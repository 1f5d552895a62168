//! The table, as Markdown.

use super::catcher::{Catcher, catcher};
use replank_common::planted::Planted;
use std::fmt::Write;

/// Between these two lines of `docs/planted-faults.md` stands the table.
pub const BEGIN: &str = "<!-- begin: `make planted` writes this table -->";
pub const END: &str = "<!-- end -->";

pub const HEAD: &str = "| planted | promise | where | what it breaks | caught by | after seeds |";

/// What became of one planted fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    pub fault: Planted,
    /// `None`: nothing caught it, which is a hole in the tests.
    pub caught: Option<Caught>,
}

/// How a fault was caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caught {
    /// By the first voyage that broke.
    Seed {
        /// How many seeds it took.
        seeds: u64,
        /// Of the promise that was seen broken.
        by: &'static str,
        text: String,
    },
    /// By its test, which has no seeds.
    Test,
}

pub fn table(found: &[Sought]) -> String {
    let mut text = format!("{HEAD}\n| --- | --- | --- | --- | --- | --- |\n");
    for sought in found {
        writeln!(text, "{}", row(sought)).expect("a string takes text");
    }
    text
}

/// One line of the table.
pub fn row(Sought { fault, caught }: &Sought) -> String {
    let (by, seeds) = match (caught, catcher(*fault)) {
        (Some(Caught::Seed { seeds, by, text }), _) => {
            (format!("storms, {by}: {}", short(text)), seeds.to_string())
        }
        (Some(Caught::Test), Catcher::Test(test)) => (format!("`{test}`"), "at once".to_owned()),
        (Some(Caught::Test), Catcher::Storms) => ("a test".to_owned(), "at once".to_owned()),
        (None, _) => ("**nothing**".to_owned(), "—".to_owned()),
    };
    let places: Vec<String> = fault.places().iter().map(|place| format!("`{place}`")).collect();
    let (name, promise, breaks) = (fault.name(), fault.promise(), fault.breaks());
    format!("| {name} | {promise} | {} | {breaks} | {by} | {seeds} |", places.join(", "))
}

fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().replace('|', "\\|");
    let mut short: String = line.chars().take(100).collect();
    if line.chars().count() > 100 {
        short.push('…');
    }
    short
}
