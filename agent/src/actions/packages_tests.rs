//! Packages staged, installed and taken back over real dnf and real apt, each in a root of its own, with crashes at every boundary.
//!
//! `demo` 1 is installed with a configuration file that the operator changed; `demo` 2 needs `demo-lib`, which takes a file over from it. With apt
//! `demo` 1 needs `demo-old`, in whose place `demo-lib` comes, with the same file: a library that has another name from then on.

use super::staged::StagedSet;
use super::testing::World;
use super::{ActError, Perform, Progress, Report, Standing};
use crate::host::Host;
use crate::host::command::{Command, CommandError, Output, Programs, RealPrograms};
use crate::host::files::{digest_of_bytes, digest_of_file};
use crate::host::packages;
use replank_common::action::{PackagePin, PackagesInstall, PackagesStage};
use replank_common::facts::PackageManager::{self, Apt, Dnf};
use replank_common::finding::{Finding, Severity};
use replank_common::undo::UndoRecord;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

const QUIET: Progress<'_> = &|_, _| {};

fn shell(script: &str, directory: &Path) {
    let output =
        std::process::Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A spec: scriptlets in Lua, which need no shell in the root and leave a trace when they run.
fn spec(name: &str, version: &str, head: &str, files: &[(&str, &str)]) -> String {
    let mut text = format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: -\nLicense: -\nBuildArch: noarch\n{head}\n\
         %description\n-\n%install\n"
    );
    let mut list = String::new();
    for (path, contents) in files {
        text.push_str(&format!(
            "mkdir -p %{{buildroot}}$(dirname {path}); echo '{contents}' > %{{buildroot}}{path}\n"
        ));
        let kind = if path.starts_with("/etc") { "%config(noreplace) " } else { "" };
        list.push_str(&format!("{kind}{path}\n"));
    }
    let ran = format!("io.open('/etc/ran', 'a'):write('{name} {version}\\n')");
    text.push_str(&format!("%post -p <lua>\n{ran}\n%postun -p <lua>\n{ran}\n%files\n{list}"));
    text
}

const DEMO_1: [(&str, &str); 3] =
    [("/usr/share/demo/f", "one"), ("/usr/share/demo/moved", "moved"), ("/etc/demo.conf", "setting 1")];
const DEMO_2: [(&str, &str); 3] =
    [("/usr/share/demo/f", "two"), ("/usr/share/demo/new", "new"), ("/etc/demo.conf", "setting 2")];
const LIB: [(&str, &str); 2] = [("/usr/share/demo/moved", "moved"), ("/etc/demo-lib.conf", "lib")];

const OLD: [(&str, &str); 2] = [("/usr/share/demo/old", "old"), ("/etc/demo-old.conf", "old")];
const LIB_FOR_OLD: [(&str, &str); 3] =
    [("/usr/share/demo/moved", "moved"), ("/etc/demo-lib.conf", "lib"), ("/usr/share/demo/old", "newer")];

/// A directory beside the test binaries that is made once for all of them, each being a process of its own, and anew when these tests change.
fn made_once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let binary = std::env::current_exe().unwrap();
    let folder = binary.parent().unwrap().join("made-for-tests");
    fs::create_dir_all(&folder).unwrap();
    let recipe = digest_of_bytes(include_bytes!("packages_tests.rs"));
    let made = folder.join(format!("{name}-{}", &recipe[..16]));
    let lock = fs::File::create(folder.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !made.exists() {
        let making = tempfile::tempdir_in(&folder).unwrap();
        make(making.path());
        fs::rename(making.keep(), &made).unwrap();
    }
    made
}

/// A repository with all packages.
static RPMS: LazyLock<PathBuf> = LazyLock::new(|| made_once("rpms", make_rpms));

fn make_rpms(made: &Path) {
    // A trigger is a script of a package that does not change itself.
    let base = "Provides: /bin/sh\n%triggerin -p <lua> -- demo\nio.open('/etc/ran', 'a'):write('trigger')\n";
    let specs = [
        ("base", spec("base", "1", base, &[])),
        ("demo1", spec("demo", "1", "", &DEMO_1)),
        ("demo2", spec("demo", "2", "Requires: demo-lib", &DEMO_2)),
        ("lib", spec("demo-lib", "2", "", &LIB)),
    ];
    for (name, text) in specs {
        fs::write(made.join(format!("{name}.spec")), text).unwrap();
    }
    shell(
        "for s in *.spec; do rpmbuild -bb -D \"_topdir $PWD/top\" -D \"_rpmdir $PWD/repo\" $s; done; createrepo_c -q repo",
        made,
    );
}

