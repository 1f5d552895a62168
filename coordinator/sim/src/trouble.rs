//! Bad moments: of a guest, a host, a coordinator, an operator.

use crate::ceph::OPERATORS_FLAGS;
use crate::fault::Fault;
use crate::fleet::{Death, Fleet, Happening};
use crate::host::KINDS;
use crate::promise::Promise;
use replank_common::action::Action;
use replank_common::census::{EndCause, GuestState};
use replank_common::ids::GuestUuid;
use replank_core::plan::{Stage, Step, Work};
use replank_core::run::Operate;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What meets a message, a link, an action or a death, and no moment.
macro_rules! of_no_moment {
    () => {
        Fault::MessageLost
            | Fault::MessageDoubled
            | Fault::MessageLate
            | Fault::MessageReordered
            | Fault::LinkBroken
            | Fault::AgentKilledBeforeAct
            | Fault::AgentKilledInAct
            | Fault::AgentKilledAfterAct
            | Fault::AgentKilledAfterLedger
            | Fault::CoordinatorTornTail
            | Fault::ActionSlow
            | Fault::ActionRefused
            | Fault::ActionFailed
            | Fault::ActionFailedHalfWay
            | Fault::ActionWithoutReply
            | Fault::DoneByHand
            | Fault::CoordinatorClockJumps
            | Fault::JournalConflict
            | Fault::PackageWouldHurt
    };
}

impl Fleet {
    /// One moment of some hosts; `late`: operators may give up from here on; `fleet_wide`: also what strikes the fleet as a whole.
    pub(crate) fn moment(&mut self, late: bool, fleet_wide: bool) {
        for fault in Fault::ALL {
            let patient = matches!(fault, Fault::OperatorAborts | Fault::OperatorRollsBack);
            let possible = (late || !patient)
                && !matches!(fault, of_no_moment!())
                && (fleet_wide || fault.is_of_a_host())
                && (self.ceph.is_some() || !fault.is_of_a_cluster());
            let before = self.told.as_ref().map_or(0, Vec::len);
            if possible && self.strikes(*fault) && self.trouble(*fault) {
                self.injected(*fault);
                // The cause is told before what it led to at once.
                if let Some(told) = &mut self.told {
                    told[before..].rotate_right(1);
                }
            }
        }
    }

