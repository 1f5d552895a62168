//! Managers, one a host.

use super::mons::Keys;
use crate::error::Result;
use crate::host::Host;

/// Gives a host's manager its key.
pub(super) fn prepare(host: &Host, keys: &Keys) -> Result<()> {
    let name = host.name();
    let path = format!("/var/lib/ceph/mgr/ceph-{name}/keyring");
    host.write(&path, keys.of(&format!("mgr.{name}"))?.as_bytes(), 0o600)?;
    host.sh(&format!("chown -R ceph:ceph /var/lib/ceph/mgr/ceph-{name}"))?;
    Ok(())
}

/// Starts a host's manager.
pub(super) fn start(host: &Host) -> Result<()> {
    host.must(&["systemctl", "enable", "--quiet", "--now", &format!("ceph-mgr@{}", host.name())])?;
    Ok(())
}
