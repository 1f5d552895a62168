//! The operator's command line.
//!
//! Owns what may be typed, how it is answered, and the exit codes. Decides nothing: plans, checks, views and reports are computed and
//! worded by the core, runs are carried by the coordinator. Data goes to standard output, everything else to standard error.

pub mod args;
mod beats;
mod ceph;
pub mod codes;
mod connect;
mod event_text;
pub mod exit;
mod failure;
pub use failure::chain;
mod files;
mod hosts;
pub mod lessons;
mod local;
pub mod manual;
mod offline;
mod operators;
mod output;
mod progress;
mod runs;
mod settings;
mod simulate;
mod watch;

use args::{
    CephCommand, Cli, Command, HostCommand, OperatorCommand, PlanArgs, PlanOrRun, PlanRef, SourceArgs,
};
use clap::FromArgMatches;
use connect::Coordinator;
use exit::Exit;
use failure::Failure;
use manual::MANUAL;
use offline::Fleet;
use output::Output;
use replank_core::inventory::Inventory;
use runs::Decision;
use settings::Operator;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Once;
use watch::Wanted;

/// How long check and plan wait for hosts that are slow to give their facts.
const FACTS_DEADLINE_S: u32 = 60;

/// Reads the command line, does what it says, and says how that ended.
pub fn main() -> ExitCode {
    let asked = std::env::args_os().any(|word| word == "--no-color");
    let color = if asked { clap::ColorChoice::Never } else { clap::ColorChoice::Auto };
    let matches = match MANUAL.command().color(color).try_get_matches() {
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
    let out = Output::new(cli.global.json, cli.global.no_color);
    match run(out, cli) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            out.failure(&failure);
            failure.exit().into()
        }
    }
}

fn run(out: Output, cli: Cli) -> Result<(), Failure> {
    let config = cli.global.config.as_deref();
    match &cli.command {
        Command::Init(args) => local::init(out, args),
        Command::Serve(args) => local::serve(args),
        Command::Completions(args) => out.bytes(&MANUAL.completions(args.shell)),
        Command::Man(args) => {
            let pages = MANUAL.write_pages(&args.dir)?;
            out.note(&format!("{} in `{}`", failure::count(pages, "page"), args.dir.display()));
            Ok(())
        }
        Command::Check(args) => {
            let fleet = Fleet::read(&args.source)?;
            offline::check(out, &fleet, &inventory(out, config, &args.source)?)
        }
        Command::Plan(args) => plan(out, config, args),
        Command::Show(args) => match &args.what {
            PlanOrRun::Plan(PlanRef::File(path)) => offline::show(out, &files::plan(path)?),
            what => online(out, config, async |coordinator| runs::show(out, coordinator, what).await),
        },
        Command::Ceph(CephCommand::SafeToStop(args)) => ceph::safe_to_stop(out, args),
        Command::Ceph(CephCommand::Waves(args)) => ceph::waves(out, args),
        Command::Lint(args) => offline::lint_plan(out, &plan_file(out, config, &args.plan)?),
        Command::Simulate(args) => {
            // A bad profile is told before a connection is tried.
            let profile = simulate::profile(&args.faults)?;
            simulate::simulate(out, args, &profile, &plan_file(out, config, &args.plan)?)
        }
        Command::Apply(args) => {
            // A bad plan file is told before a connection is tried.
            if let PlanRef::File(path) = &args.plan {
                offline::sound(out, &files::plan(path)?.plan)?;
            }
            online(out, config, async |coordinator| {
                let run = runs::apply(out, coordinator, args).await?;
                if !args.watch {
                    return Ok(());
                }
                let wanted = Wanted { since: 1, until_hold: args.until_hold, completed: true };
                watch::follow(out, coordinator, Some(&run), wanted).await
            })
        }
        Command::Operator(OperatorCommand::Add(args)) => {
            let own = known(out, config)?;
            block_on(operators::add(out, &own, args))
        }
        Command::Operator(OperatorCommand::Renew) => {
            let own = settings::load(config)?;
            block_on(operators::renew(out, &own))
        }
        command => online(out, config, async |coordinator| ask(out, coordinator, command).await),
    }
}

