//! One state of the small world, and every step that can follow.
//!
//! The net forgets nothing and delivers anything that was ever sent, at any time, in any order, as often as it likes or never: that is every way to
//! lose, double, delay and reorder. A coordinator that is paused, or has crashed, is one whose steps do not come; one that wakes up is one whose steps
//! come late. So none of these needs a step of its own. An agent's crash does: it forgets what is not in its ledger.

use crate::agents::{Agent, Stepped};
use crate::coordinators::{Coordinators, Heard, JournalId, MachineId, Made, Said, Sent};
use crate::plans::HOSTS;
use crate::rules::Rules;
use replank_common::ids::{ActionId, CoordinatorId, Epoch};
use replank_core::runs::Epochs;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Lives of an agent: it crashes once.
pub const LIVES: u64 = 2;

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Starts of a coordinator, the first included.
    pub starts: usize,
    /// Folders, the first included: the others are copies of one, brought back at any moment.
    pub folders: usize,
    /// Agents that may crash, once each.
    pub crashes: usize,
}

/// A coordinator's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Folder {
    epochs: Epochs,
    journal: JournalId,
}

/// One process. `None` for its machine: the store refused it, and it has ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    folder: usize,
    epoch: Epoch,
    machine: Option<MachineId>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    Welcome {
        host: usize,
        process: usize,
    },
    /// Comes over a link that its coordinator's welcome began.
    Command {
        process: usize,
        sent: Sent,
    },
    Outcome {
        host: usize,
        action: ActionId,
        said: Said,
    },
}

type AgentId = u32;
type MessageId = u32;

/// Agents and messages are numbers here, each kept once: the worlds differ in little.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    folders: Vec<Folder>,
    processes: Vec<Process>,
    agents: [AgentId; HOSTS],
    /// A bit for each message that was ever sent.
    net: u64,
}

/// A step, in short; [`Explorer::tell`] says it as it is to be read in a trace.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    Start { folder: usize, copied: bool, epoch: Epoch },
    Link { host: usize, process: usize, epoch: Epoch, refused: bool },
    Heard { process: usize, epoch: Epoch, message: MessageId },
    Welcomed { host: usize, process: usize, epoch: Epoch },
    Commanded { message: MessageId },
    Worked { host: usize, at: AgentId, what: &'static str },
    Crashed { host: usize },
}

/// A step, the world after it, and the promise that it broke.
pub struct Next {
    pub told: Told,
    pub world: World,
    pub broken: Option<String>,
}

/// What can happen to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Welcome { process: usize, epoch: Epoch },
    Command(MessageId),
    Work,
    Crash,
}

#[derive(Debug, Clone)]
struct Done {
    agent: AgentId,
    what: &'static str,
    /// A bit, or none.
    says: u64,
    broken: Option<String>,
}

/// What a coordinator heard, for what it makes of it to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HeardOf {
    Link { host: usize, agent: AgentId },
    Outcome(MessageId),
}

pub struct Explorer {
    coordinators: Coordinators,
    rules: Rules,
    bounds: Bounds,
    agents: Vec<Agent>,
    agent_ids: BTreeMap<Agent, AgentId>,
    messages: Vec<Message>,
    message_ids: BTreeMap<Message, MessageId>,
    done: BTreeMap<(usize, AgentId, Step), Done>,
    heard: BTreeMap<(MachineId, HeardOf), Made>,
}

