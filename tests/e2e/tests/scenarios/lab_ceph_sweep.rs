//! P3, P4, P5, P7, P10: every kind of action on a cluster × every case, on a real one.
//!
//! What an action needs to have something to do again and again is made by hand here: OSDs that run as root, as an upgrade from Hammer leaves them; programs on the
//! disk that are the same but for the version that they say; a MON without the second messenger's address.

use crate::lab_ceph_ownership::run_as_root;
use crate::sweep::{Obstacle, Planned, Row, Shows, Sight, Sweep, Traces, every_kind, obstacle, plain};
use anyhow::{Context, Result, ensure};
use replank_common::action::{Action, CephConfig, CephFlags, CephOwn, CephRequire, CephRestart, OwnSwitch};
use replank_common::ceph::{CephDaemon, CephFlag, ConfigWay, Requirement};
use replank_common::version::Version;
use replank_e2e::{CephFleet, Field, FieldSpec};
use replank_lab::Host;
use std::collections::BTreeSet;
use std::time::Duration;

const OLD: &str = "14.2.21";
/// Of the same length: it is written over the old one in the programs.
const NEW: &str = "14.2.22";

/// The daemons of the host, and what of the cluster must be as it was.
const SIGHT: Sight = Sight {
    lives: r"
for unit in ceph-mon@ceph1 ceph-mgr@ceph1 ceph-osd@0 ceph-osd@1; do life $unit $(systemctl show -p MainPID --value $unit); done
",
    things: r#"
python3 - <<'END'
import json, rados
with rados.Rados(conffile='/etc/ceph/ceph.conf', conf={'keyring': '/root/sweep.keyring'}) as cluster:
    def ask(prefix):
        code, said, error = cluster.mon_command(json.dumps({'prefix': prefix, 'format': 'json'}), b'')
        assert code == 0, error
        return json.loads(said)
    osds = ask('osd dump')
    print('flags', osds['flags'], sep='\t')
    print('required', osds['require_osd_release'], sep='\t')
    for osd in osds['osds']:
        print(f"osd {osd['osd']}", f"up {osd['up']}, in {osd['in']}", sep='\t')
    for line in ask('config dump'):
        if not line['name'].startswith('mgr/'):
            print(f"setting {line['section']} {line['name']}", line['value'], sep='\t')
END
find /var/lib/ceph/osd -printf 'owner %p\t%u:%g\n'
for osd in 0 1; do printf 'user of osd.%s\t%s\n' $osd $(ps -o user= -p $(systemctl show -p MainPID --value ceph-osd@$osd) || :); done
"#,
};

const OSD_STARTS: &str =
    "journalctl -b -u ceph-osd@0.service -o json --output-fields=INVOCATION_ID --no-pager |
     grep -o '\"INVOCATION_ID\":\"[0-9a-f]*\"' | sort -u | wc -l";
/// Until the map has noticed.
const STOP: &str = "systemctl stop ceph-osd@0
     for _ in $(seq 300); do ceph osd stat | grep -q '6 osds: 5 up' && exit 0; sleep 0.1; done; exit 1";
const START: &str = "systemctl reset-failed ceph-osd@0 || :; systemctl start ceph-osd@0
     for _ in $(seq 300); do ceph daemon osd.0 status 2>/dev/null | grep -q '\"active\"' && exit 0; sleep 0.1; done; exit 1";
/// The old programs run, and the new ones are on the disk.
const RUN_OLD: &str = "put() { (cd /root/programs-$1 && find * -type f) | while read f; do cp -p /root/programs-$1/$f /$f.put && mv /$f.put /$f; done; }
     put old; systemctl reset-failed ceph-osd@0 || :; systemctl restart ceph-osd@0
     for _ in $(seq 300); do ceph daemon osd.0 status 2>/dev/null | grep -q '\"active\"' && break; sleep 0.1; done
     put new; ceph daemon osd.0 version | grep -q 14.2.21";
const WHOLE: &str = "for _ in $(seq 300); do
         ceph osd stat | grep -q '6 osds: 6 up' && ceph pg stat | grep -Eq '^([0-9]+) pgs: \\1 active\\+clean;' && exit 0; sleep 0.2
     done; ceph status; exit 1";
