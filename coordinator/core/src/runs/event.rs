//! What a host's link brings.

use crate::run::Hello;
use replank_common::census::Census;
use replank_common::ids::{ActionId, HostName, RunId, StepId};
use replank_common::outcome::Outcome;
use replank_common::reading::Reading;

/// One link of a host; a later link has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkNumber(pub u64);

/// What a host's link brought. Of one link in the order in which it came, between its `Up` and its `Down`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub host: HostName,
    pub link: LinkNumber,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Up(Hello),
    Down,
    Census(Box<Census>),
    Accepted { action: ActionId },
    Progress { action: ActionId, permille: Option<u32>, text: String },
    Outcome { action: ActionId, outcome: Outcome },
    Reading { ask: u64, reading: Box<Reading> },
}

/// What an agent says of a step at work, for whoever watches the run. In no journal.
#[must_use = "the watchers hear of it from the shell alone"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub run: RunId,
    pub host: HostName,
    pub step: StepId,
    pub permille: Option<u32>,
    pub text: String,
}
