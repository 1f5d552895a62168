//! `CephOwn`: the files of one daemon are given to the user that it shall run as.
//!
//! Most of it is done while the daemon runs, as root, to whom it is the same whose its files are: gently, in a pass of its own long before, and once more right
//! before the stop. What is left for the outage is what it made meanwhile, and a look at the rest. The directory itself comes last: `setuser match path` looks at
//! that one alone, so at every instant before, a start gives the daemon as it was.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | some files given | a daemon that runs as before | the pass is made anew, over what is left |
//! | note written | the same | the same |
//! | stopped | it is down, the directory as before | `Half`: it is started as it was first, then judged and done anew |
//! | the directory given | it is down, everything is the new user's | `Half`: started, as the new user |
//! | started | done | `check` says done |
//! | undo: stopped | it is down, the directory the new user's | the directory is given back, and it is started as it was |
//! | undo: the directory given back | it is down; whoever starts it has it as root | the same |
//! | undo: some files given back | it runs as root | the rest is given back |
//!
//! `pass` walks the files, `outage` is what happens between the stop and the start.
//!
//! Where the outage grows too long, where a file withstands, and where the daemon does not come up as its new user, it is started as it was: one that could serve
//! is not left down. It is never ended by force.

mod outage;
mod pass;
#[cfg(test)]
mod tests;

use super::answer::{change, failure, file_refusal, refusal, systemd_failure, systemd_refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use crate::host::ceph::devices::{Leads, is_given_at_boot, leads};
use crate::host::ceph::{Daemon, Identity, conf};
use crate::host::owners::{Owner, Tree, TreeError};
use crate::host::{notes, proc};
use replank_common::action::CephOwn;
use replank_common::outcome::{Change, Refusal};
use replank_common::undo::{OwnedBefore, UndoRecord};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const KIND: &str = "ceph-own";
const BASE: &str = "/var/lib/ceph";
const REMEDY: &str = "see `systemctl status` and the log of the daemon on the host; what is done already stays done, and a retry goes on there";

/// What the agent remembers of a change of owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Note {
    /// The pass ahead came to its end.
    Ahead,
    /// The daemon may be stopped.
    Switching,
    /// The same, on the way back.
    Back,
}

/// Whose the files were.
struct Before<'r> {
    owner: Owner,
    entries: u64,
    others: &'r [OwnedBefore],
}

fn recorded(record: &UndoRecord) -> Result<Before<'_>, ActError> {
    match record {
        UndoRecord::CephOwner { uid, gid, entries, others } => {
            Ok(Before { owner: Owner { uid: *uid, gid: *gid }, entries: *entries, others })
        }
        _ => Err(super::answer::foreign_record(KIND)),
    }
}

/// The action on this host.
#[derive(Clone, Copy)]
struct Own<'a> {
    of: &'a CephOwn,
    host: &'a Host,
}

impl<'a> Own<'a> {
    fn key(self) -> String {
        let part = if self.of.switch.is_some() { "switch" } else { "ahead" };
        format!("{} {part}", self.of.daemon)
    }

    fn note(self) -> Result<Option<Note>, Refusal> {
        notes::read(self.host, KIND, &self.key()).map_err(|error| file_refusal(&error))
    }

    fn remember(self, note: Note) -> Result<(), Refusal> {
        notes::write(self.host, KIND, &self.key(), &note).map_err(|error| file_refusal(&error))
    }

    fn forget(self) -> Result<(), Refusal> {
        notes::forget(self.host, KIND, &self.key()).map_err(|error| file_refusal(&error))
    }

    fn wanted(self) -> Owner {
        Owner { uid: self.of.uid, gid: self.of.gid }
    }

    fn told(self, given: u64, from: Owner, to: Owner) -> Change {
        let directory = if self.of.switch.is_some() { "the directory and of " } else { "" };
        let what = format!("owner of {directory}{given} files of {}", self.of.daemon);
        change(what, from.to_string(), to.to_string())
    }

    fn directory(self) -> PathBuf {
        self.of.daemon.data_directory()
    }

    fn tree(self) -> Result<Tree, TreeError> {
        let directory = self.directory();
        Tree::open(self.host, Path::new(BASE), directory.strip_prefix(BASE).unwrap_or(&directory))
    }

    fn refused(self, error: &TreeError) -> Refusal {
        refusal(
            codes::CEPH_OWN_TREE,
            format!("{} of {}: {error}", self.directory().display(), self.of.daemon),
            "mend what is named, or leave this daemon as it is; then retry",
        )
    }

