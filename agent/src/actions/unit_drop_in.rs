//! `UnitDropIn`: a drop-in of replank's own for a unit, and a reload of systemd's configuration.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | nothing new | prepared again |
//! | directory made, file written | the drop-in on disk, systemd not told | `check` says half: `apply` reloads |
//! | systemd reloaded | the drop-in in force for the next start of the unit | `check` says done |
//! | undo: file removed | gone on disk, systemd not told | undo reloads in any case |

use super::answer::{failure, file_refusal, refusal, systemd_failure, systemd_refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, file_write, unit_links};
use crate::codes;
use replank_common::action::{FileWrite, UnitDropIn};
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use std::path::{Path, PathBuf};

fn path(action: &UnitDropIn) -> PathBuf {
    Path::new(unit_links::SYSTEM)
        .join(format!("{}.d", action.unit))
        .join(format!("replank-{}.conf", action.name))
}

fn file(action: &UnitDropIn) -> FileWrite {
    FileWrite { path: path(action), contents: action.contents.clone(), mode: 0o644, replace: false }
}

impl Perform for UnitDropIn {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        if !file_write::is_there(host, &file(self)).map_err(|e| file_refusal(&e))? {
            // Nobody else has files of this name; what is there under it was left by another run.
            return file(self).check(host);
        }
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_refusal(&e))?;
        Ok(if status.drop_ins.contains(&path(self)) && !status.needs_reload {
            Standing::Done
        } else {
            Standing::Half
        })
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_refusal(&e))?;
        if !status.exists() {
            return Err(refusal(
                codes::UNIT_UNFIT,
                format!("there is no unit `{}`", self.unit),
                "correct the unit's name in the plan's catalog, or install what brings it",
            ));
        }
        file(self).prepare(host)
    }

    fn apply(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let report = file(self).apply(host, record, progress)?;
        host.boundary.reached("unit-drop-in: written");
        host.systemd.reload().map_err(|e| systemd_failure(&e))?;
        host.boundary.reached("unit-drop-in: reloaded");
        Ok(report)
    }

    fn verify(&self, host: &Host, record: &UndoRecord) -> Result<(), Failure> {
        file(self).verify(host, record)?;
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_failure(&e))?;
        if status.drop_ins.contains(&path(self)) {
            return Ok(());
        }
        Err(failure(
            codes::UNIT_DIFFERS,
            format!("systemd does not read {} for `{}`", path(self).display(), self.unit),
            "see `systemctl cat` of the unit on the host",
        ))
    }

    fn undo(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let report = file(self).undo(host, record, progress)?;
        host.boundary.reached("unit-drop-in: given back");
        host.systemd.reload().map_err(|e| ActError::Failed(systemd_failure(&e)))?;
        Ok(report)
    }
}
