//! A coordinator in a runtime of its own, so that it can be killed with everything that it was about to do.

use replank_common::ids::{HostName, RunId};
use replank_coordinator::config::{Folder, Heartbeat, Settings};
use replank_coordinator::drive::{self, Clock, Drive, DriveError};
use replank_coordinator::links::{self, Links};
use replank_coordinator::store::{Store, StoreError};
use replank_core::run::{Operate, RunView};
use replank_identity::{AuthorityCert, OperatorName};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::plans::hold_id;

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const BY: &str = "alice";

pub struct Coordinator {
    pub address: SocketAddr,
    pub drive: drive::Handle,
    pub links: links::Handle,
    pub store: Store,
    pub authority: AuthorityCert,
    driving: Option<tokio::task::JoinHandle<Result<(), DriveError>>>,
    serving: Option<tokio::task::JoinHandle<()>>,
    stop: CancellationToken,
    runtime: Option<Runtime>,
}

/// A folder as `replank init` makes it, with a heartbeat that suits a test.
pub fn init(dir: &Path) {
    let now = Clock::start().now_ms();
    let options =
        replank_coordinator::init::Options { names: vec!["localhost".to_owned()], ..Default::default() };
    replank_coordinator::init::run(dir, &options, now).unwrap();
}

impl Coordinator {
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, Heartbeat { interval_ms: 200, silence_ms: 2_000 }).await
    }

    pub async fn start_with(dir: &Path, heartbeat: Heartbeat) -> Self {
        let folder = Folder::new(dir);
        let mut settings = Settings::read(&folder.settings()).unwrap();
        settings.heartbeat = heartbeat;
        let begun = Instant::now();
        // One that was killed may still be writing its last.
        let store = loop {
            match Store::open(&folder) {
                Err(StoreError::Locked { .. }) if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => break opened.unwrap(),
            }
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (kept, stop) = (store.clone(), CancellationToken::new());
        let token = stop.clone();
        let started = runtime.spawn(async move {
            let clock = Clock::start();
            let drive = Drive::begin(store.clone(), clock).await.unwrap();
            let (links, events) = Links::open(&folder, &settings, store, clock, drive.epoch()).await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (asks, hosts) = (drive.handle(), links.handle());
            let driving = tokio::spawn(drive.run(hosts.clone(), events, token.clone()));
            let serving = tokio::spawn(async move {
                links.serve(listener, tonic::service::Routes::default(), token).await.unwrap();
            });
            (address, asks, hosts, driving, serving)
        });
        let (address, drive, links, driving, serving) = started.await.unwrap();
        let pem = std::fs::read_to_string(Folder::new(dir).authority()).unwrap();
        Self {
            address,
            drive,
            links,
            store: kept,
            authority: AuthorityCert::from_pem(&pem).unwrap(),
            driving: Some(driving),
            serving: Some(serving),
            stop,
            runtime: Some(runtime),
        }
    }

    /// As `kill -9` would: nothing that it was about to do is done.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// As systemd would.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, async {
            self.driving.take().unwrap().await.unwrap().unwrap();
            self.serving.take().unwrap().await.unwrap();
        });
        ended.await.unwrap();
    }

    /// Waits for the drive to end by itself.
    pub async fn end(&mut self) -> DriveError {
        let driving = self.driving.take().unwrap();
        tokio::time::timeout(PATIENCE, driving).await.unwrap().unwrap().unwrap_err()
    }

    pub async fn token(&self, host: &str, lifetime: Duration) -> String {
        self.links.create_token(&HostName::new(host).unwrap(), lifetime).await.unwrap().text
    }

    pub async fn revoke(&self, host: &str) {
        let by = OperatorName::new(BY).unwrap();
        self.links.revoke(&HostName::new(host).unwrap(), &by).await.unwrap();
    }

    pub async fn apply(&self, plan: &replank_core::plan::Plan) -> RunId {
        let id = self.drive.put_plan(plan.to_bytes()).await.unwrap();
        self.drive.apply(id, BY).await.unwrap()
    }

    pub async fn approve(&self, run: &RunId) {
        self.drive.operate(Some(run.clone()), BY, Operate::Approve { hold: hold_id() }).await.unwrap();
    }

    /// Waits until the run is as wished.
    pub async fn until(&self, run: &RunId, what: &str, wish: impl Fn(&RunView) -> bool) -> RunView {
        let begun = Instant::now();
        loop {
            let view = self.drive.view(Some(run.clone())).await.unwrap();
            if wish(&view) {
                return view;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} did not come: {}\n{}", view.text(), view.why());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
