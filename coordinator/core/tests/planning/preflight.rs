//! Each thing that can stand in the way: found, named, and refused or neutralised.

use crate::support::{World, guest, host, unit, version};
use replank_common::action::Repository;
use replank_common::census::{CensusSource, Disagreement, GuestState};
use replank_common::facts::{AutostartFact, FactError, Facts, HookFact, PackageManager, SpaceFact};
use replank_common::finding::{Finding, Severity};
use replank_core::fleet_file::{LibvirtTcp, Listen, TcpAuth};
use replank_core::plan::{Way, preflight};
use std::path::PathBuf;

fn findings(world: &World) -> Vec<Finding> {
    preflight(&world.fleet, &world.inventory, &world.catalog)
}

/// The change is found under the code at the host, blocks the plan, and says what to do.
#[track_caller]
fn blocks(world: &World, code: &str, at: Option<&str>, said: &str) {
    let findings = findings(world);
    let found = findings
        .iter()
        .find(|finding| finding.code == code && finding.severity == Severity::Blocks)
        .unwrap_or_else(|| panic!("no blocking {code} in {findings:#?}"));
    assert_eq!(found.host, at.map(host));
    let text = format!("{}: {}; {}", found.subject, found.cause, found.remedy);
    assert!(text.contains(said), "{said} is not in {text}");
    assert!(found.remedy.len() > 10, "{text}");
    assert_eq!(world.try_plan().unwrap_err().findings, findings);
}

#[track_caller]
fn blocks_when(code: &str, said: &str, change: impl Fn(&mut Facts)) {
    let mut world = World::debian();
    change(world.facts("compute2"));
    blocks(&world, code, Some("compute2"), said);
}

#[track_caller]
fn fleet_blocks(code: &str, said: &str, change: impl Fn(&mut World)) {
    let mut world = World::debian();
    change(&mut world);
    blocks(&world, code, None, said);
}

#[track_caller]
fn neutralised(world: &World, code: &str, said: &str) {
    let how = findings(world)
        .into_iter()
        .filter(|finding| finding.code == code)
        .find_map(|finding| match finding.severity {
            Severity::Neutralised { how } => Some(how),
            Severity::Blocks | Severity::Notes => None,
        })
        .unwrap_or_else(|| panic!("{code} is not neutralised"));
    assert!(how.contains(said), "{how}");
    world.plan();
}

#[test]
fn the_example_fleets_have_no_blockers() {
    for world in [World::debian(), World::el7()] {
        assert!(findings(&world).iter().all(|finding| finding.severity != Severity::Blocks));
    }
}

#[test]
fn a_missing_emulator() {
    blocks_when("RP2026", "nothing is known of its emulator", |facts| {
        let name = facts.census.guests.keys().next().copied().unwrap();
        facts.census.guests.get_mut(&name).unwrap().emulator = PathBuf::from("/usr/local/bin/qemu");
    });
    blocks_when("RP2026", "nothing is known of its emulator", |facts| facts.emulators.clear());
    blocks_when("RP2026", "compute2-guest1", |facts| {
        facts.emulators[0].version = None;
        facts.emulators[0].detail = "No such file or directory".to_owned();
        for guest in facts.census.guests.values_mut() {
            guest.emulator_deleted = true;
        }
    });
    blocks_when("RP2026", "new guests of type qemu would get it", |facts| {
        facts.census.guests.clear();
        facts.emulators.clear();
    });
    blocks_when("RP2026", "names no emulator", |facts| {
        facts.libvirt.as_mut().unwrap().default_emulators.clear();
    });
}

#[test]
fn an_emulator_that_does_not_run() {
    blocks_when("RP2027", "libfoo.so.1: cannot open", |facts| {
        facts.emulators[0].version = None;
        facts.emulators[0].detail = "libfoo.so.1: cannot open shared object file".to_owned();
    });
}

