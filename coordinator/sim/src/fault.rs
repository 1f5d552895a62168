//! Every kind of thing that goes wrong.

use std::fmt;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal,)+) => {
        /// A kind of fault. Its name is stable: profiles, summaries and command lines use it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[doc = $doc])+ $kind,)+ }

        impl Fault {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// One line for people.
            pub fn describe(self) -> &'static str {
                match self { $(Self::$kind => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

faults! {
    /// A message is lost.
    MessageLost = "message-lost",
    /// A message arrives twice.
    MessageDoubled = "message-doubled",
    /// A message arrives seconds late, perhaps over a link that is gone.
    MessageLate = "message-late",
    /// A message is overtaken by those after it.
    MessageReordered = "message-reordered",
    /// A link breaks and is dialled anew.
    LinkBroken = "link-broken",
    /// Nothing passes between the coordinator and a host.
    PartitionedBothWays = "partitioned-both-ways",
    /// Nothing passes from the coordinator to an agent.
    PartitionedToAgent = "partitioned-to-agent",
    /// Nothing passes from an agent to the coordinator.
    PartitionedToCoordinator = "partitioned-to-coordinator",
    /// An agent is killed at some moment.
    AgentKilled = "agent-killed",
    /// An agent is killed between an action's intent and its act.
    AgentKilledBeforeAct = "agent-killed-before-act",
    /// An agent is killed in the middle of an action's act.
    AgentKilledInAct = "agent-killed-in-act",
    /// An agent is killed between an action's act and its outcome in the ledger.
    AgentKilledAfterAct = "agent-killed-after-act",
    /// An agent is killed between an action's outcome in the ledger and the reply.
    AgentKilledAfterLedger = "agent-killed-after-ledger",
    /// The coordinator is killed at a record.
    CoordinatorKilled = "coordinator-killed",
    /// The coordinator is killed with a part of a batch durable.
    CoordinatorTornTail = "coordinator-torn-tail",
    /// A second coordinator leads while an old one still believes to.
    SecondCoordinator = "second-coordinator",
    /// A coordinator appends to a journal that a later one has taken over.
    JournalConflict = "journal-conflict",
    /// A host loses its power for minutes.
    HostPoweredOff = "host-powered-off",
    /// A host reboots.
    HostRebooted = "host-rebooted",
    /// A host loses its power and never comes back.
    HostNeverBack = "host-never-back",
    /// An action takes longer than its deadline.
    ActionSlow = "action-slow",
    /// An action is refused before anything is changed.
    ActionRefused = "action-refused",
    /// An action fails and is restored by its agent.
    ActionFailed = "action-failed",
    /// An action fails half way.
    ActionFailedHalfWay = "action-failed-half-way",
    /// An action is done, and its agent says nothing.
    ActionWithoutReply = "action-without-reply",
    /// The clock of a host jumps.
    HostClockJumps = "host-clock-jumps",
    /// The coordinator's clock has jumped when it starts again.
    CoordinatorClockJumps = "coordinator-clock-jumps",
    /// An agent cannot write its ledger.
    LedgerDiskFull = "ledger-disk-full",
    /// The coordinator cannot write its store.
    StoreDiskFull = "store-disk-full",
    /// A guest is ended by its owner.
    GuestEndedByOwner = "guest-ended-by-owner",
    /// A guest crashes.
    GuestCrashed = "guest-crashed",
    /// A guest is started behind replank's back.
    GuestStarted = "guest-started",
    /// A guest is migrated behind replank's back.
    GuestMigrated = "guest-migrated",
    /// A guest that is migrated is seen active at both ends for a moment.
    GuestMigratedSeenTwice = "guest-migrated-seen-twice",
    /// A guest runs on two hosts.
    GuestTwice = "guest-twice",
    /// The sources of a census do not agree.
    CensusDisagrees = "census-disagrees",
    /// A guest has a job in flight.
    GuestJob = "guest-job",
    /// A guest begins to use what a step would change, or has changed.
    GuestUsesIt = "guest-uses-it",
    /// A package that would hurt guests comes along with those that a step fetches.
    PackageWouldHurt = "package-would-hurt",
    /// What a step would do was done by hand before the run.
    DoneByHand = "done-by-hand",
    /// The old libvirt could not read a guest back.
    WayBackClosed = "way-back-closed",
    /// An operator pauses.
    OperatorPauses = "operator-pauses",
    /// An operator resumes, too early or too late.
    OperatorResumes = "operator-resumes",
    /// An operator aborts.
    OperatorAborts = "operator-aborts",
    /// An operator rolls back.
    OperatorRollsBack = "operator-rolls-back",
    /// An operator approves some hold, reached or not.
    OperatorApproves = "operator-approves",
    /// An operator has some step tried again, held or not.
    OperatorRetries = "operator-retries",
    /// An operator speaks to a coordinator that leads no more.
    OperatorAsksOldCoordinator = "operator-asks-old-coordinator",
    /// An OSD dies and is started again.
    OsdDies = "osd-dies",
    /// An OSD's disk breaks for good.
    OsdNeverBack = "osd-never-back",
    /// An OSD that was restarted does not start.
    OsdDoesNotStart = "osd-does-not-start",
    /// An OSD has no room for what it misses.
    OsdFull = "osd-full",
    /// A MON dies and is started again.
    MonDies = "mon-dies",
    /// A MON that was restarted finds no quorum to join.
    MonDoesNotRejoin = "mon-does-not-rejoin",
    /// So many MONs die that there is no quorum.
    QuorumLost = "quorum-lost",
    /// A cluster's commands hang.
    ClusterSilent = "cluster-silent",
    /// A MGR has begun anew and knows no groups yet.
    GroupsUnknown = "groups-unknown",
    /// What an OSD missed is made whole slowly.
    RecoverySlow = "recovery-slow",
    /// A scrub takes long.
    ScrubLong = "scrub-long",
    /// An operator sets a flag of the cluster, before the run or during it.
    OperatorSetsFlag = "operator-sets-flag",
    /// An operator unsets a flag of the cluster, his own or the run's.
    OperatorUnsetsFlag = "operator-unsets-flag",
}

impl Fault {
    /// Whether it strikes a Ceph cluster; a fleet without one never meets it.
    pub fn is_of_a_cluster(self) -> bool {
        matches!(
            self,
            Self::OsdDies
                | Self::OsdNeverBack
                | Self::OsdDoesNotStart
                | Self::OsdFull
                | Self::MonDies
                | Self::MonDoesNotRejoin
                | Self::QuorumLost
                | Self::ClusterSilent
                | Self::GroupsUnknown
                | Self::RecoverySlow
                | Self::ScrubLong
                | Self::OperatorSetsFlag
                | Self::OperatorUnsetsFlag
        )
    }

    /// Whether it strikes one host; the others strike the coordinator or a cluster, or are an operator's doing.
    pub fn is_of_a_host(self) -> bool {
        !self.is_of_a_cluster()
            && !matches!(
                self,
                Self::CoordinatorKilled
                    | Self::CoordinatorTornTail
                    | Self::CoordinatorClockJumps
                    | Self::SecondCoordinator
                    | Self::JournalConflict
                    | Self::StoreDiskFull
                    | Self::OperatorPauses
                    | Self::OperatorResumes
                    | Self::OperatorAborts
                    | Self::OperatorRollsBack
                    | Self::OperatorApproves
                    | Self::OperatorRetries
                    | Self::OperatorAsksOldCoordinator
            )
    }

    /// Whether it is done to a message.
    pub fn is_of_a_message(self) -> bool {
        matches!(self, Self::MessageLost | Self::MessageDoubled | Self::MessageLate | Self::MessageReordered)
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_lead_back() {
        let names: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        assert!(Fault::ALL.iter().all(|fault| Fault::named(fault.name()) == Some(*fault)));
        assert_eq!(Fault::MessageLost.describe(), "A message is lost.");
    }
}
