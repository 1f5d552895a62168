//! The daemons of this host, by their data directories.

use crate::host::Host;
use replank_common::ceph::{CLUSTER, CephDaemon, CephKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Where a host says how its cluster is called, for the units of its daemons (ceph 10.2, systemd/ceph-osd@.service).
const NAMING: [&str; 2] = ["/etc/default/ceph", "/etc/sysconfig/ceph"];

/// What is called as data directories are, `<cluster>-<instance>`.
struct Data {
    path: PathBuf,
    cluster: String,
    /// `None`: no daemon of the kind is called so.
    daemon: Option<CephDaemon>,
}

fn data(host: &Host) -> impl Iterator<Item = Data> {
    CephKind::ALL.into_iter().flat_map(move |kind| {
        let directory = kind.directory();
        let entries = std::fs::read_dir(host.at(&directory)).into_iter().flatten();
        entries.filter_map(move |entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            // The name of the cluster may have no hyphen.
            let (cluster, instance) = name.split_once('-')?;
            let daemon = CephDaemon::of_instance(kind, instance);
            Some(Data { path: directory.join(&name), cluster: cluster.to_owned(), daemon })
        })
    })
}

/// The daemons that have a data directory on this host, in order.
pub fn daemons(host: &Host) -> Vec<CephDaemon> {
    let own = data(host).filter(|data| data.cluster == CLUSTER);
    let all: BTreeSet<CephDaemon> = own.filter_map(|data| data.daemon).collect();
    all.into_iter().collect()
}

/// What on this host is of a cluster of another name: a daemon's data, or what its units are told. The configuration of one whose client the host is says nothing of
/// its daemons.
pub fn other_clusters(host: &Host) -> BTreeMap<PathBuf, String> {
    let named = NAMING.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(host.at(path)).ok()?;
        let said = text.lines().filter_map(|line| line.trim().strip_prefix("CLUSTER=")).next_back()?;
        Some((PathBuf::from(path), said.trim_matches(['"', '\'']).to_owned()))
    });
    let data = data(host).filter(|data| data.daemon.is_some()).map(|data| (data.path, data.cluster));
    data.chain(named).filter(|(_, cluster)| cluster != CLUSTER).collect()
}

/// Directories that are called as data directories are, and by the name of no daemon: somebody's who would be left behind, or nobody's.
pub fn nobodys(host: &Host) -> BTreeSet<PathBuf> {
    let unknown = data(host).filter(|data| data.daemon.is_none() && host.at(&data.path).is_dir());
    unknown.map(|data| data.path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    fn texts(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
        paths.into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_cluster_of_another_name_is_told_by_its_daemons_and_not_by_its_clients() {
        let world = World::new();
        world.file("/etc/ceph/backup.conf", "[global]\n");
        world.file("/etc/default/ceph", "# CLUSTER=x\nCLUSTER=ceph\n");
        world.file("/var/lib/ceph/osd/ceph-3/type", "bluestore");
        assert!(other_clusters(&world.host).is_empty());
        world.file("/var/lib/ceph/osd/backup-3/type", "bluestore");
        world.file("/var/lib/ceph/radosgw/backup-rgw.zone/done", "");
        world.file("/etc/sysconfig/ceph", "CLUSTER=\"backup\"\n");
        let named = other_clusters(&world.host);
        assert!(named.values().all(|name| name == "backup"));
        assert_eq!(
            texts(named.into_keys()),
            ["/etc/sysconfig/ceph", "/var/lib/ceph/osd/backup-3", "/var/lib/ceph/radosgw/backup-rgw.zone"]
        );
        assert_eq!(daemons(&world.host), [CephDaemon::osd(3)]);
    }

    #[test]
    fn gateways_of_both_names_are_daemons_and_what_is_nobodys_is_told() {
        let world = World::new();
        for path in [
            "radosgw/ceph-rgw.zone/keyring",
            "radosgw/ceph-radosgw.gateway/keyring",
            "radosgw/ceph-gateway/keyring",
            "radosgw/ceph-gateway.conf",
            "osd/ceph-3.old/type",
            "osd/lost+found/x",
        ] {
            world.file(&format!("/var/lib/ceph/{path}"), "");
        }
        let names: Vec<String> = daemons(&world.host).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["rgw.radosgw.gateway", "rgw.zone"]);
        assert_eq!(
            texts(daemons(&world.host).iter().map(CephDaemon::data_directory)),
            ["/var/lib/ceph/radosgw/ceph-radosgw.gateway", "/var/lib/ceph/radosgw/ceph-rgw.zone"]
        );
        assert_eq!(
            texts(nobodys(&world.host)),
            ["/var/lib/ceph/osd/ceph-3.old", "/var/lib/ceph/radosgw/ceph-gateway"]
        );
    }
}
