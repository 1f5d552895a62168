//! Agents on the hosts of a real cluster: what they see of it, and that they touch nothing.

use anyhow::{Result, ensure};
use replank_e2e::{Field, FieldSpec};

/// P3: three agents on the hosts of a cluster are linked, the inventory lists their hosts, and no daemon was touched.
#[test]
fn agents_stand_beside_the_daemons() -> Result<()> {
    let field = Field::up(&FieldSpec::ceph("t-ceph-field"))?;
    let daemons = |field: &Field| -> Result<Vec<String>> {
        field.hosts().map(|host| Ok(host.sh("pgrep -a 'ceph-(mon|mgr|osd)'")?)).collect()
    };
    let before = daemons(&field)?;
    let path = field.path("inventory.json").to_string_lossy().into_owned();
    field.replank(&["inventory", "-o", &path])?;
    let inventory = std::fs::read_to_string(&path)?;
    for host in ["ceph1", "ceph2", "ceph3"] {
        ensure!(inventory.contains(&format!("\"{host}\"")), "{host} is not in the inventory");
    }
    ensure!(daemons(&field)? == before, "daemons changed: {before:?}");
    field.cluster()?.wait_for_clean(std::time::Duration::from_secs(30))?;
    Ok(())
}
