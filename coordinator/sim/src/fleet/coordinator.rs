//! The coordinator processes: the one that leads, the one that believes to, the store that they share, and their deaths.

use super::network::{ToAgent, ToCoordinator};
use super::{Fleet, Happening, START_MS};
use crate::fault::Fault;
use crate::host::Link;
use crate::promise::Promise;
use crate::seat::Seat;
use replank_common::ids::Epoch;
use replank_core::run::{Command, Decided, Input, Machine, Operate, OperatorRefusal, ReadingWant, Record};
use sha2::Digest;

impl Fleet {
    pub(super) fn coordinator_starts(&mut self) {
        if self.leader.is_some() {
            return;
        }
        if self.now < self.store_full_until {
            self.at(1_000, Happening::CoordinatorStarts);
            return;
        }
        self.epoch += 1;
        self.seats += 1;
        let mut skew_ms = 0;
        if self.seats > 1 && self.struck(Fault::CoordinatorClockJumps) {
            skew_ms = i64::try_from(self.below(7_200_000)).unwrap_or(0) - 3_600_000;
        }
        self.say(
            "coordinator",
            format!("starts with epoch {}, its clock is off by {skew_ms} ms", self.epoch),
        );
        let machine = match Machine::replay(self.index.clone(), &self.journal) {
            Ok(machine) => machine,
            Err(illegal) => {
                self.judge.check(Promise::Sound, false, || format!("the journal is refused: {illegal}"));
                return;
            }
        };
        let mut seat = Seat::new(self.seats, self.epoch, machine, skew_ms);
        let led = seat.machine.lead(Epoch(self.epoch), seat.clock(self.now));
        self.leader = Some(seat);
        match led {
            Ok(led) => self.take_in(led),
            Err(illegal) => {
                self.judge.check(Promise::Sound, false, || format!("it cannot lead: {illegal}"));
            }
        }
    }

    /// The process is gone, with all that it knew.
    pub(crate) fn coordinator_dies(&mut self) {
        self.leader = None;
        self.dies_at = None;
        self.say("coordinator", "is dead");
        self.links_lost();
        self.at(500, Happening::CoordinatorStarts);
    }

    /// The coordinator will die at one of the next records.
    pub(crate) fn doom_coordinator(&mut self) {
        let records = usize::try_from(1 + self.below(30)).unwrap_or(1);
        self.dies_at = Some(self.journal.len() + records);
    }

    /// The coordinator stops for a while, another one takes over, and the old one wakes up.
    pub(crate) fn depose_coordinator(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        self.say("coordinator", format!("of epoch {} sleeps", leader.epoch));
        self.stale = Some(leader);
        self.links_lost();
        self.at(500, Happening::CoordinatorStarts);
        let wakes = 600 + self.below(20_000);
        self.at(wakes, Happening::StaleWakes);
    }

    /// It repeats whatever it may still want. Its store is not its own any more: the first record that it wants to append ends it.
    pub(super) fn stale_wakes(&mut self) {
        let Some(mut stale) = self.stale.take() else { return };
        self.say("coordinator", format!("of epoch {} wakes up", stale.epoch));
        let now = stale.clock(self.now);
        for command in stale.machine.wants().commands {
            if let Some(host) = self.names.get(&command.host).copied() {
                self.down(host, ToAgent::Do(Box::new(command)));
            }
        }
        let decided = stale.machine.input(Input::Tick, now);
        if self.epoch > stale.epoch || !decided.records.is_empty() {
            self.say("coordinator", format!("of epoch {} is refused by the store", stale.epoch));
        }
    }

    pub(super) fn coordinator_hears(&mut self, host: usize, link: Link, message: ToCoordinator) {
        if self.leader.as_ref().is_none_or(|leader| leader.number != link.seat) {
            return;
        }
        // What an older link still carried arrives too, sometimes.
        if self.hosts[host].link != Some(link) && !self.strikes(Fault::MessageLate) {
            return;
        }
        let name = self.hosts[host].name.clone();
        self.input(match message {
            ToCoordinator::Accepted(action) => Input::Accepted { host: name, action },
            ToCoordinator::Outcome(action, outcome) => Input::Outcome { host: name, action, outcome },
            ToCoordinator::Reading(ask, reading) => Input::Reading { host: name, ask, reading: *reading },
            ToCoordinator::Census(census) => Input::Census { host: name, census: *census },
        });
    }

