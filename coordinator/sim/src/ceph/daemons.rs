//! Daemons: processes that run or do not, and what the MONs have noticed of it.

use super::layout::Seated;
use super::{Cluster, Event};
use crate::fault::Fault;
use replank_ceph::OsdId;
use replank_ceph::quorum::majority;
use replank_common::ceph::CephDaemon;
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// Nobody hears of an OSD for so long before it is down in the map (`osd_heartbeat_grace`).
pub(super) const GRACE_MS: u64 = 20_000;
/// A MON that does not answer is found out within this (`mon_lease` and its acknowledgements).
pub(super) const LEASE_MS: u64 = 15_000;
/// `mon_osd_down_out_interval`.
const DOWN_OUT_MS: u64 = 600_000;
const REPORT_MS: u64 = 5_000;

#[derive(Debug, Clone)]
pub(super) struct Osd {
    pub(super) host: usize,
    pub(super) running: bool,
    /// Counts its starts and ends.
    pub(super) life: u64,
    /// Of the process that runs, or ran last.
    pub(super) version: Version,
    /// At its last boot: what the cluster knows.
    pub(super) booted: Version,
    /// The epoch at which it first was up with that version.
    pub(super) renewed: u32,
    /// In the map.
    pub(super) up: bool,
    pub(super) placed: bool,
    pub(super) up_from: u32,
    /// Its disk is gone for good.
    pub(super) destroyed: bool,
    /// It was taken out of the map.
    pub(super) removed: bool,
    /// While set, it does not start.
    pub(super) stuck: bool,
    /// While set, what it misses finds no room.
    pub(super) full: bool,
    pub(super) report_due: bool,
    /// A machine without power, or an operator, keeps it from starting.
    pub(super) powered: bool,
}

