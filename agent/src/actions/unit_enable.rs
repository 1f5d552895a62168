//! `UnitEnable`: enable or disable a unit for the next boot; starts and stops nothing.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | nothing new | prepared again |
//! | systemd changed the links | as wanted on disk, systemd not told | `check` says done: what is enabled is read from the links |
//! | systemd reloaded | as wanted | `check` says done |
//! | undo: links given back | as before on disk, systemd not told | undo reloads in any case |

use super::answer::{change, failure, file_refusal, refusal, systemd_failure, systemd_refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, unit_links};
use crate::codes;
use crate::host::systemd::LinkChange;
use replank_common::action::UnitEnable;
use replank_common::outcome::Refusal;
use replank_common::undo::{UndoRecord, UnitBefore};
use std::path::PathBuf;

fn word(enable: bool) -> &'static str {
    if enable { "enabled" } else { "disabled" }
}

/// Links that systemd changed and the record does not know. `Alias` targets that already were right are not reported by
/// systemd, so this direction is the only one to look at.
fn unforeseen<'a>(changed: &'a [LinkChange], record: &UnitBefore) -> Option<&'a LinkChange> {
    changed
        .iter()
        .filter(|link| link.kind == "symlink" || link.kind == "unlink")
        .find(|link| record.links.iter().all(|known| known.path != link.path))
}

impl Perform for UnitEnable {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_refusal(&e))?;
        match status.file_state.as_str() {
            "enabled" if self.enable => Ok(Standing::Done),
            "disabled" if !self.enable => Ok(Standing::Done),
            "enabled" | "disabled" | "enabled-runtime" | "indirect" | "linked" | "alias" => {
                Ok(Standing::Ready)
            }
            _ if !status.exists() || status.file_state.is_empty() => Err(refusal(
                codes::UNIT_UNFIT,
                format!("there is no unit file for `{}`", self.unit),
                "install the package that brings the unit, or correct its name in the plan's catalog",
            )),
            other => Err(refusal(
                codes::UNIT_UNFIT,
                format!("`{}` is {other}: it cannot be {}", self.unit, word(self.enable)),
                "unmask the unit, or leave it out",
            )),
        }
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let units = unit_links::with_also(host, &self.unit).map_err(|e| systemd_refusal(&e))?;
        let status = units.iter().find(|status| status.name == self.unit).cloned().unwrap_or_default();
        let mut links: Vec<(PathBuf, Option<PathBuf>)> = Vec::new();
        if self.enable {
            links.extend(
                unit_links::made_by_enabling(host, &units)
                    .into_iter()
                    .map(|(path, target)| (path, Some(target))),
            );
        } else {
            links.extend(unit_links::present(host, &units).into_iter().map(|path| (path, None)));
        }
        unit_links::record(host, &status, &links).map(UndoRecord::Unit).map_err(|e| file_refusal(&e))
    }

    fn apply(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let changed =
            if self.enable { host.systemd.enable(&self.unit) } else { host.systemd.disable(&self.unit) };
        let changed = changed.map_err(|e| systemd_failure(&e))?;
        host.boundary.reached("unit-enable: links changed");
        host.systemd.reload().map_err(|e| systemd_failure(&e))?;
        host.boundary.reached("unit-enable: reloaded");
        let UndoRecord::Unit(before) = record else {
            return Ok(Report::default());
        };
        if let Some(link) = unforeseen(&changed, before) {
            return Err(failure(
                codes::UNIT_LINK,
                format!("systemd changed {}, which the undo record does not know", link.path.display()),
                format!(
                    "note the link, roll the step back, and put the link back with systemctl on `{}`",
                    self.unit
                ),
            )
            .into());
        }
        Ok(Report {
            changes: vec![change(
                format!("unit {}", self.unit),
                before.file_state.clone(),
                word(self.enable),
            )],
            findings: Vec::new(),
        })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let status = host.systemd.status(&self.unit).map_err(|e| systemd_failure(&e))?;
        // A unit without links of its own to remove stays `indirect` or `static` when disabled.
        let as_wanted =
            if self.enable { status.file_state == "enabled" } else { status.file_state != "enabled" };
        if as_wanted {
            return Ok(());
        }
        Err(failure(
            codes::UNIT_DIFFERS,
            format!("`{}` is {} and not {}", self.unit, status.file_state, word(self.enable)),
            "see `systemctl is-enabled` of the unit on the host",
        ))
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        unit_links::give_back(host, "unit-enable", record)
    }
}
