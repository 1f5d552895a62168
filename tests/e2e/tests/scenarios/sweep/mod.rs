//! The sweep: every kind of action × every case on one real host, and the world compared with what it was (P3, P4, P5, P7).
//!
//! One agent with crash points; the commands come over the real links of a coordinator whose drive is the sweep (`helm`). Which cells there are is data
//! (`table`), and so is what is looked at beside files, packages and units ([`Sight`]). All cells are tried, one line each; what failed is told at the end.

mod helm;
mod table;

use anyhow::{Context, Result, bail, ensure};
use helm::{Helm, undo};
use replank_common::action::Action;
use replank_common::ids::{ActionId, Direction, PlanId, RunId, StepId};
use replank_common::outcome::{How, Outcome};
use replank_core::plan::{Plan, Work};
use replank_core::run::Order;
use replank_e2e::ledger::{self, Stage};
use replank_e2e::{Field, World};
use replank_lab::Host;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub use table::{Case, Obstacle, Row, Shows, Traces, every_kind, obstacle, plain};

const RUN: &str = "run-00000000000000000000000000005ee9";
const DEATHS: &str = "/var/lib/replank/deaths";
/// What the agent comes by in one command, in either direction (`perform`).
const BOUNDARIES: [&str; 7] = ["intending", "intended", "acting", "undoing", "acted", "undone", "ended"];

/// What is looked at on the host beside files, packages and units.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// Prints `NAME<tab>LIFE` for every process that must live on: the same text as long as it is the same one.
    pub lives: &'static str,
    /// Prints `THING<tab>VALUE` for what else must be as it was.
    pub things: &'static str,
}

/// The start of a script for [`Sight::lives`]: a process by its pid, start and boot.
pub const LIFE: &str = r#"
boot=$(cat /proc/sys/kernel/random/boot_id)
life() { printf '%s\t%s %s %s\n' "$1" "$2" "$(sed 's/.*) //' /proc/$2/stat | cut -d ' ' -f 20)" "$boot"; }
"#;

/// The host as it is.
#[derive(Debug, Clone)]
struct Snapshot {
    world: World,
    lives: BTreeMap<String, String>,
}

impl Snapshot {
    fn of(host: &Host, sight: Sight) -> Result<Self> {
        let said = host.sh(&format!("{LIFE}{}", sight.lives))?;
        let lives = said.lines().filter_map(|line| line.split_once('\t'));
        let lives = lives.map(|(name, life)| (name.to_owned(), life.to_owned())).collect();
        Ok(Self { world: World::of(host)?.with(&host.sh(sight.things)?), lives })
    }

    /// Who lives in both, or in one, and is not the same; but for those that may be others.
    fn others<'s>(&'s self, later: &'s Self, may: &[String]) -> Vec<&'s str> {
        let names: BTreeSet<&String> = self.lives.keys().chain(later.lives.keys()).collect();
        let other = |name: &&String| self.lives.get(*name) != later.lives.get(*name) && !may.contains(*name);
        names.into_iter().filter(other).map(String::as_str).collect()
    }
}

/// Where the agent dies, once on the way there and once on the way back.
#[derive(Debug, Clone, Copy)]
struct Crash {
    case: Case,
    word: &'static str,
    there: &'static str,
    back: &'static str,
    /// The intent is in the ledger and the outcome is not.
    unfinished: bool,
}

const CRASHES: [Crash; 3] = [
    Crash { case: Case::CrashBeforeAct, word: "before", there: "acting", back: "undoing", unfinished: true },
    Crash { case: Case::CrashAfterAct, word: "after", there: "acted", back: "undone", unfinished: true },
    Crash { case: Case::CrashAfterLedger, word: "told", there: "ended", back: "ended", unfinished: false },
];

pub struct Sweep {
    field: Field,
    host: Host,
    helm: Helm,
    run: RunId,
    rows: Vec<Row>,
    scenery: Vec<Action>,
    sight: Sight,
    /// How the host is when nothing of the present row is done.
    base: Snapshot,
    cells: BTreeSet<(String, Case)>,
    failures: Vec<String>,
}

/// A plan file.
#[derive(Deserialize)]
pub struct Planned {
    pub id: PlanId,
    pub plan: Plan,
}

