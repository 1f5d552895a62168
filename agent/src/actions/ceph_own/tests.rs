//! Changing the owner of a daemon's files, on trees that are real. To give a file away takes root.

use super::super::ceph_tests::{Fake, NEW, cluster, crash_at};
use super::super::testing::World;
use super::super::{ActError, Host, Perform, Progress, Standing};
use crate::host::boundary::Boundary;
use replank_common::action::{CephOwn, OwnSwitch};
use replank_common::undo::UndoRecord;
use replank_common::version::Version;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CEPH: u32 = 167;
const OSD: &str = "/var/lib/ceph/osd/ceph-0";
const QUIET: Progress<'_> = &|_, _| {};

fn ground(files: usize) -> (World, Host, Arc<Fake>) {
    assert!(rustix::process::geteuid().is_root(), "only root can give a file away: run the tests as root");
    let (world, host, fake) = cluster();
    world.file(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nceph:x:167:167:Ceph:/var/lib/ceph:/sbin/nologin\n",
    );
    world.file("/etc/ceph/ceph.conf", "[osd]\nsetuser match path = /var/lib/ceph/$type/$cluster-$id\n");
    for number in 0..files {
        world.file(&format!("{OSD}/current/1.{}_head/object-{number}", number % 7), "x");
    }
    world.file(&format!("{OSD}/type"), "filestore\n");
    symlink("current/1.0_head", host.at(OSD).join("inside")).unwrap();
    Fake::stop(&fake, "osd.0");
    Fake::start(&fake, "osd.0", NEW);
    fake.cluster.lock().unwrap().stops.clear();
    (world, host, fake)
}

fn own() -> CephOwn {
    let switch = OwnSwitch {
        expect: Version::new(NEW),
        consents: Vec::new(),
        stop_ms: 2_000,
        down_ms: 60_000,
        start_ms: 2_000,
    };
    CephOwn { switch: Some(switch), ..ahead() }
}

fn ahead() -> CephOwn {
    CephOwn { daemon: "osd.0".parse().unwrap(), uid: CEPH, gid: CEPH, files_per_second: 0, switch: None }
}

/// Whose everything is, the directory itself included.
fn owners(host: &Host) -> BTreeMap<PathBuf, (u32, u32)> {
    fn add(path: &Path, all: &mut BTreeMap<PathBuf, (u32, u32)>) {
        let found = path.symlink_metadata().unwrap();
        all.insert(path.to_owned(), (found.uid(), found.gid()));
        if found.is_dir() {
            for entry in path.read_dir().unwrap() {
                add(&entry.unwrap().path(), all);
            }
        }
    }
    let mut all = BTreeMap::new();
    add(&host.at(OSD), &mut all);
    all
}

fn all_are(host: &Host, owner: u32) -> bool {
    owners(host).values().all(|is| *is == (owner, owner))
}

fn top(host: &Host) -> u32 {
    host.at(OSD).metadata().unwrap().uid()
}

fn runs_as(fake: &Fake) -> Option<u32> {
    let pid = fake.cluster.lock().unwrap().running.get("osd.0").map(|(pid, _)| *pid)?;
    let status = std::fs::read_to_string(fake.proc.join(pid.to_string()).join("status")).unwrap();
    status.split_whitespace().nth(3).unwrap().parse().ok()
}

fn act(action: &CephOwn, host: &Host) -> Result<UndoRecord, ActError> {
    assert_eq!(action.check(host)?, Standing::Ready);
    let record = action.prepare(host)?;
    action.apply(host, &record, QUIET)?;
    action.verify(host, &record)?;
    assert_eq!(action.check(host)?, Standing::Done);
    Ok(record)
}

fn code(error: &ActError) -> &str {
    match error {
        ActError::Refused(refusal) => &refusal.code,
        ActError::Failed(failure) => failure.code,
    }
}

