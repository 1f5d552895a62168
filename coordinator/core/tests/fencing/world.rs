//! One state of the small world, and every step that can follow.
//!
//! The net forgets nothing and delivers anything that was ever sent, at any time, in any order, as often as it likes or never: that is every way to
//! lose, double, delay and reorder. A coordinator that is paused, or has crashed, is one whose steps do not come; one that wakes up is one whose steps
//! come late. So none of these needs a step of its own. An agent's crash does: it forgets what is not in its ledger.

use crate::coordinators::{Coordinators, Heard, JournalId, MachineId, Made, Said, Sent};
use crate::plans::HOSTS;
use crate::rules::Rules;
use replank_common::ids::{ActionId, Epoch};
use std::collections::{BTreeMap, BTreeSet};

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
    /// An operator asks one coordinator to take everything back.
    pub rollback: bool,
}

/// A coordinator's folder, with the rule of its `epoch` table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Folder {
    epoch: Epoch,
    heard: Epoch,
    journal: JournalId,
}

/// One process. `None` for its machine: the store refused it, and it has ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    folder: usize,
    epoch: Epoch,
    machine: Option<MachineId>,
}

/// Before each of these steps the agent may crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Its epoch was obeyed, the host is looked at, and nothing is in the ledger.
    Checking,
    Intended,
    Acted,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Agent {
    life: u64,
    /// Durable: the highest epoch obeyed, and the commands that were begun, and whether they ended.
    obeyed: Epoch,
    ledger: BTreeMap<ActionId, bool>,
    at_work: Option<(Sent, Work)>,
    /// The world's, not the agent's: what its commands did, and the highest epoch that was ever obeyed or began a command.
    effects: BTreeMap<ActionId, u32>,
    truly_obeyed: Epoch,
    truly_begun: Epoch,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    Welcome { host: usize, epoch: Epoch },
    Command(Sent),
    Outcome { host: usize, action: ActionId, said: Said },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    folders: Vec<Folder>,
    processes: Vec<Process>,
    agents: Vec<Agent>,
    net: BTreeSet<Message>,
    rollback_asked: bool,
}

/// A step, told as it is to be read in a trace; the world after it; and the promise that it broke.
pub struct Next {
    pub told: String,
    pub world: World,
    pub broken: Option<String>,
}

pub struct Explorer {
    pub coordinators: Coordinators,
    pub rules: Rules,
    pub bounds: Bounds,
}

impl World {
    pub fn first() -> Self {
        let agent = Agent {
            life: 1,
            obeyed: Epoch(0),
            ledger: BTreeMap::new(),
            at_work: None,
            effects: BTreeMap::new(),
            truly_obeyed: Epoch(0),
            truly_begun: Epoch(0),
        };
        Self {
            folders: vec![Folder { epoch: Epoch(0), heard: Epoch(0), journal: 0 }],
            processes: Vec::new(),
            agents: vec![agent; HOSTS],
            net: BTreeSet::new(),
            rollback_asked: false,
        }
    }
}

