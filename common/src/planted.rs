//! Planted faults: each breaks one promise on purpose, in the product's own code, so that the tests are tested too.
//!
//! Without the feature `planted-faults`, which no release has, [`is`] is `false` at compile time and nothing of this is left in a program.
//! With it nothing is planted either, until [`plant`] or the environment says so.
//!
//! A fault that several layers would notice is planted in all of them at once; where a layer is its own fault, `breaks` says what it is.

macro_rules! planted {
    ($($kind:ident = $name:literal, $promise:literal, [$($place:literal),+], $breaks:literal;)+) => {
        /// A fault that can be planted. Its name is stable: tables and command lines use it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Planted { $($kind,)+ }

        impl Planted {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// The promise that it breaks.
            pub const fn promise(self) -> &'static str {
                match self { $(Self::$kind => $promise),+ }
            }

            /// The files that it is planted in, from the workspace's root.
            pub const fn places(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$($place),+]),+ }
            }

            /// One line for people.
            pub const fn breaks(self) -> &'static str {
                match self { $(Self::$kind => $breaks),+ }
            }

            /// The variant's name, as the sources write it.
            pub const fn kind(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),+ }
            }
        }
    };
}

planted! {
    AnyLifeIsTheLife = "any-life-is-the-life", "P1",
        ["coordinator/core/src/run/machine/intake.rs", "coordinator/core/src/gate/judge.rs"],
        "a guest that runs in another life than it had counts as alive";
    EveryEndIsTheOwners = "every-end-is-the-owners", "P1",
        ["coordinator/core/src/run/machine/intake.rs"],
        "an end that nobody explains counts as the owner's";
    MovedIsAlive = "moved-is-alive", "P1",
        ["coordinator/core/src/run/report/build.rs"],
        "the report counts a guest that was moved away as the same and alive where it was";
    OldAgentsCensus = "old-agents-census", "P1",
        ["coordinator/core/src/run/machine/intake.rs"],
        "a census of an earlier life of the agent is taken as one of the present life";
    RebootIsNothing = "reboot-is-nothing", "P1",
        ["coordinator/core/src/run/machine/intake.rs"],
        "a host under another boot id has lost nothing until its census says so";
    DisagreementProves = "disagreement-proves", "P1",
        ["coordinator/core/src/run/machine/intake.rs"],
        "a census whose sources do not agree proves that a guest is gone";
    SentWhileHalted = "sent-while-halted", "P1",
        ["coordinator/core/src/run/machine/wants.rs"],
        "a halt does not keep the command in flight from being sent again";
    GuardsUnheard = "guards-unheard", "P1",
        ["coordinator/core/src/run/machine/settle.rs"],
        "a rollback begins although a guard says that the old libvirt cannot read a guest";
    PidIsTheLife = "pid-is-the-life", "P1",
        ["agent/src/guests/pidfd.rs"],
        "a process with a guest's pid is the guest, whenever it was started";
    EveryDestructionIsTheOwners = "every-destruction-is-the-owners", "P1",
        ["agent/src/guests/attribution.rs"],
        "a guest that a starting libvirtd ended counts as ended by its owner";
    SilentSourceAgrees = "silent-source-agrees", "P1",
        ["agent/src/guests/census.rs"],
        "a source of the census that cannot be read does not keep the census from agreeing";
    AnyHostSpeaks = "any-host-speaks", "P1",
        ["common/identity/src/access.rs"],
        "one host's certificate speaks for another host's guests";
    TwiceUnseen = "twice-unseen", "P2",
        ["coordinator/core/src/run/machine/twice.rs"],
        "a guest on two hosts is not noticed";
    SecondProcessUnseen = "second-process-unseen", "P2",
        ["agent/src/guests/census.rs"],
        "two processes of one guest on one host are taken for one";
    GuardSeesNoUse = "guard-sees-no-use", "P3",
        ["agent/core/src/guard/action.rs"],
        "the guard lets an action write to what guests use";
    ScriptsUnread = "scripts-unread", "P3",
        ["agent/core/src/guard/mod.rs"],
        "the guard does not read the scripts of packages";
    FilesUnjudged = "files-unjudged", "P3",
        ["agent/core/src/guard/files.rs"],
        "the guard does not compare the files of packages with what guests use";
    WayBackUnguarded = "way-back-unguarded", "P3",
        ["agent/core/src/perform/begin.rs"],
        "the guard is not asked before a file is put back";
    AnyUnitStops = "any-unit-stops", "P3",
        ["agent/src/host/systemd/mod.rs"],
        "the agent may stop a unit that holds guests";
    SentBeforeDurable = "sent-before-durable", "P4",
        ["coordinator/core/src/run/machine/wants.rs"],
        "a command is wanted before its intent is durable";
    IntentUnwritten = "intent-unwritten", "P4",
        ["agent/core/src/perform/begin.rs"],
        "the agent acts without an intent in its ledger";
    AcceptedUnwritten = "accepted-unwritten", "P4",
        ["agent/core/src/perform/begin.rs"],
        "the agent says that it accepted a command before the intent is in its ledger";
    AppendUncommitted = "append-uncommitted", "P4",
        ["coordinator/src/store/journal.rs"],
        "the store says that records are durable before they are";
    ChainUnread = "chain-unread", "P4",
        ["coordinator/src/store/reading.rs"],
        "a journal is believed without its chain of hashes";
    AnyOutcomeIsTheFlights = "any-outcome-is-the-flights", "P5",
        ["coordinator/core/src/run/machine/intake.rs"],
        "the outcome of another command counts as that of the one in flight";
    SentTwiceOnALink = "sent-twice-on-a-link", "P5",
        ["coordinator/core/src/runs/linked.rs"],
        "a command goes out on the same link as often as it is looked at";
    OldLinksWordCounts = "old-links-word-counts", "P5",
        ["coordinator/core/src/runs/all.rs"],
        "what comes over a link that was replaced counts as the present link's";
    LedgerUnread = "ledger-unread", "P5",
        ["agent/core/src/perform/begin.rs", "agent/core/src/ledger/rules.rs"],
        "the agent does again what its ledger has the outcome of";
    OutcomeUnwritten = "outcome-unwritten", "P5",
        ["agent/core/src/perform/phases.rs"],
        "the agent answers with an outcome that is not in its ledger";
    TakenBackRedone = "taken-back-redone", "P5",
        ["agent/core/src/ledger/rules.rs"],
        "the agent carries out a command that comes after its own undo";
    DirectoryGivenFirst = "directory-given-first", "P5",
        ["agent/src/actions/ceph_own/pass.rs"],
        "the directory of a daemon is given to its new owner before the files in it: half done, it starts as neither";
    GateBeforeSkipped = "gate-before-skipped", "P6",
        ["coordinator/core/src/run/machine/questions.rs"],
        "a step begins without asking its gates";
    GateAfterSkipped = "gate-after-skipped", "P6",
        ["coordinator/core/src/run/machine/questions.rs"],
        "a step is done without asking its gates after it";
    OldAnswerCounts = "old-answer-counts", "P6",
        ["coordinator/core/src/run/machine/questions.rs"],
        "a gate passes on an answer from before it was asked, however old";
    AnyAnswerAnswers = "any-answer-answers", "P6",
        ["coordinator/core/src/run/machine/questions.rs"],
        "a late answer to an earlier question counts as the answer to this one";
    DisagreementPasses = "disagreement-passes", "P6",
        ["coordinator/core/src/gate/judge.rs"],
        "a gate passes on a census whose sources do not agree";
    NeedsForgotten = "needs-forgotten", "P6",
        ["coordinator/core/src/run/machine/block.rs"],
        "a step begins before what it needs";
    HeldStopsNobody = "held-stops-nobody", "P6",
        ["coordinator/core/src/run/machine/block.rs"],
        "further hosts start while a step is held";
    JobGateUnplanned = "job-gate-unplanned", "P6",
        ["coordinator/core/src/plan/host.rs"],
        "the planner lets libvirtd be restarted while a guest is being migrated";
    BorrowedForgotten = "borrowed-forgotten", "P7",
        ["coordinator/core/src/run/state/back.rs"],
        "what was borrowed is not given back at the end";
    GiveBackUnplanned = "give-back-unplanned", "P7",
        ["coordinator/core/src/plan/host.rs"],
        "the planner leaves out the steps that give back what is borrowed";
    EveryFlagIsOurs = "every-flag-is-ours", "P7",
        ["agent/src/actions/ceph_flags.rs"],
        "the agent takes a flag of the OSD map that the operator had set for one of its own";
    ThirdOwnerForgotten = "third-owner-forgotten", "P7",
        ["agent/src/actions/ceph_own/pass.rs"],
        "a file that was neither the old nor the new owner's is given to the old one on the way back";
    LatestRecordStands = "latest-record-stands", "P7",
        ["agent/core/src/ledger/rules.rs"],
        "a step that was tried twice is given back as the second try found it";
    RestoreForgotten = "restore-forgotten", "P7",
        ["agent/src/host/files/change.rs"],
        "the agent says that a file is as it was, and has not put it back";
    ForeignOverwritten = "foreign-overwritten", "P7",
        ["agent/src/host/files/change.rs"],
        "the agent puts a file back over what somebody else wrote since";
    DaemonsStayHeld = "daemons-stay-held", "P7",
        ["agent/src/actions/held.rs"],
        "the policy that keeps daemons still during a transaction is left standing";
    HoldNeedsNoApproval = "hold-needs-no-approval", "P8",
        ["coordinator/core/src/run/state/mod.rs"],
        "a hold that is reached counts as approved";
    HoldUnplanned = "hold-unplanned", "P8",
        ["coordinator/core/src/plan/order.rs"],
        "the planner names no hold before a libvirtd start without a way back";
    OldOsdsAreLeftBehind = "old-osds-are-left-behind", "P8",
        ["agent/src/actions/ceph_require.rs"],
        "the agent has the cluster require a release that an OSD that is down does not have";
    LeadsThoughDeposed = "leads-though-deposed", "P9",
        ["coordinator/core/src/run/machine/intake.rs"],
        "a higher epoch at an agent does not depose the coordinator";
    OldEpochIsAnOutcome = "old-epoch-is-an-outcome", "P9",
        ["coordinator/core/src/run/machine/intake.rs"],
        "an agent's refusal of an old epoch counts as the outcome of the later coordinator's command";
    LeadsAgain = "leads-again", "P9",
        ["coordinator/core/src/run/state/apply.rs"],
        "a coordinator leads with an epoch that its journal knows already";
    EpochNotRaised = "epoch-not-raised", "P9",
        ["coordinator/core/src/runs/epochs.rs"],
        "a coordinator that starts takes the epoch of the one before it";
    OvertakenWrites = "overtaken-writes", "P9",
        ["coordinator/core/src/runs/epochs.rs"],
        "the store takes records from a coordinator that another has overtaken";
    LaterEpochAdmitted = "later-epoch-admitted", "P9",
        ["coordinator/src/links/session.rs"],
        "a host that obeyed a later coordinator is welcomed by an earlier one";
    OldEpochObeyed = "old-epoch-obeyed", "P9",
        ["agent/core/src/ledger/rules.rs"],
        "the agent obeys an epoch below one that it has obeyed";
    OtherFleetsCertificate = "other-fleets-certificate", "P9",
        ["common/identity/src/tls/verify.rs"],
        "an agent believes a coordinator of another fleet's authority";
    GroupsNeedNotSettle = "groups-need-not-settle", "P6",
        ["common/ceph/src/settled.rs"],
        "a wave of OSDs counts as settled once they are up, whatever their placement groups are";
    OutageReportBelieved = "outage-report-believed", "P6",
        ["common/ceph/src/settled.rs"],
        "a group that was reported last during the outage, a member short, is not looked at";
    AgentAsksNoCluster = "agent-asks-no-cluster", "P10",
        ["agent/src/actions/ceph_safe.rs"],
        "the agent stops an OSD on the coordinator's word alone";
    OwnerAsksNoCluster = "owner-asks-no-cluster", "P10",
        ["agent/src/actions/ceph_own/outage.rs"],
        "a change of owner stops its daemon, there and back, and does not ask whether it may";
    WayBackAsksNoCluster = "way-back-asks-no-cluster", "P10",
        ["coordinator/core/src/plan/model.rs"],
        "a rollback stops daemons without asking whether they may";
    BootUnawaited = "boot-unawaited", "P10",
        ["agent/src/actions/ceph_daemon.rs"],
        "an OSD counts as started before the map has its boot, and the next one is judged by a map that calls it up";
    OneMoreDiskForgotten = "one-more-disk-forgotten", "P10",
        ["common/ceph/src/redundancy/need.rs"],
        "a placement group need keep no more copies than its pool's min_size asks for";
    IncompleteCopyCounts = "incomplete-copy-counts", "P10",
        ["common/ceph/src/redundancy/copies.rs"],
        "a copy that misses objects counts as a copy";
    DownElsewhereIsNothing = "down-elsewhere-is-nothing", "P10",
        ["common/ceph/src/redundancy/judge.rs"],
        "an OSD that is down elsewhere does not keep others from stopping";
    QuorumUncounted = "quorum-uncounted", "P10",
        ["common/ceph/src/quorum.rs"],
        "a MON may stop although the others are no quorum";
}

