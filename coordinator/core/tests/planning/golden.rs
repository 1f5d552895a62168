//! Plans, findings and mistakes as people read them. A reviewer reads the diff; the plan's id in the text pins its bytes.

use crate::support::{World, host, version};
use replank_core::plan::{estimate, preflight, show, show_findings};

#[test]
fn a_plan_for_three_debian_hosts() {
    insta::assert_snapshot!(show(&World::debian().plan()));
}

#[test]
fn a_plan_for_six_hosts_of_el7() {
    insta::assert_snapshot!(show(&World::el7().plan()));
}

#[test]
fn one_host_of_a_plan_as_json() {
    let mut plan = World::debian().plan();
    plan.steps.retain(|step| step.host == host("compute1"));
    insta::assert_json_snapshot!(plan.steps);
}

#[test]
fn a_plan_in_the_middle_of_a_voyage() {
    let mut world = World::debian();
    let plan = world.plan();
    world.finish(&plan, &host("compute1"));
    insta::assert_snapshot!(show(&world.plan()));
}

#[test]
fn a_plan_when_all_is_done() {
    let mut world = World::debian();
    let plan = world.plan();
    for name in ["compute1", "compute2", "compute3"] {
        world.finish(&plan, &host(name));
    }
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    insta::assert_snapshot!(show(&plan));
}

#[test]
fn what_stands_in_the_way() {
    let mut world = World::debian();
    let first = world.facts("compute1");
    first.space.iter_mut().find(|fact| fact.path.ends_with("run")).unwrap().available_bytes = 4096;
    first.libvirt.as_mut().unwrap().autostart[0].active = false;
    world.facts("compute2").libvirt.as_mut().unwrap().running_version = Some(version("10.0.0"));
    world.inventory.hosts.remove(&host("compute3"));
    let findings = preflight(&world.fleet, &world.inventory, &world.catalog);
    insta::assert_snapshot!(show_findings(&findings));
}

#[test]
fn the_estimate_is_the_longest_chain_at_the_plans_pace() {
    let mut world = World::el7();
    let slow = {
        world.fleet.pace.parallel_hosts = 1;
        world.fleet.pace.staging_parallel = 1;
        estimate(&world.plan())
    };
    // One after the other in everything: the sum of all hosts' own steps.
    assert_eq!(slow.total_ms, slow.per_host_ms.values().sum::<u64>());
    world.fleet.pace.parallel_hosts = 5;
    world.fleet.pace.staging_parallel = 6;
    let fast = estimate(&world.plan());
    assert_eq!(fast.per_host_ms, slow.per_host_ms);
    let longest = fast.per_host_ms.values().max().unwrap();
    assert!(fast.total_ms < 2 * longest, "{} of {longest}", fast.total_ms);
}
