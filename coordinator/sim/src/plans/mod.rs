//! Plans for voyages that are given none, in the shape that the planner gives them.

pub mod ceph;
pub mod harbour;

use crate::ceph::Layout;
use replank_common::action::{
    Action, FileWrite, LibvirtAnchor, LibvirtRestart, LibvirtTrial, PackagesInstall, TrialOf, UnitMask,
};
use replank_common::facts::PackageManager;
use replank_common::ids::{HoldId, HostName, PlanId, RunId, StepId};
use replank_common::version::Version;
use replank_core::gate::Gate;
use replank_core::plan::{
    Hold, InputDigests, Need, PLAN_FORMAT, Plan, PlannedHost, PlannedPace, PointOfNoReturn, Stage, Step,
    Undo, Way, Work,
};
use replank_core::run::Index;
use std::sync::Arc;

pub const NEW: &str = "11.3.0";
pub const OLD: &str = "9.0.0";
/// Why an operator is asked.
const BEAT: &str = "see that the guests beat";

/// What kind of plan.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub hosts: usize,
    pub canaries: usize,
    pub parallel: usize,
    /// The plan has steps that give everything borrowed back; without them, closing does.
    pub gives_back: bool,
    /// The last step of each host cannot be taken back.
    pub one_way: bool,
}

impl Shape {
    pub fn of(hosts: usize) -> Self {
        Self { hosts, canaries: 1, parallel: 2, gives_back: true, one_way: false }
    }
}

pub fn host_name(host: usize) -> HostName {
    HostName::new(format!("compute{}", host + 1)).expect("a host's name")
}

pub fn step_id(host: usize, what: &str) -> StepId {
    StepId::new(format!("{}.{what}", host_name(host))).expect("a step's id")
}

pub fn hold_id(text: &str) -> HoldId {
    HoldId::new(text).expect("a hold's id")
}

pub fn run_id() -> RunId {
    RunId::new(format!("run-{:032x}", 7)).expect("a run's id")
}

pub fn plan_id() -> PlanId {
    PlanId::new(format!("sha256:{:064x}", 9)).expect("a plan's id")
}

/// Of a fleet that is a cluster.
pub fn cluster_index(layout: &Layout) -> Arc<Index> {
    Arc::new(Index::new(plan_id(), ceph::plan(layout)).expect("a plan of this layout is sound"))
}

pub fn index(shape: Shape) -> Arc<Index> {
    Arc::new(Index::new(plan_id(), plan(shape)).expect("a plan of this shape is sound"))
}

fn write(name: &str) -> Work {
    Work::Act(Action::FileWrite(FileWrite {
        path: format!("/etc/replank-test/{name}").into(),
        contents: name.to_owned(),
        mode: 0o644,
        replace: true,
    }))
}

fn trial(of: TrialOf) -> Work {
    Work::Act(Action::LibvirtTrial(LibvirtTrial { manager: PackageManager::Apt, of, packages: Vec::new() }))
}

/// What a step is made of, beside its host and name.
struct Made {
    stage: Stage,
    work: Work,
    undo: Undo,
    before: Vec<Gate>,
    after: Vec<Gate>,
    needs: Vec<Need>,
}

fn made(stage: Stage, work: Work, undo: Undo, needs: Vec<Need>) -> Made {
    Made { stage, work, undo, before: Vec::new(), after: Vec::new(), needs }
}

/// A step of the host, between two counts of its guests.
fn step(host: &HostName, what: &str, made: Made, deadline_ms: u64) -> Step {
    let Made { stage, work, undo, before, after, needs } = made;
    Step {
        id: StepId::new(format!("{host}.{what}")).expect("a step's id"),
        host: host.clone(),
        stage,
        title: what.replace('-', " "),
        work: work.into(),
        before: [vec![Gate::CensusHolds], before].concat(),
        after: [vec![Gate::CensusHolds], after].concat(),
        undo,
        needs,
        expected_ms: 2_000,
        deadline_ms,
    }
}

