//! The actions on Ceph against a cluster in memory: three hosts with a MON and two OSDs each, of which this one is the first.

use super::testing::World;
use super::{ActError, Host, Perform, Standing};
use crate::guests::processes::tests::fake_process;
use crate::host::boundary::Boundary;
use crate::host::command::{Command, CommandError, Output, Programs};
use crate::host::systemd::{LinkChange, Systemd, SystemdError, UnitStatus};
use crate::readings::answer;
use replank_ceph::OsdId;
use replank_ceph::redundancy::Answer;
use replank_ceph::seen::Seen;
use replank_common::action::{CephConfig, CephFlags, CephRequire, CephRestart};
use replank_common::ceph::{CephDaemon, CephFlag, ConfigWay, Requirement};
use replank_common::reading::{ReadingRequest, ReadingValue};
use replank_common::undo::UndoRecord;
use replank_common::version::Version;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OLD: &str = "14.2.21";
pub(super) const NEW: &str = "16.2.15";
/// For an answer.
const TIME: Duration = Duration::from_secs(60);

/// What the programs and the systemd of the first host show.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    flags: BTreeSet<String>,
    /// By section and name.
    settings: BTreeMap<(String, String), String>,
    /// The pid and version of each daemon of this host that runs.
    pub(super) running: BTreeMap<String, (u32, String)>,
    /// OSDs of the map that are down.
    pub(super) down: BTreeSet<u32>,
    /// What each OSD said at its last boot.
    booted: BTreeMap<u32, String>,
    required: String,
    pub(super) installed: String,
    /// Daemons that end right after they were started.
    broken: BTreeSet<String>,
    /// Daemons that run as this user end right after they were started.
    pub(super) broken_as: Option<u32>,
    /// MONs that run and find no quorum.
    outside: BTreeSet<String>,
    /// Daemons that systemd does not see end in time.
    pub(super) slow: BTreeSet<String>,
    /// How often the groups are still seen peering.
    peering: u32,
    /// How often an OSD that runs still says that it boots.
    booting: u32,
    pub(super) stops: Vec<String>,
    pub(super) starts: Vec<String>,
    next_pid: u32,
}

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) cluster: Mutex<Cluster>,
    pub(super) proc: PathBuf,
}

impl Fake {
    /// As whom the daemon would run, by its directory. `None`: it would end, for a file is not its user's.
    pub(super) fn user_of(&self, name: &str) -> Option<u32> {
        let directory = self.proc.with_file_name("var/lib/ceph").join(name.replacen('.', "/ceph-", 1));
        let Ok(top) = directory.symlink_metadata() else { return Some(0) };
        let user = if top.uid() == 167 && top.gid() == 167 { 167 } else { 0 };
        let entries = walkdir::WalkDir::new(&directory).into_iter();
        let readable =
            entries.map(Result::unwrap).all(|entry| user == 0 || entry.metadata().unwrap().uid() == user);
        readable.then_some(user)
    }

    pub(super) fn start(&self, name: &str, version: &str) {
        let Some(user) = self.user_of(name) else { return };
        let mut cluster = self.cluster.lock().unwrap();
        cluster.next_pid += 1;
        let pid = cluster.next_pid;
        let (kind, id) = name.split_once('.').unwrap();
        let program = if kind == "client" { "/usr/bin/radosgw" } else { &format!("/usr/bin/ceph-{kind}") };
        fake_process(&self.proc, pid, 1, "ceph", u64::from(pid), &[program, "-f", "--id", id], program);
        let status = format!("Name:\tceph\nUid:\t{user}\t{user}\t{user}\t{user}\n");
        std::fs::write(self.proc.join(pid.to_string()).join("status"), status).unwrap();
        cluster.running.insert(name.to_owned(), (pid, version.to_owned()));
        if kind == "osd" {
            let id = id.parse().unwrap();
            cluster.down.remove(&id);
            cluster.booted.insert(id, version.to_owned());
        }
    }

    pub(super) fn stop(&self, name: &str) {
        let mut cluster = self.cluster.lock().unwrap();
        let Some((pid, _)) = cluster.running.remove(name) else { return };
        std::fs::remove_dir_all(self.proc.join(pid.to_string())).unwrap();
        if let Some(Ok(id)) = name.strip_prefix("osd.").map(str::parse) {
            cluster.down.insert(id);
        }
    }

