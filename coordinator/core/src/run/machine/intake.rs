//! What comes in: links, censuses, answers. P1 is kept here: every incarnation of the baseline is accounted for in every census.

use super::seen::CensusSeen;
use super::{Hello, Input, Machine};
use crate::gate::{HaltReason, LinkSeen, known_of};
use crate::run::event::{Event, Life};
use crate::run::state::Track;
use replank_common::UnixMs;
use replank_common::census::{Census, GuestEnd, Incarnation};
use replank_common::ids::{ActionId, BootId, GuestUuid, HostName};
use replank_common::outcome::{OLD_EPOCH, Outcome};
use replank_common::planted::{self, Planted};
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use std::sync::Arc;

/// A life of the baseline that is not there any more.
struct Gone {
    uuid: GuestUuid,
    name: String,
    incarnation: Incarnation,
    end: Option<GuestEnd>,
}

impl Machine {
    pub(super) fn intake(&mut self, input: Input) {
        match input {
            Input::LinkUp { host, hello } => {
                if let Some(host) = self.state.index.host(&host) {
                    self.link_up(host, hello);
                }
            }
            Input::LinkDown { host } => {
                if let Some(host) = self.state.index.host(&host) {
                    self.link_down(host);
                }
            }
            Input::Census { host, census } => {
                if let Some(host) = self.state.index.host(&host) {
                    self.census(host, &census);
                }
            }
            Input::GuestEnded { host, agent_start_ms, end } => {
                if let Some(host) = self.state.index.host(&host)
                    && self.seen[host].agent_start_ms == Some(agent_start_ms)
                {
                    self.guest_ended(host, end);
                }
            }
            Input::Reading { host, ask, reading } => self.reading(&host, ask, reading),
            Input::Accepted { host, action } => {
                if let Some(host) = self.flying(&host, &action) {
                    self.seen[host].accepted = true;
                    self.touched.insert(host);
                }
            }
            Input::Progress { host, action, permille, text } => {
                if let Some(host) = self.flying(&host, &action) {
                    // It may come before the intent is durable: what is there now is looked at first.
                    self.seen[host].progress = Some(super::seen::ProgressSeen { permille, text });
                    self.touched.insert(host);
                }
            }
            Input::Outcome { host, action, outcome } => self.outcome(&host, action, outcome),
            Input::Tick => {}
        }
    }

    /// The host, if this very command is in flight on it. Anything else is late, doubled or another host's word, and says nothing.
    fn flying(&self, host: &HostName, action: &ActionId) -> Option<usize> {
        let host = self.state.index.host(host)?;
        let flight = self.state.hosts[host].flight.as_ref()?;
        (flight.action == *action || planted::is(Planted::AnyOutcomeIsTheFlights)).then_some(host)
    }

    fn outcome(&mut self, host: &HostName, action: ActionId, outcome: Outcome) {
        let old_epoch = matches!(&outcome, Outcome::Refused(refusal) if refusal.code == OLD_EPOCH);
        if old_epoch && !planted::is(Planted::OldEpochIsAnOutcome) {
            // P9: it answers whoever sent the command with an earlier epoch, perhaps over the link of a later one that sent the same
            // command, and says nothing of the action. The command stays wanted and is sent again on the next link.
            return;
        }
        if let Some(host) = self.flying(host, &action) {
            self.record(Event::Outcome { action, outcome });
            self.dirty.insert(host);
        }
    }

    fn link_up(&mut self, host: usize, hello: Hello) {
        if hello.epoch_seen > self.state.epoch && !planted::is(Planted::LeadsThoughDeposed) {
            // P9: somebody else leads; the agents refuse this coordinator, and it has nothing left to say.
            self.deposed_by = Some(hello.epoch_seen);
            self.leads = false;
            return;
        }
        let seen = &mut self.seen[host];
        seen.link = LinkSeen::Up;
        seen.link_since_ms = self.now_ms;
        seen.observe_only = hello.observe_only;
        let flight = self.state.hosts[host].flight.as_ref();
        seen.accepted = flight.is_some_and(|flight| hello.unfinished.contains(&flight.action));
        if seen.agent_start_ms.replace(hello.agent_start_ms) != Some(hello.agent_start_ms) {
            // Another life of the agent counts its censuses from the beginning.
            self.forget_census(host);
        }
        self.rebooted(host, hello.boot_id);
        self.link_changed(host);
    }

