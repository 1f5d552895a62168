//! `UnitMask`: mask a unit, and stop nothing.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | nothing new | prepared again |
//! | systemd made the link | masked on disk, systemd not told | `check` says half: `apply` reloads |
//! | systemd reloaded | masked | `check` says done |
//! | undo: link given back | unmasked on disk, systemd not told | undo reloads in any case |

use super::answer::{change, failure, file_refusal, refusal, systemd_failure, systemd_refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, unit_links};
use crate::codes;
use crate::host::files;
use replank_common::action::UnitMask;
use replank_common::outcome::Refusal;
use replank_common::undo::{FileBefore, UndoRecord};
use std::path::{Path, PathBuf};

const NOWHERE: &str = "/dev/null";

fn link(action: &UnitMask) -> PathBuf {
    Path::new(if action.runtime { unit_links::RUNTIME } else { unit_links::SYSTEM }).join(&action.unit)
}

impl Perform for UnitMask {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_refusal(&e))?;
        match files::look(host, &link(self)).map_err(|e| file_refusal(&e))? {
            FileBefore::Symlink { target } if target == Path::new(NOWHERE) => {
                Ok(if status.load_state == "masked" { Standing::Done } else { Standing::Half })
            }
            FileBefore::Absent => Ok(Standing::Ready),
            FileBefore::File { .. } | FileBefore::Symlink { .. } => Err(refusal(
                codes::UNIT_LINK,
                format!(
                    "{} is there already: `{}` cannot be masked over it",
                    link(self).display(),
                    self.unit
                ),
                "move the administrator's own unit file away, then retry",
            )),
        }
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_refusal(&e))?;
        let links = [(link(self), Some(PathBuf::from(NOWHERE)))];
        unit_links::record(host, &status, &links).map(UndoRecord::Unit).map_err(|e| file_refusal(&e))
    }

    fn apply(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        host.systemd.mask(&self.unit, self.runtime).map_err(|e| systemd_failure(&e))?;
        host.boundary.reached("unit-mask: link made");
        host.systemd.reload().map_err(|e| systemd_failure(&e))?;
        host.boundary.reached("unit-mask: reloaded");
        let before = match record {
            UndoRecord::Unit(before) if !before.file_state.is_empty() => before.file_state.clone(),
            _ => "no unit file".to_owned(),
        };
        Ok(Report {
            changes: vec![change(format!("unit {}", self.unit), before, "masked")],
            findings: Vec::new(),
        })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_failure(&e))?;
        if status.load_state == "masked" || status.file_state.starts_with("masked") {
            return Ok(());
        }
        Err(failure(
            codes::UNIT_DIFFERS,
            format!("`{}` is {} and not masked", self.unit, status.load_state),
            "see `systemctl status` of the unit on the host",
        ))
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        unit_links::give_back(host, "unit-mask", record)
    }
}
