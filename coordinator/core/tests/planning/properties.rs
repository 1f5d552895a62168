//! Random fleets: the planner is deterministic, lint agrees with all that it makes, and a plan made again changes nothing
//! but what is done.

use crate::support::{World, apply, guest, host};
use proptest::prelude::*;
use replank_common::facts::Facts;
use replank_core::fleet_file::{Canary, FleetHost, LibvirtTcp, Listen, Role, TcpAuth};
use replank_core::lint::{lint, show_notes};
use replank_core::plan::{Plan, Stage, Step, Way, Work, estimate, show};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// One host of a random fleet.
#[derive(Debug, Clone)]
struct RandomHost {
    guests: u8,
    role: Role,
    reserved: bool,
    needrestart: Option<bool>,
    guests_unit: bool,
}

#[derive(Debug, Clone)]
struct RandomFleet {
    el7: bool,
    hosts: Vec<RandomHost>,
    parallel: u32,
    staging: u32,
    canary: u32,
    auth: Option<TcpAuth>,
    everywhere: bool,
}

fn random_host() -> impl Strategy<Value = RandomHost> {
    let role = prop_oneof![
        6 => Just(Role::Compute),
        1 => Just(Role::Spare),
        1 => Just(Role::Controller),
        1 => Just(Role::CephOsd),
    ];
    (0u8..5, role, prop::bool::weighted(0.1), prop::option::of(any::<bool>()), any::<bool>()).prop_map(
        |(guests, role, reserved, needrestart, guests_unit)| RandomHost {
            guests,
            role,
            reserved,
            needrestart,
            guests_unit,
        },
    )
}

fn random_fleet() -> impl Strategy<Value = RandomFleet> {
    let auth = prop_oneof![Just(None), Just(Some(TcpAuth::Sasl)), Just(Some(TcpAuth::None))];
    (
        any::<bool>(),
        prop::collection::vec(random_host(), 1..12),
        1u32..5,
        1u32..5,
        1u32..4,
        auth,
        any::<bool>(),
    )
        .prop_map(|(el7, hosts, parallel, staging, canary, auth, everywhere)| RandomFleet {
            el7,
            hosts,
            parallel,
            staging,
            canary,
            auth,
            everywhere,
        })
}