static DEBS: LazyLock<PathBuf> = LazyLock::new(|| made_once("debs", make_debs));

fn make_debs(made: &Path) {
    let deb = |name: &str, version: &str, fields: &str, files: &[(&str, &str)]| {
        let tree = made.join(format!("{name}-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: - <->\nInstalled-Size: 4\n\
             {fields}Description: -\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let mut conffiles = String::new();
        for (path, contents) in files {
            let here = tree.join(path.trim_start_matches('/'));
            fs::create_dir_all(here.parent().unwrap()).unwrap();
            fs::write(here, format!("{contents}\n")).unwrap();
            if path.starts_with("/etc") {
                conffiles.push_str(&format!("{path}\n"));
            }
        }
        fs::write(tree.join("DEBIAN/conffiles"), conffiles).unwrap();
    };
    deb("demo", "1", "Depends: demo-old\n", &DEMO_1);
    deb("demo", "2", "Depends: demo-lib (>= 2)\n", &DEMO_2);
    deb("demo-old", "1", "", &OLD);
    let in_place = "Replaces: demo (<< 2), demo-old\nBreaks: demo-old (<< 2)\nProvides: demo-old (= 2)\n";
    deb("demo-lib", "2", in_place, &LIB_FOR_OLD);
    shell(
        "mkdir repo; for d in demo-*; do dpkg-deb --root-owner-group -b $d repo; done; cd repo; apt-ftparchive packages . > Packages",
        made,
    );
}

/// A root with `demo` 1 and an operator's change to its configuration.
fn base(manager: PackageManager) -> World {
    let world = World::new();
    world.file("/usr/sbin/policy-rc.d", "#!/bin/sh\n# the operator's\nexit 0\n");
    world.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    world.file("/etc/ld.so.conf", "");
    world.file("/proc/77/stat", &stat(4000));
    let host = &world.host;
    match manager {
        Dnf => {
            let repository = RPMS.join("repo");
            let text = format!("[demo]\nname=demo\nbaseurl=file://{}\ngpgcheck=0\n", repository.display());
            world.file("/etc/yum.repos.d/demo.repo", &text);
            let root = host.at("/").display().to_string();
            shell(
                &format!(
                    "dnf -y --installroot={root} --setopt=reposdir={root}/etc/yum.repos.d --releasever=/ \
                     --setopt=tsflags=noscripts,notriggers install base demo-1"
                ),
                Path::new("/"),
            );
            // As a pin leaves it: what is installed is in the repository, and not among what may be installed from it.
            world.file("/etc/yum.repos.d/demo.repo", &format!("{text}includepkgs=demo-2-1 demo-lib-2-1\n"));
        }
        Apt => {
            for path in ["/var/lib/dpkg/status", "/var/lib/dpkg/available", "/etc/apt/apt.conf.d/none"] {
                world.file(path, "");
            }
            for path in [
                "/var/lib/dpkg/info",
                "/var/lib/dpkg/updates",
                "/var/lib/dpkg/triggers",
                "/var/lib/apt/lists/partial",
                "/var/cache/apt/archives/partial",
                "/var/log/apt",
                "/etc/apt/preferences.d",
            ] {
                fs::create_dir_all(host.at(path)).unwrap();
            }
            let repository = DEBS.join("repo");
            let text = format!("deb [trusted=yes] copy:{} ./\n", repository.display());
            world.file("/etc/apt/sources.list.d/demo.list", &text);
            let root = host.at("/").display().to_string();
            shell(&format!("dpkg --root={root} -i demo-old_1_all.deb demo_1_all.deb"), &repository);
            packages::of(host, Apt).mark_automatic(&["demo-old".to_owned()], true).unwrap();
            packages::of(host, Apt).refresh(Path::new("/etc/apt/sources.list.d/demo.list")).unwrap();
        }
        PackageManager::Yum => unreachable!("not tried here"),
    }
    world.file("/etc/demo.conf", "setting of mine\n");
    world
}

/// `/proc/PID/stat` of a daemon that started at this tick.
fn stat(start: u64) -> String {
    format!(
        "77 (libvirtd) S 1 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0 {}\n",
        "0 ".repeat(28).trim()
    )
}

fn pins() -> Vec<PackagePin> {
    vec![PackagePin { name: "demo".into(), version: "2".into() }]
}

fn pins_of(manager: PackageManager) -> Vec<PackagePin> {
    match manager {
        Apt => pins(),
        Dnf | PackageManager::Yum => vec![PackagePin { name: "demo".into(), version: "2-1".into() }],
    }
}

fn stage(manager: PackageManager) -> PackagesStage {
    let removals = match manager {
        Apt => vec!["demo-old".to_owned()],
        Dnf | PackageManager::Yum => Vec::new(),
    };
    PackagesStage { manager, install: pins_of(manager), removals, spare_bytes: 0 }
}

fn install(manager: PackageManager) -> PackagesInstall {
    PackagesInstall {
        manager,
        install: pins_of(manager),
        undisturbed_units: vec!["libvirtd.service".into(), "none.service".into()],
    }
}

/// A base with both directions staged.
fn staged(manager: PackageManager) -> (World, Report) {
    let world = base(manager);
    let action = stage(manager);
    assert_eq!(action.check(&world.host).unwrap(), Standing::Ready);
    let record = action.prepare(&world.host).unwrap();
    let report = action.apply(&world.host, &record, QUIET).unwrap();
    action.verify(&world.host, &record).unwrap();
    assert_eq!(action.check(&world.host).unwrap(), Standing::Done);
    let world = world.copied();
    world.systemd.main_pid("libvirtd.service", 77);
    (world, report)
}

fn copy(world: &World) -> World {
    let world = world.copied();
    world.systemd.main_pid("libvirtd.service", 77);
    world
}

/// What counts: configuration and files of packages byte by byte, and what the package manager says is installed.
fn state(world: &World, manager: PackageManager) -> (BTreeMap<PathBuf, String>, String) {
    let files = world
        .snapshot()
        .into_iter()
        .filter(|(path, _)| path.starts_with("etc") || path.starts_with("usr"))
        .collect();
    let mut installed = packages::of(&world.host, manager).installed().unwrap();
    installed.sort_by(|a, b| a.name.cmp(&b.name));
    (files, format!("{installed:#?}"))
}

/// `work` with a crash at the `nth` boundary of packages; its name.
fn crashed<T>(world: &World, nth: usize, work: impl FnOnce(&Host) -> T) -> Option<String> {
    let (seen, name) = (AtomicUsize::new(0), Arc::new(Mutex::new(None)));
    let at = Arc::clone(&name);
    let host = world.hooked(move |instant| {
        let ours = instant.starts_with("packages") || instant.starts_with("apt");
        if ours && seen.fetch_add(1, Ordering::SeqCst) == nth {
            *at.lock().unwrap() = Some(instant.to_owned());
            std::panic::resume_unwind(Box::new("crash"));
        }
    });
    let _ = catch_unwind(AssertUnwindSafe(|| work(&host)));
    name.lock().unwrap().take()
}

fn resume(action: &dyn Perform, host: &Host, record: &UndoRecord) {
    if action.check(host).unwrap() != Standing::Done {
        action.apply(host, record, QUIET).unwrap();
    }
    action.verify(host, record).unwrap();
}

fn undo(action: &dyn Perform, host: &Host, record: &UndoRecord) -> Report {
    action.undo(host, record, QUIET).unwrap_or_else(|error| panic!("{error}"))
}

fn forward_and_back(manager: PackageManager) {
    let (world, report) = staged(manager);
    let along = report.findings.iter().find(|f| f.code == "RP5105").unwrap();
    assert_eq!(along.subject, "demo-lib");
    let before = state(&world, manager);
    let action = install(manager);
    assert_eq!(action.check(&world.host).unwrap(), Standing::Ready);
    let record = action.prepare(&world.host).unwrap();
    assert_eq!(state(&world, manager), before);
    let reloads = world.systemd.reloads();
    let report = action.apply(&world.host, &record, QUIET).unwrap();
    action.verify(&world.host, &record).unwrap();
    assert_eq!(action.check(&world.host).unwrap(), Standing::Done);
    assert!(world.systemd.reloads() > reloads);
    assert!(report.changes.iter().any(|c| c.what == "package demo-lib" && c.before == "absent"));
    assert_eq!(world.read("/usr/share/demo/f"), "two\n");
    assert_eq!(world.read("/etc/demo.conf"), "setting of mine\n");
    let shipped = if manager == Apt { "/etc/demo.conf.dpkg-dist" } else { "/etc/demo.conf.rpmnew" };
    assert_eq!(world.read(shipped), "setting 2\n");
    assert!(!world.host.at("/etc/ran").exists(), "no scriptlet and no trigger ran");
    assert!(world.read("/usr/sbin/policy-rc.d").contains("the operator's"));
    assert_eq!(report.findings.iter().any(|f| f.code == "RP5120"), manager == Dnf);
    let after = state(&world, manager);
    action.apply(&world.host, &record, QUIET).unwrap();
    assert_eq!(state(&world, manager), after, "done twice is not done once");
    if manager == Apt {
        let installed = packages::of(&world.host, Apt).installed().unwrap();
        assert_eq!(installed.iter().find(|p| p.name == "demo-lib").unwrap().automatic, Some(true));
        assert!(!installed.iter().any(|p| p.name == "demo-old"), "it went");
        assert!(report.changes.iter().any(|c| c.what == "package demo-old" && c.after == "absent"));
        assert_eq!(world.read("/usr/share/demo/old"), "newer\n");
    }

    undo(&action, &world.host, &record);
    assert_eq!(state(&world, manager), before, "the world is not what it was");
    undo(&action, &world.host, &record);
    assert_eq!(state(&world, manager), before);
    assert!(!world.host.at("/etc/ran").exists());
    if manager == Apt {
        assert!(!world.read("/var/lib/dpkg/status").contains("demo-lib"), "no trace is left");
        assert_eq!(world.read("/usr/share/demo/old"), "old\n");
    }
    // And forward again, as another run would.
    assert_eq!(action.check(&world.host).unwrap(), Standing::Ready);
}

#[test]
fn dnf_forward_and_back() {
    forward_and_back(Dnf);
}

#[test]
fn apt_forward_and_back() {
    forward_and_back(Apt);
}

/// A crash at each boundary on the way forward, and then `goes_on`.
fn crashes_forward(manager: PackageManager, goes_on: impl Fn(&PackagesInstall, &World, &UndoRecord, &str)) {
    let (start, _) = staged(manager);
    let action = install(manager);
    let record = action.prepare(&start.host).unwrap();
    let mut seen = Vec::new();
    for nth in 0.. {
        let world = copy(&start);
        let name = crashed(&world, nth, |host| action.apply(host, &record, QUIET).unwrap());
        let Some(name) = name else { break };
        goes_on(&action, &world, &record, &name);
        seen.push(name);
    }
    for name in ["packages-install: begun", "packages: transaction done", "packages-install: ended"] {
        assert!(seen.iter().any(|s| s == name), "{name} among {seen:?}");
    }
}

fn finished_after_a_crash(manager: PackageManager) {
    let (start, _) = staged(manager);
    let action = install(manager);
    let record = action.prepare(&start.host).unwrap();
    action.apply(&start.host, &record, QUIET).unwrap();
    let done = state(&start, manager);
    crashes_forward(manager, |action, world, record, name| {
        resume(action, &world.host, record);
        assert_eq!(state(world, manager), done, "finished after a crash at `{name}`");
        assert_eq!(action.check(&world.host).unwrap(), Standing::Done);
    });
}

fn taken_back_after_a_crash(manager: PackageManager) {
    let before = state(&staged(manager).0, manager);
    crashes_forward(manager, |action, world, record, name| {
        undo(action, &world.host, record);
        assert_eq!(state(world, manager), before, "taken back after a crash at `{name}`");
    });
}

#[test]
fn dnf_finished_after_a_crash() {
    finished_after_a_crash(Dnf);
}

#[test]
fn dnf_taken_back_after_a_crash() {
    taken_back_after_a_crash(Dnf);
}

#[test]
fn apt_finished_after_a_crash() {
    finished_after_a_crash(Apt);
}

#[test]
fn apt_taken_back_after_a_crash() {
    taken_back_after_a_crash(Apt);
}

fn crashes_back(manager: PackageManager) {
    let (start, _) = staged(manager);
    let before = state(&start, manager);
    let action = install(manager);
    let record = action.prepare(&start.host).unwrap();
    action.apply(&start.host, &record, QUIET).unwrap();
    let mut seen = Vec::new();
    for nth in 0.. {
        let world = copy(&start);
        let name = crashed(&world, nth, |host| undo(&action, host, &record));
        undo(&action, &world.host, &record);
        assert_eq!(state(&world, manager), before, "going back finished after a crash at {name:?}");
        undo(&action, &world.host, &record);
        assert_eq!(state(&world, manager), before);
        match name {
            Some(name) => seen.push(name),
            None => break,
        }
    }
    let again = "packages-install: lost files brought once more";
    assert_eq!(seen.iter().any(|s| s == again), manager == Apt, "dpkg alone loses them: {seen:?}");
    assert!(seen.iter().any(|s| s == "packages-install: traces forgotten"), "{seen:?}");
}

#[test]
fn dnf_crashes_back() {
    crashes_back(Dnf);
}

#[test]
fn apt_crashes_back() {
    crashes_back(Apt);
}

fn refused(answer: Result<Report, ActError>) -> String {
    match answer {
        Err(ActError::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// What was listed when the set was staged is what its files hold; a set that an older agent staged has no list, and leads to the same.
#[test]
fn what_a_staged_package_holds_is_listed_once() {
    for manager in [Apt, Dnf] {
        let (world, _) = staged(manager);
        let action = install(manager);
        let record = action.prepare(&world.host).unwrap();
        let mut set = super::staged::exactly(&world.host, manager, &action.install).unwrap();
        let directory = set.own_directory(&world.host);
        for file in set.items.iter_mut().filter_map(|item| item.new.as_mut()) {
            let path = directory.join(&file.path);
            let held = packages::of(&world.host, manager).contents_of_file(&path).unwrap();
            assert!(!held.files.is_empty(), "{}", path.display());
            assert_eq!(file.contents.take(), Some(held), "{}", path.display());
        }
        set.write(&world.host).unwrap();
        assert_eq!(action.check(&world.host).unwrap(), Standing::Ready);
        assert_eq!(action.prepare(&world.host).unwrap(), record);
    }
}

#[test]
fn what_is_refused_before_anything_changes() {
    let (start, _) = staged(Apt);
    let action = install(Apt);
    let record = action.prepare(&start.host).unwrap();
    let before = state(&start, Apt);

    // Something would go that nobody has named.
    let world = base(Apt);
    let unnamed = PackagesStage { removals: Vec::new(), ..stage(Apt) };
    assert_eq!(refused(unnamed.apply(&world.host, &UndoRecord::Nothing, QUIET)), "RP5103");

    // Never staged, and altered since.
    assert_eq!(action.check(&world.host).unwrap_err().code, "RP5110");
    let world = copy(&start);
    let set = super::staged::exactly(&world.host, Apt, &action.install).unwrap();
    let files = set.files(&world.host, super::staged::Side::New);
    fs::write(&files[0], "not the package").unwrap();
    assert_eq!(action.check(&world.host).unwrap_err().code, "RP5110");
    assert_eq!(refused(action.apply(&world.host, &record, QUIET)), "RP5110");
    assert_eq!(stage(Apt).check(&world.host).unwrap(), Standing::Ready, "it is staged anew");

    // The guard blocks, forward.
    let world = copy(&start);
    let finding = Finding {
        code: "RP4307".into(),
        host: None,
        severity: Severity::Blocks,
        subject: "/usr/bin/qemu-system-x86_64".into(),
        cause: "it would be removed".into(),
        remedy: "-".into(),
    };
    *world.guests.findings.lock().unwrap() = vec![finding.clone()];
    let refusal = action.check(&world.host).unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.findings.len()), ("RP5108", 1));
    assert_eq!(refused(action.apply(&world.host, &record, QUIET)), "RP5108");
    assert_eq!(state(&world, Apt), before);
    // What it judged are the files and scripts of both packages.
    let judged = world.guests.judged.lock().unwrap()[0].clone();
    let demo = judged.items.iter().find(|i| i.name == "demo").unwrap();
    assert!(demo.files_before.contains(&"/usr/share/demo/moved".into()));
    assert!(demo.files_after.contains(&"/usr/share/demo/new".into()));

    // Another transaction than the staged one: what came along is there already.
    let world = copy(&start);
    let root = world.host.at("/").display().to_string();
    let lib = files.iter().find(|f| f.ends_with("demo-lib_2_all.deb")).unwrap().file_name().unwrap();
    let lib = set.own_directory(&world.host).join("new").join(lib);
    shell(&format!("dpkg --root={root} --force-all -i {}", lib.display()), Path::new("/"));
    assert_eq!(action.check(&world.host).unwrap_err().code, "RP5112");
    assert_eq!(stage(Apt).check(&world.host).unwrap(), Standing::Ready);
}

#[test]
fn what_is_refused_on_the_way_back() {
    let (start, _) = staged(Apt);
    let action = install(Apt);
    let record = action.prepare(&start.host).unwrap();
    action.apply(&start.host, &record, QUIET).unwrap();
    let after = state(&start, Apt);
    // Configuration that nobody changed in between is given back; that somebody changed since is not.
    let world = start;
    world.file("/etc/demo.conf.dpkg-dist", "edited since\n");
    assert_eq!(refused(action.undo(&world.host, &record, QUIET)), "RP5115");
    world.file("/etc/demo.conf.dpkg-dist", "setting 2\n");
    assert_eq!(state(&world, Apt), after, "nothing was touched");

    // A version that is neither.
    let status = world.read("/var/lib/dpkg/status");
    world.file("/var/lib/dpkg/status", &status.replace("Version: 2", "Version: 3"));
    assert_eq!(refused(action.undo(&world.host, &record, QUIET)), "RP5113");
    world.file("/var/lib/dpkg/status", &status);

    // The guard judges the way back too.
    let blocks = Finding {
        code: "RP4307".into(),
        host: None,
        severity: Severity::Blocks,
        subject: "x".into(),
        cause: "-".into(),
        remedy: "-".into(),
    };
    *world.guests.findings.lock().unwrap() = vec![blocks];
    assert_eq!(refused(action.undo(&world.host, &record, QUIET)), "RP5108");
    world.guests.findings.lock().unwrap().clear();

    // What others write meanwhile stays, accounts among it.
    world.file("/etc/new-and-unrelated.conf", "theirs\n");
    undo(&action, &world.host, &record);
    assert_eq!(world.read("/etc/new-and-unrelated.conf"), "theirs\n");
    assert_eq!(world.read("/etc/demo.conf"), "setting of mine\n");
    assert!(!world.host.at("/etc/demo.conf.dpkg-dist").exists());
    assert!(!world.host.at("/etc/demo-lib.conf").exists());
}

/// The machine's programs, but the package manager fails when it is told to install for good.
#[derive(Debug, Default)]
struct Failing {
    now: AtomicBool,
}

impl Programs for Failing {
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        let words: Vec<&str> = command.arguments.iter().filter_map(|a| a.to_str()).collect();
        let installs = command.program == "apt-get" && words.contains(&"install") && !words.contains(&"-s");
        if installs && self.now.load(Ordering::SeqCst) {
            let status = std::process::Command::new("false").status().unwrap();
            return Ok(Output {
                code: status.code(),
                signal: None,
                stdout: Vec::new(),
                stderr: b"E: Sub-process /usr/bin/dpkg returned an error code (1)".to_vec(),
                took: std::time::Duration::ZERO,
            });
        }
        RealPrograms.run(command)
    }
}

#[test]
fn a_failed_transaction_lets_daemons_go_and_can_be_tried_again() {
    let (world, _) = staged(Apt);
    let action = install(Apt);
    let record = action.prepare(&world.host).unwrap();
    let policy = digest_of_file(&world.host.at("/usr/sbin/policy-rc.d")).unwrap();
    let failing = Arc::new(Failing::default());
    failing.now.store(true, Ordering::SeqCst);
    let host = Host { programs: failing.clone(), ..world.host.clone() };
    let Err(ActError::Failed(failure)) = action.apply(&host, &record, QUIET) else { panic!("it failed") };
    assert_eq!(failure.code, "RP5111");
    assert_eq!(digest_of_file(&world.host.at("/usr/sbin/policy-rc.d")).unwrap(), policy);
    assert_eq!(action.check(&host).unwrap(), Standing::Half);
    failing.now.store(false, Ordering::SeqCst);
    resume(&action, &host, &record);
    assert_eq!(action.check(&host).unwrap(), Standing::Done);
}

#[test]
fn a_daemon_that_was_restarted_is_a_failure() {
    let (world, _) = staged(Apt);
    let action = install(Apt);
    let record = action.prepare(&world.host).unwrap();
    crashed(&world, 1, |host| action.apply(host, &record, QUIET).unwrap());
    // The same pid, started later.
    world.file("/proc/77/stat", &stat(9000));
    let Err(ActError::Failed(failure)) = action.apply(&world.host, &record, QUIET) else {
        panic!("it should tell")
    };
    assert_eq!(failure.code, "RP5119");
    assert!(failure.error.contains("libvirtd.service"), "{}", failure.error);
    action.verify(&world.host, &record).unwrap();
    assert_eq!(action.check(&world.host).unwrap(), Standing::Done, "a retry looks at the packages only");
}

#[test]
fn an_interrupted_rpm_transaction_is_finished_either_way() {
    let (start, _) = staged(Dnf);
    let action = install(Dnf);
    let record = action.prepare(&start.host).unwrap();
    let before = state(&start, Dnf);
    for back in [false, true] {
        let world = copy(&start);
        crashed(&world, 0, |host| action.apply(host, &record, QUIET).unwrap());
        // rpm was ended after it had brought the new version and before it removed the old one.
        let root = world.host.at("/").display().to_string();
        let set = super::staged::exactly(&world.host, Dnf, &action.install).unwrap();
        let files = set.files(&world.host, super::staged::Side::New);
        let demo = files.iter().find(|f| f.to_string_lossy().contains("/demo-2-1")).unwrap().display();
        shell(
            &format!("rpm --root {root} -i --force --nodeps --noscripts --notriggers {demo}"),
            Path::new("/"),
        );
        let installed = packages::of(&world.host, Dnf).installed().unwrap();
        assert_eq!(installed.iter().filter(|p| p.unfinished.is_some()).count(), 2);
        assert_eq!(action.check(&world.host).unwrap(), Standing::Half);
        if back {
            undo(&action, &world.host, &record);
            assert_eq!(state(&world, Dnf), before);
        } else {
            resume(&action, &world.host, &record);
            assert_eq!(world.read("/usr/share/demo/f"), "two\n");
            assert!(!world.host.at("/etc/ran").exists());
            undo(&action, &world.host, &record);
            assert_eq!(state(&world, Dnf), before);
        }
    }
}

#[test]
fn what_a_stage_refuses() {
    let world = base(Dnf);
    let absent = PackagesStage {
        install: vec![PackagePin { name: "demo".into(), version: "9-1".into() }],
        ..stage(Dnf)
    };
    let record = UndoRecord::Nothing;
    let before = state(&world, Dnf);
    assert_eq!(refused(absent.apply(&world.host, &record, QUIET)), "RP5104");
    let full = PackagesStage { spare_bytes: u64::MAX / 2, ..stage(Dnf) };
    assert_eq!(refused(full.apply(&world.host, &record, QUIET)), "RP5117");
    // Something is where the set should be, and cannot be made a directory: nothing was touched, so it is no failure.
    let directory = StagedSet::directory(&world.host, Dnf, &stage(Dnf).install);
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, b"").unwrap();
    assert_eq!(refused(stage(Dnf).apply(&world.host, &record, QUIET)), "RP5301");
    fs::remove_file(&directory).unwrap();
    // The installed version is in no repository any more.
    let repository = tempfile::tempdir().unwrap();
    let from = RPMS.join("repo");
    shell(
        &format!("cp -r {}/noarch . && rm noarch/demo-1-1* && createrepo_c -q .", from.display()),
        repository.path(),
    );
    let text = format!("[new]\nname=new\nbaseurl=file://{}\ngpgcheck=0\n", repository.path().display());
    world.file("/etc/yum.repos.d/demo.repo", &text);
    assert_eq!(refused(stage(Dnf).apply(&world.host, &record, QUIET)), "RP5106");
    world.file(
        "/etc/yum.repos.d/demo.repo",
        &before.0[Path::new("etc/yum.repos.d/demo.repo")]["file 100644 ".len()..],
    );
    assert_eq!(state(&world, Dnf), before);

    let held = base(Apt);
    let status = held.read("/var/lib/dpkg/status");
    held.file("/var/lib/dpkg/status", &status.replace("install ok installed", "hold ok installed"));
    let answer = stage(Apt).apply(&held.host, &record, QUIET);
    assert!(["RP5116", "RP5102"].contains(&refused(answer).as_str()));
    held.file("/var/lib/dpkg/status", &status.replace("install ok installed", "install ok half-configured"));
    assert_eq!(stage(Apt).check(&held.host).unwrap_err().code, "RP5101");
}