    /// Whether it could be done.
    fn trouble(&mut self, fault: Fault) -> bool {
        let host = usize::try_from(self.below(self.hosts.len() as u64)).unwrap_or(0);
        let now = self.now;
        let span = 2_000 + self.below(60_000);
        self.about(host);
        self.say_of(host, format!("trouble: {fault}"));
        match fault {
            Fault::PartitionedBothWays => {
                (self.hosts[host].deaf_until, self.hosts[host].mute_until) = (now + span, now + span);
                self.silence(host);
            }
            Fault::PartitionedToAgent => {
                self.hosts[host].deaf_until = now + span;
                self.silence(host);
            }
            Fault::PartitionedToCoordinator => {
                self.hosts[host].mute_until = now + span;
                self.silence(host);
            }
            Fault::AgentKilled => {
                if !self.hosts[host].agent_up {
                    return false;
                }
                self.agent_dies(host);
            }
            Fault::CoordinatorKilled => {
                self.doom_coordinator();
                // Counted when it dies.
                return false;
            }
            Fault::SecondCoordinator => return self.depose_coordinator(),
            Fault::HostPoweredOff => return self.power_off(host, Some(60_000 + span)),
            Fault::HostRebooted => return self.power_off(host, Some(5_000)),
            Fault::HostNeverBack => return self.power_off(host, None),
            Fault::HostClockJumps => {
                let jump = self.below(7_200_000);
                self.hosts[host].skew_ms = i64::try_from(jump).unwrap_or(0) - 3_600_000;
            }
            Fault::LedgerDiskFull => {
                self.hosts[host].disk_full_until = now + span;
                // Counted when an action meets it.
                return false;
            }
            Fault::StoreDiskFull => self.store_full_until = now + span / 4,
            Fault::GuestEndedByOwner => return self.end_some(host, EndCause::GuestShutdown),
            Fault::GuestCrashed => return self.crash(host),
            Fault::GuestStarted => {
                self.next_guest += 1;
                let uuid = GuestUuid(Uuid::from_u128(self.next_guest));
                if !self.hosts[host].powered {
                    return false;
                }
                self.hosts[host].start_guest(uuid, GuestState::Running);
                self.push_census(host);
            }
            Fault::GuestMigrated => return self.migrate(host, 0),
            Fault::GuestMigratedSeenTwice => return self.migrate(host, 500 + span % 2_000),
            Fault::GuestTwice => return self.migrate(host, 30_000 + span),
            Fault::CensusDisagrees => {
                self.hosts[host].disagrees_since.get_or_insert(now);
                self.hosts[host].hides_a_guest = span.is_multiple_of(2);
            }
            Fault::GuestJob => {
                self.hosts[host].job_since.get_or_insert(now);
            }
            Fault::GuestUsesIt => return self.a_guest_uses_something(),
            Fault::WayBackClosed => self.hosts[host].things.way_back_closed ^= true,
            Fault::OperatorPauses => return self.wish(Operate::Pause),
            Fault::OperatorResumes => return self.wish(Operate::Resume { acknowledged: Vec::new() }),
            Fault::OperatorAborts => return self.wish(Operate::Abort),
            Fault::OperatorRollsBack => {
                let to = [None, None, Some(Stage::Install), Some(Stage::Keep)];
                let to = to[usize::try_from(self.below(4)).unwrap_or(0)];
                return self.wish(Operate::Rollback { to });
            }
            Fault::OperatorApproves => {
                let index = self.index.clone();
                let holds = &index.plan().holds;
                let at = usize::try_from(self.below(holds.len() as u64)).unwrap_or(0);
                return holds
                    .get(at)
                    .is_some_and(|hold| self.wish(Operate::Approve { hold: hold.id.clone() }));
            }
            Fault::OperatorRetries => {
                let index = self.index.clone();
                let steps = &index.plan().steps;
                let at = usize::try_from(self.below(steps.len() as u64)).unwrap_or(0);
                return steps.get(at).is_some_and(|step| self.wish(Operate::Retry { step: step.id.clone() }));
            }
            Fault::OperatorAsksOldCoordinator => {
                let wishes = [Operate::Pause, Operate::Resume { acknowledged: Vec::new() }, Operate::Abort];
                let mut wishes: Vec<Operate> = wishes.into();
                let reached = self.watcher.reached.first().cloned();
                wishes.extend(reached.map(|hold| Operate::Approve { hold }));
                let at = usize::try_from(self.below(wishes.len() as u64)).unwrap_or(0);
                return self.ask_the_old_one(wishes.swap_remove(at));
            }
            of_no_moment!() => return false,
            Fault::OsdDies
            | Fault::OsdNeverBack
            | Fault::OsdDoesNotStart
            | Fault::OsdFull
            | Fault::MonDies
            | Fault::MonDoesNotRejoin
            | Fault::QuorumLost
            | Fault::ClusterSilent
            | Fault::GroupsUnknown
            | Fault::RecoverySlow
            | Fault::ScrubLong
            | Fault::OperatorSetsFlag
            | Fault::OperatorUnsetsFlag => return self.trouble_of_the_cluster(fault, span),
        }
        true
    }

    /// What is at work already has been judged: a guest comes to it only while nothing is.
    fn a_guest_uses_something(&mut self) -> bool {
        let index = self.index.clone();
        let steps = &index.plan().steps;
        let at = usize::try_from(self.below(steps.len() as u64)).unwrap_or(0);
        let Some(Step { host, work, .. }) = steps.get(at) else { return false };
        let Work::Act(action) = &**work else { return false };
        let way = self.aside_below(12);
        let host = &mut self.hosts[self.names[host]];
        !host.guests.is_empty() && !host.is_half_done() && host.site.use_it(action, way)
    }

    /// Before the run: ten times as often as at a moment later on, for packages are fetched early.
    pub(crate) fn offered_before(&mut self) {
        for host in 0..self.hosts.len() {
            if self.aside_below(100) < u64::from(self.profile.chance(Fault::PackageWouldHurt)) {
                self.offer(host);
            }
        }
    }

    fn offer(&mut self, host: usize) {
        let kind = usize::try_from(self.aside_below(KINDS as u64)).unwrap_or(0);
        self.hosts[host].site.offers(kind);
        self.about(host);
        self.say_of(host, format!("is offered a package that would hurt, of kind {kind}"));
        self.injected(Fault::PackageWouldHurt);
    }

