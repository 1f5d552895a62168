//! A world for tests of actions: a host below a temporary directory, with a systemd and guests that are ours.

use crate::guard::Transaction;
use crate::guests::usage::Usage;
use crate::host::boundary::Boundary;
use crate::host::command::RealPrograms;
use crate::host::dirs::Directories;
use crate::host::systemd::{LinkChange, Systemd, SystemdError, UnitStatus};
use crate::host::{Guests, Host};
use replank_common::census::{Census, Guest, GuestState, Incarnation};
use replank_common::finding::Finding;
use replank_common::ids::{BootId, GuestUuid, HostName};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A temporary host. Files below it are real, programs are the machine's own and told of its root.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) systemd: Arc<FakeSystemd>,
    pub(crate) guests: Arc<FakeGuests>,
    root: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let systemd = Arc::new(FakeSystemd { root: root.path().to_owned(), state: Mutex::default() });
        let guests = Arc::new(FakeGuests::default());
        let host = Host {
            name: HostName::new("compute1").unwrap(),
            directories: Directories::below(root.path()),
            programs: Arc::new(RealPrograms),
            systemd: systemd.clone(),
            guests: guests.clone(),
            boundary: Boundary::none(),
        };
        Self { host, systemd, guests, root }
    }

    /// Another world with the same files, and a systemd and guests of its own.
    pub(crate) fn copied(&self) -> Self {
        let other = Self::new();
        let status = std::process::Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(self.root.path().join("."))
            .arg(other.root.path())
            .status()
            .unwrap();
        assert!(status.success());
        other
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let here = self.host.at(path);
        std::fs::create_dir_all(here.parent().unwrap()).unwrap();
        std::fs::write(here, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.host.at(path)).unwrap()
    }

    /// Makes a unit known to the fake systemd.
    pub(crate) fn unit_file(&self, name: &str, fragment: &str) {
        self.systemd.state.lock().unwrap().fragments.insert(name.to_owned(), PathBuf::from(fragment));
        self.systemd.reload().unwrap();
    }

    /// The same world with another hook at the boundaries.
    pub(crate) fn hooked(&self, hook: impl Fn(&str) + Send + Sync + 'static) -> Host {
        Host { boundary: Boundary::hooked(hook), ..self.host.clone() }
    }

    /// Every path outside the agent's own directory: kind, mode, and bytes or target.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let state = self.host.directories.state();
        walkdir::WalkDir::new(self.root.path())
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| !entry.path().starts_with(state) && !state.starts_with(entry.path()))
            .map(|entry| {
                let path = entry.path();
                let mode = entry.metadata().unwrap().permissions().mode();
                let what = if entry.path_is_symlink() {
                    format!("-> {}", std::fs::read_link(path).unwrap().display())
                } else if path.is_dir() {
                    format!("directory {mode:o}")
                } else {
                    format!("file {mode:o} {}", String::from_utf8_lossy(&std::fs::read(path).unwrap()))
                };
                (path.strip_prefix(self.root.path()).unwrap().to_owned(), what)
            })
            .collect()
    }
}

/// A running guest with this process.
pub(crate) fn guest(name: &str, pid: u32, machine: Option<&str>) -> Guest {
    let boot_id = BootId(uuid::Uuid::nil());
    Guest {
        uuid: GuestUuid(uuid::Uuid::from_u128(u128::from(pid))),
        name: name.to_owned(),
        incarnation: Incarnation { boot_id, pid, start_ticks: 1 },
        state: GuestState::Running,
        emulator: "/usr/bin/qemu-system-x86_64".into(),
        emulator_deleted: false,
        qemu_version: None,
        machine: machine.map(str::to_owned),
        persistent: Some(true),
        seen_by: std::collections::BTreeSet::new(),
    }
}

/// Guests that are said to be there, and findings that are said to be found.
#[derive(Debug, Default)]
pub(crate) struct FakeGuests {
    pub(crate) guests: Mutex<Vec<replank_common::census::Guest>>,
    pub(crate) findings: Mutex<Vec<Finding>>,
    pub(crate) judged: Mutex<Vec<Transaction>>,
    pub(crate) usage: Mutex<Usage>,
}

impl Guests for FakeGuests {
    fn census(&self) -> Census {
        let guests = self.guests.lock().unwrap().iter().map(|g| (g.uuid, g.clone())).collect();
        Census {
            host: HostName::new("compute1").unwrap(),
            boot_id: BootId(uuid::Uuid::nil()),
            sequence: 1,
            agent_start_ms: 0,
            taken_at_ms: 0,
            guests,
            ended: Vec::new(),
            disagreements: Vec::new(),
        }
    }

    fn usage(&self) -> Result<Usage, String> {
        Ok(self.usage.lock().unwrap().clone())
    }

    fn judge(&self, transaction: &Transaction) -> Result<Vec<Finding>, String> {
        self.judged.lock().unwrap().push(transaction.clone());
        Ok(self.findings.lock().unwrap().clone())
    }