impl Osd {
    pub(super) fn new(host: usize, version: Version) -> Self {
        Self {
            host,
            running: true,
            life: 0,
            version: version.clone(),
            booted: version,
            renewed: 0,
            up: true,
            placed: true,
            up_from: 50,
            destroyed: false,
            removed: false,
            stuck: false,
            full: false,
            report_due: false,
            powered: true,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Mon {
    pub(super) host: usize,
    pub(super) name: String,
    pub(super) running: bool,
    pub(super) life: u64,
    pub(super) version: Version,
    /// While set, it runs and finds nobody.
    pub(super) stuck: bool,
    pub(super) powered: bool,
    /// It runs and has found the others.
    pub(super) joined: bool,
    /// What it was when it joined last.
    pub(super) joined_as: Version,
    /// It was a member and ended by itself; until it is one again, or the others have missed it, nobody can know.
    pub(super) ended_itself: bool,
}

impl Mon {
    pub(super) fn new(seat: &Seated, version: Version) -> Self {
        Self {
            host: seat.host,
            name: seat.name.clone(),
            running: true,
            life: 0,
            joined_as: version.clone(),
            version,
            stuck: false,
            powered: true,
            joined: true,
            ended_itself: false,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Mgr {
    pub(super) host: usize,
    pub(super) name: String,
    pub(super) running: bool,
    pub(super) version: Version,
}

impl Mgr {
    pub(super) fn new(seat: &Seated, version: Version) -> Self {
        Self { host: seat.host, name: seat.name.clone(), running: true, version }
    }
}

/// An MDS or a gateway: its clients find another one meanwhile.
#[derive(Debug, Clone)]
pub(super) struct Other {
    pub(super) daemon: CephDaemon,
    pub(super) host: usize,
    pub(super) running: bool,
    pub(super) version: Version,
}

/// Daemons of some machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Daemons {
    pub(crate) osds: BTreeSet<OsdId>,
    pub(crate) mons: BTreeSet<String>,
    pub(crate) mgrs: BTreeSet<String>,
    /// MDS and gateways.
    pub(crate) others: BTreeSet<CephDaemon>,
}

impl Daemons {
    /// As [`Cluster::running`] has them.
    pub(crate) fn names(&self) -> Vec<String> {
        let osds = self.osds.iter().map(ToString::to_string);
        let mons = self.mons.iter().map(|mon| format!("mon.{mon}"));
        let mgrs = self.mgrs.iter().map(|mgr| format!("mgr.{mgr}"));
        osds.chain(mons).chain(mgrs).chain(self.others.iter().map(ToString::to_string)).collect()
    }
}

impl Cluster {
    pub(super) fn osd(&self, osd: OsdId) -> &Osd {
        &self.osds[&osd]
    }

    pub(super) fn osd_mut(&mut self, osd: OsdId) -> &mut Osd {
        self.osds.get_mut(&osd).expect("an OSD of the layout")
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = OsdId> + use<> {
        let ids: Vec<OsdId> = self.osds.keys().copied().collect();
        ids.into_iter()
    }

    pub(super) fn has_quorum(&self) -> bool {
        !self.election_due && self.live_quorum() >= majority(self.mons.len())
    }

    /// Members that answer, whatever the others believe.
    pub(super) fn live_quorum(&self) -> usize {
        self.quorum.iter().filter(|mon| self.mons[**mon].running && self.mons[**mon].joined).count()
    }

    /// Stops what runs of these, as a service manager does: an OSD tells the MONs that it goes.
    pub(super) fn stop(&mut self, daemons: &Daemons) {
        for osd in &daemons.osds {
            let at = self.osd_mut(*osd);
            if at.running {
                at.running = false;
                at.life += 1;
                let life = at.life;
                if self.has_quorum() {
                    self.mark_down(*osd);
                } else {
                    self.at(GRACE_MS, Event::Missed { osd: *osd, life });
                }
            }
        }
        for mon in 0..self.mons.len() {
            if daemons.mons.contains(&self.mons[mon].name) {
                self.mon_ends(mon);
            }
        }
        for mgr in 0..self.mgrs.len() {
            if daemons.mgrs.contains(&self.mgrs[mgr].name) {
                self.mgr_ends(mgr);
            }
        }
        for other in self.others.iter_mut().filter(|other| daemons.others.contains(&other.daemon)) {
            other.running = false;
        }
    }

    /// Starts these as what is on the disk. Those that do not start.
    pub(crate) fn start(&mut self, daemons: &Daemons) -> Vec<String> {
        let mut dead = Vec::new();
        for osd in &daemons.osds {
            if !self.start_osd(*osd) {
                dead.push(osd.to_string());
            }
        }
        for mon in 0..self.mons.len() {
            if daemons.mons.contains(&self.mons[mon].name) && !self.start_mon(mon) {
                dead.push(format!("mon.{}", self.mons[mon].name));
            }
        }
        for mgr in 0..self.mgrs.len() {
            if daemons.mgrs.contains(&self.mgrs[mgr].name) {
                self.start_mgr(mgr);
            }
        }
        for other in 0..self.others.len() {
            if daemons.others.contains(&self.others[other].daemon) {
                self.start_other(other);
            }
        }
        dead
    }

    pub(super) fn start_mgr(&mut self, mgr: usize) {
        let at = &mut self.mgrs[mgr];
        if !at.running {
            (at.running, at.version) = (true, self.installed[at.host].clone());
        }
    }

    pub(super) fn start_other(&mut self, other: usize) {
        let at = &mut self.others[other];
        if !at.running {
            (at.running, at.version) = (true, self.installed[at.host].clone());
        }
    }

    /// Whether it runs now.
    pub(super) fn start_osd(&mut self, osd: OsdId) -> bool {
        let at = self.osd(osd);
        if at.running {
            return true;
        }
        if at.destroyed || !at.powered {
            return false;
        }
        if at.stuck {
            self.met.push(Fault::OsdDoesNotStart);
            return false;
        }
        let version = self.installed[at.host].clone();
        let at = self.osd_mut(osd);
        (at.running, at.version) = (true, version);
        at.life += 1;
        let life = at.life;
        let boots = self.between(800, 6_000);
        self.at(boots, Event::Boots { osd, life });
        true
    }

    pub(super) fn start_mon(&mut self, mon: usize) -> bool {
        let installed = self.installed[self.mons[mon].host].clone();
        let at = &mut self.mons[mon];
        if at.running {
            return true;
        }
        if !at.powered {
            return false;
        }
        (at.running, at.version) = (true, installed);
        at.life += 1;
        let life = at.life;
        let starts = self.between(300, 3_000);
        self.at(starts, Event::MonStarted { mon, life });
        true
    }

    /// A process ends and says nothing.
    pub(super) fn osd_dies(&mut self, osd: OsdId) {
        let at = self.osd_mut(osd);
        if at.running {
            at.running = false;
            at.life += 1;
            let life = at.life;
            self.blame_lives(osd);
            self.at(GRACE_MS, Event::Missed { osd, life });
        }
    }

    pub(super) fn mon_ends(&mut self, mon: usize) {
        let at = &mut self.mons[mon];
        if !at.running {
            return;
        }
        (at.running, at.joined) = (false, false);
        at.life += 1;
        // The others go on with what they agreed on until a lease is not acknowledged.
        let noticed = self.between(1_000, LEASE_MS);
        self.at(noticed, Event::Election);
    }

    pub(super) fn mgr_ends(&mut self, mgr: usize) {
        let active = self.mgrs.iter().position(|mgr| mgr.running);
        self.mgrs[mgr].running = false;
        if active == Some(mgr) {
            let takes_over = self.between(1_000, 8_000);
            self.groups_known_from = self.groups_known_from.max(self.now + takes_over);
        }
    }

    /// Whoever tells what is known of the groups; before Luminous the MONs did.
    pub(super) fn has_manager(&self) -> bool {
        self.mgrs.is_empty() || self.mgrs.iter().any(|mgr| mgr.running)
    }

    /// By their own word.
    pub(crate) fn are_joined(&self, mons: &BTreeSet<String>) -> bool {
        self.mons.iter().all(|mon| mon.joined || !mons.contains(&mon.name))
    }

    /// Time enough passes for MONs that were started to find the others. Those that do not.
    pub(crate) fn mons_join(&mut self, daemons: &Daemons) -> Vec<String> {
        let mut alone = Vec::new();
        for mon in 0..self.mons.len() {
            if daemons.mons.contains(&self.mons[mon].name) && self.mons[mon].running {
                let life = self.mons[mon].life;
                self.mon_started(mon, life);
                if !self.mons[mon].joined {
                    alone.push(format!("mon.{}", self.mons[mon].name));
                }
            }
        }
        alone
    }

    pub(super) fn mon_started(&mut self, mon: usize, life: u64) {
        let at = &mut self.mons[mon];
        if at.life == life && at.running && !at.joined {
            if at.stuck {
                self.met.push(Fault::MonDoesNotRejoin);
                self.at(2_000, Event::MonStarted { mon, life });
                return;
            }
            (at.joined, at.joined_as, at.ended_itself) = (true, at.version.clone(), false);
            self.election_due = true;
            let takes = self.between(200, 2_000);
            self.at(takes, Event::Election);
        }
    }

    pub(super) fn elect(&mut self) {
        self.election_due = false;
        self.election_epoch += 2;
        self.quorum = (0..self.mons.len()).filter(|mon| self.mons[*mon].joined).collect();
    }

    /// The MONs hear that it does not answer. Without a quorum nobody decides anything.
    pub(super) fn missed(&mut self, osd: OsdId, life: u64) {
        if self.osd(osd).life != life || self.osd(osd).running {
            return;
        }
        if self.has_quorum() {
            self.mark_down(osd);
        } else {
            self.at(1_000, Event::Missed { osd, life });
        }
    }

    fn mark_down(&mut self, osd: OsdId) {
        let at = self.osd_mut(osd);
        if std::mem::replace(&mut at.up, false) {
            let life = at.life;
            self.at(DOWN_OUT_MS, Event::MarkedOut { osd, life });
            self.map_changes();
        }
    }

    pub(super) fn marked_out(&mut self, osd: OsdId, life: u64) {
        if self.osd(osd).life != life || self.osd(osd).up || !self.osd(osd).placed {
            return;
        }
        if self.flags.has("noout") || !self.has_quorum() {
            self.at(60_000, Event::MarkedOut { osd, life });
            return;
        }
        self.osd_mut(osd).placed = false;
        self.map_changes();
    }

    pub(super) fn boots(&mut self, osd: OsdId, life: u64) {
        if self.osd(osd).life != life || !self.osd(osd).running {
            return;
        }
        if !self.has_quorum() {
            self.at(1_000, Event::Boots { osd, life });
            return;
        }
        let up_from = self.epoch + 1;
        let at = self.osd_mut(osd);
        (at.up, at.placed, at.up_from) = (true, true, up_from);
        if at.booted != at.version {
            (at.booted, at.renewed) = (at.version.clone(), up_from);
        }
        self.map_changes();
    }

    pub(super) fn returns(&mut self, osd: OsdId, life: u64) {
        if self.osd(osd).life == life {
            self.start_osd(osd);
        }
    }

    /// Another epoch: groups find out whether they are concerned, and every OSD reports soon.
    pub(super) fn map_changes(&mut self) {
        self.epoch += 1;
        self.map_groups();
        for osd in self.ids() {
            self.report_soon(osd);
        }
    }

    pub(super) fn report_soon(&mut self, osd: OsdId) {
        let phase = u64::from(osd.0) * 997 % REPORT_MS;
        let at = self.osd_mut(osd);
        if !std::mem::replace(&mut at.report_due, true) {
            let since = (self.now + REPORT_MS - phase) % REPORT_MS;
            self.at(REPORT_MS - since, Event::Reports { osd });
        }
    }

    /// The version of each process that runs, by the daemon's name.
    pub(crate) fn running(&self, host: usize) -> BTreeMap<String, Version> {
        let mut running = BTreeMap::new();
        for osd in self.ids().filter(|osd| self.osd(*osd).host == host && self.osd(*osd).running) {
            running.insert(osd.to_string(), self.osd(osd).version.clone());
        }
        for mon in self.mons.iter().filter(|mon| mon.host == host && mon.running) {
            running.insert(format!("mon.{}", mon.name), mon.version.clone());
        }
        for mgr in self.mgrs.iter().filter(|mgr| mgr.host == host && mgr.running) {
            running.insert(format!("mgr.{}", mgr.name), mgr.version.clone());
        }
        for other in self.others.iter().filter(|other| other.host == host && other.running) {
            running.insert(other.daemon.to_string(), other.version.clone());
        }
        running
    }
}
