//! P4, P9: the coordinator dies around every kind of append to its journal, in the middle of a real voyage.

use super::LEFT_BY_DESIGN;
use anyhow::{Context, Result, bail, ensure};
use replank_core::run::{Phase, RunView};
use replank_e2e::ledger::{self, HostRecord};
use replank_e2e::{Field, FieldSpec, Fleet, RunRef};
use std::path::Path;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(1_500);
/// What is appended on the way there and on the way back, whatever else it is appended with.
const APPENDED: [&str; 11] = [
    "led",
    "baseline",
    "sent",
    "outcome",
    "step-done",
    "hold-reached",
    "approved",
    "closing",
    "rollback-asked",
    "rollback-begun",
    "finished",
];

const AROUND: [&str; 3] = ["journal.append.before", "journal.append.uncommitted", "journal.append.after"];
/// What comes often enough to be died over after the commit and, another time, after the sending.
const SENT: [&str; 2] = ["sent", "outcome"];

/// The coordinator aborts before, within and after the commit of each kind of append, and after the sending, the first time that it comes there; each
/// time it is started again and the run goes on to the same end, there and back. `REPLANK_SWEEP=every`: of each single append, which takes a
/// quarter of an hour.
#[test]
fn around_every_append_to_the_journal() -> Result<()> {
    let mut field = Field::up(&FieldSpec::new("t-coord-dies", 1, 2))?;
    let plan = field.plan(&Fleet::default())?;
    let before = field.worlds()?;
    let was = HostRecord::of(field.first()?)?;
    let deaths = field.path("deaths");
    field.coordinator.kill()?;
    field.coordinator.set_environment("REPLANK_CRASH_ONCE_FILE", &deaths.to_string_lossy());
    field.coordinator.start_unasked(&field.lab)?;

    let mut lives = Lives { every: std::env::var("REPLANK_SWEEP").as_deref() == Ok("every"), died: 0 };
    let deadline = Instant::now() + LIMIT;
    let began = Instant::now();
    let run = lives.until(&mut field, &deaths, deadline, |field| begin(field, &plan))?;
    let view = lives.until(&mut field, &deaths, deadline, |field| go_on(field, &run))?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    let there = lives.died;
    println!("there: {there} deaths in {} s", began.elapsed().as_secs());
    once_each(&field, &was, HostRecord::THERE)?;
    println!("{}", field.replank(&["report", &run.0])?);

    let began = Instant::now();
    lives.until(&mut field, &deaths, deadline, |field| go_back(field, &run))?;
    println!("back: {} deaths in {} s", lives.died - there, began.elapsed().as_secs());
    once_each(&field, &was, HostRecord::THERE_AND_BACK)?;
    field.same_worlds(&before, &LEFT_BY_DESIGN)?;

    let swept = std::fs::read_to_string(&deaths)?;
    println!("boundaries swept:\n{swept}");
    let around = APPENDED.iter().flat_map(|wanted| AROUND.map(|boundary| (boundary, *wanted)));
    for (boundary, wanted) in around.chain(SENT.map(|wanted| ("drive.sent", wanted))) {
        ensure!(
            swept.lines().any(|line| line.starts_with(&format!("{boundary} ")) && names(line, wanted)),
            "the coordinator did not die at `{boundary}` with {wanted}"
        );
    }
    field.print_gaps(&[])
}

/// By the ledger and by the host's own logs.
fn once_each(field: &Field, was: &HostRecord, wanted: HostRecord) -> Result<()> {
    let host = field.first()?;
    let record = HostRecord::of(host)?.since(was);
    ensure!(record == wanted, "something was done twice: {record:?}");
    for ((step, direction), times) in ledger::carried_out(host)? {
        ensure!(times == 1, "{step} was carried out {times} times ({direction})");
    }
    Ok(())
}

fn names(line: &str, event: &str) -> bool {
    line.split(' ').skip(1).any(|word| word == event)
}

struct Lives {
    every: bool,
    died: usize,
}

