//! All runs of one coordinator process: what leaves on which link and when, and whose answers count.

use crate::host::{Fortune, SimHost, Task};
use crate::plans::{self, Shape};
use replank_common::ids::{ActionId, Epoch, HostName, RunId};
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use replank_core::run::{Command, Event as Recorded, Operate, OperatorRefusal, Phase, ReadingWant};
use replank_core::runs::{Append, Event, LinkNumber, Outlet, Progress, Refusal, Runs, What};
use std::cell::RefCell;
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Out {
    Command(Command),
    Question(ReadingWant),
}

/// Keeps what leaves.
#[derive(Debug, Default)]
struct Outbox(RefCell<Vec<(LinkNumber, Out)>>);

impl Outlet for Outbox {
    fn command(&self, link: LinkNumber, command: &Command) {
        self.0.borrow_mut().push((link, Out::Command(command.clone())));
    }

    fn question(&self, link: LinkNumber, want: &ReadingWant) {
        self.0.borrow_mut().push((link, Out::Question(want.clone())));
    }
}

/// A coordinator without a store or a network: hosts whose links do as they are told.
struct Desk {
    runs: Runs,
    hosts: Vec<SimHost>,
    outbox: Outbox,
    /// Of every run.
    durable: BTreeSet<ActionId>,
    begun: Vec<RunId>,
    now: u64,
}

impl Desk {
    fn new(hosts: usize) -> Self {
        let hosts = (0..hosts).map(|host| SimHost::new(plans::host_name(host), host as u128 + 1, 2));
        Self {
            runs: Runs::new(Epoch(1), None),
            hosts: hosts.collect(),
            outbox: Outbox::default(),
            durable: BTreeSet::new(),
            begun: Vec::new(),
            now: 1_000_000,
        }
    }

    fn with_run(hosts: usize) -> Self {
        let mut desk = Self::new(hosts);
        desk.create(1, hosts).unwrap();
        assert_eq!(desk.commit(), [], "nobody is linked");
        desk
    }

    fn create(&mut self, number: u32, hosts: usize) -> Result<(), Refusal> {
        self.runs.create(run(number), plans::index(Shape::of(hosts)), "alice", self.now)
    }

    fn event(&mut self, host: usize, link: u64, what: What) -> Option<Progress> {
        let host = plans::host_name(host);
        self.runs.event(Event { host, link: LinkNumber(link), what }, self.now)
    }

    fn up(&mut self, host: usize, link: u64) {
        let hello = self.hosts[host].hello();
        assert_eq!(self.event(host, link, What::Up(hello)), None);
    }

    /// The host's answer to a question.
    fn answer(&mut self, host: usize, link: u64, want: &ReadingWant) {
        let reading = Box::new(self.hosts[host].read(&want.request, true, self.now));
        assert_eq!(self.event(host, link, What::Reading { ask: want.ask, reading }), None);
    }

    /// Makes durable what was decided, and lets leave what may. What left.
    fn commit(&mut self) -> Vec<(LinkNumber, Out)> {
        let before = self.outbox.0.borrow().len();
        for Append { run, begins, records, standing } in self.runs.appends() {
            assert_eq!(
                begins.is_some(),
                !self.begun.contains(&run),
                "the first records, and they alone, name the plan"
            );
            assert_eq!(standing.finished, self.runs.is_finished(&run));
            self.begun.push(run);
            for record in records {
                if let Recorded::Sent { action, .. } = record.event {
                    self.durable.insert(action);
                }
            }
        }
        assert_eq!(self.outbox.0.borrow().len(), before, "nothing leaves before all is durable (P4)");
        self.runs.durable(&self.outbox);
        let left = self.outbox.0.borrow_mut().split_off(before);
        for (_, out) in &left {
            if let Out::Command(command) = out {
                assert!(
                    self.durable.contains(&command.action),
                    "{} left without its intent (P4)",
                    command.action
                );
            }
        }
        left
    }

    /// Answers every question at once, each over the link that it came by, until a command leaves or nothing more happens.
    fn until_command(&mut self, limit_ms: u64) -> Option<(LinkNumber, Command)> {
        let end = self.now + limit_ms;
        while self.now < end {
            let mut command = None;
            for (link, out) in self.commit() {
                match out {
                    Out::Question(want) => self.answer(number(&want.host), link.0, &want),
                    Out::Command(this) => command = Some((link, this)),
                }
            }
            if command.is_some() {
                return command;
            }
            self.now += 100;
            self.runs.tick(self.now);
        }
        None
    }

