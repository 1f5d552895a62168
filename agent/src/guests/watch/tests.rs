//! The watch on real qemu processes, which the tests start and end. A host without qemu tests nothing here but the last.

use super::super::Roots;
use super::super::host_guests::HostGuests;
use super::*;
use crate::host::command::RealPrograms;
use crate::host::dirs::Directories;
use replank_common::census::EndCause;
use replank_common::ids::HostName;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use uuid::Uuid;

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// A qemu without a machine, stopped before its first instruction; ended with the test.
struct Qemu {
    process: Child,
    uuid: GuestUuid,
}

impl Qemu {
    fn start() -> Option<Self> {
        Self::start_from(Path::new(QEMU))
    }

    fn start_from(emulator: &Path) -> Option<Self> {
        let uuid = GuestUuid(Uuid::new_v4());
        let mut command = Command::new(emulator);
        // A copy elsewhere finds the modules of its build all the same.
        command.env("QEMU_MODULE_DIR", "/usr/lib/x86_64-linux-gnu/qemu");
        command.args(["-M", "none", "-S", "-display", "none", "-name", &format!("guest=t-{uuid}"), "-uuid"]);
        command.arg(uuid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Path::new(QEMU).exists().then(|| Self { process: command.spawn().unwrap(), uuid })
    }

    fn end(&mut self) {
        self.process.kill().unwrap();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What of the host is real is /proc; there is no libvirt.
fn guests(dir: &Path) -> Arc<HostGuests> {
    let roots = Roots {
        status: dir.join("status"),
        cgroup: PathBuf::from("/nowhere"),
        virsh: "/nowhere".into(),
        ..Roots::default()
    };
    let name = HostName::new("compute1").unwrap();
    Arc::new(HostGuests::new(name, roots, Directories::below(dir), Arc::new(RealPrograms)).unwrap())
}

async fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} was not seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn census(guests: &Arc<HostGuests>) -> replank_common::census::Census {
    let guests = Arc::clone(guests);
    tokio::task::spawn_blocking(move || guests.take()).await.unwrap()
}

/// A guest, once a census lists it.
async fn listed(guests: &Arc<HostGuests>, uuid: GuestUuid) -> replank_common::census::Guest {
    let begun = Instant::now();
    loop {
        if let Some(guest) = census(guests).await.guests.remove(&uuid) {
            return guest;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no census lists the guest");
    }
}

/// How long after its process was killed the end of a guest is in a report.
async fn time_to_report(means: Means) -> Option<(Duration, String)> {
    let dir = tempfile::tempdir().unwrap();
    let mut qemu = Qemu::start()?;
    let guests = guests(dir.path());
    let uuid = qemu.uuid;
    let guest = until("the guest", || {
        let found = processes::scan(Path::new("/proc")).unwrap().qemus.into_iter().find(|q| q.uuid == uuid);
        found.filter(|found| found.executable.file.is_some())
    })
    .await;
    let first = census(&guests).await;
    assert_eq!(first.guests[&uuid].incarnation.pid, guest.pid);
    assert!(first.guests[&uuid].qemu_version.is_some(), "the version of the running image");
    let stop = CancellationToken::new();
    let watching = tokio::spawn(run(Arc::clone(&guests), means, stop.clone()));
    // The watch has attached once it told that the guest is there.
    let mut changes = guests.changes();
    tokio::time::timeout(Duration::from_secs(30), changes.wait_for(|seen| *seen > 0)).await.unwrap().unwrap();
    let killed = Instant::now();
    qemu.end();
    let (census, after) = until("the end", || {
        let census = guests.report()?;
        let ended = census.end_of(uuid, first.guests[&uuid].incarnation).is_some();
        ended.then(|| (census, killed.elapsed()))
    })
    .await;
    assert!(!census.guests.contains_key(&uuid));
    assert!(census.sequence > first.sequence);
    let cause = census.end_of(uuid, first.guests[&uuid].incarnation).unwrap().cause.clone();
    let EndCause::Unattributed { known } = cause else { panic!("nobody asked for this end: {cause:?}") };
    stop.cancel();
    watching.await.unwrap().unwrap();
    Some((after, known))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_guest_is_reported_within_300_ms_and_how_it_ended_is_known() {
    let Some((after, known)) = time_to_report(Means { libvirt_events: false, ..Means::default() }).await
    else {
        return;
    };
    assert!(known.contains("SIGKILL"), "{known}");
    println!("reported {} ms after the kill", after.as_millis());
    if pidfd::is_available() {
        assert!(after < Duration::from_millis(300), "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_pidfd_an_end_is_found_by_looking_again() {
    for connector in [true, false] {
        let means = Means { pidfd: false, connector, libvirt_events: false };
        let Some((after, known)) = time_to_report(means).await else { return };
        println!("connector {connector}: reported {} ms after the kill: {known}", after.as_millis());
        assert!(after < Duration::from_millis(700), "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_guest_is_told_and_watched() {
    let dir = tempfile::tempdir().unwrap();
    let guests = guests(dir.path());
    let stop = CancellationToken::new();
    let watching = tokio::spawn(run(
        Arc::clone(&guests),
        Means { libvirt_events: false, ..Means::default() },
        stop.clone(),
    ));
    let mut changes = guests.changes();
    changes.mark_unchanged();
    let Some(mut qemu) = Qemu::start() else { return };
    let uuid = qemu.uuid;
    let seen = loop {
        tokio::time::timeout(Duration::from_secs(30), changes.changed()).await.unwrap().unwrap();
        let census = census(&guests).await;
        if let Some(guest) = census.guests.get(&uuid) {
            break guest.incarnation;
        }
    };
    qemu.end();
    until("the end", || guests.report()?.end_of(uuid, seen).cloned()).await;
    stop.cancel();
    watching.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_vanishes_between_two_censuses_without_a_watch_is_an_end_that_nobody_explains() {
    let dir = tempfile::tempdir().unwrap();
    let guests = guests(dir.path());
    let Some(mut qemu) = Qemu::start() else { return };
    let uuid = qemu.uuid;
    let first = listed(&guests, uuid).await.incarnation;
    qemu.end();
    qemu.process.wait().unwrap();
    let second = census(&guests).await;
    assert!(!second.end_of(uuid, first).unwrap().cause.is_owners_doing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_whose_emulator_was_removed_still_tells_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = dir.path().join("qemu-system-x86_64");
    if !Path::new(QEMU).exists() {
        return;
    }
    std::fs::copy(QEMU, &emulator).unwrap();
    let Some(qemu) = Qemu::start_from(&emulator) else { return };
    let guests = guests(dir.path());
    let first = listed(&guests, qemu.uuid).await;
    assert!(!first.emulator_deleted && first.qemu_version.is_some());
    std::fs::remove_file(&emulator).unwrap();
    // An agent that has just started knows nothing of the image from before.
    let guests = self::guests(dir.path());
    let second = census(&guests).await.guests[&qemu.uuid].clone();
    assert!(second.emulator_deleted);
    assert_eq!(second.emulator, emulator);
    assert_eq!((second.qemu_version, second.incarnation), (first.qemu_version, first.incarnation));
}

/// A libvirtd that says what the file `domains` and `events` beside it say.
fn fake_libvirt(dir: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let virsh = dir.join("virsh");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >> {0}/asked\ncase \"$*\" in\n  *event*) touch {0}/events; exec tail -n +1 -s 0.01 -f {0}/events ;;\n  \
         *) cat {0}/domains ;;\nesac\n",
        dir.display()
    );
    std::fs::write(&virsh, script).unwrap();
    std::fs::set_permissions(&virsh, std::fs::Permissions::from_mode(0o755)).unwrap();
    virsh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libvirt_is_only_ever_asked_and_only_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let proc = dir.path().join("proc");
    let boot_id = proc.join("sys/kernel/random/boot_id");
    std::fs::create_dir_all(boot_id.parent().unwrap()).unwrap();
    std::fs::write(boot_id, Uuid::new_v4().to_string()).unwrap();
    std::fs::write(proc.join("uptime"), "1000.00 1000.00\n").unwrap();
    let marks = "replank:active\nreplank:running\nreplank:paused\nreplank:persistent\n";
    std::fs::write(dir.path().join("domains"), marks).unwrap();
    let roots = Roots {
        proc: proc.clone(),
        status: dir.path().join("status"),
        cgroup: dir.path().join("cgroup"),
        virsh: fake_libvirt(dir.path()),
    };
    std::fs::create_dir_all(&roots.cgroup).unwrap();
    std::fs::write(roots.cgroup.join("cgroup.controllers"), "").unwrap();
    let name = HostName::new("compute1").unwrap();
    let guests = Arc::new(
        HostGuests::new(name, roots, Directories::below(dir.path()), Arc::new(RealPrograms)).unwrap(),
    );
    let asked = dir.path().join("asked");
    assert!(census(&guests).await.agrees());
    assert!(!asked.exists(), "with socket activation a question starts a libvirtd");

    super::super::processes::tests::fake_process(
        &proc,
        45,
        1,
        "libvirtd",
        50,
        &["libvirtd"],
        "/usr/sbin/libvirtd",
    );
    let stop = CancellationToken::new();
    let watching = tokio::spawn(run(Arc::clone(&guests), Means::default(), stop.clone()));
    assert!(census(&guests).await.agrees());
    until("the client for events", || dir.path().join("events").exists().then_some(())).await;
    stop.cancel();
    watching.await.unwrap().unwrap();
    let asked = std::fs::read_to_string(asked).unwrap();
    assert!(asked.lines().count() >= 2);
    for line in asked.lines() {
        let line = line.strip_prefix("-q ").unwrap_or(line);
        let asks =
            line.strip_prefix("-r -c qemu:///system ").unwrap_or_else(|| panic!("not read-only: {line}"));
        let words: Vec<&str> = asks.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        let asks = ["echo", "list", "--uuid", "event", "--event", "lifecycle", "--loop"];
        let lists = ["--state-running", "--state-paused", "--persistent"];
        let known = |word: &&str| asks.contains(word) || lists.contains(word) || word.starts_with("replank:");
        assert!(words.iter().all(known), "{line}");
    }
}

#[test]
fn the_uptime_is_read() {
    assert!(uptime_ms(Path::new("/proc")).unwrap() > 0);
    assert_eq!(uptime_ms(Path::new("/nowhere")), None);
}
