//! Lint is attacked with plans that are almost right: each change breaks one promise and must be told.

use crate::support::World;
use replank_common::action::{Action, SettingValue, TrialOf};
use replank_common::facts::PackageManager;
use replank_common::ids::StepId;
use replank_core::gate::Gate;
use replank_core::lint::{LintSeverity, lint, show_notes};
use replank_core::plan::{Need, Plan, Stage, Step, Undo, Way, Work};
use std::path::PathBuf;
use std::sync::Arc;

#[test]
fn the_example_plans_are_clean() {
    for world in [World::debian(), World::el7()] {
        let notes = lint(&world.plan());
        assert!(notes.is_empty(), "{}", show_notes(&notes));
    }
}

fn step<'p>(plan: &'p mut Plan, id: &str) -> &'p mut Step {
    plan.steps.iter_mut().find(|step| step.id.as_str() == id).unwrap_or_else(|| panic!("no step {id}"))
}

/// Takes a step out and lets what needed it need what it needed, so that nothing but its absence is wrong.
fn remove(plan: &mut Plan, id: &str) {
    let at =
        plan.steps.iter().position(|step| step.id.as_str() == id).unwrap_or_else(|| panic!("no step {id}"));
    let gone = plan.steps.remove(at);
    let heal = |needs: &mut Vec<Need>| {
        let before = needs.len();
        needs.retain(|need| *need != Need::Step(gone.id.clone()));
        if needs.len() < before {
            needs.extend(gone.needs.iter().cloned());
        }
    };
    plan.steps.iter_mut().for_each(|step| heal(&mut step.needs));
    plan.holds.iter_mut().for_each(|hold| heal(&mut hold.needs));
    plan.points_of_no_return.retain(|point| point.step != gone.id);
}

/// Lets two steps of one host change places, needs included.
fn swap(plan: &mut Plan, first: &str, second: &str) {
    let at = |plan: &Plan, id: &str| plan.steps.iter().position(|step| step.id.as_str() == id).unwrap();
    let (a, b) = (at(plan, first), at(plan, second));
    let (needs_a, needs_b) = (plan.steps[a].needs.clone(), plan.steps[b].needs.clone());
    let (id_a, id_b) = (plan.steps[a].id.clone(), plan.steps[b].id.clone());
    plan.steps.swap(a, b);
    plan.steps[a].needs = needs_a;
    plan.steps[b].needs = needs_b;
    let exchange = |needs: &mut Vec<Need>| {
        for need in needs {
            if let Need::Step(id) = need {
                if *id == id_a {
                    *id = id_b.clone();
                } else if *id == id_b {
                    *id = id_a.clone();
                }
            }
        }
    };
    plan.steps.iter_mut().for_each(|step| exchange(&mut step.needs));
    plan.holds.iter_mut().for_each(|hold| exchange(&mut hold.needs));
}

fn action<'p>(plan: &'p mut Plan, id: &str) -> &'p mut Action {
    match Arc::make_mut(&mut step(plan, id).work) {
        Work::Act(action) => action,
        other => panic!("{id} does not act but {other:?}"),
    }
}

fn forget(plan: &mut Plan, id: &str, gate: &Gate) {
    let step = step(plan, id);
    step.before.retain(|other| other != gate);
    step.after.retain(|other| other != gate);
}

type Break = fn(&mut Plan);

