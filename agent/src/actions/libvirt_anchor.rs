//! `LibvirtAnchor`: remember the libvirtd that runs; on the way back, when all else has been given back, bring libvirtd in line again.
//!
//! The undo restarts a daemon unless it is the very process of the record, which has never been anything else, or one that this undo
//! started itself. The crash table is that of [`super::libvirt_watch`].

use super::answer::{foreign_record, refusal, systemd_refusal};
use super::libvirt_safe;
use super::libvirt_watch::{self, Restart};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::host::libvirt::{Libvirt, installed_version};
use crate::host::proc::ProcessId;
use replank_common::action::LibvirtAnchor;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use replank_common::version::Version;

const KIND: &str = "libvirt-anchor";

impl Perform for LibvirtAnchor {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        libvirt_watch::daemon(host, &self.unit)
            .map_err(|e| systemd_refusal(&e))?
            .map(|_| Standing::Ready)
            .ok_or_else(|| libvirt_safe::not_running(&self.unit))
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let daemon = libvirt_watch::daemon(host, &self.unit)
            .map_err(|e| systemd_refusal(&e))?
            .ok_or_else(|| libvirt_safe::not_running(&self.unit))?;
        let version = Libvirt::new(host).running_version().map_err(|error| {
            refusal(
                "RP5501",
                error.to_string(),
                "see whether `virsh version --daemon` answers on the host, then retry",
            )
        })?;
        Ok(UndoRecord::Libvirtd {
            pid: daemon.pid,
            start_ticks: daemon.start_ticks,
            version: version.as_str().to_owned(),
        })
    }

    fn apply(&self, _host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        Ok(Report::default())
    }

    fn verify(&self, _host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let UndoRecord::Libvirtd { pid, start_ticks, version } = record else {
            return Err(foreign_record(KIND));
        };
        let recorded = ProcessId { pid: *pid, start_ticks: *start_ticks };
        let expect = Version::new(version.clone());
        let boot_id = host.guests.census().boot_id;
        let files =
            |error: crate::host::files::FileError| ActError::Refused(super::answer::file_refusal(&error));
        let begun = libvirt_watch::begun(host, KIND, &self.unit, boot_id).map_err(files)?;
        let running = libvirt_watch::daemon(host, &self.unit).map_err(|e| systemd_refusal(&e))?;
        if let (Some(daemon), None) = (running, &begun)
            && (daemon == recorded
                || libvirt_watch::is_left_by(host, KIND, &self.unit, daemon).map_err(files)?)
        {
            return Ok(Report::default());
        }
        let on_disk = installed_version(host, &self.unit).map_err(|error| {
            refusal("RP5511", error, "see whether libvirt's packages are installed whole, then retry")
        })?;
        if on_disk != expect {
            return Err(ActError::Refused(refusal(
                "RP5511",
                format!("the installed libvirt is {on_disk}, and {expect} ran before"),
                "take the packages back first; libvirtd has not been touched",
            )));
        }
        // A stopped daemon cannot be asked about its guests; it is started in any case.
        if running.is_some() {
            libvirt_safe::safe_to_restart(host, &self.unit)?;
        }
        let (listening, silent): (Vec<String>, Vec<String>) = {
            let mut enabled = Vec::new();
            let mut disabled = Vec::new();
            for socket in &self.sockets {
                let status = host.systemd.status(socket).map_err(|e| systemd_refusal(&e))?;
                if status.file_state.starts_with("enabled") {
                    enabled.push(socket.clone());
                } else {
                    disabled.push(socket.clone());
                }
            }
            (enabled, disabled)
        };
        let restart =
            Restart { kind: KIND, unit: &self.unit, expect: &expect, listening: &listening, silent: &silent };
        libvirt_watch::carry_out(host, restart, progress)
    }
}