impl Lives {
    /// Starts the coordinator as often as it dies, until `step` has what it wants.
    fn until<T>(
        &mut self,
        field: &mut Field,
        deaths: &Path,
        deadline: Instant,
        step: impl Fn(&Field) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if let Some(status) = field.coordinator.ended()? {
                use std::os::unix::process::ExitStatusExt;
                ensure!(
                    status.signal() == Some(6),
                    "the coordinator ended by itself ({status}):\n{}",
                    field.coordinator.log_tail()
                );
                self.died += 1;
                if self.every {
                    forget_what_is_swept(deaths)?;
                }
                field.coordinator.start_unasked(&field.lab)?;
            }
            if let Some(found) = step(field)? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("not done after {} deaths:\n{}", self.died, field.coordinator.log_tail());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A kind of append whose three boundaries were met is met again at its next event; but not what every life begins with.
fn forget_what_is_swept(deaths: &Path) -> Result<()> {
    let text = std::fs::read_to_string(deaths)?;
    let Some(last) = text.lines().last().and_then(|line| line.strip_prefix("journal.append.after ")) else {
        return Ok(());
    };
    if names(&format!(". {last}"), "led") {
        return Ok(());
    }
    let kept: String = text
        .lines()
        .filter(|line| line.split_once(' ').is_none_or(|(_, kinds)| kinds != last))
        .map(|line| format!("{line}\n"))
        .collect();
    Ok(std::fs::write(deaths, kept)?)
}

/// The run, once the coordinator has begun it. One that died over it may have begun it or not: the list of runs tells.
fn begin(field: &Field, plan: &str) -> Result<Option<RunRef>> {
    let listed = field.coordinator.replank(&field.lab, &["runs", "--json"])?;
    if !listed.status.success() {
        return Ok(None);
    }
    let runs: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
    let runs = runs["runs"].as_array().context("no list of runs")?;
    ensure!(runs.len() <= 1, "the plan was begun twice: {runs:?}");
    if let Some(run) = runs.first().and_then(|run| run["run"].as_str()) {
        return Ok(Some(RunRef(run.to_owned())));
    }
    // Whatever becomes of it is seen in the list.
    field.coordinator.replank(&field.lab, &["apply", plan])?;
    Ok(None)
}

/// Approves what waits; gives the view once the run has ended.
fn go_on(field: &Field, run: &RunRef) -> Result<Option<RunView>> {
    let Some(view) = field.view(run)? else { return Ok(None) };
    if view.phase.is_end() {
        return Ok(Some(view));
    }
    ensure!(
        !matches!(view.phase, Phase::Halted | Phase::Held),
        "the run is {}:\n{}",
        view.phase,
        field.trouble(run)
    );
    for hold in view.holds.iter().filter(|hold| hold.reached_ms.is_some() && hold.approved.is_none()) {
        // The coordinator may die over it, before or after it was written down.
        field.coordinator.replank(&field.lab, &["approve", &run.0, hold.id.as_str()])?;
    }
    Ok(None)
}

/// Asks for the rollback until it has begun; gives the view once all is as it was.
fn go_back(field: &Field, run: &RunRef) -> Result<Option<RunView>> {
    let Some(view) = field.view(run)? else { return Ok(None) };
    match view.phase {
        Phase::RolledBack => return Ok(Some(view)),
        // The coordinator may die over it, before or after it was written down.
        Phase::Completed => drop(field.coordinator.replank(&field.lab, &["rollback", &run.0])?),
        Phase::Halted | Phase::Held | Phase::Aborted => {
            bail!("the run is {} on the way back:\n{}", view.phase, field.trouble(run))
        }
        Phase::Counting
        | Phase::Running
        | Phase::AtHold
        | Phase::Paused
        | Phase::AskingWayBack
        | Phase::RollingBack
        | Phase::Aborting
        | Phase::Closing => {}
    }
    ensure!(view.way_back_closed.is_empty(), "the way back is closed:\n{}", field.trouble(run));
    Ok(None)
}
