//! What stands in the way of a voyage over a Ceph cluster: found in the inventory, before anything is changed. What cannot be told blocks.
//!
//! `cluster` looks at the whole cluster, `pools` at its redundancy, `daemons` at each daemon and its version, `hosts` at what lies on each host.

pub(in crate::plan) mod cluster;
pub(in crate::plan) mod daemons;
pub(in crate::plan) mod hosts;
pub(in crate::plan) mod pools;

use crate::codes;
use crate::inventory::Inventory;
use crate::plan::ceph::{Ground, Voyage};
use crate::plan::finding::About;
use crate::plan::preflight::{strangers, untouched_by};
use replank_common::finding::Finding;

/// Every finding: of the fleet file, of the cluster, then of hosts as the fleet file lists them.
pub(in crate::plan) fn survey(
    voyage: &Voyage<'_>,
    inventory: &Inventory,
    ground: Option<&Ground<'_>>,
) -> Vec<Finding> {
    let mut findings = voyage.findings();
    match ground {
        Some(ground) => {
            cluster::check(ground, &mut findings);
            pools::check(ground, &mut findings);
            daemons::check(ground, &mut findings);
        }
        None => findings.push(About::fleet(codes::CEPH_UNKNOWN, "cluster").blocks(
            "the inventory has nothing of the Ceph cluster: no host of ceph.admin could ask it",
            "see that the agent of a host in ceph.admin is linked and that `ceph -s` answers there, then take the inventory again",
        )),
    }
    for host in &voyage.fleet.hosts {
        if voyage.fleet.takes_part(host) {
            hosts::check(voyage, inventory, host, &mut findings);
        } else {
            findings.push(untouched_by(host, "a voyage over the cluster changes hosts with daemons of Ceph"));
        }
    }
    strangers(voyage.fleet, inventory, &mut findings);
    findings
}