impl Planned {
    /// # Errors
    /// There is none, or it is none.
    pub fn read(path: &str) -> Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

/// What a plan does on its hosts.
pub fn actions(plan: &Plan) -> impl Iterator<Item = &Action> {
    plan.steps.iter().filter_map(|step| match &*step.work {
        Work::Act(action) => Some(action),
        Work::GiveBack(_) | Work::Observe => None,
    })
}

impl Sweep {
    /// Ends the field's coordinator and takes the helm of its first host.
    ///
    /// # Errors
    /// The host cannot be prepared, or the helm not be taken.
    pub fn begin(
        mut field: Field,
        plan: PlanId,
        rows: Vec<Row>,
        scenery: Vec<Action>,
        sight: Sight,
    ) -> Result<Self> {
        let host = field.first()?.clone();
        arm(&host, &rows)?;
        field.coordinator.kill()?;
        let helm = Helm::take(&field.lab, field.coordinator.directory(), host.name(), plan)?;
        let run = RunId::new(RUN)?;
        let (cells, failures) = Default::default();
        let base = Snapshot::of(&host, sight)?;
        Ok(Self { field, host, helm, run, rows, scenery, sight, base, cells, failures })
    }

    /// Every row; gives the field back.
    ///
    /// # Errors
    /// Every cell that failed, or was not tried.
    pub fn all(mut self) -> Result<Field> {
        let began = Instant::now();
        let first = self.base.clone();
        self.set_the_scene()?;
        for row in self.rows.clone() {
            self.row(&row)?;
        }
        self.strike_the_scene()?;
        let restarted: Vec<String> = self.rows.iter().flat_map(|row| row.restarts.clone()).collect();
        let end = self.same(&first, &restarted, "after all");
        let answers = self.helm.each_answered_once();
        let field = self.end(began)?;
        end?;
        answers?;
        Ok(field)
    }

    fn look(&self) -> Result<Snapshot> {
        Snapshot::of(&self.host, self.sight)
    }

    fn set_the_scene(&mut self) -> Result<()> {
        for (number, action) in self.scenery.clone().into_iter().enumerate() {
            let id = self.id(&format!("scene{number}"), Direction::Do, 1)?;
            self.done(&id, action, How::Applied)?;
        }
        self.base = self.look()?;
        Ok(())
    }

    fn strike_the_scene(&mut self) -> Result<()> {
        for number in (0..self.scenery.len()).rev() {
            let step = format!("scene{number}");
            let (of, id) = (self.id(&step, Direction::Do, 1)?, self.id(&step, Direction::Undo, 1)?);
            self.undone(&id, &of, How::Undone)?;
        }
        Ok(())
    }

    /// All cells of one kind. An error is one after which nothing more can be told.
    fn row(&mut self, row: &Row) -> Result<()> {
        let step = format!("{}-needs", slug(&row.name));
        let (do_id, undo_id) = (self.id(&step, Direction::Do, 1)?, self.id(&step, Direction::Undo, 1)?);
        if let Some(action) = &row.needs {
            self.done(&do_id, action.clone(), How::Applied)?;
            self.base = self.look()?;
        }
        self.cell(row, Case::FailBefore, "no", Self::fail_before)?;
        let mut after = None;
        self.cell(row, Case::DoTwice, "twice", |sweep, row| {
            let (snapshot, seen) = sweep.do_twice(row)?;
            after = Some(snapshot);
            Ok(seen)
        })?;
        self.cell(row, Case::UndoTwice, "twice", Self::undo_twice)?;
        for crash in CRASHES {
            self.cell(row, crash.case, crash.word, |sweep, row| {
                let after = after.as_ref().context("how the world is after it was not found out")?;
                sweep.crash(row, crash, after)
            })?;
        }
        if row.needs.is_some() {
            self.undone(&undo_id, &do_id, How::Undone)?;
        }
        if row.needs.is_some() || !row.restarts.is_empty() {
            self.base = self.look()?;
        }
        Ok(())
    }

    fn cell(
        &mut self,
        row: &Row,
        case: Case,
        passage: &str,
        work: impl FnOnce(&mut Self, &Row) -> Result<String>,
    ) -> Result<()> {
        let began = Instant::now();
        let (name, what) = (&row.name, case.as_str());
        self.cells.insert((name.clone(), case));
        match work(self, row) {
            Ok(seen) => println!("{name} × {what}: {seen} ({:.1} s)", began.elapsed().as_secs_f32()),
            Err(error) => {
                println!("{name} × {what}: FAILED: {error:#}");
                self.failures.push(format!("{name} × {what}: {error:#}"));
                self.put_back(row, passage)?;
            }
        }
        Ok(())
    }

