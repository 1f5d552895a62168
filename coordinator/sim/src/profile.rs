//! How often what goes wrong.

use crate::fault::Fault;
use std::collections::BTreeMap;

/// Chances in 1000 of each kind of fault at each of its opportunities: a message, an action, a link, or a moment of the fleet's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    chances: BTreeMap<Fault, u32>,
}

impl Profile {
    /// The names that [`Profile::named`] knows, the mildest first.
    pub const NAMES: [&str; 3] = ["calm", "rough", "storm"];

    /// One line for people, for a name of [`Profile::NAMES`].
    pub fn describe(name: &str) -> Option<&'static str> {
        match name {
            "calm" => Some("nothing goes wrong"),
            "rough" => Some("a bad week: what a fleet does meet, nobody gives up, and every host comes back"),
            "storm" => Some("everything at once: hosts that never return, operators who abort and roll back"),
            _ => None,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "calm" => Some(Self::calm()),
            "rough" => Some(Self::rough()),
            "storm" => Some(Self::storm()),
            _ => None,
        }
    }

    /// Nothing goes wrong.
    pub fn calm() -> Self {
        Self { name: "calm".to_owned(), chances: BTreeMap::new() }
    }

    /// A bad week: what a fleet does meet, nobody gives up, and every host comes back.
    pub fn rough() -> Self {
        let mut profile = Self { name: "rough".to_owned(), ..Self::storm() };
        for (fault, chance) in &mut profile.chances {
            *chance = match fault {
                Fault::HostNeverBack
                | Fault::OsdNeverBack
                | Fault::OperatorAborts
                | Fault::OperatorRollsBack => 0,
                _ => (*chance).div_ceil(4),
            };
        }
        profile
    }

    /// Everything at once.
    pub fn storm() -> Self {
        let chances = Fault::ALL.iter().map(|fault| (*fault, storm_chance(*fault)));
        Self { name: "storm".to_owned(), chances: chances.collect() }
    }

    /// Another chance of one kind.
    #[must_use]
    pub fn with(mut self, fault: Fault, in_thousand: u32) -> Self {
        self.chances.insert(fault, in_thousand);
        self
    }

    pub fn chance(&self, fault: Fault) -> u32 {
        self.chances.get(&fault).copied().unwrap_or(0)
    }
}

fn storm_chance(fault: Fault) -> u32 {
    match fault {
        Fault::MessageDoubled | Fault::MessageLate => 100,
        Fault::MessageReordered => 60,
        Fault::MessageLost => 40,
        Fault::LinkBroken => 300,
        Fault::ActionSlow | Fault::ActionRefused => 30,
        Fault::AgentKilledBeforeAct
        | Fault::AgentKilledInAct
        | Fault::AgentKilledAfterAct
        | Fault::AgentKilledAfterLedger
        | Fault::ActionFailed
        | Fault::ActionFailedHalfWay
        | Fault::ActionWithoutReply => 20,
        Fault::CoordinatorKilled | Fault::GuestEndedByOwner | Fault::GuestStarted => 40,
        Fault::OperatorApproves | Fault::OperatorRetries | Fault::OperatorResumes => 30,
        Fault::AgentKilled
        | Fault::PartitionedBothWays
        | Fault::PartitionedToAgent
        | Fault::PartitionedToCoordinator
        | Fault::HostClockJumps
        | Fault::GuestCrashed
        | Fault::GuestMigrated
        | Fault::GuestMigratedSeenTwice
        | Fault::CensusDisagrees
        | Fault::GuestJob
        | Fault::GuestUsesIt
        | Fault::DoneByHand
        | Fault::PackageWouldHurt
        | Fault::OperatorPauses
        | Fault::WayBackClosed => 20,
        Fault::SecondCoordinator
        | Fault::LedgerDiskFull
        | Fault::StoreDiskFull
        | Fault::OperatorAborts
        | Fault::OperatorRollsBack => 10,
        Fault::HostPoweredOff | Fault::HostRebooted | Fault::GuestTwice => 4,
        Fault::HostNeverBack | Fault::OsdNeverBack => 1,
        Fault::OsdDies | Fault::OperatorSetsFlag | Fault::OperatorUnsetsFlag => 15,
        Fault::OsdDoesNotStart | Fault::OsdFull => 30,
        Fault::MonDoesNotRejoin | Fault::RecoverySlow | Fault::ScrubLong => 10,
        Fault::MonDies | Fault::ClusterSilent | Fault::GroupsUnknown => 8,
        Fault::QuorumLost => 2,
        Fault::JournalConflict => 100,
        Fault::CoordinatorTornTail | Fault::CoordinatorClockJumps | Fault::OperatorAsksOldCoordinator => 300,
    }
}
