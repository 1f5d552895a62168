//! What goes wrong around a cluster on its way, one after the other in a single voyage: each is met, named, mended as an operator would, and the voyage
//! comes to its end.

use anyhow::{Context, Result, bail, ensure};
use replank_core::run::{Phase, RunView};
use replank_e2e::cluster_proof::{flags, required, running};
use replank_e2e::{CephFleet, Field, FieldSpec, RunRef};
use replank_lab::Host;
use replank_lab::ceph::{Pair, Writer};
use std::time::{Duration, Instant};

/// One part of the voyage: packages are installed on a busy machine, or a wave settles.
const LIMIT: Duration = Duration::from_secs(600);
/// That nothing happens is watched for so long: several questions to the cluster, and more than one wave would take.
const STILL: Duration = Duration::from_secs(12);
const MON_PORTS: [u16; 2] = [3300, 6789];

/// P4, P7, P8, P10: the operator's own flag, a MON that does not rejoin, OSDs of other hosts that die during a wave and before the next one, the coordinator
/// killed in the middle of a wave, a new daemon that does not start, nobody who would take over from an MDS. The client loses nothing, and the cluster has its flags as they were.
#[test]
fn a_voyage_under_attack() -> Result<()> {
    let mut field = Field::up(&FieldSpec::ceph_of_every_kind("t-ceph-attacks", Pair::default()))?;
    let writer = Writer::start(field.cluster()?)?;
    // The plan wants the same flag, and it was here before.
    field.cluster()?.admin().must(&["ceph", "osd", "set", "noout"])?;
    let before = flags(&field)?;
    let plan = field.plan_ceph(&CephFleet::default())?;
    let holder = rank_holder(&field)?;
    let run = field.apply(&plan)?;

    a_mon_does_not_rejoin(&field, &run)?;
    an_osd_of_another_host_dies_during_a_wave(&field, &run)?;
    an_osd_is_down_before_a_wave(&field, &run)?;
    the_coordinator_dies_in_a_wave(&mut field, &run)?;
    a_new_daemon_does_not_start(&field, &run, |field| nobody_stands_by(field, &holder))?;
    the_last_mds_is_waited_for(&field, &run, &holder)?;

    let view = field.sail(&run, LIMIT)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    println!("{}", field.replank(&["report", &run.0])?);
    ensure!(flags(&field)? == before, "flags were {before} and are {}", flags(&field)?);
    ensure!(before.contains("noout"), "the operator's flag is not among {before}");
    ensure!(required(&field)? == "pacific", "the cluster requires {}", required(&field)?);
    let running = running(&field)?;
    ensure!(
        running.len() == field.cluster()?.daemons()
            && running.iter().all(|daemon| daemon.version == "16.2.15"),
        "{running:?}"
    );
    field.cluster()?.wait_for_clean(Duration::from_secs(60))?;
    let verdict = writer.finish()?;
    println!("{verdict}");
    verdict.sound().map_err(|what| anyhow::anyhow!("the client did not get what it was promised:\n{what}"))
}

/// The MON of ceph2 starts anew behind a firewall that lets no MON through: the run names it, no other MON is touched, and two keep the quorum.
fn a_mon_does_not_rejoin(field: &Field, run: &RunRef) -> Result<()> {
    field.sail_to_hold(run, "after-first-mon", LIMIT)?;
    let host = field.lab.host("ceph2")?;
    let unit = "/etc/systemd/system/ceph-mon@ceph2.service.d";
    let wait = "[Service]\nExecStartPre=/bin/sh -c 'touch /run/mon-starts; while [ -e /run/mon-waits ]; do sleep 0.1; done'\n";
    host.write(&format!("{unit}/attack.conf"), wait.as_bytes(), 0o644)?;
    host.sh("touch /run/mon-waits; systemctl daemon-reload")?;
    field.replank(&["approve", &run.0, "after-first-mon"])?;
    // While the C library is replaced below it, a command of the host may fail.
    until(LIMIT, "the MON of ceph2 is restarted", || {
        Ok(host.run(&["test", "-e", "/run/mon-starts"]).is_ok_and(|output| output.status.success()))
    })?;
    field.lab.cut_ports("ceph2", &MON_PORTS)?;
    host.sh(&format!("rm /run/mon-waits; rm -r {unit}; systemctl daemon-reload"))?;

    let why = why_says(field, run, "the MON", |why| why.contains("mon.ceph2") && why.contains("quorum"))?;
    println!("-- a MON does not rejoin:\n{why}");
    stands_still(field, run, "ceph3.restart-mon")?;
    let quorum = field.cluster()?.ask(&["quorum_status"])?["quorum_names"].to_string();
    ensure!(
        quorum.contains("ceph1") && quorum.contains("ceph3") && !quorum.contains("ceph2"),
        "in quorum: {quorum}"
    );
    field.lab.heal_link("ceph2")?;
    field.sail_to_hold(run, "before-last-mon", LIMIT)?;
    Ok(())
}

