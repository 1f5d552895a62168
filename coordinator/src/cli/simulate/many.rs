//! Many voyages of one plan: how they ended, how long they took, and which was the worst.

use super::dates::since_the_start;
use super::one::tally_text;
use super::{Case, SIMULATION_FORMAT, end_word, is_held, waters};
use crate::cli::failure::count;
use replank_core::gate::duration;
use replank_core::plan::{estimate, show_duration};
use replank_core::run::report::Tally;
use replank_sim::{Ended, Fault, Profile, Voyage};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug)]
pub(super) struct Many {
    voyages: Vec<Voyage>,
}

/// Of the voyages that came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Durations {
    min: u64,
    median: u64,
    p95: u64,
    max: u64,
}

impl Durations {
    fn of(mut spans: Vec<u64>) -> Option<Self> {
        spans.sort_unstable();
        // The smallest that so many in a hundred do not exceed.
        let share = |percent: usize| spans.get((spans.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self { min: share(0)?, median: share(50)?, p95: share(95)?, max: share(100)? })
    }
}

/// In the order in which they are listed.
const ENDS: [(&str, &str); 5] = [
    ("finished", "finished"),
    ("aborted", "aborted"),
    ("rolled-back", "rolled back"),
    ("held", "held"),
    ("broken", "broke a promise"),
];

impl Many {
    pub(super) fn of(voyages: Vec<Voyage>) -> Self {
        Self { voyages }
    }

    pub(super) fn voyages(&self) -> impl Iterator<Item = &Voyage> + Clone {
        self.voyages.iter()
    }

    fn ends(&self) -> BTreeMap<&'static str, usize> {
        let mut ends: BTreeMap<&str, usize> = ENDS.iter().map(|(word, _)| (*word, 0)).collect();
        for voyage in &self.voyages {
            *ends.entry(end_word(voyage)).or_default() += 1;
        }
        ends
    }

    fn durations(&self) -> Option<Durations> {
        let ended = self.voyages.iter().filter(|voyage| voyage.broken.is_none());
        Durations::of(ended.filter_map(|voyage| voyage.ended_after_ms).collect())
    }

    fn tally(&self) -> Tally {
        self.voyages.iter().filter_map(|voyage| voyage.tally).fold(Tally::default(), |sum, one| Tally {
            same: sum.same + one.same,
            uncounted: sum.uncounted + one.uncounted,
            left: sum.left + one.left,
            moved: sum.moved + one.moved,
            lost: sum.lost + one.lost,
            unwatched: sum.unwatched + one.unwatched,
        })
    }

    fn injected(&self) -> BTreeMap<Fault, u64> {
        let mut injected = BTreeMap::new();
        for (fault, times) in self.voyages.iter().flat_map(|voyage| &voyage.injected) {
            *injected.entry(*fault).or_default() += times;
        }
        injected
    }

    /// A broken promise before a hold, a hold before an end that was not the plan's, and then what took longest. Of equals the first.
    fn worst(&self) -> Option<&Voyage> {
        let badness = |voyage: &Voyage| {
            let kind = match &voyage.ended {
                _ if voyage.broken.is_some() => 3,
                Ended::Held { .. } => 2,
                Ended::Aborted | Ended::RolledBack => 1,
                Ended::Finished => 0,
            };
            (kind, voyage.ended_after_ms.unwrap_or(voyage.simulated_ms))
        };
        self.voyages.iter().rev().max_by_key(|voyage| badness(voyage))
    }