impl Explorer {
    pub fn new(rules: Rules, bounds: Bounds) -> Self {
        Self {
            coordinators: Coordinators::new(),
            rules,
            bounds,
            agents: Vec::new(),
            agent_ids: BTreeMap::new(),
            messages: Vec::new(),
            message_ids: BTreeMap::new(),
            done: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    pub fn first(&mut self) -> World {
        let agent = self.agent(Agent::first());
        World {
            folders: vec![Folder { epochs: Epochs::default(), journal: 0 }],
            processes: Vec::new(),
            agents: [agent; HOSTS],
            net: 0,
        }
    }

    pub fn machines(&self) -> usize {
        self.coordinators.count()
    }

    fn agent(&mut self, agent: Agent) -> AgentId {
        if let Some(id) = self.agent_ids.get(&agent) {
            return *id;
        }
        let id = AgentId::try_from(self.agents.len()).unwrap();
        self.agents.push(agent.clone());
        self.agent_ids.insert(agent, id);
        id
    }

    fn at(&self, world: &World, host: usize) -> &Agent {
        &self.agents[world.agents[host] as usize]
    }

    /// The message's bit.
    fn bit(&mut self, message: Message) -> u64 {
        let next = MessageId::try_from(self.messages.len()).unwrap();
        let id = *self.message_ids.entry(message.clone()).or_insert(next);
        if id == next {
            assert!(id < 64, "too many messages");
            self.messages.push(message);
        }
        1 << id
    }

    /// Whether the one coordinator of the highest epoch lives, and whether its run has come to its end. Of two with the same epoch none leads every
    /// host: that is for an operator to end, with one more start.
    pub fn led_and_finished(&self, world: &World) -> (bool, bool) {
        let highest = world.processes.iter().map(|process| process.epoch).max();
        let highest: Vec<&Process> =
            world.processes.iter().filter(|process| Some(process.epoch) == highest).collect();
        let [Process { machine: Some(machine), .. }] = highest.as_slice() else { return (false, false) };
        (true, self.coordinators.is_finished(*machine))
    }

    /// Every step that can follow. Those that change nothing are left out.
    pub fn next(&mut self, world: &World) -> Vec<Next> {
        let mut next = Vec::new();
        if world.processes.len() < self.bounds.starts {
            for folder in 0..world.folders.len() {
                next.push(self.start(world, folder, false));
                if world.folders.len() < self.bounds.folders {
                    next.push(self.start(world, folder, true));
                }
            }
        }
        let sent = (0..64).filter(|id| world.net & (1 << id) != 0);
        for process in 0..world.processes.len() {
            let Process { machine: Some(machine), .. } = world.processes[process] else { continue };
            for host in 0..HOSTS {
                next.push(self.dial(world, process, machine, host));
            }
            for message in sent.clone() {
                if matches!(self.messages[message as usize], Message::Outcome { .. }) {
                    next.push(self.hear(world, process, machine, message));
                }
            }
        }
        let crashed = (0..HOSTS).filter(|host| self.at(world, *host).life > 1).count();
        for host in 0..HOSTS {
            if self.at(world, host).life < LIVES && crashed < self.bounds.crashes {
                next.push(self.step(world, host, Step::Crash, Told::Crashed { host }));
            }
            if self.at(world, host).at_work.is_some() {
                let told = Told::Worked { host, at: world.agents[host], what: "" };
                next.push(self.step(world, host, Step::Work, told));
            }
        }
        for message in sent {
            match self.messages[message as usize] {
                Message::Welcome { host, process } => {
                    let epoch = world.processes[process].epoch;
                    let told = Told::Welcomed { host, process, epoch };
                    next.push(self.step(world, host, Step::Welcome { process, epoch }, told));
                }
                Message::Command { process, sent: Sent { host, .. } } => {
                    let agent = self.at(world, host);
                    if agent.at_work.is_none() && agent.welcomed.contains(&process) {
                        let told = Told::Commanded { message };
                        next.push(self.step(world, host, Step::Command(message), told));
                    }
                }
                Message::Outcome { .. } => {}
            }
        }
        next.retain(|next| next.broken.is_some() || next.world != *world);
        next
    }

    fn start(&mut self, world: &World, folder: usize, copied: bool) -> Next {
        let mut world = world.clone();
        let at = if copied {
            world.folders.push(world.folders[folder].clone());
            world.folders.len() - 1
        } else {
            folder
        };
        let epochs = self.rules.next(world.folders[at].epochs);
        let epoch = epochs.last;
        let told = Told::Start { folder, copied, epoch };
        let Some(made) = self.coordinators.begin(world.folders[at].journal, epoch) else {
            let broken = format!("two coordinators have epoch {epoch} in folder {at}");
            return Next { told, world, broken: Some(broken) };
        };
        world.folders[at].epochs = epochs;
        world.processes.push(Process { folder: at, epoch, machine: None });
        let process = world.processes.len() - 1;
        self.made(&mut world, process, &made);
        Next { told, world, broken: None }
    }

    /// The records first, which the store refuses from a process that was overtaken; then what is sent.
    fn made(&mut self, world: &mut World, process: usize, made: &Made) {
        let Process { folder, epoch, .. } = world.processes[process];
        let folder = &mut world.folders[folder];
        if !made.records.is_empty() {
            if !folder.epochs.is_led_by(epoch) {
                world.processes[process].machine = None;
                return;
            }
            folder.journal = self.coordinators.append(folder.journal, made);
        }
        world.processes[process].machine = Some(made.machine);
        for sent in made.sent.iter().cloned() {
            world.net |= self.bit(Message::Command { process, sent });
        }
    }

    fn hear(&mut self, world: &World, process: usize, machine: MachineId, message: MessageId) -> Next {
        let key = (machine, HeardOf::Outcome(message));
        let made = self.heard.get(&key).cloned().unwrap_or_else(|| {
            let Message::Outcome { host, action, said } = self.messages[message as usize].clone() else {
                unreachable!("only outcomes are heard")
            };
            let made = self.coordinators.hear(machine, &Heard::Outcome { host, action, said });
            self.heard.insert(key, made.clone());
            made
        });
        let mut world = world.clone();
        let told = Told::Heard { process, epoch: world.processes[process].epoch, message };
        self.made(&mut world, process, &made);
        Next { told, world, broken: None }
    }

    fn dial(&mut self, world: &World, process: usize, machine: MachineId, host: usize) -> Next {
        let mut world = world.clone();
        let Process { epoch, folder, .. } = world.processes[process];
        let (id, leader) = (world.agents[host], self.at(&world, host).leader);
        let refused = !self.rules.may_lead(leader, epoch, id_of(process));
        let told = Told::Link { host, process, epoch, refused };
        if refused {
            // The epoch is remembered for the next start.
            let folder = &mut world.folders[folder];
            folder.epochs = folder.epochs.hear(leader.epoch);
            return Next { told, world, broken: None };
        }
        let key = (machine, HeardOf::Link { host, agent: id });
        let made = self.heard.get(&key).cloned().unwrap_or_else(|| {
            let agent = &self.agents[id as usize];
            let (epoch_seen, life, unfinished) = (leader.epoch, agent.life, agent.unfinished());
            let made = self.coordinators.hear(machine, &Heard::Link { host, epoch_seen, life, unfinished });
            self.heard.insert(key, made.clone());
            made
        });
        self.made(&mut world, process, &made);
        world.net |= self.bit(Message::Welcome { host, process });
        Next { told, world, broken: None }
    }

    /// What becomes of a host's agent is computed once.
    fn step(&mut self, world: &World, host: usize, step: Step, told: Told) -> Next {
        let key = (host, world.agents[host], step);
        let done = self.done.get(&key).cloned().unwrap_or_else(|| {
            let done = self.stepped(host, self.at(world, host).clone(), step);
            self.done.insert(key, done.clone());
            done
        });
        let mut world = world.clone();
        world.agents[host] = done.agent;
        world.net |= done.says;
        let told = match told {
            Told::Worked { host, at, .. } => Told::Worked { host, at, what: done.what },
            told => told,
        };
        Next { told, world, broken: done.broken }
    }

    fn stepped(&mut self, host: usize, mut agent: Agent, step: Step) -> Done {
        let nothing = Stepped { told: "", says: None, broken: None };
        let (action, stepped) = match step {
            Step::Welcome { process, epoch } => {
                let broken = agent.welcome(self.rules, process, epoch, id_of(process));
                (None, Stepped { broken, ..nothing })
            }
            Step::Command(message) => {
                let Message::Command { sent, .. } = &self.messages[message as usize] else {
                    unreachable!("it is a command")
                };
                let says = agent.command(self.rules, sent);
                (Some(sent.action.clone()), Stepped { says, ..nothing })
            }
            Step::Work => {
                let action = agent.at_work.as_ref().map(|(sent, _)| sent.action.clone());
                (action, agent.work(self.rules))
            }
            Step::Crash => {
                agent.crash(self.rules);
                (None, nothing)
            }
        };
        let says = match (action, stepped.says) {
            (Some(action), Some(said)) => self.bit(Message::Outcome { host, action, said }),
            _ => 0,
        };
        let broken = stepped.broken.map(|broken| format!("host {host} {broken}"));
        Done { agent: self.agent(agent), what: stepped.told, says, broken }
    }

    /// A step as it is to be read in a trace.
    pub fn tell(&self, told: &Told) -> String {
        match told {
            Told::Start { folder, copied: false, epoch } => {
                format!("a coordinator starts on folder {folder}: epoch {epoch}")
            }
            Told::Start { folder, copied: true, epoch } => {
                format!("folder {folder} is copied, and a coordinator starts on the copy: epoch {epoch}")
            }
            Told::Link { host, process, epoch, refused: false } => {
                format!("host {host} says hello to coordinator {process} (epoch {epoch})")
            }
            Told::Link { host, process, epoch, refused: true } => {
                format!("host {host} is refused its link to coordinator {process} (epoch {epoch})")
            }
            Told::Heard { process, epoch, message } => {
                let message = &self.messages[*message as usize];
                format!("coordinator {process} (epoch {epoch}) hears: {}", tell_message(message))
            }
            Told::Welcomed { host, process, epoch } => {
                format!("host {host} is welcomed by coordinator {process} (epoch {epoch})")
            }
            Told::Commanded { message } => tell_message(&self.messages[*message as usize]),
            Told::Worked { host, at, what } => {
                let at_work = self.agents[*at as usize].at_work.as_ref();
                let (sent, _) = at_work.expect("a command is at work");
                format!("host {host}, {} of epoch {}: {what}", sent.action, sent.epoch)
            }
            Told::Crashed { host } => format!("the agent of host {host} crashes and starts again"),
        }
    }
}

fn tell_message(message: &Message) -> String {
    match message {
        Message::Welcome { host, process } => format!("host {host} is welcomed by coordinator {process}"),
        Message::Command { sent: Sent { host, epoch, action }, .. } => {
            format!("host {host} gets {action} of epoch {epoch}")
        }
        Message::Outcome { host, action, said } => format!("host {host} says of {action}: {said:?}"),
    }
}

fn id_of(process: usize) -> CoordinatorId {
    CoordinatorId(Uuid::from_u128(process as u128 + 1))
}