const MON_OF_OLD: &str = "mon() { ceph mon dump -f json 2>/dev/null | python3 -c \"import json, sys
for mon in json.load(sys.stdin)['mons']:
    if mon['name'] == 'ceph3': print($1)\"; }
     ceph mon set-addrs ceph3 \"[v1:$(mon \"mon['public_addr']\")]\"
     for _ in $(seq 300); do
         [ $(mon \"len(mon['public_addrs']['addrvec'])\") = 1 ] && ceph quorum_status | grep -q '\"quorum\":\\[0,1,2\\]' && exit 0; sleep 0.1
     done; exit 1";
/// osd.4, of another host.
const OTHER_DOWN: (&str, &str) = (
    "ceph osd set noup && ceph osd down 4 && for _ in $(seq 100); do ceph osd stat | grep -q '6 osds: 5 up' && exit 0; sleep 0.1; done; exit 1",
    "ceph osd unset noup; for _ in $(seq 100); do ceph osd stat | grep -q '6 osds: 6 up' && exit 0; sleep 0.1; done; exit 1",
);

#[test]
fn every_kind_of_action_on_a_cluster_in_every_case() -> Result<()> {
    let field = Field::up(&FieldSpec::ceph("t-ceph-sweep"))?;
    let Planned { id, .. } = Planned::read(&field.plan_ceph(&CephFleet::default())?)?;
    let host = field.first()?.clone();
    prepare(&host)?;
    field.cluster()?.wait_for_quorum(3, Duration::from_secs(60))?;
    field.cluster()?.wait_for_clean(Duration::from_secs(120))?;
    let rows = rows(&host)?;
    let kinds: BTreeSet<&str> = rows.iter().map(|row| row.action.kind()).collect();
    let every = every_kind();
    let every: BTreeSet<&str> =
        every.iter().map(String::as_str).filter(|kind| kind.starts_with("ceph-")).collect();
    ensure!(kinds == every && kinds.len() >= 5, "swept are {kinds:?}, and there are {every:?}");
    let field = Sweep::begin(field, id, rows, Vec::new(), SIGHT)?.all()?;
    field.cluster()?.wait_for_clean(Duration::from_secs(60))?;
    Ok(())
}

/// The host's daemons run as root; of the programs of an OSD there are two sets, and the new one is on the disk.
fn prepare(host: &Host) -> Result<()> {
    run_as_root(host)?;
    host.sh(&format!(
        "cp /etc/ceph/ceph.client.admin.keyring /root/sweep.keyring
         cd /
         for file in usr/bin/ceph-osd usr/lib/*/ceph/erasure-code/*.so; do
             [ -h $file ] && continue
             for set in old new; do mkdir -p /root/programs-$set/$(dirname $file); cp -p $file /root/programs-$set/$file; done
             LC_ALL=C sed -i 's/{old}/{NEW}/g' /root/programs-new/$file
             cp -p /root/programs-new/$file $file.put; mv $file.put $file
         done
         ceph-osd --version | grep -q {NEW}",
        old = OLD.replace('.', "\\."),
    ))
    .context("the programs with another version")?;
    Ok(())
}

fn rows(host: &Host) -> Result<Vec<Row>> {
    let number = |flag: &str| -> Result<u32> { Ok(host.must(&["id", flag, "ceph"])?.trim().parse()?) };
    let own = |daemon: u32, switch: Option<OwnSwitch>| -> Result<CephOwn> {
        let (uid, gid) = (number("-u")?, number("-g")?);
        Ok(CephOwn { daemon: CephDaemon::osd(daemon), uid, gid, files_per_second: 0, switch })
    };
    let switch = OwnSwitch {
        expect: Version::new(NEW),
        consents: Vec::new(),
        stop_ms: 60_000,
        down_ms: 60_000,
        start_ms: 60_000,
    };
    let mut rows = vec![flags()];
    rows.extend(settings());
    rows.extend([require(), restart(), own_ahead(own(1, None)?), own_switch(own(0, Some(switch))?)]);
    Ok(rows)
}

fn flags() -> Row {
    let action = Action::CephFlags(CephFlags { flags: vec![CephFlag::Noout, CephFlag::NodeepScrub] });
    plain(
        &action,
        Shows::OnHost("ceph osd dump | grep '^flags' | grep noout | grep -q nodeep-scrub".to_owned()),
        vec![no_key()],
    )
}

fn no_key() -> Obstacle {
    obstacle(
        "no key for the cluster",
        "mv /etc/ceph/ceph.client.admin.keyring /root/away.keyring",
        "mv /root/away.keyring /etc/ceph/ceph.client.admin.keyring",
        "RP5601",
    )
}

/// With the MONs, and in the memory of the daemons.
fn settings() -> [Row; 2] {
    let of = |name: &str, value: &str, way| {
        let (section, name, value) = ("osd".to_owned(), name.to_owned(), value.to_owned());
        Action::CephConfig(CephConfig { section, name, value, way })
    };
    let row = |name: &str, value: &str, way, word: &str, shows: String| {
        let action = of(name, value, way);
        let unknown = Obstacle {
            instead: Some(of("no_such_setting", "1", way)),
            ..obstacle("a setting that Ceph does not have", "", "", "RP5610")
        };
        let row = plain(&action, Shows::OnHost(shows), vec![unknown]);
        Row { name: format!("{} ({word})", row.name), ..row }
    };
    [
        row(
            "osd_max_backfills",
            "3",
            ConfigWay::Central,
            "central",
            "ceph config dump | grep -Eq 'osd_max_backfills +3'".to_owned(),
        ),
        row(
            "osd_scrub_sleep",
            "0.25",
            ConfigWay::Inject,
            "injected",
            "ceph daemon osd.1 config get osd_scrub_sleep | grep -q 0.25".to_owned(),
        ),
    ]
}

fn require() -> Row {
    let pacific = Requirement::RequireOsdRelease { release: "pacific".to_owned() };
    let early = Obstacle {
        instead: Some(Action::CephRequire(CephRequire { what: pacific })),
        ..obstacle("OSDs that are older", "", "", "RP5607")
    };
    let action = Action::CephRequire(CephRequire { what: Requirement::EnableMsgr2 });
    let shows = "ceph mon dump 2>/dev/null | grep ceph3 | grep -q v2:";
    Row { ready: MON_OF_OLD, ..plain(&action, Shows::Lasting(shows.to_owned()), vec![early]) }
}

fn restart() -> Row {
    let of = |expect: &str| {
        Action::CephRestart(CephRestart {
            daemons: vec![CephDaemon::osd(0)],
            expect: Version::new(expect),
            beside: Vec::new(),
            consents: Vec::new(),
            stop_ms: 60_000,
            start_ms: 60_000,
        })
    };
    let obstacles = vec![
        obstacle("an OSD of another host that is down", OTHER_DOWN.0, OTHER_DOWN.1, "RP5602"),
        obstacle("one that its owner stopped", STOP, START, "RP5604"),
        Obstacle {
            instead: Some(of("14.2.99")),
            ..obstacle("another version on the disk than the plan's", "", WHOLE, "RP5603")
        },
    ];
    Row {
        ready: RUN_OLD,
        traces: Some(Traces { count: OSD_STARTS, there: 1, back: 0 }),
        restarts: vec!["ceph-osd@0".to_owned()],
        ..plain(&of(NEW), Shows::Lasting(format!("ceph daemon osd.0 version | grep -q {NEW}")), obstacles)
    }
}

fn own_ahead(action: CephOwn) -> Row {
    let obstacles = vec![
        obstacle(
            "no `setuser match path`",
            "cp -p /etc/ceph/ceph.conf /root/sweep.conf; sed -i '/setuser match path/d' /etc/ceph/ceph.conf",
            "cp -p /root/sweep.conf /etc/ceph/ceph.conf",
            "RP5613",
        ),
        obstacle(
            "a file with a name elsewhere",
            "ln /var/lib/ceph/osd/ceph-1/whoami /var/lib/ceph/whoami",
            "rm /var/lib/ceph/whoami",
            "RP5612",
        ),
    ];
    let shows = "[ $(stat -c %U /var/lib/ceph/osd/ceph-1/block) = ceph ]";
    let row = plain(&Action::CephOwn(action), Shows::OnHost(shows.to_owned()), obstacles);
    Row { name: format!("{} (ahead)", row.name), ..row }
}

fn own_switch(action: CephOwn) -> Row {
    let other = CephOwn { uid: 4_321, ..action.clone() };
    let obstacles = vec![
        obstacle("an OSD of another host that is down", OTHER_DOWN.0, OTHER_DOWN.1, "RP5602"),
        Obstacle {
            instead: Some(Action::CephOwn(other)),
            ..obstacle("another user than the host's", "", WHOLE, "RP5613")
        },
    ];
    let shows = "[ $(stat -c %U /var/lib/ceph/osd/ceph-0) = ceph ]
         [ $(ps -o user= -p $(systemctl show -p MainPID --value ceph-osd@0)) = ceph ]";
    let row = plain(&Action::CephOwn(action), Shows::OnHost(shows.to_owned()), obstacles);
    Row {
        name: format!("{} (switch)", row.name),
        traces: Some(Traces { count: OSD_STARTS, there: 1, back: 1 }),
        restarts: vec!["ceph-osd@0".to_owned()],
        ..row
    }
}
