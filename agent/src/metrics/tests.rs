//! What a scrape gives, read back with care.

use super::*;
use crate::actions::testing::World;
use crate::guests::{HostGuests, Roots};
use crate::host::command::RealPrograms;
use crate::link::LinkError;
use crate::perform::{Performer, PerformerSettings};
use crate::policy::Policy;
use crate::{clock, codes};
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use prometheus_client::encoding::text::encode;
use replank_common::action::{Action, UnitMask};
use replank_common::ids::{Epoch, HostName};
use replank_common::outcome::Refusal;
use replank_identity::{Authority, CredentialStore, Credentials, PrivateKey, Role, UnixSeconds};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tower::ServiceExt as _;

fn credentials() -> Arc<CredentialStore> {
    let now = UnixSeconds::from_ms(clock::now_ms());
    let authority = Authority::create(now).unwrap();
    let key = PrivateKey::generate().unwrap();
    let role = Role::Host(HostName::new("compute1").unwrap());
    let issued = authority.issue(&key.request().unwrap(), &role, Duration::from_secs(86_400), now).unwrap();
    CredentialStore::new(Credentials::new(&issued.to_pem(), &key, authority.cert(), now).unwrap())
}

struct Served {
    world: World,
    metrics: Metrics,
    ledger: Arc<Ledger>,
    guests: Arc<HostGuests>,
    state: watch::Sender<LinkState>,
    registry: Arc<Registry>,
}

fn served() -> Served {
    let world = World::new();
    let (root, state) = (world.host.directories.root(), world.host.directories.state());
    world.file("/proc/sys/kernel/random/boot_id", "0192aabb-ccdd-4eef-8011-223344556677\n");
    std::fs::create_dir_all(state).unwrap();
    let ledger = Arc::new(Ledger::open(state).unwrap());
    let below = |path: &str| root.join(path);
    let roots = Roots {
        proc: below("proc"),
        status: below("run/libvirt/qemu"),
        cgroup: below("cgroup"),
        virsh: below("virsh"),
    };
    let guests = HostGuests::new(
        world.host.name.clone(),
        roots,
        world.host.directories.clone(),
        Arc::new(RealPrograms),
    );
    let guests = Arc::new(guests.unwrap());
    let deeds = Arc::new(Performer::new(PerformerSettings {
        host: world.host.clone(),
        ledger: ledger.clone(),
        policy: Policy::default(),
    }));
    let state = watch::Sender::new(LinkState::Down { since_ms: 1, why: None });
    let metrics = Metrics::default();
    let sources =
        Sources { guests: guests.clone(), deeds, link: state.subscribe(), credentials: credentials() };
    let registry = Arc::new(metrics.registry(sources));
    Served { world, metrics, ledger, guests, state, registry }
}

impl Served {
    fn samples(&self) -> BTreeMap<String, f64> {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        parsed(&text)
    }
}

