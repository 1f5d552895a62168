//! Restarts of a libvirtd that is ours: real processes stand for the daemon and the guests, the rest is as systemd and virsh answer.

use super::testing::{FakeGuests, World};
use super::{ActError, Perform, Standing};
use crate::guard::Transaction;
use crate::host::boundary::Boundary;
use crate::host::command::{Command, CommandError, Output, Programs};
use crate::host::systemd::{LinkChange, Systemd, SystemdError, UnitStatus};
use crate::host::{Guests, Host, proc};
use replank_common::action::{LibvirtAnchor, LibvirtRestart};
use replank_common::census::{Census, Disagreement, EndCause, Guest, GuestEnd, GuestState, Incarnation};
use replank_common::finding::Finding;
use replank_common::ids::{BootId, GuestUuid};
use replank_common::undo::UndoRecord;
use replank_common::version::Version;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const UNIT: &str = "libvirtd.service";
const TCP: &str = "libvirtd-tcp.socket";

/// What systemd, virsh and the census say, kept together because they must fit.
#[derive(Debug)]
struct Stage {
    root: std::path::PathBuf,
    state: Mutex<State>,
    guests: FakeGuests,
}

#[derive(Debug)]
struct State {
    daemon: Option<Child>,
    running: String,
    on_disk: String,
    listening: BTreeSet<String>,
    enabled: BTreeSet<String>,
    kill_mode: &'static str,
    /// Domains flagged autostart.
    autostart: &'static str,
    /// Everything that was asked of systemd, in order.
    jobs: Vec<String>,
    /// Process that ends when the daemon starts.
    kills: Option<Child>,
    ended: Vec<GuestEnd>,
    disagreements: Vec<Disagreement>,
}

impl Stage {
    fn daemon_pid(&self) -> Option<u32> {
        self.state.lock().unwrap().daemon.as_ref().map(Child::id)
    }
}

impl Systemd for Stage {
    fn status(&self, unit: &str) -> Result<UnitStatus, SystemdError> {
        let state = self.state.lock().unwrap();
        let known = unit == UNIT || crate::host::libvirt::sockets_of(UNIT).contains(&unit.to_owned());
        let active = if unit == UNIT { state.daemon.is_some() } else { state.listening.contains(unit) };
        Ok(UnitStatus {
            name: unit.to_owned(),
            load_state: if known { "loaded" } else { "not-found" }.to_owned(),
            active_state: if active { "active" } else { "inactive" }.to_owned(),
            file_state: if state.enabled.contains(unit) { "enabled" } else { "disabled" }.to_owned(),
            kill_mode: Some(state.kill_mode.to_owned()),
            main_pid: state.daemon.as_ref().filter(|_| unit == UNIT).map(Child::id),
            ..UnitStatus::default()
        })
    }

    fn start(&self, unit: &str, _deadline: Duration) -> Result<(), SystemdError> {
        let mut state = self.state.lock().unwrap();
        state.jobs.push(format!("start {unit}"));
        if unit != UNIT {
            // As systemd says it: "Socket service libvirtd.service already active, refusing."
            if state.daemon.is_some() {
                return Err(SystemdError::Job { what: format!("start {unit}"), result: "failed".to_owned() });
            }
            state.listening.insert(unit.to_owned());
            return Ok(());
        }
        if state.daemon.is_none() {
            state.daemon = Some(process());
            state.running = state.on_disk.clone();
            if let Some(mut victim) = state.kills.take() {
                victim.kill().unwrap();
                victim.wait().unwrap();
            }
            // The new daemon saves the status of the guests that it takes over.
            for guest in self.guests.guests.lock().unwrap().iter() {
                let path = self.root.join(format!("run/libvirt/qemu/{}.xml", guest.name));
                std::fs::write(path, "<domstatus/>").unwrap();
            }
        }
        Ok(())
    }

    fn stop(&self, unit: &str, _deadline: Duration) -> Result<(), SystemdError> {
        crate::host::systemd::may_stop(unit, "stop")?;
        let mut state = self.state.lock().unwrap();
        state.jobs.push(format!("stop {unit}"));
        if unit == UNIT {
            if let Some(mut daemon) = state.daemon.take() {
                daemon.kill().unwrap();
                daemon.wait().unwrap();
            }
        } else {
            state.listening.remove(unit);
        }
        Ok(())
    }

