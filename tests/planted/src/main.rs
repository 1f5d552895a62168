//! `planted`: the table of planted faults. Exit code 1: nothing caught one of them.

use anyhow::{Context, Result, bail};
use clap::Parser;
use replank_common::planted::Planted;
use replank_planted::{BEGIN, END, seek::seek, table};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Plants one fault after the other, and says which test catches it. Exit code 0: each was caught; 1: one was not.
#[derive(Debug, Parser)]
#[command(name = "planted")]
struct Args {
    /// How many seeds a storm may take to catch a fault.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// Only these faults.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Write the table into this document too, between its marks.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    write: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let faults = chosen(&args.only)?;
    // A panic of the code under test is a broken promise of its voyage.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let found = seek(&faults, args.seeds)?;
    let table = table(&found);
    print!("{table}");
    let holes: Vec<&str> =
        found.iter().filter(|sought| sought.caught.is_none()).map(|sought| sought.fault.name()).collect();
    println!(
        "\n{} planted, {} caught, in {} s",
        found.len(),
        found.len() - holes.len(),
        began.elapsed().as_secs()
    );
    if let Some(path) = args.write {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let written =
            put(&text, &table).with_context(|| format!("{} has no place for it", path.display()))?;
        std::fs::write(&path, written).with_context(|| format!("failed to write {}", path.display()))?;
    }
    if holes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("nothing catches {}: mend the tests, or the fault if it breaks nothing", holes.join(", "));
    Ok(ExitCode::FAILURE)
}

fn chosen(names: &[String]) -> Result<Vec<Planted>> {
    for name in names {
        if !Planted::ALL.iter().any(|fault| fault.name() == name) {
            bail!("there is no planted fault `{name}`; see docs/planted-faults.md");
        }
    }
    let all = Planted::ALL.iter().copied();
    Ok(all.filter(|fault| names.is_empty() || names.iter().any(|name| name == fault.name())).collect())
}

fn put(document: &str, table: &str) -> Option<String> {
    let (head, rest) = document.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{table}{END}{tail}"))
}