#[test]
fn a_full_run() {
    let run = |facts: &mut Facts, change: fn(&mut SpaceFact)| {
        change(facts.space.iter_mut().find(|fact| fact.path.ends_with("run")).unwrap());
    };
    blocks_when("RP2029", "guest whose status it cannot save", |facts| {
        run(facts, |fact| fact.available_bytes = 0)
    });
    blocks_when("RP2029", "inodes", |facts| run(facts, |fact| fact.free_inodes = 3));
    blocks_when("RP2011", "/run", |facts| facts.space.retain(|fact| !fact.path.ends_with("run")));
}

#[test]
fn a_read_only_or_small_file_system() {
    blocks_when("RP2030", "mounted read-only", |facts| facts.space[0].read_only = true);
    blocks_when("RP2031", "spare", |facts| facts.space[0].available_bytes = 1 << 20);
}

#[test]
fn a_reconnect_hook_that_fails() {
    for (exit, said) in [(Some(1), "exits 1"), (None, "gives no exit code")] {
        blocks_when("RP2020", said, |facts| {
            facts.libvirt.as_mut().unwrap().hooks.push(HookFact {
                path: PathBuf::from("/etc/libvirt/hooks/qemu"),
                reconnect_exit: exit,
                detail: "it says nothing".to_owned(),
            });
        });
    }
}

#[test]
fn an_autostart_domain_that_is_down() {
    blocks_when("RP2021", "virsh autostart --disable sleeper", |facts| {
        let down = AutostartFact { name: "sleeper".to_owned(), active: false };
        facts.libvirt.as_mut().unwrap().autostart.push(down);
    });
}

#[test]
fn a_running_libvirt_guests_is_masked() {
    let mut world = World::debian();
    unit(world.facts("compute1"), "libvirt-guests.service").active_state = "active".to_owned();
    neutralised(&world, "RP2032", "masks it before packages are installed");
}

#[test]
fn needrestart_is_quieted() {
    neutralised(&World::debian(), "RP2033", "list only");
    let mut world = World::debian();
    for name in ["compute1", "compute2", "compute3"] {
        world.facts(name).needrestart_automatic = None;
    }
    let plan = world.plan();
    assert!(plan.steps.iter().all(|step| !step.id.as_str().contains("needrestart")));

    // EL7's hop has no file for it: there it blocks.
    let mut world = World::el7();
    world.facts("n2.north.example").needrestart_automatic = Some(true);
    blocks(&world, "RP2033", Some("n2.north.example"), "nrconf");
}

#[test]
fn a_kill_mode_that_takes_guests_along() {
    blocks_when("RP2017", "control-group", |facts| {
        unit(facts, "libvirtd.service").kill_mode = Some("control-group".to_owned());
    });
    blocks_when("RP2017", "unknown", |facts| unit(facts, "libvirtd.service").kill_mode = None);
    blocks_when("RP2011", "libvirtd.service", |facts| {
        facts.units.retain(|fact| fact.name != "libvirtd.service")
    });
}

#[test]
fn a_libvirtd_that_does_not_answer_or_is_another() {
    blocks_when("RP2015", "does not answer", |facts| facts.libvirt.as_mut().unwrap().running_version = None);
    blocks_when("RP2015", "no libvirt", |facts| facts.libvirt = None);
    blocks_when("RP2016", "virtqemud", |facts| {
        facts.libvirt.as_mut().unwrap().unit = "virtqemud.service".to_owned();
    });
}

#[test]
fn a_census_that_does_not_agree() {
    blocks_when("RP2025", "the cgroup scopes", |facts| {
        let why = "permission denied".to_owned();
        facts.census.disagreements.push(Disagreement::Silent { source: CensusSource::Scopes, why });
    });
}

#[test]
fn a_guest_job_in_flight() {
    blocks_when("RP2022", "migration", |facts| {
        facts.libvirt.as_mut().unwrap().jobs.push(("db1".to_owned(), "migration".to_owned()));
    });
}

