//! The whole command line with its lessons.

use super::args::Cli;
use super::exit::Exit;
use super::lessons::{EVERYWHERE, LESSONS};
use crate::{config, policy};
use clap::CommandFactory;
use replank_cli::Manual;

/// From which help, completions and man pages are made.
pub const MANUAL: Manual<Exit> = Manual {
    name: "replank-agent",
    command: Cli::command,
    lessons: LESSONS,
    everywhere: EVERYWHERE,
    files: &[
        (
            config::PATH,
            "Where things are, and who the coordinator is; files in conf.d beside it have the last word.",
        ),
        (policy::PATH, "What this host lets anybody command at all."),
        ("/var/lib/replank/identity", "The key and the certificate of this host, for root only."),
        ("/var/lib/replank", "The ledger, and what is kept for running guests and for the way back."),
    ],
};
