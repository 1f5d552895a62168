//! The agents at work: what they take, begin and end, and how they die.

use super::network::{ToAgent, ToCoordinator};
use super::{Fleet, Happening};
use crate::ceph::Cluster;
use crate::fault::Fault;
use crate::host::{Fortune, Look, Seat, Weather};
use crate::promise::Promise;
use replank_agent_core::ledger::Work;
use replank_agent_core::{Command, codes};
use replank_ceph::seen::{LOOKS_APART_MS, Seen, Settle};
use replank_common::outcome::Outcome;
use replank_common::reading::{ReadingRequest, ReadingValue};
use replank_core::run;

impl Fleet {
    pub(super) fn agent_hears(&mut self, host: usize, message: ToAgent) {
        if !self.hosts[host].agent_up {
            return;
        }
        match message {
            ToAgent::Do(command) => {
                self.hosts[host].hand_in(as_the_agent_reads(*command));
                self.begin_tasks(host);
            }
            ToAgent::Read { ask, request } => {
                let peer_answers = match &request {
                    ReadingRequest::LibvirtTcp { peer, .. } => {
                        let peer = self.names.get(peer).map(|peer| &self.hosts[*peer]);
                        peer.is_some_and(|peer| peer.powered && peer.is_renewed())
                    }
                    _ => true,
                };
                let ceph = seat(&mut self.ceph, host, self.now);
                // Looked at twice, some seconds apart, unless the first look misses something.
                if let (ReadingRequest::CephSettle { osds, version }, Some(seat)) = (&request, &ceph)
                    && let Some(look) = seat.looks_settled(osds, version)
                {
                    let life = self.hosts[host].life;
                    let again = Happening::LooksAgain { host, life, ask, request, look: Box::new(look) };
                    self.at(LOOKS_APART_MS + 200, again);
                    return;
                }
                let reading = self.hosts[host].read(&request, peer_answers, ceph, self.now);
                self.meets_its_cluster();
                self.up(host, ToCoordinator::Reading(ask, Box::new(reading)));
            }
        }
    }

    /// Looks at what waits, until something is at work.
    fn begin_tasks(&mut self, host: usize) {
        while let Some(command) = self.hosts[host].next() {
            let epoch = command.epoch;
            // A welcome does not wait for the command that is being looked at.
            let later = self.leader().map(|leader| leader.epoch).filter(|later| *later > epoch);
            let welcome = if later.is_some() && self.below(2) == 0 { later } else { None };
            let fortune =
                if self.strikes(Fault::ActionRefused) { self.no_of_a_look() } else { Fortune::Well };
            let weather = Weather { now_ms: self.now, fortune, welcome };
            let Some((action, look)) =
                self.hosts[host].look(weather, seat(&mut self.ceph, host, self.now), &mut self.judge)
            else {
                return;
            };
            match look {
                Look::Begun => {
                    self.say_of(host, format!("begins {action}"));
                    let takes = self.takes(&action);
                    self.up(host, ToCoordinator::Accepted(action));
                    let life = self.hosts[host].life;
                    self.at(takes, Happening::TaskEnds { host, life });
                }
                Look::Answered(outcome) => {
                    if fortune != Fortune::Well && !outcome.is_done() {
                        self.injected(Fault::ActionRefused);
                    }
                    self.meets_a_full_disk(&outcome);
                    self.say_of(host, format!("answers {action}: {}", in_short(&outcome)));
                    self.up(host, ToCoordinator::Outcome(action, outcome));
                }
            }
        }
    }

    fn no_of_a_look(&mut self) -> Fortune {
        match self.below(4) {
            0 => Fortune::Forbidden,
            1 => Fortune::CannotTell,
            2 => Fortune::Unexpected,
            _ => Fortune::Unprepared,
        }
    }

    fn fortune_of_an_act(&mut self) -> Fortune {
        if self.struck(Fault::ActionRefused) {
            Fortune::Refused
        } else if self.struck(Fault::ActionFailed) {
            if self.below(2) == 0 { Fortune::Failed } else { Fortune::Unverified }
        } else if self.struck(Fault::ActionFailedHalfWay) {
            if self.below(2) == 0 { Fortune::FailedHalfWay } else { Fortune::FailedForGood }
        } else {
            Fortune::Well
        }
    }

    fn meets_a_full_disk(&mut self, outcome: &Outcome) {
        let code = match outcome {
            Outcome::Refused(refusal) => &refusal.code,
            Outcome::Failed { code, .. } => code,
            Outcome::Done { .. } => return,
        };
        if code == codes::LEDGER {
            self.injected(Fault::LedgerDiskFull);
        }
    }

