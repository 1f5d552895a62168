//! What may be typed. One definition, from which the parser, `--help`, the completions and the man pages are made.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueHint};
use replank_ceph::redundancy::Daemon;
use replank_common::ids::{HoldId, HostName, PlanId, RunId, StepId};
use replank_core::plan::Stage;
use replank_identity::{Level, OperatorName};
use replank_sim::Profile;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Upgrade the layers below running guests, plank by plank, and prove that no guest was lost
///
/// Upgrade the layers below running guests, plank by plank, and prove that no guest was lost.
///
/// A fleet file says what the hosts are to become. `check` finds what stands in the way, `plan` computes every step, `apply` starts the
/// run, `watch` and `why` say where it is and what it waits for, `report` proves what became of each guest.
#[derive(Debug, Parser)]
#[command(name = "replank", version, styles = STYLES, max_term_width = 100, infer_long_args = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The operator's settings [default: ./operator.toml, then /etc/replank/operator.toml]
    #[arg(long, global = true, value_name = "FILE", env = "REPLANK_CONFIG", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no colours, also on a terminal (so does the variable NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a certificate authority, coordinator.toml and the first operator's certificate
    Init(InitArgs),
    /// Run the coordinator
    Serve(ServeArgs),
    /// Admit, list and revoke hosts
    #[command(subcommand)]
    Host(HostCommand),
    /// Make, list, revoke and renew operators' certificates
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// List every guest: where it runs, and on which qemu
    Guests,
    /// Collect the facts of every host into one JSON file
    Inventory(InventoryArgs),
    /// Find every blocker, with host, cause and remedy
    Check(CheckArgs),
    /// Compute the plan: every step, its order, its gates and the way back
    Plan(PlanArgs),
    /// Show a plan, or a run with its plan
    Show(ShowArgs),
    /// Read a finished plan with other eyes and find promises that it would break
    Lint(LintArgs),
    /// Try a plan on a simulated fleet where things go wrong; no host is touched
    Simulate(SimulateArgs),
    /// Start a run of a plan and print the run's id
    Apply(ApplyArgs),
    /// Show where a run is and how long it will still take
    Status(RunOrLatest),
    /// Follow a run until it ends or is halted
    Watch(WatchArgs),
    /// Say what exactly a run waits for, and what can be done about it
    Why(RunOrLatest),
    /// Approve a hold: let the run go past it
    Approve(ApproveArgs),
    /// Start no further step; what is in flight is finished
    Pause(RunArgs),
    /// Go on after a pause or a halt
    Resume(ResumeArgs),
    /// Try a held step again
    Retry(RetryArgs),
    /// End a run where it is and give back what it borrowed
    Abort(RunArgs),
    /// Take a run's steps back, from their records
    Rollback(RollbackArgs),
    /// Show what was done, how long it took, and the proof per guest
    Report(ReportArgs),
    /// List all runs
    Runs,
    /// Say what of a Ceph cluster may stop, from its own documents
    #[command(subcommand)]
    Ceph(CephCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Write the man pages
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The coordinator's folder; must be empty or not be there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// A DNS name or IP address under which agents and operators reach the coordinator; the first one goes into operator.toml
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// Where the coordinator will listen for agents and operators
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7443")]
    pub listen: SocketAddr,
    /// Where Prometheus will read the coordinator's metrics, without TLS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9748")]
    pub metrics: SocketAddr,
    /// The first operator, an admin
    #[arg(long, value_name = "NAME", default_value = "admin", value_parser = OperatorName::new)]
    pub operator: OperatorName,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The coordinator's folder, as `replank init` made it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Make a join token: one host, one use, expires
    Token(TokenArgs),
    /// List the hosts: linked or not, agent, guests, certificate
    List,
    /// Revoke a host's certificates and cut its link
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The host that may join with the token
    pub name: HostName,
    /// For how long the token can be used
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    pub minutes: u32,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The host to shut out
    pub name: HostName,
}

#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make the key and certificate of another operator
    Add(OperatorAddArgs),
    /// List the operators: level, state, until when
    List,
    /// Revoke every certificate of an operator and end what it watches
    Revoke(OperatorRevokeArgs),
    /// Renew your own certificate, in the file that operator.toml names
    Renew,
}

#[derive(Debug, Args)]
pub struct OperatorAddArgs {
    /// The new operator: lower-case letters, digits and . _ - @
    #[arg(value_parser = OperatorName::new)]
    pub name: OperatorName,
    /// What it may do; each level includes the one before it
    #[arg(long, value_name = "LEVEL", value_parser = level_parser())]
    pub level: Level,
    /// Write the new key with its certificate to this file, which must not be there
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Also write the settings that go with it, and the authority's certificate beside them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub settings: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct OperatorRevokeArgs {
    /// The operator to shut out
    #[arg(value_parser = OperatorName::new)]
    pub name: OperatorName,
}

#[derive(Debug, Args)]
pub struct InventoryArgs {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// How long to wait for hosts that are slow to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub deadline: u32,
}

/// What check and plan look at.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The fleet file: what the hosts are to become
    #[arg(short, long = "fleet", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub fleet: PathBuf,
    /// Look at this inventory instead of asking the coordinator; then no connection is made
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub inventory: Option<PathBuf>,
    /// A hop file of your own, beside those that are built in; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub catalog: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Write the plan file that `replank apply` takes
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// The plan that this one continues: a plan file or a plan's id
    #[arg(long, value_name = "PLAN")]
    pub parent: Option<PlanRef>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A plan file, a plan's id (sha256:…) or a run's id (run-…)
    #[arg(value_name = "PLAN|RUN")]
    pub what: PlanOrRun,
}

