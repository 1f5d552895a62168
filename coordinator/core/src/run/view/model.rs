//! The public form of a run's whereabouts.

use crate::gate::HaltReason;
use crate::plan::Stage;
use crate::run::event::{End, WayBackClosed};
use crate::run::state::StepPhase;
use replank_common::UnixMs;
use replank_common::ids::{GuestUuid, HoldId, HostName, PlanId, RunId, StepId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the JSON form; fields are added without it growing.
pub const VIEW_FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    pub format: u32,
    pub run: RunId,
    pub plan: PlanId,
    pub fleet: String,
    pub by: String,
    pub now_ms: UnixMs,
    pub created_ms: UnixMs,
    pub phase: Phase,
    pub steps_done: usize,
    pub steps_total: usize,
    pub hosts_done: usize,
    /// Until the end of the present course when nothing waits; `None` once finished. From the plan's expectations, corrected by what this run's
    /// own steps have taken.
    pub time_left_ms: Option<u64>,
    pub paused: Option<PausedView>,
    /// What halted the run and is not decided; empty: it is not halted.
    pub halts: Vec<HaltView>,
    pub holds: Vec<HoldView>,
    /// In the plan's order.
    pub hosts: Vec<HostView>,
    /// What the run waits for, the weightiest first.
    pub waits: Vec<WaitView>,
    /// Flags and settings of a whole cluster that are not given back yet.
    #[serde(default)]
    pub borrowed: Vec<BorrowedView>,
    /// Why the last rollback that was asked for did not begin.
    pub way_back_closed: Vec<WayBackClosed>,
    /// How many further reasons there were.
    #[serde(default)]
    pub way_back_closed_more: usize,
}

/// Where the whole run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The guests of every host are being counted.
    Counting,
    Running,
    /// Nothing is in flight, and everything that could follow waits for an operator's approval.
    AtHold,
    /// A step was refused or failed; what was in flight goes on.
    Held,
    Paused,
    Halted,
    /// A rollback was asked for; it is found out whether the way back is safe.
    AskingWayBack,
    RollingBack,
    Aborting,
    /// Giving back and counting, after the last step.
    Closing,
    Completed,
    Aborted,
    RolledBack,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counting => "counting",
            Self::Running => "running",
            Self::AtHold => "at-hold",
            Self::Held => "held",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::AskingWayBack => "asking-way-back",
            Self::RollingBack => "rolling-back",
            Self::Aborting => "aborting",
            Self::Closing => "closing",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled-back",
        }
    }

    /// The phase of a run that has ended.
    pub fn of_end(end: End) -> Self {
        match end {
            End::Completed => Self::Completed,
            End::Aborted => Self::Aborted,
            End::RolledBack { .. } => Self::RolledBack,
        }
    }

    pub fn is_end(self) -> bool {
        match self {
            Self::Completed | Self::Aborted | Self::RolledBack => true,
            Self::Counting
            | Self::Running
            | Self::AtHold
            | Self::Held
            | Self::Paused
            | Self::Halted
            | Self::AskingWayBack
            | Self::RollingBack
            | Self::Aborting
            | Self::Closing => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedView {
    pub by: String,
    pub since_ms: UnixMs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltView {
    pub reason: HaltReason,
    pub since_ms: UnixMs,
    /// Steps in flight then, those of the same host first.
    pub during: Vec<StepId>,
    /// Guests to name when resuming.
    pub guests: Vec<GuestRef>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRef {
    pub uuid: GuestUuid,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    pub id: HoldId,
    pub title: String,
    pub why: String,
    pub reached_ms: Option<UnixMs>,
    pub approved: Option<Approval>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub by: String,
    pub at_ms: UnixMs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    pub name: HostName,
    pub wave: u32,
    pub linked: bool,
    /// Since when it is linked or not; `None`: it has not linked since this coordinator started.
    pub link_since_ms: Option<UnixMs>,
    /// The agent refuses every action by its host's policy.
    pub observe_only: bool,
    /// Guests that the run answers for there.
    pub guests: usize,
    /// When the newest census came; `None`: none yet.
    pub census_ms: Option<UnixMs>,
    pub steps_done: usize,
    pub steps_total: usize,
    /// The step that is next, in flight or being taken back; `None`: nothing is left there.
    pub step: Option<StepView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    pub id: StepId,
    pub title: String,
    pub stage: Stage,
    pub state: StepWord,
    pub attempts: u32,
    /// When it began, or began to be taken back.
    pub since_ms: Option<UnixMs>,
    /// What the agent says of it.
    pub permille: Option<u32>,
    pub progress: Option<String>,
}

/// Where a step is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepWord {
    Waiting,
    Acting,
    Verifying,
    Done,
    Held,
    /// Not changed: it is found out whether the way back is safe.
    AskingWayBack,
    TakingBack,
    HeldOnTheWayBack,
    TakenBack,
}

impl StepWord {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Acting => "acting",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Held => "held",
            Self::AskingWayBack => "asking the way back",
            Self::TakingBack => "taking back",
            Self::HeldOnTheWayBack => "held on the way back",
            Self::TakenBack => "taken back",
        }
    }
}

impl From<StepPhase> for StepWord {
    fn from(phase: StepPhase) -> Self {
        match phase {
            StepPhase::Pending => Self::Waiting,
            StepPhase::Acting => Self::Acting,
            StepPhase::Verifying => Self::Verifying,
            StepPhase::Done => Self::Done,
            StepPhase::Held => Self::Held,
            StepPhase::Undoing => Self::TakingBack,
            StepPhase::UndoHeld => Self::HeldOnTheWayBack,
            StepPhase::Undone => Self::TakenBack,
        }
    }
}

/// Something of a cluster's that the run holds borrowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BorrowedView {
    pub host: HostName,
    /// The step that borrowed it.
    pub step: StepId,
    pub what: String,
    pub since_ms: UnixMs,
    /// When the plan, without waiting, would have given it back.
    pub expected_ms: UnixMs,
    /// From here on the run says of itself that this takes too long.
    pub told_ms: UnixMs,
}

/// One thing that the run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// A documented code.
    pub code: String,
    pub host: Option<HostName>,
    pub step: Option<StepId>,
    /// What it waits for, exactly.
    pub text: String,
    pub since_ms: Option<UnixMs>,
    /// It has waited longer than the step's own deadline.
    pub overdue: bool,
    /// What the operator can do about it.
    pub remedy: String,
}
