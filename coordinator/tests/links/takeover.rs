//! P9 with real processes of `replank serve`: one that was paused and wakes up after another took over commands nobody.

use replank_common::ids::Epoch;
use replank_coordinator::config::Folder;
use replank_coordinator::store::Database;
use replank_core::run::{Event, Phase, RunView};
use replank_proto::v1::{ApplyRequest, ApproveRequest, GetRunRequest, PutPlanRequest};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tonic::Status;

use crate::agent::{Host, Link};
use crate::coordinator::{Coordinator, PATIENCE, init};
use crate::plans::{hold_id, plan};
use crate::process::{Operator, identity, move_to_another_address, prepare};

const HELD: &str = "first";

/// One process, ended with the test.
struct Serve {
    child: Child,
    log: PathBuf,
    operator: Operator,
    address: SocketAddr,
}

impl Serve {
    fn spawn(folder: &Path, address: SocketAddr, log: PathBuf) -> Self {
        let file = File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_replank"))
            .arg("serve")
            .arg("--dir")
            .arg(folder)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log, operator: Operator::of(&Folder::new(folder), address), address }
    }

    /// Starts it and waits until it leads.
    async fn start(folder: &Path, address: SocketAddr, log: PathBuf) -> Self {
        let mut this = Self::spawn(folder, address, log);
        this.until_said("the coordinator leads").await;
        this
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn until_said(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.said().contains(text) {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended:\n{}", self.said());
            assert!(begun.elapsed() < PATIENCE, "`{text}` was not said:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
        let begun = Instant::now();
        let stopped = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
        while stopped() != (name == "STOP") {
            assert!(begun.elapsed() < PATIENCE, "{name} has no effect");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    async fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn apply(&self, hosts: &[&str]) {
        let plan = plan(hosts, "");
        let (plan_json, plan_id) = (plan.to_bytes(), plan.id().to_string());
        let put = PutPlanRequest { plan_json };
        self.operator.call(|mut client| async move { client.put_plan(put).await }).await.unwrap();
        let apply = ApplyRequest { plan_id };
        self.operator.call(|mut client| async move { client.apply(apply).await }).await.unwrap();
    }

    async fn approve(&self) {
        let run_id = self.operator.view().await.unwrap().run.to_string();
        let approve = ApproveRequest { run_id, hold_id: hold_id().to_string() };
        self.operator.call(|mut client| async move { client.approve(approve).await }).await.unwrap();
    }

    async fn until(&self, what: &str, wish: impl Fn(&RunView) -> bool) {
        self.operator.until(what, Instant::now(), wish, async || {}).await;
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The store's threads end by themselves; with the last one the folder is as the process would leave it.
async fn until_free(dir: &Path) {
    let lock = Folder::new(dir).lock();
    let begun = Instant::now();
    while File::open(&lock).unwrap().try_lock().is_err() {
        assert!(begun.elapsed() < PATIENCE, "the store is still open");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn code(status: &Status) -> &str {
    status.message().split_once(':').map_or("", |(code, _)| code)
}

/// The steps of the commands that came with this epoch.
fn commanded(host: &Host, epoch: u64) -> Vec<String> {
    let of_epoch = host.commands().into_iter().filter(|(of, _)| *of == epoch);
    of_epoch.map(|(_, id)| step_of(&id)).collect()
}

fn refused(host: &Host) -> Vec<(u64, String)> {
    host.refused().into_iter().map(|(epoch, id)| (epoch, step_of(&id))).collect()
}

fn step_of(id: &str) -> String {
    id.split('/').nth(1).unwrap().rsplit('.').next().unwrap().to_owned()
}

async fn say_all(link: &Link, host: &Host) {
    for outcome in host.let_go() {
        link.say(outcome).await;
    }
}

/// A run whose steps `first` are in flight on each of the hosts.
struct Sailing {
    place: TempDir,
    folder: PathBuf,
    first: Serve,
    hosts: Vec<Host>,
    links: Vec<Link>,
}

impl Sailing {
    async fn begin(names: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("first");
        let (own, address) = prepare(&folder);
        let hosts: Vec<Host> = names.iter().map(|name| identity(&own, name)).collect();
        let first = Serve::start(&folder, address, place.path().join("first.log")).await;
        let mut links = Vec::new();
        for host in &hosts {
            links.push(host.link_to(address, host.hello()).await.unwrap());
        }
        first.apply(names).await;
        first.until("the hold", |view| view.phase == Phase::AtHold).await;
        for host in &hosts {
            host.hold();
        }
        first.approve().await;
        for host in &hosts {
            host.until_commands(2).await;
            assert_eq!(commanded(host, 1), ["ready", HELD]);
        }
        Self { place, folder, first, hosts, links }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }
}

#[tokio::test]
async fn a_folder_is_refused_while_its_coordinator_is_paused_and_free_once_it_is_killed() {
    let mut sailing = Sailing::begin(&["compute1"]).await;
    let host = sailing.hosts[0].clone();
    sailing.first.signal("STOP");
    let second_log = sailing.path("second.log");
    let address = move_to_another_address(&Folder::new(&sailing.folder));
    let mut second = Serve::spawn(&sailing.folder, address, second_log.clone());
    assert_eq!(second.ended().await.code(), Some(3), "{}", second.said());
    assert!(second.said().contains("RP6004"), "{}", second.said());
    // It spoke to nobody, and took no epoch.
    sailing.first.signal("CONT");
    say_all(&sailing.links[0], &host).await;
    host.until_commands(3).await;
    assert_eq!(commanded(&host, 1), ["ready", HELD, "second"]);
    sailing.first.until("the end", |view| view.phase == Phase::Completed).await;

    sailing.first.signal("STOP");
    sailing.first.child.kill().unwrap();
    sailing.first.child.wait().unwrap();
    let second = Serve::start(&sailing.folder, address, second_log).await;
    assert_eq!(host.link_to(address, host.hello()).await.unwrap().epoch, 2);
    second.until("the end", |view| view.phase == Phase::Completed).await;
}

#[tokio::test]
async fn a_paused_coordinator_whose_folder_another_one_took_over_wakes_up_and_ends() {
    let mut sailing = Sailing::begin(&["compute1", "compute2"]).await;
    sailing.first.signal("STOP");
    // The lock does not hold, as on storage that forgets it: what keeps the two apart is the epoch in the store.
    std::fs::remove_file(Folder::new(&sailing.folder).lock()).unwrap();
    let address = move_to_another_address(&Folder::new(&sailing.folder));
    let second = Serve::start(&sailing.folder, address, sailing.path("second.log")).await;
    for host in &sailing.hosts {
        let link = host.link_to(address, host.hello()).await.unwrap();
        assert_eq!(link.epoch, 2);
        say_all(&link, host).await;
        host.until_commands(if host.name.as_str() == "compute1" { 4 } else { 3 }).await;
        sailing.links.push(link);
    }
    second.until("the end", |view| view.phase == Phase::Completed).await;

    sailing.first.signal("CONT");
    // Whatever it hears: what it makes of it cannot be written, and is not sent.
    for (host, link) in sailing.hosts.iter().zip(&sailing.links) {
        let census = replank_proto::v1::link_request::Message::Census(host.census().into());
        link.say(census).await;
        for outcome in host.outcomes() {
            // It may have ended meanwhile.
            drop(link.try_say(outcome).await);
        }
    }
    assert_eq!(sailing.first.ended().await.code(), Some(10), "{}", sailing.first.said());
    assert!(sailing.first.said().contains("RP6009"), "{}", sailing.first.said());
    for host in &sailing.hosts {
        assert_eq!(commanded(host, 1), ["ready", HELD]);
        assert_eq!(host.refused(), []);
        assert_eq!(host.done().len(), 3);
    }
    drop(second);
    let database = Database::open(&Folder::new(&sailing.folder).database()).unwrap();
    let run = database.runs().unwrap()[0].run.clone();
    let (_, records) = database.journal(&run).unwrap();
    assert!(matches!(records.last().unwrap().event, Event::Finished { .. }));
    assert!(
        records.windows(2).all(|two| two[0].epoch <= two[1].epoch),
        "an earlier epoch wrote after a later one"
    );
}

#[tokio::test]
async fn a_paused_coordinator_whose_folder_was_copied_wakes_up_and_every_host_refuses_it() {
    let mut sailing = Sailing::begin(&["compute1", "compute2", "compute3"]).await;
    let [one, two, away] = [0, 1, 2].map(|at| sailing.hosts[at].clone());
    // The command of the second is on its way once more, and long; the third is away from here on.
    drop(sailing.links.pop());
    drop(sailing.links.pop());
    let mut slow = two.link_silent_to(sailing.first.address).await;
    let late = slow.command().await;
    sailing.first.signal("STOP");
    let copied = sailing.path("second");
    copy(&sailing.folder, &copied);
    let address = move_to_another_address(&Folder::new(&copied));
    let mut second = Serve::start(&copied, address, sailing.path("second.log")).await;
    let mut links = Vec::new();
    for host in [&one, &two] {
        let link = host.link_to(address, host.hello()).await.unwrap();
        assert_eq!(link.epoch, 2);
        host.until_commands(3).await;
        links.push(link);
    }
    say_all(&links[0], &one).await;
    one.until_commands(4).await;
    assert_eq!(commanded(&one, 2), [HELD, "second"]);

    // What it sent before comes late.
    two.hear_late(&slow, late).await;
    assert_eq!(refused(&two), [(1, HELD.to_owned())]);
    say_all(&links[1], &two).await;
    two.until_commands(5).await;
    // It wakes up, and hears over an old link that what it commanded is done: what it commands next is refused.
    sailing.first.signal("CONT");
    for outcome in one.outcomes() {
        sailing.links[0].say(outcome).await;
    }
    let begun = Instant::now();
    while refused(&one).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "nothing was refused: {:?}", one.commands());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(refused(&one), [(1, "second".to_owned())]);
    // The host that was away meets it first, and knows of no later one; the later one then, which is answered from the ledger; and it again.
    let met = away.link_to(sailing.first.address, away.hello()).await.unwrap();
    assert_eq!(met.epoch, 1);
    away.until_commands(3).await;
    say_all(&met, &away).await;
    let begun = Instant::now();
    while away.done().len() < 3 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", away.commands());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    links.push(away.link_to(address, away.hello()).await.unwrap());
    second.until("the end", |view| view.phase == Phase::Completed).await;
    for host in [&one, &two, &away] {
        let refused = host.link_to(sailing.first.address, host.hello()).await.map(drop).unwrap_err();
        assert_eq!(code(&refused), "RP3032", "{refused}");
        let steps: Vec<String> = host.done().iter().map(|id| step_of(id)).collect();
        assert_eq!(steps, ["ready", "first", "second"], "{}", host.name);
    }
    // It lives on, and says of each host why it does not lead it; nothing that it says moves its own run to an end.
    let said = sailing.first.said();
    for host in [&one, &two, &away] {
        let line = said.lines().find(|line| line.contains("RP3032") && line.contains(host.name.as_str()));
        assert!(line.is_some_and(|line| line.contains("another coordinator")), "{said}");
    }
    let view = sailing.first.operator.view().await.unwrap();
    assert_ne!(view.phase, Phase::Completed, "{}", view.text());
    let why = view.why();
    assert!(why.contains("RP3032 another coordinator leads all of its 3 hosts"), "{why}");
    let leads = second.operator.view().await.unwrap();
    assert!(!leads.why().contains("RP3032"), "{}", leads.why());
    let commands: Vec<_> = [&one, &two, &away].map(Host::commands).into();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(commands, [&one, &two, &away].map(Host::commands), "it commands no more");
    for serve in [&mut sailing.first, &mut second] {
        let get =
            serve.operator.call(|mut client| async move { client.get_run(GetRunRequest::default()).await });
        assert!(get.await.is_ok());
        serve.signal("TERM");
        assert_eq!(serve.ended().await.code(), Some(0), "{}", serve.said());
    }
}

#[tokio::test]
async fn of_two_coordinators_of_one_epoch_a_host_obeys_the_one_that_it_met_first() {
    let place = tempfile::tempdir().unwrap();
    let [own, backup] = ["c", "backup"].map(|name| place.path().join(name));
    init(&own);
    let first = Coordinator::start(&own).await;
    let hosts = [Host::enrol(&first, "compute1").await, Host::enrol(&first, "compute2").await];
    first.stop().await;
    until_free(&own).await;
    // Each is the next start of the same folder: nothing in the two folders tells them apart.
    copy(&own, &backup);
    let first = Coordinator::start(&own).await;
    let second = Coordinator::start(&backup).await;
    assert_eq!((first.drive.epoch(), second.drive.epoch()), (Epoch(2), Epoch(2)));
    for (host, met, other) in [(&hosts[0], &first, &second), (&hosts[1], &second, &first)] {
        drop(host.link(met).await);
        let refused = host.link_saying(other, host.hello()).await.map(drop).unwrap_err();
        assert_eq!(code(&refused), "RP3032", "{refused}");
        // Also by its own rule, whatever the coordinator thinks of its hello.
        let silent = replank_proto::v1::Hello { coordinator_seen: String::new(), ..host.hello() };
        let refused = host.link_saying(other, silent).await.map(drop).unwrap_err();
        assert_eq!(code(&refused), "RP4020", "{refused}");
        drop(host.link(met).await);
    }
    first.stop().await;
    second.stop().await;
    // Whichever is started once more leads both.
    let again = Coordinator::start(&backup).await;
    assert_eq!(again.drive.epoch(), Epoch(3));
    for host in &hosts {
        drop(host.link(&again).await);
    }
    again.stop().await;
}