    pub(super) fn text(&self, case: Case<'_>) -> String {
        let faults = &case.args.faults;
        let mild = Profile::describe(faults).unwrap_or_default();
        let last = self.voyages.last().map_or(case.args.seed, |voyage| voyage.seed);
        // All of them have the same daemons.
        let cluster = self.voyages.first().and_then(|voyage| voyage.cluster.as_ref());
        let cluster = cluster.map(waters::head).unwrap_or_default();
        let mut text = format!(
            "{} of the plan for the fleet {}: no host was touched\n{}\n\n  seeds {} to {last}; faults {faults}: {mild}\n{cluster}",
            count(self.voyages.len(), "simulated run"),
            case.file.plan.fleet,
            case.file.id,
            case.args.seed,
        );
        text.push_str("\nHow they ended\n");
        let ends = self.ends();
        for (word, shown) in ENDS {
            let _ = writeln!(text, "  {:>6}  {shown}", ends.get(word).copied().unwrap_or(0));
        }
        text.push_str("\nHow long those took that ended, in simulated time\n");
        match self.durations() {
            Some(Durations { min, median, p95, max }) => {
                let [min, median, p95, max] = [min, median, p95, max].map(duration);
                let _ = writeln!(text, "  min {min}, median {median}, p95 {p95}, max {max}");
            }
            None => text.push_str("  none ended\n"),
        }
        let planned = estimate(&case.file.plan).total_ms;
        let _ = writeln!(text, "  the plan expects {} when nothing waits", show_duration(planned));
        if self.voyages.iter().any(waters::has_guests) {
            let _ = writeln!(text, "\nGuests, over all of them\n  {}", tally_text(&self.tally()));
        }
        let injected = self.injected();
        if !injected.is_empty() {
            text.push_str("\nWhat the simulation made go wrong\n");
            for (fault, times) in injected {
                let _ = writeln!(text, "  {times:>6}  {fault}");
            }
        }
        if let Some(worst) = self.worst() {
            let _ = writeln!(text, "\nThe worst: seed {}, {}", worst.seed, said(worst));
            let _ = writeln!(text, "  {}", case.replay(worst.seed));
        }
        for broken in self.voyages.iter().filter(|voyage| voyage.broken.is_some()) {
            let _ = writeln!(text, "  BROKEN: {}", case.replay(broken.seed));
        }
        text
    }

    pub(super) fn json(&self, case: Case<'_>) -> Value {
        let list = |which: fn(&Voyage) -> bool| -> Vec<u64> {
            self.voyages.iter().filter(|voyage| which(voyage)).map(|voyage| voyage.seed).collect()
        };
        let injected = self.injected();
        json!({
            "format": SIMULATION_FORMAT,
            "plan": case.file.id,
            "fleet": case.file.plan.fleet,
            "faults": case.args.faults,
            "first_seed": case.args.seed,
            "seeds": self.voyages.len(),
            "ends": self.ends(),
            "held_seeds": list(|voyage| voyage.broken.is_none() && is_held(voyage)),
            "broken_seeds": list(|voyage| voyage.broken.is_some()),
            "ended_after_ms": self.durations(),
            "expected_ms": estimate(&case.file.plan).total_ms,
            "tally": self.tally(),
            "cluster": self.voyages.first().and_then(|voyage| voyage.cluster.as_ref()).map(waters::made),
            "injected": injected.iter().map(|(fault, times)| (fault.name(), times)).collect::<BTreeMap<_, _>>(),
            "worst": self.worst().map(|worst| json!({
                "seed": worst.seed,
                "ended": end_word(worst),
                "ended_after_ms": worst.ended_after_ms,
                "replay": case.replay(worst.seed),
            })),
        })
    }
}

/// One line of how a voyage ended.
fn said(voyage: &Voyage) -> String {
    let ended = match (&voyage.broken, &voyage.ended) {
        (Some(broken), _) => return format!("broke {}: {}", broken.promise, broken.text),
        (None, Ended::Held { reason }) => {
            return format!("held: {}", since_the_start(reason.lines().next().unwrap_or_default()));
        }
        (None, ended @ (Ended::Finished | Ended::Aborted | Ended::RolledBack)) => ended,
    };
    format!("{ended} after {}", duration(voyage.ended_after_ms.unwrap_or(voyage.simulated_ms)))
}

#[cfg(test)]
mod tests {
    use super::Durations;

    #[test]
    fn shares_are_of_what_was_measured() {
        assert_eq!(Durations::of(Vec::new()), None);
        assert_eq!(Durations::of(vec![7]), Some(Durations { min: 7, median: 7, p95: 7, max: 7 }));
        let hundred = Durations::of((1..=100).rev().collect());
        assert_eq!(hundred, Some(Durations { min: 1, median: 50, p95: 95, max: 100 }));
    }
}
