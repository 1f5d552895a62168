//! The agent's own word on whether daemons may stop (P10): asked of the cluster itself, right before the stop.
//!
//! The coordinator judged it before, with the whole fleet in view; the two know nothing of each other. Where the cluster does not answer, or its documents do not
//! tell enough, nothing stops.

use super::Host;
use super::answer::refusal;
use super::ceph_answer::ceph_refusal;
use crate::codes;
use crate::host::ceph::{Ceph, CephError};
use replank_ceph::OsdId;
use replank_ceph::quorum::{Machines, mon_objections};
use replank_ceph::redundancy::{Answer, Redundancy, StopSet, consents, show_objections};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::outcome::Refusal;
use replank_common::planted::{self, Planted};

const REMEDY: &str = "wait until the cluster is whole again and retry; `replank ceph safe-to-stop` tells the same from saved documents";

/// # Errors
/// A refusal with everything that objects, or because the cluster does not tell.
pub(super) fn may_stop(
    host: &Host,
    daemons: &[&CephDaemon],
    beside: &[u32],
    accepted: &[String],
) -> Result<(), Refusal> {
    let mut set = StopSet::default();
    for daemon in daemons {
        match daemon.kind {
            CephKind::Osd => set.osds.extend(daemon.osd_number().map(OsdId)),
            CephKind::Mon => drop(set.mons.insert(daemon.id.clone())),
            // Others stand by for them, and hold no data.
            CephKind::Mgr | CephKind::Mds | CephKind::Rgw => {}
        }
    }
    if (set.osds.is_empty() && set.mons.is_empty()) || planted::is(Planted::AgentAsksNoCluster) {
        return Ok(());
    }
    if !set.osds.is_empty() {
        set.osds.extend(beside.iter().copied().map(OsdId));
    }
    let objections = objections(host, &set, accepted).map_err(|error| ceph_refusal(&error))?;
    match objections {
        None => Ok(()),
        Some(why) => Err(refusal(codes::CEPH_MAY_NOT, why, REMEDY)),
    }
}

fn objections(host: &Host, set: &StopSet, accepted: &[String]) -> Result<Option<String>, CephError> {
    let ceph = Ceph::new(host);
    let quorum = ceph.quorum()?;
    let osds = ceph.osd_dump()?;
    if set.osds.is_empty() {
        let machines = Machines::new(&osds, None);
        let objections = mon_objections(&quorum, &machines, set);
        return Ok((!objections.is_empty()).then(|| show_objections(&objections)));
    }
    let pgs = ceph.pg_dump()?;
    let tree = ceph.osd_tree()?;
    let accepted = match consents(&osds, accepted) {
        Ok(accepted) => accepted,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let machines = Machines::new(&osds, Some(&tree));
    let verdict = Redundancy::new(&osds, &pgs, &accepted).judge(set, Some((&quorum, &machines)));
    Ok((verdict.answer != Answer::Safe).then(|| show_objections(&verdict.objections)))
}
