//! The agents at work: what they take, begin and end, and how they die.

use super::network::{ToAgent, ToCoordinator};
use super::{Fleet, Happening};
use crate::fault::Fault;
use crate::host::{Fortune, Task};
use crate::promise::Promise;
use replank_common::reading::ReadingRequest;
use replank_core::run::Command;

impl Fleet {
    pub(super) fn agent_hears(&mut self, host: usize, message: ToAgent) {
        if !self.hosts[host].agent_up {
            return;
        }
        match message {
            ToAgent::Do(command) => {
                if command.epoch < self.hosts[host].epoch_seen {
                    self.say_of(host, format!("refuses {} of epoch {}", command.action, command.epoch));
                    return;
                }
                self.hosts[host].epoch_seen = command.epoch;
                let Command { action, order, epoch, .. } = *command;
                let obeyed = self.obeyed[host];
                self.obeyed[host] = epoch.max(obeyed);
                self.judge.check(Promise::P9, epoch >= obeyed, || {
                    format!("{action} of epoch {epoch} taken, after epoch {obeyed} was obeyed")
                });
                match self.hosts[host].take(Task { action: action.clone(), order, epoch }) {
                    Some(outcome) => self.up(host, ToCoordinator::Outcome(action, outcome)),
                    None => {
                        self.up(host, ToCoordinator::Accepted(action));
                        self.begin_task(host);
                    }
                }
            }
            ToAgent::Read { ask, request } => {
                let peer_answers = match &request {
                    ReadingRequest::LibvirtTcp { peer, .. } => {
                        let peer = self.names.get(peer).map(|peer| &self.hosts[*peer]);
                        peer.is_some_and(|peer| peer.powered && peer.is_renewed())
                    }
                    _ => true,
                };
                let reading = self.hosts[host].read(&request, peer_answers, self.now);
                self.up(host, ToCoordinator::Reading(ask, Box::new(reading)));
            }
        }
    }

    fn begin_task(&mut self, host: usize) {
        let now = self.now;
        let Some(task) = self.hosts[host].begin_next(now) else { return };
        let (text, epoch) = (format!("begins {}", task.action), task.epoch);
        let obeyed = self.obeyed[host];
        self.obeyed[host] = epoch.max(obeyed);
        self.judge.check(Promise::P9, epoch >= obeyed, || {
            format!("{text} of epoch {epoch}, after epoch {obeyed} was obeyed")
        });
        self.say_of(host, text);
        let mut takes = 300 + self.below(2_500);
        if self.struck(Fault::ActionSlow) {
            takes += self.below(60_000);
        }
        let life = self.hosts[host].life;
        self.at(takes, Happening::TaskEnds { host, life });
    }

    fn fortune(&mut self, host: usize) -> Fortune {
        if !self.hosts[host].has_intent() {
            self.injected(Fault::LedgerDiskFull);
            Fortune::NoRoom
        } else if self.struck(Fault::ActionRefused) {
            Fortune::Refused
        } else if self.struck(Fault::ActionFailed) {
            Fortune::Failed
        } else if self.struck(Fault::ActionFailedHalfWay) {
            Fortune::FailedHalfWay
        } else {
            Fortune::Well
        }
    }

    pub(super) fn task_ends(&mut self, host: usize, life: u64) {
        if !self.hosts[host].agent_up || self.hosts[host].life != life {
            return;
        }
        let Some(task) = self.hosts[host].running.clone() else { return };
        if self.struck(Fault::AgentKilledBeforeAct) {
            self.agent_dies(host);
            return;
        }
        let fortune = self.fortune(host);
        let lives = self.hosts[host].lives();
        let acted: u32 = self.hosts[host].executed.get(&task.action).copied().unwrap_or(0);
        let Some(outcome) = self.hosts[host].act(fortune) else { return };
        let at = &self.hosts[host];
        let times = at.executed.get(&task.action).copied().unwrap_or(0);
        let intent = at.has_intent() || times == acted;
        let all_live = lives == at.lives();
        let name = at.name.clone();
        let action = &task.action;
        self.judge.check(Promise::P3, all_live, || format!("{action} ended a guest of {name}"));
        self.judge
            .check(Promise::P4, intent, || format!("{action} acted without an intent in {name}'s ledger"));
        self.judge.check(Promise::P5, times <= 1, || format!("{action} was carried out {times} times"));
        if self.struck(Fault::AgentKilledAfterAct) {
            self.agent_dies(host);
            return;
        }
        let keep = fortune != Fortune::NoRoom;
        let Some(action) = self.hosts[host].settle(&outcome, keep) else { return };
        self.say_of(host, format!("ends {action}: {}", if outcome.is_done() { "done" } else { "not done" }));
        if self.struck(Fault::AgentKilledAfterLedger) {
            self.agent_dies(host);
            return;
        }
        if !self.struck(Fault::ActionWithoutReply) {
            self.up(host, ToCoordinator::Outcome(action, outcome));
        }
        self.push_census(host);
        self.begin_task(host);
    }

    pub(crate) fn agent_dies(&mut self, host: usize) {
        self.say_of(host, "its agent dies");
        self.hosts[host].agent_dies();
        self.cut(host);
        let down = 200 + self.below(3_000);
        self.at(down, Happening::AgentStarts { host });
    }

    pub(super) fn agent_starts(&mut self, host: usize) {
        if !self.hosts[host].agent_up && self.hosts[host].powered {
            self.hosts[host].agent_starts(self.now);
            self.say_of(host, "its agent starts");
            self.dial_soon(host, 50);
        }
    }
}
