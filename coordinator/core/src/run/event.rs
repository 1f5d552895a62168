//! Events: what a journal is made of. A run's state is the fold of its events and of nothing else.

use crate::gate::{HaltReason, WaitReason};
use crate::plan::Stage;
use replank_common::UnixMs;
use replank_common::census::{EndCause, Guest, Incarnation};
use replank_common::ids::{ActionId, BootId, Epoch, GuestUuid, HoldId, HostName, PlanId, RunId, StepId};
use replank_common::outcome::{Outcome, Refusal};
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// The version of a record's form. Readers accept it and lower ones and refuse a higher one, before they look at what it holds.
///
/// Within one format the kinds of events and their fields are fixed, at any depth: what a reader does not know is an error there, for a
/// coordinator that ignored it would command on half of the story. So whoever adds a kind or a field lets this grow, and gives the field
/// a default for the lines that were written before.
pub const JOURNAL_FORMAT: u32 = 1;

/// One line of a journal, written and synced before anything acts on it (P4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// From 1, without gaps.
    pub seq: u64,
    /// The coordinator's clock. May go back between two coordinators; nothing but durations is computed from it.
    pub at_ms: UnixMs,
    /// Of the coordinator that wrote it.
    pub epoch: Epoch,
    pub format: u32,
    pub event: Event,
}

/// What happened, or was decided.
///
/// No line grows with the fleet: each is of one host, or names the first few of many, or only what has a line of its own already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// First of every journal. `by`: the operator's name as in the certificate.
    Created {
        run: RunId,
        plan: PlanId,
        by: String,
    },
    /// A coordinator took the run over; every command from here on carries `epoch`.
    Led {
        epoch: Epoch,
    },

    /// The guests of a host that the run answers for from here on, from a census that agrees.
    Baseline {
        host: HostName,
        boot_id: BootId,
        taken_at_ms: UnixMs,
        guests: Vec<Arc<Life>>,
    },
    /// A guest started during the run; it joins the baseline.
    GuestAppeared {
        host: HostName,
        life: Life,
    },
    /// A guest ended by its owner's doing.
    GuestLeft {
        host: HostName,
        guest: GuestUuid,
        incarnation: Incarnation,
        cause: EndCause,
        at_ms: UnixMs,
    },
    /// A guest was moved by the run to the host that the plan names.
    GuestMoved {
        host: HostName,
        guest: GuestUuid,
        incarnation: Incarnation,
        to: HostName,
    },
    /// An incarnation is gone and nobody's doing explains it (P1).
    GuestLost {
        host: HostName,
        guest: GuestUuid,
        name: String,
        incarnation: Incarnation,
        /// What is known of the end.
        known: String,
        /// When the agent learned of the death, by the host's clock; `None` when nobody saw it.
        died_at_ms: Option<UnixMs>,
        /// Steps in flight anywhere, those of the same host first, at most [`MAX_DURING`].
        during: Vec<StepId>,
    },
    /// A guest is active on several hosts (P2).
    GuestTwice {
        guest: GuestUuid,
        name: String,
        hosts: Vec<HostName>,
        during: Vec<StepId>,
    },
    /// A host came back under another boot id: every guest it had is lost.
    HostRebooted {
        host: HostName,
        boot_id: BootId,
        during: Vec<StepId>,
    },
    /// No command leaves any more until an operator decides.
    Halted {
        reason: HaltReason,
    },

    /// A step without an action began: its gates after are asked.
    Began {
        step: StepId,
    },
    /// The intent to command; what follows may or may not have reached the agent.
    Sent {
        step: StepId,
        purpose: Purpose,
        action: ActionId,
        /// What is taken back, for every purpose but `Do`.
        of: Option<ActionId>,
    },
    /// The agent's answer. Refused or failed: the step is held until an operator decides (a guard's answer never holds, it
    /// decides whether the rollback begins).
    Outcome {
        action: ActionId,
        outcome: Outcome,
    },
    /// Why a step does not pass its gates; again only when the cause changes.
    GateWaits {
        step: StepId,
        when: When,
        reason: WaitReason,
    },
    /// Gates that had waited pass.
    GatePassed {
        step: StepId,
        when: When,
    },
    /// The action is done and its gates after have passed.
    StepDone {
        step: StepId,
    },

    HoldReached {
        hold: HoldId,
    },
    Approved {
        hold: HoldId,
        by: String,
    },
    Paused {
        by: String,
    },
    /// Of a pause, or of a halt; then `acknowledged` names each guest lost or seen twice since and no other, and `by` answers for it.
    Resumed {
        by: String,
        acknowledged: Vec<GuestUuid>,
    },
    RetryAsked {
        step: StepId,
        by: String,
    },
    AbortAsked {
        by: String,
    },
    /// `to`: the last stage that stays done; `None`: take everything back.
    RollbackAsked {
        to: Option<Stage>,
        by: String,
    },
    /// Nothing was taken back; the run is where it was before it was asked to. At most [`MAX_CLOSED`] of the reasons: each guard's
    /// answer has an outcome of its own before this.
    RollbackRefused {
        refusals: Vec<WayBackClosed>,
    },
    /// Every guard agreed: from here on steps are taken back.
    RollbackBegun {},

    /// Nothing is left to do but to give back, to count and to end.
    Closing {
        end: End,
    },
    /// The last count of a host's guests, from a census that agrees.
    Recounted {
        host: HostName,
        taken_at_ms: UnixMs,
        guests: Vec<Arc<Life>>,
    },
    Finished {
        end: End,
    },
}

/// How many steps in flight an event names at most.
pub const MAX_DURING: usize = 16;
/// How many refusals an event names at most.
pub const MAX_CLOSED: usize = 16;

/// A guest as a census saw it, for the proof. Shared by the journal's line and the state, in a large fleet by the hundred thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    pub uuid: GuestUuid,
    pub name: String,
    pub incarnation: Incarnation,
    pub emulator: PathBuf,
    pub qemu_version: Option<Version>,
}

impl From<&Guest> for Life {
    fn from(guest: &Guest) -> Self {
        Self {
            uuid: guest.uuid,
            name: guest.name.clone(),
            incarnation: guest.incarnation,
            emulator: guest.emulator.clone(),
            qemu_version: guest.qemu_version.clone(),
        }
    }
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Carry the step's action out.
    Do,
    /// The step gives another one's borrowing back.
    GiveBack,
    /// Take the step back: on rollback, or because it is still borrowed at the end.
    Undo,
    /// Carry a guard's action out during a rollback, on a host that had not come to it yet; changes nothing.
    SetGuard,
    /// Ask whether the way back is safe; changes nothing.
    Guard,
}

/// Which gates of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    Before,
    After,
    /// Before it is taken back.
    Undo,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum End {
    /// Every step is done.
    Completed,
    /// Left where it was, with everything borrowed given back.
    Aborted,
    /// Taken back, down to `to`.
    RolledBack { to: Option<Stage> },
}

/// Why a rollback does not begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WayBackClosed {
    pub step: StepId,
    pub host: HostName,
    /// Reason and safe alternative.
    pub refusal: Refusal,
}
