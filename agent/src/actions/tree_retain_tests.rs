//! Files of a real process kept in a temporary world: crashes, damage, coverage, and what is in use.

use super::*;
use crate::actions::sweep::crashed;
use crate::actions::testing::{World, guest};
use crate::host::files::digest_of_file;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const QUIET: Progress<'_> = &|_, _| {};

/// A world with a process for a guest. What is kept is immutable, so it is taken away before its directory is.
struct Field {
    world: World,
    guest: Child,
}

impl Drop for Field {
    fn drop(&mut self) {
        drop(self.guest.kill().and_then(|()| self.guest.wait()));
        for generation in 1..4 {
            let _ = retain::remove(&self.world.host, &directory(&action(), &self.world.host, generation));
        }
    }
}

fn action() -> TreeRetain {
    TreeRetain {
        name: "before-hop".into(),
        lazy: vec!["/usr/lib/qemu".into(), "/usr/lib/libnss_*".into(), "/no/such".into()],
    }
}

fn field() -> Field {
    let world = World::new();
    std::os::unix::fs::symlink("/proc", world.host.at("/proc")).unwrap();
    world.file("/usr/lib/qemu/block-rbd.so", "old module");
    world.file("/usr/share/seabios/bios.bin", "bios");
    std::os::unix::fs::symlink("../../share/seabios/bios.bin", world.host.at("/usr/lib/qemu/bios.bin"))
        .unwrap();
    world.file("/usr/lib/libnss_dns.so.2", "dns");
    world.file("/usr/lib/libother.so", "other");
    // A program whose file is gone while it runs, as after an upgrade.
    world.file("/usr/bin/emulator", "");
    let program = world.host.at("/usr/bin/emulator");
    fs::copy("/bin/sleep", &program).unwrap();
    let process = Command::new(&program).arg("300").stdout(Stdio::null()).spawn().unwrap();
    asleep(&world.host, process.id());
    fs::remove_file(&program).unwrap();
    world.guests.guests.lock().unwrap().push(guest("web", process.id(), None));
    Field { world, guest: process }
}

/// Waits until the program has mapped all that it maps: it sleeps, as it was told to.
fn asleep(host: &Host, pid: u32) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let stat = fs::read_to_string(host.at(format!("/proc/{pid}/stat"))).unwrap();
        let maps = fs::read_to_string(host.at(format!("/proc/{pid}/maps"))).unwrap();
        // Its exec is done, its loader too, and it no longer waits for the disk.
        if stat.contains("(emulator) S") && maps.contains("libc") {
            return;
        }
        assert!(Instant::now() < until, "{stat}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn do_it(host: &Host) -> (UndoRecord, Report) {
    let record = action().prepare(host).unwrap();
    let report = action().apply(host, &record, QUIET).unwrap();
    (record, report)
}

fn manifest(record: &UndoRecord) -> (PathBuf, Manifest) {
    let UndoRecord::Tree { path } = record else { panic!("{record:?}") };
    (path.clone(), Manifest::read(path).unwrap().unwrap())
}

