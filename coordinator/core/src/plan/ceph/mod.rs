//! The plan of a voyage over a Ceph cluster, from one stable release to a later one, while every client keeps reading and writing.
//!
//! `voyage` resolves what the fleet file asks for; `ground` says how the cluster is; `waves` cuts its OSDs into the sets that stop together; `order` puts
//! everything into its order; `host` and `cluster` know the single steps, `builder` strings them together. What runs the new release already is left alone,
//! so that a plan for a half-finished cluster is the safe way forward, and one for a finished cluster has no steps.

mod builder;
mod cluster;
mod ground;
mod host;
mod order;
mod summary;
mod voyage;
mod waves;

pub(super) use ground::{Ground, Placed, Standing};
pub(super) use voyage::Voyage;

use super::estimate::estimate;
use super::finding::is_blocker;
use super::make::{Input, digests, untouched};
use super::model::{PLAN_FORMAT, Plan, PlannedHost, PlannedPace, Way};
use super::preflight::ceph::survey;
use super::report::{PlanReport, Refused};
use crate::catalog::Catalog;
use crate::fleet_file::{CephTarget, FleetFile};
use crate::inventory::Inventory;
use replank_common::finding::Finding;

/// # Errors
/// [`Refused`] with every finding of the preflight, when at least one of them blocks.
pub(super) fn plan(input: &Input<'_>, goal: &CephTarget) -> Result<(Plan, PlanReport), Refused> {
    let Input { fleet, inventory, catalog, parent } = *input;
    let voyage = Voyage::resolve(fleet, goal, catalog).map_err(|findings| Refused { findings })?;
    let ground = Ground::new(voyage, inventory);
    let findings = survey(&voyage, inventory, ground.as_ref());
    let Some(ground) = ground.filter(|_| !findings.iter().any(is_blocker)) else {
        return Err(Refused { findings });
    };
    let builder = order::build(&ground);
    let (mut hosts, mut already_done) = (Vec::new(), Vec::new());
    let planned = |name: &replank_common::ids::HostName, wave, lane, already_done| PlannedHost {
        name: name.clone(),
        way: Way::InPlace,
        wave,
        lane,
        guests: builder.guests(name),
        already_done,
    };
    for (name, wave, lane) in &builder.passed {
        hosts.push(planned(name, *wave, *lane, false));
    }
    for host in fleet.hosts.iter().filter(|host| fleet.takes_part(host) && !builder.is_passed(&host.name)) {
        already_done.push(host.name.clone());
        hosts.push(planned(&host.name, 0, 0, true));
    }
    let plan = Plan {
        format: PLAN_FORMAT,
        parent: parent.cloned(),
        fleet: fleet.name.clone(),
        summary: summary::summary(&ground),
        input: digests(input),
        pace: PlannedPace {
            parallel_hosts: fleet.pace.parallel_hosts,
            staging_parallel: fleet.pace.staging_parallel,
        },
        acknowledged: Vec::new(),
        hosts,
        holds: builder.holds,
        points_of_no_return: builder.points,
        osd_waves: summary::osd_waves(&ground),
        steps: builder.strands.steps,
        findings: findings.clone(),
    };
    let report =
        PlanReport { findings, already_done, untouched: untouched(fleet), estimate: estimate(&plan) };
    Ok((plan, report))
}

pub(super) fn preflight(
    fleet: &FleetFile,
    goal: &CephTarget,
    inventory: &Inventory,
    catalog: &Catalog,
) -> Vec<Finding> {
    match Voyage::resolve(fleet, goal, catalog) {
        Ok(voyage) => survey(&voyage, inventory, Ground::new(voyage, inventory).as_ref()),
        Err(findings) => findings,
    }
}
