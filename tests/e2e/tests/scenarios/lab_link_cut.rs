//! P5: a link that is cut in the middle of a step, and a reply that never arrives.

use anyhow::{Result, ensure};
use replank_core::run::{Phase, RunView};
use replank_e2e::ledger::{self, HostRecord, Stage};
use replank_e2e::{Field, FieldSpec, Fleet};
use replank_lab::Cut;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(500);
const CUT: Duration = Duration::from_secs(60);
/// The step in whose middle the link is cut, and the one whose reply is lost.
const CUT_STEP: &str = "compute1.install-libvirt";
const LOST_STEP: &str = "compute1.restart-libvirt";

/// Cut for a minute while packages are installed: the run says what it waits for, and the step is not begun again. After that, the reply to the
/// restart of libvirtd is lost for good: the agent dies with it, behind a link that lets nothing out. The voyage ends as any other.
#[test]
fn in_the_middle_of_a_step_and_after_one() -> Result<()> {
    let field = Field::up(&FieldSpec::new("t-cut", 1, 2))?;
    let host = field.first()?;
    let was = HostRecord::of(host)?;
    let plan = field.plan(&Fleet::default())?;
    let run = field.apply(&plan)?;
    field.sail_to_hold(&run, "before-canary", LIMIT)?;
    field.replank(&["approve", &run.0, "before-canary"])?;

    field.wait(&run, LIMIT, "installs libvirt", |view| acts(view, CUT_STEP))?;
    field.cut("compute1")?;
    let cut_at = Instant::now();
    let view = field.wait(&run, CUT, "misses the host", |view| view.hosts.iter().any(|host| !host.linked))?;
    println!("the coordinator missed compute1 after {} ms", cut_at.elapsed().as_millis());
    ensure!(view.phase == Phase::Running, "a cut link made the run {}", view.phase);
    let why = field.replank(&["why", &run.0])?;
    println!("{why}");
    ensure!(why.contains("compute1"), "`why` does not name the host that is missed:\n{why}");
    std::thread::sleep(CUT.saturating_sub(cut_at.elapsed()));
    field.heal("compute1")?;
    let healed_at = Instant::now();
    field.wait_linked(Duration::from_secs(30))?;
    println!("linked again {} ms after the heal", healed_at.elapsed().as_millis());

    field.wait(&run, LIMIT, "restarts libvirtd", |view| acts(view, LOST_STEP))?;
    field.lab.cut_link("compute1", replank_e2e::PORT, Cut::FromHost)?;
    let began = Instant::now();
    while !ended(host, LOST_STEP)? {
        ensure!(began.elapsed() < Duration::from_secs(60), "{LOST_STEP} does not end behind the cut");
        std::thread::sleep(Duration::from_millis(100));
    }
    host.sh("kill -9 $(systemctl show -p MainPID --value replank-agent.service)")?;
    println!("the reply to {LOST_STEP} is lost; the link heals after {} ms", began.elapsed().as_millis());
    field.heal("compute1")?;

    let view = field.sail(&run, LIMIT)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    for ((step, direction), times) in ledger::carried_out(host)? {
        ensure!(times == 1, "{step} was carried out {times} times ({direction})");
    }
    let since = HostRecord::of(host)?.since(&was);
    println!("{since:?}");
    ensure!(
        since.libvirtd_starts == 1 && since.libvirt_upgrades == 1 && since.dnf_transactions == 1,
        "{since:?}"
    );
    println!("{}", field.replank(&["report", &run.0])?);
    field.print_gaps(&[])
}

fn acts(view: &RunView, step: &str) -> bool {
    view.hosts
        .iter()
        .filter_map(|host| host.step.as_ref())
        .any(|at| at.id.as_str() == step && at.state.as_str() == "acting")
}

fn ended(host: &replank_lab::Host, step: &str) -> Result<bool> {
    Ok(ledger::entries(host)?
        .iter()
        .any(|entry| entry.id.step.as_str() == step && matches!(entry.stage, Stage::Ended { .. })))
}