    fn link_down(&mut self, host: usize) {
        if self.seen[host].is_up() {
            self.seen[host].link = LinkSeen::Down { since_ms: Some(self.now_ms) };
            self.seen[host].link_since_ms = self.now_ms;
            self.link_changed(host);
        }
    }

    fn link_changed(&mut self, host: usize) {
        self.dirty.insert(host);
        self.wake_askers(host);
        self.note_sight(host);
        self.look_for_blindness(host);
    }

    fn forget_census(&mut self, host: usize) {
        if let Some(census) = self.seen[host].census.take() {
            self.moved_away(host, census.guests.keys().copied());
        }
    }

    fn note_sight(&mut self, host: usize) {
        if self.seen[host].is_blind() {
            self.unseen.insert(host);
        } else {
            self.unseen.remove(&host);
        }
    }

    /// Keeps the set of hosts that the run has changed and cannot see; when the last one is seen again, all may go on.
    pub(super) fn look_for_blindness(&mut self, host: usize) {
        if self.state.hosts[host].change_begun && self.seen[host].is_blind() {
            self.blind.insert(host);
        } else if self.blind.remove(&host) && self.blind.is_empty() {
            self.wake_parked();
        }
    }

    /// A new boot id ends every guest of the host at once.
    fn rebooted(&mut self, host: usize, boot_id: BootId) {
        let state = &self.state.hosts[host];
        let known =
            state.watch.as_ref().filter(|_| !state.baseline_due && !planted::is(Planted::RebootIsNothing));
        if self.state.finished().is_none() && known.is_some_and(|watch| watch.boot_id != boot_id) {
            let (name, during) = (self.state.index.host_name(host).clone(), self.state.during(Some(host)));
            self.record(Event::HostRebooted { host: name, boot_id, during });
        }
    }

    fn reading(&mut self, host: &HostName, ask: u64, reading: Reading) {
        let Some(at) = self.state.index.host(host).filter(|_| reading.host == *host) else { return };
        if let ReadingValue::Census(census) = &reading.value
            && !self.census(at, census)
        {
            // A newer census is known already; what this one says is past.
            return;
        }
        self.answer(at, ask, reading);
    }

    /// Takes a census in; `false`: it is not the newest of the agent that is linked, and nothing was made of it.
    fn census(&mut self, host: usize, census: &Census) -> bool {
        let seen = &self.seen[host];
        let newest = seen.census.as_ref().is_none_or(|last| census.sequence >= last.sequence);
        let of_this_agent =
            seen.agent_start_ms == Some(census.agent_start_ms) || planted::is(Planted::OldAgentsCensus);
        if !newest || !of_this_agent || census.host != *self.state.index.host_name(host) {
            return false;
        }
        self.rebooted(host, census.boot_id);
        self.see_guests(host, census);
        if self.state.finished().is_some() {
            return true;
        }
        if self.state.hosts[host].baseline_due {
            self.take_baseline(host, census);
        } else {
            self.account(host, census);
        }
        self.renew_answer(host, census);
        self.look_for_blindness(host);
        self.dirty.insert(host);
        true
    }

    fn take_baseline(&mut self, host: usize, census: &Census) {
        if !census.agrees() {
            return;
        }
        self.stop_counting(host);
        self.record(Event::Baseline {
            host: self.state.index.host_name(host).clone(),
            boot_id: census.boot_id,
            taken_at_ms: census.taken_at_ms,
            guests: census.guests.values().map(|guest| Arc::new(Life::from(guest))).collect(),
        });
    }

