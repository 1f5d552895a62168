//! Metadata servers, and the file system that they serve.

use serde_json::{Value, json};

use super::mons::Keys;
use super::pools;
use crate::error::Result;
use crate::host::Host;

/// The file system.
pub(super) const FILE_SYSTEM: &str = "shelf";
const POOLS: [&str; 2] = ["shelf-metadata", "shelf-data"];
const POOL_GROUPS: u32 = 8;
/// Before an MDS stops its sessions with managers that are gone must have closed: here sooner than after the usual 300 s.
const CLOSES_SESSIONS_AFTER_S: u32 = 120;

/// Gives a host's MDS its key.
pub(super) fn prepare(host: &Host, keys: &Keys) -> Result<()> {
    let name = host.name();
    keys.give(host, &format!("mds.{name}"), &format!("/var/lib/ceph/mds/ceph-{name}"))
}

/// Makes the file system, which waits for an MDS.
pub(super) fn make_file_system(admin: &Host) -> Result<()> {
    let [metadata, data] = POOLS;
    let pool = |name: &str| json!({"prefix": "osd pool create", "pool": name, "pg_num": POOL_GROUPS, "pgp_num": POOL_GROUPS});
    let made = json!({"prefix": "fs new", "fs_name": FILE_SYSTEM, "metadata": metadata, "data": data});
    let closes = json!({
        "prefix": "fs set", "fs_name": FILE_SYSTEM, "var": "session_autoclose", "val": CLOSES_SESSIONS_AFTER_S.to_string(),
    });
    pools::command_all(admin, &[pool(metadata), pool(data), made, closes])?;
    Ok(())
}

/// Starts a host's MDS.
pub(super) fn start(host: &Host) -> Result<()> {
    super::enable(host, &format!("ceph-mds@{}", host.name()))
}

/// Whether one of so many MDS serves the file system and the others stand by, or how they stand.
pub(super) fn is_served(map: &Value, mds: usize) -> std::result::Result<(), String> {
    let of = |list: &Value| -> Vec<String> {
        let each = list.as_object().map(|by_gid| by_gid.values().collect::<Vec<_>>());
        let each = each.or_else(|| list.as_array().map(|all| all.iter().collect())).unwrap_or_default();
        each.into_iter().map(|one| one["state"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let serving = of(&map["filesystems"][0]["mdsmap"]["info"]);
    let standing_by = of(&map["standbys"]);
    if serving == ["up:active"] && standing_by.len() + 1 == mds {
        return Ok(());
    }
    Err(format!("serving: {serving:?}, standing by: {standing_by:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_served_when_one_is_active_and_the_others_stand_by() {
        let map = |state: &str| {
            json!({
                "standbys": [{"name": "b", "state": "up:standby"}],
                "filesystems": [{"mdsmap": {"info": {"gid_4101": {"name": "a", "state": state}}}}],
            })
        };
        assert_eq!(is_served(&map("up:active"), 2), Ok(()));
        assert!(is_served(&map("up:active"), 3).is_err());
        assert!(is_served(&map("up:replay"), 2).unwrap_err().contains("up:replay"));
        assert!(is_served(&json!({"standbys": [], "filesystems": []}), 1).is_err());
    }
}
