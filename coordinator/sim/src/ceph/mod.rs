//! A simulated Ceph cluster: OSDs, placement groups, MONs and MGRs with lives of their own, and clients that write the whole time.
//!
//! Owns what is true of the cluster ([`groups`], [`daemons`]), what the cluster says of itself, which is later and less ([`reports`]), what befalls
//! it ([`lives`]), and the judgement of whoever stops a daemon ([`verdict`], P10). Time and chance are the voyage's: the cluster is let pass to a moment,
//! and draws from a source of its own that the same seed makes. Never decides whether something may stop: that is the code under test.

mod afloat;
mod daemons;
mod drawn;
mod flags;
mod groups;
mod layout;
mod lives;
mod named;
mod reports;
mod seen;
mod verdict;

pub use afloat::Afloat;
pub(crate) use daemons::Daemons;
pub use layout::{Layout, Origin, Place, Seated};
pub(crate) use lives::OPERATORS_FLAGS;
pub use named::NotEnough;
pub(crate) use reports::Documents;

use crate::fault::Fault;
use daemons::{Mgr, Mon, Osd, Other};
use flags::Flags;
use groups::Group;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replank_ceph::OsdId;
use replank_common::ceph::{CephDaemon, Requirement};
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};

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
    osds: BTreeMap<OsdId, Osd>,
    mons: Vec<Mon>,
    mgrs: Vec<Mgr>,
    others: Vec<Other>,
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

const SORTBITWISE: &str = "sortbitwise";
const REQUIRE_JEWEL: &str = "require_jewel_osds";

/// Points of no return that were crossed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Required {
    /// Before Luminous there is none.
    pub(crate) release: Option<String>,
    pub(crate) msgr2: bool,
    /// Flags of the OSD map that are there for good.
    pub(crate) flags: BTreeSet<String>,
}

impl Required {
    pub(crate) fn has(&self, what: &Requirement) -> bool {
        match what {
            Requirement::RequireOsdRelease { release } => self.release.as_ref() == Some(release),
            Requirement::EnableMsgr2 => self.msgr2,
            Requirement::SortBitwise => self.flags.contains(SORTBITWISE),
            Requirement::RequireJewelOsds => self.flags.contains(REQUIRE_JEWEL),
        }
    }

    pub(crate) fn add(&mut self, what: &Requirement) {
        match what {
            Requirement::RequireOsdRelease { release } => self.release = Some(release.clone()),
            Requirement::EnableMsgr2 => self.msgr2 = true,
            Requirement::SortBitwise => drop(self.flags.insert(SORTBITWISE.to_owned())),
            Requirement::RequireJewelOsds => drop(self.flags.insert(REQUIRE_JEWEL.to_owned())),
        }
    }
}

impl Cluster {
    pub(crate) fn new(layout: Layout, seed: u64, now: u64) -> Self {
        let osd = |(id, place): (&OsdId, &Place)| (*id, Osd::new(place.host, layout.runs(&id.to_string())));
        let mon = |at: &Seated| Mon::new(at, layout.runs(&format!("mon.{}", at.name)));
        let mgr = |at: &Seated| Mgr::new(at, layout.runs(&format!("mgr.{}", at.name)));
        let other = |(daemon, host): &(CephDaemon, usize)| Other {
            daemon: daemon.clone(),
            host: *host,
            running: true,
            version: layout.runs(&daemon.to_string()),
        };
        let installed = |host: usize| layout.installed.get(&host).unwrap_or(&layout.from).clone();
        let mut cluster = Self {
            now,
            rng: StdRng::seed_from_u64(seed ^ 0xcef0_5eed),
            queue: BTreeMap::new(),
            queued: 0,
            osds: layout.osds.iter().map(osd).collect(),
            mons: layout.mons.iter().map(mon).collect(),
            mgrs: layout.mgrs.iter().map(mgr).collect(),
            others: layout.others.iter().map(other).collect(),
            groups: Group::all(&layout, now),
            installed: (0..layout.hosts.len()).map(installed).collect(),
            epoch: 100,
            flags: Flags::default(),
            config: BTreeMap::new(),
            required: Required {
                release: layout.required_release.clone(),
                msgr2: false,
                flags: layout.map_flags.clone(),
            },
            quorum: (0..layout.mons.len()).collect(),
            election_epoch: 10,
            election_due: false,
            silent_until: 0,
            groups_known_from: 0,
            slow_until: 0,
            long_scrubs_until: 0,
            met: Vec::new(),
            layout,
        };
        for flag in &cluster.layout.operators_flags {
            cluster.flags.put_by_operator(flag, true);
        }
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
