//! The smallest plan over which two coordinators can disagree: one change on each of two hosts, one after the other.

use replank_common::action::{Action, FileWrite};
use replank_common::ids::{HostName, PlanId, RunId, StepId};
use replank_core::gate::Gate;
use replank_core::plan::{
    InputDigests, Need, PLAN_FORMAT, Plan, PlannedHost, PlannedPace, Stage, Step, Undo, Way, Work,
};
use replank_core::run::Index;
use std::sync::Arc;

pub const HOSTS: usize = 2;

pub fn host_name(host: usize) -> HostName {
    HostName::new(format!("compute{}", host + 1)).unwrap()
}

pub fn run_id() -> RunId {
    RunId::new(format!("run-{:032x}", 7)).unwrap()
}

fn step_id(host: usize) -> StepId {
    StepId::new(format!("{}.write", host_name(host))).unwrap()
}

pub fn plan_id() -> PlanId {
    PlanId::new(format!("sha256:{:064x}", 9)).unwrap()
}

pub fn action() -> Action {
    Action::FileWrite(FileWrite {
        path: "/etc/replank-test/one".into(),
        contents: "one".to_owned(),
        mode: 0o644,
        replace: true,
    })
}

fn step(host: usize) -> Step {
    Step {
        id: step_id(host),
        host: host_name(host),
        stage: Stage::Prepare,
        title: "write".to_owned(),
        work: Work::Act(action()).into(),
        before: vec![Gate::CensusHolds],
        after: vec![Gate::CensusHolds],
        undo: Undo::Record,
        needs: host.checked_sub(1).map(|before| Need::Step(step_id(before))).into_iter().collect(),
        expected_ms: 1,
        deadline_ms: 1_000,
    }
}

pub fn index() -> Arc<Index> {
    let planned = |host: usize| PlannedHost {
        name: host_name(host),
        way: Way::InPlace,
        wave: 0,
        lane: u32::try_from(host).unwrap(),
        guests: 0,
        already_done: false,
    };
    let plan = Plan {
        format: PLAN_FORMAT,
        parent: None,
        fleet: "test".to_owned(),
        summary: Vec::new(),
        input: InputDigests { fleet_file: String::new(), inventory: String::new(), catalog: String::new() },
        pace: PlannedPace { parallel_hosts: 2, staging_parallel: 2 },
        acknowledged: Vec::new(),
        hosts: (0..HOSTS).map(planned).collect(),
        holds: Vec::new(),
        points_of_no_return: Vec::new(),
        osd_waves: None,
        steps: (0..HOSTS).map(step).collect(),
        findings: Vec::new(),
    };
    Arc::new(Index::new(plan_id(), plan).unwrap())
}