    fn document(&self, arguments: &[&str]) -> Option<Value> {
        let mut cluster = self.cluster.lock().unwrap();
        let peers = arguments == ["pg", "dump"] && cluster.peering > 0;
        cluster.peering -= u32::from(peers);
        let acting = |group: u32| -> Vec<u32> { (0..3).map(|host| host * 2 + (group + host) % 2).collect() };
        let version = |version: &String| format!("ceph version {version} (x) x (stable)");
        Some(match arguments {
            ["osd", "dump"] => json!({
                "epoch": 40,
                "flags": cluster.flags.iter().map(String::as_str).chain(["sortbitwise"]).collect::<Vec<_>>().join(","),
                "require_osd_release": cluster.required,
                "pools": [{ "pool": 1, "pool_name": "volumes", "type": 1, "size": 3, "min_size": 2, "pg_num": 8 }],
                "osds": (0..6).map(|osd| {
                    let up = !cluster.down.contains(&osd);
                    json!({ "osd": osd, "up": u8::from(up), "in": 1, "up_from": 20,
                        "state": if up { vec!["exists", "up"] } else { vec!["exists"] },
                        "public_addr": format!("10.77.0.{}:6800/1", 1 + osd / 2) })
                }).collect::<Vec<_>>(),
            }),
            ["pg", "dump"] => json!({ "pg_ready": true, "pg_map": { "pg_stats": (0..8).map(|group| {
                let acting: Vec<u32> =
                    acting(group).into_iter().filter(|osd| !cluster.down.contains(osd)).collect();
                let state = if peers { "peering" } else if acting.len() == 3 { "active+clean" } else { "active+undersized+degraded" };
                json!({ "pgid": format!("1.{group:x}"), "state": state, "up": acting, "acting": acting,
                    "reported_epoch": "39", "avail_no_missing": acting.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "stat_sum": { "num_objects_degraded": 0, "num_objects_missing_on_primary": 0, "num_objects_missing": 0, "num_objects_unfound": 0 } })
            }).collect::<Vec<_>>() } }),
            ["osd", "tree"] => json!({ "nodes": [{ "id": -1, "name": "default", "type": "root", "children": [] }] }),
            ["health", "detail"] => json!({ "status": "HEALTH_OK", "checks": {} }),
            ["mon", "dump"] => json!({ "mons": [{ "name": "ceph1", "addr": "10.77.0.1:6789/0" }] }),
            ["quorum_status"] => json!({ "quorum_names": ["ceph1", "ceph2", "ceph3"], "monmap": { "mons":
                (1..=3).map(|n| json!({ "rank": n - 1, "name": format!("ceph{n}"), "addr": format!("10.77.0.{n}:6789/0") })).collect::<Vec<_>>() } }),
            ["osd", "metadata"] => cluster
                .booted
                .iter()
                .map(|(id, booted)| json!({ "id": id, "ceph_version": version(booted) }))
                .collect(),
            ["config", "dump"] => cluster
                .settings
                .iter()
                .map(|((section, name), value)| json!({ "section": section, "name": name, "value": value, "mask": "" }))
                .collect(),
            _ => return None,
        })
    }

    /// What `ceph` with these arguments prints; `None`: it fails.
    fn ceph(&self, arguments: &[&str]) -> Option<String> {
        let arguments: Vec<&str> = match arguments {
            ["--connect-timeout", _, "--format", "json", rest @ ..] | ["--connect-timeout", _, rest @ ..] => {
                rest.to_vec()
            }
            other => other.to_vec(),
        };
        if let Some(document) = self.document(&arguments) {
            return Some(document.to_string());
        }
        let mut cluster = self.cluster.lock().unwrap();
        match arguments[..] {
            ["osd", "set", flag] => drop(cluster.flags.insert(flag.to_owned())),
            ["osd", "unset", flag] => drop(cluster.flags.remove(flag)),
            ["osd", "require-osd-release", release] => cluster.required = release.to_owned(),
            ["config", "set", _, "no_such_setting", _] => return None,
            ["config", "set", section, name, value] => {
                cluster.settings.insert((section.to_owned(), name.to_owned()), value.to_owned());
            }
            ["config", "rm", section, name] => {
                cluster.settings.remove(&(section.to_owned(), name.to_owned()));
            }
            ["daemon", name, "mon_status"] => {
                let state = if cluster.outside.contains(name) { "probing" } else { "peon" };
                return cluster.running.get(name).map(|_| json!({ "state": state }).to_string());
            }
            ["daemon", name, "status"] => {
                cluster.running.get(name)?;
                let boots = cluster.booting > 0;
                cluster.booting -= u32::from(boots);
                return Some(json!({ "state": if boots { "booting" } else { "active" } }).to_string());
            }
            ["daemon", name, "version"] => {
                return Some(json!({ "version": cluster.running.get(name)?.1 }).to_string());
            }
            _ => return None,
        }
        Some(String::new())
    }
}

