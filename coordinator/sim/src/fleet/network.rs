//! The network between agents and coordinators: links that break, messages that are lost, doubled, late and overtaken.

use super::{Fleet, Happening};
use crate::fault::Fault;
use crate::host::Link;
use replank_common::ids::ActionId;
use replank_common::outcome::Outcome;
use replank_common::reading::{Reading, ReadingRequest};
use replank_core::run::Command;
use replank_core::runs::What;

#[derive(Debug, Clone)]
pub(crate) enum ToAgent {
    Do(Box<Command>),
    Read { ask: u64, request: ReadingRequest },
}

#[derive(Debug, Clone)]
pub(crate) enum ToCoordinator {
    Accepted(ActionId),
    Outcome(ActionId, Outcome),
    Reading(u64, Box<Reading>),
    Census(Box<replank_common::census::Census>),
}

const REDIAL_MS: u64 = 2_000;
/// A link whose other end is silent is given up after about this long.
const SILENCE_MS: u64 = 12_000;

impl Fleet {
    /// How often and how late a message arrives.
    fn arrivals(&mut self) -> Vec<u64> {
        if self.struck(Fault::MessageLost) {
            return Vec::new();
        }
        let copies = if self.struck(Fault::MessageDoubled) { 2 } else { 1 };
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let late = if self.struck(Fault::MessageLate) { self.below(8_000) } else { 0 };
            let overtaken = if self.struck(Fault::MessageReordered) { self.below(300) } else { 0 };
            arrivals.push(5 + self.below(20) + late + overtaken);
        }
        arrivals
    }

    pub(super) fn down(&mut self, host: usize, message: ToAgent) {
        self.about(host);
        if self.now < self.hosts[host].deaf_until {
            return;
        }
        for delay in self.arrivals() {
            self.at(delay, Happening::ToAgent { host, message: message.clone() });
        }
    }

    pub(super) fn up(&mut self, host: usize, message: ToCoordinator) {
        self.about(host);
        let Some(link) = self.hosts[host].link else { return };
        if self.now < self.hosts[host].mute_until {
            return;
        }
        for delay in self.arrivals() {
            self.at(delay, Happening::ToCoordinator { host, link, message: message.clone() });
        }
    }

    pub(crate) fn dial_soon(&mut self, host: usize, delay_ms: u64) {
        if !std::mem::replace(&mut self.hosts[host].dialling, true) {
            self.at(delay_ms, Happening::Dial { host });
        }
    }

    pub(super) fn dial(&mut self, host: usize) {
        self.hosts[host].dialling = false;
        let at = &self.hosts[host];
        if at.link.is_some() || !at.agent_up {
            return;
        }
        let cut = self.now < at.deaf_until || self.now < at.mute_until;
        // Whoever answers; a coordinator that is older than one that was obeyed is refused by the agent.
        let answers = self.old_one().filter(|_| self.below(4) == 0).or(self.leads).filter(|_| !cut);
        let hello = self.hosts[host].hello();
        let (now, seats) = (self.now, &self.seats);
        let answers = answers.filter(|number| self.hosts[host].welcomed(seats[number].epoch, now));
        let Some(seat) = answers else {
            self.dial_soon(host, REDIAL_MS);
            return;
        };
        self.links += 1;
        let link = Link { seat, number: self.links };
        self.hosts[host].link = Some(link);
        self.hosts[host].linked_since = self.now;
        self.reaches(host, link, What::Up(hello));
        if self.struck(Fault::LinkBroken) {
            let life = self.below(20_000);
            self.at(life, Happening::LinkBreaks { host, link });
        }
        self.push_census(host);
    }

    pub(super) fn link_breaks(&mut self, host: usize, link: Link) {
        if self.hosts[host].link != Some(link) {
            return;
        }
        self.hosts[host].link = None;
        self.hosts[host].forget_waiting();
        self.dial_soon(host, 100);
        self.reaches(host, link, What::Down);
    }

    pub(super) fn cut(&mut self, host: usize) {
        if let Some(link) = self.hosts[host].link {
            self.link_breaks(host, link);
        }
    }

    /// The process at the other end is gone.
    pub(super) fn links_lost(&mut self, seat: u64) {
        for host in 0..self.hosts.len() {
            if self.hosts[host].link.take_if(|link| link.seat == seat).is_some() {
                self.hosts[host].forget_waiting();
                let delay = 100 + self.below(900);
                self.dial_soon(host, delay);
            }
        }
    }

    /// Both ends give a silent link up after a while.
    pub(crate) fn silence(&mut self, host: usize) {
        if let Some(link) = self.hosts[host].link {
            let delay = SILENCE_MS + self.below(8_000);
            self.at(delay, Happening::LinkBreaks { host, link });
        }
    }

    pub(crate) fn push_census(&mut self, host: usize) {
        if self.hosts[host].agent_up && self.hosts[host].link.is_some() {
            let census = self.hosts[host].census(self.now);
            self.up(host, ToCoordinator::Census(Box::new(census)));
        }
    }
}
