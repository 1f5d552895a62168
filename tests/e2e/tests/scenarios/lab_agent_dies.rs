//! P4, P5: the agent dies at every boundary of its ledger, on a real host, in the middle of a real voyage.

use super::LEFT_BY_DESIGN;
use anyhow::{Result, ensure};
use replank_core::run::Phase;
use replank_e2e::ledger::{self, HostRecord};
use replank_e2e::{Field, FieldSpec, Fleet};
use replank_lab::Host;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(700);
const DEATHS: &str = "/var/lib/replank/deaths";

/// One voyage and its way back: the agent aborts once at each boundary that it meets (`common/crash`) and systemd starts it again. Both ends
/// are those of a quiet voyage, and nothing was done twice: not by the ledger, not by the host's own logs.
#[test]
fn at_every_boundary_of_the_ledger() -> Result<()> {
    let field = Field::up(&FieldSpec::new("t-agent-dies", 1, 2))?;
    let host = field.first()?;
    let before = field.worlds()?;
    let was = HostRecord::of(host)?;
    die_at_each_boundary(host)?;
    field.wait_linked(Duration::from_secs(30))?;

    let began = Instant::now();
    let plan = field.plan(&Fleet::default())?;
    let run = field.apply(&plan)?;
    let view = field.sail(&run, LIMIT)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    let there = deaths(host)?;
    println!("there: {} deaths in {} s", there.len(), began.elapsed().as_secs());
    let record = HostRecord::of(host)?.since(&was);
    ensure!(record == HostRecord::THERE, "something was done twice: {record:?}");
    every_boundary_was_met(host, &there, "do", &["intending", "intended", "acting", "acted", "ended"])?;

    let began = Instant::now();
    field.roll_back(&run, LIMIT)?;
    let all = deaths(host)?;
    println!("back: {} deaths in {} s", all.len() - there.len(), began.elapsed().as_secs());
    let record = HostRecord::of(host)?.since(&was);
    ensure!(record == HostRecord::THERE_AND_BACK, "something was done twice on the way back: {record:?}");
    // What was borrowed has been given back at the end of the way there.
    every_boundary_was_met(host, &all, "undo", &["intending", "intended", "undoing", "undone", "ended"])?;
    for ((step, direction), times) in ledger::carried_out(host)? {
        ensure!(times == 1, "{step} was carried out {times} times ({direction})");
    }
    host.sh("rm -r /etc/systemd/system/replank-agent.service.d")?;
    field.same_worlds(&before, &LEFT_BY_DESIGN)?;
    field.print_gaps(&[])
}

fn die_at_each_boundary(host: &Host) -> Result<()> {
    let drop_in = format!("[Service]\nEnvironment=REPLANK_CRASH_ONCE_FILE={DEATHS}\nRestartSec=100ms\n");
    host.write("/etc/systemd/system/replank-agent.service.d/deaths.conf", drop_in.as_bytes(), 0o644)?;
    host.sh("systemctl daemon-reload && systemctl restart replank-agent.service")?;
    Ok(())
}

fn deaths(host: &Host) -> Result<BTreeSet<String>> {
    Ok(host.sh(&format!("cat {DEATHS} 2>/dev/null || :"))?.lines().map(str::to_owned).collect())
}

/// Each step that the ledger has as carried out was interrupted before and after its intent, before and after the act, and after the end.
fn every_boundary_was_met(
    host: &Host,
    deaths: &BTreeSet<String>,
    way: &'static str,
    wanted: &[&str],
) -> Result<()> {
    let mut met: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for death in deaths {
        let mut words = death.trim_start_matches("ledger.").split(' ');
        if let (Some(boundary), Some(step), Some(direction)) = (words.next(), words.next(), words.next())
            && direction.eq_ignore_ascii_case(way)
        {
            met.entry(step).or_default().insert(boundary);
        }
    }
    let steps: BTreeSet<String> = ledger::carried_out(host)?
        .into_keys()
        .filter(|(_, direction)| *direction == way)
        .map(|(step, _)| step)
        .collect();
    ensure!(steps.len() >= 9, "the ledger has only {steps:?} ({way})");
    for step in &steps {
        let boundaries = met.get(step.as_str()).cloned().unwrap_or_default();
        for boundary in wanted {
            ensure!(
                boundaries.contains(boundary),
                "the agent did not die at `{boundary}` of {step} ({way}): {boundaries:?}"
            );
        }
    }
    println!("{way}: {} steps, each at {wanted:?}", steps.len());
    Ok(())
}
