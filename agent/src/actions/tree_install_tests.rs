//! Relocated builds installed and taken back with the real rpm and dnf, below a root of their own.

use super::*;
use crate::actions::staged::StagedFile;
use crate::actions::sweep::crashed;
use crate::actions::testing::{World, guest};
use crate::host::files::digest_of_file;
use replank_common::action::PackagePin;
use std::collections::BTreeMap;
use std::process::Command;

const QUIET: Progress<'_> = &|_, _| {};
const PREFIX: &str = "/opt/qemu/10.0.2";

fn action() -> TreeInstall {
    TreeInstall {
        manager: PackageManager::Dnf,
        package: PackagePin { name: "qemu-10.0.2".into(), version: "10.0.2-1".into() },
        prefix: PREFIX.into(),
    }
}

/// Builds the package and stages it in the world. `extra`: a file outside the prefix.
fn staged_world(extra: Option<&str>) -> World {
    let world = World::new();
    std::os::unix::fs::symlink("/proc", world.host.at("/proc")).unwrap();
    world.file("/etc/yum.repos.d/keep", "");
    let build = tempfile::tempdir().unwrap();
    let mut install =
        format!("mkdir -p %{{buildroot}}{PREFIX}/bin\ncp /bin/sleep %{{buildroot}}{PREFIX}/bin/emulator\n");
    let mut files = format!("{PREFIX}\n");
    if let Some(extra) = extra {
        install.push_str(&format!(
            "mkdir -p $(dirname %{{buildroot}}{extra})\necho x > %{{buildroot}}{extra}\n"
        ));
        files.push_str(extra);
    }
    let spec = format!(
        "%global __os_install_post %{{nil}}\n%global debug_package %{{nil}}\n%global _build_id_links none\n\
         Name: qemu-10.0.2\nVersion: 10.0.2\nRelease: 1\nSummary: t\nLicense: t\nAutoReqProv: no\nBuildArch: noarch\n\
         %global _binaries_in_noarch_packages_terminate_build 0\n\
         %description\nt\n%install\n{install}%files\n{files}\n"
    );
    let path = build.path().join("t.spec");
    fs::write(&path, spec).unwrap();
    let top = format!("_topdir {}", build.path().display());
    let built = Command::new("rpmbuild").args(["-bb", "--define", &top]).arg(&path).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let pins = vec![action().package];
    let directory = StagedSet::directory(&world.host, PackageManager::Dnf, &pins);
    fs::create_dir_all(directory.join("new")).unwrap();
    let file = PathBuf::from("new/qemu-10.0.2-10.0.2-1.noarch.rpm");
    fs::copy(build.path().join("RPMS/noarch/qemu-10.0.2-10.0.2-1.noarch.rpm"), directory.join(&file))
        .unwrap();
    let sha256 = digest_of_file(&directory.join(&file)).unwrap();
    let read = packages::of(&world.host, PackageManager::Dnf).read_file(&directory.join(&file)).unwrap();
    assert_eq!(read.version, action().package.version);
    let item = StagedItem {
        name: read.name,
        architecture: read.architecture,
        before: None,
        after: Some(read.version),
        automatic_before: None,
        new: Some(StagedFile { path: file, sha256, installed_bytes: read.installed_bytes, contents: None }),
        old: None,
    };
    StagedSet { manager: PackageManager::Dnf, pins, items: vec![item] }.write(&world.host).unwrap();
    world
}

/// What is outside the package manager's own directories.
fn snapshot(world: &World) -> BTreeMap<PathBuf, String> {
    let mut found = world.snapshot();
    found.retain(|path, _| path.starts_with("opt") || path.starts_with("usr"));
    found
}

#[test]
fn a_crash_at_any_instant_is_finished_or_taken_back() {
    let world = staged_world(None);
    let before = snapshot(&world);
    for nth in 0.. {
        let host = &world.host;
        assert_eq!(action().check(host).unwrap(), Standing::Ready);
        let record = action().prepare(host).unwrap();
        let ended = crashed(&world, nth, |host| action().apply(host, &record, QUIET).unwrap());
        if action().check(host).unwrap() != Standing::Done {
            action().apply(host, &record, QUIET).unwrap();
        }
        action().verify(host, &record).unwrap();
        action().apply(host, &record, QUIET).unwrap();
        assert_eq!(action().check(host).unwrap(), Standing::Done);
        let _ = crashed(&world, nth, |host| action().undo(host, &record, QUIET).unwrap());
        for _ in 0..2 {
            action().undo(host, &record, QUIET).unwrap();
            assert_eq!(snapshot(&world), before, "after a crash at {nth}");
        }
        if ended.is_ok() {
            assert!(nth > 1);
            return;
        }
    }
}

#[test]
fn what_was_half_unpacked_is_installed_over_or_removed() {
    let world = staged_world(None);
    let host = &world.host;
    let record = action().prepare(host).unwrap();
    world.file(&format!("{PREFIX}/bin/emulator;12345"), "a part");
    assert_eq!(action().check(host).unwrap(), Standing::Half);
    action().undo(host, &record, QUIET).unwrap();
    assert!(!host.at("/opt").exists());
    // Without replank's note it is somebody else's.
    world.file(&format!("{PREFIX}/bin/emulator"), "of another hand");
    assert_eq!(action().check(host).unwrap_err().code, "RP5202");
}

#[test]
fn a_build_that_runs_stays() {
    let world = staged_world(None);
    let host = &world.host;
    let record = action().prepare(host).unwrap();
    action().apply(host, &record, QUIET).unwrap();
    let mut process = Command::new(host.at(PREFIX).join("bin/emulator")).arg("300").spawn().unwrap();
    world.guests.guests.lock().unwrap().push(guest("new-one", process.id(), None));
    let refused = action().undo(host, &record, QUIET);
    drop(process.kill().and_then(|()| process.wait()));
    let Err(ActError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.code, "RP5204");
    assert!(refusal.reason.contains("guest new-one"), "{refusal}");
    action().verify(host, &record).unwrap();
    action().undo(host, &record, QUIET).unwrap();
    assert!(!host.at("/opt").exists());
}

#[test]
fn a_package_that_owns_more_than_its_prefix_is_refused() {
    let world = staged_world(Some("/usr/share/qemu/bios.bin"));
    let refusal = action().check(&world.host).unwrap_err();
    assert_eq!(refusal.code, "RP5201");
    assert!(refusal.reason.contains("/usr/share/qemu/bios.bin"), "{refusal}");
    for prefix in ["/opt", "opt/qemu", "/opt/qemu/.."] {
        let action = TreeInstall { prefix: prefix.into(), ..action() };
        assert_eq!(action.check(&world.host).unwrap_err().code, "RP5202", "{prefix}");
    }
    let unstaged = World::new();
    assert_eq!(action().check(&unstaged.host).unwrap_err().code, "RP5110");
}
