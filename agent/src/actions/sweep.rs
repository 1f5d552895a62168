//! Sweeps: every action family crashed at every boundary, done twice, undone twice, and the world compared byte by byte.
//!
//! A crash is a panic at a named instant: nothing after it runs, and what was written stays. The agent then does what it does
//! after a restart: `check` again, and unless that says done, `apply` with the undo record of the first time.

use super::testing::World;
use super::{ActError, Perform, Progress, Standing};
use crate::host::Host;
use crate::host::boundary::Boundary;
use replank_common::action::{
    Dialect, FileEdit, FileWrite, Setting, SettingValue, UnitDropIn, UnitEnable, UnitMask,
};
use replank_common::undo::UndoRecord;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const QUIET: Progress<'_> = &|_, _| {};

/// Calls `work` with a host that crashes at the `nth` boundary (from 0). The name of the boundary, or `None` when `work` came to
/// its end before.
pub(crate) fn crashed<T>(world: &World, nth: usize, work: impl FnOnce(&Host) -> T) -> Result<T, String> {
    let seen = Arc::new(AtomicUsize::new(0));
    let name = Arc::new(Mutex::new(String::new()));
    let (counter, at) = (Arc::clone(&seen), Arc::clone(&name));
    let host = world.hooked(move |instant| {
        if counter.fetch_add(1, Ordering::SeqCst) == nth {
            *at.lock().unwrap() = instant.to_owned();
            std::panic::resume_unwind(Box::new("crash"));
        }
    });
    catch_unwind(AssertUnwindSafe(|| work(&host))).map_err(|_| name.lock().unwrap().clone())
}

/// What the agent does with an action after a restart.
fn resume(action: &dyn Perform, host: &Host, record: &UndoRecord) {
    if action.check(host).unwrap() != Standing::Done {
        action.apply(host, record, QUIET).unwrap();
    }
    action.verify(host, record).unwrap();
}

/// The sweep itself. `make` gives a fresh world with the action's surroundings.
pub(crate) fn sweep(action: &dyn Perform, make: impl Fn() -> World) -> Vec<String> {
    let mut boundaries = Vec::new();
    for nth in 0.. {
        let world = make();
        let before = world.snapshot();
        assert_ne!(action.check(&world.host).unwrap(), Standing::Done);
        let record = action.prepare(&world.host).unwrap();
        assert_eq!(world.snapshot(), before, "prepare changed the host");

        let ended = crashed(&world, nth, |host| action.apply(host, &record, QUIET).unwrap());
        resume(action, &world.host, &record);
        let after = world.snapshot();
        assert_ne!(after, before);
        assert_eq!(action.check(&world.host).unwrap(), Standing::Done, "not done after a crash at {nth}");
        resume(action, &world.host, &record);
        action.apply(&world.host, &record, QUIET).unwrap();
        assert_eq!(world.snapshot(), after, "done twice is not done once");

        undo_sweep(action, &make, nth, &record, &before);
        undo(action, &world.host, &record);
        assert_eq!(world.snapshot(), before, "the world is not what it was");
        undo(action, &world.host, &record);
        assert_eq!(world.snapshot(), before, "undone twice is not undone once");
        match ended {
            Ok(_) => return boundaries,
            Err(name) => boundaries.push(name),
        }
    }
    unreachable!("the action has boundaries without end")
}

/// A crash half way through doing, undone at once; and a crash at the `nth` boundary of the undo of a finished one.
fn undo_sweep(
    action: &dyn Perform,
    make: impl Fn() -> World,
    nth: usize,
    _record: &UndoRecord,
    before: &std::collections::BTreeMap<std::path::PathBuf, String>,
) {
    let world = make();
    let record = action.prepare(&world.host).unwrap();
    let _ = crashed(&world, nth, |host| action.apply(host, &record, QUIET).unwrap());
    undo(action, &world.host, &record);
    assert_eq!(&world.snapshot(), before, "a half-done action cannot be taken back (crash at {nth})");

    let world = make();
    let record = action.prepare(&world.host).unwrap();
    action.apply(&world.host, &record, QUIET).unwrap();
    let _ = crashed(&world, nth, |host| undo(action, host, &record));
    undo(action, &world.host, &record);
    assert_eq!(&world.snapshot(), before, "a half-done undo cannot be finished (crash at {nth})");
}

fn undo(action: &dyn Perform, host: &Host, record: &UndoRecord) {
    if let Err(error) = action.undo(host, record, QUIET) {
        panic!("{error}");
    }
}

fn with(files: &'static [(&'static str, &'static str)]) -> impl Fn() -> World {
    move || {
        let world = World::new();
        for (path, text) in files {
            world.file(path, text);
        }
        world
    }
}

const LIBVIRTD_CONF: &str = "# a comment\n#listen_tcp = 1\nlog_level = 3\n";

