//! Why a step is not even at its gates.

use super::Machine;
use super::twice::Suspicion;
use crate::gate::{LinkSeen, WaitReason};
use crate::run::index::{NeedIx, is_change};
use crate::run::state::{Course, StepPhase};
use replank_common::ids::{GuestUuid, HoldId, HostName, StepId};
use replank_common::planted::{self, Planted};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a step waits for before its gates are asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// The run is halted or paused, or not going forward.
    Stopped,
    /// Another step has to be done first.
    Step { step: StepId },
    /// An operator's approval.
    Hold { hold: HoldId, reached: bool },
    /// The guests of a host are not counted yet; before that, nothing changes anywhere.
    Baseline { host: HostName },
    /// Another step is held; until an operator decides, no further host starts.
    Held { step: StepId },
    /// Its own host cannot be heard, or a host that the run has changed cannot be seen; then no further host starts.
    CannotSee { reason: WaitReason },
    /// The guest seems to be active on several hosts; all are asked again.
    Twice { guest: GuestUuid, name: String, hosts: Vec<HostName> },
    /// On the way back: hosts passed later come first.
    LaterHosts,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the run is stopped"),
            Self::Step { step } => write!(f, "step {step} comes first"),
            Self::Hold { hold, reached: true } => write!(f, "hold {hold} waits for approval"),
            Self::Hold { hold, reached: false } => write!(f, "hold {hold} is not reached yet"),
            Self::Baseline { host } => {
                write!(
                    f,
                    "{host}: its guests are not counted yet, and nothing is changed before every host's are"
                )
            }
            Self::Held { step } => {
                write!(f, "step {step} is held; no further host starts before it is decided")
            }
            Self::CannotSee { reason } => write!(f, "{reason}"),
            Self::Twice { guest, name, hosts } => {
                write!(f, "guest {name} ({guest}) seems to be active on")?;
                for host in hosts {
                    write!(f, " {host}")?;
                }
                f.write_str("; each is asked again")
            }
            Self::LaterHosts => f.write_str("hosts passed later are taken back first"),
        }
    }
}

impl Machine {
    /// Why nothing at all may be commanded on `host` now, apart from what its next step needs.
    pub(in crate::run) fn block_of_host(&self, host: usize) -> Option<Block> {
        if self.state.stopped() || self.state.paused.is_some() || self.state.finished().is_some() {
            return Some(Block::Stopped);
        }
        if self.state.hosts[host].baseline_due {
            return Some(Block::Baseline { host: self.state.index.host_name(host).clone() });
        }
        if let LinkSeen::Down { since_ms } = self.seen[host].link {
            let host = self.state.index.host_name(host).clone();
            return Some(Block::CannotSee { reason: WaitReason::LinkDown { host, since_ms } });
        }
        self.block_of_doubles()
    }

    fn block_of_doubles(&self) -> Option<Block> {
        let (guest, Suspicion { name, .. }) =
            self.doubles.iter().find_map(|(guest, suspicion)| Some((guest, suspicion.as_ref()?)))?;
        let hosts = self.whereabouts.get(guest).into_iter().flatten();
        Some(Block::Twice {
            guest: *guest,
            name: name.clone(),
            hosts: hosts.map(|host| self.state.index.host_name(*host).clone()).collect(),
        })
    }

    /// Why `step`, the next of its host, is not at its gates yet; `None`: it is.
    pub(in crate::run) fn block_of_step(&self, step: usize) -> Option<Block> {
        if self.state.course != Course::Forward {
            return Some(Block::Stopped);
        }
        let host = self.state.index.host_of[step];
        if let Some(block) = self.block_of_host(host) {
            return Some(block);
        }
        for need in &self.state.index.step_needs[step] {
            if self.state.is_met(*need) || planted::is(Planted::NeedsForgotten) {
                continue;
            }
            let plan = &self.state.index.plan;
            return Some(match need {
                NeedIx::Step(needed) => Block::Step { step: plan.steps[*needed].id.clone() },
                NeedIx::Hold(hold) => Block::Hold {
                    hold: plan.holds[*hold].id.clone(),
                    reached: self.state.holds[*hold].reached_ms.is_some(),
                },
            });
        }
        if is_change(self.state.index.step_at(step).stage) && !self.state.hosts[host].change_begun {
            return self.block_of_start();
        }
        None
    }

    /// Why no further host starts to be changed.
    pub(in crate::run) fn block_of_start(&self) -> Option<Block> {
        let index = &self.state.index;
        if let Some(step) = self.state.held.first()
            && !planted::is(Planted::HeldStopsNobody)
        {
            return Some(Block::Held { step: index.step_at(*step).id.clone() });
        }
        if let Some(host) = self.state.unbased.first() {
            return Some(Block::Baseline { host: index.host_name(*host).clone() });
        }
        let blind = *self.blind.first()?;
        let host = index.host_name(blind).clone();
        let seen = &self.seen[blind];
        let reason = match (seen.link, &seen.census) {
            (LinkSeen::Down { since_ms }, _) => WaitReason::LinkDown { host, since_ms },
            (LinkSeen::Up, None) => WaitReason::NoReadingYet { host, of: "the census".to_owned() },
            (LinkSeen::Up, Some(census)) => {
                WaitReason::CensusDisagrees { host, lines: census.disagreements.clone() }
            }
        };
        Some(Block::CannotSee { reason })
    }

    /// Why the host's next step back is not at its gates.
    pub(in crate::run) fn block_of_back(&self, host: usize, step: usize) -> Option<Block> {
        if let Some(block) = self.block_of_host(host) {
            return Some(block);
        }
        if self.state.steps[step].phase == StepPhase::UndoHeld {
            return Some(Block::Held { step: self.state.index.step_at(step).id.clone() });
        }
        match &self.state.course {
            Course::RollingBack { .. } if !self.state.may_go_back_now(host) => Some(Block::LaterHosts),
            Course::Forward
            | Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Closing { .. }
            | Course::Finished { .. } => None,
        }
    }
}
