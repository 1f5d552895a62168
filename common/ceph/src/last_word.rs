//! The last word before a stop, said on the machine whose daemons are about to stop.
//!
//! The machines of one wave stop side by side, so at this instant OSDs of the others may be down, and the groups on those peer. That concerns the machines they are on: here only
//! the groups count that have a member among the daemons that stop here, judged as if all others of the wave were down too.

use crate::OsdId;
use crate::redundancy::{Answer, Objection, PgCause, Verdict};
use std::collections::BTreeSet;

/// Of the verdict on a whole wave, what concerns the machine on which `own` stop.
pub fn of_own(mut verdict: Verdict, own: &BTreeSet<OsdId>) -> Verdict {
    verdict.objections.retain(|objection| match objection {
        Objection::Pg(pg) => pg.stopping.iter().any(|osd| own.contains(osd)),
        Objection::OsdDown { .. }
        | Objection::OsdUnclear { .. }
        | Objection::OsdUnknown { .. }
        | Objection::OsdBeyondCut { .. }
        | Objection::PgsAbsent { .. }
        | Objection::PoolAbsent { .. }
        | Objection::PgNowhere { .. }
        | Objection::MapOlder { .. }
        | Objection::MonQuorum { .. }
        | Objection::MonHosts { .. }
        | Objection::MonUnclear { .. } => true,
    });
    verdict.answer = match verdict.objections.iter().any(Objection::certain) {
        true => Answer::NotSafe,
        false if verdict.objections.is_empty() => Answer::Safe,
        false => Answer::CannotTell,
    };
    verdict
}

/// Whether nothing objects but what is over in a moment by itself: groups that peer, and reports that have not come yet. Then it is worth asking again.
pub fn passes_by_itself(objections: &[Objection]) -> bool {
    let passes = |objection: &Objection| match objection {
        Objection::MapOlder { .. } => true,
        Objection::Pg(pg) => match pg.cause {
            PgCause::Unsettled
            | PgCause::Stale
            | PgCause::NoState
            | PgCause::ReportTooOld { .. }
            | PgCause::CopiesUnclear => true,
            PgCause::TooFew { .. }
            | PgCause::Damaged
            | PgCause::StrangeState
            | PgCause::NoMembers
            | PgCause::NoOsd { .. }
            | PgCause::NoPool
            | PgCause::PoolUnclear => false,
        },
        Objection::OsdDown { .. }
        | Objection::OsdUnclear { .. }
        | Objection::OsdUnknown { .. }
        | Objection::OsdBeyondCut { .. }
        | Objection::PgsAbsent { .. }
        | Objection::PoolAbsent { .. }
        | Objection::PgNowhere { .. }
        | Objection::MonQuorum { .. }
        | Objection::MonHosts { .. }
        | Objection::MonUnclear { .. } => false,
    };
    !objections.is_empty() && objections.iter().all(passes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{OsdDump, PgDump};
    use crate::redundancy::{Consents, Redundancy, StopSet};
    use serde_json::json;

    /// Two machines of one rack with an OSD each (0 and 1); each group has one of them, and OSDs 2 and 3 elsewhere.
    fn judged(own: u32, beside: &[u32], down: &[u32], states: [&str; 2]) -> Verdict {
        let osds: Vec<_> = (0..4)
            .map(|osd| {
                let up = !down.contains(&osd);
                json!({ "osd": osd, "up": u8::from(up), "in": 1, "weight": 1.0, "up_from": 5, "state": if up { vec!["exists", "up"] } else { vec!["exists"] },
                    "public_addr": format!("10.0.0.{osd}:6800/1") })
            })
            .collect();
        let pool = json!({ "pool": 1, "pool_name": "p", "type": 1, "size": 3, "min_size": 2, "pg_num": 2 });
        let map = json!({ "epoch": 9, "flags": "", "pools": [pool], "osds": osds });
        let groups: Vec<_> = [0, 1]
            .map(|osd| {
                let acting: Vec<u32> = [osd, 2, 3].into_iter().filter(|osd| !down.contains(osd)).collect();
                json!({ "pgid": format!("1.{osd}"), "state": states[osd as usize], "up": [osd, 2, 3], "acting": acting,
                    "reported_epoch": "9", "avail_no_missing": acting.iter().map(ToString::to_string).collect::<Vec<_>>() })
            })
            .into();
        let osds = OsdDump::read("map", map.to_string().as_bytes()).unwrap();
        let pgs = PgDump::read("groups", json!({ "pg_stats": groups }).to_string().as_bytes()).unwrap();
        let set =
            StopSet { osds: beside.iter().copied().chain([own]).map(OsdId).collect(), ..StopSet::default() };
        let verdict = Redundancy::new(&osds, &pgs, &Consents::default()).judge(&set, None);
        of_own(verdict, &[OsdId(own)].into())
    }

    #[test]
    fn groups_of_another_machine_of_the_wave_are_not_ours() {
        let clean = "active+clean";
        assert_eq!(judged(1, &[0], &[], [clean, clean]).answer, Answer::Safe);
        assert_eq!(judged(1, &[0], &[0], ["peering", clean]).answer, Answer::Safe);
        assert_eq!(judged(1, &[0], &[0], ["stale+active+clean", clean]).answer, Answer::Safe);
        // What is ours counts, and so does what is down outside the wave.
        let peers = judged(1, &[0], &[0], [clean, "peering"]);
        assert_eq!((peers.answer, passes_by_itself(&peers.objections)), (Answer::NotSafe, true));
        let alone = judged(1, &[], &[0], ["active+undersized+degraded", clean]);
        assert_eq!((alone.answer, passes_by_itself(&alone.objections)), (Answer::NotSafe, false));
        assert_eq!(judged(1, &[0], &[2], [clean, clean]).answer, Answer::NotSafe);
    }

    #[test]
    fn a_wave_that_is_too_wide_for_a_group_of_ours_is_refused_while_nothing_is_down_yet() {
        let verdict = judged(0, &[2], &[], ["active+clean", "active+clean"]);
        assert_eq!((verdict.answer, passes_by_itself(&verdict.objections)), (Answer::NotSafe, false));
    }
}
