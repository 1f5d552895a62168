//! The real `replank serve`, dying at every boundary of the journal that it comes to, and started again each time.
//!
//! | it dies | what the next one finds | by |
//! | --- | --- | --- |
//! | before an append, and within it | nothing of it | every append |
//! | after the commit, before anything is sent on the strength of it | the intents, which nobody heard of | every append |
//! | when all of it is on its way out | the intents, which somebody may have heard of | every sending |
//! | when a host has a command and has not done it | an intent that is a deed soon | every command |
//! | when a host has done it and the answer is not there | an intent that is a deed | every command |

use replank_common::ids::HostName;
use replank_coordinator::store::Database;
use replank_core::run::{Event, Phase, Record};
use replank_proto::v1::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::agent::Host;
use crate::plans::{hold_id, plan};
use crate::process::{Operator, identity, prepare};

/// For everything together: up to some two hundred starts.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(300);

/// Where the coordinator dies by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    Never,
    /// At each boundary whose name begins so, over and over, to the last of an append.
    AtEach {
        like: &'static str,
        last: &'static str,
    },
}

/// Starts the coordinator whenever it is not running, and says which process it is. How often it was started.
async fn keep_started(
    dir: PathBuf,
    list: PathBuf,
    dies: Dies,
    pid: Arc<AtomicU32>,
    stop: CancellationToken,
) -> usize {
    let mut starts = 0;
    while !stop.is_cancelled() {
        starts += 1;
        let mut serve = Command::new(env!("CARGO_BIN_EXE_replank"));
        serve.arg("serve").arg("--dir").arg(&dir).env("RUST_LOG", "warn");
        serve.stdin(Stdio::null()).kill_on_drop(true);
        if let Dies::AtEach { like, .. } = dies {
            serve.env("REPLANK_CRASH_ONCE_FILE", &list).env("REPLANK_CRASH_ONLY", like);
        }
        let mut child = serve.spawn().unwrap();
        pid.store(child.id().unwrap(), Ordering::SeqCst);
        tokio::select! {
            ended = child.wait() => drop(ended.unwrap()),
            () = stop.cancelled() => child.kill().await.unwrap(),
        }
        pid.store(0, Ordering::SeqCst);
        if let Dies::AtEach { last, .. } = dies {
            forget(&list, last);
        }
    }
    starts
}

/// When the latest death was at the last boundary of an append, all deaths over that kind of append are forgotten, so that the next one of its kind
/// is died over too; but not what every life begins with. Kept in another list.
fn forget(list: &Path, last: &str) {
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let Some((latest, kinds)) = text.lines().last().and_then(|line| line.split_once(' ')) else { return };
    if latest != last || is_of_every_life(kinds) {
        return;
    }
    let (over, other): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.split_once(' ').is_some_and(|(_, of)| of == kinds));
    let forgotten = list.with_extension("forgotten");
    let before = std::fs::read_to_string(&forgotten).unwrap_or_default();
    std::fs::write(&forgotten, before + &lines(&over)).unwrap();
    std::fs::write(list, lines(&other)).unwrap();
}

fn is_of_every_life(kinds: &str) -> bool {
    kinds.split(' ').any(|kind| kind == "led")
}

fn lines(of: &[&str]) -> String {
    of.iter().map(|line| format!("{line}\n")).collect()
}