impl Programs for Fake {
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        let arguments: Vec<&str> =
            command.arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
        let said = match command.program.to_str().unwrap() {
            "ceph" => self.ceph(&arguments),
            "journalctl" => Some("unable to open OSD superblock".to_owned()),
            program if program.starts_with("ceph-") || program == "radosgw" => {
                Some(format!("ceph version {} (x) x (stable)", self.cluster.lock().unwrap().installed))
            }
            _ => None,
        };
        let code = Some(i32::from(said.is_none()));
        let complaint = if said.is_none() { "Error EINVAL: no such thing" } else { "" };
        let (stdout, stderr) = (said.unwrap_or_default().into_bytes(), complaint.into());
        Ok(Output { code, signal: None, stdout, stderr, took: Duration::ZERO })
    }
}

/// As the cluster knows the daemon of a unit.
fn daemon_of(unit: &str) -> String {
    let rest = unit.strip_prefix("ceph-").and_then(|rest| rest.strip_suffix(".service")).unwrap();
    rest.replace("radosgw@", "client.").replace('@', ".")
}

impl Systemd for Fake {
    fn status(&self, unit: &str) -> Result<UnitStatus, SystemdError> {
        let pid = self.cluster.lock().unwrap().running.get(&daemon_of(unit)).map(|(pid, _)| *pid);
        let active_state = if pid.is_some() { "active" } else { "inactive" }.to_owned();
        Ok(UnitStatus { name: unit.to_owned(), active_state, main_pid: pid, ..UnitStatus::default() })
    }

    fn start(&self, unit: &str, _: Duration) -> Result<(), SystemdError> {
        let name = daemon_of(unit);
        let (installed, broken) = {
            let mut cluster = self.cluster.lock().unwrap();
            cluster.starts.push(name.clone());
            (
                cluster.installed.clone(),
                cluster.broken.contains(&name)
                    || cluster.broken_as.is_some() && cluster.broken_as == self.user_of(&name),
            )
        };
        if !broken {
            Fake::start(self, &name, &installed);
        }
        Ok(())
    }

    fn stop(&self, unit: &str, _: Duration) -> Result<(), SystemdError> {
        crate::host::systemd::may_stop(unit, "stop")?;
        let slow = {
            let mut cluster = self.cluster.lock().unwrap();
            cluster.stops.push(daemon_of(unit));
            cluster.slow.contains(&daemon_of(unit))
        };
        if slow {
            return Err(SystemdError::TimedOut { what: format!("stop `{unit}`"), deadline: Duration::ZERO });
        }
        Fake::stop(self, &daemon_of(unit));
        Ok(())
    }

    fn reset_failed(&self, _: &str) -> Result<(), SystemdError> {
        Ok(())
    }

    fn mask(&self, _: &str, _: bool) -> Result<Vec<LinkChange>, SystemdError> {
        Ok(Vec::new())
    }

    fn enable(&self, _: &str) -> Result<Vec<LinkChange>, SystemdError> {
        Ok(Vec::new())
    }

    fn disable(&self, _: &str) -> Result<Vec<LinkChange>, SystemdError> {
        Ok(Vec::new())
    }

    fn reload(&self) -> Result<(), SystemdError> {
        Ok(())
    }
}

/// The first host, and its cluster.
pub(super) fn cluster() -> (World, Host, Arc<Fake>) {
    let world = World::new();
    let fake = Arc::new(Fake { cluster: Mutex::default(), proc: world.host.at("/proc") });
    {
        let mut cluster = fake.cluster.lock().unwrap();
        (cluster.next_pid, cluster.installed, cluster.required) =
            (100, NEW.to_owned(), "nautilus".to_owned());
        cluster.booted = (0..6).map(|osd| (osd, OLD.to_owned())).collect();
    }
    for name in ["mon.ceph1", "mgr.ceph1", "osd.0", "osd.1"] {
        Fake::start(&fake, name, OLD);
    }
    let host = Host { programs: fake.clone(), systemd: fake.clone(), ..world.host.clone() };
    (world, host, fake)
}

