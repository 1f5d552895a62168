//! A simulated Ceph cluster: OSDs, placement groups, MONs and MGRs with lives of their own, and clients that write the whole time.
//!
//! Owns what is true of the cluster ([`groups`], [`daemons`]), what the cluster says of itself, which is later and less ([`reports`]), what befalls
//! it ([`lives`]), and the judgement of whoever stops a daemon ([`verdict`], P10). Time and chance are the voyage's: the cluster is let pass to a moment,
//! and draws from a source of its own that the same seed makes. Never decides whether something may stop: that is the code under test.

mod daemons;
mod flags;
mod groups;
mod layout;
mod lives;
mod reports;
mod verdict;

pub(crate) use daemons::Daemons;
pub use layout::Layout;
pub(crate) use lives::OPERATORS_FLAGS;

use crate::fault::Fault;
use daemons::{Mgr, Mon, Osd};
use flags::Flags;
use groups::Group;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank_ceph::OsdId;
use replank_common::ceph::Requirement;
use replank_common::version::Version;
use std::collections::BTreeMap;

pub(crate) const OLD_CEPH: &str = "14.2.21";
pub(crate) const NEW_CEPH: &str = "16.2.15";

/// What will happen by itself. What was true of another life of the daemon, or another interval of the group, happens no more.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Nobody has heard of the dead OSD for the grace period.
    Missed {
        osd: OsdId,
        life: u64,
    },
    Boots {
        osd: OsdId,
        life: u64,
    },
    /// A crashed OSD is started again.
    Returns {
        osd: OsdId,
        life: u64,
    },
    /// It was down for so long that its data is placed elsewhere.
    MarkedOut {
        osd: OsdId,
        life: u64,
    },
    Reports {
        osd: OsdId,
    },
    Peered {
        group: usize,
        interval: u64,
    },
    Recovered {
        group: usize,
        interval: u64,
    },
    Backfilled {
        group: usize,
        interval: u64,
    },
    Scrub,
    Scrubbed {
        group: usize,
    },
    MonStarted {
        mon: usize,
        life: u64,
    },
    MonReturns {
        mon: usize,
        life: u64,
    },
    /// The MONs agree anew on who is there.
    Election,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) layout: Layout,
    now: u64,
    rng: StdRng,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    osds: Vec<Osd>,
    mons: Vec<Mon>,
    mgrs: Vec<Mgr>,
    groups: Vec<Group>,
    /// What is on each machine's disk: a daemon that starts is this.
    installed: Vec<Version>,
    /// Of the OSD map.
    epoch: u32,
    pub(crate) flags: Flags,
    pub(crate) config: BTreeMap<(String, String), String>,
    pub(crate) required: Required,
    /// Which MONs are in quorum; fewer than half: there is none.
    quorum: Vec<usize>,
    election_epoch: u32,
    election_due: bool,
    /// Commands hang until then, whatever the MONs do.
    silent_until: u64,
    /// A MGR that has just begun has heard of no group.
    groups_known_from: u64,
    slow_until: u64,
    long_scrubs_until: u64,
    /// What was made to go wrong and has been met since this was looked at.
    met: Vec<Fault>,
}

/// Points of no return that were crossed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Required {
    pub(crate) release: String,
    pub(crate) msgr2: bool,
}

impl Required {
    pub(crate) fn has(&self, what: &Requirement) -> bool {
        match what {
            Requirement::RequireOsdRelease { release } => self.release == *release,
            Requirement::EnableMsgr2 => self.msgr2,
            // Of releases that are long past.
            Requirement::SortBitwise | Requirement::RequireJewelOsds => true,
        }
    }

    pub(crate) fn add(&mut self, what: &Requirement) {
        match what {
            Requirement::RequireOsdRelease { release } => self.release.clone_from(release),
            Requirement::EnableMsgr2 => self.msgr2 = true,
            Requirement::SortBitwise | Requirement::RequireJewelOsds => {}
        }
    }
}

impl Cluster {
    pub(crate) fn new(layout: Layout, seed: u64, now: u64) -> Self {
        let old = Version::new(OLD_CEPH);
        let osds = (0..layout.osds()).filter_map(|osd| u32::try_from(osd).ok()).map(OsdId);
        let mut cluster = Self {
            now,
            rng: StdRng::seed_from_u64(seed ^ 0xcef0_5eed),
            queue: BTreeMap::new(),
            queued: 0,
            osds: osds.map(|osd| Osd::new(layout.host_of(osd), old.clone())).collect(),
            mons: layout.mon_hosts().map(|host| Mon::new(host, old.clone())).collect(),
            mgrs: layout.mon_hosts().map(|host| Mgr::new(host, old.clone())).collect(),
            groups: Group::all(&layout, now),
            installed: vec![old; layout.hosts],
            epoch: 100,
            flags: Flags::default(),
            config: BTreeMap::new(),
            required: Required { release: "nautilus".to_owned(), msgr2: false },
            quorum: (0..layout.mons).collect(),
            election_epoch: 10,
            election_due: false,
            silent_until: 0,
            groups_known_from: 0,
            slow_until: 0,
            long_scrubs_until: 0,
            met: Vec::new(),
            layout,
        };
        cluster.at(4_000, Event::Scrub);
        cluster
    }

    /// Lets time pass to `now`.
    pub(crate) fn pass(&mut self, now: u64) {
        while let Some((&(at, number), _)) = self.queue.first_key_value()
            && at <= now
        {
            self.now = self.now.max(at);
            self.write_on();
            if let Some(event) = self.queue.remove(&(at, number)) {
                self.happen(event);
            }
        }
        self.now = self.now.max(now);
        self.write_on();
    }

    fn at(&mut self, delay_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now + delay_ms, self.queued), event);
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Missed { osd, life } => self.missed(osd, life),
            Event::Boots { osd, life } => self.boots(osd, life),
            Event::Returns { osd, life } => self.returns(osd, life),
            Event::MarkedOut { osd, life } => self.marked_out(osd, life),
            Event::Reports { osd } => self.reports(osd),
            Event::Peered { group, interval } => self.peered(group, interval),
            Event::Recovered { group, interval } => self.recovered(group, interval),
            Event::Backfilled { group, interval } => self.backfilled(group, interval),
            Event::Scrub => self.scrub(),
            Event::Scrubbed { group } => self.scrubbed(group),
            Event::MonStarted { mon, life } => self.mon_started(mon, life),
            Event::MonReturns { mon, life } => self.mon_returns(mon, life),
            Event::Election => self.elect(),
        }
    }

    /// What was met since this was asked last.
    pub(crate) fn met(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.met)
    }

    /// The MONs answer.
    pub(crate) fn answers(&self) -> bool {
        self.now >= self.silent_until && self.has_quorum()
    }

    /// Packages that were installed; what runs is another matter.
    pub(crate) fn install(&mut self, host: usize, version: &Version) {
        if let Some(installed) = self.installed.get_mut(host) {
            *installed = version.clone();
        }
    }

    pub(crate) fn installed(&self, host: usize) -> Option<&Version> {
        self.installed.get(host)
    }
}

#[cfg(test)]
mod tests;
