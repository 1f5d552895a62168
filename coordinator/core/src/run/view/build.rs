//! Makes the view of a machine.

use super::estimate::time_left;
use super::{
    Approval, BorrowedView, GuestRef, HaltView, HoldView, HostView, PausedView, Phase, RunView, StepView,
    StepWord, VIEW_FORMAT,
};
use crate::gate::LinkSeen;
use crate::plan::Loan;
use crate::run::event::End;
use crate::run::machine::Machine;
use crate::run::state::{Course, StepPhase};
use replank_common::UnixMs;

impl Machine {
    /// Where the run is at `now_ms`. `None` before its creation is applied.
    pub fn view(&self, now_ms: UnixMs) -> Option<RunView> {
        let state = &self.state;
        let index = &state.index;
        Some(RunView {
            format: VIEW_FORMAT,
            run: state.run.clone()?,
            plan: index.id().clone(),
            fleet: index.plan.fleet.clone(),
            by: state.by.clone(),
            now_ms,
            created_ms: state.created_ms,
            phase: self.phase(),
            steps_done: state.done,
            steps_total: state.steps.len(),
            hosts_done: (0..state.hosts.len()).filter(|host| state.current(*host).is_none()).count(),
            time_left_ms: time_left(state, now_ms),
            paused: state
                .paused
                .as_ref()
                .map(|paused| PausedView { by: paused.by.clone(), since_ms: paused.since_ms }),
            halts: self.halt_views(),
            holds: self.hold_views(),
            hosts: (0..state.hosts.len()).map(|host| self.host_view(host)).collect(),
            waits: self.waits(now_ms),
            borrowed: self.borrowed(),
            way_back_closed: state.way_back_closed.clone(),
            way_back_closed_more: state.way_back_closed_more,
        })
    }

    /// Where the whole run is, in one word.
    pub fn phase(&self) -> Phase {
        let state = &self.state;
        if let Course::Finished { end, .. } = state.course {
            return Phase::of_end(end);
        }
        if state.stopped() {
            return Phase::Halted;
        }
        if state.paused.is_some() {
            return Phase::Paused;
        }
        match &state.course {
            Course::Forward if !state.held.is_empty() => Phase::Held,
            Course::Forward if !state.active.is_empty() => Phase::Running,
            Course::Forward if self.at_hold() => Phase::AtHold,
            Course::Forward if !state.unbased.is_empty() => Phase::Counting,
            Course::Forward => Phase::Running,
            Course::Guarding { .. } => Phase::AskingWayBack,
            Course::RollingBack { .. } => Phase::RollingBack,
            Course::Closing { end: End::Aborted } => Phase::Aborting,
            Course::Closing { .. } => Phase::Closing,
            Course::Finished { end, .. } => Phase::of_end(*end),
        }
    }

    /// Whether a hold is reached and not approved while no host has a step at its gates.
    fn at_hold(&self) -> bool {
        let waiting =
            self.state.holds.iter().any(|hold| hold.reached_ms.is_some() && hold.approved.is_none());
        waiting && self.seen.iter().all(|seen| seen.asking.is_none())
    }

    fn halt_views(&self) -> Vec<HaltView> {
        let view = |loss: &crate::run::state::OpenLoss| HaltView {
            reason: loss.reason.clone(),
            since_ms: self.state.halt.as_ref().map_or(self.state.last_ms, |halt| halt.since_ms),
            during: loss.during.clone(),
            guests: loss
                .guests
                .iter()
                .map(|(uuid, name)| GuestRef { uuid: *uuid, name: name.clone() })
                .collect(),
        };
        self.state.open.iter().map(view).collect()
    }

    fn hold_views(&self) -> Vec<HoldView> {
        let plan = &self.state.index.plan;
        let view = |(hold, state): (&crate::plan::Hold, &crate::run::state::HoldState)| HoldView {
            id: hold.id.clone(),
            title: hold.title.clone(),
            why: hold.why.clone(),
            reached_ms: state.reached_ms,
            approved: state.approved.as_ref().map(|(by, at_ms)| Approval { by: by.clone(), at_ms: *at_ms }),
        };
        plan.holds.iter().zip(&self.state.holds).map(view).collect()
    }

    pub(super) fn borrowed(&self) -> Vec<BorrowedView> {
        let one = |loan: &Loan| {
            let (plan, state) = (self.state.index.step_at(loan.step), &self.state.steps[loan.step]);
            let since_ms = state.done_ms.or(state.begun_ms)?;
            self.state.is_borrowed(loan.step).then(|| BorrowedView {
                host: plan.host.clone(),
                step: plan.id.clone(),
                what: loan.what.clone(),
                since_ms,
                expected_ms: since_ms.saturating_add(loan.expected_ms),
                told_ms: since_ms.saturating_add(loan.told_after_ms()),
            })
        };
        self.state.index.loans.iter().filter_map(one).collect()
    }

    fn host_view(&self, host: usize) -> HostView {
        let (plan, state, seen) =
            (&self.state.index.plan.hosts[host], &self.state.hosts[host], &self.seen[host]);
        HostView {
            name: plan.name.clone(),
            wave: plan.wave,
            linked: seen.is_up(),
            link_since_ms: match seen.link {
                LinkSeen::Up => Some(seen.link_since_ms),
                LinkSeen::Down { since_ms } => since_ms,
            },
            observe_only: seen.observe_only,
            guests: state.watch.as_ref().map_or(0, |watch| watch.present().count()),
            census_ms: seen.census.as_ref().map(|census| census.received_ms),
            steps_done: state.cursor,
            steps_total: self.state.index.host_steps[host].len(),
            step: self.step_of(host).map(|step| self.step_view(host, step)),
        }
    }

    /// The step that an operator would look at on this host.
    pub(super) fn step_of(&self, host: usize) -> Option<usize> {
        let state = &self.state;
        if let Some(flight) = &state.hosts[host].flight {
            return Some(flight.step);
        }
        match &state.course {
            Course::Forward => state.current(host),
            Course::Guarding { to, .. } => state.guard_next(host, *to).map(|(step, _)| step),
            Course::RollingBack { to } => state.undo_next(host, *to),
            Course::Closing { .. } => state.borrowed_next(host),
            Course::Finished { .. } => None,
        }
    }

    fn step_view(&self, host: usize, step: usize) -> StepView {
        let (plan, state) = (self.state.index.step_at(step), &self.state.steps[step]);
        let seen = &self.seen[host];
        let progress = seen.progress.as_ref().filter(|_| self.state.hosts[host].flight.is_some());
        let back = matches!(state.phase, StepPhase::Undoing | StepPhase::UndoHeld | StepPhase::Undone);
        StepView {
            id: plan.id.clone(),
            title: plan.title.clone(),
            stage: plan.stage,
            state: match (&self.state.course, state.phase) {
                (Course::Guarding { .. }, phase) if phase != StepPhase::Acting => StepWord::AskingWayBack,
                (_, phase) => StepWord::from(phase),
            },
            attempts: if back { state.undo_attempts } else { state.attempts },
            since_ms: if back { state.undo_begun_ms } else { state.begun_ms },
            permille: progress.and_then(|progress| progress.permille),
            progress: progress.map(|progress| progress.text.clone()),
        }
    }
}