    pub(super) fn input(&mut self, input: Input) {
        let Some(leader) = &mut self.leader else { return };
        let now = leader.clock(self.now);
        let decided = leader.machine.input(input, now);
        self.take_in(decided);
    }

    pub(crate) fn operate(&mut self, command: Operate) -> Result<(), OperatorRefusal> {
        let Some(leader) = &mut self.leader else { return Ok(()) };
        let now = leader.clock(self.now);
        let text = format!("{command:?}");
        let decided = match leader.machine.operate("bob", command, now) {
            Ok(decided) => decided,
            Err(refusal) => {
                self.say("operator", format!("{text}: {refusal}"));
                return Err(refusal);
            }
        };
        self.say("operator", text);
        self.take_in(decided);
        Ok(())
    }

    /// Makes the records durable, unless the coordinator dies in the middle; then sends what is wanted.
    fn take_in(&mut self, decided: Decided) {
        let Decided { records, touched } = decided;
        if !records.is_empty() {
            if self.now < self.store_full_until {
                self.say("coordinator", "cannot write its store");
                self.fold(&records);
                self.coordinator_dies();
                return;
            }
            let early = touched.iter().any(|host| {
                let leader = self.leader.as_ref();
                leader.is_some_and(|leader| !leader.machine.wants_of(host).commands.is_empty())
            });
            self.judge.check(Promise::P4, !early, || "commands before their intent is durable".to_owned());
            if let Some(dies_at) = self.dies_at.filter(|at| *at < self.journal.len() + records.len()) {
                let mut kept = dies_at.saturating_sub(self.journal.len());
                if kept == 0 || !self.struck(Fault::CoordinatorTornTail) {
                    // A batch is durable as a whole or not at all, where the store keeps its word.
                    kept = if self.below(2) == 0 { 0 } else { records.len() };
                }
                self.injected(Fault::CoordinatorKilled);
                self.fold(&records);
                for record in &records[..kept] {
                    self.append(record);
                }
                self.coordinator_dies();
                return;
            }
            for record in &records {
                self.append(record);
            }
        }
        let Some(leader) = &mut self.leader else { return };
        leader.machine.confirm(leader.machine.state().last_seq());
        let mut commands = Vec::new();
        let mut readings = Vec::new();
        for host in &touched {
            let (of_host, asked) = leader.unsent(host);
            commands.extend(of_host);
            readings.extend(asked);
        }
        self.wake_later();
        for command in commands {
            self.send_command(command);
        }
        for want in readings {
            self.send_reading(want);
        }
    }

    pub(super) fn append(&mut self, record: &Record) {
        let line = serde_json::to_vec(record).unwrap_or_default();
        // What is written is what is read back; in a large fleet, of some.
        if self.hosts.len() < 200 || record.seq.is_multiple_of(16) {
            let back: Option<Record> = serde_json::from_slice(&line).ok();
            self.judge.check(Promise::Sound, back.as_ref() == Some(record), || {
                format!("record {} is not read back as it was written", record.seq)
            });
        }
        self.hasher.update(&line);
        self.hasher.update(b"\n");
        self.trace.record(self.now - START_MS, record);
        self.against_the_world(record);
        self.watcher.read(record, self.now, &mut self.judge);
        self.journal.push(record.clone());
    }

    pub(super) fn wake_later(&mut self) {
        let Some(leader) = &self.leader else { return };
        let Some(wake_ms) = leader.machine.wake_at_ms() else { return };
        let (seat, delay) = (leader.number, wake_ms.saturating_sub(leader.clock(self.now)).max(1));
        let at = self.now + delay;
        if self.wake_queued.is_none_or(|queued| queued > at || queued < self.now) {
            self.wake_queued = Some(at);
            self.at(delay, Happening::Wake { seat });
        }
    }

    fn send_command(&mut self, command: Command) {
        let action = &command.action;
        self.judge.check(Promise::P1, !self.watcher.halted, || format!("{action} leaves while halted"));
        let durable = self.watcher.intents.contains(action);
        self.judge.check(Promise::P4, durable, || format!("{action} leaves without a durable intent"));
        let host = self.names[&command.host];
        self.down(host, ToAgent::Do(Box::new(command)));
    }

    fn send_reading(&mut self, want: ReadingWant) {
        let host = self.names[&want.host];
        self.down(host, ToAgent::Read { ask: want.ask, request: want.request });
    }
}
