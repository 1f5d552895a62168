//! What befalls a cluster by itself, by its machines and by its operator; and what passes again.

use super::{Cluster, Event};
use replank_ceph::OsdId;

/// What an operator sets for reasons of his own: the first three beforehand too, the others hold up a cluster that mends itself.
pub(crate) const OPERATORS_FLAGS: [&str; 5] = ["noout", "noscrub", "nodeep-scrub", "norecover", "nobackfill"];

impl Cluster {
    /// Whether it ran. It is started again after a while.
    pub(crate) fn osd_crashes(&mut self, osd: OsdId, back_after_ms: u64) -> bool {
        if !self.osd(osd).running {
            return false;
        }
        self.osd_dies(osd);
        let life = self.osd(osd).life;
        self.at(back_after_ms, Event::Returns { osd, life });
        true
    }

    /// Whether there was a disk to break.
    pub(crate) fn osd_is_destroyed(&mut self, osd: OsdId) -> bool {
        if self.osd(osd).destroyed {
            return false;
        }
        self.blame_lives(osd);
        self.osd_dies(osd);
        self.osd_mut(osd).destroyed = true;
        for group in &mut self.groups {
            group.copies.remove(&osd);
        }
        true
    }

    /// Each group that it serves has had a misfortune that is not of our making.
    pub(super) fn blame_lives(&mut self, osd: OsdId) {
        for group in &mut self.groups {
            if group.copies.contains_key(&osd) {
                group.misfortunes.insert(osd);
            }
        }
    }

    pub(crate) fn mon_crashes(&mut self, mon: usize, back_after_ms: u64) -> bool {
        let Some(at) = self.mons.get_mut(mon).filter(|at| at.running) else { return false };
        at.ended_itself |= at.joined;
        self.mon_ends(mon);
        let life = self.mons[mon].life;
        self.at(back_after_ms, Event::MonReturns { mon, life });
        true
    }

    pub(super) fn mon_returns(&mut self, mon: usize, life: u64) {
        if self.mons[mon].life == life {
            self.start_mon(mon);
        }
    }

    /// The machine is without power, for good if `for_good`.
    pub(crate) fn machine_goes(&mut self, host: usize, for_good: bool) {
        for osd in self.ids().filter(|osd| self.osd(*osd).host == host).collect::<Vec<_>>() {
            if for_good {
                self.osd_is_destroyed(osd);
            } else {
                self.osd_dies(osd);
            }
            self.osd_mut(osd).powered = false;
        }
        for mon in 0..self.mons.len() {
            if self.mons[mon].host == host {
                let at = &mut self.mons[mon];
                at.powered = false;
                at.ended_itself |= at.joined;
                self.mon_ends(mon);
            }
        }
        for mgr in 0..self.mgrs.len() {
            if self.mgrs[mgr].host == host {
                self.mgr_ends(mgr);
            }
        }
        for other in self.others.iter_mut().filter(|other| other.host == host) {
            other.running = false;
        }
    }

    pub(crate) fn machine_returns(&mut self, host: usize) {
        for osd in self.ids().filter(|osd| self.osd(*osd).host == host).collect::<Vec<_>>() {
            self.osd_mut(osd).powered = true;
            self.start_osd(osd);
        }
        for mon in 0..self.mons.len() {
            if self.mons[mon].host == host {
                self.mons[mon].powered = true;
                self.start_mon(mon);
            }
        }
        for mgr in 0..self.mgrs.len() {
            if self.mgrs[mgr].host == host {
                self.start_mgr(mgr);
            }
        }
        for other in 0..self.others.len() {
            if self.others[other].host == host {
                self.start_other(other);
            }
        }
    }

    /// The next time that it is started, it does not run; counted then.
    pub(crate) fn osd_will_not_start(&mut self, osd: OsdId) -> bool {
        self.osd_mut(osd).stuck = true;
        false
    }

    /// The next time that it is started, it finds nobody; counted then.
    pub(crate) fn mon_will_not_rejoin(&mut self, mon: usize) -> bool {
        if let Some(mon) = self.mons.get_mut(mon) {
            mon.stuck = true;
        }
        false
    }

    /// Counted when something finds no room.
    pub(crate) fn disk_fills(&mut self, osd: OsdId) -> bool {
        self.osd_mut(osd).full = true;
        false
    }

    /// Counted when something is made whole meanwhile.
    pub(crate) fn recovery_slows(&mut self, span_ms: u64) -> bool {
        self.slow_until = self.now + span_ms;
        false
    }

    /// Counted when one begins.
    pub(crate) fn scrubs_take_long(&mut self, span_ms: u64) -> bool {
        self.long_scrubs_until = self.now + span_ms;
        false
    }

    /// Counted when somebody asks.
    pub(crate) fn knows_no_groups(&mut self, span_ms: u64) -> bool {
        self.groups_known_from = self.groups_known_from.max(self.now + span_ms);
        false
    }

    /// Counted when somebody asks.
    pub(crate) fn falls_silent(&mut self, span_ms: u64) -> bool {
        self.silent_until = self.now + span_ms;
        false
    }

    /// The run sets a flag, or gives it back. Whether anything was changed.
    pub(crate) fn sets(&mut self, flag: &str, set: bool) -> bool {
        let changed = self.flags.put(flag, set);
        if changed {
            self.map_changes();
            self.mend_groups();
        }
        changed
    }

    /// Whether he changed anything.
    pub(crate) fn operator_sets(&mut self, flag: &str, set: bool) -> bool {
        let changed = self.flags.put_by_operator(flag, set);
        if changed {
            self.map_changes();
            self.mend_groups();
        }
        changed
    }

    /// Sooner or later, what passes by itself, or an operator mends when he is told.
    pub(crate) fn mends_in_time(&mut self) {
        if self.between(0, 11) == 0 {
            self.mends();
        }
    }

    fn mends(&mut self) {
        for osd in self.ids() {
            let at = self.osd_mut(osd);
            (at.stuck, at.full) = (false, false);
        }
        for mon in &mut self.mons {
            mon.stuck = false;
        }
        for flag in ["norecover", "nobackfill"] {
            if self.flags.has(flag) {
                self.operator_sets(flag, false);
            }
        }
        self.mend_groups();
    }

    /// Nothing new goes wrong: what is dead and can run is started, and what is dead for good is taken out of the map.
    pub(crate) fn is_cared_for(&mut self) {
        (self.silent_until, self.slow_until, self.long_scrubs_until) = (0, 0, 0);
        self.groups_known_from = self.groups_known_from.min(self.now + 10_000);
        self.mends();
        for osd in self.ids() {
            if self.osd(osd).destroyed && !self.osd(osd).removed && self.has_quorum() {
                let at = self.osd_mut(osd);
                (at.up, at.placed, at.removed) = (false, false, true);
                self.map_changes();
            } else {
                self.start_osd(osd);
            }
        }
        for mon in 0..self.mons.len() {
            self.start_mon(mon);
        }
        for mgr in 0..self.mgrs.len() {
            self.start_mgr(mgr);
        }
        for other in 0..self.others.len() {
            self.start_other(other);
        }
    }
}
