//! Managers, one a host.

use super::mons::Keys;
use crate::error::Result;
use crate::host::Host;

/// Gives a host's manager its key.
pub(super) fn prepare(host: &Host, keys: &Keys) -> Result<()> {
    let name = host.name();
    keys.give(host, &format!("mgr.{name}"), &format!("/var/lib/ceph/mgr/ceph-{name}"))
}

/// Starts a host's manager.
pub(super) fn start(host: &Host) -> Result<()> {
    super::enable(host, &format!("ceph-mgr@{}", host.name()))
}
