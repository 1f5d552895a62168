//! RADOS gateways, and the client's name to them.

use super::mons::Keys;
use crate::error::Result;
use crate::host::Host;

/// Where a gateway listens, as releases do by themselves.
pub(super) const PORT: u16 = 7480;
/// The client's name and secret.
pub(super) const USER: (&str, &str) = ("writer", "numbered");

/// Gives a host's gateway its key.
pub(super) fn prepare(host: &Host, keys: &Keys) -> Result<()> {
    let name = host.name();
    keys.give(host, &format!("client.rgw.{name}"), &format!("/var/lib/ceph/radosgw/ceph-rgw.{name}"))
}

/// Starts a host's gateway.
pub(super) fn start(host: &Host) -> Result<()> {
    super::enable(host, &format!("ceph-radosgw@rgw.{}", host.name()))
}

/// Whether a host's gateway answers, or what is said instead.
pub(super) fn answers(host: &Host) -> Result<std::result::Result<(), String>> {
    let url = format!("http://{}:{PORT}/", host.address());
    let output = host.run(&["curl", "--silent", "--show-error", "--fail", "--max-time", "5", &url])?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

/// Makes the client's user.
pub(super) fn make_user(admin: &Host) -> Result<()> {
    let (key, secret) = USER;
    admin.must(&[
        "radosgw-admin",
        "user",
        "create",
        "--uid",
        key,
        "--display-name",
        key,
        "--access-key",
        key,
        "--secret-key",
        secret,
    ])?;
    Ok(())
}
