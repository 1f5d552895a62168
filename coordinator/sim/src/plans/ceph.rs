//! A plan for a cluster from one release to the next, in the shape that the planner gives it.

use super::{Made, count, hold, hold_id, made, step, write};
use crate::ceph::{Layout, Seated};
use replank_ceph::OsdId;
use replank_common::action::{Action, CephFlags, CephRequire, CephRestart, PackagesInstall};
use replank_common::ceph::{CephDaemon, CephFlag, CephKind, Requirement};
use replank_common::facts::PackageManager;
use replank_common::ids::{HostName, StepId};
use replank_core::gate::Gate;
use replank_core::plan::{
    Hold, InputDigests, Need, PLAN_FORMAT, Plan, PlannedHost, PlannedPace, PointOfNoReturn, Stage, Step,
    Undo, Way, Work,
};
use std::collections::BTreeSet;

pub fn machine_name(host: usize) -> HostName {
    HostName::new(format!("ceph{}", host + 1)).expect("a host's name")
}

fn step_id(host: usize, what: &str) -> StepId {
    StepId::new(format!("{}.{what}", machine_name(host))).expect("a step's id")
}

/// Steps in the order in which they are written down.
struct Draft<'l> {
    layout: &'l Layout,
    steps: Vec<Step>,
    holds: Vec<Hold>,
    points: Vec<PointOfNoReturn>,
}

impl Draft<'_> {
    fn via(&self) -> HostName {
        machine_name(0)
    }

    fn add(&mut self, host: usize, what: &str, made: Made) -> Need {
        let step = step(&machine_name(host), what, made, 30_000);
        let id = step.id.clone();
        self.steps.push(step);
        Need::Step(id)
    }

    fn hold(&mut self, id: &str, needs: Vec<Need>) -> Need {
        self.holds.push(hold(id, "see that clients read and write", needs));
        Need::Hold(hold_id(id))
    }

    /// A restart of some daemons of one machine. `wave`: all OSDs that may be down meanwhile.
    fn restart(
        &mut self,
        host: usize,
        what: &str,
        daemons: Vec<CephDaemon>,
        wave: &[OsdId],
        needs: Vec<Need>,
    ) -> Need {
        let version = self.layout.to.clone();
        let of =
            |kind| daemons.iter().filter(move |daemon| daemon.kind == kind).map(|daemon| daemon.id.clone());
        let osds: Vec<u32> = wave.iter().map(|osd| osd.0).collect();
        let own: Vec<u32> = of(CephKind::Osd).filter_map(|id| id.parse().ok()).collect();
        let mons: Vec<String> = of(CephKind::Mon).collect();
        let consents: Vec<String> = self
            .layout
            .pools
            .iter()
            .filter(|pool| self.layout.consents.contains(&pool.id))
            .map(|pool| pool.name.clone())
            .collect();
        let via = self.via();
        let mut before = Vec::new();
        let mut after = vec![Gate::CephDaemonsAre { daemons: daemons.clone(), version: version.clone() }];
        if !osds.is_empty() || !mons.is_empty() {
            before.push(Gate::OsdsMayStop {
                osds: osds.clone(),
                mons: mons.clone(),
                consents: consents.clone(),
                via: via.clone(),
            });
        }
        if !own.is_empty() {
            after.push(Gate::OsdsSettled { osds: own.clone(), version: version.clone(), via: via.clone() });
        }
        if !mons.is_empty() {
            after.push(Gate::MonsInQuorum { mons, via });
        }
        let beside: Vec<u32> = osds.into_iter().filter(|osd| !own.contains(osd)).collect();
        let restart =
            CephRestart { daemons, beside, expect: version, consents, stop_ms: 10_000, start_ms: 10_000 };
        let undo = Undo::NoWayBack {
            reason: "the daemon has written its store in the new format".to_owned(),
            alternative: "go on".to_owned(),
        };
        let work = Work::Act(Action::CephRestart(restart));
        self.add(host, what, Made { before, after, ..made(Stage::Switch, work, undo, needs) })
    }
}

fn daemon(kind: CephKind, id: impl ToString) -> CephDaemon {
    CephDaemon { kind, id: id.to_string() }
}

