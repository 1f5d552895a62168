//! The prepared repositories, checked with the real package managers in a scratch root: a lab host's own root file
//! system under an overlay, in a container without network. Needs root and the packages of `setup.sh`.
#![allow(clippy::unwrap_used, reason = "a failing test panics")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use replank_lab::repo::bad::{PackageSpec, When, scenarios};
use replank_lab::repo::{self, RepoDir, Versions, proof};
use replank_lab::{mounts, root};

/// A writable copy of a compute host's root, with a repository at `/srv/repo`; nothing in it is started.
struct Scratch {
    dir: tempfile::TempDir,
    repo: PathBuf,
}

impl Scratch {
    fn new(repo: &RepoDir) -> Self {
        let lower = root::prepare(&root::Recipe::compute()).unwrap();
        let dir = tempfile::Builder::new().prefix("lab-repo-").tempdir().unwrap();
        for sub in ["upper", "work", "root"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let at = |sub: &str| dir.path().join(sub).display().to_string();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.path.display(), at("upper"), at("work"));
        let status = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options, &at("root")])
            .status()
            .unwrap();
        assert!(status.success(), "mounting the scratch root");
        let scratch = Self { dir, repo: repo.path().to_path_buf() };
        // A Debian host keeps RPM's database in root's home unless told otherwise; see NOTES.md.
        scratch.must(
            "mkdir -p /etc/rpm /etc/yum.repos.d && echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros &&
             rm -f /etc/apt/sources.list &&
             echo 'deb [trusted=yes] copy:/srv/repo/apt ./' >/etc/apt/sources.list.d/replank.list &&
             printf '[replank]\\nname=replank\\nbaseurl=file:///srv/repo/rpm\\ngpgcheck=0\\n' >/etc/yum.repos.d/replank.repo",
        );
        scratch
    }

    /// The container's name, one of its own: nspawn keeps files below `/run` by it.
    fn machine(&self) -> String {
        self.dir.path().file_name().unwrap().to_string_lossy().replace('.', "")
    }

    /// Runs a shell script inside; returns whether it succeeded and all that it said.
    fn run(&self, script: &str) -> (bool, String) {
        let out = Command::new("systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--as-pid2", "--pipe"])
            .arg(format!("--machine={}", self.machine()))
            .arg(format!("--directory={}", self.dir.path().join("root").display()))
            .arg(format!("--bind-ro={}:/srv/repo", self.repo.display()))
            .args(["--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=NEEDRESTART_SUSPEND=1"])
            .args(["--setenv=LC_ALL=C.UTF-8", "sh", "-euc"])
            // nspawn has words of its own for the machine's standard error.
            .arg(format!("exec 2>&1\n{script}"))
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn must(&self, script: &str) -> String {
        let (succeeded, said) = self.run(script);
        assert!(succeeded, "failed: {script}\n{said}");
        said
    }

    /// Installed `name=version`s of the set, apt's view.
    fn installed(&self, versions: &Versions) -> BTreeSet<String> {
        let format = "${db:Status-Abbrev}|${source:Package}|${Package}=${Version}\\n";
        self.must(&format!("dpkg-query -W -f '{format}'"))
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("ii |{}|", versions.source)).map(str::to_owned))
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = mounts::unmount_below(self.dir.path());
        // nspawn leaves it where `/run` is on a disk.
        let _ = std::fs::remove_dir_all(Path::new("/run/systemd/nspawn/propagate").join(self.machine()));
    }
}

fn prepared() -> RepoDir {
    repo::prepare(&root::cache_dir()).unwrap()
}

fn exact<'a>(packages: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeSet<String> {
    packages.map(|(name, version)| format!("{name}={version}")).collect()
}