fn restart(daemons: &[&str]) -> CephRestart {
    CephRestart {
        daemons: daemons.iter().map(|name| name.parse::<CephDaemon>().unwrap()).collect(),
        expect: Version::new(NEW),
        beside: Vec::new(),
        consents: Vec::new(),
        stop_ms: 2_000,
        start_ms: 2_000,
    }
}

fn act(action: &impl Perform, host: &Host) -> Result<UndoRecord, ActError> {
    assert_eq!(action.check(host)?, Standing::Ready);
    let record = action.prepare(host)?;
    action.apply(host, &record, &|_, _| {})?;
    action.verify(host, &record)?;
    assert_eq!(action.check(host)?, Standing::Done);
    Ok(record)
}

/// Ends the action at the instant of this name, as a crash would.
pub(super) fn crash_at(action: &impl Perform, host: &Host, record: &UndoRecord, instant: &'static str) {
    let boundary = Boundary::hooked(move |reached| assert_ne!(reached, instant, "the crash"));
    let host = Host { boundary, ..host.clone() };
    let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(action.apply(&host, record, &|_, _| {}));
    }));
    assert!(crash.is_err(), "`{instant}` was not reached");
}

#[test]
fn flags_that_the_operator_had_set_stay_his() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().flags.insert("noout".to_owned());
    let action = CephFlags { flags: vec![CephFlag::Noout, CephFlag::Noscrub, CephFlag::NodeepScrub] };
    let record = act(&action, &host).unwrap();
    assert_eq!(record, UndoRecord::CephFlags { unset: vec![CephFlag::Noscrub, CephFlag::NodeepScrub] });
    assert_eq!(fake.cluster.lock().unwrap().flags.len(), 3);
    for changes in [2, 0] {
        assert_eq!(action.undo(&host, &record, &|_, _| {}).unwrap().changes.len(), changes);
        assert_eq!(fake.cluster.lock().unwrap().flags, BTreeSet::from(["noout".to_owned()]));
    }
}

#[test]
fn flags_that_were_set_before_a_crash_are_still_ours() {
    let (_world, host, fake) = cluster();
    let action = CephFlags { flags: vec![CephFlag::Noout, CephFlag::Noscrub] };
    let record = action.prepare(&host).unwrap();
    crash_at(&action, &host, &record, "ceph-flags: one flag set");
    assert_eq!(fake.cluster.lock().unwrap().flags, BTreeSet::from(["noout".to_owned()]));
    assert_eq!(action.check(&host).unwrap(), Standing::Ready);
    action.apply(&host, &record, &|_, _| {}).unwrap();
    action.undo(&host, &record, &|_, _| {}).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().flags, BTreeSet::new());
}

#[test]
fn a_setting_is_given_back_as_it_was_and_never_over_somebody_elses() {
    let (_world, host, fake) = cluster();
    let key = ("osd".to_owned(), "osd_max_backfills".to_owned());
    let action = CephConfig {
        section: key.0.clone(),
        name: key.1.clone(),
        value: "1".to_owned(),
        way: ConfigWay::Central,
    };
    let record = act(&action, &host).unwrap();
    assert_eq!(record, UndoRecord::CephConfig { before: None });
    action.undo(&host, &record, &|_, _| {}).unwrap();
    assert!(fake.cluster.lock().unwrap().settings.is_empty());

    fake.cluster.lock().unwrap().settings.insert(key.clone(), "3".to_owned());
    let record = act(&action, &host).unwrap();
    fake.cluster.lock().unwrap().settings.insert(key.clone(), "7".to_owned());
    let refused = action.undo(&host, &record, &|_, _| {}).unwrap_err().to_string();
    assert!(refused.contains("osd_max_backfills of osd is 7 now; replank had set 1"), "{refused}");
    fake.cluster.lock().unwrap().settings.insert(key.clone(), "1".to_owned());
    action.undo(&host, &record, &|_, _| {}).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().settings[&key], "3");
}

