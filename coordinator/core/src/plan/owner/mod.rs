//! The plan that gives the files of a cluster's daemons to the user `ceph`, long after a voyage that left them root's.
//!
//! `plot` says which daemons are concerned, `survey` what stands in the way, `order` what is done when. It stops one daemon at a time over the whole cluster, and for as
//! long as it takes to look at its files once more: all that can be done while daemons run is done before, on several hosts at a time.

mod order;
mod plot;
mod survey;

use super::estimate::estimate;
use super::finding::is_blocker;
use super::make::{Input, digests, untouched};
use super::model::{PLAN_FORMAT, Plan, PlannedHost, PlannedPace, Way};
use super::report::{PlanReport, Refused};
use super::strand::Strands;
use super::text::count;
use crate::fleet_file::{FleetFile, OwnershipTarget};
use crate::inventory::Inventory;
use plot::Plot;
use replank_common::ceph::CephKind;
use replank_common::finding::Finding;
use replank_common::ids::HostName;

/// # Errors
/// [`Refused`] with every finding of the preflight, when at least one of them blocks.
pub(super) fn plan(input: &Input<'_>, goal: &OwnershipTarget) -> Result<(Plan, PlanReport), Refused> {
    let Input { fleet, inventory, catalog, parent } = *input;
    let plot = Plot::new(fleet, goal, inventory);
    let findings = survey::survey(fleet, goal, inventory, plot.as_ref());
    let Some(plot) = plot.filter(|_| !findings.iter().any(is_blocker)) else {
        return Err(Refused { findings });
    };
    let ordered = order::build(&plot, catalog);
    let (mut hosts, mut already_done) = (Vec::new(), Vec::new());
    for (wave, name) in (0..).zip(&ordered.passed) {
        hosts.push(planned(&ordered.strands, name, wave, false));
    }
    for host in
        fleet.hosts.iter().filter(|host| fleet.takes_part(host) && !ordered.passed.contains(&host.name))
    {
        already_done.push(host.name.clone());
        hosts.push(planned(&ordered.strands, &host.name, 0, true));
    }
    let plan = Plan {
        format: PLAN_FORMAT,
        parent: parent.cloned(),
        fleet: fleet.name.clone(),
        summary: summary(&plot),
        input: digests(input),
        pace: PlannedPace { parallel_hosts: 1, staging_parallel: fleet.pace.staging_parallel },
        acknowledged: Vec::new(),
        hosts,
        holds: ordered.holds,
        points_of_no_return: Vec::new(),
        osd_waves: None,
        steps: ordered.strands.steps,
        findings: findings.clone(),
    };
    let report =
        PlanReport { findings, already_done, untouched: untouched(fleet), estimate: estimate(&plan) };
    Ok((plan, report))
}

pub(super) fn preflight(fleet: &FleetFile, goal: &OwnershipTarget, inventory: &Inventory) -> Vec<Finding> {
    survey::survey(fleet, goal, inventory, Plot::new(fleet, goal, inventory).as_ref())
}

fn planned(strands: &Strands<'_>, name: &HostName, wave: u32, already_done: bool) -> PlannedHost {
    PlannedHost {
        name: name.clone(),
        way: Way::InPlace,
        wave,
        lane: 0,
        guests: strands.guests(name),
        already_done,
    }
}

fn summary(plot: &Plot<'_>) -> Vec<String> {
    let kinds: Vec<String> = CephKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let number = plot.foreign().filter(|owned| owned.fact.daemon.kind == kind).count();
            (number > 0).then(|| format!("{number} {}", kind.as_str()))
        })
        .collect();
    let mut lines = vec![format!(
        "the files of {} are given to the user ceph, one daemon at a time, and each is restarted once on the release that it runs",
        if kinds.is_empty() { "no daemon".to_owned() } else { kinds.join(", ") }
    )];
    let rate = match plot.goal.files_per_second {
        0 => "as fast as an idle disk lets".to_owned(),
        files => format!("at most {files} files a second on a host"),
    };
    lines.push(format!(
        "most of it is done while a daemon runs, with idle priority and {rate}; once stopped, its files may take {}",
        count(plot.goal.down_seconds as usize, "second")
    ));
    lines.push(format!("{} asks the cluster", plot.via));
    for name in &plot.goal.consent {
        lines.push(format!(
            "accepted in the fleet file: the thin redundancy of the pool {name}, for the while"
        ));
    }
    lines
}
