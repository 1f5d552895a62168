//! The performer.

use super::dispatch::performs;
use crate::actions::{ActError, Failure, Perform, Report, Standing};
use crate::clock::now_ms;
use crate::codes;
use crate::host::Host;
use crate::ledger::{Entry, IllegalEntry, Ledger, LedgerError, NewIntent, Stage, Work, standing_record};
use crate::policy::Policy;
use replank_common::action::{Action, Family};
use replank_common::finding::Severity;
use replank_common::ids::{ActionId, Epoch, PlanId};
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::undo::UndoRecord;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// One command as it came over the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub epoch: Epoch,
    pub id: ActionId,
    pub plan: PlanId,
    pub work: Work,
}

/// What happens on the way to the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The intent is durable; the action begins or goes on.
    Accepted,
    Progress {
        permille: Option<u32>,
        text: String,
    },
}

/// What a performer works with.
#[derive(Debug)]
pub struct PerformerSettings {
    pub host: Host,
    pub ledger: Arc<Ledger>,
    pub policy: Policy,
}

/// Carries out commands, one at a time.
#[derive(Debug)]
pub struct Performer {
    host: Host,
    ledger: Arc<Ledger>,
    policy: RwLock<Arc<Policy>>,
    /// Held while an action works: a host changes one thing at a time.
    lane: Mutex<()>,
    cancelled: Mutex<BTreeSet<ActionId>>,
}

