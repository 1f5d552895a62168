use super::*;
use crate::codes;
use crate::usage::{FileId, Lazy, LazyKind, Role, UsedFile};
use replank_common::action::{Action, FileWrite, PackagePin, TreeInstall, UnitDropIn, UnitEnable, UnitMask};
use replank_common::ids::GuestUuid;
use uuid::Uuid;

const LIBRBD: &str = "/usr/lib/x86_64-linux-gnu/librbd.so.1.17.0";
const EMULATOR: &str = "/usr/bin/qemu-system-x86_64";
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/qemu";
const SOCKET: &str = "/var/lib/libvirt/qemu/domain-1-web/monitor.sock";

/// One guest, `web`, of the emulator, librbd and the modules above.
fn usage() -> Usage {
    let file = |inode, role| UsedFile {
        file: FileId { device: 1, inode },
        deleted: false,
        role,
        guests: BTreeSet::from(["web".to_owned()]),
    };
    Usage {
        guests: [(GuestUuid(Uuid::nil()), "web".to_owned())].into(),
        files: [
            (PathBuf::from(EMULATOR), file(1, Role::Emulator)),
            (PathBuf::from(LIBRBD), file(2, Role::Mapped)),
            (PathBuf::from("/usr/lib/gone.so"), UsedFile { deleted: true, ..file(3, Role::Mapped) }),
        ]
        .into(),
        lazy: [
            Lazy { directory: MODULES.into(), prefix: String::new(), kind: LazyKind::Modules },
            Lazy { directory: "/usr/share/seabios".into(), prefix: String::new(), kind: LazyKind::Roms },
        ]
        .into(),
        sockets: [(PathBuf::from(SOCKET), BTreeSet::from(["web".to_owned()]))].into(),
        scopes: [r"machine-qemu\x2d1\x2dweb.scope".to_owned()].into(),
        helpers: Vec::new(),
    }
}

fn item() -> TransactionItem {
    TransactionItem {
        name: "pkg".to_owned(),
        architecture: "amd64".to_owned(),
        before: Some("1".to_owned()),
        after: Some("2".to_owned()),
        files_after: Vec::new(),
        files_before: Vec::new(),
        scriptlets: Vec::new(),
    }
}

fn paths(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).collect()
}

/// `/lib` is a link to `/usr/lib`.
fn merged(path: &Path) -> PathBuf {
    match path.strip_prefix("/lib") {
        Ok(rest) => Path::new("/usr/lib").join(rest),
        Err(_) => path.to_path_buf(),
    }
}

/// And a library's plain name is a link to the file.
fn followed(path: &Path) -> PathBuf {
    let path = merged(path);
    if path == Path::new("/usr/lib/x86_64-linux-gnu/librbd.so.1") { LIBRBD.into() } else { path }
}

fn judged(manager: PackageManager, items: Vec<TransactionItem>, kept: bool) -> Vec<Finding> {
    let host = HostName::new("compute1").unwrap();
    let situation =
        Situation { host: &host, usage: &usage(), kept: &|_| kept, resolve: &merged, follow: &followed };
    judge(&Transaction { manager, items }, &situation)
}

fn script(manager: PackageManager, name: &str, of_old_package: bool, text: &str) -> Vec<Finding> {
    let scriptlet = Scriptlet {
        package: "pkg".to_owned(),
        version: if of_old_package { "1" } else { "2" }.to_owned(),
        name: name.to_owned(),
        phase: Phase::After,
        of_old_package,
        text: text.to_owned(),
    };
    judged(manager, vec![TransactionItem { scriptlets: vec![scriptlet], ..item() }], false)
}

fn postinst(text: &str) -> Vec<Finding> {
    script(PackageManager::Apt, "postinst", false, text)
}

#[track_caller]
fn blocks(findings: &[Finding], code: &str, subject: &str) {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!((findings[0].code.as_str(), findings[0].subject.as_str()), (code, subject));
    assert_eq!(findings[0].severity, Severity::Blocks, "{findings:#?}");
}

