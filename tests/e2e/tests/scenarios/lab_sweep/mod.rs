//! P3, P4, P5, P7: every kind of action of a compute host × every case, on a real host with running guests.

mod table;

use crate::sweep::{Planned, Sight, Sweep, every_kind};
use anyhow::{Result, ensure};
use replank_e2e::{Field, FieldSpec, Fleet};
use replank_lab::repo::{self, bad::PackageSpec};
use std::collections::BTreeSet;

/// Qemu's incarnations, and libvirtd's.
const SIGHT: Sight = Sight {
    lives: r#"
for file in /run/libvirt/qemu/guest*.pid; do life "$(basename $file .pid)" "$(cat $file)"; done
life libvirtd "$(systemctl show -p MainPID --value libvirtd.service)"
"#,
    things: "",
};

/// The real coordinator plans; then it ends, and the sweep takes the helm.
#[test]
fn every_kind_of_action_in_every_case() -> Result<()> {
    let field = Field::up(&FieldSpec::new("t-sweep", 1, 2))?;
    offer_own_package(&field)?;
    let pinned = (table::PACKAGE.to_owned(), table::NEW.to_owned());
    let path = field.plan(&Fleet { more_packages: vec![pinned], ..Fleet::default() })?;
    let Planned { id, plan } = Planned::read(&path)?;
    let libvirt = field.first()?.sh("virsh version --daemon | sed -n 's/^Running against daemon: //p'")?;
    let rows = table::rows(&plan, libvirt.trim())?;
    let kinds: BTreeSet<&str> = rows.iter().map(|row| row.action.kind()).collect();
    let every = every_kind();
    // Those on a cluster are swept where there is one.
    let every: BTreeSet<&str> =
        every.iter().map(String::as_str).filter(|kind| !kind.starts_with("ceph-")).collect();
    ensure!(kinds == every && kinds.len() >= 14, "swept are {kinds:?}, and there are {every:?}");

    let field = Sweep::begin(field, id, rows, table::scenery(&plan), SIGHT)?.all()?;
    field.print_gaps(&[])
}

/// The old version on the host, both in the repository. Each has a file that the other has not.
fn offer_own_package(field: &Field) -> Result<()> {
    let version = |version: &str| {
        let share = format!("/usr/share/{}", table::PACKAGE);
        PackageSpec::new(table::PACKAGE, version)
            .file(&format!("{share}/version"), format!("{version}\n"))
            .file(&format!("{share}/only-in-{version}"), "a plank\n")
            .file(&format!("/etc/{}.conf", table::PACKAGE), format!("version = {version}\n"))
    };
    let out = tempfile::tempdir()?;
    for version in [version(table::OLD), version(table::NEW)] {
        repo::add(&field.repository, &version.build_deb(out.path())?)?;
    }
    let old = format!("/srv/repo/apt/pool/{}_{}_all.deb", table::PACKAGE, table::OLD);
    field.first()?.must(&["dpkg", "-i", &old])?;
    Ok(())
}

#[test]
fn every_kind_is_known_by_name() {
    let kinds = every_kind();
    assert!(kinds.len() >= 14 && kinds.contains(&"repository-pin".to_owned()), "{kinds:?}");
}