#[test]
fn the_osds_of_a_host_stop_and_start_side_by_side() {
    let (_world, host, fake) = cluster();
    act(&restart(&["osd.0", "osd.1"]), &host).unwrap();
    let cluster = fake.cluster.lock().unwrap();
    assert_eq!((cluster.stops.len(), cluster.starts.len()), (2, 2));
    assert!(["osd.0", "osd.1"].iter().all(|name| cluster.running[*name].1 == NEW));
    assert!(cluster.running["mon.ceph1"].1 == OLD);
}

#[test]
fn a_daemon_that_is_new_already_is_left_alone() {
    let (_world, host, fake) = cluster();
    Fake::stop(&fake, "osd.0");
    Fake::start(&fake, "osd.0", NEW);
    act(&restart(&["osd.0", "osd.1"]), &host).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().stops, ["osd.1"]);
}

#[test]
fn nothing_stops_while_an_osd_elsewhere_is_down() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().down.insert(4);
    let refused = act(&restart(&["osd.0", "osd.1"]), &host).unwrap_err();
    assert!(matches!(&refused, ActError::Refused(refusal) if refusal.code == "RP5602"), "{refused}");
    assert!(refused.to_string().contains("osd.4"), "{refused}");
    assert!(fake.cluster.lock().unwrap().stops.is_empty());
    // Its groups are not whole even where it is of the same wave: their third copy is ours.
    act(&CephRestart { beside: vec![4], ..restart(&["osd.0"]) }, &host).unwrap_err();
    fake.cluster.lock().unwrap().down.clear();
    act(&restart(&["osd.0"]), &host).unwrap();
}

/// As the init script of Hammer runs it, which writes no pid file: only its command line tells it.
#[test]
fn a_gateway_under_no_unit_is_ended_and_its_unit_started() {
    let (_world, host, fake) = cluster();
    let action = restart(&["rgw.radosgw.gateway"]);
    assert_eq!(action.check(&host).unwrap_err().code, "RP5604");
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let (pid, arguments) = (child.id(), ["/bin/radosgw", "-n", "client.radosgw.gateway"]);
    fake_process(&fake.proc, pid, 1, "radosgw", 7, &arguments, "/usr/bin/radosgw");
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            let status = child.wait().unwrap();
            std::fs::remove_dir_all(fake.proc.join(pid.to_string())).unwrap();
            status
        });
        act(&action, &host).unwrap();
        assert_eq!(ended.join().unwrap().signal(), Some(15));
    });
    let cluster = fake.cluster.lock().unwrap();
    assert!(cluster.stops.is_empty());
    assert_eq!(cluster.starts, ["client.radosgw.gateway"]);
}

#[test]
fn a_gateway_under_its_unit_is_stopped_by_it() {
    let (_world, host, fake) = cluster();
    Fake::start(&fake, "client.rgw.zone", OLD);
    act(&restart(&["rgw.zone"]), &host).unwrap();
    let cluster = fake.cluster.lock().unwrap();
    assert_eq!((&cluster.stops, &cluster.starts), (&vec!["client.rgw.zone".to_owned()], &cluster.stops));
}

#[test]
fn a_mon_stops_only_if_the_others_are_a_quorum() {
    let (_world, host, fake) = cluster();
    act(&restart(&["mon.ceph1"]), &host).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().stops, ["mon.ceph1"]);
}

#[test]
fn a_mon_is_back_when_it_says_itself_that_it_is_in_quorum() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().outside.insert("mon.ceph1".to_owned());
    let action = restart(&["mon.ceph1"]);
    let failed = act(&action, &host).unwrap_err().to_string();
    assert!(failed.contains("mon.ceph1 runs and is not in quorum; it said: unable to open"), "{failed}");
    // Tried again it is waited for, and not stopped once more.
    assert_eq!(action.check(&host).unwrap(), Standing::Half);
    fake.cluster.lock().unwrap().outside.clear();
    assert_eq!(action.check(&host).unwrap(), Standing::Done);
    assert_eq!(fake.cluster.lock().unwrap().stops, ["mon.ceph1"]);
}

