//! `sim`: sails seeds of the simulated fleet and says what was injected, what was checked and what broke.

use anyhow::{Context, Result, bail};
use clap::Parser;
use replank_sim::{Profile, Voyage, replay, scale};
use replank_sim_tests::many::{self, Sailed};
use replank_sim_tests::summary::{self, Summary};
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Sails seeds of the simulated fleet. Exit code 0: every promise was kept; 1: one was broken.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many at once; as many as there are cores.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Sail this one seed again, and print everything that happened.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "fleet"])]
    replay: Option<u64>,
    /// Sail one voyage of a fleet of this size instead, such as 10000x20: hosts, and guests on each.
    #[arg(long, value_name = "HOSTSxGUESTS", value_parser = size, conflicts_with = "seeds")]
    fleet: Option<(usize, u32)>,
    /// What goes wrong on the voyage of `--fleet`.
    #[arg(long, value_name = "PROFILE", default_value = "rough", value_parser = Profile::NAMES)]
    faults: String,
    /// The summary as JSON.
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> Result<(usize, u32), String> {
    let (hosts, guests) = text.split_once('x').ok_or("give it as HOSTSxGUESTS, such as 10000x20")?;
    let hosts = hosts.parse().map_err(|error| format!("hosts: {error}"))?;
    if hosts == 0 {
        return Err("a fleet has at least one host".to_owned());
    }
    Ok((hosts, guests.parse().map_err(|error| format!("guests: {error}"))?))
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // A panic of the code under test is a broken promise of its voyage, and is told there.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let mut summary = Summary::new();
    if let Some(seed) = args.replay {
        let voyage = replay(seed);
        for line in &voyage.trace {
            println!("{line}");
        }
        println!("seed {seed} {}; journal {}", voyage.ended, voyage.journal);
        return Ok(one(&voyage));
    }
    if let Some((hosts, guests)) = args.fleet {
        let Some(profile) = Profile::named(&args.faults) else {
            bail!("there is no profile {}; there are {}", args.faults, Profile::NAMES.join(", "));
        };
        let voyage = scale(hosts, guests, &profile, args.first);
        let ended = format!("the voyage {}", voyage.ended);
        let code = one(&voyage);
        summary.add(&Sailed { voyage, took: began.elapsed() });
        print(&summary, began.elapsed(), args.json)?;
        if !args.json {
            println!("{ended}\npeak memory: {} MiB", peak_kib()? / 1024);
        }
        return Ok(code);
    }
    let end = args.first.checked_add(args.seeds).context("there are not so many seeds after the first")?;
    let terminal = std::io::stderr().is_terminal();
    many::sail(args.first..end, args.threads.unwrap_or_else(many::all_cores), |sailed| {
        if let Some(broken) = summary.add(&sailed) {
            eprintln!("{broken}");
        }
        if terminal && summary.seeds.is_multiple_of(100) {
            eprint!("\r{} of {} seeds", summary.seeds, args.seeds);
        }
    });
    if terminal {
        eprint!("\r\x1b[K");
    }
    print(&summary, began.elapsed(), args.json)?;
    Ok(if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(voyage: &Voyage) -> ExitCode {
    match summary::broken(voyage) {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            eprintln!("{}: {}", broken.promise, broken.text);
            ExitCode::FAILURE
        }
    }
}

fn print(summary: &Summary, wall: Duration, json: bool) -> Result<()> {
    let text = if json { serde_json::to_string_pretty(summary)? + "\n" } else { summary.text(wall) };
    std::io::stdout().write_all(text.as_bytes()).context("failed to print the summary")
}

/// The most memory that this process had, in KiB (`getrusage(2)`, `ru_maxrss`).
fn peak_kib() -> Result<i64> {
    use nix::sys::resource::{UsageWho, getrusage};
    Ok(getrusage(UsageWho::RUSAGE_SELF).context("failed to read the memory used")?.max_rss())
}
