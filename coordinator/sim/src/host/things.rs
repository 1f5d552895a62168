//! What actions change on a host, and what happens to them when they are changed at a bad time.

use crate::plans::OLD;
use replank_common::action::{Action, TrialOf};
use replank_common::version::Version;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How an action left the thing that it is about. A thing that is as it was before has no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Half,
    Done,
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// A file, a unit, packages, a tree: each action has one of its own.
    Thing(u64),
    /// A restart of libvirtd.
    Restart,
    /// Nothing going forward; on the way back, a restart of libvirtd.
    Anchor,
    /// Nothing at all.
    Trial(Option<TrialOf>),
    /// The cluster that daemons of this host belong to.
    Cluster,
}

impl About {
    pub(crate) fn of(action: &Action) -> Self {
        match action {
            Action::LibvirtRestart(_) => Self::Restart,
            Action::LibvirtAnchor(_) => Self::Anchor,
            Action::LibvirtTrial(trial) => Self::Trial(Some(trial.of)),
            Action::TreeTrial(_) => Self::Trial(None),
            Action::CephFlags(_)
            | Action::CephConfig(_)
            | Action::CephRestart(_)
            | Action::CephRequire(_) => Self::Cluster,
            Action::RepositoryPin(_)
            | Action::PackagesStage(_)
            | Action::PackagesInstall(_)
            | Action::TreeInstall(_)
            | Action::TreeRetain(_)
            | Action::FileEdit(_)
            | Action::FileWrite(_)
            | Action::UnitMask(_)
            | Action::UnitEnable(_)
            | Action::UnitDropIn(_)
            // Whom its files belong to is the host's; that its daemon stops for a moment is not simulated.
            | Action::CephOwn(_) => {
                let text = serde_json::to_vec(action).unwrap_or_default();
                let digest = Sha256::digest(text);
                let mut number = [0; 8];
                number.copy_from_slice(&digest[..8]);
                Self::Thing(u64::from_be_bytes(number))
            }
        }
    }
}

/// The things of a host.
#[derive(Debug)]
pub(crate) struct Things {
    /// The libvirtd that runs.
    pub(crate) libvirtd: Version,
    /// A restart of libvirtd was begun and has not come to its end.
    pub(crate) restart_begun: bool,
    states: BTreeMap<u64, State>,
    /// What an operator had done by hand before the run.
    by_hand: BTreeSet<u64>,
    /// The old libvirt cannot read a guest: the way back is refused.
    pub(crate) way_back_closed: bool,
}

impl Things {
    pub(crate) fn new() -> Self {
        Self {
            libvirtd: Version::new(OLD),
            restart_begun: false,
            states: BTreeMap::new(),
            by_hand: BTreeSet::new(),
            way_back_closed: false,
        }
    }

    pub(crate) fn state(&self, thing: u64) -> Option<State> {
        self.states.get(&thing).copied()
    }

    pub(crate) fn set(&mut self, thing: u64, state: Option<State>) {
        match state {
            Some(state) => drop(self.states.insert(thing, state)),
            None => drop(self.states.remove(&thing)),
        }
    }

    /// An operator does by hand what an action would do; whether there was anything to do.
    pub(crate) fn do_by_hand(&mut self, action: &Action) -> bool {
        match About::of(action) {
            About::Thing(thing) => {
                self.states.insert(thing, State::Done);
                self.by_hand.insert(thing)
            }
            About::Restart | About::Anchor | About::Trial(_) | About::Cluster => false,
        }
    }

    /// Whether what an action did, or a part of it, is still there, and was not there before the run.
    pub(crate) fn is_left(&self, action: &Action) -> bool {
        match About::of(action) {
            About::Thing(thing) => self.state(thing).is_some() != self.by_hand.contains(&thing),
            About::Restart | About::Anchor | About::Trial(_) | About::Cluster => false,
        }
    }
}