    fn failed(self, error: &TreeError) -> Failure {
        let Refusal { reason, .. } = self.refused(error);
        let code =
            if matches!(error, TreeError::TooLate) { codes::CEPH_OWN_LATE } else { codes::CEPH_OWN_TREE };
        failure(
            code,
            reason,
            "mend what is named; what is done already stays done, and a retry goes on there",
        )
    }

    fn runs(self) -> Result<Option<Identity>, Refusal> {
        Daemon::new(self.host, &self.of.daemon).running().map_err(|error| systemd_refusal(&error))
    }

    fn runs_as(self, running: Identity) -> Option<u32> {
        proc::user(self.host, running.process().pid)
    }

    /// As whom a start gives the daemon while the directory is `owner`'s.
    fn user_of(self, owner: Owner) -> u32 {
        if owner == self.wanted() { owner.uid } else { 0 }
    }

    /// Whether the daemon comes up at every instant of the change.
    fn may_begin(self, top: Owner) -> Result<(), Refusal> {
        let setup = |reason: String, remedy: &str| Err(refusal(codes::CEPH_OWN_SETUP, reason, remedy));
        if conf::user(self.host) != Some(self.wanted()) {
            return setup(
                format!("the user ceph of this host is not {}", self.wanted()),
                "see `getent passwd ceph`, and take the inventory and make the plan again",
            );
        }
        if top == self.wanted() {
            return Ok(());
        }
        match conf::is_matched(self.host, &self.of.daemon) {
            Ok(true) => Ok(()),
            Ok(false) => setup(
                format!(
                    "{} does not tell {} to run as whom its directory belongs to",
                    conf::CONF,
                    self.of.daemon
                ),
                "write `setuser match path = /var/lib/ceph/$type/$cluster-$id` into the daemon's section; without it, a start half way through fails",
            ),
            Err(error) => setup(format!("{} cannot be read: {error}", conf::CONF), "see why, then retry"),
        }
    }

    /// What lies behind the links in the directory and is still to be given away.
    fn behind(self, top: Owner) -> Result<Vec<Leads>, Refusal> {
        let found = leads(self.host, &self.directory()).map_err(|error| self.refused(&error))?;
        let mut to_give = Vec::new();
        for lead in found.into_iter().filter(|lead| !lead.behind.serves(self.wanted())) {
            let named = format!("{} of {} leads to {}", lead.link, self.of.daemon, lead.to.display());
            match lead.behind.kind() {
                FileType::BlockDevice | FileType::CharacterDevice => {
                    if !is_given_at_boot(self.host, &self.of.daemon, lead.behind.device()) {
                        return Err(refusal(
                            codes::CEPH_OWN_DEVICE,
                            format!(
                                "{named}, which is {}'s, and after a boot would be again",
                                lead.behind.owner()
                            ),
                            "give the partition Ceph's type (`sgdisk --typecode`), or write a udev rule that gives the device to the ceph user and trigger it; then retry",
                        ));
                    }
                    to_give.push(lead);
                }
                // Only root could have made the link, as long as the directory is root's.
                FileType::RegularFile if top != self.wanted() => to_give.push(lead),
                FileType::RegularFile
                | FileType::Directory
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::Unknown => {
                    return Err(refusal(
                        codes::CEPH_OWN_TREE,
                        format!("{named}, which the ceph user cannot use and replank does not give away"),
                        "give it to the ceph user yourself, or put it into the directory; then retry",
                    ));
                }
            }
        }
        Ok(to_give)
    }
}

