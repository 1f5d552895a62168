//! The real files: what is read from them, and how small the edits to them are.
//!
//! The fixtures are excerpts in the manner of the distributions' files. A snapshot shows the diff that a person would
//! be shown, then what an edit reports.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::Path;

use pretty_assertions::assert_eq;
use replank_conf::{Dialect, Document, Edit, Edits, Found, Value, apply};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

const FIXTURES: [(&str, Dialect); 7] = [
    ("libvirtd.conf", Dialect::Libvirt),
    ("qemu.conf", Dialect::Libvirt),
    ("default-libvirtd", Dialect::Shell),
    ("sysconfig-libvirtd", Dialect::Shell),
    ("nova.conf", Dialect::Oslo),
    ("centos-virt.repo", Dialect::Dnf),
    ("libvirtd.service", Dialect::Systemd),
];

fn dialect_of(name: &str) -> Dialect {
    FIXTURES.iter().find(|(fixture, _)| *fixture == name).unwrap().1
}

/// The diff and the notes of some edits; also checks that doing them again changes nothing.
fn shown(name: &str, edits: &[Edit]) -> String {
    let dialect = dialect_of(name);
    let edited = apply(dialect, &fixture(name), edits).unwrap();
    let again = apply(dialect, &edited.bytes, edits).unwrap();
    assert_eq!(again.changes, vec![], "a second time changes nothing");
    assert!(!again.is_changed());
    let mut out = edited.render_diff(name);
    for note in &edited.notes {
        writeln!(out, "note: {note}").unwrap();
    }
    for problem in &edited.problems {
        writeln!(out, "problem: {problem}").unwrap();
    }
    out
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| Value::from(*item)).collect())
}

#[test]
fn every_fixture_reads_without_a_problem_and_round_trips() {
    for (name, dialect) in FIXTURES {
        let bytes = fixture(name);
        let document = Document::parse(dialect, &bytes);
        assert_eq!(document.problems(), [], "{name}");
        assert_eq!(document.bytes(), bytes, "{name}");
    }
}

