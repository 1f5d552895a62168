//! `/metrics`: the fleet and its runs as Prometheus reads them. Gathered anew for each reading, so that nothing stale is told.

use super::tally::{OUTCOMES, Tally};
use crate::drive::{self, Clock, Refused};
use crate::links::{self, LinkSeen};
use crate::store::{Store, StoreError};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use replank_core::run::{Phase, RunView};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Seconds = Gauge<f64, AtomicU64>;

/// What is shown, and where it comes from.
#[derive(Debug)]
pub(super) struct Shown {
    runs: drive::Handle,
    hosts: links::Handle,
    store: Store,
    clock: Clock,
    tally: Mutex<Tally>,
}

/// Why a reading got no answer.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Runs(#[from] Refused),
    #[error(transparent)]
    Hosts(#[from] links::LinksError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to write the metrics as text")]
    Text(#[from] std::fmt::Error),
}

impl Shown {
    pub(super) fn new(runs: drive::Handle, hosts: links::Handle, store: Store, clock: Clock) -> Self {
        Self { runs, hosts, store, clock, tally: Mutex::default() }
    }

    async fn text(&self) -> Result<String, Unreadable> {
        let rows = self.runs.runs().await?;
        let mut open = Vec::new();
        for row in rows.iter().filter(|row| !row.standing.finished) {
            open.push(self.runs.view(Some(row.run.clone())).await?);
        }
        let mut registry = Registry::with_prefix("replank");
        self.coordinator(&mut registry);
        let ended = rows.iter().filter(|row| row.standing.finished).map(|row| row.standing.phase.as_str());
        runs(&mut registry, &open, ended);
        waits(&mut registry, &open);
        hosts(&mut registry, &self.hosts.hosts().await?);
        guests(&mut registry, &self.hosts.seen(), self.clock.now_ms());
        {
            let ids: Vec<_> = rows.into_iter().map(|row| row.run).collect();
            let mut tally = self.tally.lock().await;
            tally.catch_up(&self.store, &ids).await?;
            counted(&mut registry, &tally);
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn coordinator(&self, registry: &mut Registry) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The coordinator's version", build);
        let epoch: Gauge = Gauge::default();
        epoch.set(signed(self.runs.epoch().0));
        registry.register("epoch", "The coordinator's term of office; an agent refuses an older one", epoch);
    }
}

/// Serves the metrics, in the clear, until `stop`.
pub(super) async fn serve(listener: TcpListener, shown: Shown, stop: CancellationToken) {
    let router = Router::new().route("/metrics", get(answer)).with_state(Arc::new(shown));
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "metrics are not served any more");
    }
}

