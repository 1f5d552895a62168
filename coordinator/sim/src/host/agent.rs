//! The agent of a simulated host at work: its desk, and the phases of a command.

use super::SimHost;
use super::ceph::Seat;
use super::hands::{Fortune, SimHands};
use super::things::{About, State};
use crate::promise::{Judge, Promise};
use replank_agent_core::ledger::standing_record;
use replank_agent_core::{Acted, Begin, Begun, Command, Ledger, begin};
use replank_common::action::Action;
use replank_common::ids::{ActionId, Direction, Epoch, RunId, StepId};
use replank_common::outcome::Outcome;
use replank_common::undo::UndoRecord;

/// The command at work: its intent is durable.
#[derive(Debug)]
pub(super) struct AtWork {
    command: Command,
    begun: Box<Begun>,
}

/// What was done; the ledger does not know it yet.
#[derive(Debug)]
pub(crate) struct Deed {
    command: Command,
    acted: Acted,
    /// Something of the host was changed.
    changed: bool,
}

/// What became of the command that was looked at.
#[derive(Debug)]
pub(crate) enum Look {
    Begun,
    Answered(Outcome),
}

/// What the world does to an agent at a phase of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) now_ms: u64,
    pub(crate) fortune: Fortune,
    /// A later coordinator is welcomed while the host is looked at.
    pub(crate) welcome: Option<Epoch>,
}

/// Splits a host into its ledger and the hands for a command, so that the rules get both.
macro_rules! hands {
    ($host:ident, $command:expr, $weather:ident, $ceph:ident, $judge:ident) => {{
        let restart_hurts = if $host.job_since.is_some() {
            Some("a guest has a job in flight")
        } else if $host.disagrees_since.is_some() {
            Some("the sources of the census do not agree")
        } else {
            None
        };
        let clock_ms = $host.clock($weather.now_ms);
        $host.ledger.set_full($weather.now_ms < $host.disk_full_until);
        let census = $host.looks_around(clock_ms);
        SimHands {
            things: &mut $host.things,
            site: &mut $host.site,
            census,
            executed: &mut $host.executed,
            unrecorded: &$host.unrecorded,
            ledger: &$host.ledger,
            obeyed: &mut $host.obeyed,
            judge: &mut *$judge,
            command: $command,
            fortune: $weather.fortune,
            welcome: $weather.welcome,
            restart_hurts,
            clock_ms,
            changed: false,
            ceph: $ceph,
        }
    }};
}

impl SimHost {
    /// A coordinator has answered the agent's hello. Whether the agent obeys it: it does so durably or not at all.
    pub(crate) fn welcomed(&mut self, epoch: Epoch, now_ms: u64) -> bool {
        self.ledger.set_full(now_ms < self.disk_full_until);
        let obeyed = self.ledger.obey(epoch).unwrap_or(false);
        if obeyed {
            self.obeyed = epoch.max(self.obeyed);
        }
        obeyed
    }

    /// Lays a command on the desk. One that waits or is at work already is not taken twice; the later coordinator's is the one that counts.
    pub(crate) fn hand_in(&mut self, command: Command) {
        if self.at_work.as_ref().is_some_and(|at_work| at_work.command.id == command.id) {
            return;
        }
        match self.waiting.iter_mut().find(|waiting| waiting.id == command.id) {
            Some(waiting) if command.epoch > waiting.epoch => *waiting = command,
            Some(_) => {}
            None => self.waiting.push_back(command),
        }
    }

    /// The link ended: whoever comes next asks again for what has not begun.
    pub(crate) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// The command that is looked at next; `None` while one is at work.
    pub(crate) fn next(&self) -> Option<&Command> {
        self.waiting.front().filter(|_| self.at_work.is_none())
    }

    /// Looks at the next command, and begins it.
    pub(crate) fn look(
        &mut self,
        weather: Weather,
        ceph: Option<Seat<'_>>,
        judge: &mut Judge,
    ) -> Option<(ActionId, Look)> {
        self.next()?;
        let command = self.waiting.pop_front()?;
        let host = &mut *self;
        let mut hands = hands!(host, &command, weather, ceph, judge);
        let begin = begin(&command, hands.ledger, &mut hands);
        let id = command.id.clone();
        Some((
            id,
            match begin {
                Begin::Answered(outcome) => Look::Answered(outcome),
                Begin::Begun(begun) => {
                    self.at_work = Some(AtWork { command, begun });
                    Look::Begun
                }
            },
        ))
    }