/// Links whenever it is not linked.
async fn keep_linked(host: Host, address: SocketAddr) {
    loop {
        if let Ok(link) = host.link_to(address, host.hello()).await {
            link.ended().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_coordinator_that_dies_around_every_append_comes_to_the_same_end_and_does_nothing_twice() {
    let swept = voyage(Dies::AtEach { like: "journal.append.", last: "journal.append.after" }).await;
    swept.died_over_every_line("journal.append.after");
    swept.met_every_kind(&["journal.append.before", "journal.append.uncommitted", "journal.append.after"]);
}

#[tokio::test]
async fn a_coordinator_that_dies_after_every_sending_comes_to_the_same_end_and_does_nothing_twice() {
    let swept = voyage(Dies::AtEach { like: "drive.sent", last: "drive.sent" }).await;
    swept.died_over_every_line("drive.sent");
    swept.met_every_kind(&["drive.sent"]);
}

#[tokio::test]
async fn a_coordinator_that_dies_over_every_command_comes_to_the_same_end_and_does_nothing_twice() {
    let swept = voyage(Dies::Never).await;
    for (host, commands) in &swept.commands {
        let mut came: BTreeMap<&str, usize> = BTreeMap::new();
        commands.iter().for_each(|(_, id)| *came.entry(id).or_default() += 1);
        assert_eq!(came.len(), EXPECTED.len(), "{host}: {came:?}");
        assert!(came.values().all(|times| *times >= 3), "{host}: {came:?}");
    }
    assert!(swept.starts > 2 * EXPECTED.len(), "{} starts", swept.starts);
}

/// What each host does in a voyage there and back.
const EXPECTED: [&str; 5] =
    ["h.ready/do/1", "h.first/do/1", "h.second/do/1", "h.second/undo/1", "h.first/undo/1"];

const KINDS: [&str; 9] =
    ["created", "led", "baseline", "sent", "outcome", "step-done", "approved", "rollback-asked", "finished"];

/// What is left of a voyage.
struct Swept {
    starts: usize,
    /// Of the journal; and of those, the ones that a life begins with.
    lines: usize,
    lines_of_lives: usize,
    /// One line a death.
    crashes: String,
    commands: Vec<(HostName, Vec<(u64, String)>)>,
}

impl Swept {
    /// Each line of the journal came with one append, and each append was died over at this boundary. Left out is what
    /// a life begins with: it was died over once, or there would be no end; other lines may come with it in one append.
    fn died_over_every_line(&self, boundary: &str) {
        let deaths = self.crashes.lines().filter_map(|line| line.split_once(' '));
        let over = deaths.filter(|(at, kinds)| *at == boundary && !is_of_every_life(kinds));
        let lines: usize = over.map(|(_, kinds)| kinds.split(' ').count()).sum();
        let wanted = self.lines - self.lines_of_lives;
        assert!(lines * 4 >= wanted * 3, "died over {lines} of {wanted} lines:\n{}", self.crashes);
    }

    fn met_every_kind(&self, boundaries: &[&str]) {
        for boundary in boundaries {
            for kind in KINDS {
                let met = |line: &str| {
                    let mut words = line.split(' ');
                    words.next() == Some(boundary) && words.any(|word| word == kind)
                };
                assert!(self.crashes.lines().any(met), "no death at {boundary} {kind}:\n{}", self.crashes);
            }
        }
    }
}

/// Two hosts, there and back; everything was done once.
async fn voyage(dies: Dies) -> Swept {
    let place = tempfile::tempdir().unwrap();
    let (dir, list) = (place.path().join("c"), place.path().join("crashes"));
    let (folder, address) = prepare(&dir);
    let hosts = ["compute1", "compute2"].map(|name| identity(&folder, name));
    let (pid, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
    if dies == Dies::Never {
        hosts.iter().for_each(|host| host.strike(&pid));
    }
    let linked = hosts.clone().map(|host| tokio::spawn(keep_linked(host, address)));
    let supervisor = tokio::spawn(keep_started(dir, list.clone(), dies, pid, stop.clone()));
    let (operator, begun) = (Operator::of(&folder, address), Instant::now());

    let plan = plan(&["compute1", "compute2"], "");
    operator
        .until(
            "a run",
            begun,
            |_| true,
            async || {
                let (plan_json, plan_id) = (plan.to_bytes(), plan.id().to_string());
                let put = PutPlanRequest { plan_json };
                let kept = operator.call(|mut client| async move { client.put_plan(put).await }).await;
                if kept.is_ok() {
                    // Begun or not: the next look tells.
                    let apply = ApplyRequest { plan_id };
                    drop(operator.call(|mut client| async move { client.apply(apply).await }).await);
                }
            },
        )
        .await;
    let run_id = operator_run(&operator, begun).await;
    operator
        .until(
            "the end",
            begun,
            |view| view.phase == Phase::Completed,
            async || {
                let approve = ApproveRequest { run_id: run_id.clone(), hold_id: hold_id().to_string() };
                drop(operator.call(|mut client| async move { client.approve(approve).await }).await);
            },
        )
        .await;
    operator
        .until(
            "the way back",
            begun,
            |view| view.phase == Phase::RolledBack,
            async || {
                let rollback = RollbackRequest { run_id: run_id.clone(), to_stage: String::new() };
                drop(operator.call(|mut client| async move { client.rollback(rollback).await }).await);
            },
        )
        .await;
    stop.cancel();
    let starts = supervisor.await.unwrap();
    linked.each_ref().iter().for_each(|task| task.abort());

    for host in &hosts {
        let steps: Vec<String> = host
            .done()
            .iter()
            .map(|id| id.split_once('/').unwrap().1.replace(host.name.as_str(), "h"))
            .collect();
        assert_eq!(steps, EXPECTED);
    }
    let database = Database::open(&folder.database()).unwrap();
    assert_eq!(database.runs().unwrap().len(), 1);
    let (_, records) = database.journal(&run_id.parse().unwrap()).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let crashes = read(&list.with_extension("forgotten")) + &read(&list);
    let commands = hosts.iter().map(|host| (host.name.clone(), host.commands())).collect();
    let begins = |record: &&Record| matches!(record.event, Event::Created { .. } | Event::Led { .. });
    let lines_of_lives = records.iter().filter(begins).count();
    Swept { starts, lines: records.len(), lines_of_lives, crashes, commands }
}

async fn operator_run(operator: &Operator, begun: Instant) -> String {
    loop {
        if let Ok(view) = operator.view().await {
            return view.run.to_string();
        }
        assert!(begun.elapsed() < SWEEP_TIME_MAX);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
