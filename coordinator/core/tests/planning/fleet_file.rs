//! Every kind of mistake in a fleet file: its code, its place, and as many at once as there are.

use crate::support::{CEPH_TOML, DEBIAN_TOML, EL7_TOML};
use replank_core::fleet_file::{Canary, Goal, Listen, Mistakes, TcpAuth, parse};
use replank_core::plan::Way;

fn mistakes(text: &str) -> Mistakes {
    parse("fleet.toml", text).unwrap_err()
}

#[test]
fn the_examples_mean_what_they_say() {
    let debian = parse("debian.toml", DEBIAN_TOML).unwrap();
    let Goal::Guests(goal) = &debian.goal else { panic!("{debian:?}") };
    let tcp = goal.libvirt.tcp.as_ref().unwrap();
    assert_eq!((tcp.port, tcp.auth), (16509, TcpAuth::None));
    assert_eq!(debian.pace.canary, Canary::Count(1));
    assert_eq!(goal.qemu.bin_directory.to_str(), Some("/opt/qemu/10.0.2/bin"));

    let el7 = parse("el7.toml", EL7_TOML).unwrap();
    let Goal::Guests(goal) = &el7.goal else { panic!("{el7:?}") };
    assert_eq!(goal.libvirt.tcp.as_ref().unwrap().listen, Listen::OwnAddress);
    assert_eq!(el7.pace.deadline_percent, 150);
    let parts: Vec<bool> = el7.hosts.iter().map(|host| el7.takes_part(host)).collect();
    assert_eq!(parts, [false, true, true, true, true, true, true, false]);
    assert!(el7.hosts.iter().all(|host| host.way == Way::InPlace));
}

#[test]
fn a_fleet_file_of_ceph_means_what_it_says() {
    let fleet = parse("ceph.toml", CEPH_TOML).unwrap();
    let Goal::Ceph(goal) = &fleet.goal else { panic!("{fleet:?}") };
    assert_eq!(goal.version.as_str(), "16.2.15");
    assert_eq!(goal.admin.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["ceph1", "ceph2"]);
    assert!(goal.consent.is_empty() && goal.packages.windows(2).all(|pair| pair[0].name < pair[1].name));
    let parts: Vec<bool> = fleet.hosts.iter().map(|host| fleet.takes_part(host)).collect();
    assert_eq!(parts, [true, true, true, false]);
    // Redundancy decides how many hosts of a wave may be down, unless the file says less.
    assert!(fleet.pace.parallel_hosts >= 1000);
    assert_eq!(
        parse("c", &CEPH_TOML.replace("[pace]", "[pace]\nparallel_hosts = 2")).unwrap().pace.parallel_hosts,
        2
    );
    // A host with an admin keyring and no daemon takes part as the one that is asked.
    let asked = CEPH_TOML.replace("admin = [\"ceph1\", \"ceph2\"]", "admin = [\"client\"]");
    let fleet = parse("c", &asked).unwrap();
    assert!(fleet.takes_part(&fleet.hosts[3]));
}

/// One change to the example of Ceph, the code it must have, and where it must point.
#[test]
fn each_mistake_about_ceph_has_its_code_and_place() {
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        ("version = \"16.2.15\"\n", "", "RP1004", "ceph.version", "[ceph]"),
        ("version = \"16.2.15\"", "version = \"16.*\"", "RP1013", "ceph.version", "\"16.*\""),
        ("repository = \"ceph\"", "repository = \"cehp\"", "RP1010", "ceph.repository", "\"cehp\""),
        ("admin = [\"ceph1\", \"ceph2\"]\n", "", "RP1004", "ceph.admin", "[ceph]"),
        ("admin = [\"ceph1\"", "admin = [\"ceph9\"", "RP1010", "ceph.admin", "\"ceph9\""),
        ("admin = [\"ceph1\"", "admin = [\"Ceph1\"", "RP1005", "ceph.admin", "\"Ceph1\""),
        ("admin = [\"ceph1\", ", "admin = [\"ceph2\", ", "RP1006", "ceph.admin", "\"ceph2\"]"),
        ("consent = []", "consents = []", "RP1002", "ceph.consents", "consents"),
        ("consent = []", "consent = \"rbd\"", "RP1003", "ceph.consent", "\"rbd\""),
        (
            "removals = []",
            "removals = [\"libssl3\", \"librbd1\"]",
            "RP1014",
            "ceph.removals",
            "[\"libssl3\", \"librbd1\"]",
        ),
        ("canary = 1", "canary = [\"client\"]", "RP1010", "pace.canary", "[\"client\"]"),
        ("[ceph]", "[cehp]", "RP1002", "cehp", "cehp"),
        (
            "name = \"ceph-mgr\"",
            "name = \"ceph-mon\"",
            "RP1006",
            "ceph.packages[5].name",
            "{ name = \"ceph-mon\", version = \"16.2.15+ds-0+deb12u2\" },\n    { name = \"ceph-mgr-m",
        ),
        ("[ceph]", "[qemu]\nversion = \"1\"\n\n[ceph]", "RP1014", "qemu, libvirt", "[qemu]"),
    ];
    for (from, to, code, subject, at) in cases {
        let text = CEPH_TOML.replacen(from, to, 1);
        assert_ne!(text, CEPH_TOML, "{from}");
        let Mistakes { mistakes, .. } = mistakes(&text);
        let [mistake] = mistakes.as_slice() else { panic!("{from} → {to}: {mistakes:#?}") };
        assert_eq!((mistake.code, mistake.subject.as_str()), (*code, *subject), "{from} → {to}: {mistake:?}");
        let offset = text.find(at).unwrap_or_else(|| panic!("{at} is not in the text"));
        let line = text[..offset].matches('\n').count() + 1;
        assert_eq!(mistake.line, line, "{from} → {to}: {mistake:?}");
        assert!(!mistake.remedy.is_empty() && !mistake.problem.is_empty(), "{mistake:?}");
    }
}

