//! A real cluster from 14.2.21 to 16.2.15 while a client writes, as an operator does it.

use anyhow::{Result, ensure};
use replank_core::run::Phase;
use replank_e2e::{CephFleet, Field, FieldSpec, cluster_proof};
use replank_lab::ceph::Writer;
use std::time::{Duration, Instant};

/// Three hosts install packages one after the other, a minute each and three on a busy machine; then three waves.
const VOYAGE: Duration = Duration::from_secs(1500);

/// P7, P8, P10: every daemon is new by its running process, the release is required after approval, flags and settings are as before, and the client
/// lost nothing.
#[test]
fn nautilus_to_pacific_under_load() -> Result<()> {
    let field = Field::up(&FieldSpec::ceph("t-ceph-voyage"))?;
    let cluster = field.cluster()?;
    let writer = Writer::start(cluster)?;
    let before = cluster_proof::flags(&field)?;
    let settings = cluster_proof::settings(&field)?;

    let plan = field.plan_ceph(&CephFleet::default())?;
    let since = Instant::now();
    let run = field.apply(&plan)?;
    let view = field.sail(&run, VOYAGE)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    println!("voyage: {:.0} s", since.elapsed().as_secs_f64());
    println!("{}", field.replank(&["report", &run.0])?);

    let running = cluster_proof::running(&field)?;
    ensure!(running.len() == 12, "{} daemons answer: {running:?}", running.len());
    ensure!(running.iter().all(|daemon| daemon.version == "16.2.15"), "an old daemon runs: {running:?}");
    let required = cluster_proof::required(&field)?;
    ensure!(required == "pacific", "the cluster requires {required}");
    let flags = cluster_proof::flags(&field)?;
    ensure!(flags == before, "flags were {before} and are {flags}");
    let now = cluster_proof::settings(&field)?;
    ensure!(now == settings, "settings were {settings:?} and are {now:?}");
    cluster.wait_for_clean(Duration::from_secs(60))?;

    let verdict = writer.finish()?;
    println!("{verdict}");
    verdict.sound().map_err(|what| anyhow::anyhow!("the client did not get what it was promised:\n{what}"))
}
