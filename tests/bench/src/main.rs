//! `bench`: measures planning, appending and resuming for a large fleet, and the waves of a large Ceph cluster.

use anyhow::Result;
use clap::{Parser, Subcommand};
use replank_bench::ceph;
use replank_bench::measure::{Wanted, measure};
use serde::Serialize;
use std::fmt::Display;
use std::path::PathBuf;

/// As in the release's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures large fleets and clusters, each figure beside something known.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    #[command(subcommand)]
    of: Of,
    /// The figures as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Of {
    /// Planning, appending and resuming for a large fleet.
    Fleet {
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
    },
    /// The waves in which all OSDs of a large Ceph cluster may stop.
    Ceph {
        #[arg(long, default_value_t = 10_000)]
        osds: u32,
        /// Placement groups.
        #[arg(long, default_value_t = 500_000)]
        groups: u32,
    },
}

fn main() -> Result<()> {
    let Args { of, json } = Args::parse();
    match of {
        Of::Fleet { hosts, guests, replank, restarts } => {
            let beside = std::env::current_exe()?.with_file_name("replank");
            let replank = replank.or_else(|| beside.is_file().then_some(beside));
            let wanted = Wanted { hosts, guests, replank, restarts };
            show(&measure(&wanted, |what| eprintln!("{what} …"))?, json)
        }
        Of::Ceph { osds, groups } => show(&ceph::measure(osds, groups)?, json),
    }
}

fn show(figures: &(impl Serialize + Display), json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(figures)?);
    } else {
        print!("{figures}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// clap looks at the arguments of a subcommand when somebody types it; here it looks at all of them.
    #[test]
    fn every_argument_can_be_typed() {
        Args::command().debug_assert();
    }
}
