//! How long still: the longest chain of needs over what is left, with the plan's expectations corrected by what the steps of this run took.

use crate::plan::Work;
use crate::run::index::NeedIx;
use crate::run::state::{Course, State, StepPhase};
use replank_common::UnixMs;
use std::collections::BTreeMap;

/// What steps took compared with what was expected of them, by kind of action.
struct Measured {
    by_kind: BTreeMap<&'static str, (u64, u64)>,
    all: (u64, u64),
}

impl Measured {
    fn of(state: &State) -> Self {
        let mut measured = Self { by_kind: BTreeMap::new(), all: (0, 0) };
        for (step, plan) in state.steps.iter().zip(&state.index.plan.steps) {
            let (Some(begun_ms), Some(done_ms)) = (step.begun_ms, step.done_ms) else { continue };
            let took_ms = done_ms.saturating_sub(begun_ms);
            let entry = measured.by_kind.entry(kind(&plan.work)).or_default();
            for (took, expected) in [entry, &mut measured.all] {
                *took += took_ms;
                *expected += plan.expected_ms;
            }
        }
        measured
    }

    /// Falls back from the kind to all steps, and from them to the plan.
    fn correct(&self, work: &Work, expected_ms: u64) -> u64 {
        let of_kind = self.by_kind.get(kind(work)).copied().unwrap_or_default();
        let (took, expected) = if of_kind.1 > 0 { of_kind } else { self.all };
        if expected == 0 {
            return expected_ms;
        }
        u64::try_from(u128::from(expected_ms) * u128::from(took) / u128::from(expected)).unwrap_or(u64::MAX)
    }
}

fn kind(work: &Work) -> &'static str {
    match work {
        Work::Act(action) => action.kind(),
        Work::GiveBack(_) => "give-back",
        Work::Observe => "observe",
    }
}

/// Milliseconds until the end of the present course if nothing waits; `None` when the run is finished.
pub(super) fn time_left(state: &State, now_ms: UnixMs) -> Option<u64> {
    match &state.course {
        Course::Forward => Some(forward(state, now_ms)),
        Course::Guarding { to, .. } | Course::RollingBack { to } => {
            Some(back(state, |step| state.step_goes_back(step, *to)))
        }
        Course::Closing { .. } => Some(back(state, |step| state.is_borrowed(step))),
        Course::Finished { .. } => None,
    }
}

fn forward(state: &State, now_ms: UnixMs) -> u64 {
    let index = &state.index;
    let measured = Measured::of(state);
    let mut ends = vec![0_u64; state.steps.len()];
    let mut host_ends = vec![0_u64; state.hosts.len()];
    let mut holds: Vec<Option<u64>> = vec![None; state.holds.len()];
    for (ix, plan) in index.plan.steps.iter().enumerate() {
        let step = &state.steps[ix];
        if step.phase == StepPhase::Done {
            continue;
        }
        let host = index.host_of[ix];
        let needs = index.step_needs[ix].iter().map(|need| match need {
            NeedIx::Step(needed) => ends[*needed],
            NeedIx::Hold(hold) => hold_end(state, *hold, &ends, &mut holds),
        });
        let begin = needs.max().unwrap_or(0).max(host_ends[host]);
        let expected_ms = measured.correct(&plan.work, plan.expected_ms);
        let elapsed_ms = step.begun_ms.map_or(0, |begun_ms| now_ms.saturating_sub(begun_ms));
        ends[ix] = begin + expected_ms.saturating_sub(elapsed_ms);
        host_ends[host] = ends[ix];
    }
    ends.into_iter().max().unwrap_or(0)
}

/// When a hold can be reached; its approval takes no time here.
fn hold_end(state: &State, hold: usize, ends: &[u64], known: &mut [Option<u64>]) -> u64 {
    if let Some(end) = known[hold] {
        return end;
    }
    let mut end = 0;
    for need in &state.index.hold_needs[hold] {
        end = end.max(match need {
            NeedIx::Step(step) => ends[*step],
            NeedIx::Hold(other) => hold_end(state, *other, ends, known),
        });
    }
    known[hold] = Some(end);
    end
}

/// Wave after wave; within a wave the slowest lane; within a lane host after host. Taking back counts as long as doing took.
fn back(state: &State, goes: impl Fn(usize) -> bool) -> u64 {
    let mut lanes: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for (ix, plan) in state.index.plan.steps.iter().enumerate() {
        if !goes(ix) {
            continue;
        }
        let host = &state.index.plan.hosts[state.index.host_of[ix]];
        let step = &state.steps[ix];
        let took_ms = match (step.begun_ms, step.done_ms) {
            (Some(begun_ms), Some(done_ms)) => done_ms.saturating_sub(begun_ms),
            _ => plan.expected_ms,
        };
        *lanes.entry((host.wave, host.lane)).or_default() += took_ms;
    }
    let mut waves: BTreeMap<u32, u64> = BTreeMap::new();
    for ((wave, _), took_ms) in lanes {
        let slowest = waves.entry(wave).or_default();
        *slowest = took_ms.max(*slowest);
    }
    waves.values().sum()
}