    fn mask(&self, _unit: &str, _runtime: bool) -> Result<Vec<LinkChange>, SystemdError> {
        unreachable!("a restart masks nothing")
    }

    fn enable(&self, _unit: &str) -> Result<Vec<LinkChange>, SystemdError> {
        unreachable!("a restart enables nothing")
    }

    fn disable(&self, _unit: &str) -> Result<Vec<LinkChange>, SystemdError> {
        unreachable!("a restart disables nothing")
    }

    fn reset_failed(&self, _: &str) -> Result<(), SystemdError> {
        Ok(())
    }

    fn reload(&self) -> Result<(), SystemdError> {
        Ok(())
    }
}

impl Programs for Stage {
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        let state = self.state.lock().unwrap();
        let line = command.to_string();
        let text = if line.ends_with("--version") {
            format!("/usr/sbin/libvirtd (libvirt) {}\n", state.on_disk)
        } else if state.daemon.is_none() {
            panic!("`{line}` was run while libvirtd is stopped: that would start it");
        } else if line.contains("version --daemon") {
            format!("Running against daemon: {}\n", state.running)
        } else if line.contains("--autostart") {
            format!("{}\n", state.autostart)
        } else {
            "\n".to_owned()
        };
        Ok(Output {
            code: Some(0),
            signal: None,
            stdout: text.into(),
            stderr: Vec::new(),
            took: Duration::ZERO,
        })
    }
}

impl Guests for Stage {
    fn census(&self) -> Census {
        let state = self.state.lock().unwrap();
        let mut census = self.guests.census();
        census.ended.clone_from(&state.ended);
        census.disagreements.clone_from(&state.disagreements);
        census
    }

    fn usage(&self) -> Result<crate::guests::usage::Usage, String> {
        Ok(crate::guests::usage::Usage::default())
    }

    fn judge(&self, _transaction: &Transaction) -> Result<Vec<Finding>, String> {
        unreachable!("a restart is no transaction")
    }

    fn judge_action(&self, _: &replank_common::action::Action) -> Result<Vec<Finding>, String> {
        Ok(Vec::new())
    }
}

/// A process of ours that lives until it is ended.
fn process() -> Child {
    std::process::Command::new("sleep").arg("300").spawn().unwrap()
}

struct Field {
    world: World,
    stage: Arc<Stage>,
    host: Host,
    guest: Child,
}

impl Drop for Field {
    fn drop(&mut self) {
        drop(self.guest.kill().and_then(|()| self.guest.wait()));
        let mut state = self.stage.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(mut daemon) = state.daemon.take() {
            drop(daemon.kill().and_then(|()| daemon.wait()));
        }
    }
}

fn guest(world: &World, name: &str, process: &Child) -> Guest {
    let alive = proc::alive(&world.host, process.id()).unwrap();
    Guest {
        uuid: GuestUuid(uuid::Uuid::from_u128(u128::from(alive.pid))),
        name: name.to_owned(),
        incarnation: Incarnation {
            boot_id: BootId(uuid::Uuid::nil()),
            pid: alive.pid,
            start_ticks: alive.start_ticks,
        },
        state: GuestState::Running,
        emulator: "/usr/bin/qemu-system-x86_64".into(),
        emulator_deleted: false,
        qemu_version: None,
        machine: None,
        persistent: Some(true),
        seen_by: BTreeSet::new(),
    }
}