#[test]
fn a_daemon_that_does_not_start_fails_the_step_with_its_last_words_and_the_rest_is_up() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().broken.insert("osd.0".to_owned());
    let action = restart(&["osd.0", "osd.1"]);
    let failed = act(&action, &host).unwrap_err().to_string();
    assert!(
        failed.contains("osd.0 ended after its start; it said: unable to open OSD superblock"),
        "{failed}"
    );
    assert_eq!(fake.cluster.lock().unwrap().running["osd.1"].1, NEW);
    // Mended, the same action finishes it, and stops nothing.
    fake.cluster.lock().unwrap().broken.clear();
    assert_eq!(action.check(&host).unwrap(), Standing::Half);
    action.apply(&host, &UndoRecord::Nothing, &|_, _| {}).unwrap();
    action.verify(&host, &UndoRecord::Nothing).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().stops.len(), 2);
}

#[test]
fn a_restart_goes_on_after_a_crash_at_any_instant() {
    for instant in ["ceph-restart: note written", "ceph-restart: stopped", "ceph-restart: started"] {
        let (_world, host, fake) = cluster();
        let action = restart(&["osd.0", "osd.1"]);
        assert_eq!(action.check(&host).unwrap(), Standing::Ready);
        crash_at(&action, &host, &UndoRecord::Nothing, instant);
        match action.check(&host).unwrap() {
            Standing::Done => assert_eq!(instant, "ceph-restart: started"),
            Standing::Half => drop(action.apply(&host, &UndoRecord::Nothing, &|_, _| {}).unwrap()),
            Standing::Ready => panic!("{instant}: it began and says that it did not"),
        }
        action.verify(&host, &UndoRecord::Nothing).unwrap();
        let cluster = fake.cluster.lock().unwrap();
        assert_eq!((cluster.stops.len(), cluster.starts.len()), (2, 2), "{instant}");
    }
}

#[test]
fn what_a_try_left_down_comes_up_whatever_is_on_disk_by_now() {
    let (_world, host, fake) = cluster();
    let action = restart(&["osd.0", "osd.1"]);
    crash_at(&action, &host, &UndoRecord::Nothing, "ceph-restart: stopped");
    fake.cluster.lock().unwrap().installed = "16.2.14".to_owned();
    assert_eq!(action.check(&host).unwrap(), Standing::Half);
    let failed = action.apply(&host, &UndoRecord::Nothing, &|_, _| {}).unwrap_err().to_string();
    assert!(failed.contains("runs 16.2.14 and not 16.2.15"), "{failed}");
    assert_eq!(fake.cluster.lock().unwrap().running.len(), 4);
}

#[test]
fn what_is_down_or_not_installed_is_refused() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().installed = OLD.to_owned();
    assert_eq!(restart(&["osd.0"]).check(&host).unwrap_err().code, "RP5603");
    fake.cluster.lock().unwrap().installed = NEW.to_owned();
    Fake::stop(&fake, "osd.0");
    assert_eq!(restart(&["osd.0"]).check(&host).unwrap_err().code, "RP5604");
}

#[test]
fn nothing_is_required_while_an_osd_that_exists_is_older() {
    let (_world, host, fake) = cluster();
    let action = CephRequire { what: Requirement::RequireOsdRelease { release: "pacific".to_owned() } };
    fake.cluster.lock().unwrap().booted = (0..6).map(|osd| (osd, NEW.to_owned())).collect();
    {
        let mut cluster = fake.cluster.lock().unwrap();
        cluster.booted.insert(5, OLD.to_owned());
        cluster.down.insert(5);
    }
    let refused = action.check(&host).unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.reason.contains("osd.5 booted last as 14.2.21")),
        ("RP5607", true)
    );
    fake.cluster.lock().unwrap().booted.insert(5, NEW.to_owned());
    act(&action, &host).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().required, "pacific");
}

