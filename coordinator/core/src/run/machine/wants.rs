//! What a run wants of the shell: commands to send, measurements to ask for, when to be woken.
//!
//! Recomputed from the state each time, never remembered: what is still wanted is still listed. The shell sends each entry once on each link
//! and forgets what it sent when a link comes up; sending more often is harmless, because an agent answers a known id
//! from its ledger (P5).

use super::Machine;
use crate::plan::Work;
use replank_common::UnixMs;
use replank_common::action::Action;
use replank_common::ids::{ActionId, Epoch, HostName, PlanId};
use replank_common::planted::{self, Planted};
use replank_common::reading::ReadingRequest;

/// A command for one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub host: HostName,
    pub epoch: Epoch,
    pub plan: PlanId,
    pub action: ActionId,
    pub order: Order,
    /// The agent gives up after this long.
    pub deadline_ms: u64,
    /// Counts from 1; grows when a deadline passes without an answer. To be sent once per link and number.
    pub asking: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    Execute(Box<Action>),
    /// Take back what the ledger records of this action.
    Undo {
        of: ActionId,
    },
}

/// A measurement to ask an agent for. To be sent once per link and `ask`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingWant {
    pub host: HostName,
    pub request: ReadingRequest,
    /// Goes out as the question's id and comes back with the answer.
    pub ask: u64,
    pub deadline_ms: u64,
    pub epoch: Epoch,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    pub commands: Vec<Command>,
    pub readings: Vec<ReadingWant>,
    /// When to give [`super::Input::Tick`] if nothing else comes before.
    pub wake_at_ms: Option<UnixMs>,
}

impl Machine {
    /// Everything wanted now.
    pub fn wants(&self) -> Wants {
        let commands = self.state.flying.iter().filter_map(|host| self.command(*host)).collect();
        let readings = self.asked.iter().flat_map(|host| self.questions(*host)).collect();
        Wants { commands, readings, wake_at_ms: self.wake_at_ms() }
    }

    /// What is wanted of one host, for a shell that follows [`super::Decided::touched`] in a large fleet.
    pub fn wants_of(&self, host: &HostName) -> Wants {
        let Some(host) = self.state.index.host(host) else { return Wants::default() };
        Wants {
            commands: self.command(host).into_iter().collect(),
            readings: self.questions(host).collect(),
            wake_at_ms: self.wake_at_ms(),
        }
    }

    pub fn wake_at_ms(&self) -> Option<UnixMs> {
        self.timers.first().filter(|_| self.leads).map(|(at_ms, _)| *at_ms)
    }

    /// The command in flight on a host: only while this coordinator leads (P9), nothing is halted (P1), its intent is
    /// durable (P4), and there is a link to send it on.
    fn command(&self, host: usize) -> Option<Command> {
        let moving = !self.state.stopped() || planted::is(Planted::SentWhileHalted);
        let durable = self.confirmed == self.state.last_seq || planted::is(Planted::SentBeforeDurable);
        let allowed = self.leads && moving && durable;
        let flight = self.state.hosts[host].flight.as_ref()?;
        if !allowed || !self.seen[host].is_up() {
            return None;
        }
        let subject = self.state.index.step_at(flight.subject);
        let order = match (&flight.of, &*subject.work) {
            (Some(of), _) => Order::Undo { of: of.clone() },
            (None, Work::Act(action)) => Order::Execute(Box::new(action.clone())),
            (None, Work::GiveBack(_) | Work::Observe) => return None,
        };
        let since_ms = match &self.seen[host].flight_since {
            Some((action, since_ms)) if *action == flight.action => *since_ms,
            Some(_) | None => self.now_ms,
        };
        Some(Command {
            host: self.state.index.host_name(host).clone(),
            epoch: self.state.epoch,
            plan: self.state.index.id().clone(),
            action: flight.action.clone(),
            order,
            deadline_ms: subject.deadline_ms,
            asking: 1 + self.now_ms.saturating_sub(since_ms) / subject.deadline_ms,
        })
    }

    fn questions(&self, host: usize) -> impl Iterator<Item = ReadingWant> + '_ {
        let open = self.leads && self.seen[host].is_up();
        self.seen[host].questions.iter().filter(move |(_, question)| open && question.answer.is_none()).map(
            move |(request, question)| ReadingWant {
                host: self.state.index.host_name(host).clone(),
                request: request.clone(),
                ask: question.ask,
                deadline_ms: super::reading_deadline_ms(request),
                epoch: self.state.epoch,
            },
        )
    }
}