#[test]
fn mapped_deleted_and_lazy_files_are_kept_by_their_bytes() {
    let field = field();
    let host = &field.world.host;
    assert_eq!(action().check(host).unwrap(), Standing::Ready);
    let before = field.world.snapshot();
    let (record, report) = do_it(host);
    action().verify(host, &record).unwrap();
    assert_eq!(action().check(host).unwrap(), Standing::Done);
    assert_eq!(field.world.snapshot(), before, "nothing outside the agent's own directory is touched");
    let (path, manifest) = manifest(&record);
    let of = |name: &str| manifest.files.iter().find(|file| file.identity.path.ends_with(name)).unwrap();
    let emulator = of("usr/bin/emulator");
    assert!(emulator.identity.deleted);
    assert_eq!(
        digest_of_file(&path.join(&emulator.copy)).unwrap(),
        digest_of_file(Path::new("/bin/sleep")).unwrap()
    );
    assert!(manifest.files.iter().any(|file| file.identity.path.to_string_lossy().contains("libc.so")));
    assert_eq!(fs::read_to_string(path.join(&of("block-rbd.so").copy)).unwrap(), "old module");
    assert_eq!(of("bios.bin").identity.path, Path::new("/usr/share/seabios/bios.bin"));
    assert_eq!(manifest.links.len(), 1);
    of("libnss_dns.so.2");
    assert!(!manifest.files.iter().any(|file| file.identity.path.ends_with("libother.so")));
    // Only what is kept whole satisfies the guard.
    assert_eq!(manifest.lazy.iter().collect::<Vec<_>>(), [Path::new("/usr/lib/qemu")]);
    let kept = crate::guard::kept(host.directories.root(), &host.directories.retained()).unwrap();
    assert!(kept(Path::new("/usr/lib/qemu")) && !kept(Path::new("/usr/lib")));
    field.world.file("/usr/lib/qemu/came-later.so", "has no copy");
    assert!(!kept(Path::new("/usr/lib/qemu")), "a file of it is not kept");
    fs::remove_file(host.at("/usr/lib/qemu/came-later.so")).unwrap();
    assert!(kept(Path::new("/usr/lib/qemu")));
    fs::rename(host.at("/usr/lib/qemu/block-rbd.so"), host.at("/usr/lib/qemu/moved.so")).unwrap();
    assert!(!kept(Path::new("/usr/lib/qemu")), "it is kept under another name");
    fs::rename(host.at("/usr/lib/qemu/moved.so"), host.at("/usr/lib/qemu/block-rbd.so")).unwrap();
    let locked = !report.findings.iter().any(|finding| finding.code == "RP5215");
    let copy = path.join(&of("block-rbd.so").copy);
    assert_eq!(locked, fs::remove_file(&copy).is_err(), "immutable, or said not to be");
}

#[test]
fn a_crash_at_any_instant_is_finished_or_taken_back() {
    for nth in 0.. {
        let field = field();
        let host = &field.world.host;
        let record = action().prepare(host).unwrap();
        let ended = crashed(&field.world, nth, |host| action().apply(host, &record, QUIET).unwrap());
        if action().check(host).unwrap() != Standing::Done {
            action().apply(host, &record, QUIET).unwrap();
        }
        action().verify(host, &record).unwrap();
        action().apply(host, &record, QUIET).unwrap();
        assert_eq!(action().check(host).unwrap(), Standing::Done);
        let _ = crashed(&field.world, nth, |host| action().undo(host, &record, QUIET).unwrap());
        for _ in 0..2 {
            action().undo(host, &record, QUIET).unwrap();
            assert_eq!(fs::read_dir(host.directories.retained()).unwrap().count(), 0);
        }
        let _ = crashed(&field.world, nth, |host| action().apply(host, &record, QUIET).unwrap());
        action().undo(host, &record, QUIET).unwrap();
        assert_eq!(fs::read_dir(host.directories.retained()).unwrap().count(), 0, "half done, at {nth}");
        if ended.is_ok() {
            assert!(nth > 5, "only {nth} boundaries");
            return;
        }
    }
}

#[test]
fn a_directory_that_no_longer_covers_the_guests_stays_and_another_is_made() {
    let field = field();
    let host = &field.world.host;
    let (first, _) = do_it(host);
    field.world.file("/usr/lib/qemu/block-nfs.so", "new module");
    assert_eq!(action().check(host).unwrap(), Standing::Ready);
    let (second, _) = do_it(host);
    assert_ne!(first, second);
    assert_eq!(action().check(host).unwrap(), Standing::Done);
    action().undo(host, &second, QUIET).unwrap();
    assert!(manifest(&first).0.exists());
}

#[test]
fn what_is_in_use_stays_and_damage_is_told() {
    let field = field();
    let host = &field.world.host;
    let (record, _) = do_it(host);
    let (path, manifest) = manifest(&record);
    let copy = path.join(&manifest.files.iter().find(|file| file.identity.deleted).unwrap().copy);
    let mut user = Command::new(&copy).arg("300").spawn().unwrap();
    let refused = action().undo(host, &record, QUIET);
    drop(user.kill().and_then(|()| user.wait()));
    let Err(ActError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.code, "RP5204");
    assert!(path.exists());

    let mut broken = manifest;
    broken.files[0].sha256 = "0".repeat(64);
    assert!(broken.damage(&path).unwrap().contains("other bytes"));
    action().undo(host, &record, QUIET).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_name_cannot_climb() {
    for name in ["", "../x", ".x", "a/b"] {
        let action = TreeRetain { name: name.into(), ..action() };
        assert_eq!(action.check(&World::new().host).unwrap_err().code, "RP5213", "{name}");
    }
}
