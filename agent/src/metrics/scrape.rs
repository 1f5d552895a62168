//! What is read at each scrape: the last census, the link, the ledger, the certificate.

use crate::clock::now_ms;
use crate::guests::HostGuests;
use crate::link::LinkState;
use crate::perform::Performer;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use replank_agent_core::Ledger as _;
use replank_common::UnixMs;
use replank_common::census::{Census, Disagreement, EndCause, GuestState};
use replank_identity::CredentialStore;
use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;
use tokio::sync::watch::Receiver;

/// Where the numbers come from.
#[derive(Debug)]
pub struct Sources {
    pub guests: Arc<HostGuests>,
    pub deeds: Arc<Performer>,
    pub link: Receiver<LinkState>,
    pub credentials: Arc<CredentialStore>,
}

/// Values by their labels; each sample of a family has the same names of labels.
type Samples<const N: usize> = BTreeMap<[(&'static str, String); N], f64>;

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Encoder(&mut encoder);
        if let Some(census) = self.guests.last_census() {
            census_families(&mut out, &census)?;
        }
        // By the last settled look, which a report of an end between two looks is not.
        if let Some(taken_ms) = self.guests.last_census_ms() {
            let help = "Since the guests of this host were last counted";
            out.one("census_age", help, Some(&Unit::Seconds), seconds(now_ms().saturating_sub(taken_ms)))?;
        }
        let started = seconds(self.guests.agent_start_ms());
        out.one("agent_start_timestamp", "When the agent started", Some(&Unit::Seconds), started)?;

        let (up, since_ms) = match &*self.link.borrow() {
            LinkState::Up { since_ms, .. } => (1.0, *since_ms),
            LinkState::Down { since_ms, .. } => (0.0, *since_ms),
        };
        out.one("link_up", "Whether the link to the coordinator stands", None, up)?;
        let help = "Since when the link stands, or does not";
        out.one("link_state_timestamp", help, Some(&Unit::Seconds), seconds(since_ms))?;
        let until = self.credentials.current().identity().validity.not_after.0;
        let help = "When the certificate of this host expires";
        out.one("certificate_expiry_timestamp", help, Some(&Unit::Seconds), float(until))?;

        let observes = if self.deeds.policy().observe_only { 1.0 } else { 0.0 };
        out.one("policy_observe_only", "Whether the host's policy refuses every action", None, observes)?;
        let ledger = self.deeds.ledger();
        // A ledger that cannot be read has no numbers; the log says why.
        if let Ok(entries) = ledger.count() {
            out.one("ledger_entries", "Commands in the ledger", None, float(entries))?;
        }
        if let Ok(open) = ledger.unfinished() {
            let help = "Commands that have begun and not ended";
            out.one("ledger_unfinished_actions", help, None, count(open.len()))?;
        }
        if let Ok(epoch) = ledger.epoch() {
            let help = "The highest epoch of a coordinator that was obeyed";
            out.one("ledger_epoch", help, None, float(epoch.0))?;
        }
        Ok(())
    }
}

fn census_families(out: &mut Encoder<'_, '_>, census: &Census) -> Result<(), Error> {
    let mut versions: Samples<2> = Samples::new();
    let mut states: Samples<1> =
        ["running", "paused", "other", "unknown"].map(|state| ([("state", state.to_owned())], 0.0)).into();
    for guest in census.guests.values() {
        let version = guest.qemu_version.as_ref().map_or("unknown", |version| version.as_str());
        let deleted = guest.emulator_deleted.to_string();
        let labels = [("qemu_version", version.to_owned()), ("emulator_deleted", deleted)];
        *versions.entry(labels).or_default() += 1.0;
        let state = match &guest.state {
            GuestState::Running => "running",
            GuestState::Paused(_) => "paused",
            GuestState::Other(_) => "other",
            GuestState::Unknown => "unknown",
        };
        *states.entry([("state", state.to_owned())]).or_default() += 1.0;
    }
    let help =
        "Guests that run here, by the qemu that each process is and whether that is gone from the disk";
    out.family("guests", help, &versions)?;
    out.family("guests_by_state", "Guests that run here, by libvirt's word for what they do", &states)?;

    let mut ends: Samples<1> = ["guest-shutdown", "asked-of-libvirt", "migrated", "unattributed"]
        .map(|cause| ([("cause", cause.to_owned())], 0.0))
        .into();
    for end in &census.ended {
        let cause = match &end.cause {
            EndCause::GuestShutdown => "guest-shutdown",
            EndCause::AskedOfLibvirt { .. } => "asked-of-libvirt",
            EndCause::Migrated => "migrated",
            EndCause::Unattributed { .. } => "unattributed",
        };
        *ends.entry([("cause", cause.to_owned())]).or_default() += 1.0;
    }
    let help = "Guests that ended since the agent started, at most the last 1024, by cause";
    out.family("guests_ended", help, &ends)?;

    let mut kinds: Samples<1> = ["missing", "pid-differs", "twice", "silent", "bad-status-file"]
        .map(|kind| ([("kind", kind.to_owned())], 0.0))
        .into();
    for disagreement in &census.disagreements {
        let kind = match disagreement {
            Disagreement::Missing { .. } => "missing",
            Disagreement::PidDiffers { .. } => "pid-differs",
            Disagreement::Twice { .. } => "twice",
            Disagreement::Silent { .. } => "silent",
            Disagreement::BadStatusFile { .. } => "bad-status-file",
        };
        *kinds.entry([("kind", kind.to_owned())]).or_default() += 1.0;
    }
    out.family("census_disagreements", "What the four sources of the census do not agree on", &kinds)
}

struct Encoder<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Encoder<'_, '_> {
    fn one(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn family<const N: usize>(&mut self, name: &str, help: &str, samples: &Samples<N>) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(*value).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }
}

fn seconds(ms: UnixMs) -> f64 {
    float(ms) / 1000.0
}

/// Prometheus has no other numbers, and 2^53 is beyond any of these.
fn float(number: u64) -> f64 {
    number as f64
}

fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}
