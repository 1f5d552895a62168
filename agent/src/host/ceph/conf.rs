//! What `ceph.conf` says on this host.

use crate::host::Host;
use crate::host::owners::Owner;
use replank_common::ceph::CephDaemon;
use replank_conf::{Dialect, Document, Found, Setting, Value};
use std::collections::BTreeMap;

pub const CONF: &str = "/etc/ceph/ceph.conf";

/// By section and key, underscores for the white space in it. What stands under a hyphened key is read by no daemon, and kept apart by that.
pub fn settings(bytes: &[u8]) -> BTreeMap<String, String> {
    let document = Document::parse(Dialect::Ceph, bytes);
    let one = |setting: Setting<'_>| {
        let words =
            |text: &[u8]| String::from_utf8_lossy(text).split_whitespace().collect::<Vec<_>>().join("_");
        let section = String::from_utf8_lossy(setting.section.unwrap_or_default()).into_owned();
        let value = match setting.found {
            Found::Value(Value::Text(text)) | Found::Computed(text) => text.clone(),
            Found::Value(value @ (Value::Integer(_) | Value::List(_))) => value.to_string(),
            Found::NotText(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        (format!("{section}/{}", words(setting.key)), value)
    };
    document.settings().map(one).collect()
}

/// The host's user `ceph`, which its packages make.
pub fn user(host: &Host) -> Option<Owner> {
    let passwd = std::fs::read_to_string(host.at("/etc/passwd")).ok()?;
    let line = passwd.lines().find(|line| line.starts_with("ceph:"))?;
    let mut fields = line.split(':').skip(2);
    Some(Owner { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// What `ceph.conf` says to the daemon of this key, its own section before its kind's and `[global]`. `None`: nothing.
///
/// # Errors
/// `ceph.conf` cannot be read.
pub(super) fn said_to(host: &Host, daemon: &CephDaemon, key: &str) -> std::io::Result<Option<String>> {
    let said = settings(&std::fs::read(host.at(CONF))?);
    let (kind, entity) = (daemon.kind.entity_type(), daemon.entity());
    let value =
        [entity.as_str(), kind, "global"].iter().find_map(|section| said.get(&format!("{section}/{key}")));
    Ok(value.cloned())
}

/// Whether a start of the daemon asks its own data directory whom it shall run as: `setuser match path` (ceph 10.2, src/global/global_init.cc).
///
/// # Errors
/// `ceph.conf` cannot be read.
pub fn is_matched(host: &Host, daemon: &CephDaemon) -> std::io::Result<bool> {
    let value = said_to(host, daemon, "setuser_match_path")?;
    Ok(value.is_some_and(|value| daemon.is_matched_by(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn keys_of_ceph_conf_are_told_by_their_section() {
        let conf =
            b"[global]\nfsid = 1-2\nauth client required = cephx\n\n[osd]\n\tosd max  backfills = 1 ; few\n\
            ; no = 1\nosd-op-threads = 9\n[ mon ]\nlost = 1\n[osd]\nosd_max_backfills = \"2\"\n";
        let read = settings(conf);
        let read: Vec<(&str, &str)> =
            read.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            read,
            [
                ("global/auth_client_required", "cephx"),
                ("global/fsid", "1-2"),
                ("osd/osd-op-threads", "9"),
                ("osd/osd_max_backfills", "2")
            ]
        );
    }

    #[test]
    fn who_is_matched_is_told_as_ceph_expands_it() {
        let world = World::new();
        let is = |name: &str| is_matched(&world.host, &name.parse().unwrap()).unwrap();
        assert!(is_matched(&world.host, &CephDaemon::osd(3)).is_err());
        world.file(CONF, "[osd]\nsetuser match path = /var/lib/ceph/$type/$cluster-$id\n[mon.a]\nsetuser_match_path = /var/lib/ceph/mon/ceph-b\n");
        assert!(is("osd.3") && is("osd.33"));
        assert!(!is("mon.a") && !is("mds.a"));
        world.file(CONF, "[global]\nsetuser match path = /var/lib/ceph/$type/$cluster-$id/\n");
        assert!(is("osd.3") && is("mds.a") && !is("rgw.a"));
        world.file(CONF, "[client.rgw.a]\nsetuser match path = /var/lib/ceph/radosgw/$cluster-$id\n[client.radosgw.b]\nsetuser match path = /var/lib/ceph/radosgw/ceph-radosgw.b\n");
        assert!(is("rgw.a") && is("rgw.radosgw.b") && !is("rgw.b"));
    }
}
