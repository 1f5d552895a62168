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
//! Where the outage grows too long, where a file withstands, and where the daemon does not come up as its new user, it is started as it was: one that could serve
//! is not left down. It is never ended by force.

use super::answer::{change, failure, file_refusal, refusal, systemd_failure, systemd_refusal};
use super::ceph_safe::{Asked, may_stop};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use crate::host::ceph::devices::{Leads, is_given_at_boot, leads};
use crate::host::ceph::{Ceph, Daemon, Identity, conf, data_directory, installed_version};
use crate::host::command::Command;
use crate::host::owners::{Behind, Entry, Owner, Tree, TreeError, Walked, Wish};
use crate::host::{notes, proc};
use replank_common::action::{CephOwn, OwnSwitch};
use replank_common::ceph::CephKind;
use replank_common::outcome::Refusal;
use replank_common::undo::{OwnedBefore, UndoRecord};
use replank_common::version::Version;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KIND: &str = "ceph-own";
const BASE: &str = "/var/lib/ceph";
const POLL: Duration = Duration::from_millis(200);
/// Between two words on how far a pass is.
const TOLD: Duration = Duration::from_secs(2);
/// Between two looks at the clock, in files.
const STRIDE: u64 = 64;
/// Files of neither owner that a record remembers.
const MOST_OTHERS: usize = 1_000;
/// The release that knows `setuser match path` with the daemon's own words in it.
const FIRST: &str = "10.2";
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

/// How a pass goes through the tree.
struct Pace<'p> {
    /// 0: no bound.
    per_second: u32,
    until: Option<Instant>,
    /// For the part of it that is done.
    of: u64,
    what: &'p str,
    progress: Progress<'p>,
}

/// A pass on its way.
struct Clock<'p> {
    pace: &'p Pace<'p>,
    begun: Instant,
    told: Instant,
    seen: u64,
}

impl<'p> Clock<'p> {
    fn new(pace: &'p Pace<'p>) -> Self {
        let now = Instant::now();
        Self { pace, begun: now, told: now, seen: 0 }
    }

    fn tick(&mut self) -> Result<(), TreeError> {
        self.seen += 1;
        if !self.seen.is_multiple_of(STRIDE) {
            return Ok(());
        }
        if self.pace.until.is_some_and(|until| Instant::now() > until) {
            return Err(TreeError::TooLate);
        }
        if self.pace.per_second > 0 {
            let due =
                Duration::from_millis(self.seen.saturating_mul(1_000) / u64::from(self.pace.per_second));
            std::thread::sleep(due.saturating_sub(self.begun.elapsed()));
        }
        if self.told.elapsed() > TOLD {
            self.told = Instant::now();
            let permille = (self.seen.min(self.pace.of) * 1_000).checked_div(self.pace.of);
            let permille = permille.and_then(|permille| u32::try_from(permille).ok());
            (self.pace.progress)(permille, &format!("{}: {} files", self.pace.what, self.seen));
        }
        Ok(())
    }
}

