//! A real cluster from one release to a later one under a client that writes, from booting it to the proof: what `make demo-ceph` runs.

use anyhow::{Result, ensure};
use replank_e2e::{CephFleet, Field, FieldSpec, cluster_proof};
use replank_lab::ceph::{Pair, Writer};
use std::time::{Duration, Instant};

fn main() -> Result<()> {
    let start = Instant::now();
    let say = |text: &str| println!("\n== {:>4} s  {text}", start.elapsed().as_secs());

    say(
        "booting 3 hosts and a cluster of Ceph 14.2 with 3 MONs, 3 managers, 6 OSDs, 2 MDS and 2 gateways; a pool of three copies, one that is \
         erasure-coded, a file system",
    );
    let field = Field::up(&FieldSpec::ceph_of_every_kind("demo-ceph", Pair::default()))?;
    let cluster = field.cluster()?;
    print!("{}", cluster.admin().must(&["ceph", "status"])?);
    print!("{}", cluster.admin().must(&["ceph", "versions"])?);
    let flags_before = cluster_proof::flags(&field)?;
    let settings_before = cluster_proof::settings(&field)?;

    say(
        "a client writes numbered records to an image on each pool, to files and to objects, each after the one before it was acknowledged; twenty more write to a pool now and then",
    );
    let writer = Writer::start(cluster)?;

    say("replank plan -f fleet.toml -o plan.json");
    let plan = field.plan_ceph(&CephFleet::default())?;
    print!("{}", field.replank(&["show", &plan])?);
    print!("{}", field.replank(&["lint", &plan])?);

    say("replank apply plan.json; each hold is approved as it is reached");
    let run = field.apply(&plan)?;
    println!("{}", run.0);
    let view = field.sail(&run, Duration::from_secs(2_400))?;
    let report = field.replank(&["report", &run.0])?;
    // Every package that was fetched and installed is in the report too.
    for line in report.lines().filter(|line| !line.starts_with("    package ")) {
        println!("{line}");
    }
    ensure!(view.phase.as_str() == "completed", "the run ended {}", view.phase);

    say("the proof");
    let running = cluster_proof::running(&field)?;
    for daemon in &running {
        println!("{:<6} {:<10} runs {}", daemon.host, daemon.daemon, daemon.version);
    }
    ensure!(running.len() == cluster.daemons(), "{} of {} daemons answer", running.len(), cluster.daemons());
    ensure!(running.iter().all(|daemon| daemon.version == "16.2.15"), "an old daemon runs");
    let required = cluster_proof::required(&field)?;
    println!("require-osd-release: {required}");
    ensure!(required == "pacific", "the cluster requires {required}");
    let flags = cluster_proof::flags(&field)?;
    println!("flags before: {flags_before}\nflags after:  {flags}");
    ensure!(flags == flags_before, "the flags are not what they were");
    let settings = cluster_proof::settings(&field)?;
    println!("settings of the cluster before and after: {}", settings.len());
    ensure!(settings == settings_before, "settings were {settings_before:?} and are {settings:?}");
    cluster.wait_for_clean(Duration::from_secs(60))?;

    let verdict = writer.finish()?;
    println!("{verdict}");
    verdict
        .sound()
        .map_err(|what| anyhow::anyhow!("the client did not get what it was promised:\n{what}"))?;
    say(&format!("done: 3 hosts, {} daemons, no write lost", running.len()));
    Ok(())
}
