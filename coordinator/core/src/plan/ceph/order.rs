//! The order of a voyage over a cluster: who comes when, and where an operator is asked.
//!
//! | phase | what | waits for |
//! | --- | --- | --- |
//! | prepare | every host fetches | nothing; at most `staging_parallel` at a time |
//! | borrow | flags and settings of the cluster, and the end of all scrubs | the hold `before-canary` |
//! | MONs | one host at a time; the last old one makes a quorum of new ones alone | the holds `after-first-mon`, `before-last-mon` |
//! | managers | one host at a time | the MONs |
//! | OSDs | wave after wave, the canary first | `after-first-osds` after the canary |
//! | MDS, gateways | one at a time, the MDS that hold no rank first | the OSDs |
//! | require | each point of no return of the whole cluster | a hold of its own |
//! | give back | what was borrowed, the flags last | everything |
//!
//! Where a quorum of new MONs alone cannot be taken back and MONs need not all be first, the last old MON waits until the canary's OSDs are judged.
//! The packages of a wave are installed while the wave before it settles, so that nothing but its restart lies between two waves.

use super::builder::Builder;
use super::ground::Ground;
use super::host::{Restart, is_installed};
use super::waves::{Wave, mon_order, waves};
use crate::fleet_file::FleetHost;
use crate::gate::Gate;
use crate::plan::mds;
use crate::plan::model::{Need, Undo};
use replank_common::ceph::{CephDaemon, CephKind};
use replank_common::ids::{HostName, StepId};

pub(super) const BEFORE_CANARY: &str = "before-canary";
pub(super) const AFTER_FIRST_MON: &str = "after-first-mon";
pub(super) const BEFORE_LAST_MON: &str = "before-last-mon";
pub(super) const AFTER_FIRST_OSDS: &str = "after-first-osds";

/// What lies behind the last old MON.
#[derive(Debug, Clone, Copy)]
enum Behind {
    Mons {
        others_were_new: bool,
    },
    /// The first OSDs too.
    Canary,
}

/// What the next step waits for, and the hold that lies behind it.
#[derive(Clone)]
struct Front {
    needs: Vec<Need>,
    hold: Need,
}

pub(super) fn build<'g, 'a>(ground: &'g Ground<'a>) -> Builder<'g, 'a> {
    let mut builder = Builder::new(ground);
    let hosts: Vec<&FleetHost> =
        ground.voyage.fleet.hosts.iter().filter(|host| works(ground, host)).collect();
    builder.prepare(&hosts);
    let restarts = CephKind::ALL.into_iter().any(|kind| !ground.hosts_with_old(kind).is_empty());
    if restarts {
        let front = builder.borrow();
        builder.daemons(front);
    }
    builder.leftover_packages(&hosts);
    builder.finish(&hosts);
    builder
}

/// Whether something is left to do on the host itself.
fn works(ground: &Ground<'_>, host: &FleetHost) -> bool {
    let takes_part = ground.voyage.fleet.takes_part(host);
    let old = CephKind::ALL.into_iter().any(|kind| !ground.old(&host.name, kind).is_empty());
    let packages = ground.ceph_facts(&host.name).is_some_and(|ceph| !ceph.daemons.is_empty())
        && ground.facts(&host.name).is_some_and(|facts| !is_installed(ground, facts));
    takes_part && (old || packages)
}