    pub(crate) fn at_work(&self) -> Option<&ActionId> {
        self.at_work.as_ref().map(|at_work| &at_work.command.id)
    }

    /// Whether an action of this host has an intent and no end.
    pub(crate) fn is_half_done(&self) -> bool {
        self.ledger.unfinished().is_ok_and(|entries| !entries.is_empty())
    }

    /// Flags that this step has in the record that stands.
    pub(crate) fn borrowed_flags(&self, run: &RunId, step: &StepId) -> Vec<&'static str> {
        let entries = self.ledger.of_step(run, step).unwrap_or_default();
        match standing_record(&entries) {
            Some(UndoRecord::CephFlags { unset }) => unset.iter().map(|flag| flag.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// Acts: the world is changed, the ledger does not know it yet.
    pub(crate) fn act(
        &mut self,
        weather: Weather,
        ceph: Option<Seat<'_>>,
        judge: &mut Judge,
    ) -> Option<Deed> {
        let AtWork { command, begun } = self.at_work.take()?;
        let mut hands = hands!(self, &command, weather, ceph, judge);
        let acted = begun.act(&mut hands);
        let changed = hands.changed;
        self.bury(&command.id, weather.now_ms, judge);
        Some(Deed { command, acted, changed })
    }

    /// The agent dies in the middle of its act: a part of it is done.
    pub(crate) fn act_in_part(&mut self, weather: Weather, ceph: Option<Seat<'_>>, judge: &mut Judge) {
        let Some(at_work) = self.at_work.take() else { return };
        if let Some(deed) = super::ceph::Deed::of(at_work.begun.action()) {
            let host = &mut *self;
            let mut hands = hands!(host, &at_work.command, weather, ceph, judge);
            hands.half_do(&deed, at_work.begun.record());
            return;
        }
        let undoing = at_work.command.id.direction == Direction::Undo;
        let host = &mut *self;
        match (About::of(at_work.begun.action()), at_work.begun.action()) {
            (About::Thing(thing), action) => {
                let state = host.things.state(thing);
                // What is there no more is not half undone, and what is done is not half done again.
                if state.is_some() == undoing {
                    let mut hands = hands!(host, &at_work.command, weather, ceph, judge);
                    let begins = if undoing {
                        hands.site_changes_back(action, true).is_ok()
                    } else {
                        hands.site_changes(action, true).is_ok()
                    };
                    if begins {
                        host.things.set(thing, Some(State::Half));
                    }
                }
            }
            (About::Restart, Action::LibvirtRestart(restart)) if host.things.libvirtd != restart.expect => {
                host.things.restart_begun = true;
            }
            (About::Restart | About::Anchor | About::Trial(_) | About::Cluster, _) => {}
        }
        self.bury(&at_work.command.id, weather.now_ms, judge);
    }

    /// P3: no guest ended by what an action did to the host.
    fn bury(&mut self, by: &ActionId, now_ms: u64, judge: &mut Judge) {
        let ended = self.those_who_ended(now_ms);
        judge.check(Promise::P3, ended.is_empty(), || format!("{by} ended {}", ended.join(", ")));
    }

    /// The outcome goes to the ledger, and is what is told.
    pub(crate) fn end(
        &mut self,
        deed: Deed,
        weather: Weather,
        ceph: Option<Seat<'_>>,
        judge: &mut Judge,
    ) -> Outcome {
        let Deed { command, acted, changed } = deed;
        let mut hands = hands!(self, &command, weather, ceph, judge);
        let outcome = acted.end(hands.ledger, &mut hands);
        let entry = self.ledger.look_up(&command.id).ok().flatten();
        if entry.is_none_or(|entry| entry.outcome().is_none()) {
            *self.unrecorded.entry(command.id.clone()).or_default() += 1;
        }
        let told = !(changed && matches!(outcome, Outcome::Refused(_)));
        judge
            .check(Promise::P5, told, || format!("{} is told refused, and has changed the host", command.id));
        outcome
    }
}