#[test]
fn guests_that_are_not_at_rest() {
    let set = |facts: &mut Facts, state: GuestState| {
        facts.census.guests.values_mut().next().unwrap().state = state;
    };
    blocks_when("RP2023", "I/O error", |facts| set(facts, GuestState::Paused("ioerror".to_owned())));
    blocks_when("RP2023", "migration", |facts| set(facts, GuestState::Paused("migration".to_owned())));
    blocks_when("RP2023", "crashed", |facts| set(facts, GuestState::Other("crashed".to_owned())));
    blocks_when("RP2023", "monitor may hang", |facts| set(facts, GuestState::Unknown));
    for quiet in [GuestState::Paused("user".to_owned()), GuestState::Other("pmsuspended".to_owned())] {
        let mut world = World::debian();
        set(world.facts("compute2"), quiet);
        world.plan();
    }
}

#[test]
fn a_guest_on_two_hosts() {
    let mut world = World::debian();
    let twin = guest(world.facts("compute1"), 7);
    for name in ["compute1", "compute3"] {
        world.facts(name).census.guests.insert(twin.uuid, twin.clone());
    }
    blocks(&world, "RP2024", Some("compute3"), "compute1 and compute3");
}

#[test]
fn hosts_and_facts_that_are_not_known() {
    let mut world = World::debian();
    world.inventory.hosts.remove(&host("compute3"));
    world.inventory.missing.insert(host("compute3"), "its link is down since 10:12".to_owned());
    blocks(&world, "RP2010", Some("compute3"), "its link is down since 10:12");
    blocks_when("RP2011", "timed out", |facts| {
        facts.errors.push(FactError { fact: "units".to_owned(), why: "timed out".to_owned() });
    });
    blocks_when("RP2011", "compute9", |facts| facts.host = host("compute9"));
}

#[test]
fn versions_that_are_neither_old_nor_new() {
    blocks_when("RP2014", "libvirtd 10.0.0", |facts| {
        facts.libvirt.as_mut().unwrap().running_version = Some(version("10.0.0"));
    });
    blocks_when("RP2014", "qemu 8.2.1", |facts| facts.emulators[0].version = Some(version("8.2.1")));
    blocks_when("RP2014", "10.0.0-1", |facts| {
        let all = facts.packages.get_mut(&PackageManager::Apt).unwrap();
        all.iter_mut().find(|fact| fact.name == "libvirt0").unwrap().version = "10.0.0-1".to_owned();
    });
    blocks_when("RP2014", "nothing to upgrade", |facts| facts.packages.clear());
}

#[test]
fn an_installed_package_that_is_not_pinned() {
    blocks_when("RP2004", "libvirt-daemon-driver-lxc", |facts| {
        let all = facts.packages.get_mut(&PackageManager::Apt).unwrap();
        let mut lxc = all.iter().find(|fact| fact.name == "libvirt0").unwrap().clone();
        lxc.name = "libvirt-daemon-driver-lxc".to_owned();
        all.push(lxc);
    });
}

#[test]
fn the_wrong_system_and_missing_managers() {
    blocks_when("RP2012", "debian 12", |facts| facts.os.version_id = "11".to_owned());
    blocks_when("RP2012", "aarch64", |facts| facts.os.architecture = "aarch64".to_owned());
    blocks_when("RP2013", "dnf", |facts| {
        facts.package_managers.retain(|manager| *manager != PackageManager::Dnf)
    });
}

#[test]
fn services_that_act_on_guests_by_themselves() {
    for name in ["nova-compute.service", "vdsmd.service"] {
        blocks_when("RP2034", name, |facts| unit(facts, name).active_state = "active".to_owned());
    }
}

#[test]
fn ways_of_listening_with_which_libvirtd_would_not_start() {
    blocks_when("RP2018", "--listen", |facts| {
        let config = &mut facts.libvirt.as_mut().unwrap().config;
        config.insert("LIBVIRTD_ARGS".to_owned(), "--timeout 120 --listen".to_owned());
    });
    blocks_when("RP2018", "masked", |facts| {
        unit(facts, "libvirtd-tcp.socket").file_state = "masked".to_owned();
    });
    neutralised(&World::el7(), "RP2018", "listen_tls = 0");

    let mut world = World::debian();
    world.guests().libvirt.tcp =
        Some(LibvirtTcp { listen: Listen::OwnAddress, port: 16514, auth: TcpAuth::Tls });
    blocks(&world, "RP2019", Some("compute1"), "certificates");
    for name in ["compute1", "compute2", "compute3"] {
        let config = &mut world.facts(name).libvirt.as_mut().unwrap().config;
        config.insert("tls_files".to_owned(), "present".to_owned());
    }
    let plan = world.plan();
    assert!(plan.steps.iter().any(|step| step.title == "enable libvirtd-tls.socket"));
    assert_eq!(plan.acknowledged, Vec::<String>::new());
}