fn words(set: &BTreeSet<String>) -> String {
    set.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Options of every changing apt command: no question, no recommended packages, the host's own configuration stays.
const QUIET: &str = "-y -q -o APT::Install-Recommends=false -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold";

#[test]
fn lab_repo_apt_goes_to_the_new_libvirt_and_back() {
    let repo = prepared();
    let versions = repo.versions().unwrap();
    let scratch = Scratch::new(&repo);
    scratch.must(
        "apt-get -q update && printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d",
    );
    let (old, new) = (exact(versions.old_members()), exact(versions.new_members()));
    assert_eq!(
        scratch.installed(&versions),
        old,
        "the root was not built from what the repository calls old"
    );

    let simulated = scratch.must(&format!("apt-get -s {QUIET} install {}", words(&new)));
    let (upgraded, total) = (old.len(), versions.packages.len());
    let expected = format!("{upgraded} upgraded, {} newly installed, 0 to remove", total - upgraded);
    assert!(simulated.contains(&expected), "expected `{expected}` in:\n{simulated}");

    let before = scratch.must("dpkg-query -W -f '${Package} ${Version}\\n' | grep -v libvirt");
    scratch.must(&format!("apt-get {QUIET} install {}", words(&new)));
    assert_eq!(scratch.installed(&versions), new);
    let after = scratch.must("dpkg-query -W -f '${Package} ${Version}\\n' | grep -v libvirt");
    let changed: Vec<_> = before.lines().filter(|line| !after.lines().any(|other| other == *line)).collect();
    assert!(changed.is_empty(), "packages outside of the set have changed: {changed:?}");

    let dependencies: String = versions
        .packages
        .iter()
        .filter(|package| package.kind == repo::Kind::Dependency)
        .map(|package| format!("{}- ", package.name))
        .collect();
    let going_back = format!("--allow-downgrades install {} {dependencies}", words(&old));
    scratch.must(&format!("apt-get {QUIET} {going_back}"));
    // dpkg loses what a new package had taken over from an old one: NOTES.md, "Going back loses files".
    scratch.must(&format!("apt-get {QUIET} --reinstall install {}", words(&old)));
    assert_eq!(scratch.installed(&versions), old);
    let lost = scratch.must(
        "for deb in $(ls /srv/repo/apt/pool/libvirt*_9.*.deb); do dpkg-deb -c $deb; done |
         awk '{ print substr($6, 2) }' | grep -Ev '/$|/usr/share/(doc|man|locale)/' |
         while read -r file; do [ -e \"$file\" ] || [ -L \"$file\" ] || echo \"$file\"; done",
    );
    assert_eq!(lost, "", "files of the old packages are missing");
}

#[test]
fn lab_repo_qemu_is_self_contained() {
    let repo = prepared();
    let scratch = Scratch::new(&repo);
    scratch.must("dnf -y -q install qemu-10.0.2");
    let files = scratch.must("rpm -ql qemu-10.0.2");
    assert!(files.lines().all(|file| file.starts_with("/opt/qemu/10.0.2")), "{files}");
    let binary = "/opt/qemu/10.0.2/bin/qemu-system-x86_64";
    assert!(scratch.must(&format!("{binary} -version")).contains("version 10.0.2"));
    assert_eq!(
        scratch.must(&format!(
            "for file in {binary} /opt/qemu/10.0.2/lib/x86_64-linux-gnu/qemu/*.so; do ldd $file; done | grep 'not found' || true"
        )),
        "",
        "libraries that the host does not have"
    );

    // Devices with ROMs, a module each for display, block and audio, and quit as soon as the monitor answers.
    let trace = scratch.must(&format!(
        "printf '%s\\n' '{{\"execute\":\"qmp_capabilities\"}}' '{{\"execute\":\"quit\"}}' |
         strace -f -e trace=%file -o /tmp/trace {binary} -nodefaults -display none -accel tcg -m 64 \
            -M pc-i440fx-5.2 -device VGA -device virtio-vga -device virtio-net-pci -device e1000 -audiodev none,id=a \
            -drive if=none,driver=null-co,id=d -device virtio-blk-pci,drive=d -qmp stdio >/tmp/said 2>&1 || true
         grep -q QMP /tmp/said || cat /tmp/said
         cat /tmp/trace"
    ));
    assert!(trace.contains("qemu-bundle/usr/share/seabios/"), "qemu read no ROM of its own:\n{trace}");
    assert!(trace.contains("hw-display-virtio-vga.so"), "qemu loaded no module:\n{trace}");
    let foreign = proof::paths_below(&trace, &proof::OLD_PREFIXES);
    assert!(foreign.is_empty(), "it looked into the old build: {foreign:?}");

    // The test can see what it claims to exclude: the old build does read there.
    let old = scratch.must(
        "strace -f -e trace=%file -o /tmp/old qemu-system-x86_64 -device help >/dev/null 2>&1; cat /tmp/old",
    );
    assert!(!proof::paths_below(&old, &proof::OLD_PREFIXES).is_empty());

    scratch.must("dnf -y -q history undo last");
    assert!(!scratch.run("ls /opt/qemu/10.0.2").0, "the tree stayed after undoing its installation");
}

#[test]
fn lab_repo_dnf_resolves_on_debians_root() {
    let dir = tempfile::tempdir().unwrap();
    let repo = prepared().copy_to(&dir.path().join("repo")).unwrap();
    let agent_like = PackageSpec::new("agent-like", "1.0")
        .file("/usr/share/agent-like", "")
        .depends("libc.so.6(GLIBC_2.17)(64bit)")
        .depends("libpthread.so.0()(64bit)")
        .depends("libgcc_s.so.1(GCC_3.0)(64bit)")
        .depends("ld-linux-x86-64.so.2()(64bit)")
        .depends("rtld(GNU_HASH)")
        .depends("/bin/sh")
        .depends("systemd >= 219")
        .depends("shadow-utils");
    repo::add(&repo, &agent_like.build_rpm(dir.path()).unwrap()).unwrap();
    let scratch = Scratch::new(&repo);
    scratch.must("dnf -y -q install agent-like");
    let installed = scratch.must("rpm -qa --qf '%{name}\\n' | sort");
    assert_eq!(installed, "agent-like\ndebian-base-provides\n");

    let impossible = PackageSpec::new("from-the-future", "1.0").depends("libc.so.6(GLIBC_2.99)(64bit)");
    repo::add(&repo, &impossible.build_rpm(dir.path()).unwrap()).unwrap();
    let (succeeded, said) = scratch.run("dnf -y -q --refresh install from-the-future");
    assert!(!succeeded && said.contains("GLIBC_2.99"), "a name that Debian lacks was announced: {said}");
}

/// Marks that a script ran where a daemon would have been restarted; the scratch root has no systemd running.
fn with_marker(scratch: &Scratch) {
    for tool in ["systemctl", "deb-systemd-invoke"] {
        let body = "#!/bin/sh\\necho \"${0##*/} $*\" >>/root/ran\\n";
        scratch.must(&format!(
            "rm -f /usr/bin/{tool} && printf '{body}' >/usr/bin/{tool} && chmod 755 /usr/bin/{tool}"
        ));
    }
}

fn ran(scratch: &Scratch) -> String {
    scratch.must("touch /root/ran && cat /root/ran && rm /root/ran")
}

fn offer(repo: &RepoDir, out: &Path, pair: &scenarios::Pair) {
    for version in [&pair.old, &pair.new] {
        repo::add(repo, &version.build_deb(out).unwrap()).unwrap();
        repo::add(repo, &version.build_rpm(out).unwrap()).unwrap();
    }
}

#[test]
fn lab_repo_hostile_scripts_run_for_real_and_noscripts_stops_them() {
    let dir = tempfile::tempdir().unwrap();
    let repo = prepared().copy_to(&dir.path().join("repo")).unwrap();
    let how = scenarios::Restart::Systemctl;
    offer(&repo, dir.path(), &scenarios::old_removal_restarts("old-removal", "libvirtd.service", how));
    offer(&repo, dir.path(), &scenarios::new_install_restarts("new-install", "libvirtd.service", how));
    let scratch = Scratch::new(&repo);
    with_marker(&scratch);
    let restart = "systemctl try-restart libvirtd.service\n";

    for package in ["old-removal", "new-install"] {
        scratch.must(&format!("dnf -y -q install {package}-1.0"));
        assert_eq!(ran(&scratch), "");
        scratch.must(&format!("dnf -y -q --setopt=tsflags=noscripts upgrade {package}-2.0"));
        assert_eq!(ran(&scratch), "", "{package}: noscripts let a script run");
        scratch.must(&format!("dnf -y -q --setopt=tsflags=noscripts downgrade {package}-1.0"));
        scratch.must(&format!("dnf -y -q upgrade {package}-2.0"));
        assert_eq!(ran(&scratch), restart, "{package}");
    }

    scratch.must("apt-get -q update && printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d");
    for package in ["old-removal", "new-install"] {
        scratch.must(&format!("apt-get {QUIET} install {package}=1.0"));
        assert_eq!(ran(&scratch), "");
        scratch.must(&format!("apt-get {QUIET} install {package}=2.0"));
        assert_eq!(ran(&scratch), restart, "{package}: policy-rc.d is not asked by systemctl");
    }
}

#[test]
fn lab_repo_hostile_files_do_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let repo = prepared().copy_to(&dir.path().join("repo")).unwrap();
    let library = "/usr/lib/x86_64-linux-gnu/libfdt.so.1";
    let module = "/usr/lib/x86_64-linux-gnu/qemu/lab-made.so";
    offer(&repo, dir.path(), &scenarios::overwrites_in_place("overwrites", library, b"other bytes".to_vec()));
    offer(&repo, dir.path(), &scenarios::drops_modules("drops", &[(module, b"module".to_vec())]));
    offer(&repo, dir.path(), &scenarios::deletes_module_directory("deletes", "/usr/lib/lab-modules"));
    let scratch = Scratch::new(&repo);
    scratch.must("apt-get -q update");

    let inode = || scratch.must(&format!("stat -Lc '%i %s' {library}"));
    // The overlay copies a file up on its first write, which gives it a new inode; a second write shows the truth.
    scratch
        .must(&format!("cp --remove-destination $(readlink -f {library}) /tmp/own && cp /tmp/own {library}"));
    let before = inode();
    scratch.must(&format!("apt-get {QUIET} install overwrites=2.0"));
    let (inode_before, inode_after) = (before.split_once(' ').unwrap().0.to_owned(), inode());
    assert_eq!(inode_after.split_once(' ').unwrap(), (inode_before.as_str(), "11\n"));

    scratch.must(&format!("apt-get {QUIET} install drops=1.0 && test -e {module}"));
    scratch.must(&format!("apt-get {QUIET} install drops=2.0 && test ! -e {module}"));
    scratch.must(&format!("apt-get {QUIET} install deletes=1.0 && mkdir /usr/lib/lab-modules"));
    scratch.must(&format!("apt-get {QUIET} install deletes=2.0 && test ! -e /usr/lib/lab-modules"));
}

#[test]
fn lab_repo_scripts_after_a_transaction_are_seen_by_rpm() {
    let dir = tempfile::tempdir().unwrap();
    let spec = PackageSpec::new("late", "1.0").script(When::AfterTransaction, "systemctl restart libvirtd");
    let rpm = spec.build_rpm(dir.path()).unwrap();
    let out = Command::new("rpm").args(["-qp", "--scripts"]).arg(rpm).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("posttrans scriptlet (using /bin/sh):\nsystemctl restart libvirtd"), "{said}");
}
