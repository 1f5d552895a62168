//! The actions on Ceph, which this build of the agent refuses.

use super::answer::refusal;
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use replank_common::action::{CephConfig, CephFlags, CephRequire, CephRestart};
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;

macro_rules! refused {
    ($($action:ty)*) => {$(
        impl Perform for $action {
            fn check(&self, _: &Host) -> Result<Standing, Refusal> {
                Err(refusal(codes::CEPH_SILENT, "this build of the agent does nothing to Ceph", "take a newer agent"))
            }
            fn prepare(&self, _: &Host) -> Result<UndoRecord, Refusal> {
                Ok(UndoRecord::Nothing)
            }
            fn apply(&self, host: &Host, _: &UndoRecord, _: Progress<'_>) -> Result<Report, ActError> {
                self.check(host)?;
                Ok(Report::default())
            }
            fn verify(&self, _: &Host, _: &UndoRecord) -> Result<(), Failure> {
                Ok(())
            }
            fn undo(&self, _: &Host, _: &UndoRecord, _: Progress<'_>) -> Result<Report, ActError> {
                Ok(Report::default())
            }
        }
    )*};
}

refused! { CephFlags CephConfig CephRestart CephRequire }
