//! The whole command line with its lessons.

use super::args::Cli;
use super::exit::Exit;
use super::lessons::{EVERYWHERE, LESSONS};
use clap::CommandFactory;
use replank_cli::Manual;

/// From which help, completions and man pages are made.
pub const MANUAL: Manual<Exit> = Manual {
    name: "replank",
    command: Cli::command,
    lessons: LESSONS,
    everywhere: EVERYWHERE,
    files: &[
        (
            "./operator.toml",
            "The operator's settings, when neither --config nor REPLANK_CONFIG names others.",
        ),
        ("/etc/replank/operator.toml", "The settings when there is none in the working directory."),
    ],
};
