//! A staged transaction carried out in one direction, from where the host is to where it shall be.
//!
//! Forward and back are the same work with the sides exchanged. A note in the agent's directory is there from before the first change until
//! after the last one: while it is, an unfinished transaction is ours to finish, and the policy and the processes that were there first
//! are those of the note.

use super::answer::{blocks, change, failure, file_failure, refusal, systemd_failure};
use super::packages_stage::packages_refusal;
use super::staged::{Side, StagedItem, StagedSet};
use super::{ActError, Failure, Progress, held, transaction};
use crate::codes;
use crate::guard::Transaction;
use crate::host::files::FileError;
use crate::host::packages::{Commit, Installed, Packages, PackagesError, Resolved, compatible};
use crate::host::systemd::SystemdError;
use crate::host::{Host, notes, proc};
use replank_common::action::PackagePin;
use replank_common::facts::PackageManager;
use replank_common::finding::Finding;
use replank_common::outcome::{Change, Refusal};
use replank_common::undo::FileChange;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::around::Around;

const KIND: &str = "packages-passage";
/// How long another package manager (perhaps the one that an agent before us started) may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const POLL: Duration = Duration::from_secs(1);
const STAGE_AGAIN: &str =
    "find out who changed packages, run the step that fetches the packages again, then retry";

/// The main process of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MainProcess {
    pub(super) unit: String,
    pub(super) pid: Option<u32>,
    pub(super) start_ticks: Option<u64>,
}

/// The note of a passage that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) to: Side,
    pub(super) policy: Option<FileChange>,
    pub(super) processes: Vec<MainProcess>,
    pub(super) back: Option<WayBack>,
}

/// What a way back has to remember from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WayBack {
    /// What lay around after the transaction.
    pub(super) after: Around,
    /// What lay around when going back began.
    pub(super) started: Around,
}

/// The note of a passage over the set of these pins, if one has begun.
///
/// # Errors
/// The note cannot be read.
pub(super) fn opened(
    host: &Host,
    manager: PackageManager,
    pins: &[PackagePin],
) -> Result<Option<Open>, FileError> {
    notes::read(host, KIND, &key(host, manager, pins))
}

fn key(host: &Host, manager: PackageManager, pins: &[PackagePin]) -> String {
    StagedSet::directory(host, manager, pins).display().to_string()
}

/// One direction over one set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passage<'a> {
    pub(super) host: &'a Host,
    pub(super) packages: &'a dyn Packages,
    pub(super) set: &'a StagedSet,
    pub(super) to: Side,
}

