//! The whole agent, assembled as the program does it, against the coordinator of this process.

use super::coordinator::{Coordinator, PATIENCE};
use super::{execute, id, is_refused, until};
use crate::actions::testing::World;
use crate::codes;
use crate::config::{Config, FILE};
use crate::daemon::{Assembly, Daemon};
use crate::guests::{HostGuests, Roots};
use crate::host::command::RealPrograms;
use crate::ledger::Ledger;
use crate::link::{IdentityFiles, LinkState};
use crate::policy::Policy;
use replank_common::outcome::{How, Outcome};
use replank_proto::v1::{self, link_response};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

/// An agent of a host below a temporary directory.
fn assemble(world: &World, coordinator: &Coordinator, metrics: &str) -> Assembly {
    world.file("/proc/sys/kernel/random/boot_id", "0192aabb-ccdd-4eef-8011-223344556677\n");
    world.unit_file("libvirt-guests.service", "/lib/systemd/system/libvirt-guests.service");
    let etc = world.host.at("/etc/replank");
    let policy = etc.join("policy.toml");
    world.file(
        "/etc/replank/agent.toml",
        &format!(
            "host = \"compute1\"\ncoordinator = \"{}\"\nmetrics = \"{metrics}\"\npolicy = \"{}\"\nstate_directory = \"{}\"\n",
            coordinator.address,
            policy.display(),
            world.host.directories.state().display()
        ),
    );
    let config = Config::load(&etc.join(FILE)).unwrap();
    let root = world.host.directories.root();
    let roots = Roots {
        proc: root.join("proc"),
        status: root.join("run/libvirt/qemu"),
        cgroup: root.join("cgroup"),
        virsh: root.join("virsh"),
    };
    std::fs::create_dir_all(&config.state_directory).unwrap();
    let guests =
        HostGuests::new(config.host.clone(), roots, world.host.directories.clone(), Arc::new(RealPrograms));
    Assembly {
        address: config.coordinator.clone().unwrap(),
        identity: IdentityFiles::below(&config.state_directory),
        credentials: coordinator.credentials("compute1"),
        policy: Policy::load(&config.policy).unwrap(),
        host: world.host.clone(),
        guests: Arc::new(guests.unwrap()),
        ledger: Arc::new(Ledger::open(&config.state_directory).unwrap()),
        config,
    }
}

fn set_policy(world: &World, text: &str) {
    world.file("/etc/replank/policy.toml", text);
    let path = world.host.at("/etc/replank/policy.toml");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assembled_agent_works_reloads_its_policy_remembers_and_stops() {
    let mut coordinator = Coordinator::start().await;
    let world = World::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let daemon = Daemon::start(assemble(&world, &coordinator, &port.to_string())).await.unwrap();
    let mut end = coordinator.link().await;
    let hello = end.welcome(3).await;
    assert!(!hello.observe_only && hello.unfinished_action_ids.is_empty());

    // Done for real, below the temporary root, and remembered.
    end.say(execute(3, "mask")).await;
    let outcome = Outcome::try_from(end.outcome().await.outcome.unwrap()).unwrap();
    assert!(outcome.is_done(), "{outcome:?}");
    let ledger = Ledger::open_to_read(world.host.directories.state()).unwrap().unwrap();
    assert_eq!(ledger.entries().unwrap()[0].id.to_string(), id("mask"));

    // A bad policy is refused, and the old one stays.
    set_policy(&world, "observe_only = perhaps\n");
    daemon.reload();
    end.say(execute(3, "mask")).await;
    assert!(Outcome::try_from(end.outcome().await.outcome.unwrap()).unwrap().is_done());

    // A good one is told to the coordinator, and counts.
    set_policy(&world, "observe_only = true\n");
    daemon.reload();
    let mut end = coordinator.link().await;
    assert!(end.welcome(3).await.observe_only);
    end.say(execute(3, "other")).await;
    is_refused(end.outcome().await, "other", codes::OBSERVE_ONLY);

    let metrics = tokio::task::spawn_blocking(move || scrape(port)).await.unwrap();
    assert!(metrics.contains("replank_link_up 1"), "{metrics}");
    assert!(metrics.contains("replank_ledger_entries 2"), "{metrics}");

    let state = daemon.link();
    until("the link", || matches!(*state.borrow(), LinkState::Up { .. })).await;
    let stopped = tokio::time::timeout(PATIENCE, daemon.stop()).await.expect("the agent stops");
    assert!(stopped);
    assert!(end.is_given_up().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_after_its_undo_is_not_begun() {
    let mut coordinator = Coordinator::start().await;
    let world = World::new();
    let daemon = Daemon::start(assemble(&world, &coordinator, "127.0.0.1:0")).await.unwrap();
    let mut end = coordinator.link().await;
    end.welcome(3).await;

    let undo = v1::Undo {
        epoch: 3,
        action_id: id("mask").replace("/do/", "/undo/"),
        of_action_id: id("mask"),
        deadline_ms: 60_000,
        plan_id: format!("sha256:{}", "0".repeat(64)),
    };
    end.say(link_response::Message::Undo(undo)).await;
    let outcome = Outcome::try_from(end.outcome().await.outcome.unwrap()).unwrap();
    assert!(matches!(outcome, Outcome::Done { how: How::NothingToUndo, .. }), "{outcome:?}");
    end.say(execute(3, "mask")).await;
    is_refused(end.outcome().await, "mask", codes::CANCELLED);
    let masked = world.host.at("/etc/systemd/system/libvirt-guests.service");
    assert!(std::fs::symlink_metadata(&masked).is_err(), "it was masked");
    assert!(tokio::time::timeout(PATIENCE, daemon.stop()).await.expect("the agent stops"));
}

/// The text that a client of HTTP/1.1 gets.
fn scrape(address: std::net::SocketAddr) -> String {
    use std::io::{Read, Write};
    let begun = std::time::Instant::now();
    let mut socket = loop {
        match std::net::TcpStream::connect(address) {
            Ok(socket) => break socket,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "no metrics: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}
