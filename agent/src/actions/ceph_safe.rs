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
use replank_ceph::redundancy::{Answer, StopSet, show_objections};
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
    let objections = if set.osds.is_empty() {
        let machines = Machines::new(&ceph.osd_dump()?, None);
        mon_objections(&ceph.quorum()?, &machines, set)
    } else {
        match ceph.stop(set.osds.clone())?.judge(&set.osds, &set.mons, accepted) {
            Ok(verdict) if verdict.answer == Answer::Safe => Vec::new(),
            Ok(verdict) => verdict.objections,
            Err(error) => return Ok(Some(error.to_string())),
        }
    };
    Ok((!objections.is_empty()).then(|| show_objections(&objections)))
}
