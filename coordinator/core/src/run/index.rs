//! A plan with its ids resolved to places, checked once so that nothing later has to doubt it.

use super::places::Places;
use crate::gate::asked_of;
use crate::plan::{Loan, Need, PLAN_FORMAT, Plan, Stage, Step, Undo, Work, loans};
use replank_common::ids::{HoldId, HostName, PlanId, StepId};
use std::collections::BTreeMap;

/// More is a mistake, not a fleet.
pub const MAX_HOSTS: usize = 100_000;
/// More is a mistake, not a plan.
pub const MAX_STEPS: usize = 4_000_000;

/// Why a plan cannot be run. Lint says more; this is what execution itself relies on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsoundPlan {
    #[error("the plan has format {found}; this coordinator reads up to {PLAN_FORMAT}")]
    Format { found: u32 },
    #[error("the plan has {found} {what}, more than the limit of {limit}")]
    TooLarge { what: &'static str, found: usize, limit: usize },
    #[error("{what} `{id}` is in the plan twice")]
    Duplicate { what: &'static str, id: String },
    #[error("{of} names {what} `{id}`, which is not in the plan")]
    Unknown { of: String, what: &'static str, id: String },
    #[error("step `{step}` comes before `{needs}`, which it needs")]
    Order { step: StepId, needs: String },
    #[error("hold `{hold}` waits for itself")]
    HoldCircle { hold: HoldId },
    #[error("step `{step}` gives `{subject}` back, which is not a borrowed step of the same host before it")]
    NotBorrowed { step: StepId, subject: StepId },
    #[error("step `{step}` has no deadline")]
    NoDeadline { step: StepId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NeedIx {
    Step(usize),
    Hold(usize),
}

/// A plan and the places of its hosts, steps and holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    pub(crate) id: PlanId,
    pub(crate) plan: Plan,
    places: Places,
    /// By host: its steps in the plan's order.
    pub(crate) host_steps: Vec<Vec<usize>>,
    /// By step.
    pub(crate) host_of: Vec<usize>,
    pub(crate) step_needs: Vec<Vec<NeedIx>>,
    pub(crate) hold_needs: Vec<Vec<NeedIx>>,
    /// By step: the borrowed step that it gives back.
    pub(crate) gives_back: Vec<Option<usize>>,
    /// By step or hold: hosts with steps, and holds, that need it.
    pub(crate) step_wakes: Vec<Wakes>,
    pub(crate) hold_wakes: Vec<Wakes>,
    /// What of a cluster is borrowed.
    pub(crate) loans: Vec<Loan>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wakes {
    pub(crate) hosts: Vec<usize>,
    pub(crate) holds: Vec<usize>,
}

impl Index {
    /// Resolves and checks `plan`, whose content address is `id`.
    ///
    /// # Errors
    /// `UnsoundPlan` names the first thing that execution could not rely on.
    pub fn new(id: PlanId, plan: Plan) -> Result<Self, UnsoundPlan> {
        if plan.format > PLAN_FORMAT {
            return Err(UnsoundPlan::Format { found: plan.format });
        }
        limit("hosts", plan.hosts.len(), MAX_HOSTS)?;
        limit("steps", plan.steps.len(), MAX_STEPS)?;
        limit("holds", plan.holds.len(), MAX_STEPS)?;
        let places = Places::of(&plan)?;
        let known_host = |of: &StepId, name: &HostName| {
            places.host(&plan, name).ok_or_else(|| unknown(of.as_str(), "host", name))
        };
        let known_step =
            |of: &str, id: &StepId| places.step(&plan, id).ok_or_else(|| unknown(of, "step", id));
        let known_hold =
            |of: &str, id: &HoldId| places.hold(&plan, id).ok_or_else(|| unknown(of, "hold", id));
        let resolve_need = |of: &str, need: &Need, guess: Option<usize>| match need {
            Need::Step(id) => {
                places.step_likely(&plan, id, guess).map(NeedIx::Step).ok_or_else(|| unknown(of, "step", id))
            }
            Need::Hold(id) => known_hold(of, id).map(NeedIx::Hold),
        };
        let resolve = |of: &str, needs: &[Need], guess: Option<usize>| -> Result<Vec<NeedIx>, UnsoundPlan> {
            needs.iter().map(|need| resolve_need(of, need, guess)).collect()
        };
        let mut hold_needs = Vec::with_capacity(plan.holds.len());
        for hold in &plan.holds {
            hold_needs.push(resolve(hold.id.as_str(), &hold.needs, None)?);
        }
        let mut points: BTreeMap<&StepId, Vec<usize>> = BTreeMap::new();
        for point in &plan.points_of_no_return {
            known_step("a point of no return", &point.step)?;
            points.entry(&point.step).or_default().push(known_hold(point.step.as_str(), &point.hold)?);
        }
        let mut host_steps: Vec<Vec<usize>> = vec![Vec::new(); plan.hosts.len()];
        let count = plan.steps.len();
        let mut host_of: Vec<usize> = Vec::with_capacity(count);
        let (mut step_needs, mut given) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (ix, step) in plan.steps.iter().enumerate() {
            // Steps of a host mostly stand together, and need the one before.
            let host = match host_of.last() {
                Some(host) if plan.hosts[*host].name == step.host => *host,
                Some(_) | None => known_host(&step.id, &step.host)?,
            };
            for gate in step.before.iter().chain(&step.after) {
                let asked = asked_of(gate, &step.host);
                if *asked != step.host {
                    known_host(&step.id, asked)?;
                }
            }
            if step.deadline_ms == 0 {
                return Err(UnsoundPlan::NoDeadline { step: step.id.clone() });
            }
            given.push(match &*step.work {
                Work::GiveBack(subject) => {
                    let at = known_step(step.id.as_str(), subject)?;
                    Some(gives_back(ix, at, &plan.steps)?)
                }
                Work::Act(_) | Work::Observe => None,
            });
            let mut needs = resolve(step.id.as_str(), &step.needs, host_steps[host].last().copied())?;
            // P8 does not hang on the planner having repeated the hold among the step's needs.
            for hold in points.get(&step.id).into_iter().flatten() {
                let hold = NeedIx::Hold(*hold);
                if !needs.contains(&hold) {
                    needs.push(hold);
                }
            }
            step_needs.push(needs);
            host_of.push(host);
            host_steps[host].push(ix);
        }
        let mut index = Self {
            id,
            step_wakes: vec![Wakes::default(); plan.steps.len()],
            hold_wakes: vec![Wakes::default(); plan.holds.len()],
            loans: loans(&plan),
            plan,
            places,
            host_steps,
            host_of,
            step_needs,
            hold_needs,
            gives_back: given,
        };
        index.check_order()?;
        index.find_wakes();
        Ok(index)
    }

    pub fn id(&self) -> &PlanId {
        &self.id
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn host(&self, name: &HostName) -> Option<usize> {
        self.places.host(&self.plan, name)
    }

    pub(crate) fn step(&self, id: &StepId) -> Option<usize> {
        self.places.step(&self.plan, id)
    }

    pub(crate) fn hold(&self, id: &HoldId) -> Option<usize> {
        self.places.hold(&self.plan, id)
    }

    pub(crate) fn host_name(&self, host: usize) -> &HostName {
        &self.plan.hosts[host].name
    }

    pub(crate) fn step_at(&self, step: usize) -> &Step {
        &self.plan.steps[step]
    }

    /// The host's steps, last first.
    pub(crate) fn steps_back(&self, host: usize) -> impl Iterator<Item = usize> + '_ {
        self.host_steps[host].iter().rev().copied()
    }

    /// A hold stands, for the order, right after the last step that it needs; a need of a step or hold must stand before.
    fn check_order(&self) -> Result<(), UnsoundPlan> {
        let mut hold_place: Vec<Option<usize>> = vec![None; self.hold_needs.len()];
        let mut left = self.hold_needs.len();
        // Each round settles the holds whose needs are settled; a round that settles none has found a circle.
        while left > 0 {
            let before = left;
            for hold in 0..self.hold_needs.len() {
                if hold_place[hold].is_none()
                    && let Some(place) = self.place_of_hold(hold, &hold_place)
                {
                    hold_place[hold] = Some(place);
                    left -= 1;
                }
            }
            if left == before {
                let circle = hold_place.iter().position(Option::is_none).unwrap_or_default();
                return Err(UnsoundPlan::HoldCircle { hold: self.plan.holds[circle].id.clone() });
            }
        }
        for (ix, needs) in self.step_needs.iter().enumerate() {
            for need in needs {
                let late = match need {
                    NeedIx::Step(step) => *step >= ix,
                    NeedIx::Hold(hold) => hold_place[*hold].is_some_and(|place| place > ix),
                };
                if late {
                    let needs = match need {
                        NeedIx::Step(step) => self.plan.steps[*step].id.to_string(),
                        NeedIx::Hold(hold) => self.plan.holds[*hold].id.to_string(),
                    };
                    return Err(UnsoundPlan::Order { step: self.plan.steps[ix].id.clone(), needs });
                }
            }
        }
        Ok(())
    }

    /// One more than the place of the last step needed; `None` while a hold that it needs has no place yet.
    fn place_of_hold(&self, hold: usize, places: &[Option<usize>]) -> Option<usize> {
        let mut last = 0;
        for need in &self.hold_needs[hold] {
            last = last.max(match need {
                NeedIx::Step(step) => step + 1,
                NeedIx::Hold(other) => places[*other]?,
            });
        }
        Some(last)
    }

    fn find_wakes(&mut self) {
        for (ix, needs) in self.step_needs.iter().enumerate() {
            for need in needs {
                let wakes = match need {
                    NeedIx::Step(step) => &mut self.step_wakes[*step],
                    NeedIx::Hold(hold) => &mut self.hold_wakes[*hold],
                };
                if wakes.hosts.last() != Some(&self.host_of[ix]) {
                    wakes.hosts.push(self.host_of[ix]);
                }
            }
        }
        for (ix, needs) in self.hold_needs.iter().enumerate() {
            for need in needs {
                match need {
                    NeedIx::Step(step) => self.step_wakes[*step].holds.push(ix),
                    NeedIx::Hold(hold) => self.hold_wakes[*hold].holds.push(ix),
                }
            }
        }
    }
}

/// Whether a stage changes the host beyond replank's own directory, so that no host enters it while something is held or
/// cannot be told. The planner's pace and holds begin at the same stage.
pub(crate) fn is_change(stage: Stage) -> bool {
    match stage {
        Stage::Prepare => false,
        Stage::Keep | Stage::Install | Stage::Switch | Stage::Verify | Stage::GiveBack => true,
    }
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), UnsoundPlan> {
    if found > limit { Err(UnsoundPlan::TooLarge { what, found, limit }) } else { Ok(()) }
}

fn unknown(of: &str, what: &'static str, id: &impl ToString) -> UnsoundPlan {
    UnsoundPlan::Unknown { of: of.to_owned(), what, id: id.to_string() }
}

/// The place of the step that `all[ix]` gives back, which is `subject`.
fn gives_back(ix: usize, subject: usize, all: &[Step]) -> Result<usize, UnsoundPlan> {
    let (step, borrowed) = (&all[ix], &all[subject]);
    if subject < ix && borrowed.host == step.host && borrowed.undo == Undo::Borrowed {
        Ok(subject)
    } else {
        Err(UnsoundPlan::NotBorrowed { step: step.id.clone(), subject: borrowed.id.clone() })
    }
}
