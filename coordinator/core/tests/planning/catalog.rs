//! The catalog's own consistency, and that a broken file is refused.

use crate::support::World;
use replank_core::catalog::{Catalog, CatalogError, FlawGuard, Part};

const LIBVIRT: &str = include_str!("../../catalog/debian-12-libvirt-9.0-to-11.3.toml");
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
    assert_eq!(catalog.hops.len(), 6);
    assert_ne!(catalog.digest(), Catalog::load(&[]).unwrap().digest());

    let mut world = World::debian();
    world.fleet.hops = vec!["own-qemu-7.2-to-10.0.2".to_owned(), "own-libvirt-9.0-to-11.3".to_owned()];
    assert!(world.try_plan().is_err());
    world.catalog = catalog;
    world.plan();
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