#[test]
fn every_fixture_lists_its_settings() {
    let mut out = String::new();
    for (name, dialect) in FIXTURES {
        writeln!(out, "# {name}").unwrap();
        let document = Document::parse(dialect, &fixture(name));
        for setting in document.settings() {
            let section = setting.section.map(|s| format!("[{}] ", String::from_utf8_lossy(s)));
            let key = String::from_utf8_lossy(setting.key);
            let value = match setting.found {
                Found::Value(value) => value.to_string(),
                odd => format!("{odd:?}"),
            };
            writeln!(out, "{}: {}{key} = {value}", setting.line, section.unwrap_or_default()).unwrap();
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn libvirtd_conf_listens_on_tcp() {
    insta::assert_snapshot!(shown(
        "libvirtd.conf",
        &[
            Edit::set(None, "listen_tls", 0),
            Edit::set(None, "listen_tcp", 1),
            Edit::set(None, "auth_tcp", "none"),
            Edit::set(None, "listen_addr", "192.0.2.11"),
            Edit::set(None, "unix_sock_group", "kvm"),
            Edit::set(None, "max_client_requests", 20),
            Edit::set(None, "tls_allowed_dn_list", list(&["CN=a", "O=\"b\""])),
            Edit::set(None, "admin_max_clients", 5),
            Edit::comment_out(None, "keepalive_count"),
            Edit::unset(None, "host_uuid"),
        ]
    ));
}

#[test]
fn qemu_conf_lists_keep_their_layout() {
    insta::assert_snapshot!(shown(
        "qemu.conf",
        &[
            Edit::set(None, "hugetlbfs_mount", list(&["/dev/hugepages2M", "/dev/hugepages"])),
            Edit::set(None, "security_driver", list(&["selinux", "dac", "none"])),
            Edit::set(None, "cgroup_device_acl", list(&["/dev/null", "/dev/kvm"])),
            Edit::set(None, "group", "qemu"),
            Edit::set(None, "user", "qemu"),
            Edit::set(None, "nvram", list(&[])),
        ]
    ));
}

#[test]
fn default_libvirtd() {
    insta::assert_snapshot!(shown(
        "default-libvirtd",
        &[
            Edit::set(None, "libvirtd_opts", "-l"),
            Edit::set(None, "KRB5_KTNAME", "/etc/krb5 tab"),
            Edit::set(None, "LIBVIRT_LOG", "2:*"),
            Edit::set(None, "start_libvirtd", "no"),
            Edit::set(None, "extra", "a$b"),
        ]
    ));
}

#[test]
fn sysconfig_libvirtd_passes_listen() {
    insta::assert_snapshot!(shown(
        "sysconfig-libvirtd",
        &[
            Edit::set(None, "LIBVIRTD_ARGS", "--listen"),
            Edit::set(None, "LIBVIRTD_NOFILES_LIMIT", 4096),
            Edit::comment_out(None, "SDL_AUDIODRIVER"),
            Edit::set(None, "QEMU_AUDIO_DRV", "none"),
        ]
    ));
}

#[test]
fn nova_conf() {
    let in_libvirt = Some("libvirt");
    insta::assert_snapshot!(shown(
        "nova.conf",
        &[
            Edit::set(Some("DEFAULT"), "sync_power_state_interval", -1),
            Edit::set(Some("DEFAULT"), "debug", "True"),
            Edit::set(Some("DEFAULT"), "notification_driver", "noop"),
            Edit::unset(Some("DEFAULT"), "rpc_backend"),
            Edit::set(in_libvirt, "images_type", "qcow2"),
            Edit::set(in_libvirt, "disk_cachemodes", "none"),
            Edit::set(in_libvirt, "live_migration_permit_auto_converge", "true"),
            Edit::comment_out(in_libvirt, "live_migration_flag"),
            Edit::set(Some("workarounds"), "handle_virt_lifecycle_events", "false"),
        ]
    ));
}

#[test]
fn nova_conf_multi_valued() {
    let all = |values: &[&str]| Edit::SetAll {
        section: Some("DEFAULT".into()),
        key: "notification_driver".into(),
        values: values.iter().map(|v| Value::from(*v)).collect(),
    };
    let grown = shown("nova.conf", &[all(&["messagingv2", "noop", "test"])]);
    let shrunk = shown("nova.conf", &[all(&["log"])]);
    insta::assert_snapshot!(grown + "----\n" + &shrunk);
}

#[test]
fn dnf_repo() {
    insta::assert_snapshot!(shown(
        "centos-virt.repo",
        &[
            Edit::set(Some("centos-virt"), "enabled", 0),
            Edit::comment_out(Some("centos-virt"), "mirrorlist"),
            Edit::set(
                Some("centos-virt"),
                "baseurl",
                "http://repo.example.org/a/\nhttp://repo.example.org/b/"
            ),
            Edit::set(Some("centos-virt-test"), "baseurl", "http://repo.example.org/c/"),
            Edit::set(Some("centos-virt-test"), "priority", 1),
        ]
    ));
}

#[test]
fn systemd_unit() {
    let reset = Edit::SetAll {
        section: Some("Unit".into()),
        key: "Requires".into(),
        values: vec!["".into(), "virtlogd.socket".into()],
    };
    insta::assert_snapshot!(shown(
        "libvirtd.service",
        &[
            reset,
            Edit::set(Some("Service"), "ExecStart", "/usr/sbin/libvirtd $LIBVIRTD_ARGS"),
            Edit::set(Some("Service"), "LimitNOFILE", 131072),
            Edit::set(Some("Unit"), "After", "local-fs.target"),
            Edit::set(Some("Unit"), "StartLimitBurst", 3),
        ]
    ));
}

#[test]
fn edits_are_data() {
    let json = r#"{"dialect":"libvirt","edits":[
        {"op":"set","key":"listen_tls","value":0},
        {"op":"set","key":"tls_allowed_dn_list","value":["CN=a"]},
        {"op":"unset","key":"host_uuid"},
        {"op":"comment_out","key":"keepalive_count"}]}"#;
    let edits: Edits = serde_json::from_str(json).unwrap();
    assert_eq!(edits.edits[0], Edit::set(None, "listen_tls", 0));
    let back: Edits = serde_json::from_str(&serde_json::to_string(&edits).unwrap()).unwrap();
    assert_eq!(back, edits);
    let edited = edits.apply(&fixture("libvirtd.conf")).unwrap();
    let changes: Vec<_> = edited
        .changes
        .iter()
        .map(|c| (c.line, c.before.as_deref().unwrap_or("-"), c.after.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        changes,
        [
            (16, "-", "listen_tls = 0"),
            (49, "-", "tls_allowed_dn_list = [ \"CN=a\" ]"),
            (52, "host_uuid = \"5b8c2f7e-9f3a-4a54-9f4b-0d7c51a1c9aa\"", "-"),
            (54, "keepalive_count = 5", "#keepalive_count = 5"),
        ]
    );
    assert!(serde_json::from_str::<Edit>(r#"{"op":"unset","key":"a","value":1}"#).is_err());
}
