//! What is said, compared with the world itself: records with hosts and guests, the live state with the fold, the end with what is left.

use super::Fleet;
use crate::promise::Promise;
use replank_core::gate::Gate;
use replank_core::plan::{Undo, Work};
use replank_core::run::{End, Event, MAX_READING_AGE_MS, Machine, Record};

impl Fleet {
    /// What the record says, compared with the world itself.
    pub(super) fn against_the_world(&mut self, record: &Record) {
        let now = self.now;
        match &record.event {
            Event::Sent { step: id, .. } => {
                let index = self.index.clone();
                let Some(step) = self.watcher.step(index.plan(), id) else { return };
                let host = &self.hosts[self.names[&step.host]];
                // No gate before was red for longer than a reading may be old and late.
                let red = |since: Option<u64>| since.is_some_and(|at| now - at > MAX_READING_AGE_MS + 10_000);
                let disagrees = red(host.disagrees_since);
                let jobs = step.before.contains(&Gate::NoGuestJobs)
                    && step.work != Work::Observe
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
                for gate in &step.after {
                    if let Gate::LibvirtdIs { version } = gate {
                        self.judge.check(Promise::P6, host.libvirtd == *version, || {
                            format!("{id} is done and libvirtd is {}", host.libvirtd)
                        });
                    }
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
                let unheard = self
                    .hosts
                    .iter()
                    .enumerate()
                    .filter(|(_, host)| host.link.is_none() || now - host.linked_since < 60_000);
                self.unheard.push((now, unheard.map(|(at, _)| at).collect()));
            }
            Event::GuestTwice { guest, .. } => {
                let was = self.twins.contains(guest);
                self.judge.check(Promise::P2, was, || format!("{guest} is told twice and never was"));
            }
            _ => {}
        }
    }

    /// What is durable and what is not yet fold into the state of the process.
    pub(crate) fn fold(&mut self, unsynced: &[Record]) {
        let Some(leader) = &self.leader else { return };
        let folded = Machine::replay(self.index.clone(), self.journal.iter().chain(unsynced));
        let same = folded.as_ref().is_ok_and(|folded| folded.state() == leader.machine.state());
        self.judge.check(Promise::Fold, same, || match folded {
            Ok(_) => "the fold of the journal is another state than the live one".to_owned(),
            Err(illegal) => format!("the journal does not fold: {illegal}"),
        });
    }

    /// A machine that has just looked at everything that was due has nothing due.
    pub(super) fn check_wake(&mut self) {
        let Some(leader) = &self.leader else { return };
        let (wake_ms, now) = (leader.machine.wake_at_ms(), leader.clock(self.now));
        self.judge.check(Promise::Quiet, wake_ms.is_none_or(|wake_ms| wake_ms > now), || {
            format!("it is {now}, and the run wants to be woken at {wake_ms:?}: it would never sleep")
        });
    }

    /// P7: nothing borrowed is left on a host; after a whole rollback, nothing at all.
    pub(crate) fn check_given_back(&mut self, taken_back: bool) {
        let index = self.index.clone();
        for host in &self.hosts {
            for (id, attempt) in &host.applied {
                let Some(step) = self.watcher.step(index.plan(), id) else { continue };
                let left = match step.undo {
                    Undo::Borrowed => true,
                    Undo::Record => taken_back,
                    Undo::Nothing | Undo::Guard | Undo::NoWayBack { .. } => false,
                };
                self.judge.check(Promise::P7, !left, || format!("{id}/{attempt} is not given back"));
            }
            if taken_back {
                self.judge.check(Promise::P7, !host.is_renewed(), || {
                    format!("{} still has the new libvirtd", host.name)
                });
            }
        }
    }
}
