//! `CephFlags`: set flags of the OSD map, for a while.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | nothing new | prepared again |
//! | some flags set | those set, their names in the record | `check` says ready: the others are set |
//! | all flags set | done | `check` says done; the record of the first time tells which are ours |
//! | undo: some unset | those unset | the others are unset |
//!
//! A flag that was set before is its owner's and is not in the record; one that he unsets before we are done is missing at `verify`, and the next attempt
//! records it as ours and sets it. Whether somebody else would also have set one of ours meanwhile cannot be told: a flag has no count, and setting it
//! says the same whether it was set or not. So one that he sets between our look and our own setting, or while it is borrowed, is given back with ours.

use super::answer::{change, foreign_record};
use super::ceph_answer::{ceph_failure, ceph_refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use crate::host::ceph::Ceph;
use replank_common::action::CephFlags;
use replank_common::ceph::CephFlag;
use replank_common::outcome::{Change, Refusal};
use replank_common::planted::{self, Planted};
use replank_common::undo::UndoRecord;
use std::collections::BTreeSet;

fn is_set(flags: &BTreeSet<String>, flag: CephFlag) -> bool {
    flags.contains(flag.as_str())
}

fn recorded(record: &UndoRecord) -> Result<&[CephFlag], ActError> {
    match record {
        UndoRecord::CephFlags { unset } => Ok(unset),
        _ => Err(foreign_record("ceph-flags")),
    }
}

fn told(flag: CephFlag, before: &str, after: &str) -> Change {
    change(format!("flag {flag} of the OSD map"), before, after)
}

impl Perform for CephFlags {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let map = Ceph::new(host).osd_dump().map_err(|error| ceph_refusal(&error))?;
        let done = self.flags.iter().all(|flag| is_set(&map.flags, *flag));
        Ok(if done { Standing::Done } else { Standing::Ready })
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let map = Ceph::new(host).osd_dump().map_err(|error| ceph_refusal(&error))?;
        let ours = |flag: &CephFlag| !is_set(&map.flags, *flag) || planted::is(Planted::EveryFlagIsOurs);
        Ok(UndoRecord::CephFlags { unset: self.flags.iter().copied().filter(ours).collect() })
    }

    fn apply(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let ceph = Ceph::new(host);
        let mut changes = Vec::new();
        for flag in recorded(record)? {
            ceph.tell(&["osd", "set", flag.as_str()]).map_err(|error| ceph_failure(&error))?;
            host.boundary.reached("ceph-flags: one flag set");
            changes.push(told(*flag, "not set", "set"));
        }
        Ok(Report { changes, findings: Vec::new() })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let map = Ceph::new(host).osd_dump().map_err(|error| ceph_failure(&error))?;
        match self.flags.iter().find(|flag| !is_set(&map.flags, **flag)) {
            None => Ok(()),
            Some(flag) => Err(super::answer::failure(
                codes::CEPH_DIFFERS,
                format!("the flag {flag} is not set"),
                "see `ceph osd dump | grep flags`, and who unsets it",
            )),
        }
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let ours = recorded(record)?;
        let ceph = Ceph::new(host);
        let map = ceph.osd_dump().map_err(|error| ceph_refusal(&error))?;
        let mut changes = Vec::new();
        for flag in ours.iter().filter(|flag| is_set(&map.flags, **flag)) {
            ceph.tell(&["osd", "unset", flag.as_str()]).map_err(|error| ceph_failure(&error))?;
            host.boundary.reached("ceph-flags: one flag unset");
            changes.push(told(*flag, "set", "not set"));
        }
        Ok(Report { changes, findings: Vec::new() })
    }
}
