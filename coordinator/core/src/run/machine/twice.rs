//! P2: a guest is active on one host at most.
//!
//! Two hosts' censuses are of two instants, and a guest may have gone over in between. So a guest that is in the newest censuses of two hosts
//! is only suspected; both are asked again. If the same two lives are still in both censuses taken after the suspicion, both lived at the
//! instant of the suspicion: that is the proof. An end that libvirt keeps paused for a migration is not active.

use super::Machine;
use super::seen::Asker;
use crate::gate::HaltReason;
use crate::run::event::Event;
use replank_common::census::Incarnation;
use replank_common::ids::{GuestUuid, HostName};
use replank_common::planted::{self, Planted};
use replank_common::reading::ReadingRequest;
use std::collections::BTreeMap;

/// A guest seen on several hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub(super) name: String,
    /// Answers to earlier questions than this prove nothing.
    mark: u64,
    lives: BTreeMap<usize, Incarnation>,
}

impl Machine {
    pub(super) fn moved_here(&mut self, host: usize, guest: GuestUuid) {
        let at = self.whereabouts.entry(guest).or_default();
        at.insert(host);
        if at.len() > 1 {
            self.doubles.entry(guest).or_insert(None);
        }
    }

    pub(super) fn moved_away(&mut self, host: usize, guests: impl Iterator<Item = GuestUuid>) {
        for guest in guests {
            let Some(at) = self.whereabouts.get_mut(&guest) else { continue };
            at.remove(&host);
            let left = at.len();
            if left == 0 {
                self.whereabouts.remove(&guest);
            }
            if left < 2
                && let Some(suspicion) = self.doubles.remove(&guest)
            {
                self.clear(guest, suspicion);
                self.withdraw(Asker::Twice(guest), host, &ReadingRequest::Census);
            }
        }
    }

    fn clear(&mut self, guest: GuestUuid, suspicion: Option<Suspicion>) {
        if let Some(suspicion) = suspicion {
            for host in suspicion.lives.keys() {
                self.withdraw(Asker::Twice(guest), *host, &ReadingRequest::Census);
            }
            // What waited because of it may go on.
            self.wake_parked();
        }
    }

    /// Looks at each guest that is at several places: dismisses, suspects, asks, or proves.
    pub(super) fn decide_doubles(&mut self) {
        let blind = planted::is(Planted::TwiceUnseen);
        if blind || self.doubles.is_empty() || self.state.finished().is_some() {
            return;
        }
        let guests: Vec<GuestUuid> = self.doubles.keys().copied().collect();
        for guest in guests {
            let known = |loss: &crate::run::state::OpenLoss| matches!(&loss.reason, HaltReason::GuestTwice { guest: other, .. } if *other == guest);
            if !self.state.open.iter().any(known) {
                self.decide_double(guest);
            }
        }
    }

    fn decide_double(&mut self, guest: GuestUuid) {
        let hosts: Vec<usize> = self.whereabouts.get(&guest).into_iter().flatten().copied().collect();
        let mut lives = BTreeMap::new();
        let mut name = String::new();
        for host in &hosts {
            let seen = self.seen[*host].census.as_ref().and_then(|census| census.guests.get(&guest));
            let Some(seen) = seen else { continue };
            name.clone_from(&seen.name);
            if !seen.migrating {
                lives.insert(*host, seen.incarnation);
            }
        }
        let before = self.doubles.get_mut(&guest).and_then(Option::take);
        if lives.len() < 2 {
            self.clear(guest, before);
            return;
        }
        let suspicion = match before {
            Some(suspicion) if suspicion.lives == lives => suspicion,
            before => {
                self.clear(guest, before);
                Suspicion { name: name.clone(), mark: self.next_ask, lives: lives.clone() }
            }
        };
        let mark = suspicion.mark;
        let mut proved = true;
        for host in lives.keys() {
            self.pose(Asker::Twice(guest), *host, &ReadingRequest::Census, mark);
            let question = self.seen[*host].questions.get(&ReadingRequest::Census);
            proved &=
                self.seen[*host].is_up() && question.is_some_and(|q| q.ask >= mark && q.answer.is_some());
        }
        if !proved {
            self.doubles.insert(guest, Some(suspicion));
            return;
        }
        for host in lives.keys() {
            self.withdraw(Asker::Twice(guest), *host, &ReadingRequest::Census);
        }
        let hosts: Vec<HostName> =
            lives.keys().map(|host| self.state.index.host_name(*host).clone()).collect();
        let during = self.state.during(lives.keys().next().copied());
        self.record(Event::GuestTwice { guest, name, hosts, during });
    }
}
