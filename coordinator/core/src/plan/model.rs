//! What a plan is made of. Its canonical bytes are its pretty JSON; its id is computed over them.

use crate::gate::Gate;
use replank_common::action::Action;
use replank_common::finding::Finding;
use replank_common::ids::{HoldId, HostName, PlanId, StepId};
use replank_common::planted::{self, Planted};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version of the plan's form. A reader refuses a higher one.
pub const PLAN_FORMAT: u32 = 1;

/// A plan without its id. The id is the digest of this value's canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub format: u32,
    /// The plan that this one continues, when it was made again in the middle of a voyage.
    pub parent: Option<PlanId>,
    pub fleet: String,
    /// What goes where: one line a component, for people.
    pub summary: Vec<String>,
    /// What the plan was computed from.
    pub input: InputDigests,
    pub pace: PlannedPace,
    /// Sentences that the operator wrote into the fleet file to accept a named danger, word for word.
    pub acknowledged: Vec<String>,
    /// In the order in which they are passed: the canary wave first.
    pub hosts: Vec<PlannedHost>,
    pub holds: Vec<Hold>,
    pub points_of_no_return: Vec<PointOfNoReturn>,
    /// In an order in which every step comes after all that it needs.
    pub steps: Vec<Step>,
    /// `None` where no OSD is restarted, and in plans from before it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub osd_waves: Option<PlannedOsdWaves>,
    /// What was found and does not block: neutralised or noted.
    pub findings: Vec<Finding>,
}

/// SHA-256, hexadecimal, of each input's canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputDigests {
    pub fleet_file: String,
    pub inventory: String,
    pub catalog: String,
}

/// How many hosts may be in work at once. The steps' needs encode it; it is said here so that `lint` can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedPace {
    /// Hosts of one wave that may be between their first change and their last step.
    pub parallel_hosts: u32,
    /// Hosts that may prepare.
    pub staging_parallel: u32,
}

/// The sets of OSDs that are down together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOsdWaves {
    pub planned: u32,
    /// No sequence of sets has fewer.
    pub least: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedHost {
    pub name: HostName,
    pub way: Way,
    /// 0 is the canary wave.
    pub wave: u32,
    /// The hosts of one lane of a wave follow each other; lanes count from 0 in each wave.
    pub lane: u32,
    /// Guests on the host when the inventory was taken.
    pub guests: u32,
    /// Nothing to do: the host is already as the fleet file wants it.
    pub already_done: bool,
}

/// How a host is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Guests move by live migration first, then nothing can hurt them.
    EvacuateFirst,
    /// Guests stay.
    InPlace,
}

/// The stages of a host's passage, in order. `rollback --to` names one: it and those before it stay done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Pins, downloads, trials. Nothing that a guest or an operator would notice.
    Prepare,
    /// What running guests use is kept.
    Keep,
    /// The new qemu beside the old one.
    Install,
    /// libvirt's files, its configuration, and its one restart.
    Switch,
    /// Is it so, as seen from outside? And is the way back still open?
    Verify,
    /// What was borrowed is given back.
    GiveBack,
}

impl Stage {
    pub const ALL: [Self; 6] =
        [Self::Prepare, Self::Keep, Self::Install, Self::Switch, Self::Verify, Self::GiveBack];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Keep => "keep",
            Self::Install => "install",
            Self::Switch => "switch",
            Self::Verify => "verify",
            Self::GiveBack => "give-back",
        }
    }
}

/// One action on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub id: StepId,
    pub host: HostName,
    pub stage: Stage,
    /// Imperative, for people: `restart libvirtd 9.0.0 → 11.3.0 under watch`.
    pub title: String,
    /// Shared by the steps that do the same on other hosts.
    pub work: Arc<Work>,
    /// All must pass before the action is sent.
    pub before: Vec<Gate>,
    /// All must pass before the step counts as done.
    pub after: Vec<Gate>,
    pub undo: Undo,
    pub needs: Vec<Need>,
    pub expected_ms: u64,
    /// The agent gives up, and the coordinator asks again what became of it, after this long.
    pub deadline_ms: u64,
}

impl Step {
    /// All must pass before it is taken back: the count, and what says that daemons may stop, for they stop once more (P10).
    pub fn gates_back(&self) -> Vec<Gate> {
        let stops = self.before.iter().filter(|gate| {
            matches!(gate, Gate::OsdsMayStop { .. } | Gate::MdsMayStop { .. })
                && !planted::is(Planted::WayBackAsksNoCluster)
        });
        [Gate::CensusHolds].into_iter().chain(stops.cloned()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    Act(Action),
    /// Undo a borrowed step of the same host, now.
    GiveBack(StepId),
    /// No action: only the gates.
    Observe,
}

impl Work {
    /// How many packages it names.
    pub(super) fn packages(&self) -> u64 {
        let Self::Act(action) = self else { return 0 };
        let pins = if let Action::PackagesStage(of) = action {
            of.install.len()
        } else if let Action::PackagesInstall(of) = action {
            of.install.len()
        } else {
            0
        };
        pins as u64
    }
}

/// What a rollback does about a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// The agent takes it back by its record, on rollback.
    Record,
    /// As `Record`, and also on abort and at the end of the run unless it was given back before (P7).
    Borrowed,
    /// The undo changes nothing but may refuse: it runs on every host before any other undo of the rollback.
    Guard,
    /// There is nothing to take back.
    Nothing,
    /// It cannot be taken back; a rollback stops before it and says so.
    NoWayBack { reason: String, alternative: String },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The step is done.
    Step(StepId),
    /// The hold is approved.
    Hold(HoldId),
}

/// A place where the run waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    pub id: HoldId,
    pub title: String,
    /// What the operator should look at before approving.
    pub why: String,
    /// The hold is reached, and can be approved, once these are met.
    pub needs: Vec<Need>,
}

/// What cannot simply be taken back afterwards (P8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointOfNoReturn {
    pub step: StepId,
    /// The hold that guards it.
    pub hold: HoldId,
    /// What is lost by crossing, and from when on.
    pub reason: String,
    /// The safe way when going back is refused.
    pub alternative: String,
}