#[test]
fn a_daemon_comes_back_as_the_user_of_its_files_and_the_way_back_is_the_same() {
    let (_world, host, fake) = ground(300);
    assert_eq!(runs_as(&fake), Some(0));
    let record = act(&own(), &host).unwrap();
    assert!(all_are(&host, CEPH));
    assert_eq!((runs_as(&fake), fake.cluster.lock().unwrap().stops.len()), (Some(CEPH), 1));
    // Done twice is done once.
    own().apply(&host, &record, QUIET).unwrap();
    assert_eq!(fake.cluster.lock().unwrap().stops.len(), 1);
    for stops in [2, 2] {
        own().undo(&host, &record, QUIET).unwrap();
        assert!(all_are(&host, 0));
        assert_eq!((runs_as(&fake), fake.cluster.lock().unwrap().stops.len()), (Some(0), stops));
    }
}

#[test]
fn what_is_done_ahead_stops_nothing_and_leaves_a_daemon_that_starts_as_root() {
    let (_world, host, fake) = ground(100);
    let record = act(&ahead(), &host).unwrap();
    assert_eq!((top(&host), owners(&host).values().filter(|owner| owner.0 == 0).count()), (0, 1));
    assert_eq!((runs_as(&fake), fake.cluster.lock().unwrap().stops.len()), (Some(0), 0));
    let whole = act(&own(), &host).unwrap();
    assert!(all_are(&host, CEPH));
    // Taken back in the wrong order, it would leave a daemon without its files.
    assert_eq!(code(&ahead().undo(&host, &record, QUIET).unwrap_err()), "RP5613");
    own().undo(&host, &whole, QUIET).unwrap();
    ahead().undo(&host, &record, QUIET).unwrap();
    assert!(all_are(&host, 0));
}

#[test]
fn what_the_daemon_makes_meanwhile_follows_and_what_it_removes_is_nothing() {
    let (_world, host, fake) = ground(200);
    let made = Arc::new(AtomicUsize::new(0));
    let (counter, directory) = (Arc::clone(&made), host.at(OSD).join("current/1.3_head"));
    let daemon = Arc::clone(&fake);
    let boundary = Boundary::hooked(move |instant| {
        if instant == "ceph-own: one file more" && runs_as(&daemon).is_some() {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            std::fs::remove_file(directory.join(format!("object-{}", 3 + 7 * number))).ok();
            if number < 400 {
                std::fs::write(directory.join(format!("new-{number}")), "x").unwrap();
            }
        }
    });
    act(&own(), &Host { boundary, ..host.clone() }).unwrap();
    assert!(all_are(&host, CEPH) && made.load(Ordering::SeqCst) > 200);
    assert_eq!(runs_as(&fake), Some(CEPH));
}

#[test]
fn after_a_crash_at_any_instant_the_daemon_starts_and_the_same_action_ends_it() {
    let mut instants = Vec::new();
    for nth in 0.. {
        let (_world, host, fake) = ground(12);
        let action = own();
        assert_eq!(action.check(&host).unwrap(), Standing::Ready);
        let record = action.prepare(&host).unwrap();
        let ended = crash_nth(&host, nth, |host| drop(action.apply(host, &record, QUIET)));
        // Whoever starts it now, systemd or a person: it can read its files.
        assert!(fake.user_of("osd.0").is_some(), "{ended:?}");
        if nth % 2 == 0 {
            action.undo(&host, &record, QUIET).unwrap();
            assert!(all_are(&host, 0), "{ended:?}");
            assert_eq!(runs_as(&fake), Some(0), "{ended:?}");
        }
        if action.check(&host).unwrap() != Standing::Done {
            action.apply(&host, &record, QUIET).unwrap();
        }
        action.verify(&host, &record).unwrap();
        assert!(all_are(&host, CEPH), "{ended:?}");
        assert_eq!(runs_as(&fake), Some(CEPH), "{ended:?}");
        match ended {
            Some(instant) => instants.push(instant),
            None => break,
        }
    }
    for instant in
        ["one file more", "note written", "stopped", "all files given", "the directory given", "started"]
    {
        assert!(instants.iter().any(|seen| seen.ends_with(instant)), "{instant}: {instants:?}");
    }
}