#[test]
fn mistakes_between_fleet_file_and_catalog() {
    fleet_blocks("RP2001", "debian-12-qemu-7.2-to-10.0.2", |world| world.fleet.hops[0] = "qemu-8".to_owned());
    fleet_blocks("RP2002", "1 hops of qemu and 0 of libvirt", |world| world.fleet.hops.truncate(1));
    fleet_blocks("RP2003", "write 10.0.2", |world| world.guests().qemu.version = version("10.0.3"));
    fleet_blocks("RP2003", "libvirt0", |world| {
        let pins = &mut world.guests().libvirt.packages;
        pins.iter_mut().find(|pin| pin.name == "libvirt0").unwrap().version = "11.4.0-1".to_owned();
    });
    fleet_blocks("RP2004", "libvirt-daemon-system", |world| {
        world.guests().libvirt.packages.retain(|pin| pin.name != "libvirt-daemon-system");
    });
    fleet_blocks("RP2005", "not a repository for apt", |world| {
        let url = "https://packages.example/".to_owned();
        let rpm = Repository::Rpm { base_url: url, gpg_check: true, gpg_key: None };
        world.fleet.repositories.insert("libvirt".to_owned(), rpm);
    });
    fleet_blocks("RP2005", "no repository", |world| world.fleet.repositories.clear());
    fleet_blocks("RP2007", "nothing that the hop", |world| {
        world.guests().qemu.build_has.insert("cb182eb11d".to_owned());
    });
}

#[test]
fn a_libvirt_3_2_without_the_fix_for_network_interfaces() {
    let mut world = World::el7();
    world.guests().libvirt.build_has.remove("cb182eb11d");
    blocks(&world, "RP2007", None, "kills each guest with an interface of a libvirt network");
}

#[test]
fn evacuating_first_is_for_later() {
    let mut world = World::debian();
    world.fleet.hosts[1].way = Way::EvacuateFirst;
    blocks(&world, "RP2009", Some("compute2"), "live migration is a later capability");
}

#[test]
fn what_is_left_alone_is_said() {
    let world = World::el7();
    let (plan, report) = world.try_plan().unwrap();
    assert_eq!(report.untouched, [host("ctl1.north.example"), host("n7.north.example")]);
    for name in &report.untouched {
        assert!(plan.hosts.iter().all(|planned| planned.name != *name));
        assert!(
            plan.findings
                .iter()
                .any(|finding| finding.code == "RP2037" && finding.host.as_ref() == Some(name))
        );
    }
}

#[test]
fn a_lone_host_is_checked_over_tcp_by_nobody_and_that_is_said() {
    let mut world = World::debian();
    world.fleet.hosts.truncate(1);
    world.inventory.hosts.retain(|name, _| name.as_str() == "compute1");
    let plan = world.plan();
    assert!(plan.findings.iter().any(|finding| finding.code == "RP2039"));
    // A controller with an agent can vouch for it.
    let mut world = World::debian();
    world.fleet.hosts[1].roles = [replank_core::fleet_file::Role::Controller].into();
    world.fleet.hosts.truncate(2);
    assert!(world.plan().findings.iter().all(|finding| finding.code != "RP2039"));
}

#[test]
fn an_interrupted_upgrade_is_pointed_out() {
    let mut world = World::debian();
    let plan = world.plan();
    let install = plan.steps.iter().find(|step| step.id.as_str() == "compute1.install-libvirt").unwrap();
    let replank_core::plan::Work::Act(action) = &*install.work else { panic!() };
    crate::support::apply(world.facts("compute1"), action);
    assert!(findings(&world).iter().any(|finding| finding.code == "RP2035"));
}