    /// Every life of the baseline is there, ended by its owner, or lost. A census that does not agree proves no absence;
    /// an end that the agent saw it proves by itself.
    fn account(&mut self, host: usize, census: &Census) {
        let Some(watch) = &self.state.hosts[host].watch else { return };
        let is_gone = |track: &&Track| {
            let there = census.guests.get(&track.first.uuid).map(|guest| guest.incarnation);
            let ended = census.end_of(track.first.uuid, track.first.incarnation).is_some();
            let same = there == Some(track.first.incarnation)
                || (there.is_some() && planted::is(Planted::AnyLifeIsTheLife));
            ended || (!same && (census.agrees() || planted::is(Planted::DisagreementProves)))
        };
        let gone: Vec<Gone> = watch
            .present()
            .filter(is_gone)
            .map(|track| Gone {
                uuid: track.first.uuid,
                name: track.first.name.clone(),
                incarnation: track.first.incarnation,
                end: census.end_of(track.first.uuid, track.first.incarnation).cloned(),
            })
            .collect();
        for gone in gone {
            self.gone(host, gone);
        }
        if !census.agrees() {
            return;
        }
        for guest in census.guests.values() {
            let watch = self.state.hosts[host].watch.as_ref();
            if watch.is_some_and(|watch| watch.present_of(guest.uuid).is_none()) {
                let name = self.state.index.host_name(host).clone();
                self.record(Event::GuestAppeared { host: name, life: Life::from(guest) });
            }
        }
    }

    fn guest_ended(&mut self, host: usize, end: GuestEnd) {
        let state = &self.state.hosts[host];
        let watch = state.watch.as_ref().filter(|_| !state.baseline_due);
        let watched = watch.is_some_and(|watch| watch.watches(end.uuid, end.incarnation));
        if watched && self.state.finished().is_none() {
            let (uuid, name, incarnation) = (end.uuid, end.name.clone(), end.incarnation);
            self.gone(host, Gone { uuid, name, incarnation, end: Some(end) });
        }
    }

    fn gone(&mut self, host: usize, gone: Gone) {
        let name = self.state.index.host_name(host).clone();
        let Gone { uuid: guest, name: called, incarnation, end } = gone;
        match end {
            Some(GuestEnd { cause, at_ms, .. })
                if cause.is_owners_doing() || planted::is(Planted::EveryEndIsTheOwners) =>
            {
                self.record(Event::GuestLeft { host: name, guest, incarnation, cause, at_ms });
            }
            end => {
                let known = known_of(end.as_ref().map(|end| &end.cause));
                let died_at_ms = end.map(|end| end.at_ms);
                self.lost(host, (guest, called, incarnation), known, died_at_ms);
            }
        }
    }

    fn lost(
        &mut self,
        host: usize,
        (guest, name, incarnation): (GuestUuid, String, Incarnation),
        known: String,
        died_at_ms: Option<UnixMs>,
    ) {
        let during = self.state.during(Some(host));
        let host = self.state.index.host_name(host).clone();
        self.record(Event::GuestLost { host, guest, name, incarnation, known, died_at_ms, during });
    }

    /// A gate saw what the intake has not: the answer was judged against a newer baseline. Lost is lost.
    pub(super) fn lost_by_gate(&mut self, host: usize, reason: &HaltReason) {
        let HaltReason::GuestLost { guest, name, known, .. } = reason else { return };
        let watch = self.state.hosts[host].watch.as_ref();
        let Some(track) = watch.and_then(|watch| watch.present_of(*guest)) else { return };
        let incarnation = track.first.incarnation;
        self.lost(host, (*guest, name.clone(), incarnation), known.clone(), None);
    }

    /// An answered census question follows the newest census, so that no gate passes on an older and better one.
    fn renew_answer(&mut self, host: usize, census: &Census) {
        let question = self.seen[host].questions.get_mut(&ReadingRequest::Census);
        if let Some(answer) = question.and_then(|question| question.answer.as_mut()) {
            answer.reading.value = ReadingValue::Census(census.clone());
            answer.received_ms = self.now_ms;
            self.wake_askers(host);
        }
    }

    fn see_guests(&mut self, host: usize, census: &Census) {
        let now = CensusSeen::of(census, self.now_ms);
        let before = self.seen[host].census.take();
        let gone: Vec<GuestUuid> = before
            .iter()
            .flat_map(|before| before.guests.keys())
            .filter(|uuid| !now.guests.contains_key(uuid))
            .copied()
            .collect();
        self.moved_away(host, gone.into_iter());
        for uuid in now.guests.keys() {
            self.moved_here(host, *uuid);
        }
        self.seen[host].census = Some(now);
        self.note_sight(host);
    }
}
