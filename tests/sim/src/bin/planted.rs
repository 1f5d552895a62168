//! `planted [SEEDS]`: the table of planted faults. Exit code 1: nothing caught one of them.

use anyhow::{Context, Result};
use replank_sim_tests::planted::{seek_all, table};
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let seeds = match std::env::args().nth(1) {
        Some(text) => text.parse().with_context(|| format!("`{text}` is no number of seeds"))?,
        None => 2_000,
    };
    // A panic of the code under test is a broken promise of its voyage.
    std::panic::set_hook(Box::new(|_| {}));
    let found = seek_all(0..seeds);
    print!("{}", table(&found));
    let holes: Vec<&str> =
        found.iter().filter(|sought| sought.caught.is_none()).map(|sought| sought.fault.name()).collect();
    println!("\n{} planted, {} caught; holes: {holes:?}", found.len(), found.len() - holes.len());
    Ok(if holes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