async fn answer(State(shown): State<Arc<Shown>>) -> Response {
    match shown.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "metrics could not be gathered");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRun {
    run: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWait {
    code: String,
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHost {
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVersion {
    qemu: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    L: Clone + Debug + Hash + Eq + EncodeLabelSet + Send + Sync + 'static,
    M: Default + Debug + EncodeMetric + TypedMetric + Send + Sync + 'static,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

fn runs<'a>(registry: &mut Registry, open: &[RunView], ended: impl Iterator<Item = &'a str>) {
    let of_phase: Family<OfPhase, Gauge> = family(registry, "runs", "Runs by where they are");
    for phase in PHASES {
        of_phase.get_or_create(&OfPhase { phase: phase.as_str() }).set(0);
    }
    for view in open {
        of_phase.get_or_create(&OfPhase { phase: view.phase.as_str() }).inc();
    }
    for word in ended {
        if let Some(phase) = PHASES.iter().find(|phase| phase.as_str() == word) {
            of_phase.get_or_create(&OfPhase { phase: phase.as_str() }).inc();
        }
    }
    let (done, total): (Family<OfRun, Gauge>, Family<OfRun, Gauge>) = (
        family(registry, "run_steps_done", "Steps done of a run that is under way"),
        family(registry, "run_steps", "Steps of a run that is under way"),
    );
    let left: Family<OfRun, Seconds> = Family::default();
    let help = "Time until a run ends if nothing waits";
    registry.register_with_unit("run_time_left", help, Unit::Seconds, left.clone());
    for view in open {
        let labels = OfRun { run: view.run.to_string() };
        done.get_or_create(&labels).set(i64::try_from(view.steps_done).unwrap_or(i64::MAX));
        total.get_or_create(&labels).set(i64::try_from(view.steps_total).unwrap_or(i64::MAX));
        if let Some(left_ms) = view.time_left_ms {
            left.get_or_create(&labels).set(seconds(left_ms));
        }
    }
}

const PHASES: [Phase; 13] = [
    Phase::Counting,
    Phase::Running,
    Phase::AtHold,
    Phase::Held,
    Phase::Paused,
    Phase::Halted,
    Phase::AskingWayBack,
    Phase::RollingBack,
    Phase::Aborting,
    Phase::Closing,
    Phase::Completed,
    Phase::Aborted,
    Phase::RolledBack,
];

fn waits(registry: &mut Registry, open: &[RunView]) {
    let waits: Family<OfWait, Gauge> =
        family(registry, "waits", "What runs wait for, by the code that `replank why` gives");
    let overdue: Gauge = Gauge::default();
    for wait in open.iter().flat_map(|view| &view.waits) {
        waits.get_or_create(&OfWait { code: wait.code.clone(), what: title(&wait.code) }).inc();
        overdue.inc_by(i64::from(wait.overdue));
    }
    registry.register("waits_overdue", "Waits that are longer than the step's own deadline", overdue);
}

/// A step that was refused waits under the agent's or the core's own code.
fn title(code: &str) -> &'static str {
    let known = replank_core::codes::TABLE.iter().chain(crate::codes::TABLE);
    known
        .into_iter()
        .find(|(known, _)| *known == code)
        .map_or("told by the host's agent", |(_, title)| *title)
}

fn hosts(registry: &mut Registry, hosts: &[links::HostStatus]) {
    let states: Family<OfState, Gauge> =
        family(registry, "hosts", "Enrolled hosts by the state of their link");
    let linked: Family<OfHost, Gauge> = family(registry, "host_linked", "Whether a host's agent is linked");
    let observes: Family<OfHost, Gauge> =
        family(registry, "host_observe_only", "Whether a host's policy refuses every change");
    let expires: Family<OfHost, Seconds> = Family::default();
    let help = "When a host's certificate ends, in seconds since 1970";
    registry.register_with_unit("host_certificate_expiry", help, Unit::Seconds, expires.clone());
    for state in ["linked", "unlinked", "revoked"] {
        states.get_or_create(&OfState { state }).set(0);
    }
    for host in hosts {
        let labels = OfHost { host: host.name.to_string() };
        let state = match (host.revoked, host.seen.linked) {
            (true, _) => "revoked",
            (false, true) => "linked",
            (false, false) => "unlinked",
        };
        states.get_or_create(&OfState { state }).inc();
        if host.revoked {
            continue;
        }
        linked.get_or_create(&labels).set(host.seen.linked.into());
        observes.get_or_create(&labels).set(host.seen.observe_only.into());
        expires.get_or_create(&labels).set(seconds(host.certificate_expires_at_ms));
    }
}

fn guests(registry: &mut Registry, seen: &BTreeMap<replank_common::ids::HostName, LinkSeen>, now_ms: u64) {
    let of_version: Family<OfVersion, Gauge> = family(
        registry,
        "guests",
        "Guests by the qemu that they run on, from the newest census of each host",
    );
    let agrees: Family<OfHost, Gauge> =
        family(registry, "host_census_agrees", "Whether the sources of a host's newest census agree");
    let age: Family<OfHost, Seconds> = Family::default();
    let help = "Time since a host's newest census came";
    registry.register_with_unit("host_census_age", help, Unit::Seconds, age.clone());
    for (host, seen) in seen {
        let labels = OfHost { host: host.to_string() };
        if let Some(at_ms) = seen.census_at_ms {
            age.get_or_create(&labels).set(seconds(now_ms.saturating_sub(at_ms)));
        }
        let Some(census) = &seen.census else { continue };
        agrees.get_or_create(&labels).set(census.agrees().into());
        for guest in census.guests.values() {
            let qemu = guest.qemu_version.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            of_version.get_or_create(&OfVersion { qemu }).inc();
        }
    }
}

fn counted(registry: &mut Registry, tally: &Tally) {
    let steps: Family<OfOutcome, Counter> = family(
        registry,
        "steps",
        "Actions that hosts were commanded, by how they ended; all runs of the store",
    );
    for outcome in OUTCOMES {
        let count = tally.outcomes.get(outcome).copied().unwrap_or_default();
        steps.get_or_create(&OfOutcome { outcome }).inc_by(count);
    }
    for (name, help, count) in [
        ("guests_lost", "Guests that were lost; all runs of the store", tally.guests_lost),
        ("guests_twice", "Guests that were seen running twice; all runs of the store", tally.guests_twice),
        ("halts", "Halts of runs; all runs of the store", tally.halts),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