#[derive(Debug, Args)]
pub struct LintArgs {
    /// A plan file or a plan's id (sha256:…)
    pub plan: PlanRef,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// A plan file or a plan's id (sha256:…)
    pub plan: PlanRef,
    /// Of a Ceph cluster: the inventory that the plan was made from; without it, placement groups are laid by chance
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// What everything is drawn from: the same seed is the same run, to the byte
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// What goes wrong, and how often
    #[arg(long, value_name = "PROFILE", default_value = "rough", long_help = faults_help())]
    pub faults: String,
    /// So many runs, from SEED on, and how they ended in sum
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub seeds: u32,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A plan file, or the id (sha256:…) of a plan that the coordinator has
    pub plan: PlanRef,
    /// Follow the run until it ends or is halted
    #[arg(long)]
    pub watch: bool,
    /// With --watch: end with code 8 when the run waits for an operator
    #[arg(long, requires = "watch")]
    pub until_hold: bool,
}

#[derive(Debug, Args)]
pub struct RunOrLatest {
    /// The run; the latest one if it is left out
    pub run: Option<RunId>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run, as `replank runs` lists it
    pub run: RunId,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The run; the latest one if it is left out
    pub run: Option<RunId>,
    /// Begin with this event of the run's journal; they count from 1
    #[arg(long, value_name = "INDEX", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub since: u64,
    /// End with code 8 when the run waits for an operator
    #[arg(long)]
    pub until_hold: bool,
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The run, as `replank runs` lists it
    pub run: RunId,
    /// The hold, as `replank status` lists it
    pub hold: HoldId,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run, as `replank runs` lists it
    pub run: RunId,
    /// Guests that were lost or run twice, each by UUID or name as `replank why` names it: you answer for them
    #[arg(long, value_name = "GUEST", num_args = 1..)]
    pub acknowledge_lost: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The run, as `replank runs` lists it
    pub run: RunId,
    /// The step that is held, as `replank why` names it
    pub step: StepId,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The run, as `replank runs` lists it
    pub run: RunId,
    /// The last stage that stays done; everything is taken back if it is left out
    #[arg(long, value_name = "STAGE", value_parser = stage_parser())]
    pub to: Option<Stage>,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run, as `replank runs` lists it
    pub run: RunId,
    /// A JSON object from guests (UUID or name) to their longest gap between beats, in ms or as text; becomes a column
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub beats: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum CephCommand {
    /// Say whether these OSDs and MONs may stop at once, and if not, which placement groups object
    SafeToStop(SafeToStopArgs),
    /// Cut all OSDs into the fewest sets that may stop one after another
    Waves(WavesArgs),
}

/// What the cluster says of itself.
#[derive(Debug, Args)]
pub struct CephFiles {
    /// The output of `ceph pg dump --format json`, taken before the OSD map
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pg_dump: PathBuf,
    /// The output of `ceph osd dump --format json`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub osd_dump: PathBuf,
    /// The output of `ceph osd tree --format json`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub osd_tree: Option<PathBuf>,
    /// The output of `ceph quorum_status --format json`: with it, MONs are looked at too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub quorum: Option<PathBuf>,
    /// A pool whose thin redundancy you accept for the while: size 1 or 2, or an erasure code that mends one loss
    #[arg(long, value_name = "POOL")]
    pub consent: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SafeToStopArgs {
    #[command(flatten)]
    pub files: CephFiles,
    /// What is to stop: osd.1 mon.a
    #[arg(value_name = "DAEMON", required = true)]
    pub daemons: Vec<Daemon>,
}

#[derive(Debug, Args)]
pub struct WavesArgs {
    #[command(flatten)]
    pub files: CephFiles,
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

/// A plan: by its file or by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanRef {
    File(PathBuf),
    Id(PlanId),
}

/// What `show` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanOrRun {
    Plan(PlanRef),
    Run(RunId),
}

impl FromStr for PlanRef {
    type Err = Infallible;
    /// What has the form of an id is one; `./sha256:…` names a file of that name.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(PlanId::new(text).map_or_else(|_| Self::File(text.into()), Self::Id))
    }
}

impl FromStr for PlanOrRun {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        match RunId::new(text) {
            Ok(run) => Ok(Self::Run(run)),
            Err(_) => text.parse().map(Self::Plan),
        }
    }
}

fn faults_help() -> String {
    let known = Profile::NAMES.iter().filter_map(|name| Some((name, Profile::describe(name)?)));
    let lines = known.map(|(name, described)| format!("\n- {name}: {described}"));
    format!("What goes wrong, and how often:\n{}", lines.collect::<String>())
}

fn level_parser() -> impl clap::builder::TypedValueParser<Value = Level> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(["viewer", "operator", "admin"]).try_map(|word| word.parse::<Level>())
}

fn stage_parser() -> impl clap::builder::TypedValueParser<Value = Stage> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(Stage::ALL.map(Stage::as_str)).try_map(|word| {
        Stage::ALL.into_iter().find(|stage| stage.as_str() == word).ok_or("no stage of that name")
    })
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
