//! Decisions: what follows from the state and from what is seen, until nothing more does.
//!
//! Level-triggered: a decision looks at how things stand, never at what woke it. Waking a host too often costs time and changes nothing;
//! [`Machine::wake_after`] says which hosts an event concerns.

use super::Machine;
use super::seen::{ABORT_PATIENCE_MS, Asker, WATCH_MS};
use crate::gate::Gate;
use crate::plan::Work;
use crate::run::event::{End, Event, Life, MAX_CLOSED, Purpose, When};
use crate::run::state::{Course, StepPhase};
use replank_common::UnixMs;
use replank_common::ids::Direction;
use replank_common::planted::{self, Planted};
use replank_common::reading::{ReadingRequest, ReadingValue};

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
                    self.wake_all();
                }
            }
            Event::Outcome { action, .. } => {
                if let Some(step) = index.step(&action.step) {
                    self.dirty.insert(index.host_of[step]);
                }
                if let Course::RollingBack { .. } = self.state.course {
                    self.dirty.extend(self.state.lanes_back.values().filter_map(|lane| lane.last()));
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
            Event::Halted { .. }
            | Event::GuestLost { .. }
            | Event::GuestTwice { .. }
            | Event::HostRebooted { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::RetryAsked { .. }
            | Event::AbortAsked { .. }
            | Event::RollbackAsked { .. }
            | Event::RollbackRefused { .. }
            | Event::RollbackBegun {}
            | Event::Closing { .. }
            | Event::Finished { .. } => self.wake_all(),
            Event::Created { .. }
            | Event::Led { .. }
            | Event::GuestAppeared { .. }
            | Event::GuestLeft { .. }
            | Event::GuestMoved { .. }
            | Event::GateWaits { .. }
            | Event::GatePassed { .. }
            | Event::HoldReached { .. } => {}
        }
    }

    pub(super) fn wake_all(&mut self) {
        self.dirty.extend(0..self.seen.len());
        self.dirty_holds.extend(0..self.state.holds.len());
    }

    /// What concerns the whole run: halts, holds, and the turns of its course.
    fn decide_fleet(&mut self) {
        while let Some(loss) = self.state.open.iter().find(|loss| !loss.halted) {
            let reason = loss.reason.clone();
            self.record(Event::Halted { reason });
        }
        self.decide_doubles();
        if self.state.stopped() || self.state.paused.is_some() {
            return;
        }
        while let Some(hold) = self.dirty_holds.pop_first() {
            let state = &self.state.holds[hold];
            let met = self.state.index.hold_needs[hold].iter().all(|need| self.state.is_met(*need));
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
                self.state.uncounted.is_empty() && self.seen.iter().all(|seen| !seen.is_blind())
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
        self.touched.insert(host);
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
        match &index.step_at(step).work {
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
            Some((step, purpose)) if self.block_of_back(host, step).is_none() => {
                if self.gates_pass(host, step, When::Undo, &[Gate::CensusHolds]) {
                    self.send(step, step, purpose);
                }
            }
            Some(_) | None => self.stop_asking(host),
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
                let guests: Vec<Life> = census.guests.values().map(Life::from).collect();
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
