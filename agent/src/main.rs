use std::process::ExitCode;

fn main() -> ExitCode {
    replank_agent::cli::main()
}
