//! P10, judged by what is true: whoever stops a daemon leaves enough complete copies and a quorum, and loses nobody's write.
//!
//! | what the judge counts | why |
//! | --- | --- |
//! | members that have every acknowledged write, run, and are not stopped | what the cluster reported is for the run and the agent to doubt |
//! | OSDs that died by themselves, and are still up in the map | nobody can know of them yet |
//! | MONs that died by themselves, and that the others still count in quorum, started again meanwhile or not | the same |
//!
//! A write is lost by us when fewer members died by themselves than a group that was stopped safely can bear.

use super::layout::enough_to_read;
use super::{Cluster, Daemons};
use crate::promise::{Judge, Promise};
use replank_ceph::OsdId;
use replank_ceph::quorum::majority;
use replank_common::action::Action;
use replank_common::ceph::CephDaemon;
use replank_common::version::Version;
use replank_core::gate::Gate;
use replank_core::plan::{Step, Work};
use std::collections::BTreeSet;

impl Cluster {
    /// Stops daemons by an act of ours. `by`: whose.
    pub(crate) fn stop_by_us(&mut self, daemons: &Daemons, by: &str, judge: &mut Judge) {
        let stopping: BTreeSet<OsdId> =
            daemons.osds.iter().filter(|osd| self.osd(**osd).running).copied().collect();
        for group in &self.groups {
            let served = group.serving().any(|osd| stopping.contains(&osd));
            if !served {
                continue;
            }
            let unnoticed = |osd: OsdId| self.osd(osd).up && !self.osd(osd).running;
            let counts = |osd: &OsdId| {
                !stopping.contains(osd) && group.is_whole(*osd) && (self.osd(*osd).running || unnoticed(*osd))
            };
            let left = group.serving().filter(counts).count();
            let keep = self.layout.keep(&self.layout.pools[group.pool]);
            judge.check(Promise::P10, left >= keep, || {
                let osds: Vec<String> = stopping.iter().map(ToString::to_string).collect();
                let osds = osds.join(", ");
                format!("{by} stops {osds}, and {} keeps {left} of {keep} complete copies", group.id)
            });
        }
        let goes = |mon: &str| daemons.mons.contains(mon);
        if self.mons.iter().any(|mon| mon.running && goes(&mon.name)) {
            let stays = |mon: &&usize| {
                let at = &self.mons[**mon];
                !goes(&at.name) && ((at.running && at.joined) || at.ended_itself)
            };
            let (left, needed) = (self.quorum.iter().filter(stays).count(), majority(self.mons.len()));
            judge.check(Promise::P10, left >= needed, || {
                let mons: Vec<&str> = daemons.mons.iter().map(String::as_str).collect();
                format!("{by} stops mon.{}, and {left} of {needed} are left in quorum", mons.join(", mon."))
            });
        }
        self.stop(daemons);
    }

    /// No acknowledged write is lost by us.
    pub(crate) fn check_writes(&self, judge: &mut Judge) {
        for group in &self.groups {
            let pool = &self.layout.pools[group.pool];
            let bearable = self.layout.keep(pool).saturating_sub(enough_to_read(pool));
            let by_us = group.is_lost(pool) && group.misfortunes.len() <= bearable && bearable > 0;
            judge.check(Promise::P10, !by_us, || {
                let died: Vec<String> = group.misfortunes.iter().map(ToString::to_string).collect();
                format!("acknowledged writes to {} are lost; died by itself: {}", group.id, died.join(", "))
            });
        }
    }

    /// OSDs whose disk is gone, groups that nothing makes whole again, and what the cluster says of these: what may hold a run for good, by name.
    pub(crate) fn beyond_mending(&self) -> Vec<String> {
        let gone = self.ids().filter(|osd| self.osd(*osd).destroyed).map(|osd| osd.to_string());
        let unmended = self.groups.iter().filter(|group| !group.is_clean()).map(|group| group.id.to_string());
        let gone: Vec<String> = gone.collect();
        if gone.is_empty() {
            return Vec::new();
        }
        // A gate that asks for the cluster's health names what the cluster complains of.
        let complaints = self.health().into_iter().filter_map(|reason| reason.check);
        gone.into_iter().chain(unmended).chain(complaints.filter(|check| check.starts_with("PG_"))).collect()
    }

    /// P6: what the gates after a step that is done have said is so, or has been so.
    pub(crate) fn check_gates(&self, step: &Step, judge: &mut Judge) {
        for gate in &step.after {
            match (gate, &*step.work) {
                (Gate::OsdsSettled { osds, version, .. }, _) => self.check_settled(osds, version, judge),
                (Gate::MonsInQuorum { mons, .. }, Work::Act(Action::CephRestart(restart))) => {
                    // Of the others, which the gate may name too, the step says nothing new.
                    let own = |mon: &&String| restart.daemons.contains(&CephDaemon::mon((*mon).clone()));
                    let own: Vec<String> = mons.iter().filter(own).cloned().collect();
                    self.check_joined(&own, &restart.expect, judge);
                }
                (Gate::Required { what, .. }, _) => judge.check(Promise::P6, self.required.has(what), || {
                    format!("{} is done, and the cluster does not require it", step.id)
                }),
                _ => {}
            }
        }
    }

    /// P6: a restart that counts as done is one. Each OSD has been up as `version`, and each group of it clean since.
    fn check_settled(&self, osds: &[u32], version: &Version, judge: &mut Judge) {
        for id in osds.iter().copied().map(OsdId) {
            let osd = self.osd(id);
            judge.check(Promise::P6, osd.booted == *version, || {
                format!("{id} counts as settled, and never was up as {version}")
            });
            for group in self.groups.iter().filter(|group| group.up.contains(&Some(id))) {
                judge.check(Promise::P6, group.clean_epoch >= osd.renewed, || {
                    format!("{id} counts as settled, and {} has not been clean since", group.id)
                });
            }
        }
    }

    /// P6: a MON that counts as back has joined the others as `version`.
    fn check_joined(&self, mons: &[String], version: &Version, judge: &mut Judge) {
        for mon in self.mons.iter().filter(|mon| mons.contains(&mon.name)) {
            judge.check(Promise::P6, mon.joined_as == *version, || {
                format!("mon.{} counts as back, and never joined as {version}", mon.name)
            });
        }
    }

    /// P8: no point of no return before every OSD that exists is `version`.
    pub(crate) fn check_all_are(&self, version: &Version, by: &str, judge: &mut Judge) {
        let older = self.ids().find(|osd| !self.osd(*osd).removed && self.osd(*osd).booted != *version);
        judge.check(Promise::P8, older.is_none(), || {
            format!("{by}, and {} is of another release", older.unwrap_or(OsdId(0)))
        });
    }

    /// P7: flags are as the operator left them, and settings, which he never touches, as they were.
    pub(crate) fn check_given_back(&self, judge: &mut Judge) {
        let left: Vec<&str> = self.config.keys().map(|(_, name)| name.as_str()).collect();
        judge.check(Promise::P7, left.is_empty(), || {
            format!("settings of the cluster are not given back: {}", left.join(", "))
        });
        let wrong = self.flags.not_as_left();
        judge.check(Promise::P7, wrong.is_empty(), || {
            format!("flags are not as the operator left them: {}", wrong.join(", "))
        });
    }
}
