//! How long a plan takes when nothing waits for an operator: the longest chain of needs.

use super::model::{Need, Plan};
use replank_common::ids::{HoldId, HostName, StepId};
use serde::Serialize;
use std::collections::BTreeMap;

/// Expected times, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// From the first step to the last, at the plan's pace. Holds count as approved at once.
    pub total_ms: u64,
    /// The sum of a host's own steps.
    pub per_host_ms: BTreeMap<HostName, u64>,
}

/// Estimates a plan whose steps are in order.
pub fn estimate(plan: &Plan) -> Estimate {
    let mut per_host_ms: BTreeMap<HostName, u64> =
        plan.hosts.iter().map(|host| (host.name.clone(), 0)).collect();
    for step in &plan.steps {
        *per_host_ms.entry(step.host.clone()).or_default() += step.expected_ms;
    }
    Estimate { total_ms: ends(plan).values().copied().max().unwrap_or(0), per_host_ms }
}

/// When each step ends, since the plan's beginning.
pub(super) fn ends(plan: &Plan) -> BTreeMap<&StepId, u64> {
    let mut ends: BTreeMap<&StepId, u64> = BTreeMap::new();
    let mut reached: BTreeMap<&HoldId, u64> = BTreeMap::new();
    for step in &plan.steps {
        let mut begin = 0;
        for need in &step.needs {
            let met = match need {
                Need::Step(id) => ends.get(id).copied().unwrap_or(0),
                Need::Hold(id) => match reached.get(id) {
                    Some(at) => *at,
                    None => {
                        let at = hold_reached(plan, id, &ends);
                        reached.insert(id, at);
                        at
                    }
                },
            };
            begin = begin.max(met);
        }
        ends.insert(&step.id, begin + step.expected_ms);
    }
    ends
}

fn hold_reached(plan: &Plan, id: &HoldId, ends: &BTreeMap<&StepId, u64>) -> u64 {
    let needs = plan.holds.iter().filter(|hold| hold.id == *id).flat_map(|hold| &hold.needs);
    let met = needs.map(|need| match need {
        Need::Step(step) => ends.get(step).copied().unwrap_or(0),
        // A hold behind a hold adds no time of its own.
        Need::Hold(_) => 0,
    });
    met.max().unwrap_or(0)
}
