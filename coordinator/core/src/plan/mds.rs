//! What a restart of an MDS waits for, whoever plans it.

use crate::gate::Gate;
use replank_ceph::seen::Cluster;
use replank_common::ids::HostName;

/// From an MDS that takes a rank over to a file system that is served again: clients have 45 s to reconnect (`mds_reconnect_timeout`), and do so in some
/// seconds. Milliseconds.
pub(super) const MDS_SETTLES_MS: u64 = 15_000;

/// The gates before and after the restart of these MDS. `running`: how many there are. Where no MDS is left to take a rank over, nobody is waited for who
/// would, and the preflight says so ([`nobody_stands_by`]); the MDS itself comes back to its rank then, and waits as long for sessions that managers left.
pub(super) fn gates(cluster: &Cluster, running: usize, mds: Vec<String>, via: &HostName) -> (Gate, Gate) {
    let alone = nobody_stands_by(cluster, running);
    (Gate::MdsMayStop { mds: mds.clone(), alone, via: via.clone() }, Gate::MdsBack { mds, via: via.clone() })
}

/// Every MDS holds a rank. Where it is not known who does, one is taken to.
pub(super) fn nobody_stands_by(cluster: &Cluster, running: usize) -> bool {
    let ranks = match &cluster.filesystems {
        Some(all) => all.iter().map(|one| one.ranks.len()).sum(),
        None => 1,
    };
    ranks > 0 && running <= ranks
}
