//! What is looked at before libvirtd is restarted: everything known that makes a starting libvirtd kill or forget a guest.

use super::answer::{refusal, refuse_if_blocked, systemd_refusal};
use crate::host::libvirt::{Libvirt, hooks};
use crate::host::{Host, space};
use replank_common::finding::{Finding, Severity};
use replank_common::outcome::Refusal;
use std::path::Path;

/// Status files are written below `/run`; a write that fails there makes libvirtd kill the guest.
const RUN_SPARE_BYTES: u64 = 16 << 20;
const RUN_SPARE_INODES: u64 = 1024;

/// Everything known that would make a starting libvirtd kill or forget a guest.
///
/// # Errors
/// The refusal names all of it.
pub(super) fn safe_to_restart(host: &Host, unit: &str) -> Result<(), Refusal> {
    let mut found = Vec::new();
    let mut block = |code: &'static str, subject: String, cause: String, remedy: &str| {
        found.push(Finding {
            code: code.to_owned(),
            host: Some(host.name.clone()),
            severity: Severity::Blocks,
            subject,
            cause,
            remedy: remedy.to_owned(),
        });
    };
    let status = host.systemd.status(unit).map_err(|e| systemd_refusal(&e))?;
    if status.kill_mode.as_deref() != Some("process") {
        block(
            "RP5503",
            unit.to_owned(),
            format!(
                "its KillMode is {}: stopping it would end guests",
                status.kill_mode.as_deref().unwrap_or("not told")
            ),
            "remove the drop-in that changes KillMode",
        );
    }
    for disagreement in &host.guests.census().disagreements {
        block(
            "RP5504",
            "the census".to_owned(),
            disagreement.to_string(),
            "see `virsh list --all` and the status files on the host; nothing is repaired by itself",
        );
    }
    match Libvirt::new(host).jobs() {
        Ok(jobs) => {
            for (guest, job) in jobs {
                block(
                    "RP5505",
                    format!("guest {guest}"),
                    format!("{job} is in flight"),
                    "let the job end, then retry",
                );
            }
        }
        Err(error) => block(
            "RP5501",
            "libvirtd".to_owned(),
            format!("jobs of guests cannot be told: {error}"),
            "see whether `virsh list` and `virsh domjobinfo` answer on the host",
        ),
    }
    match Libvirt::new(host).autostarted() {
        // The census of this moment: what was told when the plan was made may have ended since.
        Ok(names) => {
            let active = host.guests.census().guests;
            for name in names.iter().filter(|name| !active.values().any(|guest| guest.name == **name)) {
                block(
                    "RP5516",
                    format!("domain {name}"),
                    "it is flagged autostart and does not run: a starting libvirtd starts it".to_owned(),
                    "start it, or take the flag away (`virsh autostart --disable`), then retry; see first that it runs on no other \
                     host",
                );
            }
        }
        Err(error) => block(
            "RP5501",
            "libvirtd".to_owned(),
            format!("which domains it would start cannot be told: {error}"),
            "see whether `virsh list --all --autostart` answers on the host",
        ),
    }
    match space::of(host, Path::new("/run")) {
        Ok(run)
            if !run.read_only
                && run.available_bytes >= RUN_SPARE_BYTES
                && run.free_inodes >= RUN_SPARE_INODES => {}
        Ok(run) => block(
            "RP5506",
            "/run".to_owned(),
            format!("{} KiB are free there, read-only: {}", run.available_bytes >> 10, run.read_only),
            "make room in /run: a guest whose status cannot be saved is killed by libvirtd",
        ),
        Err(error) => block("RP5506", "/run".to_owned(), error.to_string(), "see whether /run is mounted"),
    }
    for hook in hooks::try_reconnect(host).into_iter().filter(hooks::Hook::kills) {
        let said = match hook.fact.reconnect_exit {
            Some(code) => format!("it answers {code} to `reconnect`: {}", hook.fact.detail),
            None => format!("it gives no answer to `reconnect`: {}", hook.fact.detail),
        };
        block(
            "RP5507",
            hook.fact.path.display().to_string(),
            said,
            "make the hook exit 0 for `reconnect` of any guest: libvirtd kills a guest whose hook fails",
        );
    }
    refuse_if_blocked(
        "RP5507",
        "a restart of libvirtd now could cost a guest",
        "remove what is named in the findings, then retry",
        &found,
    )
    .map_err(|mut refused| {
        // The code of the thing itself, not of the gathering.
        refused.code.clone_from(&found[0].code);
        refused
    })
}

/// A refusal for a daemon that somebody else stopped.
pub(super) fn not_running(unit: &str) -> Refusal {
    refusal(
        "RP5502",
        format!("`{unit}` does not run, and replank did not stop it"),
        format!(
            "find out why it stopped (`journalctl -u {unit}`), start it, and see that its guests are listed; then retry"
        ),
    )
}