#[track_caller]
fn is_neutralised(findings: &[Finding], code: &str) {
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(finding.code, code);
        assert!(matches!(finding.severity, Severity::Neutralised { .. }), "{finding:#?}");
    }
}

#[test]
fn the_old_packages_removal_script_restarts_libvirtd() {
    let text = "/usr/bin/systemctl daemon-reload >/dev/null 2>&1 || :\n\
                if [ $1 -ge 1 ] ; then\n    # Package upgrade, not uninstall\n    \
                /bin/systemctl reload-or-try-restart virtlockd.service >/dev/null 2>&1 || :\n    \
                /bin/systemctl try-restart libvirtd.service >/dev/null 2>&1 || :\nfi\n";
    let findings = script(PackageManager::Yum, "%postun", true, text);
    is_neutralised(&findings, codes::GUARD_DAEMON);
    let subjects: Vec<&str> = findings.iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(subjects, ["virtlockd.service", "libvirtd.service"]);
    assert!(findings[1].cause.contains("the installed package pkg 1"), "{}", findings[1].cause);
    assert!(findings[1].cause.contains("(line 5)"), "{}", findings[1].cause);
}

#[test]
fn a_new_postinst_that_restarts_by_itself_blocks_and_one_that_asks_does_not() {
    blocks(
        &postinst("#!/bin/sh\nsystemctl try-restart libvirtd.service\n"),
        codes::GUARD_DAEMON,
        "libvirtd.service",
    );
    is_neutralised(
        &postinst("deb-systemd-invoke restart 'libvirtd.service' >/dev/null || true"),
        codes::GUARD_DAEMON,
    );
    is_neutralised(&postinst("invoke-rc.d libvirtd restart || exit $?"), codes::GUARD_DAEMON);
    is_neutralised(
        &postinst(
            "if which invoke-rc.d; then invoke-rc.d libvirtd restart; else /etc/init.d/libvirtd restart; fi",
        ),
        codes::GUARD_DAEMON,
    );
    blocks(&postinst("/etc/init.d/libvirtd restart"), codes::GUARD_DAEMON, "libvirtd");
}

#[test]
fn the_ways_to_say_restart() {
    for (text, subject) in [
        ("service libvirtd condrestart >/dev/null 2>&1", "libvirtd"),
        (
            "for u in virtlogd virtlockd; do systemctl --no-block restart $u.service; done",
            "virtlockd.service, virtlogd.service",
        ),
        ("U=openvswitch-switch\nexec env -i PATH=/bin systemctl stop \"$U\"", "openvswitch-switch"),
        ("sh -c 'systemctl restart libvirtd'", "libvirtd"),
        ("systemctl stop 'machine-qemu*.scope'", "machine-qemu*.scope"),
        ("systemctl stop machine.slice", "machine.slice"),
        ("systemctl disable --now libvirt-guests", "libvirt-guests"),
        ("timeout 5 nohup systemctl restart 'libvirt*'", "libvirt*"),
        ("systemctl list-units | xargs -n 1 systemctl restart libvirtd", "libvirtd"),
        ("cat <<E | sh\nE\nbash <<E\nsystemctl restart libvirtd\nE", "libvirtd"),
        (
            "/usr/lib/systemd/systemd-update-helper mark-restart-system-units libvirtd.service",
            "libvirtd.service",
        ),
        ("start-stop-daemon --stop --quiet --exec /usr/sbin/libvirtd", "libvirtd"),
        ("/usr/share/openvswitch/scripts/ovs-ctl restart", "openvswitch"),
        ("V=$(systemctl restart libvirtd)", "libvirtd"),
        ("stop libvirt-bin", "libvirt-bin"),
    ] {
        let findings = postinst(text);
        let hit = findings.iter().find(|finding| finding.subject == subject);
        assert!(
            hit.is_some_and(|hit| hit.code == codes::GUARD_DAEMON && hit.severity == Severity::Blocks),
            "{text}: {findings:#?}"
        );
    }
}