#[test]
fn after_a_crash_on_the_way_back_the_daemon_starts_and_the_way_back_ends() {
    for nth in 0.. {
        let (_world, host, fake) = ground(12);
        let action = own();
        let record = act(&action, &host).unwrap();
        let ended = crash_nth(&host, nth, |host| drop(action.undo(host, &record, QUIET)));
        assert!(fake.user_of("osd.0").is_some(), "{ended:?}");
        action.undo(&host, &record, QUIET).unwrap();
        assert!(all_are(&host, 0), "{ended:?}");
        assert_eq!(runs_as(&fake), Some(0), "{ended:?}");
        if ended.is_none() {
            break;
        }
    }
}

/// The name of the instant at which it crashed, the `nth` from 0.
fn crash_nth(host: &Host, nth: usize, work: impl FnOnce(&Host)) -> Option<String> {
    let seen = AtomicUsize::new(0);
    let boundary = Boundary::hooked(move |instant| {
        if instant.starts_with("ceph-own") && seen.fetch_add(1, Ordering::SeqCst) == nth {
            std::panic::resume_unwind(Box::new(instant.to_owned()));
        }
    });
    let host = Host { boundary, ..host.clone() };
    let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&host)));
    crash.err().map(|instant| *instant.downcast::<String>().unwrap())
}

#[test]
fn nothing_outside_of_the_directory_is_given_away() {
    let (world, host, fake) = ground(20);
    world.file("/etc/shadow", "root");
    let shadow = host.at("/etc/shadow");
    symlink(&shadow, host.at(OSD).join("current/out")).unwrap();
    symlink("/etc", host.at(OSD).join("current/etc")).unwrap();
    act(&own(), &host).unwrap();
    assert_eq!(shadow.metadata().unwrap().uid(), 0);
    assert!(all_are(&host, CEPH));

    let (world, host, _fake) = ground(20);
    world.file("/etc/shadow", "root");
    let shadow = host.at("/etc/shadow");
    std::fs::hard_link(&shadow, host.at(OSD).join("current/object")).unwrap();
    std::fs::hard_link(host.at(OSD).join("type"), host.at(OSD).join("current/type")).unwrap();
    let failed = act(&own(), &host).unwrap_err();
    assert_eq!(code(&failed), "RP5612");
    assert!(failed.to_string().contains("current/object has 2 names, and 1 of them"), "{failed}");
    assert_eq!(shadow.metadata().unwrap().uid(), 0);
    drop(fake);
}

#[test]
fn a_directory_that_is_a_link_or_holds_a_mount_or_a_device_is_refused() {
    let (world, host, fake) = ground(3);
    world.file(
        "/proc/self/mountinfo",
        &format!(
            "36 35 8:1 / {OSD} rw - xfs /dev/sda rw\n37 36 8:1 /x {OSD}/current/bind rw - xfs /dev/sda rw\n"
        ),
    );
    let refused = own().check(&host).unwrap_err();
    assert!(refused.reason.contains("current/bind, inside"), "{refused}");
    std::fs::remove_file(host.at("/proc/self/mountinfo")).unwrap();

    let place = host.at(OSD).join("current/mount");
    std::fs::create_dir(&place).unwrap();
    let mounted =
        nix::mount::mount(Some("none"), &place, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>);
    if mounted.is_ok() {
        let refused = own().prepare(&host).unwrap_err();
        nix::mount::umount(&place).unwrap();
        assert!(refused.reason.contains("current/mount, inside"), "{refused}");
    }
    let device = host.at(OSD).join("current/null");
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    if nix::sys::stat::mknod(&device, kind, nix::sys::stat::Mode::empty(), nix::sys::stat::makedev(1, 3))
        .is_ok()
    {
        assert!(own().prepare(&host).unwrap_err().reason.contains("current/null is a device"));
        std::fs::remove_file(&device).unwrap();
    }
    std::fs::rename(host.at(OSD), host.at("/elsewhere")).unwrap();
    symlink(host.at("/elsewhere"), host.at(OSD)).unwrap();
    assert!(own().check(&host).unwrap_err().reason.contains("a symlink"));
    assert!(fake.cluster.lock().unwrap().stops.is_empty());
}

