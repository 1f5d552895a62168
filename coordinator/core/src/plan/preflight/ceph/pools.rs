//! The redundancy of each pool: can it spare a copy while OSDs restart?

use crate::codes;
use crate::plan::ceph::Ground;
use crate::plan::finding::About;
use replank_ceph::redundancy::{Consents, Need, Thin};
use replank_ceph::seen::Cluster;
use replank_common::finding::Finding;
use std::collections::BTreeSet;

pub(super) fn check(ground: &Ground<'_>, findings: &mut Vec<Finding>) {
    can_spare(ground.cluster, &ground.consents, &ground.voyage.goal.consent, "ceph", findings);
}

/// `consent`: the names of the pools that the section `section` of the fleet file accepts; `consents` are those that exist.
pub(in crate::plan) fn can_spare(
    cluster: &Cluster,
    consents: &Consents,
    consent: &BTreeSet<String>,
    section: &str,
    findings: &mut Vec<Finding>,
) {
    for pool in cluster.osds.pools.values() {
        let subject = format!("pool {}", pool.name);
        let Some(need) = Need::of(pool, consents) else {
            findings.push(About::fleet(codes::CEPH_UNKNOWN, subject).blocks(
                "the OSD map does not say enough of it to tell how many copies it must keep",
                "look at `ceph osd pool ls detail` and at its erasure-code profile, then take the inventory again",
            ));
            continue;
        };
        let Need { keep, size, min_size, thin, consented } = need;
        if let Some(thin) = thin.filter(|_| !consented) {
            let cause = match thin {
                Thin::OneCopy => "it keeps one copy: whatever stops its OSD stops its clients",
                Thin::TwoCopies => {
                    "it keeps two copies: while one is stopped, the next broken disk loses data"
                }
                Thin::OneLoss => {
                    "its code mends one loss: while one shard is stopped, the next broken disk loses data"
                }
            };
            findings.push(About::fleet(codes::CEPH_THIN, subject).blocks(
                cause,
                format!(
                    "give it more copies (`ceph osd pool set {} size 3`), or accept it for the while: add \"{}\" to {section}.consent",
                    pool.name, pool.name
                ),
            ));
        } else if need.never() {
            findings.push(About::fleet(codes::CEPH_NEVER, subject).blocks(
                format!("of its {size} copies {keep} must stay (min_size is {min_size}): it can never spare one, and waiting does not help"),
                format!(
                    "lower its min_size for the while, or raise its size: `ceph osd pool set {} min_size {}`",
                    pool.name,
                    size.saturating_sub(1).max(1)
                ),
            ));
        } else if need.is_outage() {
            findings.push(About::fleet(codes::CEPH_THIN, subject).notes(
                "it keeps one copy and the fleet file accepts it: its clients stand still while its OSDs restart",
                "tell its users",
            ));
        }
    }
    for name in consent {
        if cluster.osds.pool(name).is_none() {
            let pools: Vec<String> = cluster.osds.pools.values().map(|pool| pool.name.clone()).collect();
            findings.push(About::fleet(codes::CEPH_CONSENT, format!("{section}.consent {name}")).blocks(
                "the cluster has no pool of that name",
                format!("remove it, or name one of: {}", super::cluster::few(&pools)),
            ));
        }
    }
}
