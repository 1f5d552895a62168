//! `replank`: the operator's command line, and `replank serve`, the coordinator.

use std::process::ExitCode;

fn main() -> ExitCode {
    replank_coordinator::cli::main()
}
