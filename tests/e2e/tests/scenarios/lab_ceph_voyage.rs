//! A real cluster from 14.2.21 to 16.2.15 while a client writes, as an operator does it.

use anyhow::{Context, Result, ensure};
use replank_core::run::Phase;
use replank_e2e::{CephFleet, Field, FieldSpec};
use replank_lab::ceph::Writer;
use std::time::{Duration, Instant};

/// Three hosts install packages one after the other, a minute each and three on a busy machine; then three waves.
const VOYAGE: Duration = Duration::from_secs(1500);

/// P7, P8, P10: every daemon is new by its running process, the release is required after approval, flags are as before, and the client
/// lost nothing.
#[test]
fn nautilus_to_pacific_under_load() -> Result<()> {
    let field = Field::up(&FieldSpec::ceph("t-ceph-voyage"))?;
    let cluster = field.cluster()?;
    let writer = Writer::start(cluster)?;
    let flags = |field: &Field| -> Result<String> {
        let dump = field.cluster()?.ask(&["osd", "dump"])?;
        Ok(dump["flags"].as_str().context("the map has no flags")?.to_owned())
    };
    let before = flags(&field)?;

    let plan = field.plan_ceph(&CephFleet::default())?;
    let since = Instant::now();
    let run = field.apply(&plan)?;
    let view = field.sail(&run, VOYAGE)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    println!("voyage: {:.0} s", since.elapsed().as_secs_f64());
    println!("{}", field.replank(&["report", &run.0])?);

    // Of the running processes, and not of what the cluster remembers of their boot.
    let mut running = 0;
    for host in field.hosts() {
        let said = host.sh(
            "for socket in /run/ceph/*.asok; do ceph --admin-daemon $socket version | tr -d ' \\n'; echo; done; \
             ls -l /proc/[0-9]*/exe 2>/dev/null | grep -E 'ceph-(mon|mgr|osd) \\(deleted\\)' || :",
        )?;
        ensure!(!said.contains("(deleted)"), "{} still runs an old program: {said}", host.name());
        for line in said.lines() {
            ensure!(line.contains("\"version\":\"16.2.15\""), "{}: {line}", host.name());
            running += 1;
        }
    }
    ensure!(running == 12, "{running} daemons answer");
    let dump = cluster.ask(&["osd", "dump"])?;
    ensure!(dump["require_osd_release"] == "pacific", "the cluster requires {}", dump["require_osd_release"]);
    ensure!(flags(&field)? == before, "flags were {before} and are {}", flags(&field)?);
    cluster.wait_for_clean(Duration::from_secs(60))?;

    let verdict = writer.finish()?;
    println!("{verdict}");
    verdict.sound().map_err(|what| anyhow::anyhow!("the client did not get what it was promised:\n{what}"))
}
