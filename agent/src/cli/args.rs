//! What may be typed. One definition, from which the parser, `--help`, the completions and the man pages are made.

use crate::config::{self, Address};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueHint};
use replank_common::ids::HostName;
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The agent of one host: counts its guests, and performs what its coordinator commands and its own policy allows
#[derive(Debug, Parser)]
#[command(name = "replank-agent", version, styles = STYLES, max_term_width = 100, infer_long_args = false)]
pub struct Cli {
    /// The configuration; `conf.d` lies beside it
    #[arg(long, global = true, value_name = "FILE", default_value = config::PATH, value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent until it is told to stop
    Run,
    /// Trade a join token for this host's identity
    Enrol(EnrolArgs),
    /// Show what the four sources say of the guests now
    Census(JsonArgs),
    /// Print everything that is known of this host, as JSON
    Facts,
    /// List what was done on this host
    Ledger(JsonArgs),
    /// Read configuration and policy, and say what they mean
    CheckConfig,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Write the man pages
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// Where the coordinator is reached
    #[arg(long, value_name = "HOST:PORT")]
    pub coordinator: Address,
    /// The token that `replank host token` printed
    #[arg(long, value_name = "TOKEN", env = "REPLANK_TOKEN", hide_env_values = true)]
    pub token: String,
    /// The name that the token was made for [default: `host` of the configuration, else this machine's name]
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub host: Option<HostName>,
    /// Replace an identity that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct JsonArgs {
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder to write them to, made if it is not there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

fn host_name(text: &str) -> Result<HostName, String> {
    HostName::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// clap looks at the arguments of a subcommand when somebody types it; here it looks at all of them.
    #[test]
    fn every_argument_can_be_typed() {
        Cli::command().debug_assert();
    }
}
