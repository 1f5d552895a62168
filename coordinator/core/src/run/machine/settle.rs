//! Decisions: what follows from the state and from what is seen, until nothing more does.
//!
//! Level-triggered: a decision looks at how things stand, never at what woke it. Waking a host too often costs time and changes nothing;
//! [`Machine::wake_after`] says which hosts an event concerns.

use super::Machine;
use super::seen::{ABORT_PATIENCE_MS, Asker, WATCH_MS};
use crate::plan::Work;
use crate::run::event::{End, Event, Life, MAX_CLOSED, Purpose, When};
use crate::run::state::{Course, StepPhase};
use replank_common::UnixMs;
use replank_common::ids::Direction;
use replank_common::planted::{self, Planted};
use replank_common::reading::{ReadingRequest, ReadingValue};
use std::sync::Arc;

impl Machine {
    pub(super) fn settle(&mut self) {
        self.fire_timers();
        // Each step of each host has fewer events than this on its whole way; more in one go is a circle.
        let limit = 1024 + 16 * (self.state.steps.len() + self.state.hosts.len());
        while self.leads {
            assert!(self.out.len() <= limit, "one input led to {} records", self.out.len());
            self.decide_fleet();
            match self.dirty.pop_first() {
                Some(host) => self.decide_host(host),
                None => break,
            }
        }
    }

    /// Hosts and holds that an event concerns.
    pub(super) fn wake_after(&mut self, event: &Event) {
        let index = self.state.index.clone();
        match event {
            Event::StepDone { step } => {
                if let Some(step) = index.step(step) {
                    self.dirty.insert(index.host_of[step]);
                    self.dirty.extend(&index.step_wakes[step].hosts);
                    self.dirty_holds.extend(&index.step_wakes[step].holds);
                }
            }
            Event::Approved { hold, .. } => {
                if let Some(hold) = index.hold(hold) {
                    self.dirty.extend(&index.hold_wakes[hold].hosts);
                    self.dirty_holds.extend(&index.hold_wakes[hold].holds);
                }
            }
            Event::Baseline { host, .. } => {
                self.dirty.extend(index.host(host));
                if self.state.unbased.is_empty() {
                    self.wake_parked();
                }
            }
            Event::Outcome { action, .. } => {
                if let Some(step) = index.step(&action.step) {
                    self.dirty.insert(index.host_of[step]);
                }
                if let (Course::RollingBack { .. }, Some(step)) =
                    (&self.state.course, index.step(&action.step))
                {
                    self.wake_lanes(index.host_of[step]);
                }
            }
            Event::Began { step } | Event::Sent { step, .. } => {
                if let Some(step) = index.step(step) {
                    let host = index.host_of[step];
                    self.dirty.insert(host);
                    self.look_for_blindness(host);
                }
            }
            Event::Recounted { host, .. } => self.dirty.extend(index.host(host)),
            Event::GuestLost { .. } | Event::GuestTwice { .. } | Event::HostRebooted { .. } => {
                // The first loss stops the run; what comes on top of it stops nothing more.
                if self.state.halt.is_none() && self.state.open.len() == 1 {
                    self.wake_busy();
                }
            }
            Event::Paused { .. } => self.wake_busy(),
            Event::Resumed { .. } => {
                self.wake_busy();
                self.wake_parked();
            }
            Event::RetryAsked { step, .. } => {
                self.dirty.extend(index.step(step).map(|step| index.host_of[step]));
                if self.state.held.is_empty() {
                    self.wake_parked();
                }
            }
            Event::AbortAsked { .. }
            | Event::RollbackAsked { .. }
            | Event::RollbackRefused { .. }
            | Event::RollbackBegun {}
            | Event::Closing { .. }
            | Event::Finished { .. } => self.wake_all(),
            Event::Created { .. }
            | Event::Led { .. }
            | Event::Halted { .. }
            | Event::GuestAppeared { .. }
            | Event::GuestLeft { .. }
            | Event::GuestMoved { .. }
            | Event::GateWaits { .. }
            | Event::GatePassed { .. }
            | Event::HoldReached { .. } => {}
        }
    }

    /// What this machine would decide if it looked at every host again: nothing, unless a wake is missing. Waits are left out: they are
    /// looked at again by their own timers. For judges of simulated runs.
    pub fn overlooked(&self) -> Vec<Event> {
        let mut again = self.clone();
        again.wake_all();
        again.settle();
        let is_wait = |event: &Event| matches!(event, Event::GateWaits { .. } | Event::GatePassed { .. });
        again.out.into_iter().map(|record| record.event).filter(|event| !is_wait(event)).collect()
    }

