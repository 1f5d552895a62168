//! `replank`: the operator's command line, and `replank serve`, the coordinator.

use std::process::ExitCode;

/// A start with a large fleet's run makes millions of small things in four threads, half of which are freed by another thread than made them:
/// glibc's allocator takes a fifth of the processor time for that (docs/bench.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    replank_coordinator::cli::main()
}
