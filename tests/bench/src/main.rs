//! `bench`: measures planning, appending and resuming for a large fleet.

use anyhow::Result;
use clap::Parser;
use replank_bench::measure::{Wanted, measure};
use std::path::PathBuf;

/// Measures planning, appending and resuming for a large fleet, each beside something known.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    #[arg(long, default_value_t = 10_000)]
    hosts: u32,
    /// Guests on each host.
    #[arg(long, default_value_t = 20)]
    guests: u32,
    /// The binary whose restart is measured; the one beside this one when there is one.
    #[arg(long, value_name = "FILE")]
    replank: Option<PathBuf>,
    /// How often it is killed and started.
    #[arg(long, default_value_t = 5)]
    restarts: usize,
    /// The figures as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let Args { hosts, guests, replank, restarts, json } = Args::parse();
    let beside = std::env::current_exe()?.with_file_name("replank");
    let replank = replank.or_else(|| beside.is_file().then_some(beside));
    let wanted = Wanted { hosts, guests, replank, restarts };
    let figures = measure(&wanted, |what| eprintln!("{what} …"))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{figures}");
    }
    Ok(())
}