impl<'a> Builder<'_, 'a> {
    /// In lanes: host i begins when host i - `staging_parallel` has prepared.
    fn prepare(&mut self, hosts: &[&FleetHost]) {
        let mut ends: Vec<Need> = Vec::new();
        for host in hosts {
            let Some(facts) = self.ground.facts(&host.name) else { continue };
            if is_installed(self.ground, facts) {
                continue;
            }
            let lanes = self.ground.voyage.fleet.pace.staging_parallel as usize;
            let before = ends.len().checked_sub(lanes).and_then(|at| ends.get(at)).cloned();
            self.prepare_host(&host.name, facts, before.as_slice());
            ends.extend(self.strands.last_of(&host.name));
        }
    }

    fn borrow(&mut self) -> Front {
        let via = self.ground.via.clone();
        let prepared: Vec<Need> = self.strands.steps.iter().map(|step| Need::Step(step.id.clone())).collect();
        let prepared = last_of_each(prepared, &self.strands.steps);
        self.pass(&via, 0, 0);
        self.next_wave = 1;
        let first = self.first_restart();
        let why = "every host has fetched its packages, and nothing has been changed yet. What follows borrows flags of the \
                   cluster and restarts the first daemon on the new release, which is a point of no return of that daemon: \
                   read below what is lost by it";
        let needs = if prepared.is_empty() { vec![self.look_at_cluster(&via)] } else { prepared };
        let hold =
            self.hold(BEFORE_CANARY, format!("change the cluster, {first} first"), why.to_owned(), needs);
        let end = self.borrow_flags(&via, &hold);
        Front { needs: vec![end], hold }
    }

    fn first_restart(&self) -> String {
        let mons = mon_order(self.ground, self.ground.hosts_with_old(CephKind::Mon));
        if let Some(host) = mons.first() {
            return format!("the MON of {}", host.name);
        }
        match CephKind::ALL.into_iter().find_map(|kind| self.ground.hosts_with_old(kind).into_iter().next()) {
            Some(host) => format!("daemons of {}", host.name),
            None => "nothing".to_owned(),
        }
    }

    fn daemons(&mut self, mut front: Front) {
        let mons = mon_order(self.ground, self.ground.hosts_with_old(CephKind::Mon));
        let waves = waves(self.ground);
        let canaries = waves.iter().filter(|wave| wave.canary).count();
        let stays = self.ground.voyage.part.order.old_mon_stays_for_the_canary && canaries > 0;
        let (last, first) = match mons.split_last() {
            Some((last, first)) => (Some(*last), first),
            None => (None, &[][..]),
        };
        for (index, host) in first.iter().enumerate() {
            if index == 1 {
                self.hold_after_first_mon(first[0], &mut front);
            }
            self.mon(host, &mut front, false);
        }
        if let Some(host) = last.filter(|_| !stays) {
            self.last_mon(host, Behind::Mons { others_were_new: first.is_empty() }, &mut front);
        }
        self.one_by_one(CephKind::Mgr, &mut front);
        if !waves.is_empty() {
            let via = self.ground.via.clone();
            front.needs.extend(self.borrow_of_new_mons(&via, &front.needs));
        }
        self.waves(&waves[..canaries], &mut front);
        // The hold before the last MON is one after the canary where the MON stays for it.
        if canaries > 0 && waves.len() > canaries && !(stays && last.is_some()) {
            self.hold_after_first_osds(&waves[..canaries], &mut front);
        }
        if let Some(host) = last.filter(|_| stays) {
            self.last_mon(host, Behind::Canary, &mut front);
        }
        self.waves(&waves[canaries..], &mut front);
        self.one_by_one(CephKind::Mds, &mut front);
        self.one_by_one(CephKind::Rgw, &mut front);
    }

    fn hold_after_first_mon(&mut self, first: &FleetHost, front: &mut Front) {
        let why = "the first MON is through: look at its log, at `ceph -s`, and at how it answers. The other MONs follow, \
                   one at a time, and another hold comes before the last of them";
        let title = format!("go on with the other MONs after that of {}", first.name);
        let hold = self.hold(AFTER_FIRST_MON, title, why.to_owned(), front.needs.clone());
        *front = Front { needs: vec![hold.clone()], hold };
    }

    fn hold_after_first_osds(&mut self, waves: &[Wave<'_>], front: &mut Front) {
        let names: Vec<&str> =
            waves.iter().flat_map(|wave| &wave.hosts).map(|(host, _)| host.name.as_str()).collect();
        let why = "the first OSDs run the new release and every placement group of theirs is clean: look at their logs, at the \
                   latency of clients, and at the recovery. The other waves follow without another question";
        let title = format!("go on after the first OSDs, on {}", crate::plan::text::names(&names));
        let hold = self.hold(AFTER_FIRST_OSDS, title, why.to_owned(), front.needs.clone());
        *front = Front { needs: vec![hold.clone()], hold };
    }

    /// The restart after which all MONs are new: a point of no return of the whole cluster (P8).
    fn last_mon(&mut self, host: &FleetHost, behind: Behind, front: &mut Front) {
        let title = format!("let the MON of {} go, after which only new MONs are in quorum", host.name);
        let quorum = &self.ground.voyage.part.quorum;
        let seen = match behind {
            Behind::Mons { others_were_new: true } => "the other MONs are new already",
            Behind::Mons { others_were_new: false } => {
                "every other MON runs the new release and is in quorum"
            }
            Behind::Canary => {
                "the first OSDs run the new release and their placement groups are clean: look at their logs, at the latency of \
                 clients, and at the recovery, for this is the last moment at which an old MON is in quorum. The other waves \
                 follow without another question"
            }
        };
        let why = format!("{seen}. {}", sentence(&quorum.reason));
        let hold = self.hold(BEFORE_LAST_MON, title, why, front.needs.clone());
        *front = Front { needs: vec![hold.clone()], hold };
        self.mon(host, front, true);
    }

    fn mon(&mut self, host: &FleetHost, front: &mut Front, last: bool) {
        let (wave, part) = (self.next_wave, self.ground.voyage.part);
        self.next_wave += 1;
        self.ready_host(&host.name, wave, 0, &front.needs);
        let daemons = self.ground.old(&host.name, CephKind::Mon);
        let own: Vec<String> = daemons.iter().map(|daemon| daemon.id.clone()).collect();
        let all: Vec<String> = self.ground.cluster.quorum.mons.keys().cloned().collect();
        let via = self.ground.via.clone();
        let mut before = vec![Gate::OsdsMayStop {
            osds: Vec::new(),
            mons: own,
            consents: self.consents(),
            via: via.clone(),
        }];
        before.push(self.health_known());
        let way = if last { &part.quorum } else { &part.back };
        let undo = Undo::NoWayBack { reason: way.reason.clone(), alternative: way.alternative.clone() };
        let step = self.restart(
            &host.name,
            Restart {
                what: "restart-mon".to_owned(),
                title: format!(
                    "restart the MON on {}; it comes back into quorum",
                    self.ground.voyage.goal.version
                ),
                daemons,
                beside: Vec::new(),
                before,
                after: vec![Gate::MonsInQuorum { mons: all, via }],
                undo,
                needs: front.needs.clone(),
                settles_ms: part.patience.mon_settles_ms,
            },
        );
        self.point(step.clone(), &front.hold, &way.reason, &way.alternative);
        front.needs = vec![Need::Step(step)];
    }

    /// Daemons whose clients find another one meanwhile: one turn after the other.
    fn one_by_one(&mut self, kind: CephKind, front: &mut Front) {
        for (host, daemons) in self.ground.turns(kind) {
            let wave = self.next_wave;
            self.next_wave += 1;
            self.ready_host(&host.name, wave, 0, &front.needs);
            let (what, name) = match kind {
                CephKind::Mgr => ("restart-mgr", "manager"),
                CephKind::Mds => ("restart-mds", "MDS"),
                CephKind::Rgw => ("restart-rgw", "gateway"),
                CephKind::Mon => ("restart-mon", "MON"),
                CephKind::Osd => ("restart-osds", "OSD"),
            };
            let undo = self.no_way_back();
            let title = match &daemons[..] {
                [one] if self.ground.old(&host.name, kind).len() > 1 => {
                    format!("restart {one} on {}", self.ground.voyage.goal.version)
                }
                _ => format!("restart the {name} on {}", self.ground.voyage.goal.version),
            };
            let what = self.numbered(&host.name, what);
            let (mut before, mut after, mut settles_ms) = (Vec::new(), Vec::new(), 0);
            if kind == CephKind::Mds {
                let own = daemons.iter().map(|daemon| daemon.id.clone()).collect();
                let running = self.ground.running(CephKind::Mds);
                let (may, back) = mds::gates(self.ground.cluster, running, own, self.ground.via);
                (before, after, settles_ms) = (vec![may], vec![back], mds::MDS_SETTLES_MS);
            }
            let step = self.restart(
                &host.name,
                Restart {
                    what,
                    title,
                    daemons,
                    beside: Vec::new(),
                    before,
                    after,
                    undo,
                    needs: front.needs.clone(),
                    settles_ms,
                },
            );
            self.back_point(step.clone(), &front.hold);
            front.needs = vec![Need::Step(step)];
        }
    }

    /// A name for one more such step on the host.
    fn numbered(&self, host: &HostName, what: &str) -> String {
        let name = format!(".{what}");
        let alike =
            self.strands.steps.iter().filter(|step| step.host == *host && step.id.as_str().contains(&name));
        match alike.count() {
            0 => what.to_owned(),
            before => format!("{what}-{}", before + 1),
        }
    }

    fn back_point(&mut self, step: StepId, hold: &Need) {
        let back = &self.ground.voyage.part.back;
        self.point(step, hold, &back.reason, &back.alternative);
    }

    /// Each wave after the one before it is clean; its packages while that one settles.
    fn waves(&mut self, waves: &[Wave<'a>], front: &mut Front) {
        let mut install_after = front.needs.clone();
        for wave in waves {
            let number = self.next_wave;
            self.next_wave += 1;
            let mut ends = Vec::new();
            for (lane, (host, osds)) in (0..).zip(&wave.hosts) {
                self.ready_host(&host.name, number, lane, &install_after);
                ends.push(self.osds(host, osds, wave, front));
            }
            install_after = std::mem::replace(&mut front.needs, ends);
        }
    }

    fn osds(&mut self, host: &FleetHost, own: &[u32], wave: &Wave<'_>, front: &Front) -> Need {
        let voyage = self.ground.voyage;
        let via = self.ground.via.clone();
        let all = wave.osds();
        let beside = all.iter().copied().filter(|osd| !own.contains(osd)).collect();
        let mut before = vec![Gate::OsdsMayStop {
            osds: all,
            mons: Vec::new(),
            consents: self.consents(),
            via: via.clone(),
        }];
        if wave.canary {
            before.push(self.health_known());
        }
        let after = vec![Gate::OsdsSettled { osds: own.to_vec(), version: voyage.goal.version.clone(), via }];
        // A machine that may not stop whole comes in several waves.
        let what = self.numbered(&host.name, "restart-osds");
        let undo = self.no_way_back();
        let step = self.restart(
            &host.name,
            Restart {
                what,
                title: format!(
                    "restart OSDs on {}, side by side; every placement group of theirs becomes clean",
                    voyage.goal.version
                ),
                daemons: own.iter().copied().map(CephDaemon::osd).collect(),
                beside,
                before,
                after,
                undo,
                needs: front.needs.clone(),
                settles_ms: voyage.part.patience.osd_settles_ms,
            },
        );
        self.back_point(step.clone(), &front.hold);
        Need::Step(step)
    }

    /// Hosts whose daemons are new and whose packages are not all.
    fn leftover_packages(&mut self, hosts: &[&FleetHost]) {
        let needs: Vec<Need> = last_of_each(
            self.strands.steps.iter().map(|step| Need::Step(step.id.clone())).collect(),
            &self.strands.steps,
        );
        for host in hosts {
            if !self.is_ready(&host.name) {
                let wave = self.next_wave;
                self.next_wave += 1;
                self.ready_host(&host.name, wave, 0, &needs);
            }
        }
    }

    fn finish(&mut self, hosts: &[&FleetHost]) {
        let mut seen: Vec<Need> = Vec::new();
        for host in hosts {
            let kinds = CephKind::ALL.into_iter();
            let daemons: Vec<CephDaemon> = kinds.flat_map(|kind| self.ground.old(&host.name, kind)).collect();
            if !daemons.is_empty() {
                seen.push(Need::Step(self.verify(&host.name, daemons)));
            }
        }
        let via = self.ground.via.clone();
        let end = self.require(&via, seen);
        for host in hosts.iter().filter(|host| host.name != via) {
            self.give_back(&host.name, &[]);
        }
        self.give_back(&via, &end);
    }

    /// Reasons that are expected, and no other.
    pub(super) fn health_known(&self) -> Gate {
        let allowed = self.ground.voyage.part.health.iter().map(|row| row.reason.clone()).collect();
        Gate::CephHealthKnown { allowed, via: self.ground.via.clone() }
    }
}

/// Of each host's steps, the last.
fn last_of_each(needs: Vec<Need>, steps: &[crate::plan::Step]) -> Vec<Need> {
    let mut last: std::collections::BTreeMap<&HostName, &StepId> = std::collections::BTreeMap::new();
    for step in steps {
        last.insert(&step.host, &step.id);
    }
    needs
        .into_iter()
        .filter(|need| match need {
            Need::Step(id) => last.values().any(|known| *known == id),
            Need::Hold(_) => false,
        })
        .collect()
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
