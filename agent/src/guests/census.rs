//! The census: what the four sources say, laid side by side.
//!
//! [`compare`] is pure. [`take`] reads the sources, and reads them again for a while when they do not agree: a guest that is just starting
//! or ending is in some sources before others, and that is no disagreement.

use super::Roots;
use super::api::{self, Answer};
use super::processes::{self, QemuProcess, Scan};
use super::scopes::{self, Scopes};
use super::status_files::{self, StatusFile, StatusFiles};
use super::version::Versions;
use crate::host::command::Programs;
use replank_common::census::{CensusSource, Disagreement, Guest, GuestState, Incarnation};
use replank_common::ids::{BootId, GuestUuid};
use replank_common::planted::{self, Planted};
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

/// How long the sources get to agree.
const SETTLE: Duration = Duration::from_millis(1500);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What each source said at one look. An error is a source that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub processes: Result<Scan, String>,
    pub status_files: Result<StatusFiles, String>,
    pub api: Result<Answer, String>,
    pub scopes: Result<Scopes, String>,
}

/// The guests of one look and what the sources do not agree on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    pub guests: BTreeMap<GuestUuid, Guest>,
    pub disagreements: Vec<Disagreement>,
}

/// Looks at all sources once.
pub fn look(roots: &Roots, programs: &dyn Programs) -> Seen {
    let processes = processes::scan(&roots.proc);
    let api = match &processes {
        Ok(Scan { daemon: Some(_), .. }) => api::ask(&roots.virsh, programs).map(Answer::Domains),
        Ok(Scan { daemon: None, .. }) => Ok(Answer::NotRunning),
        Err(_) => Err("whether libvirtd runs cannot be told".to_owned()),
    };
    Seen {
        processes,
        status_files: status_files::read(&roots.status),
        api,
        scopes: scopes::read(&roots.cgroup),
    }
}

/// Looks until the sources agree, at most for [`SETTLE`]; then what they do not agree on is a disagreement.
pub fn take(
    roots: &Roots,
    boot_id: BootId,
    versions: &Versions,
    programs: &dyn Programs,
) -> (Seen, Compared) {
    let begun = Instant::now();
    loop {
        let seen = look(roots, programs);
        let compared = compare(&seen, boot_id, |qemu| versions.of(&roots.proc, qemu, programs));
        if compared.disagreements.is_empty() || begun.elapsed() >= SETTLE {
            return (seen, compared);
        }
        thread::sleep(PAUSE);
    }
}

