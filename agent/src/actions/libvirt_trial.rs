//! `LibvirtTrial`: let a libvirtd of the other version read copies of the status files. How that is kept from the host is said in
//! [`crate::host::libvirt::trial`].
//!
//! A guest whose status a libvirtd cannot read is lost to it without being ended: its process runs on, and libvirt takes it for shut off
//! (libvirt's `virDomainObjListLoadAllConfigs` skips the file). So a new version that cannot read one is not installed, and a way back to
//! an old version that cannot read one is not gone.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | anything | an empty directory in the scratch space; daemon and mounts end with the agent | tried anew |

use super::answer::{blocks, change, note, refusal, systemd_refusal};
use super::staged::{self, Side, StagedSet};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::facts::libvirt_unit;
use crate::host::libvirt::trial::{self, Read, Trial, Verdicts};
use replank_common::action::{LibvirtTrial, TrialOf};
use replank_common::finding::Finding;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;

const REMEDY_NEW: &str = "move the guest to another host or let its owner restart it later, or choose a version that reads it; then retry";
const REMEDY_OLD: &str = "go forward instead: put right what made you go back and let the run go on. Or first move the guest by live \
     migration to a host that stays on the new version, or let its owner shut it down; then roll back again";

fn staged_set(action: &LibvirtTrial, host: &Host) -> Result<StagedSet, Refusal> {
    match action.of {
        TrialOf::New => staged::exactly(host, action.manager, &action.packages),
        TrialOf::Old => staged::containing(host, action.manager, &action.packages, Side::Old),
    }
}

fn verdicts(action: &LibvirtTrial, host: &Host, progress: Progress<'_>) -> Result<Verdicts, Refusal> {
    let set = staged_set(action, host)?;
    let unit = libvirt_unit(host)
        .map_err(|e| systemd_refusal(&e))?
        .ok_or_else(|| refusal("RP5502", "there is no unit of libvirt's daemon", "install libvirt first"))?;
    let side = match action.of {
        TrialOf::New => Side::New,
        TrialOf::Old => Side::Old,
    };
    let trial = Trial {
        manager: action.manager,
        unit: &unit,
        files: set.files(host, side),
        names: set.items.iter().map(|item| item.name.clone()).collect(),
    };
    progress(Some(100), "unpacking libvirt and letting it read copies of the status files");
    trial::run(host, &trial).map_err(|error| {
        refusal(
            "RP5514",
            format!("the trial could not be carried out: {error}"),
            "see the message; the kernel must offer overlay file systems and pid, mount and network namespaces",
        )
    })
}

/// Which version is meant, for sentences.
fn which(of: TrialOf) -> &'static str {
    match of {
        TrialOf::New => "the new libvirt",
        TrialOf::Old => "the libvirt of before",
    }
}

/// A finding for each guest that was not proved to be readable.
fn unreadable(host: &Host, of: TrialOf, verdicts: &Verdicts) -> Vec<Finding> {
    let make = |code, guest: String, cause: String| match of {
        TrialOf::New => blocks(host, code, guest, cause, REMEDY_NEW),
        TrialOf::Old => note(host, code, guest, cause, REMEDY_OLD),
    };
    let who = which(of);
    verdicts
        .iter()
        .filter_map(|(guest, verdict)| {
            let (code, cause) = match verdict {
                Read::Yes => return None,
                Read::No(why) => ("RP5512", format!("{who} cannot read its status and would lose it: {why}")),
                Read::CannotTell(why) => {
                    ("RP5513", format!("whether {who} can read its status cannot be told: {why}"))
                }
            };
            Some(make(code, format!("guest {guest}"), cause))
        })
        .collect()
}

/// `Err` when a guest was not proved to be readable.
fn insist(host: &Host, of: TrialOf, verdicts: &Verdicts) -> Result<(), Refusal> {
    let mut findings = unreadable(host, of, verdicts);
    let Some(first) = findings.first().cloned() else { return Ok(()) };
    let names: Vec<&str> = findings.iter().map(|finding| finding.subject.as_str()).collect();
    let reason = format!("{}: {}", names.join(", "), first.cause);
    for finding in &mut findings {
        finding.severity = replank_common::finding::Severity::Blocks;
    }
    Err(Refusal { code: first.code.clone(), reason, remedy: first.remedy.clone(), findings })
}

fn report(host: &Host, of: TrialOf, verdicts: &Verdicts) -> Report {
    let good = verdicts.values().filter(|verdict| **verdict == Read::Yes).count();
    Report {
        changes: vec![change(
            format!("status files read by {}", which(of)),
            verdicts.len().to_string(),
            good.to_string(),
        )],
        findings: unreadable(host, of, verdicts),
    }
}

impl Perform for LibvirtTrial {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        staged_set(self, host).map(|_| Standing::Ready)
    }

    fn prepare(&self, _host: &Host) -> Result<UndoRecord, Refusal> {
        Ok(UndoRecord::Nothing)
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let verdicts = verdicts(self, host, progress)?;
        match self.of {
            TrialOf::New => insist(host, self.of, &verdicts)?,
            TrialOf::Old => {}
        }
        Ok(report(host, self.of, &verdicts))
    }

    fn verify(&self, _host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        match self.of {
            TrialOf::New => Ok(Report::default()),
            TrialOf::Old => {
                let verdicts = verdicts(self, host, progress)?;
                insist(host, self.of, &verdicts)?;
                Ok(Report::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;
    use replank_common::finding::Severity;

    fn verdicts() -> Verdicts {
        [
            ("web".to_owned(), Read::Yes),
            ("db".to_owned(), Read::No("Unknown qemu capabilities flag virtio-crypto".to_owned())),
            ("mail".to_owned(), Read::CannotTell("it ended".to_owned())),
        ]
        .into()
    }

    #[test]
    fn a_refusal_names_every_guest_that_was_not_proved_readable() {
        let world = World::new();
        let refused = insist(&world.host, TrialOf::New, &verdicts()).unwrap_err();
        assert_eq!(refused.code, "RP5512");
        assert!(refused.reason.contains("guest db") && refused.reason.contains("guest mail"), "{refused}");
        assert!(!refused.reason.contains("web"), "{refused}");
        assert_eq!(refused.findings.len(), 2);
        assert!(insist(&world.host, TrialOf::New, &[("web".to_owned(), Read::Yes)].into()).is_ok());
        assert!(insist(&world.host, TrialOf::Old, &Verdicts::new()).is_ok());
    }

    #[test]
    fn going_forward_the_old_version_only_tells() {
        let world = World::new();
        let report = report(&world.host, TrialOf::Old, &verdicts());
        assert_eq!(report.findings.len(), 2);
        assert!(report.findings.iter().all(|finding| finding.severity == Severity::Notes));
        assert_eq!((report.changes[0].before.as_str(), report.changes[0].after.as_str()), ("3", "1"));
    }

    #[test]
    fn packages_that_are_not_staged_are_refused_before_anything() {
        let world = World::new();
        for of in [TrialOf::New, TrialOf::Old] {
            let packages =
                vec![replank_common::action::PackagePin { name: "libvirt0".into(), version: "1".into() }];
            let action = LibvirtTrial { manager: replank_common::facts::PackageManager::Apt, of, packages };
            assert_eq!(action.check(&world.host).unwrap_err().code, "RP5110");
        }
    }
}