    /// After a turn of the run's course: every host may have something else to do.
    fn wake_all(&mut self) {
        self.dirty.extend(0..self.seen.len());
        self.dirty_holds.extend(0..self.state.holds.len());
    }

    /// What kept the whole run waiting is gone.
    pub(super) fn wake_parked(&mut self) {
        self.dirty.append(&mut self.parked);
    }

    /// Hosts with a command in flight or gates being asked: the only ones that a stop keeps from anything at once.
    fn wake_busy(&mut self) {
        self.dirty.extend(&self.state.flying);
        self.dirty.extend(&self.asking);
    }

    /// On the way back, an answer of `host` may have let the next one of its lane go, or all lanes of the wave before.
    fn wake_lanes(&mut self, host: usize) {
        let (plan, lanes) = (&self.state.index.plan.hosts[host], &self.state.lanes_back);
        let Some(((last_wave, _), _)) = lanes.last_key_value() else { return };
        if *last_wave == plan.wave {
            self.dirty.extend(lanes.get(&(plan.wave, plan.lane)).and_then(|lane| lane.last()));
        } else {
            let lanes = lanes.range((*last_wave, 0)..).map(|(_, lane)| lane);
            self.dirty.extend(lanes.filter_map(|lane| lane.last()));
        }
    }

    /// Whether the host, which may do nothing now, would have something to do if nothing stopped the whole run. What waits for another host or
    /// for a hold is woken by that.
    fn has_next(&self, host: usize) -> bool {
        match &self.state.course {
            Course::Forward => self.state.current(host).is_some_and(|step| {
                let needs = &self.state.index.step_needs[step];
                self.state.steps[step].phase != StepPhase::Pending
                    || needs.iter().all(|need| self.state.is_met(*need))
            }),
            Course::Guarding { .. } => self.state.guarding.contains(&host),
            Course::RollingBack { .. } => self.state.may_go_back_now(host),
            Course::Closing { .. } => {
                self.state.unclosed.contains(&host) || self.state.uncounted.contains(&host)
            }
            Course::Finished { .. } => false,
        }
    }

    fn park(&mut self, host: usize) {
        if self.has_next(host) {
            self.parked.insert(host);
        }
    }

    /// What concerns the whole run: halts, holds, and the turns of its course.
    fn decide_fleet(&mut self) {
        while self.state.unhalted > 0
            && let Some(loss) = self.state.open.iter().find(|loss| !loss.halted)
        {
            let reason = loss.reason.clone();
            self.record(Event::Halted { reason });
        }
        self.decide_doubles();
        if self.state.stopped() || self.state.paused.is_some() {
            return;
        }
        while let Some(hold) = self.dirty_holds.pop_first() {
            let state = &self.state.holds[hold];
            let met = self.state.hold_unmet[hold] == 0;
            if state.reached_ms.is_none() && met && self.state.course == Course::Forward {
                let id = self.state.index.plan.holds[hold].id.clone();
                self.record(Event::HoldReached { hold: id });
            }
        }
        if let Some(event) = self.next_turn() {
            self.record(event);
        }
    }

    fn next_turn(&self) -> Option<Event> {
        match &self.state.course {
            Course::Forward => (self.state.done == self.state.steps.len() && self.state.unbased.is_empty())
                .then_some(Event::Closing { end: End::Completed }),
            Course::Guarding { to, refusals, .. } if self.state.guarding.is_empty() => {
                let mut closed = refusals.clone();
                closed.extend(self.state.no_way_back(*to));
                closed.truncate(MAX_CLOSED);
                Some(if closed.is_empty() || planted::is(Planted::GuardsUnheard) {
                    Event::RollbackBegun {}
                } else {
                    Event::RollbackRefused { refusals: closed }
                })
            }
            Course::RollingBack { to } if self.state.lanes_back.is_empty() => {
                Some(Event::Closing { end: End::RolledBack { to: *to } })
            }
            Course::Closing { end } if self.state.unclosed.is_empty() && self.is_counted(*end) => {
                Some(Event::Finished { end: *end })
            }
            Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Closing { .. }
            | Course::Finished { .. } => None,
        }
    }

