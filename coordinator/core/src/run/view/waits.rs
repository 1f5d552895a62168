//! What a run waits for, in sentences that name the thing, since when, and what to do about it.

use super::{RunView, WaitView};
use crate::codes;
use crate::gate::{HaltReason, duration};
use crate::run::event::{End, When};
use crate::run::machine::{Block, Machine};
use crate::run::state::{Course, OpenLoss, StepPhase};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, GuestUuid, HostName, StepId};
use std::collections::{BTreeMap, BTreeSet};

impl Machine {
    pub(super) fn waits(&self, now_ms: UnixMs) -> Vec<WaitView> {
        let mut waits = Vec::new();
        if self.state.finished().is_some() {
            return waits;
        }
        self.halt_waits(&mut waits);
        self.leader_waits(&mut waits);
        self.pause_waits(&mut waits);
        self.held_waits(&mut waits);
        self.hold_waits(&mut waits);
        self.borrowed_waits(now_ms, &mut waits);
        self.gate_waits(now_ms, &mut waits);
        self.flight_waits(now_ms, &mut waits);
        self.block_waits(&mut waits);
        waits
    }

    fn run_name(&self) -> String {
        self.state.run.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn halt_waits(&self, waits: &mut Vec<WaitView>) {
        let run = self.run_name();
        let resume = format!("replank resume {run}{}", self.acknowledging());
        for loss in &self.state.open {
            let (code, host) = match &loss.reason {
                HaltReason::GuestLost { host, .. } => (codes::RUN_GUEST_LOST, Some(host.clone())),
                HaltReason::GuestTwice { hosts, .. } => (codes::RUN_GUEST_TWICE, hosts.first().cloned()),
                HaltReason::HostRebooted { host } => (codes::RUN_HOST_REBOOTED, Some(host.clone())),
            };
            waits.push(WaitView {
                code: code.to_owned(),
                host,
                step: loss.during.first().cloned(),
                text: format!("halted: {}{}; {}", loss.reason, guests_text(loss), self.during_text(&loss.during)),
                since_ms: self.state.halt.as_ref().map(|halt| halt.since_ms),
                overdue: false,
                remedy: format!(
                    "find out what ended it; then `{resume}`, `replank abort {run}` or `replank rollback {run}`"
                ),
            });
        }
    }

    /// The option that names every guest to acknowledge; by UUID where a name is not plain or not one guest's.
    fn acknowledging(&self) -> String {
        let guests: BTreeMap<GuestUuid, &str> = self
            .state
            .open
            .iter()
            .flat_map(|loss| &loss.guests)
            .map(|(uuid, name)| (*uuid, name.as_str()))
            .collect();
        let word = |(uuid, name): (&GuestUuid, &&str)| {
            let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            let alone = guests.values().filter(|other| *other == name).count() == 1;
            if plain && alone { format!(" {name}") } else { format!(" {uuid}") }
        };
        let words: String = guests.iter().map(word).collect();
        if words.is_empty() { words } else { format!(" --acknowledge-lost{words}") }
    }

    fn during_text(&self, during: &[StepId]) -> String {
        if during.is_empty() {
            return "no step was in flight".to_owned();
        }
        let titled = |step: &StepId| {
            let plan = self.state.index.step(step).map(|ix| self.state.index.step_at(ix));
            plan.map_or_else(|| step.to_string(), |plan| format!("{step} on {} ({})", plan.host, plan.title))
        };
        let steps: Vec<String> = during.iter().map(titled).collect();
        format!("in flight: {}", steps.join(", "))
    }

    fn leader_waits(&self, waits: &mut Vec<WaitView>) {
        if let Some(epoch) = self.deposed_by() {
            waits.push(WaitView {
                code: codes::RUN_DEPOSED.to_owned(),
                host: None,
                step: None,
                text: format!(
                    "an agent has obeyed a coordinator of epoch {epoch}; this one, of epoch {}, commands nobody",
                    self.state.epoch
                ),
                since_ms: None,
                overdue: false,
                remedy: "stop one of the two coordinators, and restart the one that is to lead".to_owned(),
            });
        }
    }

    fn pause_waits(&self, waits: &mut Vec<WaitView>) {
        if let Some(paused) = &self.state.paused {
            waits.push(WaitView {
                code: codes::RUN_PAUSED_ALREADY.to_owned(),
                host: None,
                step: None,
                text: format!("paused by {}: no step starts", paused.by),
                since_ms: Some(paused.since_ms),
                overdue: false,
                remedy: format!("`replank resume {}`", self.run_name()),
            });
        }
    }

    fn held_waits(&self, waits: &mut Vec<WaitView>) {
        let run = self.run_name();
        let forward = self.state.course == Course::Forward;
        for (ix, state) in self.state.steps.iter().enumerate() {
            let counts = match state.phase {
                StepPhase::Held => forward,
                StepPhase::UndoHeld => true,
                StepPhase::Pending
                | StepPhase::Acting
                | StepPhase::Verifying
                | StepPhase::Done
                | StepPhase::Undoing
                | StepPhase::Undone => false,
            };
            let Some(held) = state.held.as_ref().filter(|_| counts) else { continue };
            let plan = self.state.index.step_at(ix);
            let doing =
                if state.phase == StepPhase::Held { "was not carried out" } else { "was not taken back" };
            let left = if held.unchanged { "nothing was changed" } else { "it is half done" };
            waits.push(WaitView {
                code: codes::RUN_STEP_HELD.to_owned(),
                host: Some(plan.host.clone()),
                step: Some(plan.id.clone()),
                text: format!("{} {doing}: {}: {}; {left}", plan.id, held.code, held.reason),
                since_ms: Some(held.since_ms),
                overdue: false,
                remedy: format!("{}; then `replank retry {run} {}`", held.remedy, plan.id),
            });
        }
    }

    fn hold_waits(&self, waits: &mut Vec<WaitView>) {
        if self.state.course != Course::Forward {
            return;
        }
        for (hold, state) in self.state.index.plan.holds.iter().zip(&self.state.holds) {
            if state.reached_ms.is_some() && state.approved.is_none() {
                waits.push(WaitView {
                    code: codes::HOLD_NOT_REACHED.to_owned(),
                    host: None,
                    step: None,
                    text: format!("hold {} waits for approval: {}", hold.id, hold.title),
                    since_ms: state.reached_ms,
                    overdue: false,
                    remedy: format!("{}; then `replank approve {} {}`", hold.why, self.run_name(), hold.id),
                });
            }
        }
    }

    /// What of a cluster stays borrowed longer than the plan says. It is told and not taken away: see [`crate::plan::loans`].
    fn borrowed_waits(&self, now_ms: UnixMs, waits: &mut Vec<WaitView>) {
        for loan in self.borrowed().into_iter().filter(|loan| now_ms >= loan.told_ms) {
            let expected = duration(loan.expected_ms.saturating_sub(loan.since_ms));
            waits.push(WaitView {
                code: codes::RUN_BORROWED_LONG.to_owned(),
                host: Some(loan.host),
                step: Some(loan.step),
                text: format!("{} is still borrowed; the plan expected it for {expected}", loan.what),
                since_ms: Some(loan.since_ms),
                overdue: true,
                remedy: format!(
                    "see to what else the run waits for, and it is given back at its end; or give it back now, with the voyage unfinished: \
                     `replank abort {}`",
                    self.run_name()
                ),
            });
        }
    }

    /// Steps at their gates: the newest reason, since the first one.
    fn gate_waits(&self, now_ms: UnixMs, waits: &mut Vec<WaitView>) {
        for seen in &self.seen {
            let Some(asking) = &seen.asking else { continue };
            let plan = self.state.index.step_at(asking.step);
            let recorded =
                self.state.steps[asking.step].wait.as_ref().filter(|wait| wait.when == asking.when);
            let Some(reason) = asking.latest.as_ref().or(recorded.map(|wait| &wait.reason)) else { continue };
            let since_ms = recorded.map_or(asking.begun_ms, |wait| wait.since_ms);
            let doing = match asking.when {
                When::Before => "does not begin",
                When::After => "is not finished",
                When::Undo => "is not taken back",
            };
            let overdue = now_ms.saturating_sub(since_ms) > plan.deadline_ms;
            waits.push(WaitView {
                code: codes::RUN_GATE_WAITS.to_owned(),
                host: Some(plan.host.clone()),
                step: Some(plan.id.clone()),
                text: format!("{} {doing}: {reason}", plan.id),
                since_ms: Some(since_ms),
                overdue,
                remedy: "it goes on by itself once the reason is gone; nothing forces a gate".to_owned(),
            });
        }
    }

    /// Commands whose outcome cannot be learned now.
    fn flight_waits(&self, now_ms: UnixMs, waits: &mut Vec<WaitView>) {
        for host in &self.state.flying {
            let Some(flight) = &self.state.hosts[*host].flight else { continue };
            let plan = self.state.index.step_at(flight.step);
            let late = now_ms.saturating_sub(flight.sent_ms) > plan.deadline_ms;
            let seen = &self.seen[*host];
            let (code, text, since_ms) = if !seen.is_up() {
                let what = "its outcome is not known while the agent cannot be heard";
                let since_ms = match seen.link {
                    crate::gate::LinkSeen::Down { since_ms } => since_ms,
                    crate::gate::LinkSeen::Up => None,
                };
                (codes::RUN_CANNOT_TELL, what, since_ms)
            } else if late {
                let what = "the agent has not answered within the step's deadline; it is asked again";
                (codes::RUN_NO_ANSWER, what, Some(flight.sent_ms))
            } else {
                continue;
            };
            waits.push(WaitView {
                code: code.to_owned(),
                host: Some(plan.host.clone()),
                step: Some(plan.id.clone()),
                text: format!("{} ({}): {text}", plan.id, flight.action),
                since_ms,
                overdue: late,
                remedy: format!("look at replank-agent on {}", plan.host),
            });
        }
    }

    /// What keeps steps from their gates, each cause once; what follows from another wait is not repeated.
    fn block_waits(&self, waits: &mut Vec<WaitView>) {
        let mut told = BTreeSet::new();
        for host in 0..self.state.hosts.len() {
            let Some(step) = self.step_of(host) else {
                if self.is_closing() && (self.state.uncounted.contains(&host) || self.is_missed(host)) {
                    self.count_wait(host, waits);
                }
                continue;
            };
            let block = match (&self.state.course, self.state.steps[step].phase) {
                (Course::Forward, StepPhase::Pending) => self.block_of_step(step),
                (Course::Forward, _) | (Course::Finished { .. }, _) => None,
                (Course::Guarding { .. } | Course::RollingBack { .. } | Course::Closing { .. }, _) => {
                    self.block_of_back(host, step)
                }
            };
            let since_ms = match &block {
                Some(Block::CannotSee { .. } | Block::Twice { .. }) => None,
                Some(Block::Baseline { .. }) => Some(self.state.created_ms),
                Some(
                    Block::Stopped
                    | Block::Step { .. }
                    | Block::Hold { .. }
                    | Block::Held { .. }
                    | Block::LaterHosts,
                )
                | None => continue,
            };
            let Some(block) = block else { continue };
            if self.state.hosts[host].flight.is_some() || !told.insert(block.clone()) {
                continue;
            }
            waits.push(WaitView {
                code: codes::RUN_CANNOT_TELL.to_owned(),
                host: Some(self.state.index.host_name(host).clone()),
                step: Some(self.state.index.step_at(step).id.clone()),
                text: block.to_string(),
                since_ms,
                overdue: false,
                remedy: "see that every agent is linked and its census agrees: `replank host list`"
                    .to_owned(),
            });
        }
    }

    fn is_closing(&self) -> bool {
        matches!(self.state.course, Course::Closing { .. }) && !self.state.stopped()
    }

    /// Counted, and not seen since: a run that ends well ends with every host in sight.
    fn is_missed(&self, host: usize) -> bool {
        let aborts = matches!(self.state.course, Course::Closing { end: End::Aborted });
        !aborts && self.seen[host].is_blind()
    }

    fn count_wait(&self, host: usize, waits: &mut Vec<WaitView>) {
        let name = self.state.index.host_name(host);
        let seen = &self.seen[host];
        let what = if self.state.uncounted.contains(&host) {
            "its guests are not counted for the last time"
        } else {
            "its guests are counted, and cannot be seen any more"
        };
        let why = match (&seen.census, seen.is_up()) {
            (_, false) => "the agent cannot be heard".to_owned(),
            (Some(census), true) if !census.disagreements.is_empty() => {
                format!("the census does not agree: {}", census.disagreements.join("; "))
            }
            (_, true) => "asked, no answer yet".to_owned(),
        };
        waits.push(WaitView {
            code: codes::RUN_CANNOT_TELL.to_owned(),
            host: Some(name.clone()),
            step: None,
            text: format!("{name}: {what}: {why}"),
            since_ms: None,
            overdue: false,
            remedy: format!("see that the agent of {name} is linked and its census agrees"),
        });
    }
}

impl RunView {
    /// Adds what the links know and the run does not: hosts of it are refused, because they obey another coordinator than this one, of epoch `own`.
    pub fn tell_who_leads(&mut self, own: Epoch, others: &BTreeMap<HostName, Epoch>) {
        let hosts = self.hosts.iter().filter_map(|host| Some((&host.name, *others.get(&host.name)?)));
        let Some((first, epoch)) = hosts.clone().max_by_key(|(_, epoch)| *epoch) else { return };
        if self.phase.is_end() {
            return;
        }
        let (count, all) = (hosts.count(), self.hosts.len());
        let who = if count == all {
            format!("all of its {all} hosts")
        } else {
            format!("{count} of its {all} hosts")
        };
        let wait = WaitView {
            code: codes::RUN_DEPOSED.to_owned(),
            host: Some(first.clone()),
            step: None,
            text: format!(
                "another coordinator leads {who}: {first} has obeyed one of epoch {epoch}, and this one, of epoch {own}, commands none of them"
            ),
            since_ms: None,
            overdue: false,
            remedy: "ask the coordinator that leads; if this one is to lead, stop the other and start this one again".to_owned(),
        };
        // After the halts, and before all that follows from nobody being commanded.
        self.waits.insert(self.halts.len().min(self.waits.len()), wait);
    }
}

/// The guests that a resumption must acknowledge, where the reason does not name them itself.
fn guests_text(loss: &OpenLoss) -> String {
    match &loss.reason {
        HaltReason::GuestLost { .. } | HaltReason::GuestTwice { .. } => String::new(),
        HaltReason::HostRebooted { .. } if loss.guests.is_empty() => ", which had none".to_owned(),
        HaltReason::HostRebooted { .. } => {
            let named = |(uuid, name): &(GuestUuid, String)| format!("{name} ({uuid})");
            format!(": {}", loss.guests.iter().map(named).collect::<Vec<_>>().join(", "))
        }
    }
}