    /// What guests and packages do by themselves, of the chance that is apart: a package that would hurt comes along with the others, and
    /// a guest loads what it had not loaded yet.
    pub(crate) fn moment_aside(&mut self) {
        let host = usize::try_from(self.aside_below(self.hosts.len() as u64)).unwrap_or(0);
        if self.strikes_aside(Fault::PackageWouldHurt) {
            self.offer(host);
        }
        let guest = usize::try_from(self.aside_below(64)).unwrap_or(0);
        self.hosts[host].site.loads(guest);
        self.hurt_nobody(host);
    }

    /// Owners end the guests that keep a tree from being removed.
    pub(crate) fn clear_the_way(&mut self, host: usize) {
        for guest in self.hosts[host].site.stand_in_the_way() {
            self.hosts[host].end_guest(guest, EndCause::GuestShutdown, self.now);
        }
    }

    pub(crate) fn everybody_loads(&mut self) {
        for host in 0..self.hosts.len() {
            self.hosts[host].site.everybody_loads();
            self.hurt_nobody(host);
        }
    }

    /// P3: whoever loads what it may load finds it.
    pub(crate) fn hurt_nobody(&mut self, host: usize) {
        let ended = self.hosts[host].those_who_ended(self.now);
        self.judge.check(Promise::P3, ended.is_empty(), || format!("an action ended {}", ended.join(", ")));
    }

    /// Whether it could be done, or will be met: what is met is counted then.
    fn trouble_of_the_cluster(&mut self, fault: Fault, span: u64) -> bool {
        let some = self.below(1 << 32);
        let borrowed = self.borrowed_flags();
        let Some(cluster) = self.cluster() else { return false };
        let Some(osd) = cluster.layout.some_osd(some) else { return false };
        let mons = cluster.layout.mons.len();
        let mon = usize::try_from(some).unwrap_or(0).checked_rem(mons).unwrap_or(0);
        let flag = usize::try_from(some).unwrap_or(0) % OPERATORS_FLAGS.len();
        match fault {
            Fault::OsdDies => cluster.osd_crashes(osd, span),
            Fault::OsdNeverBack => cluster.osd_is_destroyed(osd),
            Fault::OsdFull => cluster.disk_fills(osd),
            Fault::MonDies => cluster.mon_crashes(mon, span),
            Fault::QuorumLost => {
                (0..=mons / 2).filter(|at| cluster.mon_crashes((mon + at) % mons, span)).count() > mons / 2
            }
            Fault::OperatorSetsFlag => {
                !borrowed.contains(OPERATORS_FLAGS[flag])
                    && cluster.operator_sets(OPERATORS_FLAGS[flag], true)
            }
            Fault::OperatorUnsetsFlag => cluster.operator_sets(OPERATORS_FLAGS[flag], false),
            Fault::RecoverySlow => cluster.recovery_slows(span),
            Fault::ScrubLong => cluster.scrubs_take_long(span),
            Fault::GroupsUnknown => cluster.knows_no_groups(span),
            Fault::ClusterSilent => cluster.falls_silent(span),
            Fault::OsdDoesNotStart => cluster.osd_will_not_start(osd),
            Fault::MonDoesNotRejoin => cluster.mon_will_not_rejoin(mon),
            _ => false,
        }
    }

