//! The coordinator processes: the one that leads, those that only believe to, and their deaths.
//!
//! | a process | what the fleet sees of it |
//! | --- | --- |
//! | is killed | another one starts, with what was durable |
//! | sleeps, and another one takes over | it wakes up with all that it knew, takes in what came meanwhile, and goes on: it asks, repeats what was durable, hears its agents and its operators, until the store refuses what it appends |
//! | sleeps between reading the journal and its first append | the same, with an append of its own pending |

use super::network::{ToAgent, ToCoordinator};
use super::{Fleet, Happening};
use crate::fault::Fault;
use crate::host::Link;
use crate::promise::Promise;
use crate::seat::{Outbox, Seat};
use crate::told;
use replank_common::ids::Epoch;
use replank_core::run::{Machine, Operate, OperatorRefusal, RunView};
use replank_core::runs::{Event, LinkNumber, Refusal, Runs, What};

/// Every which turn is asked whether it has overlooked something.
const TURNS_PER_LOOK: u64 = 16;

/// The drive's, for processes that lead no more.
const SWEEP_MS: u64 = 5_000;

impl Fleet {
    pub(crate) fn leader(&self) -> Option<&Seat> {
        self.leads.and_then(|number| self.seats.get(&number))
    }

    /// The run, as the leading process has it in its hands.
    pub(crate) fn machine(&self) -> Option<&Machine> {
        self.leader().and_then(|leader| leader.machine(&self.run))
    }

    /// What it shows of it, by its own clock.
    pub(crate) fn view(&self) -> Option<RunView> {
        let clock = self.leader()?.clock(self.now);
        self.machine()?.view(clock)
    }

    /// Whether a host is linked with the coordinator that leads.
    pub(crate) fn hears(&self, host: usize) -> bool {
        self.hosts[host].link.is_some_and(|link| self.leads == Some(link.seat))
    }

    pub(super) fn coordinator_starts(&mut self) {
        if self.leads.is_some() {
            return;
        }
        if self.now < self.store_full_until {
            self.at(1_000, Happening::CoordinatorStarts);
            return;
        }
        let Some(number) = self.process_begins() else { return };
        if !self.journal.is_empty() && self.strikes(Fault::JournalConflict) {
            self.falls_asleep(number);
            self.at(100, Happening::CoordinatorStarts);
            return;
        }
        self.leads = Some(number);
        self.turn(number);
    }

    /// A new epoch, and the runs as the journal has them. Nothing is appended yet.
    fn process_begins(&mut self) -> Option<u64> {
        self.epoch += 1;
        self.seats_ever += 1;
        let (number, epoch) = (self.seats_ever, Epoch(self.epoch));
        let mut skew_ms = 0;
        if number > 1 && self.struck(Fault::CoordinatorClockJumps) {
            skew_ms = i64::try_from(self.below(7_200_000)).unwrap_or(0) - 3_600_000;
        }
        self.say("coordinator", format!("starts with epoch {epoch}, its clock is off by {skew_ms} ms"));
        let latest = (!self.journal.is_empty()).then(|| self.run.clone());
        let mut seat = Seat::new(epoch, Runs::new(epoch, latest), skew_ms);
        let clock = seat.clock(self.now);
        if self.journal.is_empty() {
            let created = seat.runs.create(self.run.clone(), self.index.clone(), "operator", clock);
            self.judge.check(Promise::Sound, created.is_ok(), || format!("it cannot begin: {created:?}"));
        } else {
            let machine = self.replayed()?;
            // The drive leaves what has finished until an operator asks for it.
            if machine.state().finished().is_none() {
                let led = seat.runs.take_over(self.run.clone(), machine, clock);
                self.judge.check(Promise::Sound, led.is_ok(), || format!("it cannot lead: {led:?}"));
            }
        }
        self.seats.insert(number, seat);
        Some(number)
    }

    fn replayed(&mut self) -> Option<Machine> {
        match Machine::replay(self.index.clone(), &self.journal) {
            Ok(machine) => Some(machine),
            Err(illegal) => {
                self.judge.check(Promise::Sound, false, || format!("the journal is refused: {illegal}"));
                None
            }
        }
    }

    /// The leading process is gone, with all that it knew.
    pub(super) fn coordinator_dies(&mut self) {
        self.dies_at = None;
        if let Some(number) = self.leads.take() {
            self.process_ends(number);
        }
        self.at(500, Happening::CoordinatorStarts);
    }