    /// The second look at OSDs that settle.
    pub(super) fn looks_again(
        &mut self,
        host: usize,
        life: u64,
        ask: u64,
        request: &ReadingRequest,
        look: replank_ceph::seen::Look,
    ) {
        if !self.hosts[host].agent_up || self.hosts[host].life != life {
            return;
        }
        let mut reading =
            self.hosts[host].read(request, true, seat(&mut self.ceph, host, self.now), self.now);
        if let ReadingValue::Ceph(text) = &mut reading.value
            && let Ok(Seen::Settle(settle)) = Seen::read(text)
        {
            *text = twice(look, settle).to_text();
        }
        self.up(host, ToCoordinator::Reading(ask, Box::new(reading)));
    }

    /// What was made to go wrong with the cluster, and was met.
    pub(crate) fn meets_its_cluster(&mut self) {
        for fault in self.ceph.as_mut().map(Cluster::met).unwrap_or_default() {
            self.injected(fault);
        }
    }

    pub(super) fn task_ends(&mut self, host: usize, life: u64) {
        if !self.hosts[host].agent_up || self.hosts[host].life != life {
            return;
        }
        let Some(action) = self.hosts[host].at_work().cloned() else { return };
        if self.struck(Fault::AgentKilledBeforeAct) {
            self.agent_dies(host);
            return;
        }
        let lives = self.hosts[host].lives();
        if self.struck(Fault::AgentKilledInAct) {
            let weather = Weather { now_ms: self.now, fortune: Fortune::Well, welcome: None };
            self.hosts[host].act_in_part(weather, seat(&mut self.ceph, host, self.now), &mut self.judge);
            self.meets_its_cluster();
            self.agent_dies(host);
            return;
        }
        let weather = Weather { now_ms: self.now, fortune: self.fortune_of_an_act(), welcome: None };
        let seat_of = seat(&mut self.ceph, host, self.now);
        let Some(deed) = self.hosts[host].act(weather, seat_of, &mut self.judge) else { return };
        self.meets_its_cluster();
        let all_live = lives == self.hosts[host].lives();
        self.judge.check(Promise::P3, all_live, || format!("{action} ended a guest"));
        if self.struck(Fault::AgentKilledAfterAct) {
            self.agent_dies(host);
            return;
        }
        let outcome =
            self.hosts[host].end(deed, weather, seat(&mut self.ceph, host, self.now), &mut self.judge);
        self.meets_a_full_disk(&outcome);
        self.say_of(host, format!("ends {action}: {}", in_short(&outcome)));
        if self.struck(Fault::AgentKilledAfterLedger) {
            self.agent_dies(host);
            return;
        }
        if !self.struck(Fault::ActionWithoutReply) {
            self.up(host, ToCoordinator::Outcome(action, outcome));
        }
        self.push_census(host);
        self.begin_tasks(host);
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

/// Both looks, the later one as far from the first as it is.
fn twice(first: replank_ceph::seen::Look, second: Settle) -> Seen {
    let later = second
        .looks
        .into_iter()
        .map(|look| replank_ceph::seen::Look { after_ms: LOOKS_APART_MS + 200, ..look });
    Seen::Settle(Settle { looks: std::iter::once(first).chain(later).collect() })
}

/// The cluster as it is now, if the host is one of its machines.
fn seat(cluster: &mut Option<Cluster>, machine: usize, now_ms: u64) -> Option<Seat<'_>> {
    let cluster = cluster.as_mut().filter(|cluster| machine < cluster.layout.hosts.len())?;
    cluster.pass(now_ms);
    Some(Seat { cluster, machine })
}

/// From the wire to what is meant.
fn as_the_agent_reads(command: run::Command) -> Command {
    let run::Command { host: _, epoch, plan, action: id, order, deadline_ms: _, asking: _ } = command;
    let work = match order {
        run::Order::Execute(action) => Work::Do(*action),
        run::Order::Undo { of } => Work::Undo(of),
    };
    Command { epoch, id, plan, work }
}

fn in_short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { how, .. } => format!("{how:?}"),
        Outcome::Refused(refusal) => format!("refused, {}", refusal.code),
        Outcome::Failed { code, restored: true, .. } => format!("failed and put back, {code}"),
        Outcome::Failed { code, restored: false, .. } => format!("failed, {code}"),
    }
}