    /// Answers and carries out everything at once, until the run's phase is `phase`, which is not durable yet.
    fn until_phase(&mut self, run: &RunId, phase: Phase) {
        let end = self.now + 600_000;
        while self.runs.machine(run).unwrap().phase() != phase {
            assert!(self.now < end, "{run} never came to {phase:?}");
            for (link, out) in self.commit() {
                match out {
                    Out::Question(want) => self.answer(number(&want.host), link.0, &want),
                    Out::Command(command) => self.carry_out(link, command),
                }
            }
            self.now += 100;
            self.runs.tick(self.now);
        }
    }

    fn carry_out(&mut self, link: LinkNumber, command: Command) {
        let host = number(&command.host);
        self.hosts[host].take(Task { action: command.action, order: command.order });
        self.hosts[host].begin_next();
        let (action, outcome) = self.hosts[host].end_running(Fortune::Well).unwrap();
        assert_eq!(self.event(host, link.0, What::Outcome { action, outcome }), None);
    }

    fn wants(&self, host: usize) -> Vec<ReadingWant> {
        self.runs.machine(&run(1)).unwrap().wants_of(&plans::host_name(host)).readings
    }
}

fn run(number: u32) -> RunId {
    RunId::new(format!("run-{number:032x}")).unwrap()
}

fn number(host: &HostName) -> usize {
    (0..).find(|number| plans::host_name(*number) == *host).unwrap()
}

fn questions(left: Vec<(LinkNumber, Out)>, link: u64) -> Vec<ReadingWant> {
    let of_link = left.into_iter().map(|(on, out)| {
        assert_eq!(on, LinkNumber(link));
        match out {
            Out::Question(want) => want,
            Out::Command(command) => panic!("{} left", command.action),
        }
    });
    of_link.collect()
}

#[test]
fn a_question_goes_out_once_on_each_link() {
    let mut desk = Desk::with_run(1);
    desk.up(0, 1);
    let first = questions(desk.commit(), 1);
    assert!(!first.is_empty());
    desk.runs.sweep();
    assert_eq!(desk.commit(), [], "it is on its way");
    desk.up(0, 2);
    let requests = |wants: &[ReadingWant]| -> Vec<ReadingRequest> {
        wants.iter().map(|want| want.request.clone()).collect()
    };
    assert_eq!(requests(&questions(desk.commit(), 2)), requests(&first), "it may be lost with its link");
    desk.runs.sweep();
    assert_eq!(desk.commit(), []);
}

#[test]
fn a_command_goes_out_once_on_each_link_under_the_same_id() {
    let mut desk = Desk::with_run(1);
    desk.up(0, 1);
    let (link, command) = desk.until_command(60_000).unwrap();
    assert_eq!(link, LinkNumber(1));
    desk.runs.sweep();
    assert_eq!(desk.commit(), [], "it is on its way");
    assert_eq!(desk.event(0, 1, What::Down), None);
    assert_eq!(desk.commit(), [], "there is no link to send it on");
    desk.up(0, 2);
    let again = desk.commit().into_iter().find_map(|(link, out)| match out {
        Out::Command(command) => Some((link, command)),
        Out::Question(_) => None,
    });
    let (link, again) = again.unwrap();
    assert_eq!((link, &again.action, &again.order), (LinkNumber(2), &command.action, &command.order));
}

#[test]
fn what_comes_over_an_older_link_is_past() {
    let mut desk = Desk::with_run(1);
    desk.up(0, 1);
    let asked = questions(desk.commit(), 1);
    desk.up(0, 2);
    let now_asked = questions(desk.commit(), 2);
    let open = desk.wants(0);
    for want in asked.iter().chain(&now_asked) {
        desk.answer(0, 1, want);
    }
    assert_eq!(desk.wants(0), open, "an answer of the older link answers nothing");
    // Nor does its end, come late, end the newer one; nor its beginning.
    assert_eq!(desk.event(0, 1, What::Down), None);
    desk.up(0, 1);
    assert_eq!(desk.wants(0), open);
    assert_eq!(desk.commit(), []);
    for want in &now_asked {
        desk.answer(0, 2, want);
    }
    let still_open = desk.wants(0);
    assert!(now_asked.iter().all(|want| !still_open.contains(want)), "{still_open:?}");
}