/// While the first OSDs settle, one of ceph2 is killed and does not come back: the run names what misses it, and stops nothing more.
fn an_osd_of_another_host_dies_during_a_wave(field: &Field, run: &RunRef) -> Result<()> {
    field.replank(&["approve", &run.0, "before-last-mon"])?;
    field.see(run, LIMIT, "waits for the first OSDs to settle", |view| {
        is(view, "ceph1.restart-osds", "verifying")
    })?;
    let victim = field.cluster()?.osds_of("ceph2")[0];
    let host = field.lab.host("ceph2")?;
    kill_for_good(host, victim)?;
    let why =
        why_says(field, run, "a group of the wave", |why| why.contains("RP3024") && names_a_group(why))?;
    println!("-- osd.{victim} of ceph2 died while the OSDs of ceph1 settled:\n{why}");
    stands_still(field, run, "ceph2.restart-osds")?;
    bring_back(host, victim)
}

/// The next wave may not begin while an OSD elsewhere is down: the run says which groups would have too few copies.
fn an_osd_is_down_before_a_wave(field: &Field, run: &RunRef) -> Result<()> {
    field.sail_to_hold(run, "after-first-osds", LIMIT)?;
    field.cluster()?.wait_for_clean(Duration::from_secs(60))?;
    let victim = field.cluster()?.osds_of("ceph3")[0];
    let host = field.lab.host("ceph3")?;
    kill_for_good(host, victim)?;
    until(Duration::from_secs(60), "the MONs see it", || Ok(osds_up(field)? == 5))?;
    field.replank(&["approve", &run.0, "after-first-osds"])?;
    let down = format!("osd.{victim}");
    let why = why_says(field, run, "the OSD and a group that would have too few copies", |why| {
        why.contains("RP3024") && why.contains(&down) && names_a_group(why)
    })?;
    println!("-- osd.{victim} of ceph3 is down before the wave of ceph2:\n{why}");
    stands_still(field, run, "ceph2.restart-osds")?;
    bring_back(host, victim)
}

/// `kill -9` while the OSDs of ceph2 are being restarted: the flags stay, the wave comes to its end, and the run goes on where it was.
fn the_coordinator_dies_in_a_wave(field: &mut Field, run: &RunRef) -> Result<()> {
    field.see(run, LIMIT, "restarts the OSDs of ceph2", |view| is(view, "ceph2.restart-osds", "acting"))?;
    field.coordinator.kill()?;
    let owned = flags(field)?;
    for flag in ["noout", "noscrub", "nodeep-scrub"] {
        ensure!(owned.split(',').any(|set| set == flag), "{flag} is not set while nobody leads: {owned}");
    }
    // The agent finishes what it was told.
    until(LIMIT, "the OSDs of ceph2 are new", || all_new(field, "ceph2"))?;
    let began = Instant::now();
    field.coordinator.start(&field.lab)?;
    println!(
        "-- the coordinator died in a wave, and answered {} ms after its start",
        began.elapsed().as_millis()
    );
    Ok(())
}

/// The second OSD of ceph3 cannot start any more once it has stopped: the step fails with what its log says, the other one is up and new, and no
/// step follows. Mended and tried again, the run goes on; `meanwhile` happens while it is held.
fn a_new_daemon_does_not_start(
    field: &Field,
    run: &RunRef,
    meanwhile: impl Fn(&Field) -> Result<()>,
) -> Result<()> {
    let osds = field.cluster()?.osds_of("ceph3");
    // The other one was down a while ago, and came back with what had been installed by then.
    let (other, broken) = (osds[0], osds[1]);
    let host = field.lab.host("ceph3")?;
    let key = format!("/var/lib/ceph/osd/ceph-{broken}/keyring");
    host.sh(&format!("mv {key} {key}.away"))?;
    let view =
        field.see(run, LIMIT, "is held by an OSD that does not start", |view| view.phase == Phase::Held)?;
    ensure!(is(&view, "ceph3.restart-osds", "held"), "held elsewhere:\n{}", field.trouble(run));
    let why = field
        .replank(&["why", &run.0])
        .or_else(|_| Ok::<_, anyhow::Error>(field.refused(&["why", &run.0])?.said))?;
    println!("-- a new daemon does not start:\n{why}");
    for named in [format!("osd.{broken}"), "RP5606".to_owned(), "keyring".to_owned()] {
        ensure!(why.contains(&named), "`why` does not name {named}:\n{why}");
    }
    ensure!(runs_new(host, other)?, "osd.{other} is not up and new");
    let owned = flags(field)?;
    ensure!(owned.contains("noscrub"), "the flags were given back in the middle of a wave: {owned}");
    stands_still(field, run, "ceph3.verify")?;
    host.sh(&format!("mv {key}.away {key}"))?;
    meanwhile(field)?;
    field.replank(&["retry", &run.0, "ceph3.restart-osds"])?;
    Ok(())
}

