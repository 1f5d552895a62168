//! The agent's own word on whether daemons may stop (P10): asked of the cluster itself, right before the stop.
//!
//! The coordinator judged it before, with the whole fleet in view; the two know nothing of each other. Where the cluster does not answer, or its documents do not
//! tell enough, nothing stops. What passes by itself (groups that peer, reports that are on their way) is waited for a while; everything else is refused at once.

use super::answer::refusal;
use super::ceph_answer::ceph_refusal;
use super::{Host, Progress};
use crate::codes;
use crate::host::ceph::{Ceph, CephError};
use replank_ceph::OsdId;
use replank_ceph::last_word;
use replank_ceph::quorum::{Machines, mon_objections};
use replank_ceph::redundancy::{Answer, StopSet, objections_in_a_line};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::outcome::Refusal;
use replank_common::planted::{self, Planted};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const REMEDY: &str = "wait until the cluster is whole again and retry; `replank ceph safe-to-stop` tells the same from saved documents";
/// Between two questions while something passes by itself; the MONs hear of groups every 5 s.
const AGAIN: Duration = Duration::from_secs(2);

/// Why not.
struct Objected {
    why: String,
    passes: bool,
}

/// What is asked beside the daemons themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// OSDs of other hosts that may be down at the same time.
    pub(super) beside: &'a [u32],
    pub(super) consents: &'a [String],
    /// How long what passes by itself is waited for.
    pub(super) patience: Duration,
}

/// Waits at most as long as a start may take, which is how long groups peer that others of the wave, or an earlier try, have left.
///
/// # Errors
/// A refusal with everything that objects, or because the cluster does not tell.
pub(super) fn may_stop(
    host: &Host,
    of: Asked<'_>,
    daemons: &[&CephDaemon],
    progress: Progress<'_>,
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
    let begun = Instant::now();
    loop {
        match objection(host, of, &set).map_err(|error| ceph_refusal(&error))? {
            None => return Ok(()),
            Some(objected) if objected.passes && begun.elapsed() < of.patience => {
                progress(None, &format!("waiting until they may stop: {}", objected.why));
                std::thread::sleep(AGAIN);
            }
            Some(objected) => return Err(refusal(codes::CEPH_MAY_NOT, objected.why, REMEDY)),
        }
    }
}

fn objection(host: &Host, of: Asked<'_>, own: &StopSet) -> Result<Option<Objected>, CephError> {
    let ceph = Ceph::new(host);
    if own.osds.is_empty() {
        let machines = Machines::new(&ceph.osd_dump()?, None);
        let objections = mon_objections(&ceph.quorum()?, &machines, own);
        let why = || Objected { why: objections_in_a_line(&objections), passes: false };
        return Ok((!objections.is_empty()).then(why));
    }
    let all: BTreeSet<OsdId> = own.osds.iter().copied().chain(of.beside.iter().copied().map(OsdId)).collect();
    let verdict = match ceph.stop(all.clone())?.judge(&all, &own.mons, of.consents) {
        Ok(verdict) => last_word::of_own(verdict, &own.osds),
        Err(error) => return Ok(Some(Objected { why: error.to_string(), passes: false })),
    };
    let why = || Objected {
        why: objections_in_a_line(&verdict.objections),
        passes: last_word::passes_by_itself(&verdict.objections),
    };
    Ok((verdict.answer != Answer::Safe).then(why))
}
