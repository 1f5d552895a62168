//! P9: a coordinator that was paused in the middle of a voyage wakes up after another one took over, and commands nobody.

use anyhow::{Context, Result, bail, ensure};
use replank_core::run::{Phase, RunView};
use replank_e2e::ledger::{self, HostRecord};
use replank_e2e::{Coordinator, Field, FieldSpec, Fleet, PORT, RunRef};
use replank_lab::Host;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(400);
/// In flight while its coordinator is paused.
const STEP: &str = "compute1.install-libvirt";
/// Where the folder is brought to; the name `coordinator` leads there from then on.
const ELSEWHERE: &str = "10.77.0.2";

/// Stopped while a step is in flight on the canary. Its folder is brought to another address, a coordinator is started there, and the hosts' name
/// for it is changed: that one takes the run over and drives it to its end. The first wakes up in the middle of that, its operator asks it for
/// an abort, and at last every host is led back to it by mistake: nothing of it reaches a host, it says why, and it lives on without a host.
#[test]
fn that_wakes_up_commands_nobody() -> Result<()> {
    let mut field = Field::up(&FieldSpec::new("t-paused", 2, 1))?;
    let first_address = field.lab.coordinator_address().to_string();
    listen_at_one_address(&mut field, &first_address)?;
    let qemus = qemus(&field)?;
    let records = records(&field)?;
    let plan = field.plan(&Fleet::default())?;
    let run = field.apply(&plan)?;
    field.sail_to_hold(&run, "before-canary", LIMIT)?;
    field.replank(&["approve", &run.0, "before-canary"])?;
    field.wait(&run, LIMIT, "installs libvirt", |view| acts(view, STEP))?;

    field.coordinator.pause()?;
    let paused = Instant::now();
    let mut second = field.coordinator.copied_to(&field.path("elsewhere"))?;
    second.set(&first_address, ELSEWHERE)?;
    second.set("127.0.0.1", "127.0.0.2")?;
    let added = field.lab.command("ip", &["addr", "add", &format!("{ELSEWHERE}/24"), "dev", "lab0"]);
    ensure!({ added }.status()?.success(), "the lab gets no second address");
    second.start(&field.lab)?;
    lead_to(&field, &first_address, ELSEWHERE)?;
    let first = std::mem::replace(&mut field.coordinator, second);
    field.wait_linked(Duration::from_secs(60))?;
    println!("both hosts are linked to the second {} ms after the pause", paused.elapsed().as_millis());

    first.wake()?;
    said(&first, "host=compute1", "is down")?;
    let before = steps_done(&field, &first, &run)?;
    let asked = first.replank(&field.lab, &["abort", &run.0])?;
    println!("asked the first to abort: {}", String::from_utf8_lossy(&asked.stdout).trim());
    ensure!(asked.status.success(), "the first does not answer its operator");
    let view = field.sail(&run, LIMIT)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);

    // Both names lead to the first again: it refuses each host, and says why.
    let (worlds, ledgers) = (field.worlds()?, ledgers(&field)?);
    lead_to(&field, ELSEWHERE, &first_address)?;
    restart_agents(&field)?;
    for host in field.lab.hosts() {
        let line = said(&first, "RP3032", &format!("host={}", host.name()))?;
        println!("the first: {line}");
        said_by_agent(host, "another coordinator")?;
    }
    let why = first.replank(&field.lab, &["why", &run.0])?;
    println!("the first: {}", String::from_utf8_lossy(&why.stdout).trim());
    let listed = String::from_utf8(first.replank(&field.lab, &["host", "list", "--json"])?.stdout)?;
    ensure!(!listed.contains("\"linked\": true"), "a host is linked to the first: {listed}");
    ensure!(
        steps_done(&field, &first, &run)? == before,
        "the first heard of a step that was done after it was paused"
    );
    field.same_worlds(&worlds, &["file etc/hosts"])?;
    ensure!(self::ledgers(&field)? == ledgers, "an agent wrote down a command of the first");

    lead_to(&field, &first_address, ELSEWHERE)?;
    restart_agents(&field)?;
    field.wait_linked(Duration::from_secs(60))?;
    ensure!(self::qemus(&field)? == qemus, "a guest has another qemu");
    for (host, was) in field.lab.hosts().iter().zip(&records) {
        let since = HostRecord::of(host)?.since(was);
        ensure!(since == HostRecord::THERE, "{}: {since:?}", host.name());
        for ((step, direction), times) in ledger::carried_out(host)? {
            ensure!(times == 1, "{step} was carried out {times} times ({direction})");
        }
    }
    let report = field.report(&run)?;
    ensure!(report.tally.same == 2 && report.tally.lost == 0, "{:?}", report.tally);
    println!("{}", field.replank(&["report", &run.0])?);
    field.print_gaps(&[])
}

/// Else nobody else could listen at another address of the same network.
fn listen_at_one_address(field: &mut Field, address: &str) -> Result<()> {
    field.coordinator.kill()?;
    field.coordinator.set(&format!("0.0.0.0:{PORT}"), &format!("{address}:{PORT}"))?;
    field.coordinator.start(&field.lab)?;
    field.wait_linked(Duration::from_secs(30))
}

/// Changes the address of the name that every agent calls.
fn lead_to(field: &Field, from: &str, to: &str) -> Result<()> {
    for host in field.lab.hosts() {
        // In place: the file may be a mount.
        host.sh(&format!(
            "sed 's/^{from} coordinator$/{to} coordinator/' /etc/hosts >/run/hosts && cat /run/hosts >/etc/hosts && grep -q '^{to} c' /etc/hosts"
        ))?;
    }
    Ok(())
}

fn restart_agents(field: &Field) -> Result<()> {
    for host in field.lab.hosts() {
        host.must(&["systemctl", "restart", "replank-agent.service"])?;
    }
    Ok(())
}

/// The line of the coordinator's log that has both.
fn said(coordinator: &Coordinator, one: &str, other: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let log = std::fs::read_to_string(coordinator.log())?;
        if let Some(line) = log.lines().find(|line| line.contains(one) && line.contains(other)) {
            return Ok(line.to_owned());
        }
        if Instant::now() > deadline {
            bail!("no line with {one} and {other}:\n{}", coordinator.log_tail());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn said_by_agent(host: &Host, text: &str) -> Result<()> {
    let lines = host.sh("journalctl -u replank-agent --no-pager -n 20 -o cat")?;
    let line = lines.lines().find(|line| line.contains(text));
    println!("{}: {}", host.name(), line.with_context(|| format!("`{text}` was not said:\n{lines}"))?);
    Ok(())
}

fn steps_done(field: &Field, coordinator: &Coordinator, run: &RunRef) -> Result<usize> {
    let output = coordinator.replank(&field.lab, &["status", &run.0, "--json"])?;
    let view: RunView = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("status: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(view.steps_done)
}

fn records(field: &Field) -> Result<Vec<HostRecord>> {
    field.lab.hosts().iter().map(HostRecord::of).collect()
}

fn ledgers(field: &Field) -> Result<Vec<usize>> {
    field.lab.hosts().iter().map(|host| Ok(ledger::entries(host)?.len())).collect()
}

fn qemus(field: &Field) -> Result<Vec<i32>> {
    let guests = field.lab.guests().iter();
    guests.map(|(host, guest)| Ok(field.lab.host(host)?.qemu_pid(&guest.name)?)).collect()
}

fn acts(view: &RunView, step: &str) -> bool {
    view.hosts
        .iter()
        .filter_map(|host| host.step.as_ref())
        .any(|at| at.id.as_str() == step && at.state.as_str() == "acting")
}
