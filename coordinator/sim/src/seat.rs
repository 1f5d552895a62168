//! A coordinator process: one machine that leads, and what it has sent on which link. The same rule as the drive's: each want goes out
//! once on each link.

use replank_common::ids::HostName;
use replank_core::run::{Command, Machine, ReadingWant, Wants};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) machine: Machine,
    /// How far this process's clock is from the true one: fixed at its start.
    pub(crate) skew_ms: i64,
    sent: BTreeMap<HostName, Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    command: Option<String>,
    asked: BTreeSet<u64>,
}

impl Seat {
    pub(crate) fn new(number: u64, epoch: u64, machine: Machine, skew_ms: i64) -> Self {
        Self { number, epoch, machine, skew_ms, sent: BTreeMap::new() }
    }

    pub(crate) fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew_ms).max(1)
    }

    /// A new link: nothing went out on it yet.
    pub(crate) fn linked(&mut self, host: &HostName) {
        self.sent.insert(host.clone(), Sent::default());
    }

    /// What of the host's wants has not gone out on its link.
    pub(crate) fn unsent(&mut self, host: &HostName) -> (Vec<Command>, Vec<ReadingWant>) {
        let Wants { commands, readings, .. } = self.machine.wants_of(host);
        let Some(sent) = self.sent.get_mut(host) else { return (Vec::new(), Vec::new()) };
        let wanted: BTreeSet<u64> = readings.iter().map(|want| want.ask).collect();
        sent.asked.retain(|ask| wanted.contains(ask));
        let commands = commands.into_iter().filter(|command| {
            let this = format!("{}#{}", command.action, command.asking);
            let anew = sent.command.as_ref() != Some(&this);
            sent.command = Some(this);
            anew
        });
        let commands = commands.collect();
        let readings = readings.into_iter().filter(|want| sent.asked.insert(want.ask)).collect();
        (commands, readings)
    }
}