/// Whether this fault is planted.
#[cfg(not(feature = "planted-faults"))]
#[inline]
pub const fn is(_fault: Planted) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
pub use on::{Guard, VARIABLE, is, plant};

#[cfg(feature = "planted-faults")]
mod on {
    use super::Planted;
    use std::cell::Cell;
    use std::sync::OnceLock;

    /// Names the fault that is planted in the whole process. A program that holds this text was built to fail: `packaging/build.sh` and
    /// the tests of the programs look for it.
    pub const VARIABLE: &str = "REPLANK_PLANT";

    thread_local!(static HERE: Cell<Option<Planted>> = const { Cell::new(None) });

    /// Takes the fault out again when dropped.
    #[must_use]
    #[derive(Debug)]
    pub struct Guard(Option<Planted>);

    /// Plants a fault in this thread.
    pub fn plant(fault: Planted) -> Guard {
        Guard(HERE.replace(Some(fault)))
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }

    /// Whether this fault is planted: in this thread, or in the whole process.
    pub fn is(fault: Planted) -> bool {
        static EVERYWHERE: OnceLock<Option<String>> = OnceLock::new();
        HERE.get() == Some(fault)
            || EVERYWHERE.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(fault.name())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn nothing_is_planted_until_it_is_asked_for() {
            assert!(!Planted::ALL.iter().copied().any(is));
            {
                let _planted = plant(Planted::SentBeforeDurable);
                assert_eq!(
                    Planted::ALL.iter().copied().filter(|fault| is(*fault)).collect::<Vec<_>>(),
                    [Planted::SentBeforeDurable]
                );
            }
            assert!(!is(Planted::SentBeforeDurable));
        }
    }
}

#[cfg(all(test, not(feature = "planted-faults")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_nothing_is_planted() {
        const NONE: bool = is(Planted::SentBeforeDurable);
        const { assert!(!NONE) };
        assert!(!Planted::ALL.iter().copied().any(is));
    }
}
