//! Keys of everybody, and monitors.

use uuid::Uuid;

use super::Cluster;
use super::mds::FILE_SYSTEM;
use super::pools::{CODED_POOL, POOL};
use crate::error::{LabError, Result};
use crate::host::Host;

/// All keys of a cluster, as one keyring.
#[derive(Debug)]
pub(super) struct Keys {
    text: String,
}

impl Keys {
    /// The whole keyring, for the monitors' first store.
    fn all(&self) -> &str {
        &self.text
    }

    /// The keyring of one entity alone, without what it may do: only the monitors are asked that.
    pub(super) fn of(&self, entity: &str) -> Result<String> {
        let head = format!("[{entity}]");
        let mut lines = self.text.lines().skip_while(|line| line.trim() != head).skip(1);
        let key = lines
            .by_ref()
            .take_while(|line| !line.starts_with('['))
            .find(|line| line.trim().starts_with("key"));
        let key =
            key.ok_or_else(|| LabError::Refused(format!("the new cluster's keyring has no `{entity}`")))?;
        Ok(format!("{head}\n{key}\n"))
    }

    /// Makes a daemon's data directory, with its key in it.
    pub(super) fn give(&self, host: &Host, entity: &str, directory: &str) -> Result<()> {
        host.write(&format!("{directory}/keyring"), self.of(entity)?.as_bytes(), 0o600)?;
        host.sh(&format!("chown -R ceph:ceph {directory}"))?;
        Ok(())
    }
}

/// Makes a key for every daemon and client, with what it may do.
pub(super) fn make_keys(host: &Host, of: &Cluster) -> Result<Keys> {
    let data = format!(
        "profile rbd pool={POOL}, profile rbd pool={CODED_POOL}, allow rw tag cephfs data={FILE_SYSTEM}"
    );
    let mut entities: Vec<(String, Vec<(&str, &str)>)> = vec![
        ("mon.".to_owned(), vec![("mon", "allow *")]),
        (
            "client.admin".to_owned(),
            vec![("mon", "allow *"), ("osd", "allow *"), ("mds", "allow *"), ("mgr", "allow *")],
        ),
        (
            "client.writer".to_owned(),
            vec![("mon", "profile rbd, allow r"), ("osd", &data), ("mds", "allow rw")],
        ),
    ];
    let of_mgr = vec![("mon", "allow profile mgr"), ("osd", "allow *"), ("mds", "allow *")];
    entities.extend(of.hosts.iter().map(|host| (format!("mgr.{}", host.name()), of_mgr.clone())));
    let of_osd = vec![("mon", "allow profile osd"), ("mgr", "allow profile osd"), ("osd", "allow *")];
    entities.extend(of.osds.iter().map(|osd| (format!("osd.{}", osd.id), of_osd.clone())));
    let of_mds = vec![
        ("mon", "allow profile mds"),
        ("mgr", "allow profile mds"),
        ("osd", "allow rwx"),
        ("mds", "allow *"),
    ];
    let mds = of.hosts.iter().filter(|host| of.has_mds(host));
    entities.extend(mds.map(|host| (format!("mds.{}", host.name()), of_mds.clone())));
    let of_gateway = vec![("mon", "allow rw"), ("mgr", "allow rw"), ("osd", "allow rwx")];
    entities.extend(of.gateways().map(|host| (format!("client.rgw.{}", host.name()), of_gateway.clone())));

    let mut script = "cd \"$(mktemp -d)\"; ceph-authtool --create-keyring all >/dev/null\n".to_owned();
    for (entity, caps) in entities {
        let caps: String = caps.iter().map(|(kind, what)| format!(" --cap {kind} '{what}'")).collect();
        script.push_str(&format!("ceph-authtool all --gen-key --name {entity}{caps} >/dev/null\n"));
    }
    script.push_str("cat all");
    Ok(Keys { text: host.sh(&script)? })
}

/// The first map of the monitors, in the format of their tools. It names both protocols' addresses.
pub(super) fn make_map(host: &Host, fsid: Uuid, hosts: &[Host]) -> Result<Vec<u8>> {
    let path = "/run/first-monmap";
    let monitors: String = hosts
        .iter()
        .map(|host| {
            let (name, address) = (host.name(), host.address());
            format!(" --addv {name} '[v2:{address}:3300,v1:{address}:6789]'")
        })
        .collect();
    host.sh(&format!("monmaptool --create --clobber --fsid {fsid}{monitors} {path} >/dev/null"))?;
    host.read(path)
}

/// Makes the store of a host's monitor, with everybody's keys in it, and starts it.
pub(super) fn start(host: &Host, map: &[u8], keys: &Keys) -> Result<()> {
    let name = host.name();
    host.write("/run/first/monmap", map, 0o644)?;
    host.write("/run/first/keyring", keys.all().as_bytes(), 0o600)?;
    host.sh(&format!(
        "chown -R ceph:ceph /run/first
         install -d -o ceph -g ceph /var/lib/ceph/mon/ceph-{name}
         ceph-mon --mkfs -i {name} --monmap /run/first/monmap --keyring /run/first/keyring --setuser ceph --setgroup ceph
         rm -r /run/first
         systemctl enable --quiet --now ceph-mon@{name}"
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_of_one_has_its_key_and_no_other() {
        let text =
            "[mon.]\n\tkey = AAA=\n\tcaps mon = \"allow *\"\n[osd.1]\n\tkey = BBB=\n[osd.10]\n\tkey = CCC=\n";
        let keys = Keys { text: text.to_owned() };
        assert_eq!(keys.of("osd.1").unwrap(), "[osd.1]\n\tkey = BBB=\n");
        assert!(keys.of("osd.2").is_err());
    }
}