    /// After a failure: what is there is taken back as far as it goes, and the next cell begins from what is there then.
    fn put_back(&mut self, row: &Row, passage: &str) -> Result<()> {
        let step = step(row, passage);
        for attempt in [2, 1] {
            let (of, id) =
                (self.id(&step, Direction::Do, attempt)?, self.id(&step, Direction::Undo, 10 + attempt)?);
            if let Err(error) = self.helm.ask(&id, undo(&of)) {
                self.failures.push(format!("putting {} back: {error:#}", row.name));
            }
        }
        self.base = self.look()?;
        Ok(())
    }

    /// Each obstacle: a refusal, or a failure after which all is put back; under the same id the same again.
    fn fail_before(&mut self, row: &Row) -> Result<String> {
        self.host.sh(row.ready)?;
        let mut seen = Vec::new();
        for (number, obstacle) in row.obstacles.iter().enumerate() {
            self.host.sh(obstacle.plant).with_context(|| format!("planting: {}", obstacle.what))?;
            let met = self.meet(row, obstacle, number);
            self.host.sh(obstacle.remove).with_context(|| format!("removing: {}", obstacle.what))?;
            seen.push(met.with_context(|| obstacle.what)?);
            self.shows(row, false)?;
        }
        self.same(&self.base, &row.restarts, "with nothing in the way any more")?;
        Ok(seen.join("; "))
    }

    fn meet(&mut self, row: &Row, obstacle: &Obstacle, number: usize) -> Result<String> {
        let planted = self.look()?;
        let step = step(row, &format!("no{number}"));
        let id = self.id(&step, Direction::Do, 1)?;
        let action = obstacle.instead.as_ref().unwrap_or(&row.action);
        let outcome = self.told(&id, Order::Execute(Box::new(action.clone())))?;
        let (code, how) = match &outcome {
            Outcome::Refused(refusal) => (&refusal.code, "refused"),
            Outcome::Failed { code, restored: true, .. } => (code, "failed and put back"),
            Outcome::Failed { code, restored: false, .. } => (code, "failed"),
            Outcome::Done { .. } => bail!("it was done all the same: {outcome:?}"),
        };
        ensure!(code == obstacle.code, "answered with {code} and not {}: {outcome:?}", obstacle.code);
        let seen = format!("{}: {how} with {code}", obstacle.what);
        let again = self.told(&id, Order::Execute(Box::new(action.clone())))?;
        ensure!(again == outcome, "another answer to the same command: {again:?} and not {outcome:?}");
        // What a failure says that it has left half done, its undo takes back.
        if matches!(outcome, Outcome::Failed { restored: false, .. }) {
            self.undone(&self.id(&step, Direction::Undo, 1)?, &id, How::Undone)?;
        }
        self.same(&planted, &row.restarts, "after the failure")?;
        Ok(seen)
    }

    fn do_twice(&mut self, row: &Row) -> Result<(Snapshot, String)> {
        let step = step(row, "twice");
        self.host.sh(row.ready)?;
        self.shows(row, false)?;
        let traces = self.traces(row)?;
        let (first, second) = (self.id(&step, Direction::Do, 1)?, self.id(&step, Direction::Do, 2)?);
        let outcome = self.done(&first, row.action.clone(), How::Applied)?;
        let after = self.look()?;
        let others = self.base.others(&after, &row.restarts);
        ensure!(others.is_empty(), "others live: {others:?}");
        self.shows(row, true)?;
        let changed = !self.base.world.differs_from(&after.world, &[]).is_empty();

        let entries = ledger::entries(&self.host)?.len();
        let again = self.told(&first, Order::Execute(Box::new(row.action.clone())))?;
        ensure!(again == outcome, "another answer to the same command: {again:?} and not {outcome:?}");
        ensure!(ledger::entries(&self.host)?.len() == entries, "the same command is in the ledger twice");
        self.done(&second, row.action.clone(), row.again)?;
        self.same(&after, &row.restarts, "after doing it twice")?;
        self.shows(row, true)?;
        self.traced(row, traces, true)?;
        let world = match &row.shows {
            _ if changed => "the world is changed once".to_owned(),
            Shows::Nothing(why) => format!("the world is as it was: {why}"),
            Shows::OnHost(_) | Shows::Lasting(_) => "the world outside replank's own is as it was".to_owned(),
        };
        Ok((after, format!("the same answer, then {:?}; {world}", row.again)))
    }

