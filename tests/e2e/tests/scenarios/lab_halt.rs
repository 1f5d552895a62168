//! The circuit breaker: one guest lost anywhere stops the whole fleet. And the way back from half of a voyage.

use super::LEFT_BY_DESIGN;
use anyhow::{Context, Result, ensure};
use replank_core::run::{Phase, Report, RunView};
use replank_e2e::{Field, FieldSpec, Fleet, RunRef};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIMIT: Duration = Duration::from_secs(400);
/// The step that runs on the canary when the guest dies: a long one.
const STEP: &str = "compute1.install-libvirt";

/// P1: a guest's qemu is killed on a host that only waits, while a step runs on another one. The run goes on once an operator has answered for
/// the loss, and is taken back from the canary hold.
#[test]
fn a_guest_killed_elsewhere_halts_the_fleet() -> Result<()> {
    let field = Field::up(&FieldSpec::new("t-halt", 3, 1))?;
    let before = field.worlds()?;
    let plan = field.plan(&Fleet::default())?;
    let run = field.apply(&plan)?;
    field.sail_to_hold(&run, "before-canary", LIMIT)?;
    field.replank(&["approve", &run.0, "before-canary"])?;
    field.wait(&run, LIMIT, "installs libvirt on the canary", |view| acts(view, STEP))?;

    let victim = field.lab.guests().last().context("no guests")?.1.clone();
    let host = field.lab.host("compute3")?;
    let pid = host.qemu_pid(&victim.name)?;
    let killed_ms = now_ms();
    host.must(&["kill", "-9", &pid.to_string()])?;
    field.wait(&run, Duration::from_secs(10), "halts", |view| view.phase == Phase::Halted)?;

    let report = field.report(&run)?;
    let halt = report.halts.first().context("the report has no halt")?;
    println!(
        "from `kill -9` to the halt: {} ms by this machine's clock",
        halt.halted_at_ms.saturating_sub(killed_ms)
    );
    let span_ms = halt.death_to_halt_ms.context("the report does not say how long it took")?;
    println!("from the death to the halt: {span_ms} ms by the report");
    ensure!(span_ms < 1_000 && halt.halted_at_ms < killed_ms + 1_000, "the halt came too late: {halt:?}");
    let why = field.replank(&["why", &run.0])?;
    println!("{why}");
    for named in [victim.name.as_str(), "compute3", STEP] {
        ensure!(why.contains(named), "`why` does not name {named}:\n{why}");
    }
    ensure!(field.refused(&["status", &run.0])?.exit == 7, "a halted run's status does not end with 7");

    // What was in flight is finished, and nothing follows it.
    field.see(&run, LIMIT, "has nothing in flight", |view| in_flight(view) == 0)?;
    let begun = begun(&field.report(&run)?);
    std::thread::sleep(Duration::from_secs(5));
    ensure!(begun == self::begun(&field.report(&run)?), "a step began after the halt");
    no_command_after_the_halt(&field, &run)?;

    // Nobody goes on over a loss without answering for it by name.
    let refused = field.refused(&["resume", &run.0])?;
    println!("{}", refused.said.trim());
    ensure!(refused.said.contains("RP3008") && refused.said.contains(&victim.name), "{}", refused.said);
    field.replank(&["resume", &run.0, "--acknowledge-lost", &victim.name])?;
    field.sail_to_hold(&run, "after-canary", LIMIT)?;

    field.roll_back(&run, LIMIT)?;
    let report = field.replank(&["report", &run.0])?;
    println!("{report}");
    ensure!(report.contains("guests lost: 1"), "the report does not count the loss");
    // The dead guest's scope went with it.
    let left = [&LEFT_BY_DESIGN[..], &["unitfile machine-qemu"]].concat();
    field.same_worlds(&before, &left)?;
    field.print_gaps(&[victim.id])
}

fn acts(view: &RunView, step: &str) -> bool {
    view.hosts
        .iter()
        .filter_map(|host| host.step.as_ref())
        .any(|at| at.id.as_str() == step && at.state.as_str() == "acting")
}

fn in_flight(view: &RunView) -> usize {
    view.hosts
        .iter()
        .filter_map(|host| host.step.as_ref())
        .filter(|step| matches!(step.state.as_str(), "acting" | "taking back"))
        .count()
}

fn begun(report: &Report) -> BTreeSet<String> {
    report
        .hosts
        .iter()
        .flat_map(|host| &host.steps)
        .filter(|step| step.state.as_str() != "waiting")
        .map(|step| step.id.to_string())
        .collect()
}

/// The journal has no command to do anything after the halt.
fn no_command_after_the_halt(field: &Field, run: &RunRef) -> Result<()> {
    let journal = field.refused(&["watch", &run.0, "--since", "1", "--json"])?;
    let lines: Vec<&str> = journal.document.lines().collect();
    let halted =
        lines.iter().position(|line| line.contains("\"halted\"")).context("the journal has no halt")?;
    let after: Vec<&&str> = lines[halted..].iter().filter(|line| line.contains("\"sent\"")).collect();
    ensure!(after.is_empty(), "commands left after the halt: {after:?}");
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