    /// Flags that a run has recorded as its own and has not given back. Their setting is left to it: nobody could tell whether the operator wants one too that is set,
    /// and one that he sets between the agent's look and its own setting is lost with ours. Nothing can be done about it, so he does not.
    fn borrowed_flags(&self) -> BTreeSet<&'static str> {
        let borrows = |step: &&Step| matches!(&*step.work, Work::Act(Action::CephFlags(_)));
        let steps = self.index.plan().steps.iter().filter(borrows);
        steps
            .flat_map(|step| self.hosts[self.names[&step.host]].borrowed_flags(&self.run, &step.id))
            .collect()
    }

    /// Before the run: here and there an operator has done what a step would do.
    pub(crate) fn done_by_hand(&mut self) {
        let index = self.index.clone();
        for step in &index.plan().steps {
            if let Work::Act(action) = &*step.work
                && self.strikes(Fault::DoneByHand)
                && self.hosts[self.names[&step.host]].things.do_by_hand(action)
            {
                let host = self.names[&step.host];
                self.hosts[host].site.done_by_hand(action);
                if let (Action::PackagesInstall(_), Some(cluster)) = (action, &mut self.ceph) {
                    let to = cluster.layout.to.clone();
                    cluster.install(host, &to);
                }
                self.about(host);
                self.injected(Fault::DoneByHand);
            }
        }
        if self.ceph.is_some() {
            for flag in &OPERATORS_FLAGS[..3] {
                // More often than at some moment of a voyage: it is before the run that it is forgotten.
                let sets = (0..8).any(|_| self.strikes(Fault::OperatorSetsFlag));
                if sets && self.cluster().is_some_and(|cluster| cluster.operator_sets(flag, true)) {
                    self.injected(Fault::OperatorSetsFlag);
                }
            }
        }
    }

    /// A wish at a bad moment may well be refused; it must not break anything.
    fn wish(&mut self, command: Operate) -> bool {
        let asked = self.leads.is_some();
        drop(self.operate(command));
        asked
    }

    /// What passes by itself.
    pub(crate) fn mend(&mut self, host: usize) {
        let at = &mut self.hosts[host];
        (at.job_since, at.disagrees_since) = (None, None);
        at.site.mend(self.quiet);
        self.hurt_nobody(host);
        self.clear_the_way(host);
        if let Some(cluster) = self.cluster() {
            cluster.mends_in_time();
        }
        self.push_census(host);
    }

    fn power_off(&mut self, host: usize, back_after: Option<u64>) -> bool {
        if !self.hosts[host].powered {
            return false;
        }
        let guests: Vec<GuestUuid> = self.hosts[host].guests.keys().copied().collect();
        if back_after.is_some() {
            for guest in guests {
                self.note_death(host, guest);
            }
        }
        if let Some(cluster) = self.cluster() {
            cluster.machine_goes(host, back_after.is_none());
        }
        self.hosts[host].loses_power();
        self.silence(host);
        if let Some(after) = back_after {
            self.at(after, Happening::PowerReturns { host });
        }
        true
    }

    /// Only a guest that the run answers for counts: its baseline is in the journal, and no end is.
    fn note_death(&mut self, host: usize, guest: GuestUuid) {
        let (at, Some(machine)) = (&self.hosts[host], self.machine()) else { return };
        let state = machine.state();
        let (Some(seen), Some(life)) = (state.host(&at.name), at.guests.get(&guest)) else { return };
        let watched = seen.watch.as_ref().is_some_and(|watch| watch.watches(guest, life.incarnation));
        if watched && !seen.baseline_due && state.finished().is_none() {
            self.deaths.push(Death { at_ms: self.now, host, guest });
        }
    }

    fn crash(&mut self, host: usize) -> bool {
        let Some(guest) = self.hosts[host].guests.keys().next().copied() else { return false };
        self.note_death(host, guest);
        let known = "killed by signal 9".to_owned();
        self.hosts[host].end_guest(guest, EndCause::Unattributed { known }, self.now);
        true
    }

    fn end_some(&mut self, host: usize, cause: EndCause) -> bool {
        let Some(guest) = self.hosts[host].guests.keys().last().copied() else { return false };
        self.hosts[host].end_guest(guest, cause, self.now);
        self.push_census(host);
        true
    }

    /// Both ends are active for a while; `overlap_ms` 0: libvirt keeps one end paused all the time.
    pub(crate) fn migrate(&mut self, from: usize, overlap_ms: u64) -> bool {
        let to = (from + 1) % self.hosts.len();
        let Some(guest) = self.hosts[from].guests.keys().last().copied() else { return false };
        let there = self.hosts[to].guests.contains_key(&guest);
        if to == from || there || !self.hosts[to].powered || self.twins.contains(&guest) {
            return false;
        }
        if overlap_ms == 0 {
            let paused = GuestState::Paused("migration".to_owned());
            if let Some(source) = self.hosts[from].guests.get_mut(&guest) {
                source.state = paused;
            }
        } else {
            self.twins.insert(guest);
        }
        self.hosts[to].start_guest(guest, GuestState::Running);
        self.push_census(to);
        self.at(overlap_ms.max(200), Happening::MoveEnds { host: from, guest });
        true
    }

    pub(crate) fn move_ends(&mut self, host: usize, guest: GuestUuid) {
        self.say_of(host, format!("{guest} has gone"));
        self.hosts[host].end_guest(guest, EndCause::Migrated, self.now);
        self.push_census(host);
    }
}