#[test]
fn ending_guests_outright() {
    for text in [
        "pkill -f qemu-system-x86_64",
        "killall -9 kvm",
        "virsh destroy web",
        "machinectl terminate qemu-1-web",
        "modprobe -r kvm_intel",
        "systemctl isolate multi-user.target",
        "kill $(cat /run/libvirtd.pid)",
    ] {
        let findings = postinst(text);
        assert_eq!(findings.len(), 1, "{text}: {findings:#?}");
        assert_eq!(findings[0].severity, Severity::Blocks, "{text}");
    }
}

#[test]
fn writing_into_a_mapped_file() {
    for text in [
        format!("cp /usr/share/pkg/library {LIBRBD}"),
        "cp -p librbd.so.1.17.0 /lib/x86_64-linux-gnu/".to_owned(),
        "cp -t /usr/lib/x86_64-linux-gnu build/librbd.so.1.17.0".to_owned(),
        "cp -a /usr/share/pkg/tree/. /usr/lib/x86_64-linux-gnu".to_owned(),
        "cp new.so /usr/lib/x86_64-linux-gnu/librbd.so.1".to_owned(),
        format!("install -m 755 new.so {LIBRBD}"),
        format!("rsync -a --inplace new.so {LIBRBD}"),
        "tar -xzf /usr/share/pkg/new.tgz -C /usr/lib".to_owned(),
        format!("dd if=new.so of={LIBRBD} conv=notrunc"),
        format!("strip --strip-unneeded {LIBRBD}"),
        format!("cat new.so > {LIBRBD}"),
        "L=/usr/lib/x86_64-linux-gnu\nfor f in librbd.so.1.17.0; do cp new/$f $L/$f; done".to_owned(),
        "patchelf --set-rpath /x /usr/lib/x86_64-linux-gnu/librbd*".to_owned(),
        "cp new.so \"/usr/lib/$(multiarch)/librbd.so.1.17.0\"".to_owned(),
    ] {
        let findings = postinst(&text);
        assert!(!findings.is_empty(), "{text}");
        for finding in &findings {
            assert_eq!(
                (finding.code.as_str(), &finding.severity),
                (codes::GUARD_IN_PLACE, &Severity::Blocks),
                "{text}"
            );
        }
    }
    is_neutralised(
        &script(PackageManager::Dnf, "%post", false, &format!("cp new.so {LIBRBD}")),
        codes::GUARD_IN_PLACE,
    );
}

#[test]
fn removing_what_is_used() {
    for (text, subject) in [
        (format!("rm -rf {MODULES}"), MODULES),
        ("rm -rf /usr/lib/x86_64-linux-gnu/qem*".to_owned(), MODULES),
        (format!("rm -f {MODULES}/block-rbd.so"), MODULES),
        (format!("find {MODULES} -type f -delete"), MODULES),
        ("rm -rf /var/lib/libvirt".to_owned(), SOCKET),
        ("rm -rf /run/libvirt/qemu".to_owned(), "/run/libvirt/qemu"),
        (format!("rm -f {EMULATOR}"), EMULATOR),
        ("rm -rf \"$libdir/x86_64-linux-gnu/qemu\"".to_owned(), MODULES),
    ] {
        blocks(&postinst(&text), codes::GUARD_REMOVES, subject);
    }
    blocks(
        &postinst("find /etc -name 'x*' -exec systemctl restart libvirtd ;"),
        codes::GUARD_DAEMON,
        "libvirtd",
    );
}

