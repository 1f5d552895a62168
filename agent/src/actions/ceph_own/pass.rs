//! Passes over a daemon's files.

use super::super::answer::refusal;
use super::super::{ActError, Host, Progress};
use super::{Before, Own};
use crate::codes;
use crate::host::command::Command;
use crate::host::owners::{Behind, Entry, Owner, Tree, TreeError, Walked, Wish};
use replank_common::outcome::Refusal;
use replank_common::planted::{self, Planted};
use replank_common::undo::OwnedBefore;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two words on how far a pass is.
const TOLD: Duration = Duration::from_secs(2);
/// Between two looks at the clock, in files.
const STRIDE: u64 = 64;
/// Files of neither owner that a record remembers.
const MOST_OTHERS: usize = 1_000;

/// How a pass goes through the tree.
pub(super) struct Pace<'p> {
    /// 0: no bound.
    pub(super) per_second: u32,
    pub(super) until: Option<Instant>,
    /// How many files there are, about; 0: nobody knows.
    pub(super) of: u64,
    pub(super) what: &'p str,
    pub(super) progress: Progress<'p>,
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
            let (permille, text) = how_far(self.pace.what, self.seen, self.pace.of);
            (self.pace.progress)(permille, &text);
        }
        Ok(())
    }
}

/// The part that is done, and the words for it. `of` 0: nobody knows how many there are.
fn how_far(what: &str, seen: u64, of: u64) -> (Option<u32>, String) {
    // What is made meanwhile is seen too, and does not make it more than whole.
    match (seen.min(of) * 1_000).checked_div(of) {
        Some(permille) => {
            (u32::try_from(permille).ok(), format!("{what}: {seen} of about {} files", of.max(seen)))
        }
        None => (None, format!("{what}: {seen} files")),
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

impl Own<'_> {
    /// How many files there are, and those that are neither `base`'s nor the wanted owner's.
    pub(super) fn whose(
        self,
        tree: &Tree,
        base: Owner,
        progress: Progress<'_>,
    ) -> Result<(u64, Vec<OwnedBefore>), Refusal> {
        let wanted = self.wanted();
        let mut others: Vec<OwnedBefore> = Vec::new();
        let mut strange = 0_usize;
        let pace = Pace {
            per_second: self.of.files_per_second,
            until: None,
            of: tree.about().unwrap_or(0),
            what: "seeing whose they are",
            progress,
        };
        let walked = gently(self.host, || {
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
        let walked = walked.map_err(|error| self.refused(&error))?;
        if strange > others.len() {
            let first = others.first().map(|other| format!(", such as {}", other.path.display()));
            return Err(refusal(
                codes::CEPH_OWN_TREE,
                format!(
                    "{strange} files of {} are neither {base}'s nor {wanted}'s{}: more than can be remembered for the way back",
                    self.of.daemon,
                    first.unwrap_or_default()
                ),
                "find out whose they are; give them to the owner of the directory yourself, then retry",
            ));
        }
        Ok((walked.seen, others))
    }

    /// Gives everything below the directory to its new owner.
    pub(super) fn pass(self, tree: &Tree, pace: &Pace<'_>) -> Result<Walked, TreeError> {
        let mut clock = Clock::new(pace);
        let wanted = self.wanted();
        if planted::is(Planted::DirectoryGivenFirst) {
            tree.give(wanted)?;
        }
        tree.walk(&mut |entry: &Entry<'_>| {
            clock.tick()?;
            if entry.owner == wanted {
                return Ok(Wish::Leave);
            }
            self.host.boundary.reached("ceph-own: one file more");
            Ok(Wish::Give(wanted))
        })
    }

    pub(super) fn pass_gently(
        self,
        tree: &Tree,
        of: u64,
        progress: Progress<'_>,
    ) -> Result<Walked, TreeError> {
        let per_second = self.of.files_per_second;
        let pace = Pace { per_second, until: None, of, what: "while it runs", progress };
        gently(self.host, || self.pass(tree, &pace))
    }

    /// Every file that is the new owner's, and those that the record names.
    pub(super) fn give_back(
        self,
        tree: &Tree,
        before: &Before<'_>,
        progress: Progress<'_>,
    ) -> Result<u64, ActError> {
        let fails = |error: TreeError| ActError::Failed(self.failed(&error));
        let wanted = self.wanted();
        let others = if planted::is(Planted::ThirdOwnerForgotten) { &[] } else { before.others };
        let inside: BTreeMap<&Path, Owner> = others
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

#[cfg(test)]
mod tests {
    use super::how_far;

    #[test]
    fn a_pass_tells_how_far_it_is_of_about_so_many() {
        assert_eq!(how_far("x", 250, 1_000), (Some(250), "x: 250 of about 1000 files".to_owned()));
        assert_eq!(how_far("x", 1_200, 1_000), (Some(1_000), "x: 1200 of about 1200 files".to_owned()));
        assert_eq!(how_far("x", 250, 0), (None, "x: 250 files".to_owned()));
    }
}
