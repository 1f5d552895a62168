//! The real `replank serve`, dying at every boundary of the journal that it comes to, and started again each time.

use replank_coordinator::store::Database;
use replank_core::run::Phase;
use replank_proto::v1::*;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::agent::Host;
use crate::plans::{hold_id, plan};
use crate::process::{Operator, identity, prepare};

/// For everything together: some fifty starts.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(300);

/// Starts the coordinator whenever it is not running. How often it was started.
async fn keep_started(dir: PathBuf, list: PathBuf, stop: CancellationToken) -> usize {
    let mut starts = 0;
    while !stop.is_cancelled() {
        starts += 1;
        let mut child = Command::new(env!("CARGO_BIN_EXE_replank"))
            .arg("serve")
            .arg("--dir")
            .arg(&dir)
            .env("REPLANK_CRASH_ONCE_FILE", &list)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        tokio::select! {
            ended = child.wait() => drop(ended.unwrap()),
            () = stop.cancelled() => child.kill().await.unwrap(),
        }
    }
    starts
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
async fn a_coordinator_that_dies_at_every_boundary_comes_to_the_same_end_and_does_nothing_twice() {
    let place = tempfile::tempdir().unwrap();
    let (dir, list) = (place.path().join("c"), place.path().join("crashes"));
    let (folder, address) = prepare(&dir);
    let hosts = ["compute1", "compute2"].map(|name| identity(&folder, name));
    let linked = hosts.clone().map(|host| tokio::spawn(keep_linked(host, address)));
    let stop = CancellationToken::new();
    let supervisor = tokio::spawn(keep_started(dir, list.clone(), stop.clone()));
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
        let expected = ["h.ready/do/1", "h.first/do/1", "h.second/do/1", "h.second/undo/1", "h.first/undo/1"];
        assert_eq!(steps, expected);
    }
    let database = Database::open(&folder.database()).unwrap();
    assert_eq!(database.runs().unwrap().len(), 1);
    let (_, records) = database.journal(&run_id.parse().unwrap()).unwrap();
    let crashes = std::fs::read_to_string(list).unwrap();
    let kinds: BTreeSet<&str> = crashes.split_whitespace().filter(|word| !word.contains('.')).collect();
    for kind in [
        "created",
        "led",
        "baseline",
        "sent",
        "outcome",
        "step-done",
        "approved",
        "rollback-asked",
        "finished",
    ] {
        assert!(kinds.contains(kind), "it never died at {kind}:\n{crashes}");
    }
    assert!(starts > 20, "{starts} starts, {} lines in the journal", records.len());
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
