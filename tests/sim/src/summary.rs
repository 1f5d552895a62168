//! What is told of many voyages: every kind of fault and every promise has its line, also those at 0.

use crate::many::Sailed;
use replank_sim::{Ended, Fault, Promise, Voyage};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

/// A voyage on which a promise was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenVoyage {
    pub seed: u64,
    pub promise: &'static str,
    pub text: String,
    /// Simulated time since the voyage began.
    pub at_ms: u64,
    /// The last events.
    pub trace: Vec<String>,
}

impl fmt::Display for BrokenVoyage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, promise, text, at_ms, trace } = self;
        for line in trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {seed} broke {promise} at {}.{:03} s: {text}", at_ms / 1000, at_ms % 1000)?;
        write!(f, "replay with: make sim REPLAY={seed}")
    }
}

/// The sum of many voyages.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub seeds: u64,
    pub hosts: u64,
    pub guests: u64,
    /// Messages, timers, deaths and the like.
    pub events: u64,
    /// Lines of journals.
    pub records: u64,
    pub simulated_ms: u64,
    pub ended: BTreeMap<&'static str, u64>,
    /// By the fault's name; every kind is there.
    pub injected: BTreeMap<&'static str, u64>,
    /// By the promise's name; each is there.
    pub checked: BTreeMap<&'static str, u64>,
    /// By seed.
    pub broken: BTreeMap<u64, BrokenVoyage>,
    pub slowest_seed: Option<u64>,
    pub slowest_ms: u64,
}

impl Summary {
    pub fn new() -> Self {
        Self {
            ended: ["finished", "aborted", "rolled back", "held"].map(|how| (how, 0)).into(),
            injected: Fault::ALL.iter().map(|fault| (fault.name(), 0)).collect(),
            checked: Promise::ALL.iter().map(|promise| (promise.name(), 0)).collect(),
            ..Self::default()
        }
    }

    /// Adds a voyage; the one on which a promise was broken is returned.
    pub fn add(&mut self, sailed: &Sailed) -> Option<&BrokenVoyage> {
        let Sailed { voyage, took } = sailed;
        self.seeds += 1;
        self.hosts += count(voyage.hosts);
        self.guests += count(voyage.guests);
        self.events += voyage.events;
        self.records += count(voyage.records);
        self.simulated_ms += voyage.simulated_ms;
        for (fault, times) in &voyage.injected {
            *self.injected.entry(fault.name()).or_default() += times;
        }
        for (promise, times) in &voyage.checked {
            *self.checked.entry(promise.name()).or_default() += times;
        }
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.slowest_seed.is_none() || took_ms > self.slowest_ms {
            (self.slowest_seed, self.slowest_ms) = (Some(voyage.seed), took_ms);
        }
        let Some(broken) = broken(voyage) else {
            *self.ended.entry(how(&voyage.ended)).or_default() += 1;
            return None;
        };
        Some(self.broken.entry(voyage.seed).or_insert(broken))
    }

    /// Kinds of faults that never struck.
    pub fn never_injected(&self) -> Vec<&'static str> {
        zero(&self.injected)
    }

    /// Promises that were never checked.
    pub fn never_checked(&self) -> Vec<&'static str> {
        zero(&self.checked)
    }

    /// For people. `wall` is how long all of it took.
    pub fn text(&self, wall: Duration) -> String {
        let mut text = String::new();
        let ended: Vec<String> = self.ended.iter().map(|(how, times)| format!("{times} {how}")).collect();
        let seconds = wall.as_secs_f64().max(0.001);
        let mut line = |line: String| writeln!(text, "{line}").expect("a string takes text");
        line(format!("seeds     {} ({})", self.seeds, ended.join(", ")));
        line(format!("sailed    {} hosts, {} guests", self.hosts, self.guests));
        line(format!("events    {} and {} lines of journals", self.events, self.records));
        let hours = self.simulated_ms / 3_600_000;
        line(format!("time      {seconds:.1} s of the clock's, {hours} h simulated"));
        line(format!("          {:.0} events/s", self.events as f64 / seconds));
        if let Some(seed) = self.slowest_seed {
            line(format!("slowest   seed {seed}, {} ms", self.slowest_ms));
        }
        line("faults injected".to_owned());
        for fault in Fault::ALL {
            let times = self.injected.get(fault.name()).copied().unwrap_or(0);
            line(format!("  {:<28}{times:>12}", fault.name()));
        }
        line("promises checked".to_owned());
        for promise in Promise::ALL {
            let times = self.checked.get(promise.name()).copied().unwrap_or(0);
            line(format!("  {:<8}{times:>12}  {}", promise.name(), promise.describe()));
        }
        line(format!("promises broken: {}", self.broken.len()));
        for broken in self.broken.values() {
            let BrokenVoyage { seed, promise, text, .. } = broken;
            line(format!("  seed {seed}  {promise}  {text}"));
        }
        text
    }
}

/// Of a voyage on which a promise was broken.
pub fn broken(voyage: &Voyage) -> Option<BrokenVoyage> {
    let broken = voyage.broken.as_ref()?;
    Some(BrokenVoyage {
        seed: voyage.seed,
        promise: broken.promise.name(),
        text: broken.text.clone(),
        at_ms: broken.at_ms,
        trace: voyage.trace.clone(),
    })
}

fn how(ended: &Ended) -> &'static str {
    match ended {
        Ended::Finished => "finished",
        Ended::Aborted => "aborted",
        Ended::RolledBack => "rolled back",
        Ended::Held { .. } => "held",
    }
}

fn zero(counts: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    counts.iter().filter(|(_, times)| **times == 0).map(|(name, _)| *name).collect()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