fn edit(create: bool) -> FileEdit {
    FileEdit {
        path: "/etc/libvirt/libvirtd.conf".into(),
        dialect: Dialect::Libvirt,
        settings: vec![Setting {
            section: None,
            key: "listen_tcp".into(),
            values: vec![SettingValue::Number(1)],
        }],
        create,
    }
}

#[test]
fn editing_a_file() {
    let boundaries = sweep(&edit(false), with(&[("/etc/libvirt/libvirtd.conf", LIBVIRTD_CONF)]));
    assert!(boundaries.contains(&"file: temporary file synced".to_owned()), "{boundaries:?}");
    sweep(&edit(true), with(&[("/etc/keep", "")]));
}

#[test]
fn an_edit_changes_only_its_line_and_refuses_an_absent_file() {
    let world = with(&[("/etc/libvirt/libvirtd.conf", LIBVIRTD_CONF)])();
    let record = edit(false).prepare(&world.host).unwrap();
    let report = edit(false).apply(&world.host, &record, QUIET).unwrap();
    assert_eq!(
        world.read("/etc/libvirt/libvirtd.conf"),
        "# a comment\n#listen_tcp = 1\nlisten_tcp = 1\nlog_level = 3\n"
    );
    assert_eq!(report.changes.len(), 1);
    assert_eq!(report.changes[0].after, "listen_tcp = 1");
    let refusal = edit(false).check(&World::new().host).unwrap_err();
    assert_eq!(refusal.code, "RP5302");
}

#[test]
fn what_somebody_else_changed_since_is_not_given_back() {
    let world = with(&[("/etc/libvirt/libvirtd.conf", LIBVIRTD_CONF)])();
    let record = edit(false).prepare(&world.host).unwrap();
    edit(false).apply(&world.host, &record, QUIET).unwrap();
    world.file("/etc/libvirt/libvirtd.conf", "mine now\n");
    let Err(ActError::Refused(refusal)) = edit(false).undo(&world.host, &record, QUIET) else {
        panic!("it should refuse")
    };
    assert_eq!(refusal.code, "RP5305");
    assert_eq!(world.read("/etc/libvirt/libvirtd.conf"), "mine now\n");
}

fn policy(replace: bool) -> FileWrite {
    FileWrite {
        path: "/usr/sbin/policy-rc.d".into(),
        contents: "#!/bin/sh\nexit 101\n".into(),
        mode: 0o755,
        replace,
    }
}

#[test]
fn writing_a_file() {
    sweep(&policy(false), with(&[("/etc/keep", "")]));
    sweep(&policy(true), with(&[("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 0\n")]));
}

#[test]
fn a_file_that_is_not_ours_is_not_overwritten() {
    let world = with(&[("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 0\n")])();
    assert_eq!(policy(false).check(&world.host).unwrap_err().code, "RP5304");
}

fn with_unit() -> World {
    let world = World::new();
    world.file("/lib/systemd/system/x.service", "[Install]\nWantedBy=multi-user.target\n");
    world.file("/etc/systemd/system/keep", "");
    world.file("/run/systemd/system/keep", "");
    world.file("/etc/systemd/system/multi-user.target.wants/keep", "");
    world.unit_file("x.service", "/lib/systemd/system/x.service");
    world
}

#[test]
fn masking_a_unit() {
    for runtime in [false, true] {
        let boundaries = sweep(&UnitMask { unit: "x.service".into(), runtime }, with_unit);
        assert!(boundaries.contains(&"unit-mask: link made".to_owned()), "{boundaries:?}");
    }
}

#[test]
fn enabling_and_disabling_a_unit() {
    sweep(&UnitEnable { unit: "x.service".into(), enable: true }, with_unit);
    sweep(&UnitEnable { unit: "x.service".into(), enable: false }, || {
        let world = with_unit();
        let link = world.host.at("/etc/systemd/system/multi-user.target.wants/x.service");
        std::os::unix::fs::symlink("/lib/systemd/system/x.service", link).unwrap();
        world
    });
    let unknown = UnitEnable { unit: "y.service".into(), enable: true };
    assert_eq!(unknown.check(&with_unit().host).unwrap_err().code, "RP5403");
}

#[test]
fn a_drop_in() {
    let drop_in = UnitDropIn {
        unit: "x.service".into(),
        name: "path".into(),
        contents: "[Service]\nEnvironment=PATH=/opt/qemu/10.0.2/bin:/usr/bin\n".into(),
    };
    sweep(&drop_in, with_unit);
    let world = with_unit();
    let record = drop_in.prepare(&world.host).unwrap();
    let reloads = world.systemd.reloads();
    drop_in.apply(&world.host, &record, QUIET).unwrap();
    assert_eq!(world.systemd.reloads(), reloads + 1);
    let boundary = Boundary::none();
    assert_eq!(format!("{boundary:?}"), "Boundary");
}