    fn undo_twice(&mut self, row: &Row) -> Result<String> {
        let step = step(row, "twice");
        self.host.sh(row.meanwhile)?;
        let traces = self.traces(row)?;
        let of = self.id(&step, Direction::Do, 2)?;
        let (first, second) = (self.id(&step, Direction::Undo, 1)?, self.id(&step, Direction::Undo, 2)?);
        let outcome = self.undone(&first, &of, How::Undone)?;
        self.shows(row, false)?;
        let again = self.told(&first, undo(&of))?;
        ensure!(again == outcome, "another answer to the same command: {again:?} and not {outcome:?}");
        self.undone(&second, &of, row.undone_again)?;
        self.same(&self.base, &row.restarts, "taken back twice")?;
        self.traced(row, traces, false)?;
        Ok(format!("the same answer, then {:?}; the world is what it was", row.undone_again))
    }

    fn crash(&mut self, row: &Row, crash: Crash, after: &Snapshot) -> Result<String> {
        let step = step(row, crash.word);
        let (of, back) = (self.id(&step, Direction::Do, 1)?, self.id(&step, Direction::Undo, 1)?);
        self.host.sh(row.ready)?;
        let traces = self.traces(row)?;
        let order = Order::Execute(Box::new(row.action.clone()));
        let there = self.dying(&of, order, crash.there, crash)?;
        let wanted = if crash.unfinished { How::Finished } else { How::Applied };
        ensure!(is_done(&there, wanted), "not {wanted:?}: {there:?}");
        self.same(after, &row.restarts, "done, compared with one done without a crash")?;
        self.shows(row, true)?;
        self.traced(row, traces, true)?;

        self.host.sh(row.meanwhile)?;
        let traces = self.traces(row)?;
        let outcome = self.dying(&back, undo(&of), crash.back, crash)?;
        ensure!(is_done(&outcome, How::Undone), "not undone: {outcome:?}");
        self.same(&self.base, &row.restarts, "taken back")?;
        self.shows(row, false)?;
        self.traced(row, traces, false)?;
        Ok(format!(
            "there: died at `{}`, {wanted:?}; back: died at `{}`, Undone; the world is what it was",
            crash.there, crash.back
        ))
    }

    /// The agent dies once on the way, at this boundary, and what it says of the command when it is back is what its ledger holds.
    fn dying(&mut self, id: &ActionId, order: Order, boundary: &str, crash: Crash) -> Result<Outcome> {
        let answer = self.helm.ask(id, order)?;
        let line = armed(boundary, &id.step, id.direction);
        let deaths = self.host.sh(&format!("cat {DEATHS}"))?;
        ensure!(deaths.lines().any(|death| death == line), "the agent did not come by `{line}`: {answer:?}");
        ensure!(answer.links == 2, "it was asked over {} links", answer.links);
        let known = if answer.remembered { "an unfinished one" } else { "no unfinished one" };
        ensure!(answer.remembered == crash.unfinished, "after its death the agent told of {known}");
        self.in_ledger(id, &answer.outcome)?;
        Ok(answer.outcome)
    }

    fn done(&mut self, id: &ActionId, action: Action, how: How) -> Result<Outcome> {
        let outcome = self.told(id, Order::Execute(Box::new(action)))?;
        ensure!(is_done(&outcome, how), "{id} was not answered with {how:?}: {outcome:?}");
        Ok(outcome)
    }

    fn undone(&mut self, id: &ActionId, of: &ActionId, how: How) -> Result<Outcome> {
        let outcome = self.told(id, undo(of))?;
        ensure!(is_done(&outcome, how), "{id} was not answered with {how:?}: {outcome:?}");
        Ok(outcome)
    }

    /// Asks, with no death on the way.
    fn told(&mut self, id: &ActionId, order: Order) -> Result<Outcome> {
        let answer = self.helm.ask(id, order)?;
        self.in_ledger(id, &answer.outcome)?;
        Ok(answer.outcome)
    }

    /// What was told is what is written, once.
    fn in_ledger(&self, id: &ActionId, outcome: &Outcome) -> Result<()> {
        let entries: Vec<_> =
            ledger::entries(&self.host)?.into_iter().filter(|entry| entry.id == *id).collect();
        let [entry] = entries.as_slice() else { bail!("{id} is {} times in the ledger", entries.len()) };
        match &entry.stage {
            Stage::Ended { outcome: written } if written == outcome => Ok(()),
            other => bail!("the ledger holds {other:?} of {id}, and told was {outcome:?}"),
        }
    }