    fn judge_action(&self, _: &replank_common::action::Action) -> Result<Vec<Finding>, String> {
        Ok(self.findings.lock().unwrap().clone())
    }
}

/// A systemd that keeps its links below the temporary root, and knows them as of its last reload.
#[derive(Debug)]
pub(crate) struct FakeSystemd {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fragments: BTreeMap<String, PathBuf>,
    /// Units that were masked, and drop-ins that were there, at the last reload.
    masked: Vec<String>,
    drop_ins: Vec<PathBuf>,
    reloads: u32,
    main_pids: BTreeMap<String, u32>,
}

impl FakeSystemd {
    /// The main process that units are said to have.
    pub(crate) fn main_pid(&self, unit: &str, pid: u32) {
        self.state.lock().unwrap().main_pids.insert(unit.to_owned(), pid);
    }

    pub(crate) fn reloads(&self) -> u32 {
        self.state.lock().unwrap().reloads
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path.as_ref().strip_prefix("/").unwrap())
    }

    fn link(&self, path: &str, target: &Path) -> LinkChange {
        let here = self.at(path);
        std::fs::create_dir_all(here.parent().unwrap()).unwrap();
        if !here.is_symlink() {
            std::os::unix::fs::symlink(target, &here).unwrap();
        }
        LinkChange { kind: "symlink".into(), path: path.into(), target: target.to_owned() }
    }

    fn wanted(&self, unit: &str) -> String {
        format!("/etc/systemd/system/multi-user.target.wants/{unit}")
    }
}

impl Systemd for FakeSystemd {
    fn status(&self, unit: &str) -> Result<UnitStatus, SystemdError> {
        let state = self.state.lock().unwrap();
        let fragment = state.fragments.get(unit).cloned();
        let masked = state.masked.contains(&unit.to_owned());
        let enabled = self.at(self.wanted(unit)).is_symlink();
        let directory = format!("{unit}.d");
        let drop_ins =
            state.drop_ins.iter().filter(|d| d.parent().unwrap().ends_with(&directory)).cloned().collect();
        Ok(UnitStatus {
            name: unit.to_owned(),
            load_state: match (masked, &fragment) {
                (true, _) => "masked",
                (false, Some(_)) => "loaded",
                (false, None) => "not-found",
            }
            .into(),
            active_state: "inactive".into(),
            sub_state: "dead".into(),
            file_state: match (masked, &fragment, enabled) {
                (true, ..) => "masked",
                (false, None, _) => "",
                (false, Some(_), true) => "enabled",
                (false, Some(_), false) => "disabled",
            }
            .into(),
            fragment,
            drop_ins,
            main_pid: state.main_pids.get(unit).copied(),
            ..UnitStatus::default()
        })
    }

    fn start(&self, _unit: &str, _deadline: Duration) -> Result<(), SystemdError> {
        Ok(())
    }

    fn stop(&self, unit: &str, _deadline: Duration) -> Result<(), SystemdError> {
        crate::host::systemd::may_stop(unit, "stop")
    }

    fn mask(&self, unit: &str, runtime: bool) -> Result<Vec<LinkChange>, SystemdError> {
        let below = if runtime { "/run" } else { "/etc" };
        Ok(vec![self.link(&format!("{below}/systemd/system/{unit}"), Path::new("/dev/null"))])
    }

    fn enable(&self, unit: &str) -> Result<Vec<LinkChange>, SystemdError> {
        let fragment = self.state.lock().unwrap().fragments[unit].clone();
        // systemd spells the merged directory out.
        Ok(vec![self.link(&self.wanted(unit), &Path::new("/usr").join(fragment.strip_prefix("/").unwrap()))])
    }

    fn disable(&self, unit: &str) -> Result<Vec<LinkChange>, SystemdError> {
        let path = self.wanted(unit);
        let _ = std::fs::remove_file(self.at(&path));
        Ok(vec![LinkChange { kind: "unlink".into(), path: path.into(), target: PathBuf::new() }])
    }

    fn reset_failed(&self, _unit: &str) -> Result<(), SystemdError> {
        Ok(())
    }

    fn reload(&self) -> Result<(), SystemdError> {
        let mut masked = Vec::new();
        let mut drop_ins = Vec::new();
        for below in ["etc/systemd/system", "run/systemd/system"] {
            for entry in walkdir::WalkDir::new(self.root.join(below)).into_iter().flatten() {
                let path = entry.path();
                if entry.path_is_symlink() && std::fs::read_link(path).unwrap() == Path::new("/dev/null") {
                    masked.push(entry.file_name().to_string_lossy().into_owned());
                }
                if path.extension().is_some_and(|e| e == "conf") {
                    drop_ins.push(Path::new("/").join(path.strip_prefix(&self.root).unwrap()));
                }
            }
        }
        let mut state = self.state.lock().unwrap();
        state.reloads += 1;
        state.masked = masked;
        state.drop_ins = drop_ins;
        Ok(())
    }
}