impl Passage<'_> {
    fn wanted<'s>(&self, item: &'s StagedItem) -> Option<&'s str> {
        match self.to {
            Side::New => item.after.as_deref(),
            Side::Old => item.before.as_deref(),
        }
    }

    fn left<'s>(&self, item: &'s StagedItem) -> Option<&'s str> {
        match self.to {
            Side::New => item.before.as_deref(),
            Side::Old => item.after.as_deref(),
        }
    }

    /// What is still to be done.
    ///
    /// # Errors
    /// A refusal when a package is at neither of its two versions.
    pub(super) fn remaining(&self, installed: &[Installed]) -> Result<Vec<Resolved>, Refusal> {
        let mut remaining = Vec::new();
        for item in &self.set.items {
            let package = of_item(installed, item);
            let now = package.map(|p| p.version.as_str());
            let wanted = self.wanted(item);
            if now != wanted && now != self.left(item) {
                let say = |version: Option<&str>| version.unwrap_or("absent").to_owned();
                return Err(refusal(
                    codes::PACKAGES_CHANGED,
                    format!(
                        "{} is {}, and neither {} nor {}",
                        item.name,
                        say(now),
                        say(item.before.as_deref()),
                        say(item.after.as_deref())
                    ),
                    "put the package back to one of these two versions, then retry",
                ));
            }
            if now != wanted || package.is_some_and(|p| p.unfinished.is_some()) {
                remaining.push(Resolved {
                    name: item.name.clone(),
                    architecture: item.architecture.clone(),
                    before: now.map(str::to_owned),
                    after: wanted.map(str::to_owned),
                });
            }
        }
        remaining.sort();
        Ok(remaining)
    }

    fn commit(&self, remaining: &[Resolved]) -> Commit {
        let concerned = |item: &&StagedItem| {
            remaining.iter().any(|r| r.name == item.name && r.architecture == item.architecture)
        };
        let mut commit = Commit {
            older: self.to == Side::Old,
            no_scripts: self.set.manager != PackageManager::Apt,
            ..Commit::default()
        };
        for item in self.set.items.iter().filter(concerned) {
            match self.file(item) {
                Some(file) => commit.files.push(file),
                None => commit.remove.push(item.name.clone()),
            }
        }
        commit
    }

    fn file(&self, item: &StagedItem) -> Option<PathBuf> {
        item.file(self.to).map(|file| self.set.own_directory(self.host).join(&file.path))
    }

    /// Rehearses what remains and lets the guard judge it.
    ///
    /// # Errors
    /// A refusal when the package manager would do something else, or when it would endanger guests.
    pub(super) fn look(
        &self,
        installed: &[Installed],
        remaining: &[Resolved],
    ) -> Result<(Transaction, Vec<Finding>), Refusal> {
        if remaining.is_empty() {
            return Ok((Transaction { manager: self.set.manager, items: Vec::new() }, Vec::new()));
        }
        let rehearsed = self.packages.rehearse(&self.commit(remaining)).map_err(|e| packages_refusal(&e))?;
        let same = |one: &Resolved, other: &Resolved| {
            one.name == other.name
                && one.before == other.before
                && one.after == other.after
                && compatible(&one.architecture, &other.architecture)
        };
        let unexpected = rehearsed.iter().filter(|r| !remaining.iter().any(|e| same(e, r)));
        // What is only to be configured is not among what a package manager says it would install.
        let absent =
            remaining.iter().filter(|e| e.before != e.after && !rehearsed.iter().any(|r| same(e, r)));
        let differing: Vec<Finding> = unexpected
            .map(|r| (r, "it would do this, which was not staged"))
            .chain(absent.map(|r| (r, "it would not do this, which was staged")))
            .map(|(r, what)| {
                let say = |version: &Option<String>| version.clone().unwrap_or_else(|| "absent".to_owned());
                let cause = format!("{what}: {} to {}", say(&r.before), say(&r.after));
                blocks(self.host, codes::PACKAGES_DIFFER, r.name.clone(), cause, STAGE_AGAIN)
            })
            .collect();
        super::answer::refuse_if_blocked(
            codes::PACKAGES_DIFFER,
            "the package manager would do something else than what was staged",
            STAGE_AGAIN,
            &differing,
        )?;
        let coming = |item: &Resolved| self.set.contents(self.host, self.packages, item, self.to);
        let transaction = transaction::gather(self.host, self.packages, remaining, installed, coming)
            .map_err(|e| packages_refusal(&e))?;
        let findings = transaction::judged(self.host, &transaction)?;
        Ok((transaction, findings))
    }

    /// Writes the note. From here on the passage has begun.
    ///
    /// # Errors
    /// `Failure` when systemd does not answer or the agent's directory cannot be written; nothing else has been changed.
    pub(super) fn open(
        &self,
        earlier: Option<Open>,
        undisturbed: &[String],
        back: Option<WayBack>,
    ) -> Result<Open, Failure> {
        let (policy, processes) = match earlier {
            Some(open) => (open.policy, Some(open.processes).filter(|_| open.to == self.to)),
            None => (None, None),
        };
        let policy = held::record(self.host, self.set.manager, policy).map_err(|e| file_failure(&e))?;
        let processes = match processes {
            Some(processes) => processes,
            None => self.processes(undisturbed).map_err(|e| systemd_failure(&e))?,
        };
        let open = Open { to: self.to, policy, processes, back };
        let key = key(self.host, self.set.manager, &self.set.pins);
        notes::write(self.host, KIND, &key, &open).map_err(|e| file_failure(&e))?;
        Ok(open)
    }

    /// Removes the note: the passage is over.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn close(&self) -> Result<(), Failure> {
        let key = key(self.host, self.set.manager, &self.set.pins);
        notes::forget(self.host, KIND, &key).map_err(|e| file_failure(&e))
    }

    /// Carries out what remains. `looked` when [`Passage::look`] was called just now.
    ///
    /// # Errors
    /// A refusal from [`Passage::look`]; `Failure` when the package manager failed or did not do all.
    pub(super) fn carry_out(&self, looked: bool, progress: Progress<'_>) -> Result<Vec<Change>, ActError> {
        let mut installed = self.installed()?;
        let mut unfinished = None;
        if installed.iter().any(|p| p.unfinished.is_some()) {
            progress(Some(100), "finishing an interrupted transaction");
            let keep: Vec<PackagePin> = self.set.items.iter().filter_map(|item| self.pin(item)).collect();
            // What cannot be configured yet may only lack what the transaction brings.
            unfinished = patiently(progress, || self.packages.finish(&keep)).err();
            self.host.boundary.reached("packages: interrupted transaction finished");
            installed = self.installed()?;
        }
        let remaining = self.remaining(&installed)?;
        if !remaining.is_empty() {
            if !looked {
                self.look(&installed, &remaining)?;
            }
            progress(Some(200), &format!("changing {} packages", remaining.len()));
            patiently(progress, || self.packages.commit(&self.commit(&remaining)))
                .map_err(|e| self.failed(&e))?;
            self.host.boundary.reached("packages: transaction done");
        }
        let installed = self.installed()?;
        if let Some(package) = installed.iter().find(|p| p.unfinished.is_some()) {
            let why = unfinished.map(|e| format!(": {e}")).unwrap_or_default();
            let state = package.unfinished.as_deref().unwrap_or_default();
            return Err(failure(
                codes::PACKAGES_FAILED,
                format!("{} {} is {state} after the transaction{why}", package.name, package.version),
                "remove the cause, then retry the step or roll back",
            )
            .into());
        }
        if let Some(left) = self.remaining(&installed)?.first() {
            return Err(failure(
                codes::PACKAGES_ABSENT,
                format!(
                    "{} is still {} after the transaction",
                    left.name,
                    left.before.as_deref().unwrap_or("absent")
                ),
                "see the package manager's log, then retry the step or roll back",
            )
            .into());
        }
        let say = |version: Option<&str>| version.unwrap_or("absent").to_owned();
        let of = |item: &StagedItem| {
            change(format!("package {}", item.name), say(self.left(item)), say(self.wanted(item)))
        };
        Ok(self.set.items.iter().map(of).collect())
    }

    /// Unpacks what is installed once more.
    ///
    /// # Errors
    /// `Failure` from the package manager.
    pub(super) fn again(&self, progress: Progress<'_>) -> Result<(), Failure> {
        let files = self.set.files(self.host, self.to);
        let commit = Commit {
            files,
            again: true,
            no_scripts: self.set.manager != PackageManager::Apt,
            ..Commit::default()
        };
        patiently(progress, || self.packages.commit(&commit)).map(|_| ()).map_err(|e| self.failed(&e))
    }

    /// What scripts would have done and is needed, where none ran; and what systemd has to learn of links that were given back.
    ///
    /// # Errors
    /// `Failure` when the linker's cache cannot be written or systemd does not reload.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        let scripts_ran = self.set.manager == PackageManager::Apt;
        if !scripts_ran && self.host.at("/etc/ld.so.cache").exists() {
            let command = crate::host::command::Command::new("ldconfig");
            let root = self.host.directories.root();
            let command = if self.host.directories.is_real() { command } else { command.arg("-r").arg(root) };
            self.host.programs.run_ok(&command).map_err(|e| {
                failure(codes::PACKAGES_FAILED, e.to_string(), "run `ldconfig` by hand, then retry")
            })?;
        }
        self.host.systemd.reload().map_err(|e| systemd_failure(&e))
    }

    /// Those of the units that had a main process when the passage began and have another one, or none, now.
    ///
    /// # Errors
    /// `Failure` names the first.
    pub(super) fn undisturbed(&self, open: &Open) -> Result<(), Failure> {
        let units: Vec<String> = open.processes.iter().map(|p| p.unit.clone()).collect();
        let now = self.processes(&units).map_err(|e| systemd_failure(&e))?;
        let disturbed = open.processes.iter().zip(&now).find(|(then, now)| then.pid.is_some() && then != now);
        let Some((then, now)) = disturbed else { return Ok(()) };
        let say = |process: &MainProcess| match (process.pid, process.start_ticks) {
            (Some(pid), Some(ticks)) => format!("pid {pid}, started at tick {ticks}"),
            (Some(pid), None) => format!("pid {pid}"),
            (None, _) => "no process".to_owned(),
        };
        Err(failure(
            codes::PACKAGES_DISTURBED,
            format!("{} was {} before the transaction and is {} now", then.unit, say(then), say(now)),
            format!("see `journalctl -u {}` for why, and compare the census", then.unit),
        ))
    }

    fn processes(&self, units: &[String]) -> Result<Vec<MainProcess>, SystemdError> {
        let one = |unit: &String| {
            let pid = self.host.systemd.status(unit)?.main_pid;
            let start_ticks =
                pid.and_then(|pid| proc::alive(self.host, pid)).map(|process| process.start_ticks);
            Ok(MainProcess { unit: unit.clone(), pid, start_ticks })
        };
        units.iter().map(one).collect()
    }

    fn installed(&self) -> Result<Vec<Installed>, Failure> {
        self.packages.installed().map_err(|e| self.failed(&e))
    }

    fn pin(&self, item: &StagedItem) -> Option<PackagePin> {
        Some(PackagePin { name: item.name.clone(), version: self.wanted(item)?.to_owned() })
    }

    fn failed(&self, error: &PackagesError) -> Failure {
        packages_failure(error)
    }
}

/// What a package manager's error means after the first change.
pub(super) fn packages_failure(error: &PackagesError) -> Failure {
    failure(
        codes::PACKAGES_FAILED,
        error.to_string(),
        "remove the cause that the message names, then retry the step or roll back",
    )
}

/// The installed package that a staged item is about.
fn of_item<'p>(installed: &'p [Installed], item: &StagedItem) -> Option<&'p Installed> {
    let named = || installed.iter().filter(|p| p.name == item.name);
    named()
        .find(|p| p.architecture == item.architecture)
        .or_else(|| named().find(|p| compatible(&p.architecture, &item.architecture)))
}

/// Waits while another package manager holds the lock.
fn patiently<T>(
    progress: Progress<'_>,
    mut work: impl FnMut() -> Result<T, PackagesError>,
) -> Result<T, PackagesError> {
    let began = Instant::now();
    loop {
        match work() {
            Err(PackagesError::Locked { said }) if began.elapsed() < PATIENCE => {
                progress(None, &format!("waiting for another package manager: {said}"));
                thread::sleep(POLL);
            }
            other => return other,
        }
    }
}