    /// Every host is counted and still seen; on abort, every host that has been heard of late is counted.
    fn is_counted(&self, end: End) -> bool {
        match end {
            End::Completed | End::RolledBack { .. } => {
                self.state.uncounted.is_empty() && self.unseen.is_empty()
            }
            End::Aborted => self.state.uncounted.iter().all(|host| self.now_ms >= self.given_up_at(*host)),
        }
    }

    /// When an aborted run ends without the count of a host: never while it is linked.
    fn given_up_at(&self, host: usize) -> UnixMs {
        let seen = &self.seen[host];
        if seen.is_up() { UnixMs::MAX } else { self.led_ms.max(seen.link_since_ms) + ABORT_PATIENCE_MS }
    }

    fn decide_host(&mut self, host: usize) {
        self.looks += 1;
        self.touched.insert(host);
        self.parked.remove(&host);
        if self.state.finished().is_some() {
            self.stop_asking(host);
            self.stop_counting(host);
            self.stop_watching(host);
            return;
        }
        self.keep_watch(host);
        if self.state.hosts[host].baseline_due {
            // Taken by the first census that agrees, asked for or not: see `intake`.
            self.count(host);
        }
        if self.state.stopped() {
            self.stop_asking(host);
            self.park(host);
            return;
        }
        if self.state.hosts[host].flight.is_some() {
            self.stop_asking(host);
            self.watch_deadline(host);
            return;
        }
        match self.state.course.clone() {
            Course::Forward => self.go_forward(host),
            Course::Guarding { to, refusals, .. } => {
                let next = self.state.guard_next(host, to).filter(|_| refusals.is_empty());
                self.go_back(host, next);
            }
            Course::RollingBack { to } => {
                let next = self.state.undo_next(host, to).map(|step| (step, Purpose::Undo));
                self.go_back(host, next);
            }
            Course::Closing { .. } => {
                let next = self.state.borrowed_next(host).map(|step| (step, Purpose::Undo));
                self.go_back(host, next);
                if next.is_none() && !self.state.hosts[host].recounted {
                    self.count(host);
                    let given_up_ms = self.given_up_at(host);
                    // Past that, what the run still waits for is another host.
                    if !self.seen[host].is_up() && given_up_ms > self.now_ms {
                        self.wake_at(host, given_up_ms);
                    }
                }
            }
            Course::Finished { .. } => {}
        }
    }

    fn go_forward(&mut self, host: usize) {
        while let Some(step) = self.state.current(host) {
            let index = self.state.index.clone();
            let plan = index.step_at(step);
            match self.state.steps[step].phase {
                StepPhase::Pending => {
                    if self.block_of_step(step).is_some() {
                        self.park(host);
                        break;
                    }
                    if !self.gates_pass(host, step, When::Before, &plan.before) {
                        return;
                    }
                    if self.begin(step) {
                        return;
                    }
                }
                StepPhase::Verifying => {
                    if !self.gates_pass(host, step, When::After, &plan.after) {
                        return;
                    }
                    self.record(Event::StepDone { step: plan.id.clone() });
                }
                StepPhase::Acting
                | StepPhase::Done
                | StepPhase::Held
                | StepPhase::Undoing
                | StepPhase::UndoHeld
                | StepPhase::Undone => break,
            }
        }
        self.stop_asking(host);
    }

    /// Begins a step whose gates have passed; whether a command is in flight now.
    fn begin(&mut self, step: usize) -> bool {
        let index = self.state.index.clone();
        let id = index.step_at(step).id.clone();
        match &*index.step_at(step).work {
            Work::Act(_) => self.send(step, step, Purpose::Do),
            Work::GiveBack(_) => {
                let subject = index.gives_back[step].filter(|s| !self.state.steps[*s].leftovers.is_empty());
                match subject {
                    Some(subject) => self.send(step, subject, Purpose::GiveBack),
                    None => {
                        self.record(Event::Began { step: id });
                        false
                    }
                }
            }
            Work::Observe => {
                self.record(Event::Began { step: id });
                false
            }
        }
    }

    fn send(&mut self, step: usize, subject: usize, purpose: Purpose) -> bool {
        let (direction, of) = match purpose {
            Purpose::Do | Purpose::SetGuard => (Direction::Do, None),
            Purpose::GiveBack | Purpose::Undo | Purpose::Guard => {
                (Direction::Undo, self.state.leftover(subject))
            }
        };
        let action = self.state.next_action(subject, direction);
        let action = action.expect("a run that is led has been created");
        let id = self.state.index.step_at(step).id.clone();
        self.record(Event::Sent { step: id, purpose, action, of });
        true
    }