/// Who held the file system's rank when it was planned, and is to come last, gives it away and is gone.
fn nobody_stands_by(field: &Field, holder: &str) -> Result<()> {
    let host = field.lab.host(holder)?;
    host.sh(&format!(
        "systemctl mask --quiet --runtime ceph-mds@{holder}; systemctl stop ceph-mds@{holder}"
    ))?;
    until(Duration::from_secs(60), "another MDS holds the rank", || {
        let now = rank_holder(field)?;
        Ok(!now.is_empty() && now != holder)
    })
}

/// The other MDS serves the file system now, and it comes first: it is not stopped while nobody would take over, and once somebody does the run goes on.
fn the_last_mds_is_waited_for(field: &Field, run: &RunRef, holder: &str) -> Result<()> {
    let now = rank_holder(field)?;
    // The last wave comes before it, and ceph3 has no MDS.
    field.see(run, LIMIT, "is through with the OSDs", |view| is(view, "ceph3.restart-rgw", "waiting"))?;
    let why = why_says(field, run, "the MDS that nobody would take over from", |why| {
        why.contains(&format!("mds.{now} holds rank 0 of the file system shelf"))
    })?;
    println!("-- no MDS stands by:\n{why}");
    stands_still(field, run, &format!("{now}.restart-mds"))?;
    field.lab.host(holder)?.sh(&format!(
        "systemctl unmask --quiet --runtime ceph-mds@{holder}; systemctl start ceph-mds@{holder}"
    ))?;
    Ok(())
}

/// The MDS that serves the file system, by name; none while nobody does.
fn rank_holder(field: &Field) -> Result<String> {
    let map = field.cluster()?.ask(&["fs", "dump"])?;
    let serving =
        map["filesystems"][0]["mdsmap"]["info"].as_object().context("the file system has no MDS")?;
    let active = serving.values().find(|one| one["state"] == "up:active");
    Ok(active.and_then(|one| one["name"].as_str()).unwrap_or_default().to_owned())
}

fn osds_up(field: &Field) -> Result<usize> {
    let dump = field.cluster()?.ask(&["osd", "dump"])?;
    let osds = dump["osds"].as_array().context("the map has no OSDs")?;
    Ok(osds.iter().filter(|osd| osd["up"] == 1).count())
}

/// Whether the host's next step is this one, in this state.
fn is(view: &RunView, step: &str, state: &str) -> bool {
    let steps = view.hosts.iter().filter_map(|host| host.step.as_ref());
    steps.into_iter().any(|at| at.id.as_str() == step && at.state.as_str() == state)
}

fn until(limit: Duration, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        if Instant::now() > deadline {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Waits until `why` has `what`.
fn why_says(field: &Field, run: &RunRef, what: &str, says: impl Fn(&str) -> bool) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let why = field.replank(&["why", &run.0])?;
        if says(&why) {
            return Ok(why);
        }
        ensure!(Instant::now() < deadline, "`why` does not name {what}:\n{}", field.trouble(run));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A placement group by its name: `3.1f`.
fn names_a_group(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || ",;:()".contains(c)).any(|word| {
        word.split_once('.').is_some_and(|(pool, group)| {
            pool.parse::<u32>().is_ok() && !group.is_empty() && u32::from_str_radix(group, 16).is_ok()
        })
    })
}

/// The step does not begin for a while.
fn stands_still(field: &Field, run: &RunRef, step: &str) -> Result<()> {
    let until = Instant::now() + STILL;
    while Instant::now() < until {
        let view = field.view(run)?.context("the coordinator does not answer")?;
        for state in ["acting", "verifying", "done"] {
            ensure!(!is(&view, step, state), "{step} has begun:\n{}", field.trouble(run));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

fn kill_for_good(host: &Host, osd: u32) -> Result<()> {
    host.sh(&format!(
        "systemctl mask --quiet --runtime ceph-osd@{osd}; systemctl kill --signal=KILL ceph-osd@{osd}"
    ))?;
    Ok(())
}

fn bring_back(host: &Host, osd: u32) -> Result<()> {
    host.sh(&format!(
        "systemctl unmask --quiet --runtime ceph-osd@{osd}; systemctl reset-failed ceph-osd@{osd} || :; systemctl start ceph-osd@{osd}"
    ))?;
    Ok(())
}

fn all_new(field: &Field, host: &str) -> Result<bool> {
    let at = field.lab.host(host)?;
    for osd in field.cluster()?.osds_of(host) {
        if !runs_new(at, osd)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// By its process.
fn runs_new(host: &Host, osd: u32) -> Result<bool> {
    let said =
        host.sh(&format!("ceph --admin-daemon /run/ceph/ceph-osd.{osd}.asok version 2>/dev/null || :"))?;
    Ok(said.contains("16.2.15"))
}
