//! The command line of the agent.
//!
//! Owns what may be typed, how it is answered, and the exit codes. Data goes to standard output, everything else to standard error.
//! But for `run` and `enrol` it only reads.

pub mod args;
mod check_config;
mod enrol;
pub mod exit;
pub mod lessons;
pub mod manual;
mod table;
mod views;

use crate::config::Config;
use crate::daemon::{self, Assembly};
use crate::facts;
use crate::failure::Failure;
use args::{Cli, Command};
use clap::FromArgMatches;
use exit::Exit;
use manual::MANUAL;
use std::io::Write;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// Reads the command line, does what it says, and says how that ended.
pub fn main() -> ExitCode {
    let matches = match MANUAL.command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are data and no failure; clap knows which goes where.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match obey(cli) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            eprintln!("replank-agent: {failure}");
            Exit::from(&failure).into()
        }
    }
}

fn obey(cli: Cli) -> Result<(), Failure> {
    let config = || Config::load(&cli.config);
    match cli.command {
        Command::Run => {
            daemon::begin_log();
            let assembly = Assembly::of_this_host(config()?)?;
            let runtime = runtime()?;
            let ended = runtime.block_on(daemon::run(assembly));
            // What still blocks a thread, such as a client of libvirt, is not waited for.
            runtime.shutdown_background();
            ended
        }
        Command::Enrol(args) => {
            daemon::require_root("enrol")?;
            let said = runtime()?.block_on(enrol::enrol(&config()?, &args))?;
            print(&said)
        }
        Command::Census(args) => {
            daemon::require_root("census")?;
            let census = daemon::guests(&config()?)?.take();
            print(&if args.json { views::json(&census) } else { views::census(&census) })?;
            if census.agrees() { Ok(()) } else { Err(Failure::Disagreement) }
        }
        Command::Facts => {
            daemon::require_root("facts")?;
            let config = config()?;
            let guests = daemon::guests(&config)?;
            print(&views::json(&facts::collect(&daemon::host(&config, &guests)?)))
        }
        Command::Ledger(args) => {
            daemon::require_root("ledger")?;
            let entries = views::entries(&config()?.state_directory)?;
            print(&if args.json { views::json(&entries) } else { views::ledger(&entries) })
        }
        Command::CheckConfig => print(&check_config::say(&cli.config)?),
        Command::Completions(args) => write(&MANUAL.completions(args.shell)),
        Command::Man(args) => {
            let written = MANUAL.write_pages(&args.dir)?;
            eprintln!("{written} pages in {}", args.dir.display());
            Ok(())
        }
    }
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failure::system("threads"))
}

fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// A reader that has seen enough, such as `head`, is no failure.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
