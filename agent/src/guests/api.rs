//! The third source of a census: libvirtd's own answer, asked through `virsh` on a read-only connection.
//!
//! One virsh gives all lists at once. It is asked only while the daemon runs: with socket activation a mere question would *start* a
//! libvirtd, and the first start of a new one over guests of an old one is the riskiest instant of all.

use crate::host::command::{Command, Programs};
use replank_common::ids::GuestUuid;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How long libvirtd may take to answer. Its lists wait for no monitor, so more than this means that it hangs.
const DEADLINE: Duration = Duration::from_millis(1000);

/// What libvirtd answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains {
    pub active: BTreeSet<GuestUuid>,
    pub running: BTreeSet<GuestUuid>,
    pub paused: BTreeSet<GuestUuid>,
    pub persistent: BTreeSet<GuestUuid>,
}

/// libvirt's part in a census.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Domains(Domains),
    /// No daemon runs, so nobody was asked.
    NotRunning,
}

const LISTS: [(&str, &str); 4] = [
    ("active", "list --uuid"),
    ("running", "list --uuid --state-running"),
    ("paused", "list --uuid --state-paused"),
    ("persistent", "list --uuid --persistent"),
];
const MARK: &str = "replank:";

/// Asks the running daemon.
///
/// # Errors
/// virsh is missing, does not answer in time, or answers something else.
pub fn ask(virsh: &Path, programs: &dyn Programs) -> Result<Domains, String> {
    let script: Vec<String> = LISTS.iter().map(|(mark, list)| format!("echo {MARK}{mark}; {list}")).collect();
    let command =
        Command::new(virsh).args(["-r", "-c", "qemu:///system"]).arg(script.join("; ")).deadline(DEADLINE);
    let output = programs.run_ok(&command).map_err(|error| error.to_string())?;
    parse(&output.text())
}

fn parse(text: &str) -> Result<Domains, String> {
    let mut domains = Domains::default();
    let mut marks = 0;
    let mut into: Option<&mut BTreeSet<GuestUuid>> = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(mark) = line.strip_prefix(MARK) {
            marks += 1;
            into = Some(match mark {
                "active" => &mut domains.active,
                "running" => &mut domains.running,
                "paused" => &mut domains.paused,
                "persistent" => &mut domains.persistent,
                _ => return Err(format!("virsh answered an unknown list `{mark}`")),
            });
        } else {
            let uuid = line.parse().map_err(|error| format!("virsh answered something else: {error}"))?;
            into.as_mut().ok_or("virsh answered before it was asked")?.insert(uuid);
        }
    }
    if marks == LISTS.len() {
        Ok(domains)
    } else {
        Err("virsh stopped in the middle of its answer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "6f1e2a0c-9a0f-4a53-8a3c-0d6c33bb5f01";
    const B: &str = "6f1e2a0c-9a0f-4a53-8a3c-0d6c33bb5f02";

    #[test]
    fn the_lists_are_told_apart() {
        let text = format!(
            "replank:active\n{A}\n{B}\n\nreplank:running\n{A}\n\nreplank:paused\n{B}\n\nreplank:persistent\n\n"
        );
        let domains = parse(&text).unwrap();
        assert_eq!(domains.active.len(), 2);
        assert_eq!(domains.running, BTreeSet::from([A.parse().unwrap()]));
        assert_eq!(domains.paused, BTreeSet::from([B.parse().unwrap()]));
        assert!(domains.persistent.is_empty());
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(parse("replank:active\n").is_err());
        assert!(parse("error: failed to connect\n").is_err());
        assert!(parse("").is_err());
    }
}
