//! `/etc/ceph`: the configuration and the keys that programs read themselves.

use std::fmt::Write;

use uuid::Uuid;

use super::CephSpec;
use super::mons::Keys;
use crate::error::Result;
use crate::host::Host;

/// The configuration of all daemons and clients.
pub(super) fn text(fsid: Uuid, hosts: &[Host], spec: &CephSpec) -> String {
    let list = |of: &dyn Fn(&Host) -> String| hosts.iter().map(of).collect::<Vec<_>>().join(",");
    let mut text = format!(
        "[global]\nfsid = {fsid}\nmon initial members = {}\nmon host = {}\npublic network = 10.77.0.0/24\n",
        list(&|host| host.name().to_owned()),
        list(&|host| host.address().to_string()),
    );
    let bytes = spec.osd_mib << 20;
    // The machine's disk is not the cluster's: how full that is says nothing here.
    let _ = write!(
        text,
        "auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 3
# The pools that gateways make.
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off

[mon]
mon data avail warn = 1
mon data avail crit = 1
# No client here is older than the fix of CVE-2021-20288.
auth allow insecure global id reclaim = false

[osd]
osd objectstore = bluestore
osd memory target = 939524096
bluestore block create = true
bluestore block size = {bytes}
"
    );
    text
}

/// Gives a Ceph host the configuration and the admin's key.
pub(super) fn write(host: &Host, conf: &str, keys: &Keys) -> Result<()> {
    host.write("/etc/ceph/ceph.conf", conf.as_bytes(), 0o644)?;
    host.write("/etc/ceph/ceph.client.admin.keyring", keys.of("client.admin")?.as_bytes(), 0o600)
}

/// Gives a client the configuration and a key for the pools.
pub(super) fn write_client(host: &Host, conf: &str, keys: &Keys) -> Result<()> {
    host.write("/etc/ceph/ceph.conf", conf.as_bytes(), 0o644)?;
    host.write("/etc/ceph/ceph.client.writer.keyring", keys.of("client.writer")?.as_bytes(), 0o600)
}