impl Perform for CephOwn {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let own = Own { of: self, host };
        let tree = own.tree().map_err(|error| own.refused(&error))?;
        let top = tree.owner().map_err(|error| own.refused(&error))?;
        match &self.switch {
            Some(switch) => own.check_switch(switch, top),
            None if top == own.wanted() || own.note()? == Some(Note::Ahead) => Ok(Standing::Done),
            None => {
                own.may_begin(top)?;
                own.behind(top)?;
                Ok(Standing::Ready)
            }
        }
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        self.prepare_aloud(host, &|_, _| {})
    }

    fn prepare_aloud(&self, host: &Host, progress: Progress<'_>) -> Result<UndoRecord, Refusal> {
        let own = Own { of: self, host };
        let tree = own.tree().map_err(|error| own.refused(&error))?;
        let Owner { uid, gid } = tree.owner().map_err(|error| own.refused(&error))?;
        let base = Owner { uid, gid };
        let (entries, mut others) = own.whose(&tree, base, progress)?;
        for lead in own.behind(base)? {
            let Owner { uid, gid } = lead.behind.owner();
            others.push(OwnedBefore { path: lead.to, uid, gid });
        }
        Ok(UndoRecord::CephOwner { uid, gid, entries, others })
    }

    fn apply(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let own = Own { of: self, host };
        let before = recorded(record)?;
        let tree = own.tree().map_err(|error| own.failed(&error))?;
        let fails = |error: TreeError| ActError::Failed(own.failed(&error));
        let told = |given: u64| Report {
            changes: vec![own.told(given, before.owner, own.wanted())],
            findings: Vec::new(),
        };
        let Some(switch) = &self.switch else {
            let walked = own.pass_gently(&tree, before.entries, progress).map_err(fails)?;
            own.remember(Note::Ahead)?;
            return Ok(told(walked.given));
        };
        // What an earlier try of this very action left down comes back first, as whoever its directory belongs to by now.
        if own.runs()?.is_none() {
            progress(None, "starting what was left stopped");
            let top = tree.owner().map_err(fails)?;
            if let Err(failed) = own.start(switch, own.user_of(top)) {
                return Err(own.start_as_it_was(switch, &tree, before.owner, failed).into());
            }
        }
        if self.check(host)? == Standing::Done {
            own.forget()?;
            return Ok(told(0));
        }
        let mut given = own.pass_gently(&tree, before.entries, progress).map_err(fails)?.given;
        for lead in own.behind(tree.owner().map_err(fails)?)? {
            lead.behind.give(own.wanted()).map_err(fails)?;
            given += 1;
        }
        let failed_now = |refused: Refusal| {
            ActError::Failed(Failure {
                code: codes::CEPH_MAY_NOT,
                error: refused.reason,
                remedy: refused.remedy,
            })
        };
        own.may_stop(switch, progress).map_err(failed_now)?;
        let Some(running) = own.runs()? else {
            let text = format!(
                "{} has ended while its files were given away, and replank did not stop it",
                self.daemon
            );
            return Err(failure(codes::CEPH_DOWN, text, REMEDY).into());
        };
        own.remember(Note::Switching)?;
        host.boundary.reached("ceph-own: note written");
        progress(None, "stopping");
        own.stop(switch, running, tree.owner().map_err(fails)?)?;
        host.boundary.reached("ceph-own: stopped");
        given += own.switch(switch, &tree, &before, progress)?.given;
        host.boundary.reached("ceph-own: started");
        own.forget()?;
        Ok(told(given))
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let own = Own { of: self, host };
        // Of the pass ahead nothing lasts: what the daemon makes meanwhile is its own.
        let Some(switch) = &self.switch else { return Ok(()) };
        let top = own.tree().and_then(|tree| tree.owner()).map_err(|error| own.failed(&error))?;
        if top != own.wanted() {
            let text = format!("{} is {top}'s and not {}'s", own.directory().display(), own.wanted());
            return Err(failure(codes::CEPH_OWN_TREE, text, REMEDY));
        }
        let daemon = Daemon::new(host, &self.daemon);
        let running = daemon.running().map_err(|error| systemd_failure(&error))?;
        let user = running.and_then(|running| own.runs_as(running));
        if user != Some(self.uid) {
            let is = user.map_or_else(|| "does not run".to_owned(), |user| format!("runs as {user}"));
            let text = format!("{} {is}, and its files are {}'s", self.daemon, own.wanted());
            return Err(failure(codes::CEPH_OWN_USER, text, REMEDY));
        }
        if own.answers(switch) == Ok(true) {
            return Ok(());
        }
        Err(failure(
            codes::CEPH_START,
            format!("{} does not answer as {}", self.daemon, switch.expect),
            REMEDY,
        ))
    }

    fn undo(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let own = Own { of: self, host };
        let before = recorded(record)?;
        let tree = own.tree().map_err(|error| own.refused(&error))?;
        let top = tree.owner().map_err(|error| own.refused(&error))?;
        if before.owner != own.wanted() {
            let restarts = match &self.switch {
                Some(switch) => own.back_as_it_was(switch, &tree, top, before.owner, progress)?,
                None if top == own.wanted() => {
                    return Err(ActError::Refused(refusal(
                        codes::CEPH_OWN_SETUP,
                        format!("{} runs as the owner of its files by now", self.daemon),
                        "take back first what made it so; or leave it as it is, which does no harm",
                    )));
                }
                None => false,
            };
            let given = own.give_back(&tree, &before, progress)?;
            own.forget()?;
            let changes = vec![own.told(given, own.wanted(), before.owner)];
            return Ok(if given > 0 || restarts {
                Report { changes, findings: Vec::new() }
            } else {
                Report::default()
            });
        }
        own.forget()?;
        Ok(Report::default())
    }
}