fn seen(value: ReadingValue) -> Seen {
    match value {
        ReadingValue::Ceph(text) => Seen::read(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_measured_decides_as_the_agent_itself_does() {
    let (world, host, fake) = cluster();
    let ask = || seen(answer(&host, &ReadingRequest::CephStop { osds: vec![0, 1] }, TIME));
    let safe = |seen| match seen {
        Seen::Stop(stop) => {
            stop.judge(&[OsdId(0), OsdId(1)].into(), &BTreeSet::new(), &[]).unwrap().answer == Answer::Safe
        }
        other => panic!("{}", other.name()),
    };
    assert!(safe(ask()));
    fake.cluster.lock().unwrap().down.insert(4);
    assert!(!safe(ask()));

    for name in [
        "osd/ceph-0",
        "osd/ceph-1",
        "mon/ceph-ceph1",
        "mgr/ceph-ceph1",
        "radosgw/ceph-rgw.zone",
        "radosgw/ceph-radosgw.gateway",
        "tmp",
    ] {
        std::fs::create_dir_all(host.at("/var/lib/ceph").join(name)).unwrap();
    }
    Fake::stop(&fake, "osd.1");
    let ReadingValue::CephDaemons(daemons) = answer(&host, &ReadingRequest::CephDaemons, TIME) else {
        panic!()
    };
    let told: Vec<String> = daemons
        .iter()
        .map(|seen| {
            let version = seen.running_version.as_ref().map_or("down".to_owned(), ToString::to_string);
            format!("{} {version}", seen.daemon)
        })
        .collect();
    assert_eq!(
        told,
        [
            "mon.ceph1 14.2.21",
            "mgr.ceph1 14.2.21",
            "osd.0 14.2.21",
            "osd.1 down",
            "rgw.radosgw.gateway down",
            "rgw.zone down"
        ]
    );
    assert_eq!(daemons[2].installed_version, Some(Version::new(NEW)));
    drop(world);
}

#[test]
fn what_a_release_does_not_answer_is_said_and_nothing_else_is_lost() {
    let (_world, host, _fake) = cluster();
    let Seen::Cluster(cluster) = seen(answer(&host, &ReadingRequest::CephCluster, TIME)) else { panic!() };
    assert_eq!((cluster.osds.osds.len(), cluster.pgs.pgs.len(), cluster.metadata.len()), (6, 8, 6));
    assert!(cluster.errors.contains_key("ceph osd crush show-tunables"), "{:?}", cluster.errors);
    assert_eq!(cluster.second_messenger, None);
}

#[test]
fn one_that_ends_late_is_started_all_the_same() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().slow.insert("osd.0".to_owned());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !fake.cluster.lock().unwrap().starts.contains(&"osd.1".to_owned()) {
                std::thread::sleep(Duration::from_millis(10));
            }
            Fake::stop(&fake, "osd.0");
        });
        act(&restart(&["osd.0", "osd.1"]), &host).unwrap();
    });
    assert_eq!(fake.cluster.lock().unwrap().running["osd.0"].1, NEW);
}

#[test]
fn one_that_never_ends_is_named_and_is_not_ended_by_force() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().slow.insert("osd.0".to_owned());
    let failed = act(&restart(&["osd.0", "osd.1"]), &host).unwrap_err().to_string();
    assert!(failed.contains("osd.0 still runs"), "{failed}");
    let cluster = fake.cluster.lock().unwrap();
    assert_eq!((&*cluster.running["osd.0"].1, &*cluster.running["osd.1"].1), (OLD, NEW));
}

#[test]
fn groups_that_peer_are_waited_for_and_not_for_ever() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().peering = 1;
    act(&restart(&["osd.0"]), &host).unwrap();
    fake.cluster.lock().unwrap().peering = u32::MAX;
    let refused = act(&restart(&["osd.1"]), &host).unwrap_err();
    assert!(matches!(&refused, ActError::Refused(refusal) if refusal.code == "RP5602"), "{refused}");
    assert_eq!(fake.cluster.lock().unwrap().stops, ["osd.0"]);
}

#[test]
fn an_osd_that_boots_is_waited_for_and_one_that_cannot_is_left_to_the_gates() {
    let (_world, host, fake) = cluster();
    fake.cluster.lock().unwrap().booting = 2;
    act(&restart(&["osd.0", "mon.ceph1"]), &host).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().booting, 0, "the step has ended before the map had its boot");
    fake.cluster.lock().unwrap().booting = u32::MAX;
    let action = CephRestart { start_ms: 500, ..restart(&["osd.1"]) };
    act(&action, &host).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().running["osd.1"].1, NEW);
}

#[test]
fn a_setting_that_the_mons_do_not_take_is_no_silence_of_the_cluster() {
    let (_world, host, _fake) = cluster();
    let [section, name, value] = ["osd", "no_such_setting", "1"].map(str::to_owned);
    let failed = act(&CephConfig { section, name, value, way: ConfigWay::Central }, &host).unwrap_err();
    assert!(matches!(&failed, ActError::Failed(failure) if failure.code == "RP5610"), "{failed}");
}
