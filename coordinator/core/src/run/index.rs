//! A plan with its ids resolved to places, checked once so that nothing later has to doubt it.

use crate::gate::asked_of;
use crate::plan::{Need, PLAN_FORMAT, Plan, Stage, Step, Undo, Work};
use replank_common::ids::{HoldId, HostName, PlanId, StepId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
    hosts: BTreeMap<HostName, usize>,
    steps: BTreeMap<StepId, usize>,
    holds: BTreeMap<HoldId, usize>,
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
        let hosts = places("host", plan.hosts.iter().map(|host| host.name.clone()))?;
        let steps = places("step", plan.steps.iter().map(|step| step.id.clone()))?;
        let holds = places("hold", plan.holds.iter().map(|hold| hold.id.clone()))?;
        let resolve = |of: &str, needs: &[Need]| -> Result<Vec<NeedIx>, UnsoundPlan> {
            needs.iter().map(|need| resolve_need(of, need, &steps, &holds)).collect()
        };
        let mut hold_needs = Vec::with_capacity(plan.holds.len());
        for hold in &plan.holds {
            hold_needs.push(resolve(hold.id.as_str(), &hold.needs)?);
        }
        let mut points: BTreeMap<&StepId, Vec<usize>> = BTreeMap::new();
        for point in &plan.points_of_no_return {
            known("step", "a point of no return", &point.step, &steps)?;
            points.entry(&point.step).or_default().push(known(
                "hold",
                point.step.as_str(),
                &point.hold,
                &holds,
            )?);
        }
        let mut host_steps = vec![Vec::new(); plan.hosts.len()];
        let (mut host_of, mut step_needs, mut given) = (Vec::new(), Vec::new(), Vec::new());
        for (ix, step) in plan.steps.iter().enumerate() {
            let host = known("host", step.id.as_str(), &step.host, &hosts)?;
            for gate in step.before.iter().chain(&step.after) {
                known("host", step.id.as_str(), asked_of(gate, &step.host), &hosts)?;
            }
            if step.deadline_ms == 0 {
                return Err(UnsoundPlan::NoDeadline { step: step.id.clone() });
            }
            given.push(gives_back(ix, step, &plan.steps, &steps)?);
            let mut needs = resolve(step.id.as_str(), &step.needs)?;
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
            plan,
            hosts,
            steps,
            holds,
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
        self.hosts.get(name).copied()
    }

    pub(crate) fn step(&self, id: &StepId) -> Option<usize> {
        self.steps.get(id).copied()
    }

    pub(crate) fn hold(&self, id: &HoldId) -> Option<usize> {
        self.holds.get(id).copied()
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
                let (late, name) = match need {
                    NeedIx::Step(step) => (*step >= ix, self.plan.steps[*step].id.to_string()),
                    NeedIx::Hold(hold) => {
                        (hold_place[*hold].is_some_and(|p| p > ix), self.plan.holds[*hold].id.to_string())
                    }
                };
                if late {
                    return Err(UnsoundPlan::Order { step: self.plan.steps[ix].id.clone(), needs: name });
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

fn places<Id: Ord + ToString>(
    what: &'static str,
    ids: impl Iterator<Item = Id>,
) -> Result<BTreeMap<Id, usize>, UnsoundPlan> {
    let mut places = BTreeMap::new();
    for (ix, id) in ids.enumerate() {
        match places.entry(id) {
            Entry::Vacant(place) => {
                place.insert(ix);
            }
            Entry::Occupied(place) => {
                return Err(UnsoundPlan::Duplicate { what, id: place.key().to_string() });
            }
        }
    }
    Ok(places)
}

fn known<Id: Ord + ToString>(
    what: &'static str,
    of: &str,
    id: &Id,
    places: &BTreeMap<Id, usize>,
) -> Result<usize, UnsoundPlan> {
    places.get(id).copied().ok_or_else(|| UnsoundPlan::Unknown {
        of: of.to_owned(),
        what,
        id: id.to_string(),
    })
}

fn resolve_need(
    of: &str,
    need: &Need,
    steps: &BTreeMap<StepId, usize>,
    holds: &BTreeMap<HoldId, usize>,
) -> Result<NeedIx, UnsoundPlan> {
    match need {
        Need::Step(id) => known("step", of, id, steps).map(NeedIx::Step),
        Need::Hold(id) => known("hold", of, id, holds).map(NeedIx::Hold),
    }
}

fn gives_back(
    ix: usize,
    step: &Step,
    all: &[Step],
    steps: &BTreeMap<StepId, usize>,
) -> Result<Option<usize>, UnsoundPlan> {
    let Work::GiveBack(subject) = &*step.work else { return Ok(None) };
    let at = known("step", step.id.as_str(), subject, steps)?;
    if at < ix && all[at].host == step.host && all[at].undo == Undo::Borrowed {
        Ok(Some(at))
    } else {
        Err(UnsoundPlan::NotBorrowed { step: step.id.clone(), subject: subject.clone() })
    }
}