/// Does `work` where it takes the disk and the processor only from those who do not want them.
fn gently<R: Send>(host: &Host, work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Without them it goes as well, and less gently.
            rustix::process::setpriority_process(None, 19).ok();
            let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
            let idle =
                Command::new("ionice").args(["-c", "3", "-p", &thread]).deadline(Duration::from_secs(5));
            drop(host.programs.run(&idle));
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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

    fn directory(self) -> PathBuf {
        data_directory(&self.of.daemon)
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

    /// Gives everything below the directory to its new owner.
    fn pass(self, tree: &Tree, pace: &Pace<'_>) -> Result<Walked, TreeError> {
        let mut clock = Clock::new(pace);
        let wanted = self.wanted();
        tree.walk(&mut |entry: &Entry<'_>| {
            clock.tick()?;
            if entry.owner == wanted {
                return Ok(Wish::Leave);
            }
            self.host.boundary.reached("ceph-own: one file more");
            Ok(Wish::Give(wanted))
        })
    }

    fn pass_gently(self, tree: &Tree, of: u64, progress: Progress<'_>) -> Result<Walked, TreeError> {
        let per_second = self.of.files_per_second;
        let pace = Pace { per_second, until: None, of, what: "while it runs", progress };
        gently(self.host, || self.pass(tree, &pace))
    }

    fn stop(self, switch: &OwnSwitch, running: Identity) -> Result<(), Failure> {
        let (name, deadline) = (&self.of.daemon, Duration::from_millis(switch.stop_ms));
        let (begun, process) = (Instant::now(), running.process());
        let asked = Daemon::new(self.host, name).stop(running, deadline);
        while proc::alive(self.host, process.pid) == Some(process) {
            if begun.elapsed() > deadline || asked.is_err() {
                let why = asked.err().map(|error| format!(": {error}")).unwrap_or_default();
                let text =
                    format!("{name} still runs {} s after it was asked to end{why}", switch.stop_ms / 1_000);
                return Err(failure(codes::CEPH_STOP, text, REMEDY));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Starts the daemon and waits until it answers, as `user`.
    fn start(self, switch: &OwnSwitch, user: u32) -> Result<(), Failure> {
        let name = &self.of.daemon;
        let daemon = Daemon::new(self.host, name);
        let deadline = Duration::from_millis(switch.start_ms);
        let begun = Instant::now();
        let fails = |code: &'static str, text: String| {
            let said = daemon.last_words();
            let said = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
            failure(code, format!("{name} {text}{said}"), REMEDY)
        };
        // A daemon that crashed often enough before is not started by systemd until its count is reset.
        self.host.systemd.reset_failed(&daemon.unit()).map_err(|error| systemd_failure(&error))?;
        let asked = self.host.systemd.start(&daemon.unit(), deadline);
        asked.map_err(|error| fails(codes::CEPH_START, format!("was not started: {error}")))?;
        loop {
            let status = self.host.systemd.status(&daemon.unit()).map_err(|error| systemd_failure(&error))?;
            let running = daemon.running().map_err(|error| systemd_failure(&error))?;
            match (running, status.active_state.as_str()) {
                (Some(running), _) => match self.answers(switch) {
                    Ok(false) => {}
                    Ok(true) if self.runs_as(running) == Some(user) => return Ok(()),
                    Ok(true) => {
                        let is =
                            self.runs_as(running).map_or_else(|| "nobody".to_owned(), |is| is.to_string());
                        return Err(fails(
                            codes::CEPH_OWN_USER,
                            format!("runs as the user {is} and not {user}"),
                        ));
                    }
                    Err(other) => {
                        return Err(fails(
                            codes::CEPH_START,
                            format!("runs {other} and not {}", switch.expect),
                        ));
                    }
                },
                (None, "failed" | "inactive") => {
                    return Err(fails(codes::CEPH_START, "ended after its start".to_owned()));
                }
                (None, _) => {}
            }
            if begun.elapsed() > deadline {
                let text = format!("does not answer {} s after its start", switch.start_ms / 1_000);
                return Err(fails(codes::CEPH_START, text));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether it does its work, as what is expected. `Err`: it is of another release.
    fn answers(self, switch: &OwnSwitch) -> Result<bool, Version> {
        let ceph = Ceph::new(self.host);
        match ceph.running_version(&self.of.daemon) {
            Ok(version) if version != switch.expect => Err(version),
            Ok(_) if self.of.daemon.kind == CephKind::Mon => {
                Ok(ceph.in_quorum(&self.of.daemon).unwrap_or(false))
            }
            Ok(_) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    fn may_stop(self, switch: &OwnSwitch, progress: Progress<'_>) -> Result<(), Refusal> {
        progress(None, "seeing whether it may stop");
        let patience = Duration::from_millis(switch.start_ms);
        let asked = Asked { beside: &[], consents: &switch.consents, patience };
        may_stop(self.host, asked, &[&self.of.daemon], progress)
    }

    /// The outage. The daemon runs afterwards, whatever became of its files.
    fn switch(
        self,
        switch: &OwnSwitch,
        tree: &Tree,
        before: &Before<'_>,
        progress: Progress<'_>,
    ) -> Result<Walked, Failure> {
        let old = before.owner;
        let until = Some(Instant::now() + Duration::from_millis(switch.down_ms));
        let pace = Pace { per_second: 0, until, of: before.entries, what: "while it is down", progress };
        let given = self.pass(tree, &pace).and_then(|walked| {
            self.host.boundary.reached("ceph-own: all files given");
            tree.give(self.wanted())?;
            Ok(walked)
        });
        let walked = match given {
            Ok(walked) => walked,
            Err(error) => {
                progress(None, "starting it as it was");
                let failed = self.failed(&error);
                return match self.start(switch, self.user_of(old)) {
                    Ok(()) => {
                        Err(Failure { error: format!("{}; it runs as before", failed.error), ..failed })
                    }
                    Err(also) => {
                        Err(Failure { error: format!("{}; and {}", failed.error, also.error), ..also })
                    }
                };
            }
        };
        self.host.boundary.reached("ceph-own: the directory given");
        progress(None, "starting");
        match self.start(switch, self.of.uid) {
            Ok(()) => Ok(walked),
            Err(failed) => Err(self.start_as_it_was(switch, tree, old, failed)),
        }
    }

    /// One that runs is left to run; one that does not come up as its new user is tried as its old one.
    fn start_as_it_was(self, switch: &OwnSwitch, tree: &Tree, old: Owner, failed: Failure) -> Failure {
        if old == self.wanted() || self.runs().is_ok_and(|running| running.is_some()) {
            return failed;
        }
        let daemon = Daemon::new(self.host, &self.of.daemon);
        // systemd may be about to start it once more; ended it has already.
        self.host.systemd.stop(&daemon.unit(), Duration::from_millis(switch.stop_ms)).ok();
        let started = tree.give(old).map_err(|error| self.failed(&error));
        match started.and_then(|()| self.start(switch, self.user_of(old))) {
            Ok(()) => Failure {
                error: format!("{}; its directory is {old}'s again, and it runs as before", failed.error),
                ..failed
            },
            Err(also) => Failure { error: format!("{}; as before, {}", failed.error, also.error), ..failed },
        }
    }

    fn check_switch(self, switch: &OwnSwitch, top: Owner) -> Result<Standing, Refusal> {
        let name = &self.of.daemon;
        let note = self.note()?;
        let running = self.runs()?;
        let Some(running) = running else {
            return match note {
                Some(Note::Switching | Note::Back) => Ok(Standing::Half),
                Some(Note::Ahead) | None => Err(refusal(
                    codes::CEPH_DOWN,
                    format!("{name} does not run, and replank did not stop it"),
                    "see why it is down, and start it; then retry",
                )),
            };
        };
        let version = Ceph::new(self.host).running_version(name).ok();
        if top == self.wanted()
            && self.runs_as(running) == Some(top.uid)
            && version.as_ref() == Some(&switch.expect)
        {
            return Ok(if self.answers(switch) == Ok(true) { Standing::Done } else { Standing::Half });
        }
        if switch.expect < Version::new(FIRST) {
            return Err(refusal(
                codes::CEPH_OWN_SETUP,
                format!("{name} of {} always runs as root", switch.expect),
                "bring the cluster to Jewel or later first",
            ));
        }
        let on_disk = installed_version(self.host, name.kind).map_err(|why| {
            refusal(codes::CEPH_ON_DISK, why, "see whether Ceph's packages are installed whole, then retry")
        })?;
        if on_disk != switch.expect || version.is_some_and(|version| version != switch.expect) {
            return Err(refusal(
                codes::CEPH_ON_DISK,
                format!("{name} would not come back as {}: {on_disk} is installed", switch.expect),
                "bring every daemon to the installed release first; then take the inventory and make the plan again",
            ));
        }
        self.may_begin(top)?;
        self.behind(top)?;
        Ok(if note == Some(Note::Switching) { Standing::Half } else { Standing::Ready })
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
        let own = Own { of: self, host };
        let tree = own.tree().map_err(|error| own.refused(&error))?;
        let Owner { uid, gid } = tree.owner().map_err(|error| own.refused(&error))?;
        let (base, wanted) = (Owner { uid, gid }, own.wanted());
        let mut others: Vec<OwnedBefore> = Vec::new();
        let mut strange = 0_usize;
        let pace = Pace {
            per_second: self.files_per_second,
            until: None,
            of: 0,
            what: "seeing whose they are",
            progress: &|_, _| {},
        };
        let walked = gently(host, || {
            let mut clock = Clock::new(&pace);
            tree.walk(&mut |entry: &Entry<'_>| {
                clock.tick()?;
                if entry.owner != base && entry.owner != wanted {
                    strange += 1;
                    if others.len() < MOST_OTHERS && entry.path.to_str().is_some() {
                        let Owner { uid, gid } = entry.owner;
                        others.push(OwnedBefore { path: entry.path.to_owned(), uid, gid });
                    }
                }
                Ok(Wish::Leave)
            })
        });
        let walked = walked.map_err(|error| own.refused(&error))?;
        if strange > others.len() {
            let first = others.first().map(|other| format!(", such as {}", other.path.display()));
            return Err(refusal(
                codes::CEPH_OWN_TREE,
                format!(
                    "{strange} files of {} are neither {base}'s nor {wanted}'s{}: more than can be remembered for the way back",
                    self.daemon,
                    first.unwrap_or_default()
                ),
                "find out whose they are; give them to the owner of the directory yourself, then retry",
            ));
        }
        for lead in own.behind(base)? {
            let Owner { uid, gid } = lead.behind.owner();
            others.push(OwnedBefore { path: lead.to, uid, gid });
        }
        Ok(UndoRecord::CephOwner { uid, gid, entries: walked.seen, others })
    }

    fn apply(&self, host: &Host, record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let own = Own { of: self, host };
        let before = recorded(record)?;
        let tree = own.tree().map_err(|error| own.failed(&error))?;
        let fails = |error: TreeError| ActError::Failed(own.failed(&error));
        let told = |given: u64| Report {
            changes: vec![change(
                format!("owner of {given} files of {}", self.daemon),
                before.owner.to_string(),
                own.wanted().to_string(),
            )],
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
        own.stop(switch, running)?;
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
            let changes = vec![change(
                format!("owner of {given} files of {}", self.daemon),
                own.wanted().to_string(),
                before.owner.to_string(),
            )];
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

impl Own<'_> {
    /// The way back begins with the directory itself. Whether the daemon was restarted for it.
    fn back_as_it_was(
        self,
        switch: &OwnSwitch,
        tree: &Tree,
        top: Owner,
        old: Owner,
        progress: Progress<'_>,
    ) -> Result<bool, ActError> {
        let left_down = self.note()?.is_some();
        let running = self.runs()?;
        let gives = || tree.give(old).map_err(|error| ActError::Failed(self.failed(&error)));
        match running {
            None => {
                self.may_begin(old)?;
                gives()?;
                if left_down {
                    self.start(switch, self.user_of(old))?;
                }
                Ok(left_down)
            }
            // It runs as root, or never was anybody else's.
            Some(running) if top != self.wanted() || self.runs_as(running) == Some(self.user_of(old)) => {
                gives()?;
                Ok(false)
            }
            Some(running) => {
                self.may_begin(old)?;
                self.may_stop(switch, progress)?;
                self.remember(Note::Back)?;
                progress(None, "stopping");
                self.stop(switch, running)?;
                self.host.boundary.reached("ceph-own: stopped, to go back");
                gives()?;
                self.host.boundary.reached("ceph-own: the directory given back");
                progress(None, "starting it as it was");
                self.start(switch, self.user_of(old))?;
                Ok(true)
            }
        }
    }

    /// Every file that is the new owner's, and those that the record names.
    fn give_back(self, tree: &Tree, before: &Before<'_>, progress: Progress<'_>) -> Result<u64, ActError> {
        let fails = |error: TreeError| ActError::Failed(self.failed(&error));
        let wanted = self.wanted();
        let inside: std::collections::BTreeMap<&Path, Owner> = before
            .others
            .iter()
            .map(|other| (other.path.as_path(), Owner { uid: other.uid, gid: other.gid }))
            .collect();
        let per_second = self.of.files_per_second;
        let pace = Pace { per_second, until: None, of: before.entries, what: "giving back", progress };
        let walked = gently(self.host, || {
            let mut clock = Clock::new(&pace);
            tree.walk(&mut |entry: &Entry<'_>| {
                clock.tick()?;
                let wish = match inside.get(entry.path) {
                    Some(other) if entry.owner == wanted || entry.owner == before.owner => Wish::Give(*other),
                    None if entry.owner == wanted => Wish::Give(before.owner),
                    Some(_) | None => Wish::Leave,
                };
                if wish != Wish::Leave && wish != Wish::Give(entry.owner) {
                    self.host.boundary.reached("ceph-own: one file more back");
                }
                Ok(wish)
            })
        });
        let mut given = walked.map_err(fails)?.given;
        for (path, owner) in inside.iter().filter(|(path, _)| path.is_absolute()) {
            // A device may have another name by now, and is root's after a boot in any case.
            let Ok(behind) = Behind::open(path) else { continue };
            if behind.owner() == wanted {
                behind.give(*owner).map_err(fails)?;
                given += 1;
            }
        }
        Ok(given)
    }
}