    fn process_ends(&mut self, number: u64) {
        if let Some(seat) = self.seats.remove(&number) {
            self.say("coordinator", format!("of epoch {} is dead", seat.epoch));
            self.links_lost(number);
        }
    }

    /// The coordinator will die at one of the next records.
    pub(crate) fn doom_coordinator(&mut self) {
        let records = usize::try_from(1 + self.below(30)).unwrap_or(1);
        self.dies_at = Some(self.journal.len() + records);
    }

    /// The coordinator stops for a while, another one takes over, and the old one wakes up. Whether there was one.
    pub(crate) fn depose_coordinator(&mut self) -> bool {
        let Some(number) = self.leads.take() else { return false };
        self.falls_asleep(number);
        for host in 0..self.hosts.len() {
            // Some agents notice at once, others when the link has been silent for long.
            if self.below(2) == 0 { self.cut(host) } else { self.silence(host) }
        }
        self.at(500, Happening::CoordinatorStarts);
        true
    }

    fn falls_asleep(&mut self, number: u64) {
        let Some(seat) = self.seats.get_mut(&number) else { return };
        seat.asleep = true;
        let epoch = seat.epoch;
        self.say("coordinator", format!("of epoch {epoch} sleeps"));
        let sleeps = 600 + self.below(20_000);
        self.at(sleeps, Happening::OldOneWakes { seat: number });
    }

    /// It believes that no time has passed, and takes in at once whatever came.
    pub(super) fn old_one_wakes(&mut self, number: u64) {
        let Some(seat) = self.seats.get_mut(&number) else { return };
        seat.asleep = false;
        let (epoch, clock) = (seat.epoch, seat.clock(self.now));
        for event in std::mem::take(&mut seat.inbox) {
            drop(seat.runs.event(event, clock));
        }
        self.say("coordinator", format!("of epoch {epoch} wakes up"));
        self.turn(number);
        self.at(SWEEP_MS, Happening::OldOneSweeps { seat: number });
    }

    pub(super) fn old_one_sweeps(&mut self, number: u64) {
        let Some(seat) = self.seats.get_mut(&number) else { return };
        // As the drive does: one that has nothing to append would keep its agents for ever.
        if seat.epoch.0 != self.epoch {
            self.process_ends(number);
            return;
        }
        seat.runs.sweep();
        self.turn(number);
        self.at(SWEEP_MS, Happening::OldOneSweeps { seat: number });
    }

    /// A process that is awake, does not lead and believes to.
    pub(super) fn old_one(&self) -> Option<u64> {
        self.seats
            .iter()
            .find_map(|(number, seat)| (self.leads != Some(*number) && !seat.asleep).then_some(*number))
    }

    pub(super) fn coordinator_hears(&mut self, host: usize, link: Link, message: ToCoordinator) {
        self.reaches(
            host,
            link,
            match message {
                ToCoordinator::Accepted(action) => What::Accepted { action },
                ToCoordinator::Outcome(action, outcome) => What::Outcome { action, outcome },
                ToCoordinator::Reading(ask, reading) => What::Reading { ask, reading },
                ToCoordinator::Census(census) => What::Census(census),
            },
        );
    }

    /// What a link brings to the process at its other end.
    pub(super) fn reaches(&mut self, host: usize, link: Link, what: What) {
        let Some(seat) = self.seats.get_mut(&link.seat) else { return };
        let event = Event { host: self.hosts[host].name.clone(), link: LinkNumber(link.number), what };
        if seat.asleep {
            seat.inbox.push(event);
            return;
        }
        let clock = seat.clock(self.now);
        drop(seat.runs.event(event, clock));
        self.turn(link.seat);
    }

    /// A timer of that process.
    pub(super) fn wakes(&mut self, number: u64) {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(&number) else { return };
        // A wake that an earlier one has overtaken is none.
        if seat.asleep || seat.wake_queued != Some(now) {
            return;
        }
        seat.wake_queued = None;
        self.turn(number);
        self.check_wake(number);
    }

    /// A wish to the coordinator that leads. Without one there is no answer, which is no refusal.
    pub(crate) fn operate(&mut self, wish: Operate) -> Result<(), OperatorRefusal> {
        match self.leads {
            Some(number) => self.asks(number, "operator", wish),
            None => Ok(()),
        }
    }