/// What is broken, how, and the code that must tell.
const BREAKS: &[(&str, &str, Break)] = &[
    ("no census around an installation", "RP2103", |plan| {
        forget(plan, "compute2.install-libvirt", &Gate::CensusHolds);
    }),
    ("no census after giving back", "RP2103", |plan| {
        step(plan, "compute1.give-back-mask-libvirt-guests").after.clear();
    }),
    ("no census in the last look", "RP2103", |plan| forget(plan, "compute1.verify", &Gate::CensusHolds)),
    ("a restart under guests' jobs", "RP2105", |plan| {
        forget(plan, "compute1.restart-libvirt", &Gate::NoGuestJobs);
    }),
    ("nobody asks for the new version", "RP2105", |plan| {
        step(plan, "compute1.restart-libvirt").after.retain(|gate| *gate == Gate::CensusHolds);
    }),
    ("a second restart", "RP2105", |plan| {
        let mut again = step(plan, "compute1.restart-libvirt").clone();
        again.needs = vec![Need::Step(again.id.clone())];
        again.id = StepId::new("compute1.restart-again").unwrap();
        let at = plan.steps.iter().position(|step| step.id.as_str() == "compute1.restart-libvirt").unwrap();
        plan.steps[at + 1].needs = vec![Need::Step(again.id.clone())];
        plan.steps.insert(at + 1, again);
    }),
    ("a restart before the installation", "RP2105", |plan| {
        swap(plan, "compute1.restart-libvirt", "compute1.install-libvirt");
    }),
    ("no restart", "RP2105", |plan| remove(plan, "compute2.restart-libvirt")),
    ("configuration after the restart", "RP2105", |plan| {
        swap(plan, "compute1.find-new-qemu", "compute1.restart-libvirt");
    }),
    ("an enabled socket that nobody starts", "RP2105", |plan| {
        let Action::LibvirtRestart(restart) = action(plan, "compute3.restart-libvirt") else { panic!() };
        restart.sockets.clear();
    }),
    ("a daemon that need not stay", "RP2105", |plan| {
        let Action::PackagesInstall(install) = action(plan, "compute3.install-libvirt") else { panic!() };
        install.undisturbed_units.retain(|unit| unit != "libvirtd.service");
    }),
    ("no anchor", "RP2106", |plan| remove(plan, "compute3.anchor-libvirt")),
    ("an anchor too late", "RP2106", |plan| {
        swap(plan, "compute1.anchor-libvirt", "compute1.install-libvirt");
    }),
    ("an anchor of another unit", "RP2106", |plan| {
        let Action::LibvirtAnchor(anchor) = action(plan, "compute3.anchor-libvirt") else { panic!() };
        anchor.unit = "virtqemud.service".to_owned();
    }),
    ("a mask that stays", "RP2107", |plan| remove(plan, "compute2.give-back-mask-libvirt-guests")),
    ("a pin given back twice", "RP2107", |plan| {
        let pin = StepId::new("compute1.pin-libvirt").unwrap();
        step(plan, "compute1.give-back-pin-qemu").work = Work::GiveBack(pin).into();
    }),
    ("given back too early", "RP2107", |plan| {
        swap(plan, "compute1.give-back-mask-libvirt-guests", "compute1.restart-libvirt");
    }),
    ("given back in the order it was borrowed", "RP2107", |plan| {
        swap(plan, "compute1.give-back-pin-qemu", "compute1.give-back-pin-libvirt");
    }),
    ("no hold before the canary", "RP2108", |plan| {
        let hold = plan.holds[0].clone();
        let open = step(plan, "compute1.keep-files-in-use");
        open.needs.retain(|need| *need != Need::Hold(hold.id.clone()));
        open.needs.extend(hold.needs);
    }),
    ("one restart not held", "RP2108", |plan| {
        plan.points_of_no_return.retain(|point| point.step.as_str() != "compute2.restart-libvirt");
    }),
    ("a hold that is met at once", "RP2108", |plan| plan.holds[1].needs.clear()),
    ("a point of no return without an alternative", "RP2108", |plan| {
        plan.points_of_no_return[0].alternative.clear();
    }),
    ("no canary", "RP2109", |plan| {
        let prepared = plan.holds[0].needs.clone();
        plan.holds[1].needs = prepared;
    }),
    ("the rest does not wait for the canary's end", "RP2109", |plan| {
        plan.holds[1].needs = vec![Need::Step(StepId::new("compute1.verify").unwrap())];
    }),
    ("a host that is done and has steps", "RP2110", |plan| plan.hosts[2].already_done = true),
    ("a host to be evacuated", "RP2110", |plan| plan.hosts[1].way = Way::EvacuateFirst),
    ("two hosts at once where one was declared", "RP2111", |plan| {
        let hold = plan.holds[1].id.clone();
        let own = Need::Step(StepId::new("compute3.try-new-libvirt").unwrap());
        step(plan, "compute3.keep-files-in-use").needs = vec![own, Need::Hold(hold)];
    }),
    ("a lane that the needs do not make", "RP2111", |plan| plan.hosts[2].lane = 5),
    ("more hosts prepare than declared", "RP2111", |plan| {
        step(plan, "compute3.pin-libvirt").needs.clear();
    }),
    ("a canary that does not wait for the others to prepare", "RP2112", |plan| {
        plan.holds[0].needs.pop();
    }),
    ("any version", "RP2113", |plan| {
        let Action::PackagesInstall(install) = action(plan, "compute1.install-libvirt") else { panic!() };
        install.install[0].version = "11.*".to_owned();
    }),
    ("fetched without a pin", "RP2113", |plan| {
        let Action::RepositoryPin(pin) = action(plan, "compute1.pin-libvirt") else { panic!() };
        pin.pins.pop();
    }),
    ("libvirt-guests left alone", "RP2114", |plan| {
        remove(plan, "compute1.give-back-mask-libvirt-guests");
        remove(plan, "compute1.mask-libvirt-guests");
    }),
    ("a mask of libvirtd", "RP2114", |plan| {
        let Action::UnitMask(mask) = action(plan, "compute1.mask-libvirt-guests") else { panic!() };
        mask.unit = "libvirtd.service".to_owned();
    }),
    ("an open door that nobody accepted", "RP2115", |plan| plan.acknowledged.clear()),
    ("an open door where SASL was planned", "RP2115", |plan| {
        plan.acknowledged = vec!["go ahead".to_owned()];
        let Action::FileEdit(edit) = action(plan, "compute1.configure-libvirtd") else { panic!() };
        edit.settings[0].values = vec![SettingValue::Text("none".to_owned())];
    }),
    ("files that are not put back", "RP2116", |plan| {
        step(plan, "compute1.configure-libvirtd").undo = Undo::Nothing;
    }),
    ("a rollback without a guard", "RP2116", |plan| {
        step(plan, "compute1.try-old-libvirt").undo = Undo::Nothing;
    }),
    ("a pin that an abort leaves behind", "RP2116", |plan| {
        step(plan, "compute1.pin-libvirt").undo = Undo::Record;
    }),
    ("a deadline that cannot be met", "RP2117", |plan| {
        let step = step(plan, "compute2.install-qemu");
        step.deadline_ms = step.expected_ms;
    }),
    ("nothing verified", "RP2118", |plan| remove(plan, "compute1.verify")),
    ("no look at the way back", "RP2118", |plan| remove(plan, "compute1.try-old-libvirt")),
    ("a host that vouches for itself", "RP2118", |plan| {
        for gate in &mut step(plan, "compute1.verify").after {
            if let Gate::LibvirtTcpAnswers { from, .. } = gate {
                *from = crate::support::host("compute1");
            }
        }
    }),
    ("another emulator than the one tried", "RP2118", |plan| {
        for gate in &mut step(plan, "compute1.verify").after {
            if let Gate::NewGuestsGet { emulator, .. } = gate {
                *emulator = PathBuf::from("/usr/bin/qemu-system-x86_64");
            }
        }
    }),
    ("the new libvirt not tried", "RP2119", |plan| remove(plan, "compute2.try-new-libvirt")),
    ("another libvirt tried", "RP2119", |plan| {
        let Action::LibvirtTrial(trial) = action(plan, "compute2.try-new-libvirt") else { panic!() };
        trial.of = TrialOf::Old;
    }),
    ("nothing kept", "RP2120", |plan| remove(plan, "compute1.keep-files-in-use")),
    ("kept after the installation", "RP2120", |plan| {
        swap(plan, "compute1.keep-files-in-use", "compute1.install-libvirt");
    }),
    ("nothing that may be loaded later is kept", "RP2120", |plan| {
        let Action::TreeRetain(retain) = action(plan, "compute1.keep-files-in-use") else { panic!() };
        retain.lazy.clear();
    }),
    ("package scripts may restart services", "RP2121", |plan| {
        remove(plan, "compute1.give-back-quiet-policy-rc-d");
        remove(plan, "compute1.quiet-policy-rc-d");
    }),
    ("a policy-rc.d that forbids nothing", "RP2121", |plan| {
        let Action::FileWrite(write) = action(plan, "compute1.quiet-policy-rc-d") else { panic!() };
        write.contents = "#!/bin/sh\nexit 0\n".to_owned();
    }),
    ("a policy-rc.d that is not run", "RP2121", |plan| {
        let Action::FileWrite(write) = action(plan, "compute1.quiet-policy-rc-d") else { panic!() };
        write.mode = 0o644;
    }),
    ("installed without being fetched", "RP2122", |plan| remove(plan, "compute1.stage-libvirt")),
    ("fetched by another manager", "RP2122", |plan| {
        let Action::PackagesStage(stage) = action(plan, "compute1.stage-qemu") else { panic!() };
        stage.manager = PackageManager::Yum;
    }),
    ("a relocated tree among the system's files", "RP2123", |plan| {
        let Action::TreeInstall(tree) = action(plan, "compute1.install-qemu") else { panic!() };
        tree.prefix = PathBuf::from("/usr/lib/qemu");
    }),
    ("a new qemu that nobody tried", "RP2123", |plan| remove(plan, "compute1.try-qemu")),
    ("two steps of one name", "RP2101", |plan| {
        let twin = step(plan, "compute1.verify").clone();
        plan.steps.push(twin);
    }),
    ("a step on a host that is not in the plan", "RP2101", |plan| {
        plan.hosts.retain(|host| host.name.as_str() != "compute3");
    }),
    ("a host twice, in two waves", "RP2101", |plan| {
        let mut twin = plan.hosts[2].clone();
        twin.wave = 0;
        plan.hosts.push(twin);
    }),
    ("a need that leads nowhere", "RP2101", |plan| {
        let nowhere = Need::Step(StepId::new("compute1.nowhere").unwrap());
        step(plan, "compute1.verify").needs.push(nowhere);
    }),
    ("a hold that is gone", "RP2101", |plan| {
        plan.holds.pop();
    }),
    ("a circle", "RP2102", |plan| {
        let last = Need::Step(StepId::new("compute1.give-back-pin-libvirt").unwrap());
        step(plan, "compute1.pin-libvirt").needs.push(last);
    }),
    ("a circle through a hold", "RP2102", |plan| {
        let last = Need::Step(StepId::new("compute3.verify").unwrap());
        plan.holds[0].needs.push(last);
    }),
    ("steps listed out of order", "RP2102", |plan| plan.steps.swap(3, 4)),
    ("a step that does not wait for the one before", "RP2104", |plan| {
        step(plan, "compute1.install-libvirt").needs.clear();
    }),
    ("stages mixed", "RP2104", |plan| step(plan, "compute1.install-qemu").stage = Stage::Verify),
    ("a change among the preparations", "RP2104", |plan| {
        step(plan, "compute1.keep-files-in-use").stage = Stage::Prepare;
    }),
];