    fn go_back(&mut self, host: usize, next: Option<(usize, Purpose)>) {
        match next {
            Some((step, _)) if self.block_of_back(host, step).is_some() => {
                self.stop_asking(host);
                self.park(host);
            }
            Some((step, purpose)) => {
                let gates = self.state.index.step_at(step).gates_back();
                if self.gates_pass(host, step, When::Undo, &gates) {
                    self.send(step, step, purpose);
                }
            }
            None => self.stop_asking(host),
        }
    }

    /// A command without an answer is asked again at each passing of its deadline.
    fn watch_deadline(&mut self, host: usize) {
        let Some(flight) = &self.state.hosts[host].flight else { return };
        let deadline_ms = self.state.index.step_at(flight.subject).deadline_ms;
        let seen = &mut self.seen[host];
        if seen.flight_since.as_ref().is_none_or(|(action, _)| *action != flight.action) {
            seen.flight_since = Some((flight.action.clone(), self.now_ms));
            seen.accepted = false;
            seen.progress = None;
        }
        let since_ms = seen.flight_since.as_ref().map_or(self.now_ms, |(_, since_ms)| *since_ms);
        let passed = self.now_ms.saturating_sub(since_ms) / deadline_ms;
        self.wake_at(host, since_ms + (passed + 1) * deadline_ms);
    }

    /// Asks for a census when the newest one is old, or older than the link.
    fn keep_watch(&mut self, host: usize) {
        let seen = &self.seen[host];
        if !seen.is_up() {
            return;
        }
        let since_link = seen.census.as_ref().filter(|census| census.received_ms >= seen.link_since_ms);
        let due_ms = since_link.map_or(self.now_ms, |census| census.received_ms + WATCH_MS);
        if self.now_ms < due_ms {
            self.stop_watching(host);
            self.wake_at(host, due_ms);
        } else {
            let mark = *self.seen[host].watch_mark.get_or_insert(self.next_ask);
            self.pose(Asker::Watch(host), host, &ReadingRequest::Census, mark);
            self.recheck(Asker::Watch(host), host, &ReadingRequest::Census);
        }
    }

    fn stop_watching(&mut self, host: usize) {
        if self.seen[host].watch_mark.take().is_some() {
            self.withdraw(Asker::Watch(host), host, &ReadingRequest::Census);
        }
    }

    /// Asks for a census, for the baseline or for the last count.
    fn count(&mut self, host: usize) {
        let mark = *self.seen[host].count_mark.get_or_insert(self.next_ask);
        if !self.seen[host].is_up() {
            return;
        }
        self.pose(Asker::Count(host), host, &ReadingRequest::Census, mark);
        let question = self.seen[host].questions.get(&ReadingRequest::Census);
        let Some(answer) = question.filter(|q| q.ask >= mark).and_then(|q| q.answer.as_ref()) else { return };
        let closing = matches!(self.state.course, Course::Closing { .. });
        match &answer.reading.value {
            ReadingValue::Census(census)
                if closing && census.agrees() && !self.state.hosts[host].baseline_due =>
            {
                let name = self.state.index.host_name(host).clone();
                let guests = census.guests.values().map(|guest| Arc::new(Life::from(guest))).collect();
                let taken_at_ms = census.taken_at_ms;
                self.stop_counting(host);
                self.record(Event::Recounted { host: name, taken_at_ms, guests });
            }
            ReadingValue::Census(_)
            | ReadingValue::Facts(_)
            | ReadingValue::Libvirtd(_)
            | ReadingValue::EmulatorForNewGuests { .. }
            | ReadingValue::LibvirtTcp { .. }
            | ReadingValue::GuestJobs(_)
            | ReadingValue::CephDaemons(_)
            | ReadingValue::Ceph(_)
            | ReadingValue::CannotTell { .. } => {
                self.recheck(Asker::Count(host), host, &ReadingRequest::Census);
            }
        }
    }

    pub(super) fn stop_counting(&mut self, host: usize) {
        if self.seen[host].count_mark.take().is_some() {
            self.withdraw(Asker::Count(host), host, &ReadingRequest::Census);
        }
    }
}