impl Performer {
    pub fn new(settings: PerformerSettings) -> Self {
        Self {
            host: settings.host,
            ledger: settings.ledger,
            policy: RwLock::new(Arc::new(settings.policy)),
            lane: Mutex::new(()),
            cancelled: Mutex::new(BTreeSet::new()),
        }
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The policy that the next command is judged by.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the policy. A command that is at work goes on under the one that it began under.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Do not start this command if it has not started. One that runs is not interrupted.
    pub fn cancel(&self, id: ActionId) {
        lock(&self.cancelled).insert(id);
    }

    /// Carries a command out, or answers from the ledger. Blocking; `tell` is called from this thread.
    pub fn perform(&self, command: &Command, tell: &(dyn Fn(Event) + Sync)) -> Outcome {
        let _lane = lock(&self.lane);
        match self.obey(command, tell) {
            Ok(outcome) => outcome,
            // Obeyed when it came, and a later coordinator has been obeyed while the host was looked at.
            Err(LedgerError::Illegal(illegal @ IllegalEntry::OldEpoch(_))) => Outcome::Refused(refusal(
                codes::OLD_EPOCH,
                illegal.to_string(),
                "an earlier coordinator must not command; stop it",
            )),
            // Without its ledger the agent does nothing at all, and says so each time.
            Err(error) => Outcome::Refused(refusal(
                codes::LEDGER,
                error.to_string(),
                "the agent refuses every action until its ledger can be used again",
            )),
        }
    }

    fn obey(&self, command: &Command, tell: &(dyn Fn(Event) + Sync)) -> Result<Outcome, LedgerError> {
        if !self.ledger.obey(command.epoch)? {
            let highest = self.ledger.epoch()?;
            return Ok(Outcome::Refused(refusal(
                codes::OLD_EPOCH,
                format!(
                    "the command carries epoch {}, and a coordinator of epoch {highest} was obeyed",
                    command.epoch
                ),
                "an earlier coordinator must not command; stop it",
            )));
        }
        let known = self.ledger.look_up(&command.id)?;
        if let Some(outcome) = known.as_ref().and_then(Entry::outcome) {
            return Ok(outcome.clone());
        }
        if known.is_none() && lock(&self.cancelled).remove(&command.id) {
            return self.refuse(
                command,
                refusal(
                    codes::CANCELLED,
                    "it was cancelled before it started",
                    "retry the step when it is wanted after all",
                ),
            );
        }
        match &command.work {
            Work::Do(_) if self.was_taken_back(&command.id)? => {
                let late = refusal(
                    codes::CANCELLED,
                    "it was taken back already; this command came late",
                    "retry the step when it is wanted after all",
                );
                match known {
                    Some(_) => self.end(command, Outcome::Refused(late)),
                    None => self.refuse(command, late),
                }
            }
            Work::Do(action) => self.carry_out(command, action, known, tell),
            Work::Undo(of) => self.take_back(command, of, known, tell),
        }
    }

    /// A command to take this attempt of the step back, or a later one, was answered as done: whoever sent it counts on nothing being there.
    /// After one that was refused or failed, the record stands, and the next one finds it.
    fn was_taken_back(&self, id: &ActionId) -> Result<bool, LedgerError> {
        let entries = self.ledger.of_step(&id.run, &id.step)?;
        Ok(entries.iter().any(|entry| {
            matches!(&entry.work, Work::Undo(of) if of.attempt >= id.attempt)
                && entry.outcome().is_some_and(Outcome::is_done)
        }))
    }

    fn carry_out(
        &self,
        command: &Command,
        action: &Action,
        known: Option<Entry>,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Outcome, LedgerError> {
        if let Err(refusal) = self.policy().permits(action) {
            return match known {
                // Begun under an earlier policy: the host is left as it is, and the operator told.
                Some(_) => self.end(command, refused_half_way(refusal)),
                None => self.refuse(command, refusal),
            };
        }
        // What was begun is finished or taken back; leaving it half done is no safer.
        if known.is_none()
            && let Err(refusal) = self.guarded(action)
        {
            return self.refuse(command, refusal);
        }
        let began = Instant::now();
        let performs = performs(action);
        let resumed = known.is_some();
        let standing = match performs.check(&self.host) {
            Ok(standing) => standing,
            Err(refusal) if resumed => return self.end(command, refused_half_way(refusal)),
            Err(refusal) => return self.refuse(command, refusal),
        };
        let record = match known {
            Some(Entry { stage: Stage::Intended { undo }, .. }) => undo,
            Some(Entry { stage: Stage::Ended { .. }, .. }) => {
                unreachable!("an ended entry was answered above")
            }
            None => {
                let entries = self.ledger.of_step(&command.id.run, &command.id.step)?;
                let earlier = standing_record(&entries).cloned();
                if standing == Standing::Done {
                    let outcome = done(How::FoundDone, began, Report::default());
                    return self.end_unbegun(command, earlier, outcome);
                }
                let record = match earlier {
                    Some(record) => record,
                    None => match performs.prepare(&self.host) {
                        Ok(record) => record,
                        Err(refusal) => return self.refuse(command, refusal),
                    },
                };
                self.intend(command, record.clone())?;
                record
            }
        };
        tell(Event::Accepted);
        boundary("acting", &command.id);
        let outcome = match self.act(performs, standing, &record, tell) {
            Ok(report) => {
                let how = match (standing, resumed) {
                    (Standing::Done | Standing::Half, _) | (Standing::Ready, true) => How::Finished,
                    (Standing::Ready, false) => How::Applied,
                };
                done(how, began, report)
            }
            // It turned out on the way that it must not be; nothing outside the agent's own directory has changed.
            Err(ActError::Refused(refusal)) if resumed => refused_half_way(refusal),
            Err(ActError::Refused(refusal)) => Outcome::Refused(refusal),
            Err(ActError::Failed(failure)) => self.failed(action, performs, &record, failure, began, tell),
        };
        boundary("acted", &command.id);
        self.end(command, outcome)
    }

    /// The guard's word, on what the action itself says.
    fn guarded(&self, action: &Action) -> Result<(), Refusal> {
        let findings = self.host.guests.judge_action(action).map_err(|why| {
            refusal(
                codes::GUARD_USAGE_UNKNOWN,
                format!("it cannot be told whether the action touches what guests use: {why}"),
                "see what the message names; nothing is done while it cannot be told",
            )
        })?;
        match findings.iter().find(|finding| finding.severity == Severity::Blocks) {
            None => Ok(()),
            Some(first) => Err(Refusal {
                code: first.code.clone(),
                reason: format!("{}: {}", first.subject, first.cause),
                remedy: first.remedy.clone(),
                findings: findings.clone(),
            }),
        }
    }

    fn act(
        &self,
        performs: &dyn Perform,
        standing: Standing,
        record: &UndoRecord,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Report, ActError> {
        let report = match standing {
            Standing::Done => Report::default(),
            Standing::Ready | Standing::Half => performs.apply(&self.host, record, &progress(tell))?,
        };
        performs.verify(&self.host, record)?;
        Ok(report)
    }

    /// What cannot hurt a guest is put back at once. Packages and trees are left for the operator to decide about: going back is as
    /// weighty there as going on.
    fn failed(
        &self,
        action: &Action,
        performs: &dyn Perform,
        record: &UndoRecord,
        failure: Failure,
        began: Instant,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Outcome {
        let restored = match action.family() {
            Family::Files | Family::Units | Family::Repositories => {
                performs.undo(&self.host, record, &progress(tell)).is_ok()
            }
            Family::Packages | Family::Trees | Family::Libvirt => false,
        };
        failed(failure, restored, began)
    }

    fn take_back(
        &self,
        command: &Command,
        of: &ActionId,
        known: Option<Entry>,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Outcome, LedgerError> {
        let began = Instant::now();
        let entries = self.ledger.of_step(&of.run, &of.step)?;
        let action = entries.iter().rev().find_map(|entry| match &entry.work {
            Work::Do(action) => Some(action),
            Work::Undo(_) => None,
        });
        let record = match (&known, action) {
            (Some(entry), _) => entry.undo().cloned(),
            // Whether the way back is safe is asked anew each time: it changes nothing, and guests come and go between two rollbacks.
            (None, Some(Action::LibvirtTrial(_))) => entries.iter().find_map(Entry::undo).cloned(),
            (None, _) => standing_record(&entries).cloned(),
        };
        let (Some(action), Some(record)) = (action, record) else {
            return self.end_unbegun(command, None, done(How::NothingToUndo, began, Report::default()));
        };
        if let Err(refusal) = self.policy().permits(action) {
            return match known {
                Some(_) => self.end(command, refused_half_way(refusal)),
                None => self.refuse(command, refusal),
            };
        }
        if known.is_none() {
            self.intend(command, record.clone())?;
        }
        tell(Event::Accepted);
        boundary("undoing", &command.id);
        let outcome = match performs(action).undo(&self.host, &record, &progress(tell)) {
            Ok(report) => done(How::Undone, began, report),
            Err(ActError::Refused(refusal)) => Outcome::Refused(refusal),
            Err(ActError::Failed(failure)) => failed(failure, false, began),
        };
        boundary("undone", &command.id);
        self.end(command, outcome)
    }

    fn intend(&self, command: &Command, undo: UndoRecord) -> Result<(), LedgerError> {
        boundary("intending", &command.id);
        self.ledger.intend(NewIntent {
            epoch: command.epoch,
            id: command.id.clone(),
            plan: command.plan.clone(),
            work: command.work.clone(),
            undo,
            at_ms: now_ms(),
        })?;
        boundary("intended", &command.id);
        Ok(())
    }

    fn end(&self, command: &Command, outcome: Outcome) -> Result<Outcome, LedgerError> {
        self.ledger.end(&command.id, outcome.clone(), now_ms())?;
        boundary("ended", &command.id);
        Ok(outcome)
    }

    fn refuse(&self, command: &Command, refusal: Refusal) -> Result<Outcome, LedgerError> {
        self.end_unbegun(command, None, Outcome::Refused(refusal))
    }

    fn end_unbegun(
        &self,
        command: &Command,
        undo: Option<UndoRecord>,
        outcome: Outcome,
    ) -> Result<Outcome, LedgerError> {
        self.ledger.end_unbegun(
            command.id.clone(),
            command.plan.clone(),
            command.work.clone(),
            undo,
            outcome.clone(),
            now_ms(),
        )?;
        boundary("ended", &command.id);
        Ok(outcome)
    }
}

/// An instant at which the crash tests kill the agent, named by what has just become durable or is about to.
fn boundary(what: &str, id: &ActionId) {
    if cfg!(feature = "crash-points") {
        replank_crash::reach(&format!("ledger.{what} {} {:?}", id.step, id.direction));
    }
}

fn progress(tell: &(dyn Fn(Event) + Sync)) -> impl Fn(Option<u32>, &str) + Sync {
    move |permille, text| tell(Event::Progress { permille, text: text.to_owned() })
}

fn done(how: How, began: Instant, report: Report) -> Outcome {
    Outcome::Done { how, took_ms: took_ms(began), changes: report.changes, findings: report.findings }
}

fn failed(failure: Failure, restored: bool, began: Instant) -> Outcome {
    Outcome::Failed {
        code: failure.code.to_owned(),
        error: failure.error,
        remedy: failure.remedy,
        restored,
        took_ms: took_ms(began),
    }
}

/// The host is not as the action expects, and an earlier try of it may have changed something: not a refusal any more.
fn refused_half_way(refusal: Refusal) -> Outcome {
    Outcome::Failed {
        code: refusal.code,
        error: format!("begun before, and now: {}", refusal.reason),
        remedy: refusal.remedy,
        restored: false,
        took_ms: 0,
    }
}

fn refusal(code: &'static str, reason: impl Into<String>, remedy: &str) -> Refusal {
    Refusal { code: code.to_owned(), reason: reason.into(), remedy: remedy.to_owned(), findings: Vec::new() }
}

fn took_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is whole at every instruction, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
