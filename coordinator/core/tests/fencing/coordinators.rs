//! The real machines, each kept once: a machine is a number here, and what it makes of an input is computed once and remembered.

use crate::plans::{HOSTS, host_name, index, run_id};
use replank_common::census::Census;
use replank_common::ids::{ActionId, BootId, Epoch, HostName};
use replank_common::outcome::{How, Outcome, Refusal};
use replank_common::reading::{Reading, ReadingValue};
use replank_core::run::{Command, Hello, Index, Input, Machine, Order, Record};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

pub type MachineId = u32;
pub type JournalId = u32;

/// What an agent says of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Done,
    OldEpoch,
}

/// What can happen to a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    Link { host: usize, epoch_seen: Epoch, life: u64, unfinished: Vec<ActionId> },
    Outcome { host: usize, action: ActionId, said: Said },
}

/// What a coordinator sends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    pub host: usize,
    pub epoch: Epoch,
    pub action: ActionId,
}

#[derive(Debug, Clone)]
pub struct Made {
    number: u32,
    pub machine: MachineId,
    /// Not empty: to be made durable before anything is sent.
    pub records: Arc<[Record]>,
    pub sent: Arc<[Sent]>,
}

pub struct Coordinators {
    index: Arc<Index>,
    machines: Vec<Machine>,
    ids: BTreeMap<String, MachineId>,
    made: BTreeMap<(MachineId, Heard), Made>,
    begun: BTreeMap<(JournalId, Epoch), Made>,
    journals: Vec<Vec<Record>>,
    journal_ids: BTreeMap<(JournalId, String), JournalId>,
    /// What was made, over which journal.
    appended: BTreeMap<(JournalId, u32), JournalId>,
    last_made: u32,
}

/// Time stands still: no deadline passes and no answer grows old, so that nothing is repeated but by a new link.
const NOW_MS: u64 = 1_000;

impl Coordinators {
    /// With the journal 0: of a run that was created and never led.
    pub fn new() -> Self {
        let (_, created) = Machine::create(index(), run_id(), "alice", NOW_MS);
        Self {
            index: index(),
            machines: Vec::new(),
            ids: BTreeMap::new(),
            made: BTreeMap::new(),
            begun: BTreeMap::new(),
            journals: vec![created.records],
            journal_ids: BTreeMap::new(),
            appended: BTreeMap::new(),
            last_made: 0,
        }
    }

    pub fn count(&self) -> usize {
        self.machines.len()
    }

    pub fn is_finished(&self, machine: MachineId) -> bool {
        self.machines[machine as usize].state().finished().is_some()
    }

    /// A process starts over a journal and leads. `None`: the journal knows this epoch already.
    pub fn begin(&mut self, journal: JournalId, epoch: Epoch) -> Option<Made> {
        if let Some(made) = self.begun.get(&(journal, epoch)) {
            return Some(made.clone());
        }
        let mut machine =
            Machine::replay(self.index.clone(), &self.journals[journal as usize]).expect("it was written");
        let led = machine.lead(epoch, NOW_MS).ok()?;
        let made = self.settle(machine, led.records);
        self.begun.insert((journal, epoch), made.clone());
        Some(made)
    }

    pub fn hear(&mut self, machine: MachineId, heard: &Heard) -> Made {
        let key = (machine, heard.clone());
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let mut at = self.machines[machine as usize].clone();
        let decided = match heard.clone() {
            Heard::Link { host, epoch_seen, life, unfinished } => at.input(
                Input::LinkUp {
                    host: host_name(host),
                    hello: Hello {
                        boot_id: boot_id(),
                        agent_start_ms: life,
                        epoch_seen,
                        observe_only: false,
                        unfinished,
                    },
                },
                NOW_MS,
            ),
            Heard::Outcome { host, action, said } => {
                at.input(Input::Outcome { host: host_name(host), action, outcome: outcome(said) }, NOW_MS)
            }
        };
        let made = self.settle(at, decided.records);
        self.made.insert(key, made.clone());
        made
    }

    pub fn append(&mut self, journal: JournalId, made: &Made) -> JournalId {
        if let Some(id) = self.appended.get(&(journal, made.number)) {
            return *id;
        }
        let records = &made.records;
        let next = u32::try_from(self.journals.len()).unwrap();
        let id = *self.journal_ids.entry((journal, format!("{records:?}"))).or_insert(next);
        if id == next {
            self.journals.push([&self.journals[journal as usize][..], records].concat());
        }
        self.appended.insert((journal, made.number), id);
        id
    }

    /// Answers every question, as an agent in good health does. What is measured is not what this is about, and never differs.
    fn settle(&mut self, mut machine: Machine, mut records: Vec<Record>) -> Made {
        loop {
            machine.confirm(machine.state().last_seq());
            let wants = machine.wants();
            if wants.readings.is_empty() {
                let sent = wants.commands.into_iter().map(sent).collect();
                self.last_made += 1;
                let (number, machine) = (self.last_made, self.keep(machine));
                return Made { number, machine, records: records.into(), sent };
            }
            for want in wants.readings {
                // An agent's census of another life is not taken: one of them is the present one.
                for life in 1..=crate::world::LIVES {
                    let value = ReadingValue::Census(census(want.host.clone(), life));
                    let reading = Reading {
                        host: want.host.clone(),
                        request: want.request.clone(),
                        taken_at_ms: NOW_MS,
                        value,
                    };
                    let input = Input::Reading { host: want.host.clone(), ask: want.ask, reading };
                    records.extend(machine.input(input, NOW_MS).records);
                }
            }
        }
    }

    fn keep(&mut self, machine: Machine) -> MachineId {
        let text = without_running_numbers(&format!("{machine:?}"));
        let next = u32::try_from(self.machines.len()).unwrap();
        let id = *self.ids.entry(text).or_insert(next);
        if id == next {
            self.machines.push(machine);
        }
        id
    }
}

fn sent(command: Command) -> Sent {
    assert!(matches!(command.order, Order::Execute(_)), "nothing is taken back here");
    let host = (0..HOSTS).find(|host| host_name(*host) == command.host).expect("a host of the plan");
    Sent { host, epoch: command.epoch, action: command.action }
}

fn boot_id() -> BootId {
    BootId(Uuid::from_u128(7))
}

fn census(host: HostName, life: u64) -> Census {
    Census {
        host,
        boot_id: boot_id(),
        sequence: 1,
        agent_start_ms: life,
        taken_at_ms: NOW_MS,
        guests: BTreeMap::new(),
        ended: Vec::new(),
        disagreements: Vec::new(),
    }
}

fn outcome(said: Said) -> Outcome {
    match said {
        Said::Done => {
            Outcome::Done { how: How::Applied, took_ms: 1, changes: Vec::new(), findings: Vec::new() }
        }
        Said::OldEpoch => Outcome::Refused(Refusal {
            code: replank_common::outcome::OLD_EPOCH.to_owned(),
            reason: "the command carries an old epoch".to_owned(),
            remedy: "stop the earlier coordinator".to_owned(),
            findings: Vec::new(),
        }),
    }
}

/// Questions are numbered on and on, and are answered before anything else happens; looks are counted on and on. Two machines that differ in
/// such numbers alone are one.
fn without_running_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) =
        ["ask: ", "mark: ", "looks: "].iter().filter_map(|key| Some(rest.find(key)? + key.len())).min()
    {
        out.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    out + rest
}
