//! The present link of each host, and what went out on it.

use super::event::LinkNumber;
use crate::run::{Command, Hello, ReadingWant, Wants};
use replank_common::ids::{ActionId, HostName};
use replank_common::planted::{self, Planted};
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The way out to the agents. May lose what it is given with the link that it was given for, and never waits.
pub trait Outlet {
    fn command(&self, link: LinkNumber, command: &Command);
    fn question(&self, link: LinkNumber, want: &ReadingWant);
}

/// A host's present link, and what went out on it.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) number: LinkNumber,
    pub(super) hello: Hello,
    command: Option<(ActionId, u64)>,
    /// The questions that are open there.
    asked: BTreeMap<u64, ReadingRequest>,
}

impl Linked {
    pub(super) fn new(number: LinkNumber, hello: Hello) -> Self {
        Self { number, hello, command: None, asked: BTreeMap::new() }
    }

    /// Another run has the host: nothing of its wants went out yet.
    pub(super) fn forget(&mut self) {
        self.command = None;
        self.asked.clear();
    }

    /// The answer as it was asked for; `None`: nobody asks that here. An agent that does not understand a question cannot repeat it, and
    /// says only that it cannot tell.
    pub(super) fn answered(&self, ask: u64, mut reading: Reading) -> Option<Reading> {
        let request = self.asked.get(&ask)?;
        if let ReadingValue::CannotTell { .. } = reading.value {
            reading.request = request.clone();
        }
        Some(reading)
    }
}

/// Sends each want once on the host's link, and forgets what is not wanted any more.
pub(super) fn send<'a>(
    linked: &mut BTreeMap<HostName, Linked>,
    outlet: &impl Outlet,
    wants: Wants,
    hosts: impl Iterator<Item = &'a HostName>,
) {
    let wanted: BTreeSet<(&HostName, u64)> =
        wants.readings.iter().map(|want| (&want.host, want.ask)).collect();
    for host in hosts {
        if let Some(linked) = linked.get_mut(host) {
            linked.asked.retain(|ask, _| wanted.contains(&(host, *ask)));
        }
    }
    for command in &wants.commands {
        let Some(linked) = linked.get_mut(&command.host) else { continue };
        let this = (command.action.clone(), command.asking);
        if linked.command.as_ref() != Some(&this) || planted::is(Planted::SentTwiceOnALink) {
            outlet.command(linked.number, command);
            linked.command = Some(this);
        }
    }
    for want in &wants.readings {
        let Some(linked) = linked.get_mut(&want.host) else { continue };
        if let Entry::Vacant(asked) = linked.asked.entry(want.ask) {
            asked.insert(want.request.clone());
            outlet.question(linked.number, want);
        }
    }
}
