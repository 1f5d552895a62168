//! P3, P4, P5, P7: every kind of action × every case, on a real host with running guests, and the world compared with what it was.
//!
//! One host, one agent with crash points; the commands come over the real links of a coordinator whose drive is the sweep (`helm`). Which cells
//! there are is data (`table`). All of them are tried, one line each; what failed is told at the end.

mod helm;
mod table;

use anyhow::{Context, Result, bail, ensure};
use helm::{Helm, undo};
use replank_common::action::Action;
use replank_common::ids::{ActionId, Direction, PlanId, RunId, StepId};
use replank_common::outcome::{How, Outcome};
use replank_core::plan::Plan;
use replank_core::run::Order;
use replank_e2e::ledger::{self, Stage};
use replank_e2e::{Field, FieldSpec, Fleet, World};
use replank_lab::Host;
use replank_lab::repo::{self, bad::PackageSpec};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Instant;
use table::{Case, Obstacle, Row, Shows};

const RUN: &str = "run-00000000000000000000000000005ee9";
const DEATHS: &str = "/var/lib/replank/deaths";
/// What the agent comes by in one command, in either direction (`perform`).
const BOUNDARIES: [&str; 7] = ["intending", "intended", "acting", "undoing", "acted", "undone", "ended"];

/// Qemu's incarnations by pid, start and boot; and libvirtd's.
const LIVES: &str = r#"
boot=$(cat /proc/sys/kernel/random/boot_id)
life() { printf '%s %s %s\n' "$1" "$(sed 's/.*) //' /proc/$1/stat | cut -d ' ' -f 20)" "$boot"; }
for file in /run/libvirt/qemu/guest*.pid; do echo "$(basename $file .pid) $(life "$(cat $file)")"; done
echo "libvirtd $(life "$(systemctl show -p MainPID --value libvirtd.service)")"
"#;

#[test]
fn every_kind_of_action_in_every_case() -> Result<()> {
    let field = Field::up(&FieldSpec::new("t-sweep", 1, 2))?;
    let began = Instant::now();
    let mut sweep = Sweep::prepare(field)?;
    println!("prepared in {} s", began.elapsed().as_secs());
    let first = sweep.base.clone();
    sweep.set_the_scene()?;
    for row in sweep.rows.clone() {
        sweep.row(&row)?;
    }
    sweep.strike_the_scene()?;
    let end = sweep.same_world(&first, "after all");
    let answers = sweep.helm.each_answered_once();
    let field = sweep.end(began)?;
    end?;
    answers?;
    field.print_gaps(&[])
}

/// The host as it is: everything in [`World`], and who lives.
#[derive(Debug, Clone)]
struct Snapshot {
    world: World,
    guests: String,
    libvirtd: String,
}

