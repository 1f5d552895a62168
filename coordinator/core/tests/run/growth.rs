//! What a machine has to do grows with what happens, not with the fleet at each happening: counted, not timed.
//!
//! The hosts answer at once and time stands still, so that what is counted depends on the fleet alone. Refusals, retries, losses, resumptions and
//! links that break are as frequent per host in every fleet; the number of lanes stays the same, because a stop concerns every host at work.

use crate::host::{Fortune, SimHost, Task};
use crate::plans::{self, Shape};
use replank_common::census::EndCause;
use replank_common::ids::{Epoch, StepId};
use replank_common::reading::ReadingRequest;
use replank_core::run::{Decided, End, Event, Input, Machine, Operate, Order};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Of so many outcomes one is a refusal, one is followed by a guest's death, and one by a broken link.
const REFUSED: u64 = 13;
const DIES: u64 = 29;
const BREAKS: u64 = 11;

struct Voyage {
    now: u64,
    machine: Machine,
    hosts: Vec<SimHost>,
    places: BTreeMap<String, usize>,
    queue: VecDeque<Input>,
    wishes: VecDeque<Operate>,
    sent: BTreeSet<String>,
    outcomes: u64,
    /// A hold was approved: from there on only some lanes are at work.
    in_lanes: bool,
    /// Decisions about hosts, records, and hosts that the shell is told to look at.
    work: u64,
    stops: u64,
    retries: u64,
}

impl Voyage {
    fn new(hosts: usize) -> Self {
        let shape = Shape { hosts, canaries: 2, parallel: 8, gives_back: true, one_way: false };
        let index = plans::index(shape);
        let (mut machine, created) = Machine::create(index, plans::run_id(), "alice", 1_000_000);
        let led = machine.lead(Epoch(1), 1_000_000).unwrap();
        let hosts: Vec<SimHost> =
            (0..hosts).map(|host| SimHost::new(plans::host_name(host), host as u128 + 1, 3)).collect();
        let mut voyage = Self {
            now: 1_000_000,
            machine,
            places: hosts.iter().zip(0..).map(|(host, at)| (host.name.to_string(), at)).collect(),
            queue: VecDeque::new(),
            wishes: VecDeque::new(),
            sent: BTreeSet::new(),
            outcomes: 0,
            in_lanes: false,
            work: 0,
            stops: 0,
            retries: 0,
            hosts,
        };
        voyage.take(created);
        voyage.take(led);
        for host in 0..voyage.hosts.len() {
            voyage.link_up(host);
        }
        voyage
    }

    fn link_up(&mut self, host: usize) {
        let at = &self.hosts[host];
        self.queue.push_back(Input::LinkUp { host: at.name.clone(), hello: at.hello() });
    }

    /// Until the run has finished.
    fn sail(&mut self) -> End {
        loop {
            let decided = if let Some(wish) = self.wishes.pop_front() {
                self.machine.operate("bob", wish, self.now).unwrap()
            } else if let Some(input) = self.queue.pop_front() {
                self.machine.input(input, self.now)
            } else if let Some(end) = self.machine.state().finished() {
                return end;
            } else {
                self.now = self.now.max(self.machine.wake_at_ms().expect("it waits for something"));
                assert!(self.now < 2_000_000, "{}", self.machine.view(self.now).unwrap().why());
                self.machine.input(Input::Tick, self.now)
            };
            self.take(decided);
        }
    }

    fn take(&mut self, decided: Decided) {
        self.machine.confirm(self.machine.state().last_seq());
        self.work += (decided.records.len() + decided.touched.len()) as u64;
        for record in &decided.records {
            match &record.event {
                Event::HoldReached { hold } => {
                    self.in_lanes = true;
                    self.wishes.push_back(Operate::Approve { hold: hold.clone() });
                }
                Event::Halted { .. } => {
                    self.stops += 1;
                    let losses = self.machine.state().open_losses().iter();
                    let acknowledged =
                        losses.flat_map(|loss| &loss.guests).map(|(guest, _)| *guest).collect();
                    self.wishes.push_back(Operate::Resume { acknowledged });
                }
                _ => {}
            }
        }
        for name in &decided.touched {
            let (host, wants) = (self.places[name.as_str()], self.machine.wants_of(name));
            for command in wants.commands {
                if self.sent.insert(format!("{}#{}", command.action, command.asking)) {
                    self.act(host, Task { action: command.action, order: command.order });
                }
            }
            for want in wants.readings {
                if self.sent.insert(want.ask.to_string()) {
                    let answers = match &want.request {
                        ReadingRequest::LibvirtTcp { peer, .. } => {
                            self.hosts[self.places[peer.as_str()]].libvirtd_new
                        }
                        _ => true,
                    };
                    let reading = self.hosts[host].read(&want.request, answers, self.now);
                    self.queue.push_back(Input::Reading { host: want.host, ask: want.ask, reading });
                }
            }
        }
    }

    fn act(&mut self, host: usize, task: Task) {
        self.outcomes += 1;
        let forward = matches!(task.order, Order::Execute(_)) && task.action.attempt == 1;
        let refused = forward && self.outcomes.is_multiple_of(REFUSED);
        let (action, step): (_, StepId) = (task.action.clone(), task.action.step.clone());
        let outcome = match self.hosts[host].take(task) {
            Some(outcome) => outcome,
            None => {
                self.hosts[host].begin_next().unwrap();
                let fortune = if refused { Fortune::Refused } else { Fortune::Well };
                self.hosts[host].end_running(fortune).unwrap().1
            }
        };
        let name = self.hosts[host].name.clone();
        let (now, not_done) = (self.now, !outcome.is_done());
        let decided = self.machine.input(Input::Outcome { host: name.clone(), action, outcome }, now);
        if not_done {
            self.retries += 1;
            self.wishes.push_back(Operate::Retry { step });
        }
        self.take(decided);
        if self.in_lanes && self.outcomes.is_multiple_of(DIES) {
            let guest = self.hosts[host].guests.keys().next().copied();
            if let Some(guest) = guest {
                let cause = EndCause::Unattributed { known: "killed by signal 9".to_owned() };
                self.hosts[host].end_guest(guest, cause, now);
                let census = self.hosts[host].census(now);
                self.queue.push_back(Input::Census { host: name.clone(), census });
            }
        }
        if self.outcomes.is_multiple_of(BREAKS) {
            self.queue.push_back(Input::LinkDown { host: name });
            self.link_up(host);
        }
    }
}

/// Decisions and the like of a voyage to its end, and of the whole way back.
fn work(hosts: usize) -> (u64, u64) {
    let mut voyage = Voyage::new(hosts);
    assert_eq!(voyage.sail(), End::Completed);
    let forward = voyage.work + voyage.machine.looks();
    assert!(voyage.retries as usize > hosts / 4 && voyage.stops as usize > hosts / 8);
    voyage.wishes.push_back(Operate::Rollback { to: None });
    assert_eq!(voyage.sail(), End::RolledBack { to: None });
    (forward, voyage.work + voyage.machine.looks() - forward)
}

#[test]
fn the_work_of_a_fleet_twice_as_large_is_twice_as_much() {
    let of: Vec<(u64, u64)> = [100, 200, 400].into_iter().map(work).collect();
    for pair in of.windows(2) {
        let ((forward, back), (forward_of_more, back_of_more)) = (pair[0], pair[1]);
        assert!(forward_of_more * 10 < forward * 23, "forward: {of:?}");
        assert!(back_of_more * 10 < back * 23, "back: {of:?}");
    }
}