/// One host's steps, each after the one before it.
fn passage(host: usize, shape: Shape) -> Vec<Step> {
    let version = Version::new(NEW);
    let mut steps: Vec<Step> = Vec::new();
    let mut add = |what: &str, stage, work: Work, undo, before: Vec<Gate>, after: Vec<Gate>| {
        let needs = steps.last().map(|step| Need::Step(step.id.clone())).into_iter().collect();
        let made = Made { before, after, ..made(stage, work, undo, needs) };
        steps.push(step(&host_name(host), what, made, 20_000));
    };
    add("pin", Stage::Prepare, write("pin"), Undo::Borrowed, vec![], vec![]);
    add("try-new", Stage::Prepare, trial(TrialOf::New), Undo::Nothing, vec![], vec![]);
    add("keep", Stage::Keep, write("keep"), Undo::Record, vec![], vec![]);
    add("install-qemu", Stage::Install, write("qemu"), Undo::Record, vec![], vec![]);
    let mask = UnitMask { unit: "libvirt-guests.service".to_owned(), runtime: false };
    add("mask", Stage::Switch, Work::Act(Action::UnitMask(mask)), Undo::Borrowed, vec![], vec![]);
    let anchor = LibvirtAnchor { unit: "libvirtd.service".to_owned(), sockets: Vec::new() };
    add("anchor", Stage::Switch, Work::Act(Action::LibvirtAnchor(anchor)), Undo::Record, vec![], vec![]);
    let install = PackagesInstall {
        manager: PackageManager::Apt,
        install: Vec::new(),
        undisturbed_units: vec!["libvirtd.service".to_owned()],
    };
    add(
        "install-libvirt",
        Stage::Switch,
        Work::Act(Action::PackagesInstall(install)),
        Undo::Record,
        vec![],
        vec![],
    );
    let restart =
        LibvirtRestart { unit: "libvirtd.service".to_owned(), expect: version.clone(), sockets: Vec::new() };
    add(
        "restart",
        Stage::Switch,
        Work::Act(Action::LibvirtRestart(restart)),
        Undo::Nothing,
        vec![Gate::NoGuestJobs],
        vec![Gate::LibvirtdIs { version: version.clone() }],
    );
    let mut verify = vec![Gate::LibvirtdIs { version }];
    if shape.hosts > 1 {
        verify.push(Gate::LibvirtTcpAnswers {
            from: host_name((host + 1) % shape.hosts),
            address: format!("10.0.0.{host}"),
            port: 16509,
            tls: false,
        });
    }
    add("verify", Stage::Verify, Work::Observe, Undo::Nothing, vec![], verify);
    add("try-old", Stage::Verify, trial(TrialOf::Old), Undo::Guard, vec![], vec![]);
    if shape.gives_back {
        for what in ["mask", "pin"] {
            let work = Work::GiveBack(step_id(host, what));
            add(&format!("give-back-{what}"), Stage::GiveBack, work, Undo::Nothing, vec![], vec![]);
        }
    }
    if shape.one_way {
        let undo = Undo::NoWayBack {
            reason: "the new format is written".to_owned(),
            alternative: "evacuate the host and make it anew".to_owned(),
        };
        add("burn-bridge", Stage::GiveBack, write("burn"), undo, vec![], vec![]);
    }
    steps
}

/// Canaries first, behind a hold of their own; then the rest, in lanes, behind another.
pub fn plan(shape: Shape) -> Plan {
    let mut passages: Vec<Vec<Step>> = (0..shape.hosts).map(|host| passage(host, shape)).collect();
    let prepared: Vec<Need> = (0..shape.hosts).map(|host| Need::Step(step_id(host, "try-new"))).collect();
    let ends: Vec<Need> = passages
        .iter()
        .map(|steps| Need::Step(steps.last().expect("a passage has steps").id.clone()))
        .collect();
    let mut holds = vec![hold("before-canary", BEAT, prepared)];
    if shape.hosts > shape.canaries {
        holds.push(hold("after-canary", BEAT, ends[..shape.canaries].to_vec()));
    }
    let mut hosts = Vec::new();
    let mut points_of_no_return = Vec::new();
    for (host, steps) in passages.iter_mut().enumerate() {
        let canary = host < shape.canaries;
        let in_wave = if canary { host } else { host - shape.canaries };
        let id = hold_id(if canary { "before-canary" } else { "after-canary" });
        let entry =
            steps.iter_mut().find(|step| step.stage > Stage::Prepare).expect("a passage changes something");
        entry.needs.push(Need::Hold(id.clone()));
        if in_wave >= shape.parallel {
            entry.needs.push(ends[host - shape.parallel].clone());
        }
        points_of_no_return.push(PointOfNoReturn {
            step: step_id(host, "restart"),
            hold: id,
            reason: "an older libvirtd may not read the guests afterwards".to_owned(),
            alternative: "evacuate the host".to_owned(),
        });
        hosts.push(PlannedHost {
            name: host_name(host),
            way: Way::InPlace,
            wave: u32::from(!canary),
            lane: count(in_wave % shape.parallel),
            guests: 2,
            already_done: false,
        });
    }
    let (prepare, change): (Vec<Step>, Vec<Step>) =
        passages.into_iter().flatten().partition(|step| step.stage == Stage::Prepare);
    Plan {
        format: PLAN_FORMAT,
        parent: None,
        fleet: "test".to_owned(),
        summary: vec![format!("libvirt {OLD} → {NEW}")],
        input: InputDigests { fleet_file: String::new(), inventory: String::new(), catalog: String::new() },
        pace: PlannedPace { parallel_hosts: count(shape.parallel), staging_parallel: 8 },
        acknowledged: Vec::new(),
        hosts,
        holds,
        points_of_no_return,
        osd_waves: None,
        steps: [prepare, change].concat(),
        findings: Vec::new(),
    }
}

fn hold(id: &str, why: &str, needs: Vec<Need>) -> Hold {
    Hold {
        id: hold_id(id),
        title: format!("look at it {}", id.replace('-', " ")),
        why: why.to_owned(),
        needs,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a fleet has fewer hosts than this")
}