#[test]
fn what_a_script_does_on_other_occasions_is_not_held_against_it() {
    let purge = "#!/bin/sh\nset -e\ncase \"$1\" in\n  purge)\n    rm -rf /var/lib/libvirt/qemu\n  ;;\n  upgrade) ;;\nesac\n";
    assert_eq!(script(PackageManager::Apt, "postrm", true, purge), []);
    let remove = "if [ -d /run/systemd/system ] && [ \"$1\" = remove ]; then systemctl stop libvirtd; fi";
    assert_eq!(script(PackageManager::Apt, "prerm", true, remove), []);
    let both = "if [ \"$1\" = upgrade ]; then systemctl stop libvirtd; fi";
    blocks(&script(PackageManager::Apt, "prerm", true, both), codes::GUARD_DAEMON, "libvirtd");
}

#[test]
fn what_packages_usually_do_is_no_finding() {
    for text in [
        "#!/bin/sh\nset -e\nldconfig\nsystemctl --system daemon-reload >/dev/null || true\n",
        "deb-systemd-helper unmask 'libvirtd.service' >/dev/null || true\ndeb-systemd-helper enable libvirtd.service",
        "deb-systemd-invoke start 'libvirtd.socket' >/dev/null || true",
        "adduser --system --group libvirt-qemu\nchown root:root /etc/libvirt/qemu.conf",
        "rm -f /var/cache/libvirt/qemu/capabilities/*.xml\nrm -f \"$conffile.dpkg-backup\"\n",
        "cp \"$conffile\" \"$conffile.bak\"\nmv -f \"$a\" \"$b\"\ninstall -m 0600 \"$template\" \"$config\"",
        "cp a \"$tmp/x\"\nrm -rf \"$d\"/* \"$work\"\nrm -f /tmp/*",
        "install -d -m 755 /usr/lib/x86_64-linux-gnu/qemu\nmkdir -p /x",
        "systemctl restart ssh.service\nsystemctl reload virtlogd\nservice cron restart\nkill -0 $PID",
        "systemctl is-active -q libvirtd && echo yes\nsystemctl start libvirtd",
        "rsync -a src/ /usr/lib/x86_64-linux-gnu/\ntar -C /tmp -xf a.tar\ncp new.so /usr/lib/gone.so",
        "update-alternatives --install /usr/bin/kvm kvm /usr/bin/qemu-system-x86_64 10",
        "echo 'systemctl restart libvirtd by yourself' >&2\n# systemctl restart libvirtd",
    ] {
        assert_eq!(postinst(text), [], "{text}");
    }
}

#[test]
fn tricks_that_end_or_disturb_guests_are_seen() {
    for text in [
        // Who is meant.
        "systemctl --job-mode replace restart libvirtd",
        "systemctl stop '*.scope'",
        "systemctl stop '*'",
        "systemctl freeze 'machine-qemu*'",
        "systemctl stop system.slice",
        "systemctl start reboot.target",
        "systemctl restart {cron,libvirtd}.service",
        "systemctl try-restart virtlogd libvirtd cron",
        "service libvirtd --full-restart",
        "/etc/init.d/libvirt-bin restart",
        "invoke-rc.d --force libvirtd restart",
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 o RestartUnit ss libvirtd.service replace",
        "dbus-send --system --dest=org.freedesktop.systemd1 / o.StopUnit string:libvirtd.service string:replace",
        "needrestart -r a",
        "/usr/lib/libvirt/libvirt-guests.sh stop",
        // Who runs it.
        "SUDO=\n$SUDO systemctl restart libvirtd",
        "run() { \"$@\"; }\nrun systemctl restart libvirtd",
        "flock /run/lock/x systemctl restart libvirtd",
        "nsenter -t 1 -m -- sh -c 'systemctl restart libvirtd'",
        "trap 'systemctl restart libvirtd' EXIT",
        "echo 'systemctl restart libvirtd' | sh",
        "echo systemctl restart libvirtd | at now",
        "cat > /tmp/x <<'E'\nsystemctl restart libvirtd\nE\nchmod +x /tmp/x; /tmp/x",
        "python3 -c 'import os; os.system(\"systemctl restart libvirtd\")'",
        "python3 <<'E'\nimport subprocess\nsubprocess.run([\"systemctl\", \"stop\", \"libvirtd\"])\nE",
        "perl -e 'kill 9, `pidof qemu-system-x86_64`'",
        "awk 'BEGIN { system(\"service libvirtd restart\") }'",
        "eval \"systemctl $x libvirtd\"",
        "V=restart\neval systemctl $V libvirtd",
        // Signals.
        "pkill -f '[q]emu-system'",
        "pkill -9 -u libvirt-qemu",
        "pidof qemu-system-x86_64 | xargs kill",
        "pgrep -f qemu | xargs -r -n 1 kill -9",
        "kill $(pidof qemu-system-x86_64)",
        "kill -9 -1",
        "killall5 -9",
        "fuser -k /dev/kvm",
        "for p in $(pgrep qemu); do kill -TERM $p; done",
    ] {
        let findings = postinst(text);
        assert!(findings.iter().any(|finding| finding.severity == Severity::Blocks), "{text}: {findings:#?}");
    }
}