#[test]
fn a_fleet_file_without_a_goal_is_told_both_ways() {
    let at = CEPH_TOML.find("[ceph]").unwrap();
    let text = format!("{}{}", &CEPH_TOML[..at], &CEPH_TOML[CEPH_TOML.find("[[repository]]").unwrap()..]);
    let mistakes = mistakes(&text).mistakes;
    let [mistake] = mistakes.as_slice() else { panic!("{mistakes:#?}") };
    assert_eq!((mistake.code, mistake.subject.as_str()), ("RP1004", "qemu, libvirt or ceph"));
    // One of the pair asks for the other.
    let half = DEBIAN_TOML.replace("[libvirt]", "[[unused]]").replace("[libvirt.tcp]", "[unused2]");
    assert!(parse("f", &half).unwrap_err().to_string().contains("the section `[libvirt]` is missing"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = DEBIAN_TOML
        .replace("parallel_hosts = 1", "paralell_hosts = 1")
        .replace("staging_parallel = 2", "staging_parallel = \"two\"")
        .replace("default = \"in-place\"", "default = \"in-plaice\"")
        .replace("prefix = \"/opt/qemu/10.0.2\"", "prefix = \"/usr\"")
        .replace("\nacknowledge = \"everyone on this network is root on every host\"", "")
        .replace("repository = \"qemu\"", "repository = \"quemu\"")
        .replacen("version = \"11.3.0-2~bpo12+1\"", "version = \"11.*\"", 1)
        .replace("name = \"compute2\"", "name = \"Compute2\"")
        .replace("name = \"compute3\"\nroles = [\"compute\"]", "name = \"compute1\"\nroles = [\"computer\"]")
        .replace("address = \"192.0.2.11\"\n", "adress = \"192.0.2.11\"\n");
    insta::assert_snapshot!(mistakes(&text).to_string());
}

/// One change to the Debian example, the code it must have, and where it must point.
#[test]
fn each_kind_of_mistake_has_its_code_and_place() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("parallel_hosts = 1", "parallel_hosts = one", "RP1001", "one\nstaging"),
        ("spare_bytes = ", "spare_byte = ", "RP1002", "spare_byte"),
        ("[way]", "[ways]", "RP1002", "ways]"),
        ("canary = 1", "canary = true", "RP1007", "true"),
        ("parallel_hosts = 1", "parallel_hosts = \"1\"", "RP1003", "\"1\""),
        ("parallel_hosts = 1", "parallel_hosts = -1", "RP1003", "-1"),
        ("address = \"192.0.2.12\"", "address = \"192.0.2.12\"\ncanary = \"yes\"", "RP1003", "\"yes\""),
        ("prefix = \"/opt/qemu/10.0.2\"\n", "", "RP1004", "[qemu]"),
        ("address = \"192.0.2.12\"\n", "", "RP1004", "\"compute2\""),
        ("name = \"harbour\"", "name = \"Old Harbour\"", "RP1005", "\"Old Harbour\""),
        ("name = \"libvirt\"\nkind", "name = \"libvirt-11.3\"\nkind", "RP1005", "\"libvirt-11.3\""),
        ("name = \"compute2\"", "name = \"compute_2\"", "RP1005", "\"compute_2\""),
        ("{ name = \"libvirt0\"", "{ name = \"libvirt0=1\"", "RP1005", "\"libvirt0=1\""),
        (
            "name = \"compute2\"",
            "name = \"compute1\"",
            "RP1006",
            "\"compute1\"\nroles = [\"compute\"]\naddress = \"192.0.2.12\"",
        ),
        (
            "name = \"libvirt-common\"",
            "name = \"libvirt-clients\"",
            "RP1006",
            "{ name = \"libvirt-clients\", version = \"11.3.0-2~bpo12+1\" },\n    { name = \"libvirt-daemon\"",
        ),
        ("parallel_hosts = 1", "parallel_hosts = 0", "RP1007", "0\nstaging"),
        ("auth = \"none\"", "port = 0\nauth = \"none\"", "RP1007", "0\nauth"),
        ("default = \"in-place\"", "default = \"in place\"", "RP1008", "\"in place\""),
        ("auth = \"none\"", "auth = \"kerberos\"", "RP1008", "\"kerberos\""),
        ("kind = \"apt\"", "kind = \"deb\"", "RP1008", "\"deb\""),
        ("roles = [\"compute\"]", "roles = [\"compute\", \"ceph-ost\"]", "RP1008", "\"ceph-ost\""),
        ("prefix = \"/opt/qemu/10.0.2\"", "prefix = \"opt/qemu\"", "RP1009", "\"opt/qemu\""),
        ("prefix = \"/opt/qemu/10.0.2\"", "prefix = \"/opt/../usr/x\"", "RP1009", "\"/opt/../usr/x\""),
        (
            "prefix = \"/opt/qemu/10.0.2\"",
            "prefix = \"/opt/qemu/10.0.2\"\nbin_directory = \"/opt/bin\"",
            "RP1009",
            "\"/opt/bin\"",
        ),
        ("repository = \"qemu\"", "repository = \"other\"", "RP1010", "\"other\""),
        ("canary = 1", "canary = [\"compute9\"]", "RP1010", "[\"compute9\"]"),
        ("acknowledge = \"everyone on this", "acknowledge = \"nobody on this", "RP1011", "\"nobody on this"),
        ("address = \"192.0.2.12\"", "address = \"192.0.2.12:16509\"", "RP1012", "\"192.0.2.12:16509\""),
        ("address = \"192.0.2.12\"", "address = \"127.0.0.1\"", "RP1012", "\"127.0.0.1\""),
        ("listen_address = \"0.0.0.0\"", "listen_address = \"192.0.2.11\"", "RP1012", "\"192.0.2.11\"\nauth"),
        ("version = \"10.0.2-1\"", "version = \">= 10\"", "RP1013", "\">= 10\""),
        ("auth = \"none\"", "auth = \"sasl\"", "RP1014", "\"everyone on this"),
        ("kind = \"apt\"", "kind = \"apt\"\ngpg_check = true", "RP1014", "true"),
        ("address = \"192.0.2.12\"", "address = \"192.0.2.12\"\ncanary = true", "RP1014", "1\nspare_bytes"),
    ];
    for (from, to, code, at) in cases {
        let text = DEBIAN_TOML.replacen(from, to, 1);
        assert_ne!(text, DEBIAN_TOML, "{from}");
        let Mistakes { mistakes, .. } = mistakes(&text);
        let [mistake] = mistakes.as_slice() else { panic!("{from} → {to}: {mistakes:#?}") };
        assert_eq!(mistake.code, *code, "{from} → {to}: {mistake:?}");
        // Behind the change, or else the first in the file.
        let change = DEBIAN_TOML.find(from).unwrap();
        let behind = text[change..].find(at).map(|offset| change + offset);
        let offset = behind.or_else(|| text.find(at)).unwrap_or_else(|| panic!("{at} is not in the text"));
        let line = text[..offset].matches('\n').count() + 1;
        let column = offset - text[..offset].rfind('\n').map_or(0, |newline| newline + 1) + 1;
        assert_eq!((mistake.line, mistake.column), (line, column), "{from} → {to}: {mistake:?}");
        assert!(!mistake.remedy.is_empty() && !mistake.problem.is_empty(), "{mistake:?}");
    }
}

