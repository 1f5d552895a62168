//! The catalog's own consistency, and that a broken file is refused.

use crate::support::World;
use replank_common::version::Version;
use replank_core::catalog::{Catalog, CatalogError, FlawGuard, Part, Point, Side, Trap};

const LIBVIRT: &str = include_str!("../../catalog/debian-12-libvirt-9.0-to-11.3.toml");
const CEPH: &str = include_str!("../../catalog/debian-ceph-14.2-to-16.2.toml");
const QEMU: &str = include_str!("../../catalog/debian-12-qemu-7.2-to-10.0.2.toml");

#[test]
fn the_built_in_catalog_is_complete() {
    let catalog = Catalog::load(&[]).unwrap();
    let ids: Vec<&str> = catalog.hops.keys().map(String::as_str).collect();
    assert_eq!(
        ids,
        [
            "debian-12-libvirt-9.0-to-11.3",
            "debian-12-qemu-7.2-to-10.0.2",
            "debian-ceph-14.2-to-16.2",
            "debian-ceph-16.2-to-18.2",
            "el7-ceph-0.94-to-10.2",
            "el7-ceph-10.2-to-12.2",
            "el7-ceph-12.2-to-14.2",
            "el7-libvirt-1.2.17-to-3.2.0",
            "el7-qemu-kvm-1.5.3-to-2.9.0",
        ]
    );
    for hop in catalog.hops.values() {
        match &hop.part {
            Part::Libvirt(part) => {
                assert!(!part.back.old_reads_new, "{}: unknown caps flags are refused", hop.id)
            }
            Part::Qemu(part) => assert!(!part.lazy.is_empty(), "{}", hop.id),
            Part::Ceph(part) => assert!(!part.point.is_empty(), "{}", hop.id),
        }
    }
}

/// Without commit cb182eb11d libvirt 3.2.0 ends guests of a stopped libvirt network on its start: only the operator can
/// know whether a rebuild has it.
#[test]
fn the_deadly_flaws_of_libvirt_3_2_have_to_be_declared_as_mended() {
    let catalog = Catalog::load(&[]).unwrap();
    let hop = &catalog.hops["el7-libvirt-1.2.17-to-3.2.0"];
    for id in ["cb182eb11d", "7726d1581f", "6a6f6b91e0", "7cf22b4879"] {
        let flaw = hop.flaws.iter().find(|flaw| flaw.id == id).unwrap();
        assert_eq!(flaw.guard, FlawGuard::Declare, "{id}");
    }
}

fn own(text: &str) -> String {
    text.replace("id = \"debian-12-", "id = \"own-")
}

#[test]
fn an_operators_hop_is_added() {
    let (qemu, libvirt) = (own(QEMU), own(LIBVIRT));
    let catalog = Catalog::load(&[("qemu.toml", &qemu), ("libvirt.toml", &libvirt)]).unwrap();
    assert_eq!(catalog.hops.len(), 11);
    assert_ne!(catalog.digest(), Catalog::load(&[]).unwrap().digest());

    let mut world = World::debian();
    world.fleet.hops = vec!["own-qemu-7.2-to-10.0.2".to_owned(), "own-libvirt-9.0-to-11.3".to_owned()];
    assert!(world.try_plan().is_err());
    world.catalog = catalog;
    world.plan();
}

/// What each hop of Ceph must know: a mistake here would be made on every cluster.
#[test]
fn the_hops_of_ceph_hold_what_their_releases_ask_for() {
    let catalog = Catalog::load(&[]).unwrap();
    let part = |id: &str| match &catalog.hops[id].part {
        Part::Ceph(part) => part.as_ref(),
        Part::Qemu(_) | Part::Libvirt(_) => panic!("{id}"),
    };
    let points = |id: &str| part(id).point.iter().map(|row| row.what).collect::<Vec<_>>();
    assert_eq!(points("el7-ceph-0.94-to-10.2"), [Point::SortBitwise, Point::RequireJewelOsds]);
    assert_eq!(points("el7-ceph-12.2-to-14.2"), [Point::RequireOsdRelease, Point::EnableMsgr2]);
    for id in ["el7-ceph-10.2-to-12.2", "debian-ceph-14.2-to-16.2", "debian-ceph-16.2-to-18.2"] {
        assert_eq!(points(id), [Point::RequireOsdRelease], "{id}");
    }
    let hammer = part("el7-ceph-0.94-to-10.2");
    assert!(hammer.order.old_mon_stays_for_the_canary && !hammer.order.mon_first_is_enforced);
    let ruled_out = |side: Side, text: &str| {
        let version = Version::new(text);
        hammer.limit.iter().any(|row| row.side == side && row.rules_out(&version))
    };
    for (side, text, out) in [
        (Side::From, "0.94.3", true),
        (Side::From, "0.94.4", true),
        (Side::From, "0.94.5", false),
        (Side::From, "0.94.10", false),
        (Side::To, "10.2.4", true),
        (Side::To, "10.2.7", true),
        (Side::To, "10.2.8", false),
        (Side::To, "10.2.11", false),
    ] {
        assert_eq!(ruled_out(side, text), out, "{text}");
    }
    let needs = |id: &str| part(id).needs.iter().map(|row| row.flag.as_str()).collect::<Vec<_>>();
    assert_eq!(needs("el7-ceph-12.2-to-14.2"), ["recovery_deletes", "purged_snapdirs"]);
    assert!(part("el7-ceph-10.2-to-12.2").has_trap(Trap::BlacklistCaps).is_some());
    // Removed in Jewel and never needed before: nothing is written into [global].
    for hop in catalog.hops.values() {
        if let Part::Ceph(part) = &hop.part {
            assert!(part.file.iter().all(|row| row.section != "global"), "{}", hop.id);
        }
    }
}

