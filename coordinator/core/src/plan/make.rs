//! The planner: from a fleet file, an inventory and the catalog to a plan, or to the reasons why there is none.

use super::ceph;
use super::estimate::estimate;
use super::finding::{About, is_blocker};
use super::host::{self, HostInput};
use super::model::{InputDigests, PLAN_FORMAT, Plan, PlannedPace};
use super::order::{self, Passage};
use super::owner;
use super::preflight::survey;
use super::remote;
use super::report::{PlanReport, Refused};
use super::state::HostState;
use super::target::Target;
use crate::catalog::{Catalog, Lookup};
use crate::codes;
use crate::digest;
use crate::fleet_file::{Canary, FleetFile, FleetHost, Goal, GuestsTarget, OPEN_TCP_SENTENCE, TcpAuth};
use crate::inventory::Inventory;
use replank_common::finding::Finding;
use replank_common::ids::{HostName, PlanId};

/// Everything that the planner may look at, frozen.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub fleet: &'a FleetFile,
    pub inventory: &'a Inventory,
    pub catalog: &'a Catalog,
    /// The plan that this one continues.
    pub parent: Option<&'a PlanId>,
}

/// Makes the plan. The same input gives the same bytes; a fleet that is done gives a plan without steps.
///
/// # Errors
/// [`Refused`] with every finding of the preflight, when at least one of them blocks.
pub fn plan(input: &Input<'_>) -> Result<(Plan, PlanReport), Refused> {
    match &input.fleet.goal {
        Goal::Guests(goal) => plan_guests(input, goal),
        Goal::Ceph(goal) => ceph::plan(input, goal),
        Goal::CephOwnership(goal) => owner::plan(input, goal),
    }
}

fn plan_guests(input: &Input<'_>, goal: &GuestsTarget) -> Result<(Plan, PlanReport), Refused> {
    let Input { fleet, inventory, catalog, parent } = *input;
    let target = Target::resolve(fleet, goal, catalog).map_err(|findings| Refused { findings })?;
    let mut findings = survey(&target, inventory);
    if findings.iter().any(is_blocker) {
        return Err(Refused { findings });
    }

    let hosts: Vec<&FleetHost> = fleet.hosts.iter().filter(|host| fleet.takes_part(host)).collect();
    let passages: Vec<Passage> = hosts
        .iter()
        .enumerate()
        .filter_map(|(index, host)| passage(&target, inventory, &hosts, index, host, &mut findings))
        .collect();
    let already_done =
        passages.iter().filter(|host| host.steps.is_none()).map(|host| host.name.clone()).collect();
    let untouched = untouched(fleet);

    let pace = PlannedPace {
        parallel_hosts: fleet.pace.parallel_hosts,
        staging_parallel: fleet.pace.staging_parallel,
    };
    let ordered = order::order(passages, &target, pace);
    let plan = Plan {
        format: PLAN_FORMAT,
        parent: parent.cloned(),
        fleet: fleet.name.clone(),
        summary: summary(&target),
        input: digests(input),
        pace,
        acknowledged: acknowledged(goal),
        hosts: ordered.hosts,
        holds: ordered.holds,
        points_of_no_return: ordered.points_of_no_return,
        osd_waves: None,
        steps: ordered.steps,
        findings: findings.clone(),
    };
    let report = PlanReport { findings, already_done, untouched, estimate: estimate(&plan) };
    Ok((plan, report))
}

/// Hosts of the fleet file that take no part.
pub(super) fn untouched(fleet: &FleetFile) -> Vec<HostName> {
    fleet.hosts.iter().filter(|host| !fleet.takes_part(host)).map(|host| host.name.clone()).collect()
}

/// What the plan is computed from.
pub(super) fn digests(input: &Input<'_>) -> InputDigests {
    InputDigests {
        fleet_file: digest::of(input.fleet),
        inventory: input.inventory.digest(),
        catalog: input.catalog.digest(),
    }
}

fn passage(
    target: &Target<'_>,
    inventory: &Inventory,
    hosts: &[&FleetHost],
    index: usize,
    host: &FleetHost,
    findings: &mut Vec<Finding>,
) -> Option<Passage> {
    let facts = inventory.hosts.get(&host.name)?;
    let state = HostState::of(target, host, facts);
    let peer = peer(target.fleet, inventory, hosts, index);
    if !state.is_done() && target.goal.libvirt.tcp.is_some() && peer.is_none() {
        findings.push(About::host(codes::NO_PEER, &host.name, "libvirt over TCP").notes(
            "there is no other host with an agent, and a host's word for itself proves nothing: the check is left out",
            "try it from a machine of yours after the run",
        ));
    }
    let steps = (!state.is_done()).then(|| host::steps(HostInput { target, host, facts, state, peer }));
    Some(Passage {
        name: host.name.clone(),
        way: host.way,
        guests: u32::try_from(facts.census.guests.len()).unwrap_or(u32::MAX),
        canary: is_canary(&target.fleet.pace.canary, index, &host.name),
        steps,
    })
}

fn is_canary(canary: &Canary, index: usize, name: &HostName) -> bool {
    match canary {
        Canary::Count(count) => index < *count as usize,
        Canary::Hosts(names) => names.contains(name),
    }
}

/// The host that tries another one's libvirt over the network: the next one that takes part, else any with an agent.
fn peer<'a>(
    fleet: &'a FleetFile,
    inventory: &Inventory,
    hosts: &[&'a FleetHost],
    index: usize,
) -> Option<&'a HostName> {
    let own = &hosts[index].name;
    let next = hosts[index + 1..].iter().chain(&hosts[..index]).copied();
    next.chain(&fleet.hosts)
        .map(|host| &host.name)
        .find(|name| *name != own && inventory.hosts.contains_key(name))
}

fn acknowledged(goal: &GuestsTarget) -> Vec<String> {
    let open = goal.libvirt.tcp.as_ref().is_some_and(|tcp| tcp.auth == TcpAuth::None);
    if open { vec![OPEN_TCP_SENTENCE.to_owned()] } else { Vec::new() }
}

fn summary(target: &Target<'_>) -> Vec<String> {
    let qemu = &target.goal.qemu;
    let (from, to) = (&target.qemu_hop.from, &target.qemu_hop.to);
    let mut lines = vec![
        format!(
            "qemu {from} → {to}: installed beside the old one, in {}; guests that run keep the qemu they run on",
            qemu.prefix.display()
        ),
        format!(
            "libvirt {} → {}: upgraded in place; libvirtd is restarted once on each host, every guest under watch",
            target.libvirt_hop.from, target.libvirt_hop.to
        ),
    ];
    lines.push(match target.libvirt.emulator.lookup {
        Lookup::Path => "new guests get the new qemu: it comes first in libvirtd's PATH".to_owned(),
        Lookup::CompiledIn => {
            "new guests get the new qemu: this build of libvirt looks for it first, and it comes first in libvirtd's PATH"
                .to_owned()
        }
    });
    if let Some(tcp) = &target.goal.libvirt.tcp {
        lines.push(format!("libvirtd answers other hosts on {}", remote::describe(tcp)));
    }
    lines
}