#[test]
fn a_misspelt_key_is_not_also_reported_as_missing() {
    let text = DEBIAN_TOML.replace("prefix = ", "prefiks = ");
    let mistakes = mistakes(&text).mistakes;
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    assert_eq!(mistakes[0].remedy, "did you mean `prefix`?");
}

#[test]
fn a_file_of_nothing_and_one_of_too_much_are_refused() {
    assert!(mistakes("").mistakes.iter().all(|mistake| mistake.code == "RP1004"));
    let long = "#".repeat(9 << 20);
    assert_eq!(mistakes(&long).mistakes[0].code, "RP1015");
    let mut crowd = DEBIAN_TOML.to_owned();
    for number in 0..20_001 {
        crowd.push_str(&format!("[[host]]\nname = \"h{number}\"\nroles = [\"ceph-osd\"]\n"));
    }
    assert_eq!(mistakes(&crowd).mistakes[0].code, "RP1015");
}

#[test]
fn an_own_address_must_be_one() {
    let text = DEBIAN_TOML
        .replace("listen_address = \"0.0.0.0\"\n", "")
        .replace("\"192.0.2.13\"", "\"compute3.lan\"");
    let mistakes = mistakes(&text).mistakes;
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    assert_eq!((mistakes[0].code, mistakes[0].subject.as_str()), ("RP1012", "host[3].address"));
}

#[test]
fn canaries_by_flag_are_canaries_by_name() {
    let text =
        DEBIAN_TOML.replace("canary = 1\n", "").replace("\"192.0.2.13\"", "\"192.0.2.13\"\ncanary = true");
    let Canary::Hosts(names) = parse("fleet.toml", &text).unwrap().pace.canary else { panic!() };
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["compute3"]);
}