#[test]
fn tricks_with_the_files_of_guests_are_seen() {
    for text in [
        format!("mv {MODULES} {MODULES}.old"),
        "cd /usr/lib/x86_64-linux-gnu && rm -rf qemu".to_owned(),
        "rm -rf usr/lib/x86_64-linux-gnu/qemu".to_owned(),
        "(cd /usr/lib/x86_64-linux-gnu; cp /tmp/new.so librbd.so.1.17.0)".to_owned(),
        "cat new.so > usr/lib/x86_64-linux-gnu/librbd.so.1.17.0".to_owned(),
        "rm -rf /usr/lib/{x86_64-linux-gnu,i386}/qemu".to_owned(),
        format!("find {MODULES} -name '*.so' -exec rm -f {{}} ;"),
        format!("find {MODULES} -name '*.so' | xargs rm -f"),
        format!("dpkg-divert --package x --rename --divert {EMULATOR}.old {EMULATOR}"),
        format!("sed -i s/a/b/ {LIBRBD}"),
        "mount -t tmpfs tmpfs /run/libvirt".to_owned(),
        "umount -l /var/lib/libvirt".to_owned(),
    ] {
        let findings = postinst(&text);
        assert!(findings.iter().any(|finding| finding.severity == Severity::Blocks), "{text}: {findings:#?}");
    }
}

#[test]
fn a_branch_is_left_out_only_when_it_cannot_be_taken() {
    let restart = "systemctl restart libvirtd";
    for text in [
        // It is set on one way only.
        format!("if [ -e /x ]; then done=yes; fi\nif [ \"$done\" != yes ]; then {restart}; fi"),
        format!("if [ -e /x ]; then done=yes; fi\nif [ -z \"$done\" ]; then {restart}; fi"),
        format!("if [ -e /x ]; then done=yes; fi\ncase \"$done\" in yes) ;; *) {restart};; esac"),
        // It comes from elsewhere after all.
        format!("again=no\n. /etc/default/libvirtd\nif [ \"$again\" = yes ]; then {restart}; fi"),
        format!("again=no\nread again </etc/x\n[ $again = yes ] && {restart}"),
        format!("RET=\ndb_get libvirt/restart\n[ \"$RET\" = true ] && {restart}"),
        format!("f() {{ [ \"$again\" = yes ] && {restart}; }}\nagain=no\nf"),
        // Turned round, it holds for one occasion of two.
        format!("if [ configure = \"$1\" ]; then :; else {restart}; fi"),
        format!("if [ \"$1\" = '*' ]; then :; else {restart}; fi"),
        format!("set restart configure\n[ \"$1\" = restart ] && {restart}"),
        // A list on one way, a word on the other.
        "if [ -e /x ]; then U='virtlogd libvirtd'; else U=cron; fi\nsystemctl restart $U".to_owned(),
        "if [ -e /x ]; then C='systemctl restart'; else C=true; fi\n$C libvirtd".to_owned(),
    ] {
        let findings = postinst(&text);
        assert!(findings.iter().any(|finding| finding.severity == Severity::Blocks), "{text}: {findings:#?}");
    }
    for text in [
        format!("action=\"$1\"\ncase \"$action\" in purge) {restart};; esac"),
        format!("again=no\nif [ \"$again\" = yes ]; then {restart}; fi"),
        format!("[ \"$1\" = remove ] && {restart}"),
        "systemctl mask suspend.target\nmv /usr/lib/qemu.new /usr/lib/x\nmount -o remount,rw /run".to_owned(),
        "awk -F: '/^libvirt-qemu/ { print $3 }' /etc/passwd\ntrap 'rm -f /tmp/x' EXIT".to_owned(),
        "cat > /etc/x.conf <<E\n# libvirtd is restarted later\nkey = 'value'\nE".to_owned(),
        "cd /var/cache/libvirt && rm -rf qemu/capabilities".to_owned(),
    ] {
        assert_eq!(postinst(&text), [], "{text}");
    }
}