impl Explorer {
    /// Whether the coordinator of the highest epoch lives, and whether its run has come to its end.
    pub fn led_and_finished(&self, world: &World) -> (bool, bool) {
        let highest = world.processes.iter().map(|process| process.epoch).max();
        let machines: Vec<MachineId> = world
            .processes
            .iter()
            .filter(|process| Some(process.epoch) == highest)
            .filter_map(|process| process.machine)
            .collect();
        (!machines.is_empty(), machines.iter().any(|machine| self.coordinators.is_finished(*machine)))
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
        for process in 0..world.processes.len() {
            if world.processes[process].machine.is_none() {
                continue;
            }
            for host in 0..HOSTS {
                next.push(self.dial(world, process, host));
            }
            for message in &world.net {
                if let Message::Outcome { host, action, said } = message {
                    let heard = Heard::Outcome { host: *host, action: action.clone(), said: *said };
                    next.push(self.heard(world, process, &heard));
                }
            }
            if self.bounds.rollback && !world.rollback_asked {
                let mut asked = self.heard(world, process, &Heard::Rollback);
                asked.world.rollback_asked = true;
                next.push(asked);
            }
        }
        let crashed = world.agents.iter().filter(|agent| agent.life > 1).count();
        for (host, agent) in world.agents.iter().enumerate() {
            if agent.life < LIVES && crashed < self.bounds.crashes {
                next.push(self.crash(world, host));
            }
            next.extend(agent.at_work.as_ref().map(|(command, work)| self.work(world, host, command, *work)));
        }
        for message in &world.net {
            match message {
                Message::Welcome { host, epoch } => next.push(self.welcome(world, *host, *epoch)),
                Message::Command(command) if world.agents[command.host].at_work.is_none() => {
                    next.push(self.command(world, command));
                }
                Message::Command(_) | Message::Outcome { .. } => {}
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
        let epoch = self.rules.next_epoch(world.folders[at].epoch, world.folders[at].heard);
        let told = if copied {
            format!("folder {folder} is copied to folder {at}, and a coordinator starts there: epoch {epoch}")
        } else {
            format!("a coordinator starts on folder {at}: epoch {epoch}")
        };
        let Some(made) = self.coordinators.begin(world.folders[at].journal, epoch) else {
            let broken = format!("two coordinators have epoch {epoch} in folder {at}");
            return Next { told, world, broken: Some(broken) };
        };
        world.folders[at].epoch = epoch;
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
            if folder.epoch != epoch {
                world.processes[process].machine = None;
                return;
            }
            folder.journal = self.coordinators.append(folder.journal, &made.records);
        }
        world.processes[process].machine = Some(made.machine);
        world.net.extend(made.sent.iter().cloned().map(Message::Command));
    }

    fn heard(&mut self, world: &World, process: usize, heard: &Heard) -> Next {
        let mut world = world.clone();
        let Process { epoch, machine, .. } = world.processes[process];
        let told = match heard {
            Heard::Link { host, .. } => {
                format!("host {host} says hello to coordinator {process} (epoch {epoch})")
            }
            Heard::Outcome { host, action, said } => {
                format!("coordinator {process} (epoch {epoch}) hears from host {host}: {action} {said:?}")
            }
            Heard::Rollback => {
                format!("an operator asks coordinator {process} (epoch {epoch}) for a rollback")
            }
        };
        let made = self.coordinators.hear(machine.expect("it lives"), heard);
        self.made(&mut world, process, &made);
        Next { told, world, broken: None }
    }

    fn dial(&mut self, world: &World, process: usize, host: usize) -> Next {
        let agent = &world.agents[host];
        let Process { epoch, folder, .. } = world.processes[process];
        let epoch_seen = agent.obeyed;
        if epoch_seen > epoch {
            // Its link is refused, and the epoch remembered for the next start.
            let mut world = world.clone();
            let heard = &mut world.folders[folder].heard;
            *heard = epoch_seen.max(*heard);
            let told = format!("host {host} is refused its link to coordinator {process} (epoch {epoch})");
            return Next { told, world, broken: None };
        }
        let unfinished =
            agent.ledger.iter().filter(|(_, ended)| !**ended).map(|(id, _)| id.clone()).collect();
        let mut next =
            self.heard(world, process, &Heard::Link { host, epoch_seen, life: agent.life, unfinished });
        next.world.net.insert(Message::Welcome { host, epoch });
        next
    }

    fn welcome(&self, world: &World, host: usize, epoch: Epoch) -> Next {
        let mut world = world.clone();
        if self.rules.obey(&mut world.agents[host].obeyed, epoch) {
            let agent = &mut world.agents[host];
            agent.truly_obeyed = agent.truly_obeyed.max(epoch);
        }
        Next { told: format!("host {host} is welcomed by epoch {epoch}"), world, broken: None }
    }

    fn command(&self, world: &World, command: &Sent) -> Next {
        let mut world = world.clone();
        let Sent { host, epoch, action, .. } = command;
        let told = format!("host {host} gets {action} of epoch {epoch}");
        let agent = &mut world.agents[*host];
        if self.rules.obey(&mut agent.obeyed, *epoch) {
            agent.truly_obeyed = agent.truly_obeyed.max(*epoch);
            if agent.ledger.get(action) == Some(&true) {
                world.say(*host, action, Said::Done);
            } else {
                agent.at_work = Some((command.clone(), Work::Checking));
            }
        } else {
            world.say(*host, action, Said::OldEpoch);
        }
        Next { told, world, broken: None }
    }

    fn work(&self, world: &World, host: usize, command: &Sent, work: Work) -> Next {
        let mut world = world.clone();
        let agent = &mut world.agents[host];
        let Sent { epoch, action, .. } = command;
        let (told, mut broken) = (format!("host {host}, {action} of epoch {epoch}"), None);
        let told = match work {
            Work::Checking if !self.rules.may_begin(agent.obeyed, *epoch) => {
                agent.at_work = None;
                world.say(host, action, Said::OldEpoch);
                format!("{told}: refused, a later one was obeyed meanwhile")
            }
            Work::Checking => {
                if *epoch < agent.truly_obeyed {
                    let later = agent.truly_obeyed;
                    broken =
                        Some(format!("host {host} began {action} of epoch {epoch} after it obeyed {later}"));
                }
                agent.truly_begun = agent.truly_begun.max(*epoch);
                agent.ledger.entry(action.clone()).or_insert(false);
                agent.at_work = Some((command.clone(), Work::Intended));
                format!("{told}: intent")
            }
            Work::Intended => {
                if *epoch < agent.truly_begun {
                    broken = Some(format!(
                        "{action} of epoch {epoch} acts on host {host} after a later one began"
                    ));
                }
                // After a crash between the two the host shows that it was done.
                let effects = agent.effects.entry(action.clone()).or_insert(0);
                if *effects == 0 || self.rules.forgets_ledger() {
                    *effects += 1;
                }
                if *effects > 1 {
                    broken = Some(format!("host {host} carried {action} out twice"));
                }
                agent.at_work = Some((command.clone(), Work::Acted));
                format!("{told}: done")
            }
            Work::Acted => {
                agent.ledger.insert(action.clone(), true);
                agent.at_work = None;
                world.say(host, action, Said::Done);
                format!("{told}: outcome")
            }
        };
        Next { told, world, broken }
    }

    fn crash(&self, world: &World, host: usize) -> Next {
        let mut world = world.clone();
        let agent = &mut world.agents[host];
        agent.life += 1;
        agent.at_work = None;
        self.rules.restart(&mut agent.obeyed);
        if self.rules.forgets_ledger() {
            agent.ledger.clear();
        }
        Next { told: format!("the agent of host {host} crashes and starts again"), world, broken: None }
    }
}

impl World {
    fn say(&mut self, host: usize, action: &ActionId, said: Said) {
        self.net.insert(Message::Outcome { host, action: action.clone(), said });
    }
}
