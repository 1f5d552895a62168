//! The real `replank serve`, dying at every boundary of the journal that it comes to, and started again each time.

use replank_common::ids::HostName;
use replank_coordinator::config::{Folder, Settings};
use replank_coordinator::store::Database;
use replank_core::run::{Phase, RunView};
use replank_identity::files::{read_certificate, read_identity};
use replank_identity::{AuthorityCert, CredentialStore, Credentials, PrivateKey, Role, tls};
use replank_proto::v1::operator_service_client::OperatorServiceClient;
use replank_proto::v1::*;
use std::collections::BTreeSet;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::agent::{self, Host, now};
use crate::coordinator::init;
use crate::plans::{hold_id, plan};

/// For everything together: some fifty starts.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(300);

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

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

struct Operator {
    address: SocketAddr,
    credentials: Arc<CredentialStore>,
}

type Client = OperatorServiceClient<Channel>;

impl Operator {
    fn of(folder: &Folder, address: SocketAddr) -> Self {
        let authority = AuthorityCert::from_pem(&read_certificate(&folder.authority()).unwrap()).unwrap();
        let pair = read_identity(&folder.operator()).unwrap();
        let key = PrivateKey::from_pem(&pair.key).unwrap();
        let credentials = Credentials::new(&pair.chain, &key, &authority, now()).unwrap();
        Self { address, credentials: CredentialStore::new(credentials) }
    }

    /// One call, on a connection of its own.
    async fn call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Status> {
        let config = tls::client_config(&self.credentials, Arc::new(tls::SystemClock)).unwrap();
        let channel = agent::channel(self.address, config).await;
        call(Client::new(channel.map_err(|error| Status::unavailable(error.to_string()))?)).await
    }

    async fn view(&self) -> Result<RunView, Status> {
        let answer =
            self.call(|mut client| async move { client.get_run(GetRunRequest::default()).await }).await?;
        Ok(serde_json::from_slice(&answer.into_inner().run_json).unwrap())
    }

    /// Tries until the coordinator lives long enough to show that it is so.
    async fn until(
        &self,
        what: &str,
        begun: Instant,
        wish: impl Fn(&RunView) -> bool,
        mut ask: impl AsyncFnMut(),
    ) {
        loop {
            let view = self.view().await;
            match &view {
                Ok(view) if wish(view) => return,
                Ok(_) | Err(_) => ask().await,
            }
            assert!(begun.elapsed() < SWEEP_TIME_MAX, "{what} did not come: {view:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Makes an identity beside the coordinator, as enrolment would: what is swept here are runs.
fn identity(folder: &Folder, name: &str) -> Host {
    let (cert, key) = (
        read_certificate(&folder.authority()).unwrap(),
        std::fs::read_to_string(folder.authority_key()).unwrap(),
    );
    let authority = replank_identity::Authority::load(&cert, &key).unwrap();
    let key = PrivateKey::generate().unwrap();
    let role = Role::Host(HostName::new(name).unwrap());
    let day = Duration::from_secs(86_400);
    let issued = authority.issue(&key.request().unwrap(), &role, day, now()).unwrap();
    let credentials = Credentials::new(&issued.to_pem(), &key, authority.cert(), now()).unwrap();
    Database::open(&folder.database()).unwrap().record_issued(&[issued], 1).unwrap();
    Host::with(name, CredentialStore::new(credentials))
}

fn prepare(dir: &Path) -> (Folder, SocketAddr) {
    init(dir);
    let folder = Folder::new(dir);
    let mut settings = Settings::read(&folder.settings()).unwrap();
    (settings.listen, settings.metrics) = (free_address(), free_address());
    std::fs::write(folder.settings(), toml::to_string(&settings).unwrap()).unwrap();
    (folder, settings.listen)
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
