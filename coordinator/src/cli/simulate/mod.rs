//! A plan against a simulated fleet, before any host is touched: what went wrong on the way, and how it ended.
//!
//! Owns how voyages are shown and summed up. Sails nothing itself, and touches no host and no coordinator.

mod dates;
mod many;
mod one;
mod waters;

use super::args::{PlanRef, SimulateArgs};
use super::failure::Failure;
use super::files::{self, PlanFile, shell_word};
use super::offline;
use super::output::Output;
use many::Many;
use replank_core::inventory::Inventory;
use replank_core::plan::Plan;
use replank_core::run::Index;
use replank_sim::{Ended, Layout, Profile, Voyage, sail_as_planned};
use std::path::Path;
use std::sync::Arc;

/// The version of the JSON form; fields are added without it growing.
const SIMULATION_FORMAT: u32 = 1;

/// What is sailed, for whoever shows it.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    args: &'a SimulateArgs,
    file: &'a PlanFile,
}

impl Case<'_> {
    /// The command that sails one seed again.
    fn replay(&self, seed: u64) -> String {
        let plan = match &self.args.plan {
            PlanRef::File(path) => shell_word(&path.display().to_string()),
            PlanRef::Id(id) => id.to_string(),
        };
        let inventory = self.args.inventory.as_deref();
        let inventory =
            inventory.map(|path| format!(" --inventory {}", shell_word(&path.display().to_string())));
        let inventory = inventory.unwrap_or_default();
        format!("replank simulate {plan}{inventory} --seed {seed} --faults {}", self.args.faults)
    }
}

/// The profile of that name.
///
/// # Errors
/// [`Failure::Profile`].
pub fn profile(name: &str) -> Result<Profile, Failure> {
    Profile::named(name).ok_or_else(|| Failure::Profile { name: name.to_owned() })
}

/// Sails one seed and tells all of it, or many and sums them up.
///
/// # Errors
/// [`Failure::Unsound`], [`Failure::Inventory`], [`Failure::SimulatedCluster`] and [`Failure::Unsailable`] before anything is sailed; [`Failure::SimulationHeld`] and
/// [`Failure::SimulationBroke`] after the output.
pub fn simulate(out: Output, args: &SimulateArgs, profile: &Profile, file: &PlanFile) -> Result<(), Failure> {
    offline::sound(out, &file.plan)?;
    let inventory = args.inventory.as_deref().map(|path| inventory_of(path, &file.plan)).transpose()?;
    let layout = |seed| Layout::of_plan(&file.plan, inventory.as_ref(), seed);
    // Whether there is a cluster to sail does not depend on the seed.
    layout(args.seed)?;
    let index = Arc::new(Index::new(file.id.clone(), file.plan.clone())?);
    let case = Case { args, file };
    let sailed = |seed, telling| Ok(sail_as_planned(index.clone(), layout(seed)?, profile, seed, telling));
    if args.seeds == 1 {
        let voyage = sailed(args.seed, true)?;
        if out.json {
            out.document(&one::json(case, &voyage))?;
        } else {
            out.data(&one::text(case, &voyage))?;
        }
        return judged(case, std::iter::once(&voyage));
    }
    let seeds = args.seed..args.seed.saturating_add(u64::from(args.seeds));
    let many = Many::of(seeds.map(|seed| sailed(seed, false)).collect::<Result<_, Failure>>()?);
    if out.json {
        out.document(&many.json(case))?;
    } else {
        out.data(&many.text(case))?;
    }
    judged(case, many.voyages())
}

/// The inventory that the plan was made from, and no other: another one is of another cluster, or of another day.
fn inventory_of(path: &Path, plan: &Plan) -> Result<Inventory, Failure> {
    let inventory = files::inventory(path)?;
    if inventory.digest() == plan.input.inventory {
        return Ok(inventory);
    }
    let why = format!("{} is not the inventory that the plan was made from", path.display());
    Err(Failure::SimulatedCluster { why })
}

/// The worst end decides how the command ends.
fn judged<'a>(case: Case<'_>, voyages: impl Iterator<Item = &'a Voyage> + Clone) -> Result<(), Failure> {
    if let Some((voyage, broken)) =
        voyages.clone().find_map(|voyage| voyage.broken.as_ref().map(|broken| (voyage, broken)))
    {
        let promise = broken.promise.name();
        return Err(Failure::SimulationBroke { promise, replay: case.replay(voyage.seed) });
    }
    let mut voyages = voyages;
    match voyages.find(|voyage| is_held(voyage)) {
        Some(voyage) => Err(Failure::SimulationHeld { replay: case.replay(voyage.seed) }),
        None => Ok(()),
    }
}

fn is_held(voyage: &Voyage) -> bool {
    matches!(voyage.ended, Ended::Held { .. })
}

/// `finished`, `aborted`, `rolled-back`, `held` or `broken`: for machines, and as the head of a count.
fn end_word(voyage: &Voyage) -> &'static str {
    match &voyage.ended {
        _ if voyage.broken.is_some() => "broken",
        Ended::Finished => "finished",
        Ended::Aborted => "aborted",
        Ended::RolledBack => "rolled-back",
        Ended::Held { .. } => "held",
    }
}
