//! The public form of a report.

use crate::gate::HaltReason;
use crate::plan::Stage;
use crate::run::event::{End, WayBackClosed};
use crate::run::view::StepWord;
use replank_common::UnixMs;
use replank_common::census::{EndCause, Incarnation};
use replank_common::finding::Finding;
use replank_common::ids::{GuestUuid, HostName, PlanId, RunId, StepId};
use replank_common::outcome::{Change, How};
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version of the JSON form; fields are added without it growing.
pub const REPORT_FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    pub run: RunId,
    pub plan: PlanId,
    pub fleet: String,
    pub by: String,
    pub created_ms: UnixMs,
    /// `None` while the run is under way.
    pub end: Option<End>,
    pub ended_ms: Option<UnixMs>,
    pub hosts: Vec<HostReport>,
    /// One line a life of a guest; a guest that its owner started again has two.
    pub guests: Vec<GuestProof>,
    pub tally: Tally,
    /// `None` where no OSD is restarted.
    #[serde(default)]
    pub osd_waves: Option<OsdWaves>,
    pub halts: Vec<HaltReport>,
    pub way_back_closed: Vec<WayBackClosed>,
    /// How many further refusals there were.
    #[serde(default)]
    pub way_back_closed_more: usize,
}

/// Lives of guests by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The same incarnation at the last count.
    pub same: usize,
    /// Running when last seen, and not counted at the end (yet).
    pub uncounted: usize,
    pub left: usize,
    pub moved: usize,
    pub lost: usize,
    /// Ended between two voyages of the run, while no run watched.
    pub unwatched: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    pub name: HostName,
    pub wave: u32,
    /// From the first step's beginning to the last one's end.
    pub took_ms: Option<u64>,
    /// The guests were counted at the end.
    pub counted: bool,
    pub steps: Vec<StepReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    pub id: StepId,
    pub title: String,
    pub stage: Stage,
    pub state: StepWord,
    pub attempts: u32,
    /// From its beginning until its gates after had passed.
    pub took_ms: Option<u64>,
    pub how: Option<How>,
    pub changes: Vec<Change>,
    pub findings: Vec<Finding>,
    /// Why it is held, with code and remedy.
    pub held: Option<String>,
    /// How long taking it back took, and what that changed.
    pub undo_took_ms: Option<u64>,
    pub undo_changes: Vec<Change>,
}

/// How the OSDs of a cluster were restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsdWaves {
    /// No sequence of sets has fewer; `None` in plans that do not say it.
    pub least: Option<u32>,
    pub waves: Vec<OsdWave>,
}

/// OSDs that were down together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsdWave {
    pub hosts: Vec<HostName>,
    pub osds: usize,
    /// From the end of the wave before it to the first command of this one. An operator's time at a hold is in it.
    pub after_ms: Option<u64>,
    /// From the first command until every daemon ran the new release, by its process.
    pub restarted_ms: Option<u64>,
    /// From there until every placement group of theirs was seen to be clean.
    pub settled_ms: Option<u64>,
}

/// One life of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestProof {
    pub uuid: GuestUuid,
    pub name: String,
    pub host: HostName,
    /// It started during the run; `before` is then its first sight.
    pub joined: bool,
    pub before: Sight,
    /// At the last count; `None`: it was not there to be counted, or is not counted yet.
    pub after: Option<Sight>,
    pub state: GuestFate,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    pub incarnation: Incarnation,
    pub emulator: PathBuf,
    pub qemu_version: Option<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestFate {
    Same,
    Uncounted,
    Left { cause: EndCause, at_ms: UnixMs },
    Moved { to: HostName, at_ms: UnixMs },
    Lost { known: String, died_at_ms: Option<UnixMs> },
    Unwatched,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltReport {
    pub reason: HaltReason,
    pub halted_at_ms: UnixMs,
    /// When the guest died, where somebody saw it.
    pub died_at_ms: Option<UnixMs>,
    /// From the death, by the host's clock, to the halt, by the coordinator's.
    pub death_to_halt_ms: Option<u64>,
    pub during: Vec<StepId>,
    pub decided: Option<Decision>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub by: String,
    /// `resume`, `abort` or `rollback`.
    pub what: String,
    pub at_ms: UnixMs,
}
