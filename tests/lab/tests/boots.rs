//! The lab itself, on real hosts: needs root and the packages of `setup.sh`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use replank_lab::beat::{Judgement, Limits};
use replank_lab::{Cut, GuestSpec, Lab, LabName, LabSpec, LabState, Process, down, traces, wait_for};

const LIMITS: Limits = Limits { pause_ms: 500, lost_ms: 3_000 };
const LINK_PORT: u16 = 7443;

fn name(text: &str) -> LabName {
    text.parse().expect("a fixed name fits")
}

/// Beats of a busy machine come late at times: half a second is as much as these tests put up with.
fn judge(lab: &Lab, guest: u8, from: SystemTime, to: SystemTime) -> Judgement {
    lab.beats().expect("recorded in this process").judge(guest, from, to, LIMITS)
}

#[test]
fn lab_boots_hosts_whose_guests_beat() {
    let repository = tempfile::tempdir().unwrap();
    fs::write(repository.path().join("index"), "packages").unwrap();
    let spec = LabSpec::new(name("t-boots")).hosts(2).guests_per_host(2).repository(repository.path().into());
    let lab = Lab::up(&spec).unwrap();

    let from = SystemTime::now();
    lab.beats().unwrap().wait_for_beats(&[1, 2, 3, 4], Duration::from_secs(10)).unwrap();
    sleep(Duration::from_secs(2));
    for guest in 1..=4 {
        let window = lab.beats().unwrap().between(guest, from, SystemTime::now()).unwrap();
        assert_eq!(window.judge(LIMITS), Judgement::Beating, "guest {guest}: {window:?}");
        // A hundred a second, if the machine has the time.
        assert!((100..=260).contains(&window.beats), "guest {guest}: {window:?}");
    }
    for (host, expected) in [("compute1", "guest1 guest2"), ("compute2", "guest3 guest4")] {
        let listed = lab.host(host).unwrap().must(&["virsh", "list", "--name"]).unwrap();
        assert_eq!(listed.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    let mut identities = BTreeSet::new();
    for host in lab.hosts() {
        assert_eq!(host.must(&["hostname"]).unwrap().trim(), host.name());
        assert_eq!(host.must(&["cat", "/srv/repo/index"]).unwrap(), "packages");
        assert!(
            !host.run(&["touch", "/srv/repo/new"]).unwrap().status.success(),
            "the repository is writable"
        );
        host.must(&["ping", "-c1", "-W5", "coordinator"]).unwrap();
        host.must(&["ping", "-c1", "-W5", "compute2"]).unwrap();
        assert!(host.must(&["ls", "/sys/class/net"]).unwrap().contains("host0"));
        identities.insert(host.must(&["cat", "/etc/machine-id"]).unwrap());
        identities.insert(host.sh("virsh capabilities | grep -m1 '<uuid>'").unwrap());

        host.write("/run/a b/new", b"one\ntwo", 0o640).unwrap();
        assert_eq!(host.read("/run/a b/new").unwrap(), b"one\ntwo");
        assert_eq!(host.must(&["stat", "-c", "%a", "/run/a b/new"]).unwrap().trim(), "640");
    }
    assert_eq!(identities.len(), 4, "two hosts share an identity: {identities:?}");
}

#[test]
fn lab_tells_a_pause_a_restart_and_a_loss_apart() {
    let lab = Lab::up(&LabSpec::new(name("t-apart")).hosts(2).guests_per_host(2)).unwrap();
    let (one, two) = (lab.host("compute1").unwrap(), lab.host("compute2").unwrap());
    sleep(Duration::from_secs(1));

    let from = SystemTime::now();
    one.must(&["virsh", "suspend", "guest1"]).unwrap();
    sleep(Duration::from_secs(1));
    one.must(&["virsh", "resume", "guest1"]).unwrap();

    two.must(&["virsh", "destroy", "guest3"]).unwrap();
    two.must(&["virsh", "start", "guest3"]).unwrap();

    let pid = two.qemu_pid("guest4").unwrap().to_string();
    let killed = SystemTime::now();
    two.must(&["kill", "-9", &pid]).unwrap();

    lab.beats().unwrap().wait_for_beats(&[1, 2, 3], Duration::from_secs(20)).unwrap();
    wait_for("the loss of guest 4", Duration::from_secs(10), || {
        let seen = judge(&lab, 4, from, SystemTime::now());
        Ok(if matches!(seen, Judgement::Lost { .. }) { Ok(()) } else { Err(format!("{seen:?}")) })
    })
    .unwrap();

    let to = SystemTime::now();
    let paused = judge(&lab, 1, from, to);
    assert!(matches!(paused, Judgement::Paused { gap_ms: 1000..2500 }), "guest 1: {paused:?}");
    assert_eq!(judge(&lab, 2, from, to), Judgement::Beating);
    assert_eq!(judge(&lab, 3, from, to), Judgement::Restarted { times: 1 });
    let report = lab.beats().unwrap().report(4).unwrap();
    let killed_ms =
        i64::try_from(killed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!((report.last_at_ms - killed_ms).abs() < 500, "last beat {report:?}, killed at {killed_ms}");

    let missed: u64 = lab.beats().unwrap().reports().iter().map(|report| report.missed).sum();
    assert_eq!(missed, 0, "beats were sent and never recorded");
}

#[test]
fn lab_makes_guests_of_every_kind() {
    let mut lab = Lab::up(&LabSpec::new(name("t-kinds"))).unwrap();
    let host = "compute1";
    lab.start_guest(host, GuestSpec::transient(10)).unwrap();
    lab.start_guest(host, GuestSpec { autostart: true, ..GuestSpec::new(11) }).unwrap();
    let full = GuestSpec {
        emulator: Some("/usr/bin/qemu-system-x86_64".to_owned()),
        extra_disk_mib: Some(8),
        interface: true,
        memory_mib: 64,
        ..GuestSpec::new(12)
    };
    lab.start_guest(host, full).unwrap();
    assert!(lab.start_guest(host, GuestSpec::new(12)).is_err(), "a number was given twice");

    let host = lab.host(host).unwrap();
    let listed = |which: &[&str]| {
        let names = host.must(&[&["virsh", "list", "--name"], which].concat()).unwrap();
        names.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--all", "--transient"]), ["guest10"]);
    assert_eq!(listed(&["--all", "--autostart"]), ["guest11"]);
    assert!(host.must(&["virsh", "domblklist", "guest12"]).unwrap().contains("guest12-data.img"));
    assert!(host.must(&["virsh", "domiflist", "guest12"]).unwrap().contains("br0"));

    host.must(&["virsh", "destroy", "guest10"]).unwrap();
    host.must(&["virsh", "destroy", "guest11"]).unwrap();
    assert_eq!(listed(&["--inactive"]), ["guest11"]);
    assert_eq!(listed(&["--all"]), ["guest12", "guest11"]);
}

#[test]
fn lab_cuts_one_link_and_nothing_else() {
    let lab = Lab::up(&LabSpec::new(name("t-cut")).guests_per_host(1)).unwrap();
    let listener = lab
        .within(|| {
            Ok(TcpListener::bind((replank_lab::COORDINATOR, LINK_PORT)).expect("the lab's port is free"))
        })
        .unwrap();
    let host = lab.host("compute1").unwrap();
    let mut agent = host
        .command(&["nc", "coordinator", &LINK_PORT.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut words = agent.stdin.take().unwrap();
    let (mut link, _) = listener.accept().unwrap();
    link.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut heard = [0; 4];

    words.write_all(b"one.").unwrap();
    link.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"one.");

    for which in [Cut::Both, Cut::FromHost] {
        let from = SystemTime::now();
        lab.cut_link("compute1", LINK_PORT, which).unwrap();
        words.write_all(b"two.").unwrap();
        link.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        assert!(link.read(&mut heard).is_err(), "words passed a link that is cut: {which:?}");
        assert_eq!(judge(&lab, 1, from, SystemTime::now()), Judgement::Beating, "{which:?}");
        let other = host.run(&["nc", "-z", "-w1", "coordinator", "22"]).unwrap();
        assert!(!other.status.success(), "nothing listens there");
        host.must(&["ping", "-c1", "-W5", "coordinator"]).unwrap();

        lab.heal_link("compute1").unwrap();
        link.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        link.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"two.");
    }
    // The host's words arrive, what answers them does not.
    lab.cut_link("compute1", LINK_PORT, Cut::ToHost).unwrap();
    words.write_all(b"tri.").unwrap();
    link.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"tri.");
    lab.heal_link("compute1").unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn lab_leaves_no_trace_when_dropped() {
    let spec = LabSpec::new(name("t-gone")).guests_per_host(1);
    let lab = Lab::up(&spec).unwrap();
    let hosts: Vec<Process> =
        lab.hosts().iter().filter_map(|host| Process::find(host.leader_pid())).collect();
    let mut served = lab.command("sleep", &["1000"]).spawn().unwrap();
    assert!(!traces(&spec.name).unwrap().is_empty());
    assert!(Lab::up(&spec).unwrap_err().to_string().contains("belongs to a running process"));
    assert!(down(&spec.name).is_err(), "a lab was removed under its owner");

    drop(lab);
    assert_eq!(traces(&spec.name).unwrap(), Vec::<String>::new());
    assert!(hosts.len() == 1 && hosts.iter().all(|host| !host.is_alive()));
    assert!(served.try_wait().unwrap().is_some(), "a process in the lab's namespace outlived it");
}

#[test]
fn lab_is_removed_after_its_owner_was_killed_at_any_time() {
    let lab = name("t-crash");
    let program = env!("CARGO_BIN_EXE_lab");
    for delay_ms in [100, 300, 700, 1_500, 4_000] {
        let mut owner = Command::new(program)
            .args(["up", "--name", lab.as_str(), "--hosts", "2", "--guests", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(delay_ms));
        owner.kill().unwrap();
        owner.wait().unwrap();
        down(&lab).unwrap();
        assert_eq!(traces(&lab).unwrap(), Vec::<String>::new(), "killed after {delay_ms} ms");
    }
}

#[test]
fn lab_is_left_up_by_the_program_and_booted_anew_over_its_leftovers() {
    let lab = name("t-again");
    let run = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_lab")).args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let up = ["up", "--name", "t-again", "--hosts", "1", "--guests", "1"];
    run(&up);
    let first = LabState::load(&lab).unwrap();
    assert!(first.detached && first.hosts[0].leader.is_alive());
    assert_eq!(run(&["enter", "--name", "t-again", "compute1", "--", "hostname"]), "compute1\n");
    assert!(run(&["beats", "--name", "t-again"]).contains("beating"));
    // Whatever state its record is in, the next one of that name begins from nothing.
    fs::write(lab.state_dir().join("lab.json"), "{").unwrap();
    run(&up);
    let second = LabState::load(&lab).unwrap();
    assert!(!first.hosts[0].leader.is_alive() && second.hosts[0].leader.is_alive());
    assert!(first.recorder.is_some_and(|recorder| !recorder.is_alive()));
    run(&["down", "--name", "t-again"]);
    assert_eq!(traces(&lab).unwrap(), Vec::<String>::new());
}

#[test]
fn lab_can_be_up_twice_under_two_names() {
    let spec = |text| LabSpec::new(name(text)).guests_per_host(1);
    let (a, b) = (Lab::up(&spec("t-two-a")).unwrap(), Lab::up(&spec("t-two-b")).unwrap());
    assert_eq!(a.hosts()[0].address(), b.hosts()[0].address());
    let from = SystemTime::now();
    let since = Instant::now();
    a.hosts()[0].must(&["virsh", "destroy", "guest1"]).unwrap();
    wait_for("the loss of one", Duration::from_secs(10), || {
        let seen = judge(&a, 1, from, SystemTime::now());
        Ok(if matches!(seen, Judgement::Lost { .. }) { Ok(()) } else { Err(format!("{seen:?}")) })
    })
    .unwrap();
    assert!(since.elapsed() >= Duration::from_secs(2));
    assert_eq!(judge(&b, 1, from, SystemTime::now()), Judgement::Beating);
    drop(a);
    assert!(b.hosts()[0].is_alive());
    b.beats().unwrap().wait_for_beats(&[1], Duration::from_secs(5)).unwrap();
}