#[test]
fn what_cannot_be_told_blocks_only_where_it_names_what_matters() {
    blocks(
        &postinst("#!/usr/bin/perl\nsystem('systemctl', 'restart', 'libvirtd');\n"),
        codes::GUARD_CANNOT_TELL,
        "libvirt",
    );
    assert_eq!(postinst("#!/usr/bin/env python3\nprint('hello')\n"), []);
    blocks(&postinst("if true; then systemctl restart libvirtd\n"), codes::GUARD_CANNOT_TELL, "libvirt");
    assert_eq!(postinst("if true; then systemctl restart cron\n"), []);
    // Which unit is known only when it runs.
    let text = "f() { systemctl restart \"$@\"; }\nf virtlogd.service\n";
    blocks(&postinst(text), codes::GUARD_CANNOT_TELL, "virtlogd");
    assert_eq!(postinst("f() { systemctl restart \"$@\"; }\nf cron.service\n"), []);
    is_neutralised(
        &postinst("f() { deb-systemd-invoke restart \"$@\"; }\nf virtlogd.service\n"),
        codes::GUARD_CANNOT_TELL,
    );
}

#[test]
fn a_module_directory_in_use() {
    let module = format!("{MODULES}/block-rbd.so");
    let drops = TransactionItem { files_before: paths(&[&module]), ..item() };
    blocks(&judged(PackageManager::Apt, vec![drops.clone()], false), codes::GUARD_LAZY, MODULES);
    is_neutralised(&judged(PackageManager::Apt, vec![drops], true), codes::GUARD_LAZY);
    // Through the link that old packages still name.
    let lib = module.replace("/usr/lib", "/lib");
    let replaces = TransactionItem { files_before: paths(&[&module]), files_after: paths(&[&lib]), ..item() };
    let findings = judged(PackageManager::Dnf, vec![replaces], false);
    blocks(&findings, codes::GUARD_LAZY, MODULES);
    assert!(findings[0].cause.contains("replaces 1 files"), "{}", findings[0].cause);
    let rom = "/usr/share/seabios/bios-256k.bin";
    let newer = TransactionItem { files_before: paths(&[rom]), files_after: paths(&[rom]), ..item() };
    assert_eq!(judged(PackageManager::Dnf, vec![newer], false), [], "another ROM will do");
    let none = TransactionItem { files_before: paths(&[rom]), ..item() };
    blocks(&judged(PackageManager::Dnf, vec![none], false), codes::GUARD_LAZY, "/usr/share/seabios");
    let same = TransactionItem {
        files_before: paths(&[&module]),
        files_after: paths(&[&module]),
        after: Some("1".into()),
        ..item()
    };
    assert_eq!(judged(PackageManager::Dnf, vec![same], false), []);
}