/// A host with libvirtd 9.0.0 running over 11.3.0 on disk, and one guest.
fn field() -> Field {
    let world = World::new();
    let root = world.host.directories.root().to_owned();
    std::os::unix::fs::symlink("/proc", root.join("proc")).unwrap();
    world.file("/run/libvirt/qemu/web.xml", "<domstatus/>");
    let old = std::fs::File::open(root.join("run/libvirt/qemu/web.xml")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let process_of_guest = process();
    let web = guest(&world, "web", &process_of_guest);
    let names = ["libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"].map(str::to_owned);
    let stage = Arc::new(Stage {
        root,
        state: Mutex::new(State {
            daemon: Some(process()),
            running: "9.0.0".to_owned(),
            on_disk: "11.3.0".to_owned(),
            listening: names.clone().into(),
            enabled: names.into(),
            kill_mode: "process",
            autostart: "",
            jobs: Vec::new(),
            kills: None,
            ended: Vec::new(),
            disagreements: Vec::new(),
        }),
        guests: FakeGuests::default(),
    });
    stage.guests.guests.lock().unwrap().push(web);
    let host =
        Host { systemd: stage.clone(), programs: stage.clone(), guests: stage.clone(), ..world.host.clone() };
    Field { world, stage, host, guest: process_of_guest }
}

fn restart() -> LibvirtRestart {
    LibvirtRestart { unit: UNIT.to_owned(), expect: Version::new("11.3.0"), sockets: vec![TCP.to_owned()] }
}

fn anchor() -> LibvirtAnchor {
    LibvirtAnchor { unit: UNIT.to_owned(), sockets: vec![TCP.to_owned()] }
}

fn quiet(_: Option<u32>, _: &str) {}

const NOTHING: UndoRecord = UndoRecord::Nothing;

#[test]
fn sockets_and_daemon_stop_then_sockets_start_before_the_daemon() {
    let field = field();
    assert_eq!(restart().check(&field.host), Ok(Standing::Ready));
    let report = restart().apply(&field.host, &NOTHING, &quiet).unwrap();
    restart().verify(&field.host, &NOTHING).unwrap();
    assert!(report.changes[0].before.starts_with("9.0.0, pid "), "{report:?}");
    let jobs = field.stage.state.lock().unwrap().jobs.clone();
    let expected = [
        "stop libvirtd.socket",
        "stop libvirtd-ro.socket",
        "stop libvirtd-admin.socket",
        "stop libvirtd.service",
        "start libvirtd.socket",
        "start libvirtd-ro.socket",
        "start libvirtd-admin.socket",
        "start libvirtd-tcp.socket",
        "start libvirtd.service",
    ];
    assert_eq!(jobs, expected);
    // Asked again, nothing is done again.
    assert_eq!(restart().check(&field.host), Ok(Standing::Done));
}

/// A crash at each boundary in turn; afterwards a second try brings the same end, with every socket that listened before.
#[test]
fn a_crash_at_any_instant_is_finished_by_the_next_try() {
    for at in 0..32 {
        let field = field();
        let left = Arc::new(Mutex::new(at));
        let hook = move |_: &str| {
            let mut left = left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *left == 0 {
                panic!("crash");
            }
            *left -= 1;
        };
        let crashing = Host { boundary: Boundary::hooked(hook), ..field.host.clone() };
        let first = catch_unwind(AssertUnwindSafe(|| restart().apply(&crashing, &NOTHING, &quiet)));
        let standing = restart().check(&field.host).unwrap();
        if first.is_ok() {
            assert!(at > 9, "only {at} boundaries");
            assert_eq!(standing, Standing::Done);
            return;
        }
        if standing != Standing::Done {
            restart().apply(&field.host, &NOTHING, &quiet).unwrap();
        }
        let starts = field
            .stage
            .state
            .lock()
            .unwrap()
            .jobs
            .iter()
            .filter(|job| *job == "start libvirtd.service")
            .count();
        assert_eq!(starts, 1, "after a crash at boundary {at}");
        restart().verify(&field.host, &NOTHING).unwrap();
        assert_eq!(field.stage.state.lock().unwrap().listening.len(), 4, "after a crash at boundary {at}");
    }
    panic!("more boundaries than expected");
}

#[test]
fn a_daemon_that_somebody_else_stopped_is_not_started() {
    let field = field();
    field.stage.stop(UNIT, Duration::ZERO).unwrap();
    assert_eq!(restart().check(&field.host).unwrap_err().code, "RP5502");
    assert_eq!(anchor().check(&field.host).unwrap_err().code, "RP5502");
}

#[test]
fn what_would_cost_a_guest_is_refused_before_the_daemon_is_touched() {
    type Spoil = fn(&Field);
    let cases: [(&str, Spoil); 5] = [
        ("RP5516", |field| field.stage.state.lock().unwrap().autostart = "elsewhere"),
        ("RP5503", |field| field.stage.state.lock().unwrap().kill_mode = "control-group"),
        ("RP5504", |field| {
            let unknown = Disagreement::Twice { guest: GuestUuid(uuid::Uuid::nil()), pids: vec![1, 2] };
            field.stage.state.lock().unwrap().disagreements.push(unknown);
        }),
        ("RP5511", |field| field.stage.state.lock().unwrap().on_disk = "9.0.0".to_owned()),
        ("RP5507", |field| {
            use std::os::unix::fs::PermissionsExt;
            let path = "/etc/libvirt/hooks/qemu";
            field.world.file(path, "#!/bin/sh\nexit 1\n");
            std::fs::set_permissions(field.host.at(path), std::fs::Permissions::from_mode(0o755)).unwrap();
        }),
    ];
    for (code, spoil) in cases {
        let field = field();
        spoil(&field);
        let mut host = field.host.clone();
        if code == "RP5507" {
            host.programs = Arc::new(Hooked(field.stage.clone()));
        }
        assert_eq!(restart().check(&host).unwrap_err().code, code);
        assert!(field.stage.state.lock().unwrap().jobs.is_empty());
    }
}

/// Runs hooks for real.
#[derive(Debug)]
struct Hooked(Arc<Stage>);

impl Programs for Hooked {
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        if command.to_string().contains("/hooks/") {
            return crate::host::command::RealPrograms.run(command);
        }
        self.0.run(command)
    }
}