    /// A wish to a coordinator that only believes to lead. Whether there is one.
    pub(crate) fn ask_the_old_one(&mut self, wish: Operate) -> bool {
        let Some(number) = self.old_one() else { return false };
        drop(self.asks(number, "operator (to the old coordinator)", wish));
        true
    }

    fn asks(&mut self, number: u64, who: &str, wish: Operate) -> Result<(), OperatorRefusal> {
        let text = format!("{wish:?}");
        let granted = self.grants(number, wish.clone());
        match &granted {
            Ok(()) => self.say(who, text),
            Err(refusal) => {
                self.say(who, format!("{text}: {refusal}"));
                self.tell(None, || told::What::NotGranted { wish, why: refusal.to_string() });
            }
        }
        // Also after a refusal: the run may have been taken up again for it.
        self.turn(number);
        granted
    }

    fn grants(&mut self, number: u64, wish: Operate) -> Result<(), OperatorRefusal> {
        let run = self.run.clone();
        let Some(seat) = self.seats.get(&number) else { return Ok(()) };
        let clock = seat.clock(self.now);
        if seat.machine(&run).is_none() {
            match wish {
                Operate::Rollback { .. } => {}
                Operate::Approve { .. }
                | Operate::Pause
                | Operate::Resume { .. }
                | Operate::Retry { .. }
                | Operate::Abort => return Err(OperatorRefusal::Finished),
            }
            let Some(machine) = self.replayed() else { return Ok(()) };
            let Some(seat) = self.seats.get_mut(&number) else { return Ok(()) };
            if let Err(illegal) = seat.runs.adopt(run.clone(), machine, clock) {
                let leads = self.leads == Some(number);
                self.judge.check(Promise::Sound, !leads, || format!("it cannot lead again: {illegal}"));
                return Ok(());
            }
        }
        let Some(seat) = self.seats.get_mut(&number) else { return Ok(()) };
        match seat.runs.operate(&run, "operator", wish, clock) {
            Ok(()) => Ok(()),
            Err(Refusal::Operator(refusal)) => Err(refusal),
            Err(refusal @ (Refusal::NoRun | Refusal::Busy { .. })) => {
                self.judge.check(Promise::Sound, false, || format!("the only run is refused: {refusal}"));
                Ok(())
            }
        }
    }

    /// What was not woken had nothing to do. A look at every host costs: at some turns of small fleets.
    fn check_nothing_overlooked(&mut self, number: u64) {
        if self.hosts.len() > 6 || !self.events.is_multiple_of(TURNS_PER_LOOK) {
            return;
        }
        let machine = self.seats.get(&number).and_then(|seat| seat.machine(&self.run));
        let Some(overlooked) = machine.map(Machine::overlooked) else { return };
        self.judge
            .check(Promise::Quiet, overlooked.is_empty(), || format!("it has not seen to {overlooked:?}"));
    }

    /// The drive's turn after whatever came: the time, the journal, and only then the links.
    pub(super) fn turn(&mut self, number: u64) {
        let Some(seat) = self.seats.get_mut(&number) else { return };
        let clock = seat.clock(self.now);
        seat.runs.tick(clock);
        let appends = seat.runs.appends();
        match self.append_all(number, &appends) {
            Ok(()) => {}
            Err(_) if self.leads == Some(number) => return self.coordinator_dies(),
            Err(_) => return self.process_ends(number),
        }
        let outbox = Outbox::default();
        let Some(seat) = self.seats.get_mut(&number) else { return };
        seat.runs.durable(&outbox);
        self.check_nothing_overlooked(number);
        self.wake_later(number);
        for (host, message) in outbox.into_messages() {
            if let ToAgent::Do(command) = &message {
                self.check_sent(number, command);
            }
            self.down(self.names[&host], message);
        }
    }

    fn wake_later(&mut self, number: u64) {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(&number) else { return };
        let Some(wake_ms) = seat.runs.wake_at_ms() else { return };
        let delay = wake_ms.saturating_sub(seat.clock(now)).max(1);
        let at = now + delay;
        if seat.wake_queued.is_none_or(|queued| queued > at || queued < now) {
            seat.wake_queued = Some(at);
            self.at(delay, Happening::Wake { seat: number });
        }
    }
}
