//! A real cluster from one release to a later one while a client writes, as an operator does it.

use anyhow::{Result, ensure};
use replank_core::run::Phase;
use replank_e2e::{CephFleet, Field, FieldSpec, cluster_proof};
use replank_lab::ceph::{Pair, Writer};
use std::time::{Duration, Instant};

/// Three hosts install packages one after the other, half a minute each and two on a busy machine; then three waves.
const VOYAGE: Duration = Duration::from_secs(1500);

/// What a client may wait for is over in seconds. A client that knocks at an OSD's old address does so for 10 s and more (`objecter_timeout`), and an MDS waits 45 s for a client
/// that is gone (`mds_reconnect_timeout`), and all others wait with it.
const STALL_MS: u64 = 10_000;

/// P7, P8, P10: every daemon is new by its running process, the release is required after approval, flags and settings are as before, and the client
/// lost nothing.
#[test]
fn nautilus_to_pacific_under_load() -> Result<()> {
    voyage("t-ceph-voyage", Pair::NautilusToPacific)
}

/// As above, on a host of Debian 12 that gets the libraries of Debian 13, some of them under other names.
#[test]
#[ignore = "fetches and unpacks another release of Debian: `make lab-ceph-reef`"]
fn pacific_to_reef_under_load() -> Result<()> {
    voyage("t-ceph-reef", Pair::PacificToReef)
}

fn voyage(name: &str, pair: Pair) -> Result<()> {
    let field = Field::up(&FieldSpec::ceph_of_every_kind(name, pair))?;
    let releases = field.releases();
    let cluster = field.cluster()?;
    let old = cluster_proof::running(&field)?;
    ensure!(old.iter().all(|daemon| daemon.version == releases.from), "another release runs: {old:?}");
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
    ensure!(running.len() == cluster.daemons(), "{} daemons answer: {running:?}", running.len());
    ensure!(running.iter().all(|daemon| daemon.version == releases.to), "an old daemon runs: {running:?}");
    let required = cluster_proof::required(&field)?;
    ensure!(required == releases.required, "the cluster requires {required}");
    let flags = cluster_proof::flags(&field)?;
    ensure!(flags == before, "flags were {before} and are {flags}");
    let now = cluster_proof::settings(&field)?;
    ensure!(now == settings, "settings were {settings:?} and are {now:?}");
    cluster.wait_for_clean(Duration::from_secs(60))?;

    let verdict = writer.finish()?;
    println!("{verdict}");
    let stall = verdict.longest_stall().map_or(0, |stall| stall.ms);
    ensure!(stall < STALL_MS, "a client waited {stall} ms:\n{verdict}");
    verdict.sound().map_err(|what| anyhow::anyhow!("the client did not get what it was promised:\n{what}"))
}