/// The samples of an exposition, after everything was checked that OpenMetrics and the conventions of Prometheus ask for.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let (body, rest) = text.split_once("# EOF\n").expect("it ends with # EOF");
    assert_eq!(rest, "");
    let (mut helps, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = BTreeMap::new();
    let mut family = "";
    for line in body.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            assert!(help.len() > 5 && helps.insert(name, help).is_none(), "{line}");
            family = name;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            assert!(name == family && types.insert(name, kind).is_none(), "{line}");
        } else if let Some((name, unit)) = line.strip_prefix("# UNIT ").and_then(|line| line.split_once(' '))
        {
            assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
            assert!(["seconds", "bytes"].contains(&unit), "a unit is a base unit: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let name = series.split('{').next().unwrap();
            let suffix = match types.get(family).copied() {
                Some("counter") => "_total",
                Some("gauge") => "",
                Some("info") => "_info",
                other => panic!("{family} is of type {other:?}"),
            };
            assert_eq!(name, format!("{family}{suffix}"), "a sample stands under its own family: {line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    assert_eq!(helps.keys().collect::<Vec<_>>(), types.keys().collect::<Vec<_>>());
    for name in helps.keys() {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        assert!(name.starts_with("replank_") && name.bytes().all(plain), "{name}");
        for odd in ["_ms", "_minutes", "_kilobytes", "_percent", "_total", "_info"] {
            assert!(!name.ends_with(odd), "{name}");
        }
    }
    samples
}

fn order(step: &str, work: Work) -> Order {
    let id = format!("run-0192aabbccddeeff0011223344556677/h1.{step}").parse().unwrap();
    Order { epoch: Epoch(1), id, plan_id: String::new(), deadline: Duration::ZERO, work }
}

#[test]
fn an_agent_without_guests_link_or_past_serves_every_family_by_the_rules() {
    let served = served();
    let before = served.samples();
    assert!(!before.contains_key("replank_census_age_seconds"), "no census, no age");
    served.guests.take();
    let samples = served.samples();
    assert!(samples["replank_census_age_seconds"] < 60.0);
    for (series, value) in [
        ("replank_link_up", 0.0),
        ("replank_guests_by_state{state=\"running\"}", 0.0),
        ("replank_census_disagreements{kind=\"twice\"}", 0.0),
        ("replank_ledger_entries", 0.0),
        ("replank_ledger_unfinished_actions", 0.0),
        ("replank_link_reconnects_total", 0.0),
        ("replank_policy_observe_only", 0.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in {samples:#?}");
    }
    let version = format!("replank_agent_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples.get(&version), Some(&1.0));
}

#[test]
fn guests_are_counted_by_the_qemu_that_they_really_are() {
    let served = served();
    const UUID: &str = "6f1e2a0c-9a0f-4a53-8a3c-0d6c33bb5f01";
    crate::guests::processes::tests::fake_process(
        &served.world.host.at("/proc"),
        41,
        1,
        "qemu-system-x86",
        410,
        &["/usr/bin/qemu-system-x86_64", "-name", "guest=web\"1\\", "-uuid", UUID],
        Path::new("/bin/sh").to_str().unwrap(),
    );
    served.guests.take();
    let samples = served.samples();
    // The shell tells no version of qemu, and nobody but /proc knows the guest.
    assert_eq!(
        samples.get("replank_guests{qemu_version=\"unknown\",emulator_deleted=\"false\"}"),
        Some(&1.0),
        "{samples:#?}"
    );
    assert_eq!(samples["replank_guests_by_state{state=\"unknown\"}"], 1.0);
    assert!(samples["replank_census_disagreements{kind=\"missing\"}"] >= 1.0, "{samples:#?}");
}

#[test]
fn outcomes_and_links_are_counted() {
    let served = served();
    let observe = served.metrics.observer(served.ledger.clone());
    let mask =
        Work::Do(Action::UnitMask(UnitMask { unit: "libvirt-guests.service".to_owned(), runtime: false }));
    let refused = Outcome::Refused(Refusal {
        code: codes::OBSERVE_ONLY.to_owned(),
        reason: String::new(),
        remedy: String::new(),
        findings: Vec::new(),
    });
    observe(&order("mask/do/1", mask), &refused);
    let undo = order("mask/undo/1", Work::Undo { of: order("mask/do/1", Work::Undo { of: any() }).id });
    let done =
        Outcome::Done { how: How::NothingToUndo, took_ms: 1, changes: Vec::new(), findings: Vec::new() };
    observe(&undo, &done);
    for (since_ms, reconnects) in [(5, 0.0), (5, 0.0), (9, 1.0)] {
        let up = LinkState::Up { since_ms, epoch: Epoch(3) };
        served.metrics.link_is(&up);
        served.state.send_replace(up);
        let samples = served.samples();
        assert_eq!(samples["replank_link_reconnects_total"], reconnects);
        assert_eq!(samples["replank_link_up"], 1.0);
    }
    let why = LinkError { code: codes::UNREACHABLE, text: String::new() };
    served.state.send_replace(LinkState::Down { since_ms: 12_000, why: Some(why) });
    let samples = served.samples();
    assert_eq!((samples["replank_link_up"], samples["replank_link_state_timestamp_seconds"]), (0.0, 12.0));
    let refused = "replank_actions_total{kind=\"unit-mask\",direction=\"do\",outcome=\"refused\"}";
    assert_eq!(samples.get(refused), Some(&1.0), "{samples:#?}");
    let undone = "replank_actions_total{kind=\"unknown\",direction=\"undo\",outcome=\"nothing-to-undo\"}";
    assert_eq!(samples.get(undone), Some(&1.0), "{samples:#?}");
}

fn any() -> replank_common::ids::ActionId {
    "run-0192aabbccddeeff0011223344556677/h1.any/do/1".parse().unwrap()
}

#[tokio::test]
async fn metrics_are_served_and_nothing_else() {
    let served = served();
    served.guests.take();
    let router = serve::router(served.registry);
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(get("/metrics")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    assert!(parsed(std::str::from_utf8(&body).unwrap()).len() > 10);
    for path in ["/", "/metrics/", "/debug", "/facts"] {
        assert_eq!(
            router.clone().oneshot(get(path)).await.unwrap().status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let post = Request::post("/metrics").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(post).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}