    /// The host is as it was then, and the same ones live, but for those that may be others.
    fn same(&self, then: &Snapshot, may: &[String], when: &str) -> Result<()> {
        let now = self.look()?;
        let changed = then.world.differs_from(&now.world, &[]);
        ensure!(changed.is_empty(), "{when}, the world is another:\n{changed}");
        let others = then.others(&now, may);
        ensure!(others.is_empty(), "{when}, others live: {others:?}");
        Ok(())
    }

    /// What shows that it is done does, or does not.
    fn shows(&self, row: &Row, done: bool) -> Result<()> {
        let (script, wanted) = match &row.shows {
            Shows::OnHost(script) => (script, Some(done)),
            Shows::Lasting(script) => (script, done.then_some(true)),
            Shows::Nothing(_) => return Ok(()),
        };
        let output = self.host.run(&["sh", "-euc", script])?;
        let Some(wanted) = wanted else { return Ok(()) };
        ensure!(output.status.success() == wanted, "done: {}, and wanted: {wanted} ({script})", !wanted);
        Ok(())
    }

    fn traces(&self, row: &Row) -> Result<usize> {
        let Some(traces) = row.traces else { return Ok(0) };
        let said = self.host.sh(traces.count)?;
        said.trim().parse().with_context(|| format!("`{}` said `{said}`", traces.count))
    }

    fn traced(&self, row: &Row, before: usize, there: bool) -> Result<()> {
        let Some(traces) = row.traces else { return Ok(()) };
        let found = self.traces(row)?.saturating_sub(before);
        let wanted = if there { traces.there } else { traces.back };
        ensure!(found == wanted, "the host's own log counts {found} and not {wanted} ({})", traces.count);
        Ok(())
    }

    fn id(&self, step: &str, direction: Direction, attempt: u32) -> Result<ActionId> {
        let step = StepId::new(format!("{}.{step}", self.host.name()))?;
        Ok(ActionId { run: self.run.clone(), step, direction, attempt })
    }

    /// Every cell was tried and none failed.
    fn end(self, began: Instant) -> Result<Field> {
        let Self { field, rows, cells, failures, .. } = self;
        println!(
            "{} rows × {} cases, {} cells in {} s",
            rows.len(),
            Case::ALL.len(),
            cells.len(),
            began.elapsed().as_secs()
        );
        for row in &rows {
            for case in Case::ALL {
                ensure!(
                    cells.contains(&(row.name.clone(), case)),
                    "{} × {} was not tried",
                    row.name,
                    case.as_str()
                );
            }
        }
        ensure!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n\n"));
        Ok(field)
    }
}

fn is_done(outcome: &Outcome, wanted: How) -> bool {
    match outcome {
        Outcome::Done { how, .. } => *how == wanted,
        Outcome::Refused(_) | Outcome::Failed { .. } => false,
    }
}

fn slug(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

fn step(row: &Row, passage: &str) -> String {
    format!("{}-{passage}", slug(&row.name))
}

fn armed(boundary: &str, step: &StepId, direction: Direction) -> String {
    format!("ledger.{boundary} {step} {direction:?}")
}

/// The agent dies at each boundary that its list does not name yet; so the list names all but those that are swept.
fn arm(host: &Host, rows: &[Row]) -> Result<()> {
    let mut steps: Vec<(String, Option<Crash>)> = (0..10).map(|n| (format!("scene{n}"), None)).collect();
    for row in rows {
        steps.extend(["needs", "twice"].map(|passage| (step(row, passage), None)));
        steps.extend((0..row.obstacles.len()).map(|number| (step(row, &format!("no{number}")), None)));
        steps.extend(CRASHES.map(|crash| (step(row, crash.word), Some(crash))));
    }
    let mut list = String::new();
    for (name, crash) in steps {
        let step = StepId::new(format!("{}.{name}", host.name()))?;
        for direction in [Direction::Do, Direction::Undo] {
            let dies = crash.map(|crash| match direction {
                Direction::Do => crash.there,
                Direction::Undo => crash.back,
            });
            for boundary in BOUNDARIES.into_iter().filter(|boundary| Some(*boundary) != dies) {
                list.push_str(&format!("{}\n", armed(boundary, &step, direction)));
            }
        }
    }
    host.write(DEATHS, list.as_bytes(), 0o600)?;
    let drop_in = format!("[Service]\nEnvironment=REPLANK_CRASH_ONCE_FILE={DEATHS}\nRestartSec=100ms\n");
    host.write("/etc/systemd/system/replank-agent.service.d/deaths.conf", drop_in.as_bytes(), 0o644)?;
    host.sh("systemctl daemon-reload && systemctl restart replank-agent.service")?;
    Ok(())
}