/// Lays the sources side by side. `version` is asked for each guest's process.
pub fn compare(seen: &Seen, boot_id: BootId, version: impl Fn(&QemuProcess) -> Option<Version>) -> Compared {
    let nothing = (Scan::default(), StatusFiles::default(), Scopes::new());
    let qemus = &seen.processes.as_ref().unwrap_or(&nothing.0).qemus;
    let files = seen.status_files.as_ref().unwrap_or(&nothing.1);
    let scopes = seen.scopes.as_ref().unwrap_or(&nothing.2);
    let (domains, api_is_silent) = match &seen.api {
        Ok(Answer::Domains(domains)) => (Some(domains), None),
        Ok(Answer::NotRunning) => (None, Some("libvirtd does not run".to_owned())),
        Err(why) => (None, Some(why.clone())),
    };
    let in_scopes: BTreeSet<u32> = scopes.values().flatten().copied().collect();

    let mut processes: BTreeMap<GuestUuid, Vec<&QemuProcess>> = BTreeMap::new();
    for qemu in qemus {
        processes.entry(qemu.uuid).or_default().push(qemu);
    }
    let by_uuid: BTreeMap<GuestUuid, &StatusFile> = files.good.iter().map(|file| (file.uuid, file)).collect();
    let mut all: BTreeSet<GuestUuid> = processes.keys().copied().collect();
    all.extend(by_uuid.keys());
    all.extend(domains.iter().flat_map(|domains| &domains.active));

    let mut result = Compared::default();
    for (source, why) in [
        (CensusSource::Proc, seen.processes.as_ref().err().cloned()),
        (CensusSource::StatusFiles, seen.status_files.as_ref().err().cloned()),
        (CensusSource::Scopes, seen.scopes.as_ref().err().cloned()),
        // A daemon that does not run knows no guest; that is a gap only where there are guests to know.
        (CensusSource::LibvirtApi, api_is_silent.filter(|_| seen.api.is_err() || !all.is_empty())),
    ] {
        let why = why.filter(|_| !planted::is(Planted::SilentSourceAgrees));
        result.disagreements.extend(why.map(|why| Disagreement::Silent { source, why }));
    }
    result.disagreements.extend(
        files
            .bad
            .iter()
            .map(|(path, why)| Disagreement::BadStatusFile { path: path.clone(), why: why.clone() }),
    );

    // libvirt takes one of them and leaves the other; nobody knows which.
    let mut first_of: BTreeMap<GuestUuid, &StatusFile> = BTreeMap::new();
    for file in &files.good {
        if let Some(first) = first_of.insert(file.uuid, file) {
            let why = format!("it is of guest {} as {} is too", file.uuid, first.path.display());
            result.disagreements.push(Disagreement::BadStatusFile { path: file.path.clone(), why });
        }
    }

    for uuid in all {
        let own = processes.get(&uuid).map(Vec::as_slice).unwrap_or_default();
        let file = by_uuid.get(&uuid).copied();
        let pid = own.first().map(|qemu| qemu.pid).or(file.map(|file| file.pid));
        let mut seen_by = BTreeSet::new();
        for (source, answered, knows) in [
            (CensusSource::Proc, seen.processes.is_ok(), !own.is_empty()),
            (CensusSource::StatusFiles, seen.status_files.is_ok(), file.is_some()),
            (CensusSource::LibvirtApi, domains.is_some(), domains.is_some_and(|d| d.active.contains(&uuid))),
            (CensusSource::Scopes, seen.scopes.is_ok(), pid.is_some_and(|pid| in_scopes.contains(&pid))),
        ] {
            if knows {
                seen_by.insert(source);
            } else if answered {
                let name = name_of(uuid, own, file);
                result.disagreements.push(Disagreement::Missing { guest: uuid, name, source });
            }
        }
        if own.len() > 1 && !planted::is(Planted::SecondProcessUnseen) {
            let pids = own.iter().map(|qemu| qemu.pid).collect();
            result.disagreements.push(Disagreement::Twice { guest: uuid, pids });
        }
        let Some(first) = own.first() else { continue };
        if let Some(file) = file
            && own.iter().all(|qemu| qemu.pid != file.pid)
        {
            let pids =
                BTreeMap::from([(CensusSource::Proc, first.pid), (CensusSource::StatusFiles, file.pid)]);
            let name = name_of(uuid, own, Some(file));
            result.disagreements.push(Disagreement::PidDiffers { guest: uuid, name, pids });
        }
        let guest = Guest {
            uuid,
            name: name_of(uuid, own, file),
            incarnation: Incarnation { boot_id, pid: first.pid, start_ticks: first.start_ticks },
            state: match domains {
                None => GuestState::Unknown,
                Some(domains) if domains.running.contains(&uuid) => GuestState::Running,
                Some(domains) if domains.paused.contains(&uuid) => {
                    GuestState::Paused(file.map(|file| file.reason.clone()).unwrap_or_default())
                }
                Some(domains) if domains.active.contains(&uuid) => {
                    GuestState::Other(file.map(|file| file.state.clone()).unwrap_or_default())
                }
                Some(_) => GuestState::Unknown,
            },
            emulator: first.executable.path.clone(),
            emulator_deleted: first.executable.deleted,
            qemu_version: version(first),
            machine: first.machine.clone(),
            persistent: domains.map(|domains| domains.persistent.contains(&uuid)),
            seen_by,
        };
        result.guests.insert(uuid, guest);
    }
    result
}