/// The commands that do nothing without a coordinator.
async fn ask(out: Output, coordinator: &Coordinator, command: &Command) -> Result<(), Failure> {
    let decide = async |run, decision| runs::decide(out, coordinator, run, decision).await;
    match command {
        Command::Host(HostCommand::Token(args)) => hosts::token(out, coordinator, args).await,
        Command::Host(HostCommand::List) => hosts::list(out, coordinator).await,
        Command::Host(HostCommand::Revoke(args)) => hosts::revoke(out, coordinator, &args.name).await,
        Command::Operator(OperatorCommand::List) => operators::list(out, coordinator).await,
        Command::Operator(OperatorCommand::Revoke(args)) => {
            operators::revoke(out, coordinator, &args.name).await
        }
        Command::Guests => hosts::guests(out, coordinator).await,
        Command::Inventory(args) => hosts::inventory(out, coordinator, args).await,
        Command::Status(args) => runs::status(out, coordinator, args.run.as_ref()).await,
        Command::Why(args) => runs::why(out, coordinator, args.run.as_ref()).await,
        Command::Watch(args) => {
            let wanted = Wanted { since: args.since, until_hold: args.until_hold, completed: false };
            watch::follow(out, coordinator, args.run.as_ref(), wanted).await
        }
        Command::Approve(args) => decide(&args.run, Decision::Approve(&args.hold)).await,
        Command::Pause(args) => decide(&args.run, Decision::Pause).await,
        Command::Resume(args) => decide(&args.run, Decision::Resume(&args.acknowledge_lost)).await,
        Command::Retry(args) => decide(&args.run, Decision::Retry(&args.step)).await,
        Command::Abort(args) => decide(&args.run, Decision::Abort).await,
        Command::Rollback(args) => decide(&args.run, Decision::Rollback(args.to)).await,
        Command::Report(args) => runs::report(out, coordinator, args).await,
        Command::Runs => runs::list(out, coordinator).await,
        Command::Init(_)
        | Command::Serve(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Check(_)
        | Command::Plan(_)
        | Command::Show(_)
        | Command::Ceph(_)
        | Command::Lint(_)
        | Command::Simulate(_)
        | Command::Apply(_)
        | Command::Operator(OperatorCommand::Add(_) | OperatorCommand::Renew) => {
            unreachable!("answered before a connection is made")
        }
    }
}

fn plan(out: Output, config: Option<&Path>, args: &PlanArgs) -> Result<(), Failure> {
    let fleet = Fleet::read(&args.source)?;
    let parent = args.parent.as_ref().map(|parent| plan_file(out, config, parent)).transpose()?;
    let inventory = inventory(out, config, &args.source)?;
    offline::plan(out, args, &fleet, &inventory, parent.as_ref())
}

fn plan_file(out: Output, config: Option<&Path>, plan: &PlanRef) -> Result<files::PlanFile, Failure> {
    match plan {
        PlanRef::File(path) => files::plan(path),
        PlanRef::Id(_) => online(out, config, async |coordinator| runs::plan(coordinator, plan).await),
    }
}

/// From the file that is named, else from the hosts.
fn inventory(out: Output, config: Option<&Path>, source: &SourceArgs) -> Result<Inventory, Failure> {
    match &source.inventory {
        Some(path) => files::inventory(path),
        None => online(out, config, async |coordinator| {
            hosts::collect(out, coordinator, FACTS_DEADLINE_S).await.map(|(inventory, _)| inventory)
        }),
    }
}

/// Runs `work` with a connection.
fn online<T>(
    out: Output,
    config: Option<&Path>,
    work: impl AsyncFnOnce(&Coordinator) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let own = known(out, config)?;
    block_on(async {
        let coordinator = Coordinator::dial(&own).await?;
        work(&coordinator).await
    })
}

/// Who asks. A certificate that ends soon is told of, once.
fn known(out: Output, config: Option<&Path>) -> Result<Operator, Failure> {
    static TOLD: Once = Once::new();
    let own = settings::load(config)?;
    if let Some(warning) = own.warning(settings::now()) {
        TOLD.call_once(|| out.note(&warning));
    }
    Ok(own)
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Unexpected(format!("failed to start: {error}")))?;
    runtime.block_on(work)
}