#[test]
fn an_agent_that_cannot_repeat_a_question_answers_it_by_its_number() {
    let mut desk = Desk::with_run(1);
    desk.up(0, 1);
    let asked = questions(desk.commit(), 1);
    let not_understood = |ask| What::Reading {
        ask,
        reading: Box::new(Reading {
            host: plans::host_name(0),
            request: ReadingRequest::Facts,
            taken_at_ms: 1_000_000,
            value: ReadingValue::CannotTell { why: "an older agent".to_owned() },
        }),
    };
    assert!(asked.iter().all(|want| want.request != ReadingRequest::Facts));
    let open = desk.wants(0);
    assert_eq!(desk.event(0, 1, not_understood(asked[0].ask + 1_000)), None);
    assert_eq!(desk.wants(0), open, "nobody asked that");
    assert_eq!(desk.event(0, 1, not_understood(asked[0].ask)), None);
    assert!(!desk.wants(0).contains(&asked[0]));
}

#[test]
fn two_runs_never_share_a_host() {
    let mut desk = Desk::with_run(2);
    (0..2).for_each(|host| desk.up(host, 1));
    let hosts = vec![plans::host_name(0)];
    assert_eq!(desk.create(2, 1), Err(Refusal::Busy { run: run(1), hosts: hosts.clone() }));
    assert_eq!((desk.runs.latest(), desk.runs.machine(&run(2)).is_none()), (Some(&run(1)), true));
    desk.until_phase(&run(1), Phase::AtHold);
    desk.runs.operate(&run(1), "alice", Operate::Abort, desk.now).unwrap();
    desk.until_phase(&run(1), Phase::Aborted);
    let early = desk.create(2, 1);
    assert_eq!(early, Err(Refusal::Busy { run: run(1), hosts: hosts.clone() }), "its end is not durable yet");
    desk.commit();
    desk.create(2, 1).unwrap();
    desk.commit();
    // A finished run does not take a host back that another one has.
    let back = desk.runs.operate(&run(1), "alice", Operate::Rollback { to: None }, desk.now);
    assert_eq!(back, Err(Refusal::Busy { run: run(2), hosts }));
}

#[test]
fn a_wish_is_refused_for_the_runs_own_reason_or_because_there_is_none() {
    let mut desk = Desk::with_run(1);
    assert_eq!(desk.runs.operate(&run(2), "alice", Operate::Pause, desk.now), Err(Refusal::NoRun));
    desk.runs.operate(&run(1), "alice", Operate::Pause, desk.now).unwrap();
    let again = desk.runs.operate(&run(1), "alice", Operate::Pause, desk.now);
    assert!(matches!(again, Err(Refusal::Operator(OperatorRefusal::AlreadyPaused { .. }))), "{again:?}");
}

#[test]
fn nothing_leaves_before_it_is_durable() {
    let mut desk = Desk::with_run(1);
    desk.up(0, 1);
    desk.until_phase(&run(1), Phase::AtHold);
    let approve = Operate::Approve { hold: plans::hold_id("before-canary") };
    desk.runs.operate(&run(1), "alice", approve, desk.now).unwrap();
    // Every batch of the way looks that nothing left early.
    let (_, command) = desk.until_command(60_000).unwrap();
    assert!(desk.durable.contains(&command.action));
}

#[test]
#[should_panic(expected = "was never handed out to be appended")]
fn what_was_never_handed_out_cannot_be_durable() {
    let mut desk = Desk::new(1);
    desk.create(1, 1).unwrap();
    desk.runs.durable(&desk.outbox);
}

#[test]
fn what_an_agent_says_of_another_run_is_not_told() {
    let mut desk = Desk::with_run(1);
    desk.up(0, 1);
    let (_, command) = desk.until_command(60_000).unwrap();
    let say = |action: &ActionId| What::Progress {
        action: action.clone(),
        permille: Some(500),
        text: "half of it".to_owned(),
    };
    let told = desk.event(0, 1, say(&command.action)).unwrap();
    assert_eq!(
        (told.run, told.step, told.permille),
        (run(1), command.action.step.clone(), Some(500)),
        "{}",
        told.text
    );
    assert_eq!(desk.event(0, 1, say(&ActionId { run: run(9), ..command.action.clone() })), None);
    assert_eq!(desk.event(0, 7, say(&command.action)), None, "over a link that is not the host's");
}
