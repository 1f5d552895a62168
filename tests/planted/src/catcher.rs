//! Which test catches which fault.

use replank_common::planted::Planted;
use std::fmt;

/// What catches a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catcher {
    /// Storms of the simulated fleet, one seed after the other.
    Storms,
    /// One test, which passes without the fault.
    Test(Test),
}

/// A test as its binary knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    pub package: &'static str,
    /// Of the folder `tests` of the package; `None`: beside the code.
    pub target: Option<&'static str>,
    pub name: &'static str,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, target, name } = self;
        match target {
            Some(target) => write!(f, "{package}::{target} {name}"),
            None => write!(f, "{package} {name}"),
        }
    }
}

const fn unit(package: &'static str, name: &'static str) -> Catcher {
    Catcher::Test(Test { package, target: None, name })
}

const fn integration(package: &'static str, target: &'static str, name: &'static str) -> Catcher {
    Catcher::Test(Test { package, target: Some(target), name })
}

const AGENT: &str = "replank-agent";
const AGENT_CORE: &str = "replank-agent-core";
const CEPH: &str = "replank-ceph";
const COORDINATOR: &str = "replank-coordinator";
const CORE: &str = "replank-core";
const IDENTITY: &str = "replank-identity";

/// What catches this fault.
pub const fn catcher(fault: Planted) -> Catcher {
    match fault {
        Planted::AnyLifeIsTheLife => {
            integration(CORE, "run", "guests::a_life_replaced_by_another_is_lost_although_the_guest_runs")
        }
        Planted::MovedIsAlive => {
            integration(CORE, "run", "guests::a_migration_by_the_owner_is_neither_a_loss_nor_a_double")
        }
        Planted::RebootIsNothing => {
            integration(CORE, "run", "guests::a_reboot_loses_every_guest_of_the_host_at_once")
        }
        Planted::OldAgentsCensus => {
            integration(CORE, "run", "guests::a_census_of_an_earlier_life_of_the_agent_is_past")
        }
        Planted::DisagreementProves => integration(
            CORE,
            "run",
            "guests::a_guest_that_a_census_which_does_not_agree_leaves_out_is_not_gone",
        ),
        Planted::AnyAnswerAnswers => {
            integration(CORE, "run", "guests::a_late_answer_to_an_earlier_question_is_no_answer_to_this_one")
        }
        Planted::OldAnswerCounts => integration(
            CORE,
            "run",
            "guests::an_answer_that_has_become_old_while_another_gate_waits_is_asked_for_again",
        ),
        Planted::PidIsTheLife => {
            unit(AGENT, "guests::pidfd::tests::a_handle_is_for_one_incarnation_and_tells_how_it_ended")
        }
        Planted::EveryDestructionIsTheOwners => unit(
            AGENT,
            "guests::attribution::tests::a_libvirtd_that_has_just_started_or_is_gone_does_not_vouch_for_a_destruction",
        ),
        Planted::SilentSourceAgrees => {
            unit(AGENT, "guests::census::tests::a_source_that_cannot_be_read_is_silent_and_accuses_nobody")
        }
        Planted::AnyHostSpeaks => unit(IDENTITY, "access::tests::a_host_speaks_for_itself_alone"),
        Planted::SecondProcessUnseen => {
            unit(AGENT, "guests::census::tests::two_processes_of_one_uuid_and_another_pid_are_seen")
        }
        Planted::AnyUnitStops => unit(AGENT, "host::systemd::tests::what_holds_a_guest_is_never_stopped"),
        Planted::AppendUncommitted => {
            unit(COORDINATOR, "store::journal::tests::a_journal_is_read_back_as_written")
        }
        Planted::ChainUnread => unit(COORDINATOR, "store::journal::tests::every_kind_of_damage_shows"),
        Planted::SentTwiceOnALink => {
            integration(CORE, "run", "runs::a_command_goes_out_once_on_each_link_under_the_same_id")
        }
        Planted::OldLinksWordCounts => {
            integration(CORE, "run", "runs::what_comes_over_an_older_link_is_past")
        }
        Planted::JobGateUnplanned | Planted::GiveBackUnplanned | Planted::HoldUnplanned => {
            integration(CORE, "planning", "lint::the_example_plans_are_clean")
        }
        Planted::EveryFlagIsOurs => {
            unit(AGENT, "actions::ceph_tests::flags_that_the_operator_had_set_stay_his")
        }
        Planted::OldOsdsAreLeftBehind => {
            unit(AGENT, "actions::ceph_tests::nothing_is_required_while_an_osd_that_exists_is_older")
        }
        Planted::AgentAsksNoCluster => {
            unit(AGENT, "actions::ceph_tests::nothing_stops_while_an_osd_elsewhere_is_down")
        }
        Planted::WayBackAsksNoCluster => {
            integration(CORE, "run", "operator::the_way_back_waits_until_daemons_may_stop")
        }
        Planted::BootUnawaited => unit(
            AGENT,
            "actions::ceph_tests::an_osd_that_boots_is_waited_for_and_one_that_cannot_is_left_to_the_gates",
        ),
        Planted::OwnerAsksNoCluster => {
            unit(AGENT, "actions::ceph_own::tests::the_way_back_stops_nothing_that_may_not_stop")
        }
        Planted::ThirdOwnerForgotten => unit(
            AGENT,
            "actions::ceph_own::tests::files_of_a_third_owner_are_remembered_and_too_many_are_refused",
        ),
        Planted::DirectoryGivenFirst => unit(
            AGENT,
            "actions::ceph_own::tests::after_a_crash_at_any_instant_the_daemon_starts_and_the_same_action_ends_it",
        ),
        Planted::OutageReportBelieved => integration(
            CEPH,
            "ceph",
            "settled::a_group_whose_last_report_is_from_the_outage_and_a_member_short_may_be_the_waves",
        ),
        Planted::DownElsewhereIsNothing => {
            integration(CEPH, "ceph", "safety::an_osd_that_is_down_outside_the_set_vetoes")
        }
        Planted::RestoreForgotten => unit(AGENT, "actions::sweep::editing_a_file"),
        Planted::ForeignOverwritten => {
            unit(AGENT, "actions::sweep::what_somebody_else_changed_since_is_not_given_back")
        }
        Planted::DaemonsStayHeld => {
            unit(AGENT, "actions::held::tests::the_operators_policy_is_set_aside_and_given_back")
        }
        Planted::LeadsThoughDeposed => integration(
            CORE,
            "run",
            "sweep::a_coordinator_that_meets_a_later_epoch_is_deposed_and_wants_nothing",
        ),
        Planted::OldEpochIsAnOutcome => integration(
            CORE,
            "fencing",
            "whatever_two_coordinators_do_the_earlier_one_is_obeyed_no_more_and_the_run_can_end",
        ),
        Planted::LeadsAgain => integration(CORE, "run", "sweep::an_older_coordinator_cannot_lead_again"),
        Planted::EpochNotRaised => unit(COORDINATOR, "store::database::tests::epochs_grow_over_openings"),
        Planted::OvertakenWrites => {
            unit(COORDINATOR, "store::journal::tests::an_overtaken_coordinator_writes_nothing")
        }
        Planted::LaterEpochAdmitted => integration(
            COORDINATOR,
            "links",
            "sessions::a_host_that_obeyed_a_later_coordinator_is_refused_and_no_other",
        ),
        Planted::OldEpochObeyed => unit(AGENT_CORE, "ledger::memory::tests::it_is_a_ledger"),
        Planted::IntentUnwritten | Planted::OutcomeUnwritten | Planted::LedgerUnread => unit(
            AGENT_CORE,
            "perform::tests::a_death_at_every_moment_is_gone_on_from_and_nothing_is_done_twice",
        ),
        Planted::AcceptedUnwritten => {
            unit(AGENT_CORE, "perform::tests::a_command_is_accepted_once_its_intent_is_durable")
        }
        Planted::TakenBackRedone => unit(
            AGENT_CORE,
            "perform::tests::a_command_that_comes_after_its_undo_is_not_begun_and_after_a_failed_one_its_record_stands",
        ),
        Planted::LatestRecordStands => {
            unit(AGENT, "ledger::file::tests::the_first_record_of_a_step_stands_until_it_is_taken_back")
        }
        Planted::OtherFleetsCertificate => {
            integration(IDENTITY, "tls", "handshake::parties_of_another_fleet_are_refused_on_both_sides")
        }
        Planted::EveryEndIsTheOwners
        | Planted::SentWhileHalted
        | Planted::GuardsUnheard
        | Planted::TwiceUnseen
        | Planted::GuardSeesNoUse
        | Planted::ScriptsUnread
        | Planted::FilesUnjudged
        | Planted::WayBackUnguarded
        | Planted::SentBeforeDurable
        | Planted::AnyOutcomeIsTheFlights
        | Planted::GateBeforeSkipped
        | Planted::GateAfterSkipped
        | Planted::DisagreementPasses
        | Planted::NeedsForgotten
        | Planted::HeldStopsNobody
        | Planted::BorrowedForgotten
        | Planted::HoldNeedsNoApproval
        | Planted::GroupsNeedNotSettle
        | Planted::OneMoreDiskForgotten
        | Planted::IncompleteCopyCounts
        | Planted::QuorumUncounted => Catcher::Storms,
    }
}
