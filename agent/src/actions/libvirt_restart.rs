//! `LibvirtRestart`: one restart of libvirtd, every guest under watch. The crash table is that of [`super::libvirt_watch`].
//!
//! There is nothing to give back here: on the way back the anchor's undo, which comes last, restarts the daemon again.

use super::answer::{failure, file_refusal, refusal, systemd_failure, systemd_refusal};
use super::libvirt_safe;
use super::libvirt_watch::{self, Restart};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::host::libvirt::{Libvirt, installed_version};
use crate::host::proc;
use replank_common::action::LibvirtRestart;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;

const KIND: &str = "libvirt-restart";

fn restart(action: &LibvirtRestart) -> Restart<'_> {
    Restart {
        kind: KIND,
        unit: &action.unit,
        expect: &action.expect,
        listening: &action.sockets,
        silent: &[],
    }
}

impl Perform for LibvirtRestart {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let boot_id = host.guests.census().boot_id;
        let begun = libvirt_watch::begun(host, KIND, &self.unit, boot_id).map_err(|e| file_refusal(&e))?;
        let Some(daemon) = libvirt_watch::daemon(host, &self.unit).map_err(|e| systemd_refusal(&e))? else {
            return if begun.is_some() {
                Ok(Standing::Half)
            } else {
                Err(libvirt_safe::not_running(&self.unit))
            };
        };
        if begun.is_none() && self.is_done(host, daemon)? {
            return Ok(Standing::Done);
        }
        let on_disk = installed_version(host, &self.unit).map_err(|error| {
            refusal("RP5511", error, "see whether libvirt's packages are installed whole, then retry")
        })?;
        if on_disk != self.expect {
            return Err(refusal(
                "RP5511",
                format!("the installed libvirt is {on_disk} and not {}", self.expect),
                "see whether the packages of the plan are installed; the fleet file must name the version that they bring",
            ));
        }
        libvirt_safe::safe_to_restart(host, &self.unit)?;
        Ok(if begun.is_some() { Standing::Half } else { Standing::Ready })
    }

    fn prepare(&self, _host: &Host) -> Result<UndoRecord, Refusal> {
        Ok(UndoRecord::Nothing)
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        libvirt_watch::carry_out(host, restart(self), progress)
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let remedy = "see `systemctl status` of the unit and its sockets on the host";
        let running = Libvirt::new(host)
            .running_version()
            .map_err(|error| failure("RP5501", error.to_string(), remedy))?;
        if running != self.expect {
            return Err(failure("RP5508", format!("libvirtd is {running} and not {}", self.expect), remedy));
        }
        for socket in &self.sockets {
            let status = host.systemd.status(socket).map_err(|e| systemd_failure(&e))?;
            if !status.is_active() {
                let state = &status.active_state;
                return Err(failure("RP5515", format!("`{socket}` is {state} and does not listen"), remedy));
            }
        }
        Ok(())
    }

    fn undo(&self, _host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        Ok(Report::default())
    }
}

trait Current {
    fn is_done(&self, host: &Host, daemon: proc::ProcessId) -> Result<bool, Refusal>;
}

impl Current for LibvirtRestart {
    /// The daemon is the one on disk, read its configuration when it was as it is now, and listens where it must.
    fn is_done(&self, host: &Host, daemon: proc::ProcessId) -> Result<bool, Refusal> {
        if libvirt_watch::is_left_by(host, KIND, &self.unit, daemon).map_err(|e| file_refusal(&e))? {
            return Ok(self.verify(host, &UndoRecord::Nothing).is_ok());
        }
        Ok(false)
    }
}