fn world(random: &RandomFleet) -> World {
    let mut world = if random.el7 { World::el7() } else { World::debian() };
    let pattern: Facts = world.inventory.hosts.values().next().unwrap().clone();
    world.inventory.hosts.clear();
    world.inventory.missing.clear();
    world.fleet.hosts.clear();
    world.fleet.pace.parallel_hosts = random.parallel;
    world.fleet.pace.staging_parallel = random.staging;
    world.fleet.pace.canary = Canary::Count(random.canary);
    let listen = if random.everywhere {
        Listen::Everywhere(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    } else {
        Listen::OwnAddress
    };
    world.guests().libvirt.tcp = random.auth.map(|auth| LibvirtTcp { listen, port: 16509, auth });
    for (number, random_host) in random.hosts.iter().enumerate() {
        let name = host(&format!("h{number}.example"));
        world.fleet.hosts.push(FleetHost {
            name: name.clone(),
            roles: [random_host.role].into(),
            way: Way::InPlace,
            address: Some(format!("192.0.2.{}", number + 1)),
            reserved: random_host.reserved,
        });
        let mut facts = pattern.clone();
        facts.host = name.clone();
        facts.census.host = name.clone();
        facts.needrestart_automatic = if random.el7 { None } else { random_host.needrestart };
        crate::support::unit(&mut facts, "libvirt-guests.service").active_state =
            if random_host.guests_unit { "active" } else { "inactive" }.to_owned();
        facts.libvirt.as_mut().unwrap().autostart.clear();
        facts.census.guests = (0..u128::from(random_host.guests))
            .map(|at| guest(&facts, 1 + at + 100 * number as u128))
            .map(|guest| (guest.uuid, guest))
            .collect();
        world.inventory.hosts.insert(name, facts);
    }
    world
}

fn clean(plan: &Plan) -> Result<(), TestCaseError> {
    let fatal: Vec<_> = lint(plan)
        .into_iter()
        .filter(|note| note.severity == replank_core::lint::LintSeverity::Fatal)
        .collect();
    prop_assert!(fatal.is_empty(), "{}", show_notes(&fatal));
    Ok(())
}

/// A step without what ties it to others.
fn bare(step: &Step) -> Step {
    Step { needs: Vec::new(), ..step.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn plans_are_deterministic_and_clean(random in random_fleet()) {
        let world = world(&random);
        let plan = world.plan();
        prop_assert_eq!(plan.to_bytes(), world.plan().to_bytes());
        clean(&plan)?;
        let (id, read) = Plan::from_bytes(&plan.to_bytes()).unwrap();
        prop_assert_eq!(&id, &plan.id());
        prop_assert_eq!(&read, &plan);
        prop_assert!(show(&plan).contains(id.as_str()));
        let estimate = estimate(&plan);
        prop_assert!(estimate.total_ms <= estimate.per_host_ms.values().sum());
    }

    /// Whatever subset of hosts is done: their steps are gone, the others' steps are what they were.
    #[test]
    fn planning_again_changes_nothing_but_what_is_done(random in random_fleet(), done in any::<u16>()) {
        let mut world = world(&random);
        let first = world.plan();
        let working: Vec<_> = first.hosts.iter().filter(|host| !host.already_done).map(|host| host.name.clone()).collect();
        let done: BTreeSet<_> =
            working.iter().enumerate().filter(|(at, _)| done & (1 << at) != 0).map(|(_, name)| name.clone()).collect();
        for name in &done {
            world.finish(&first, name);
        }
        let again = world.plan();
        clean(&again)?;
        let left = |plan: &Plan| -> Vec<Step> {
            plan.steps.iter().filter(|step| !done.contains(&step.host)).map(bare).collect()
        };
        prop_assert_eq!(left(&again), left(&first));
        prop_assert!(again.steps.iter().all(|step| !done.contains(&step.host)));
        for host in &again.hosts {
            prop_assert_eq!(host.already_done, done.contains(&host.name));
        }
        let waves = |plan: &Plan| -> Vec<_> { plan.hosts.iter().map(|host| (host.name.clone(), host.wave)).collect() };
        prop_assert_eq!(waves(&again), waves(&first));
    }

    #[test]
    fn planning_again_when_all_is_done_gives_no_steps(random in random_fleet()) {
        let mut world = world(&random);
        let plan = world.plan();
        for host in plan.hosts.clone() {
            world.finish(&plan, &host.name);
        }
        let again = world.plan();
        prop_assert_eq!(again.steps, vec![]);
        prop_assert_eq!(again.holds, vec![]);
        prop_assert_eq!(again.points_of_no_return, vec![]);
    }

    /// In the middle of one host: what is installed is not installed again, and nothing else changes.
    #[test]
    fn planning_again_after_the_new_qemu_leaves_only_its_installation_out(random in random_fleet()) {
        let mut world = world(&random);
        let first = world.plan();
        let Some(at) = first.hosts.iter().find(|host| !host.already_done).map(|host| host.name.clone()) else {
            return Ok(());
        };
        let facts = world.inventory.hosts.get_mut(&at).unwrap();
        let in_install = |step: &&Step| step.host == at && step.stage == Stage::Install;
        for step in first.steps.iter().filter(in_install) {
            if let Work::Act(action) = &*step.work {
                apply(facts, action);
            }
        }
        let again = world.plan();
        clean(&again)?;
        let gone: BTreeSet<&str> = ["install-qemu", "stage-qemu", "pin-qemu", "give-back-pin-qemu"].into();
        let is_gone = |step: &Step| {
            step.host == at && step.id.as_str().rsplit_once('.').is_some_and(|(_, what)| gone.contains(what))
        };
        // Where one repository holds both parts, its pin is another one without qemu.
        let is_pin = |step: &Step| step.host == at && step.id.as_str().contains("pin-");
        let expected: Vec<Step> = first.steps.iter().filter(|step| !is_gone(step) && !is_pin(step)).map(bare).collect();
        let found: Vec<Step> = again.steps.iter().filter(|step| !is_pin(step)).map(bare).collect();
        prop_assert_eq!(found, expected);
    }
}