#[test]
fn a_broken_hop_of_ceph_is_refused_with_what_is_wrong() {
    let own = CEPH.replace("id = \"debian-ceph-", "id = \"own-ceph-");
    assert_eq!(Catalog::load(&[("own.toml", &own)]).unwrap().hops.len(), 10);
    let cases = [
        ("kind = \"mon\"", "kind = \"monitor\"", "unknown variant"),
        ("kind = \"mon\"", "kind = \"mgr\"", "there twice"),
        ("unit = \"ceph-osd@{id}.service\"", "unit = \"ceph-osd.service\"", "is not like"),
        ("ceph-radosgw@{id}.service", "ceph-radosgw@rgw.{id}.service", "is not like the agent's"),
        ("packages = [\"ceph-osd\"]", "packages = [\"ceph-ost\"]", "not in names"),
        ("minimum = \"16.2.7\"", "minimum = \"15.2.7\"", "not of the series"),
        ("minimum = \"16.2.7\"", "minimal = \"16.2.7\"", "no variant"),
        ("flag = \"noscrub\"", "flag = \"nodown\"", "hide a death"),
        ("flag = \"noscrub\"", "flag = \"norebalance\"", "from becoming clean"),
        ("flag = \"noout\"", "flag = \"noin\"", "noout must be borrowed"),
        ("key = \"bluestore fsck quick fix on mount\"", "key = \"bluestore_fsck\"", "with blanks"),
        ("section = \"osd\"\nkey = \"osd crush", "section = \"global\"\nkey = \"osd crush", "section of"),
        ("value = \"2\"\nhow = \"central\"", "value = \"2\"\nhow = \"inject\"", "cannot be set for global"),
        ("section = \"global\"", "section = \"clients\"", "cannot be set for clients"),
        ("what = \"require-osd-release\"", "what = \"enable-msgr2\"", "demands the new release"),
        ("path = \"/usr/sbin/policy-rc.d\"", "path = \"/usr/sbin/other\"", "policy-rc.d"),
        ("stop_ms = 60000", "stop_ms = 5000", "clean stop"),
        ("to = \"pacific\"", "to = \"mimic\"", "alphabet"),
        ("source = \"src/osd/OSD.cc, the constructor\"", "source = \"\"", "names no source"),
    ];
    for (from, to, said) in cases {
        let text = own.replacen(from, to, 1);
        assert_ne!(text, own, "{from}");
        let error = Catalog::load(&[("mine.toml", &text)]).unwrap_err();
        assert!(error.problem.contains(said), "{from} → {to}: {error}");
    }
}

#[test]
fn a_broken_file_is_refused_with_what_is_wrong() {
    let cases: [(&str, &str, &str); 14] = [
        ("id = \"own-libvirt-9.0-to-11.3\"", "id = \"debian-12-libvirt-9.0-to-11.3\"", "already"),
        ("to = \"11.3.0\"", "to = \"8.0\"", "does not come before"),
        ("to = \"11.3.0\"", "to = \"9.0.1\"", "is of the series"),
        ("architectures = [\"x86_64\"]", "architectures = []", "no architecture"),
        ("    \"libvirt0\",\n]\nrequired", "]\nrequired", "not in names"),
        ("unit = \"libvirt-guests.service\"", "unit = \"other.service\"", "libvirt-guests"),
        ("path = \"/usr/sbin/policy-rc.d\"", "path = \"/usr/sbin/other\"", "policy-rc.d"),
        ("undisturbed = [\"libvirtd.service\", ", "undisturbed = [", "undisturbed"),
        ("style = \"sockets\"", "style = \"wishes\"", "wishes"),
        ("[libvirt.daemon]", "[libvirt.demon]", "demon"),
        ("guard = \"trial\"", "guard = \"trial\"\nextra = 1", "extra"),
        ("/usr/local/sbin:", "usr/local/sbin:", "path_tail"),
        ("source = \"/etc/os-release of Debian 12\"", "source = \"\"", "source"),
        ("[[os]]\nid = \"debian\"\nversion_id = \"12\"\nsource = \"/etc/os-release of Debian 12\"", "", "os"),
    ];
    for (from, to, said) in cases {
        let base = own(LIBVIRT);
        let text = base.replacen(from, to, 1);
        assert_ne!(text, base, "{from}");
        let error = Catalog::load(&[("mine.toml", &text)]).unwrap_err();
        assert!(error.problem.contains(said), "{from} → {to}: {error}");
    }
    let CatalogError { file, .. } = Catalog::load(&[("mine.toml", "nonsense")]).unwrap_err();
    assert_eq!(file, "mine.toml");
}