#[test]
fn removing_the_emulator_the_daemon_or_a_socket() {
    let gone = |path| TransactionItem { files_before: paths(&[path]), after: None, ..item() };
    blocks(
        &judged(PackageManager::Apt, vec![gone(EMULATOR)], false),
        codes::GUARD_EMULATOR_REMOVED,
        EMULATOR,
    );
    blocks(
        &judged(PackageManager::Apt, vec![gone("/usr/sbin/libvirtd")], false),
        codes::GUARD_MANAGER_REMOVED,
        "/usr/sbin/libvirtd",
    );
    blocks(&judged(PackageManager::Apt, vec![gone(SOCKET)], false), codes::GUARD_SOCKET_REMOVED, SOCKET);
    // It only goes over to another package.
    let moved = TransactionItem {
        name: "other".into(),
        before: None,
        files_after: paths(&["/usr/sbin/libvirtd"]),
        ..item()
    };
    assert_eq!(judged(PackageManager::Apt, vec![gone("/usr/sbin/libvirtd"), moved], false), []);
}

#[test]
fn a_mapped_file_that_is_replaced_by_the_package_manager_is_a_note() {
    let replaces =
        TransactionItem { files_before: paths(&[LIBRBD]), files_after: paths(&[LIBRBD]), ..item() };
    let findings = judged(PackageManager::Apt, vec![replaces], false);
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].code.as_str(), &findings[0].severity),
        (codes::GUARD_FILE_IN_USE, &Severity::Notes)
    );
}

fn action(action: &Action) -> Vec<Finding> {
    judge_action(&HostName::new("compute1").unwrap(), action, &usage(), &merged)
}

#[test]
fn actions_that_would_touch_what_guests_use_are_refused() {
    let write = |path: &str| {
        Action::FileWrite(FileWrite {
            path: path.into(),
            contents: String::new(),
            mode: 0o644,
            replace: true,
        })
    };
    for path in [
        LIBRBD,
        "/lib/x86_64-linux-gnu/librbd.so.1.17.0",
        SOCKET,
        EMULATOR,
        "/run/libvirt/qemu/web.xml",
        "/etc/libvirt/hooks/qemu",
    ] {
        blocks(&action(&write(path)), codes::GUARD_ACTION_IN_USE, path);
    }
    blocks(
        &action(&write(&format!("{MODULES}/x.so"))),
        codes::GUARD_ACTION_IN_USE,
        &format!("{MODULES}/x.so"),
    );
    for path in ["/etc/libvirt/libvirtd.conf", "/etc/default/libvirtd", "/usr/lib/gone.so"] {
        assert_eq!(action(&write(path)), [], "{path}");
    }
    let tree = |prefix: &str| {
        let package = PackagePin { name: "q".into(), version: "1".into() };
        Action::TreeInstall(TreeInstall { manager: PackageManager::Dnf, package, prefix: prefix.into() })
    };
    blocks(&action(&tree("/usr/lib")), codes::GUARD_ACTION_IN_USE, "/usr/lib");
    assert_eq!(action(&tree("/opt/qemu/10.0.2")), []);
    let mask = |unit: &str| Action::UnitMask(UnitMask { unit: unit.into(), runtime: false });
    blocks(&action(&mask("libvirtd.service")), codes::GUARD_UNIT, "libvirtd.service");
    assert_eq!(action(&mask("libvirt-guests.service")), []);
    let disable = Action::UnitEnable(UnitEnable { unit: "libvirtd.service".into(), enable: false });
    blocks(&action(&disable), codes::GUARD_UNIT, "libvirtd.service");
    let drop_in = |contents: &str| {
        Action::UnitDropIn(UnitDropIn {
            unit: "libvirtd.service".into(),
            name: "x".into(),
            contents: contents.into(),
        })
    };
    blocks(&action(&drop_in("[Service]\nKillMode=control-group\n")), codes::GUARD_UNIT, "libvirtd.service");
    blocks(&action(&drop_in("[Service]\nExecStop=/bin/x\n")), codes::GUARD_UNIT, "libvirtd.service");
    assert_eq!(action(&drop_in("[Service]\nKillMode=process\nEnvironment=PATH=/opt/qemu/10.0.2/bin\n")), []);
}
