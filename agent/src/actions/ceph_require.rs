//! `CephRequire`: have the cluster require something of every OSD, for good (P8).
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | nothing new | prepared again |
//! | required | done | `check` says done |
//!
//! The MONs themselves look at the OSDs that are *up* only. One that is down meanwhile, and older, could never come back: so every OSD that exists is looked at
//! here. There is nothing to take back.

use super::answer::{change, failure, refusal};
use super::ceph_answer::{ceph_failure, ceph_refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use crate::host::ceph::{Ceph, CephError};
use replank_ceph::require::{is_required, second_messenger, too_old};
use replank_common::action::CephRequire;
use replank_common::ceph::Requirement;
use replank_common::outcome::Refusal;
use replank_common::planted::{self, Planted};
use replank_common::undo::UndoRecord;

fn is_done(what: &Requirement, host: &Host) -> Result<bool, CephError> {
    let ceph = Ceph::new(host);
    match what {
        Requirement::EnableMsgr2 => {
            let mons = second_messenger(&ceph.ask(&["mon", "dump"])?);
            Ok(mons.is_some_and(|mons| mons.into_values().all(|has| has)))
        }
        Requirement::SortBitwise | Requirement::RequireJewelOsds | Requirement::RequireOsdRelease { .. } => {
            Ok(is_required(what, &ceph.osd_dump()?))
        }
    }
}

impl Perform for CephRequire {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        if is_done(&self.what, host).map_err(|error| ceph_refusal(&error))? {
            return Ok(Standing::Done);
        }
        let ceph = Ceph::new(host);
        let osds = ceph.osd_dump().map_err(|error| ceph_refusal(&error))?;
        // The MONs of Luminous insist on it; those of Jewel take the flags in any order, and then sortbitwise would come as a second blip of every group.
        let after_bitwise =
            matches!(self.what, Requirement::RequireJewelOsds | Requirement::RequireOsdRelease { .. });
        if after_bitwise && !is_required(&Requirement::SortBitwise, &osds) {
            return Err(refusal(
                codes::CEPH_ORDER,
                format!("{} comes after sortbitwise, which is not set", self.what),
                "require sortbitwise first: the catalog's hop has it before; then retry",
            ));
        }
        let metadata = ceph.osd_metadata(&osds).map_err(|error| ceph_refusal(&error))?;
        let old = too_old(&self.what, &osds, &metadata);
        if let Some(first) = old.first().filter(|_| !planted::is(Planted::OldOsdsAreLeftBehind)) {
            let more = match old.len() {
                1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            return Err(refusal(
                codes::CEPH_OLD_OSD,
                format!("{} would shut out OSDs for good: {first}{more}", self.what),
                "bring every OSD that exists to the new release, or purge those that will never come back; then retry",
            ));
        }
        Ok(Standing::Ready)
    }

    fn prepare(&self, _host: &Host) -> Result<UndoRecord, Refusal> {
        Ok(UndoRecord::Nothing)
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let ceph = Ceph::new(host);
        let told = match &self.what {
            Requirement::SortBitwise => ceph.tell(&["osd", "set", "sortbitwise"]),
            Requirement::RequireJewelOsds => ceph.tell(&["osd", "set", "require_jewel_osds"]),
            Requirement::RequireOsdRelease { release } => ceph.tell(&["osd", "require-osd-release", release]),
            Requirement::EnableMsgr2 => ceph.tell(&["mon", "enable-msgr2"]),
        };
        told.map_err(|error| ceph_failure(&error))?;
        host.boundary.reached("ceph-require: required");
        Ok(Report {
            changes: vec![change(self.what.to_string(), "not required", "required")],
            findings: Vec::new(),
        })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        if is_done(&self.what, host).map_err(|error| ceph_failure(&error))? {
            return Ok(());
        }
        Err(failure(
            codes::CEPH_DIFFERS,
            format!("{} was asked for, and the map does not show it", self.what),
            "see `ceph osd dump` and the MONs' log",
        ))
    }

    fn undo(&self, _host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        Ok(Report::default())
    }
}