/// MONs one by one, MGRs, OSDs domain by domain, and the point of no return; canaries behind holds.
pub fn plan(layout: &Layout) -> Plan {
    let mut draft = Draft { layout, steps: Vec::new(), holds: Vec::new(), points: Vec::new() };
    let hosts = 0..layout.hosts.len();
    let hosts_per_domain = layout.hosts.len() / layout.domains.len().max(1);
    let pins: Vec<Need> = hosts
        .clone()
        .map(|host| draft.add(host, "pin", made(Stage::Prepare, write("pin"), Undo::Borrowed, vec![])))
        .collect();
    let begin = draft.hold("before-canary", pins);
    let flags = vec![CephFlag::Noout, CephFlag::Noscrub, CephFlag::NodeepScrub];
    let flags = Work::Act(Action::CephFlags(CephFlags { flags }));
    let flags = Made {
        after: vec![Gate::NoScrub { via: draft.via() }],
        ..made(Stage::Install, flags, Undo::Borrowed, vec![begin.clone()])
    };
    let mut last = vec![draft.add(0, "borrow-flags", flags)];
    for host in hosts.clone() {
        let install = Work::Act(Action::PackagesInstall(PackagesInstall {
            manager: PackageManager::Apt,
            install: Vec::new(),
            undisturbed_units: Vec::new(),
        }));
        // Packages change nothing that runs: side by side.
        let install = made(Stage::Install, install, Undo::Record, vec![begin.clone()]);
        let installed = draft.add(host, "install", install);
        last.push(installed);
    }
    let last_mon = layout.mons.last().map(|mon| mon.host);
    for Seated { name, host } in &layout.mons {
        let host = *host;
        if Some(host) == last_mon {
            last = vec![draft.hold("all-new-quorum", last)];
            draft.points.push(PointOfNoReturn {
                step: step_id(host, "restart-mon"),
                hold: hold_id("all-new-quorum"),
                reason: "the MONs' store is of the new release from then on".to_owned(),
                alternative: "go on".to_owned(),
            });
        }
        let mon = vec![daemon(CephKind::Mon, name)];
        last = vec![draft.restart(host, "restart-mon", mon, &[], last)];
        if host == 0 {
            last = vec![draft.hold("after-mon-canary", last)];
        }
    }
    for mgr in layout.mgrs.iter().rev() {
        let host = mgr.host;
        let mgr = vec![daemon(CephKind::Mgr, &mgr.name)];
        last = vec![draft.restart(host, "restart-mgr", mgr, &[], last)];
    }
    for (domain, wave) in layout.domains.iter().enumerate() {
        let machines: BTreeSet<usize> = wave.iter().map(|osd| layout.osds[osd].host).collect();
        let restarted = machines.into_iter().map(|host| {
            let osds = layout.osds_of(host).iter().map(|osd| daemon(CephKind::Osd, osd.0)).collect();
            draft.restart(host, "restart-osds", osds, wave, last.clone())
        });
        last = restarted.collect();
        if domain == 0 {
            last = vec![draft.hold("after-osd-canary", last)];
        }
    }
    let last = vec![draft.hold("before-require", last)];
    draft.points.push(PointOfNoReturn {
        step: step_id(0, "require"),
        hold: hold_id("before-require"),
        reason: "no older OSD may join from then on".to_owned(),
        alternative: "go on".to_owned(),
    });
    let what = Requirement::RequireOsdRelease { release: "pacific".to_owned() };
    let undo = Undo::NoWayBack { reason: "it is for good".to_owned(), alternative: "go on".to_owned() };
    let via = draft.via();
    let require = Made {
        before: vec![Gate::EveryOsdIs { version: layout.to.clone(), via: via.clone() }],
        after: vec![Gate::Required { what: what.clone(), via }],
        ..made(Stage::Verify, Work::Act(Action::CephRequire(CephRequire { what })), undo, last)
    };
    let last = draft.add(0, "require", require);
    let back = Work::GiveBack(step_id(0, "borrow-flags"));
    let back = draft.add(0, "give-back-flags", made(Stage::GiveBack, back, Undo::Nothing, vec![last]));
    for host in hosts.clone() {
        let pin = Work::GiveBack(step_id(host, "pin"));
        draft.add(host, "give-back-pin", made(Stage::GiveBack, pin, Undo::Nothing, vec![back.clone()]));
    }
    Plan {
        format: PLAN_FORMAT,
        parent: None,
        fleet: "test".to_owned(),
        summary: vec![format!("ceph → {}", layout.to)],
        input: InputDigests { fleet_file: String::new(), inventory: String::new(), catalog: String::new() },
        pace: PlannedPace { parallel_hosts: count(hosts_per_domain), staging_parallel: 8 },
        acknowledged: Vec::new(),
        hosts: hosts
            .map(|host| PlannedHost {
                name: machine_name(host),
                way: Way::InPlace,
                wave: u32::from(host >= hosts_per_domain),
                lane: count(host),
                guests: 0,
                already_done: false,
            })
            .collect(),
        holds: draft.holds,
        points_of_no_return: draft.points,
        osd_waves: None,
        steps: draft.steps,
        findings: Vec::new(),
    }
}