fn name_of(uuid: GuestUuid, own: &[&QemuProcess], file: Option<&StatusFile>) -> String {
    file.map(|file| file.name.clone())
        .or_else(|| own.first().map(|qemu| qemu.name.clone()))
        .unwrap_or_else(|| uuid.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::api::Domains;
    use super::super::processes::{Daemon, Executable};
    use super::*;
    use std::path::PathBuf;
    use uuid::Uuid;

    fn uuid(n: u128) -> GuestUuid {
        GuestUuid(Uuid::from_u128(n))
    }

    fn boot() -> BootId {
        BootId(Uuid::from_u128(9))
    }

    fn qemu(n: u128, pid: u32) -> QemuProcess {
        QemuProcess {
            pid,
            parent: 1,
            start_ticks: u64::from(pid) * 10,
            uuid: uuid(n),
            name: format!("guest{n}"),
            machine: Some("pc".to_owned()),
            executable: Executable::default(),
        }
    }

    /// Guests 1 and 2, with pids 41 and 42, known to all four.
    fn agreed() -> Seen {
        let file = |n: u128, pid| StatusFile {
            path: PathBuf::from(format!("guest{n}.xml")),
            uuid: uuid(n),
            name: format!("guest{n}"),
            pid,
            state: "paused".to_owned(),
            reason: "user".to_owned(),
        };
        let active = BTreeSet::from([uuid(1), uuid(2)]);
        Seen {
            processes: Ok(Scan {
                qemus: vec![qemu(1, 41), qemu(2, 42)],
                daemon: Some(Daemon { pid: 7, start_ticks: 70 }),
            }),
            status_files: Ok(StatusFiles { good: vec![file(1, 41), file(2, 42)], bad: Vec::new() }),
            api: Ok(Answer::Domains(Domains {
                active,
                running: BTreeSet::from([uuid(1)]),
                paused: BTreeSet::from([uuid(2)]),
                persistent: BTreeSet::from([uuid(2)]),
            })),
            scopes: Ok(Scopes::from([("a.scope".into(), [41, 141].into()), ("b.scope".into(), [42].into())])),
        }
    }

    fn compared(seen: &Seen) -> Compared {
        compare(seen, boot(), |_| Some(Version::new("7.2.18")))
    }

    fn scan_of(seen: &mut Seen) -> &mut Scan {
        seen.processes.as_mut().unwrap()
    }

    #[test]
    fn four_that_agree_make_guests_with_all_that_is_known() {
        let result = compared(&agreed());
        assert_eq!(result.disagreements, []);
        let first = &result.guests[&uuid(1)];
        assert_eq!(first.incarnation, Incarnation { boot_id: boot(), pid: 41, start_ticks: 410 });
        assert_eq!((first.state.clone(), first.persistent), (GuestState::Running, Some(false)));
        assert_eq!(first.seen_by.len(), 4);
        assert_eq!(result.guests[&uuid(2)].state, GuestState::Paused("user".to_owned()));
    }

    #[test]
    fn a_guest_that_one_source_does_not_know_is_named_with_the_source() {
        let missing = |seen: &Seen, source| {
            let result = compared(seen);
            let expected = Disagreement::Missing { guest: uuid(1), name: "guest1".to_owned(), source };
            assert_eq!(result.disagreements, [expected]);
            result
        };
        let mut seen = agreed();
        scan_of(&mut seen).qemus.remove(0);
        let result = missing(&seen, CensusSource::Proc);
        assert!(!result.guests.contains_key(&uuid(1)), "a guest without a process has no incarnation");
        let mut seen = agreed();
        seen.status_files.as_mut().unwrap().good.remove(0);
        missing(&seen, CensusSource::StatusFiles);
        let mut seen = agreed();
        let Ok(Answer::Domains(domains)) = &mut seen.api else { panic!() };
        domains.active.remove(&uuid(1));
        domains.running.remove(&uuid(1));
        let result = missing(&seen, CensusSource::LibvirtApi);
        assert_eq!(result.guests[&uuid(1)].state, GuestState::Unknown);
        let mut seen = agreed();
        seen.scopes.as_mut().unwrap().remove("a.scope");
        missing(&seen, CensusSource::Scopes);
    }

    #[test]
    fn two_processes_of_one_uuid_and_another_pid_are_seen() {
        let mut seen = agreed();
        scan_of(&mut seen).qemus.push(qemu(1, 50));
        let twice = Disagreement::Twice { guest: uuid(1), pids: vec![41, 50] };
        assert_eq!(compared(&seen).disagreements, [twice]);
        let mut seen = agreed();
        seen.status_files.as_mut().unwrap().good[0].pid = 99;
        let pids = BTreeMap::from([(CensusSource::Proc, 41), (CensusSource::StatusFiles, 99)]);
        let differs = Disagreement::PidDiffers { guest: uuid(1), name: "guest1".to_owned(), pids };
        assert_eq!(compared(&seen).disagreements, [differs]);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_silent_and_accuses_nobody() {
        let mut seen = agreed();
        seen.api = Err("virsh gave no answer".to_owned());
        let result = compared(&seen);
        let silent =
            Disagreement::Silent { source: CensusSource::LibvirtApi, why: "virsh gave no answer".to_owned() };
        assert_eq!(result.disagreements, [silent]);
        assert_eq!(result.guests[&uuid(1)].persistent, None);
        let mut seen = agreed();
        seen.status_files.as_mut().unwrap().bad.push((PathBuf::from("x.xml"), "torn".to_owned()));
        assert_eq!(compared(&seen).disagreements.len(), 1);
        let mut seen = agreed();
        let files = &mut seen.status_files.as_mut().unwrap().good;
        let copy = StatusFile { path: PathBuf::from("guest1-old.xml"), ..files[0].clone() };
        files.insert(1, copy);
        let [Disagreement::BadStatusFile { path, why }] = &compared(&seen).disagreements[..] else {
            panic!()
        };
        assert!(path.ends_with("guest1-old.xml") && why.contains("guest1.xml"), "{why}");
    }

    #[test]
    fn a_daemon_that_does_not_run_is_a_gap_only_where_there_are_guests() {
        let mut seen = agreed();
        seen.api = Ok(Answer::NotRunning);
        assert!(matches!(compared(&seen).disagreements[..], [Disagreement::Silent { .. }]));
        let empty = Seen {
            processes: Ok(Scan::default()),
            status_files: Ok(StatusFiles::default()),
            api: Ok(Answer::NotRunning),
            scopes: Ok(Scopes::new()),
        };
        assert_eq!(compared(&empty), Compared::default());
    }
}
