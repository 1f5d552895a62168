//! A real cluster whose daemons run as root, as an upgrade from Hammer leaves them: its files are given to the user `ceph` under load, and back again.

use anyhow::{Result, ensure};
use replank_core::run::Phase;
use replank_e2e::{Field, FieldSpec};
use replank_lab::Host;
use replank_lab::ceph::Writer;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(900);
/// The daemons whose files change their owner: MONs and OSDs.
const DAEMONS: usize = 9;

/// P3, P7, P10: agents touch no daemon that nobody asked them to; then each daemon restarts once and runs as whom its files belong to, there and back; the client loses nothing.
#[test]
fn to_the_user_ceph_and_back_under_load() -> Result<()> {
    let field = Field::up(&FieldSpec::ceph("t-ceph-own"))?;
    agents_stand_beside_the_daemons(&field)?;
    for host in field.hosts() {
        run_as_root(host)?;
    }
    field.cluster()?.wait_for_quorum(3, Duration::from_secs(60))?;
    field.cluster()?.wait_for_clean(Duration::from_secs(120))?;
    all_run_as(&field, "root")?;
    let writer = Writer::start(field.cluster()?)?;
    let conf = |field: &Field| -> Result<Vec<String>> {
        field.hosts().map(|host| Ok(host.sh("cat /etc/ceph/ceph.conf")?)).collect()
    };
    let before = conf(&field)?;

    let run = field.apply(&field.plan_ceph_ownership()?)?;
    let view = field.sail(&run, LIMIT)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    println!("{}", field.replank(&["report", &run.0])?);
    all_run_as(&field, "ceph")?;
    ensure!(
        conf(&field)?.iter().all(|conf| !conf.contains("setuser match path")),
        "a row is left in ceph.conf"
    );
    field.cluster()?.wait_for_clean(Duration::from_secs(60))?;

    field.roll_back(&run, LIMIT)?;
    all_run_as(&field, "root")?;
    ensure!(conf(&field)? == before, "ceph.conf is not what it was");
    field.cluster()?.wait_for_clean(Duration::from_secs(60))?;

    let verdict = writer.finish()?;
    println!("{verdict}");
    verdict.sound().map_err(|what| anyhow::anyhow!("the client did not get what it was promised:\n{what}"))
}

/// The inventory of three linked agents lists their hosts, and no daemon was touched.
fn agents_stand_beside_the_daemons(field: &Field) -> Result<()> {
    let daemons = || -> Result<Vec<String>> {
        field.hosts().map(|host| Ok(host.sh("pgrep -a 'ceph-(mon|mgr|osd)'")?)).collect()
    };
    let before = daemons()?;
    let path = field.path("inventory.json").to_string_lossy().into_owned();
    field.replank(&["inventory", "-o", &path])?;
    let inventory = std::fs::read_to_string(&path)?;
    for host in field.hosts() {
        ensure!(
            inventory.contains(&format!("\"{}\"", host.name())),
            "{} is not in the inventory",
            host.name()
        );
    }
    ensure!(daemons()? == before, "daemons changed: {before:?}");
    Ok(())
}

/// MONs and OSDs of the host become root's, as their files.
pub fn run_as_root(host: &Host) -> Result<()> {
    host.sh(
        "for section in mon osd; do
             sed -i \"s,^\\[$section\\]$,&\\nsetuser match path = /var/lib/ceph/\\$type/\\$cluster-\\$id,\" /etc/ceph/ceph.conf
         done
         systemctl stop ceph-osd.target ceph-mon.target
         chown -R root:root /var/lib/ceph/mon /var/lib/ceph/osd /var/log/ceph/ceph-mon.* /var/log/ceph/ceph-osd.*
         systemctl start ceph-mon.target ceph-osd.target",
    )?;
    Ok(())
}

/// Processes and everything that is theirs.
fn all_run_as(field: &Field, user: &str) -> Result<()> {
    let mut running = 0;
    for host in field.hosts() {
        let said = host.sh("ps -o user= -C ceph-mon,ceph-osd")?;
        ensure!(
            said.lines().all(|line| line.trim() == user),
            "{}: not all run as {user}:\n{said}",
            host.name()
        );
        running += said.lines().count();
        let other =
            host.sh(&format!("find /var/lib/ceph/mon/* /var/lib/ceph/osd/* ! -user {user} | head -n 5"))?;
        ensure!(other.is_empty(), "{}: not {user}'s:\n{other}", host.name());
    }
    ensure!(running == DAEMONS, "{running} of {DAEMONS} daemons run");
    Ok(())
}