#[test]
fn an_immutable_file_is_named_before_anything_stops() {
    let (_world, host, fake) = ground(5);
    let path = host.at(OSD).join("current/1.2_head/object-2");
    let file = std::fs::File::open(&path).unwrap();
    let immutable = rustix::fs::IFlags::IMMUTABLE;
    // Not every file system has it.
    if rustix::fs::ioctl_setflags(&file, immutable).is_err() {
        return;
    }
    let failed = act(&own(), &host);
    rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::empty()).unwrap();
    let failed = failed.unwrap_err();
    assert_eq!(code(&failed), "RP5612");
    assert!(failed.to_string().contains("object-2 is immutable"), "{failed}");
    assert!(fake.cluster.lock().unwrap().stops.is_empty());
}

#[test]
fn an_outage_that_grows_too_long_ends_with_the_daemon_as_it_was() {
    let (_world, host, fake) = ground(200);
    let hurried = OwnSwitch { down_ms: 0, ..own().switch.unwrap() };
    let action = CephOwn { switch: Some(hurried), ..own() };
    let failed = act(&action, &host).unwrap_err();
    assert_eq!(code(&failed), "RP5615");
    assert!(failed.to_string().contains("it runs as before"), "{failed}");
    assert_eq!((top(&host), runs_as(&fake)), (0, Some(0)));
    assert_eq!(own().check(&host).unwrap(), Standing::Half);
    let record = own().prepare(&host).unwrap();
    own().apply(&host, &record, QUIET).unwrap();
    own().verify(&host, &record).unwrap();
}

#[test]
fn one_that_does_not_come_up_as_its_new_user_runs_as_its_old_one() {
    let (_world, host, fake) = ground(20);
    fake.cluster.lock().unwrap().broken_as = Some(CEPH);
    let failed = act(&own(), &host).unwrap_err();
    assert_eq!(code(&failed), "RP5606");
    assert!(failed.to_string().contains("0:0's again, and it runs as before"), "{failed}");
    assert_eq!((top(&host), runs_as(&fake)), (0, Some(0)));
    fake.cluster.lock().unwrap().broken_as = None;
    assert_eq!(own().check(&host).unwrap(), Standing::Half);
}

#[test]
fn nothing_stops_that_may_not_stop_or_would_not_start() {
    let (world, host, fake) = ground(5);
    fake.cluster.lock().unwrap().down.insert(4);
    let failed = act(&own(), &host).unwrap_err();
    assert_eq!(code(&failed), "RP5602");
    fake.cluster.lock().unwrap().down.clear();
    fake.cluster.lock().unwrap().installed = "16.2.14".to_owned();
    assert_eq!(own().check(&host).unwrap_err().code, "RP5603");
    fake.cluster.lock().unwrap().installed = NEW.to_owned();
    world.file("/etc/ceph/ceph.conf", "[mon]\nsetuser match path = /var/lib/ceph/$type/$cluster-$id\n");
    assert_eq!(own().check(&host).unwrap_err().code, "RP5613");
    world.file("/etc/ceph/ceph.conf", "[osd]\nsetuser match path = /var/lib/ceph/$type/$cluster-$id\n");
    world.file("/etc/passwd", "ceph:x:1000:1000:A person:/home/ceph:/bin/sh\n");
    assert_eq!(own().check(&host).unwrap_err().code, "RP5613");
    assert!(fake.cluster.lock().unwrap().stops.is_empty());
    assert_eq!(runs_as(&fake), Some(0));
}

#[test]
fn a_journal_elsewhere_is_given_when_it_is_a_file_and_refused_when_its_device_would_not_stay() {
    let (world, host, _fake) = ground(5);
    world.file("/ssd/journal-0", "x");
    let (journal, link) = (host.at("/ssd/journal-0"), host.at(OSD).join("journal"));
    symlink(&journal, &link).unwrap();
    let record = act(&own(), &host).unwrap();
    assert_eq!(journal.metadata().unwrap().uid(), CEPH);
    own().undo(&host, &record, QUIET).unwrap();
    assert_eq!(journal.metadata().unwrap().uid(), 0);
    std::fs::remove_file(&link).unwrap();
    symlink("/dev/null", &link).unwrap();
    let refused = own().check(&host).unwrap_err();
    assert_eq!(refused.code, "RP5614");
    assert!(refused.reason.contains("journal of osd.0 leads to /dev/null, which is 0:0's"), "{refused}");
}

