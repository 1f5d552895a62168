//! Small plans that lint finds nothing wrong with.

use replank_common::action::{Action, LibvirtTrial, TrialOf, UnitEnable};
use replank_common::facts::PackageManager;
use replank_common::ids::{HoldId, HostName, StepId};
use replank_core::gate::Gate;
use replank_core::plan::{
    Hold, InputDigests, Need, PLAN_FORMAT, Plan, PlannedHost, PlannedPace, Stage, Step, Undo, Way, Work,
};

pub fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// `<host>.<what>`.
pub fn step_id(host: &str, what: &str) -> StepId {
    StepId::new(format!("{host}.{what}")).unwrap()
}

pub fn hold_id() -> HoldId {
    HoldId::new("before-change").unwrap()
}

fn step(host_name: &str, what: &str, (stage, action, undo): Kind, needs: Vec<Need>) -> Step {
    Step {
        id: step_id(host_name, what),
        host: host(host_name),
        stage,
        title: format!("see to {what}"),
        work: Work::Act(action).into(),
        before: vec![Gate::CensusHolds],
        after: vec![Gate::CensusHolds],
        undo,
        needs,
        expected_ms: 1_000,
        deadline_ms: 20_000,
    }
}

type Kind = (Stage, Action, Undo);

fn look() -> Kind {
    let trial = LibvirtTrial { manager: PackageManager::Apt, of: TrialOf::New, packages: Vec::new() };
    (Stage::Prepare, Action::LibvirtTrial(trial), Undo::Nothing)
}

fn change(unit: &str) -> Kind {
    let enable = UnitEnable { unit: format!("{unit}.service"), enable: true };
    (Stage::Switch, Action::UnitEnable(enable), Undo::Record)
}

/// Each host has a step `ready`, then all of them a hold, and then `first` and `second`. `note` makes plans of the same hosts differ.
pub fn plan(hosts: &[&str], note: &str) -> Plan {
    let all = u32::try_from(hosts.len()).unwrap();
    let ready = |host: &&str| step(host, "ready", look(), Vec::new());
    let changes = |host: &&str| {
        let needs = vec![Need::Step(step_id(host, "ready")), Need::Hold(hold_id())];
        let second = vec![Need::Step(step_id(host, "first"))];
        [step(host, "first", change("first"), needs), step(host, "second", change("second"), second)]
    };
    Plan {
        format: PLAN_FORMAT,
        parent: None,
        fleet: "test".to_owned(),
        summary: vec![note.to_owned()],
        input: InputDigests { fleet_file: String::new(), inventory: String::new(), catalog: String::new() },
        pace: PlannedPace { parallel_hosts: all, staging_parallel: all },
        acknowledged: Vec::new(),
        hosts: (0..)
            .zip(hosts)
            .map(|(lane, name)| PlannedHost {
                name: host(name),
                way: Way::InPlace,
                wave: 0,
                lane,
                guests: 1,
                already_done: false,
            })
            .collect(),
        holds: vec![Hold {
            id: hold_id(),
            title: "before anything changes".to_owned(),
            why: "see that the guests run".to_owned(),
            needs: hosts.iter().map(|host| Need::Step(step_id(host, "ready"))).collect(),
        }],
        points_of_no_return: Vec::new(),
        osd_waves: None,
        steps: hosts.iter().map(ready).chain(hosts.iter().flat_map(changes)).collect(),
        findings: Vec::new(),
    }
}
