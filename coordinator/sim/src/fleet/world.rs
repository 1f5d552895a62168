//! What is said, compared with the world itself: records with hosts and guests, the live state with the fold, the end with what is left.

use super::Fleet;
use crate::promise::Promise;
use replank_core::gate::Gate;
use replank_core::plan::{Undo, Work};
use replank_core::run::{Command, End, Event, MAX_READING_AGE_MS, Machine, Record};

impl Fleet {
    /// Whether guests are to be counted at these gates: always, but on hosts of a cluster of which the inventory has none, where a plan need not ask for it.
    fn is_counted(&self, gates: &[Gate]) -> bool {
        self.ceph.is_none() || gates.contains(&Gate::CensusHolds)
    }

    /// What the record says, compared with the world itself.
    pub(super) fn against_the_world(&mut self, by: u64, record: &Record) {
        let now = self.now;
        match &record.event {
            Event::Sent { step: id, .. } => {
                let index = self.index.clone();
                let Some(step) = self.watcher.step(index.plan(), id) else { return };
                let host = &self.hosts[self.names[&step.host]];
                // No gate before was red for longer than a reading may be old and late, or since what the host did before was known:
                // its gates are asked after that.
                let asked_after = self.known_since.get(&step.host).copied().unwrap_or(0);
                let red = |since: Option<u64>| {
                    since.is_some_and(|at| now - at > MAX_READING_AGE_MS + 10_000 || at < asked_after)
                };
                let disagrees = self.is_counted(&step.before) && red(host.disagrees_since);
                let jobs = step.before.contains(&Gate::NoGuestJobs)
                    && *step.work != Work::Observe
                    && red(host.job_since);
                self.judge.check(Promise::P6, !disagrees, || {
                    format!("{id} sent over a census that does not agree")
                });
                self.judge.check(Promise::P6, !jobs, || format!("{id} sent over a guest's job"));
            }
            Event::StepDone { step: id } => {
                let index = self.index.clone();
                let Some(step) = self.watcher.step(index.plan(), id) else { return };
                let host = &self.hosts[self.names[&step.host]];
                // Gates after are asked once the outcome is known: one of them has seen the host since.
                let asked_after = self.known_since.insert(step.host.clone(), now).unwrap_or(0);
                let red =
                    self.is_counted(&step.after) && host.disagrees_since.is_some_and(|at| at < asked_after);
                self.judge.check(Promise::P6, !red, || {
                    format!("{id} is done over a census that has not agreed since its outcome")
                });
                for gate in &step.after {
                    if let Gate::LibvirtdIs { version } = gate {
                        self.judge.check(Promise::P6, host.things.libvirtd == *version, || {
                            format!("{id} is done and libvirtd is {}", host.things.libvirtd)
                        });
                    }
                }
                if let Some(cluster) = &mut self.ceph {
                    cluster.pass(now);
                    cluster.check_gates(step, &mut self.judge);
                }
            }
            Event::Outcome { action, .. } => {
                let index = self.index.clone();
                if let Some(step) = self.watcher.step(index.plan(), &action.step) {
                    self.known_since.insert(step.host.clone(), now);
                }
            }
            Event::GuestLost { host, guest, incarnation, .. } => {
                let host = &self.hosts[self.names[host]];
                let lives = host.guests.get(guest).is_some_and(|guest| guest.incarnation == *incarnation);
                self.judge.check(Promise::P1, !lives, || format!("{guest} is told lost and lives"));
            }
            Event::HostRebooted { host, boot_id, .. } => {
                let host = &self.hosts[self.names[host]];
                let first = *boot_id == host.first_boot_id();
                self.judge.check(Promise::P1, !first, || format!("{} did not reboot", host.name));
            }
            Event::Finished { end: End::Aborted } | Event::RollbackRefused { .. } => {
                let unheard = self.hosts.iter().enumerate().filter(|(_, host)| {
                    host.link.is_none_or(|link| link.seat != by) || now - host.linked_since < 60_000
                });
                self.unheard.push((now, unheard.map(|(at, _)| at).collect()));
            }
            Event::GuestTwice { guest, .. } => {
                let was = self.twins.contains(guest);
                self.judge.check(Promise::P2, was, || format!("{guest} is told twice and never was"));
            }
            _ => {}
        }
    }

    /// What was durable when the process decided, and what is not yet, fold into its state.
    pub(super) fn fold(&mut self, seat: u64, unsynced: &[Record]) {
        let Some(machine) = self.seats.get(&seat).and_then(|seat| seat.machine(&self.run)) else { return };
        let first = unsynced.first().and_then(|record| usize::try_from(record.seq).ok());
        let known = first.map_or(self.journal.len(), |first| first.saturating_sub(1).min(self.journal.len()));
        let folded = Machine::replay(self.index.clone(), self.journal[..known].iter().chain(unsynced));
        let same = folded.as_ref().is_ok_and(|folded| folded.state() == machine.state());
        self.judge.check(Promise::Fold, same, || match folded {
            Ok(_) => "the fold of the journal is another state than the live one".to_owned(),
            Err(illegal) => format!("the journal does not fold: {illegal}"),
        });
    }

    pub(crate) fn fold_of_the_leader(&mut self) {
        if let Some(number) = self.leads {
            self.fold(number, &[]);
        }
    }

    /// Runs that have just looked at everything that was due have nothing due.
    pub(super) fn check_wake(&mut self, number: u64) {
        let Some(seat) = self.seats.get(&number) else { return };
        let (wake_ms, now) = (seat.runs.wake_at_ms(), seat.clock(self.now));
        self.judge.check(Promise::Quiet, wake_ms.is_none_or(|wake_ms| wake_ms > now), || {
            format!("it is {now}, and the run wants to be woken at {wake_ms:?}: it would never sleep")
        });
    }

    /// A command leaves: P4, and P1 of whoever could know of the halt.
    pub(super) fn check_sent(&mut self, by: u64, command: &Command) {
        let action = &command.action;
        let leads = self.leads == Some(by);
        self.judge
            .check(Promise::P1, !(leads && self.watcher.halted), || format!("{action} leaves while halted"));
        let durable = self.watcher.intents.contains(action);
        self.judge.check(Promise::P4, durable, || format!("{action} leaves without a durable intent"));
    }

    /// P7: nothing borrowed is left on a host; after a whole rollback, nothing at all.
    pub(crate) fn check_given_back(&mut self, taken_back: bool) {
        let index = self.index.clone();
        for step in &index.plan().steps {
            let (Work::Act(action), Some(host)) = (&*step.work, self.names.get(&step.host)) else { continue };
            let must_be_gone = match step.undo {
                Undo::Borrowed => true,
                Undo::Record => taken_back,
                Undo::Nothing | Undo::Guard | Undo::NoWayBack { .. } => false,
            };
            let left = must_be_gone && self.hosts[*host].things.is_left(action);
            self.judge.check(Promise::P7, !left, || format!("{} is not given back", step.id));
        }
        for host in &self.hosts {
            if taken_back {
                self.judge.check(Promise::P7, host.things.libvirtd == host.began_with, || {
                    format!("{} still has the new libvirtd", host.name)
                });
            }
        }
    }
}