#[test]
fn files_of_a_third_owner_are_remembered_and_too_many_are_refused() {
    let (_world, host, _fake) = ground(1_200);
    let strange = host.at(OSD).join("current/1.5_head/object-5");
    std::os::unix::fs::lchown(&strange, Some(1000), Some(1001)).unwrap();
    let record = act(&own(), &host).unwrap();
    assert!(all_are(&host, CEPH));
    own().undo(&host, &record, QUIET).unwrap();
    let found = strange.metadata().unwrap();
    assert_eq!((found.uid(), found.gid(), top(&host)), (1000, 1001, 0));
    for path in owners(&host).keys().filter(|path| path.is_file()) {
        std::os::unix::fs::lchown(path, Some(1000), Some(1000)).unwrap();
    }
    let refused = own().prepare(&host).unwrap_err();
    assert!(refused.reason.contains("files of osd.0 are neither 0:0's nor 167:167's, such as"), "{refused}");
}

#[test]
fn a_crash_right_after_the_stop_is_followed_by_a_start_as_it_was() {
    let (_world, host, fake) = ground(12);
    let record = own().prepare(&host).unwrap();
    crash_at(&own(), &host, &record, "ceph-own: stopped");
    assert_eq!(runs_as(&fake), None);
    assert_eq!(own().check(&host).unwrap(), Standing::Half);
    own().apply(&host, &record, QUIET).unwrap();
    own().verify(&host, &record).unwrap();
    let cluster = fake.cluster.lock().unwrap();
    // Up first, then judged and done anew.
    assert_eq!((cluster.stops.len(), cluster.starts.len()), (2, 2));
}

#[test]
fn one_that_ends_late_runs_as_before_and_keeps_its_files() {
    let (_world, host, fake) = ground(12);
    fake.cluster.lock().unwrap().slow.insert("osd.0".to_owned());
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while fake.cluster.lock().unwrap().stops.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            std::thread::sleep(std::time::Duration::from_millis(500));
            Fake::stop(&fake, "osd.0");
        });
        act(&own(), &host).unwrap_err()
    });
    assert_eq!(code(&failed), "RP5605");
    assert!(failed.to_string().contains("it has ended since, and it runs as before"), "{failed}");
    assert_eq!((top(&host), runs_as(&fake)), (0, Some(0)));
}

/// Whoever watches sees how far the first look at them is, which changes nothing.
#[test]
fn the_look_at_whose_the_files_are_is_told_of_while_it_lasts() {
    let (_world, host, _fake) = ground(700);
    let action = CephOwn { files_per_second: 200, ..ahead() };
    let told = std::sync::Mutex::new(Vec::new());
    action
        .prepare_aloud(&host, &|permille, text| told.lock().unwrap().push((permille, text.to_owned())))
        .unwrap();
    let told = told.into_inner().unwrap();
    assert!(!told.is_empty());
    // The tree shares its file system here, so nobody knows how many there are.
    for (permille, text) in &told {
        assert!(permille.is_none() && text.starts_with("seeing whose they are: "), "{text}");
    }
    assert!(all_are(&host, 0));
}

/// P10 on the way back too: nobody but the agent looks there.
#[test]
fn the_way_back_stops_nothing_that_may_not_stop() {
    let (_world, host, fake) = ground(12);
    let record = act(&own(), &host).unwrap();
    fake.cluster.lock().unwrap().down.insert(4);
    let refused = own().undo(&host, &record, QUIET).unwrap_err();
    assert!(matches!(&refused, ActError::Refused(refusal) if refusal.code == "RP5602"), "{refused}");
    assert_eq!((runs_as(&fake), fake.cluster.lock().unwrap().stops.len()), (Some(CEPH), 1));
    assert!(all_are(&host, CEPH));
    fake.cluster.lock().unwrap().down.clear();
    own().undo(&host, &record, QUIET).unwrap();
    assert!(all_are(&host, 0));
}