#[test]
fn a_guest_that_ends_meanwhile_is_a_loss_unless_its_owner_ended_it() {
    for owner in [false, true] {
        let field = field();
        let mail = process();
        let mail_guest = guest(&field.world, "mail", &mail);
        field.stage.guests.guests.lock().unwrap().push(mail_guest.clone());
        {
            let mut state = field.stage.state.lock().unwrap();
            state.kills = Some(mail);
            if owner {
                state.ended.push(GuestEnd {
                    uuid: mail_guest.uuid,
                    name: mail_guest.name.clone(),
                    incarnation: mail_guest.incarnation,
                    at_ms: 1,
                    cause: EndCause::GuestShutdown,
                });
            }
        }
        match restart().apply(&field.host, &NOTHING, &quiet) {
            Ok(_) => assert!(owner),
            Err(ActError::Failed(failure)) => {
                assert!(!owner, "{failure}");
                assert_eq!(failure.code, "RP5509");
                assert!(failure.error.contains("mail") && !failure.error.contains("web"), "{failure}");
            }
            Err(ActError::Refused(refusal)) => panic!("{refusal}"),
        }
        assert!(field.stage.daemon_pid().is_some());
    }
}

#[test]
fn going_back_restarts_once_and_lets_the_disabled_socket_be() {
    let field = field();
    field.stage.state.lock().unwrap().on_disk = "9.0.0".to_owned();
    let record = anchor().prepare(&field.host).unwrap();
    // Never restarted since: nothing to do.
    assert_eq!(anchor().undo(&field.host, &record, &quiet).unwrap().changes, []);
    field.stage.state.lock().unwrap().on_disk = "11.3.0".to_owned();
    restart().apply(&field.host, &NOTHING, &quiet).unwrap();
    // The packages have not been taken back yet.
    let early = anchor().undo(&field.host, &record, &quiet).unwrap_err();
    assert!(matches!(&early, ActError::Refused(refusal) if refusal.code == "RP5511"), "{early}");
    field.stage.state.lock().unwrap().on_disk = "9.0.0".to_owned();
    let report = anchor().undo(&field.host, &record, &quiet).unwrap();
    assert!(report.changes[0].after.starts_with("9.0.0"), "{report:?}");
    assert!(!field.stage.state.lock().unwrap().listening.contains(TCP));
    let pid = field.stage.daemon_pid();
    assert_eq!(anchor().undo(&field.host, &record, &quiet).unwrap().changes, []);
    assert_eq!(field.stage.daemon_pid(), pid);
}