impl Snapshot {
    fn of(host: &Host) -> Result<Self> {
        let lives = host.sh(LIVES)?;
        let (libvirtd, guests): (Vec<&str>, Vec<&str>) =
            lives.lines().partition(|line| line.starts_with("libvirtd "));
        Ok(Self { world: World::of(host)?, guests: guests.join("\n"), libvirtd: libvirtd.join("\n") })
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

struct Sweep {
    field: Field,
    host: Host,
    helm: Helm,
    run: RunId,
    rows: Vec<Row>,
    scenery: Vec<Action>,
    /// How the host is when nothing of the present row is done.
    base: Snapshot,
    cells: BTreeSet<(String, Case)>,
    failures: Vec<String>,
}

#[derive(Deserialize)]
struct Planned {
    id: PlanId,
    plan: Plan,
}

impl Sweep {
    /// The real coordinator plans; then it ends, and the sweep takes the helm.
    fn prepare(mut field: Field) -> Result<Self> {
        let host = field.first()?.clone();
        offer_own_package(&field)?;
        let pinned = (table::PACKAGE.to_owned(), table::NEW.to_owned());
        let path = field.plan(&Fleet { more_packages: vec![pinned], ..Fleet::default() })?;
        let Planned { id, plan } = serde_json::from_slice(&std::fs::read(path)?)?;
        let libvirt = host.sh("virsh version --daemon | sed -n 's/^Running against daemon: //p'")?;
        let rows = table::rows(&plan, libvirt.trim())?;
        let kinds: BTreeSet<String> = rows.iter().map(|row| row.action.kind().to_owned()).collect();
        let every: BTreeSet<String> = table::every_kind().into_iter().collect();
        ensure!(kinds == every && kinds.len() >= 14, "swept are {kinds:?}, and there are {every:?}");

        arm(&host, &rows)?;
        field.coordinator.kill()?;
        let helm = Helm::take(&field.lab, field.coordinator.directory(), host.name(), id)?;
        let (run, scenery) = (RunId::new(RUN)?, table::scenery(&plan));
        let (cells, failures) = Default::default();
        let base = Snapshot::of(&host)?;
        Ok(Self { field, host, helm, run, rows, scenery, base, cells, failures })
    }

    fn set_the_scene(&mut self) -> Result<()> {
        for (number, action) in self.scenery.clone().into_iter().enumerate() {
            let id = self.id(&format!("scene{number}"), Direction::Do, 1)?;
            self.done(&id, action, How::Applied)?;
        }
        self.base = Snapshot::of(&self.host)?;
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
            self.base = Snapshot::of(&self.host)?;
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
        if row.needs.is_some() || row.restarts_libvirtd {
            self.base = Snapshot::of(&self.host)?;
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
        self.base = Snapshot::of(&self.host)?;
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
        self.same(&self.base, row, "with nothing in the way any more")?;
        Ok(seen.join("; "))
    }

    fn meet(&mut self, row: &Row, obstacle: &Obstacle, number: usize) -> Result<String> {
        let planted = Snapshot::of(&self.host)?;
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
        self.same(&planted, row, "after the failure")?;
        if matches!(outcome, Outcome::Failed { restored: false, .. }) {
            self.undone(&self.id(&step, Direction::Undo, 1)?, &id, How::Undone)?;
        }
        Ok(seen)
    }

    fn do_twice(&mut self, row: &Row) -> Result<(Snapshot, String)> {
        let step = step(row, "twice");
        self.host.sh(row.ready)?;
        self.shows(row, false)?;
        let traces = self.traces(row)?;
        let (first, second) = (self.id(&step, Direction::Do, 1)?, self.id(&step, Direction::Do, 2)?);
        let outcome = self.done(&first, row.action.clone(), How::Applied)?;
        let after = Snapshot::of(&self.host)?;
        let guests = (&self.base.guests, &after.guests);
        ensure!(guests.0 == guests.1, "guests are others: {} → {}", guests.0, guests.1);
        self.shows(row, true)?;
        let changed = !self.base.world.differs_from(&after.world, &[]).is_empty();

        let entries = ledger::entries(&self.host)?.len();
        let again = self.told(&first, Order::Execute(Box::new(row.action.clone())))?;
        ensure!(again == outcome, "another answer to the same command: {again:?} and not {outcome:?}");
        ensure!(ledger::entries(&self.host)?.len() == entries, "the same command is in the ledger twice");
        self.done(&second, row.action.clone(), row.again)?;
        self.same(&after, row, "after doing it twice")?;
        self.shows(row, true)?;
        self.traced(row, traces, true)?;
        let world = match &row.shows {
            _ if changed => "the world is changed once".to_owned(),
            Shows::Nothing(why) => format!("the world is as it was: {why}"),
            Shows::OnHost(_) | Shows::InStore(_) => "the world outside replank's own is as it was".to_owned(),
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
        self.same(&self.base, row, "taken back twice")?;
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
        self.same(after, row, "done, compared with one done without a crash")?;
        self.shows(row, true)?;
        self.traced(row, traces, true)?;

        self.host.sh(row.meanwhile)?;
        let traces = self.traces(row)?;
        let outcome = self.dying(&back, undo(&of), crash.back, crash)?;
        ensure!(is_done(&outcome, How::Undone), "not undone: {outcome:?}");
        self.same(&self.base, row, "taken back")?;
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

    /// The host is as it was then, and so are the guests, and libvirtd where the row does not restart it.
    fn same(&self, then: &Snapshot, row: &Row, when: &str) -> Result<()> {
        let now = self.same_world(then, when)?;
        let libvirtd = (&then.libvirtd, &now.libvirtd);
        ensure!(
            row.restarts_libvirtd || libvirtd.0 == libvirtd.1,
            "{when}, libvirtd is another: {} → {}",
            libvirtd.0,
            libvirtd.1
        );
        Ok(())
    }

    fn same_world(&self, then: &Snapshot, when: &str) -> Result<Snapshot> {
        let now = Snapshot::of(&self.host)?;
        let changed = then.world.differs_from(&now.world, &[]);
        ensure!(changed.is_empty(), "{when}, the world is another:\n{changed}");
        ensure!(then.guests == now.guests, "{when}, guests are others: {} → {}", then.guests, now.guests);
        Ok(now)
    }

    /// What shows that it is done does, or does not.
    fn shows(&self, row: &Row, done: bool) -> Result<()> {
        let (script, wanted) = match &row.shows {
            Shows::OnHost(script) => (script, Some(done)),
            Shows::InStore(script) => (script, done.then_some(true)),
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

/// The old version on the host, both in the repository. Each has a file that the other has not.
fn offer_own_package(field: &Field) -> Result<()> {
    let version = |version: &str| {
        let share = format!("/usr/share/{}", table::PACKAGE);
        PackageSpec::new(table::PACKAGE, version)
            .file(&format!("{share}/version"), format!("{version}\n"))
            .file(&format!("{share}/only-in-{version}"), "a plank\n")
            .file(&format!("/etc/{}.conf", table::PACKAGE), format!("version = {version}\n"))
    };
    let out = tempfile::tempdir()?;
    for version in [version(table::OLD), version(table::NEW)] {
        repo::add(&field.repository, &version.build_deb(out.path())?)?;
    }
    let old = format!("/srv/repo/apt/pool/{}_{}_all.deb", table::PACKAGE, table::OLD);
    field.first()?.must(&["dpkg", "-i", &old])?;
    Ok(())
}

#[test]
fn every_kind_is_known_by_name() {
    let kinds = table::every_kind();
    assert!(kinds.len() >= 14 && kinds.contains(&"repository-pin".to_owned()), "{kinds:?}");
}