#[test]
fn every_broken_promise_is_told() {
    assert!(BREAKS.len() >= 15);
    for (what, code, change) in BREAKS {
        let mut plan = World::debian().plan();
        change(&mut plan);
        let notes = lint(&plan);
        assert!(
            notes.iter().any(|note| note.code == *code && note.severity == LintSeverity::Fatal),
            "{what}: no fatal {code} among\n{}",
            show_notes(&notes)
        );
    }
}

#[test]
fn the_same_on_hosts_of_el7() {
    let first = "n1.north.example";
    let cases: [(&str, Break); 4] = [
        ("RP2107", |plan| remove(plan, "n1.north.example.give-back-pin-packages")),
        ("RP2105", |plan| {
            swap(plan, "n1.north.example.start-libvirtd-listening", "n1.north.example.restart-libvirt");
        }),
        ("RP2103", |plan| forget(plan, "n1.north.example.start-libvirtd-listening", &Gate::CensusHolds)),
        ("RP2111", |plan| plan.pace.parallel_hosts = 1),
    ];
    for (code, change) in cases {
        let mut plan = World::el7().plan();
        change(&mut plan);
        let notes = lint(&plan);
        assert!(notes.iter().any(|note| note.code == code), "{code} on {first}\n{}", show_notes(&notes));
    }
}

#[test]
fn a_plan_without_points_of_no_return_is_looked_at_twice() {
    let mut plan = World::debian().plan();
    plan.points_of_no_return.clear();
    let notes = lint(&plan);
    let told: Vec<(LintSeverity, &str)> = notes.iter().map(|note| (note.severity, note.code)).collect();
    assert_eq!(told, [(LintSeverity::Warning, "RP2108")]);
}
