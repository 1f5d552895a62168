//! What stands in the way, host by host, before anything is changed: every blocker with its cause and remedy, what the plan
//! neutralises, and what is worth knowing. What cannot be told blocks.
//!
//! Looks at the fleet file, the inventory and the catalog only. What can be found on a host alone (the scripts of packages,
//! whether the new libvirt can read the status files) is found by the plan's own Prepare steps, on every host before
//! anything is changed on any.

pub(in crate::plan) mod ceph;
mod guests;
mod libvirt;
mod system;

use super::finding::About;
use super::state::HostState;
use super::target::Target;
use crate::catalog::Catalog;
use crate::codes;
use crate::fleet_file::{FleetFile, FleetHost, Goal, Role};
use crate::inventory::Inventory;
use crate::plan::Way;
use crate::plan::ceph as over_ceph;
use crate::plan::owner;
use replank_common::facts::Facts;
use replank_common::finding::Finding;
use replank_common::ids::{GuestUuid, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// Every finding, in the order fleet file, then hosts as the fleet file lists them.
pub fn preflight(fleet: &FleetFile, inventory: &Inventory, catalog: &Catalog) -> Vec<Finding> {
    match &fleet.goal {
        Goal::Guests(goal) => match Target::resolve(fleet, goal, catalog) {
            Ok(target) => survey(&target, inventory),
            Err(findings) => findings,
        },
        Goal::Ceph(goal) => over_ceph::preflight(fleet, goal, inventory, catalog),
        Goal::CephOwnership(goal) => owner::preflight(fleet, goal, inventory),
    }
}

/// One host under examination.
pub(super) struct Look<'a> {
    pub(super) target: &'a Target<'a>,
    pub(super) host: &'a FleetHost,
    pub(super) facts: &'a Facts,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Look<'a> {
    fn about(&self, code: &'a str, subject: impl Into<String>) -> About<'a> {
        About::host(code, &self.host.name, subject)
    }

    fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

pub(super) fn survey(target: &Target<'_>, inventory: &Inventory) -> Vec<Finding> {
    let fleet = target.fleet;
    let mut findings = target.findings();
    guests_twice(inventory, &mut findings);
    for host in &fleet.hosts {
        if !fleet.takes_part(host) {
            findings.push(untouched(host));
            continue;
        }
        if host.way == Way::EvacuateFirst {
            findings.push(About::host(codes::WAY_LATER, &host.name, "way evacuate-first").blocks(
                "moving guests away by live migration is a later capability of replank; this release passes hosts in place",
                "set way = \"in-place\" for this host, or `reserved = true` to leave it for later",
            ));
        }
        let Some(facts) = inventory.hosts.get(&host.name) else {
            let why = inventory.missing.get(&host.name).map_or("it is not in the inventory", String::as_str);
            findings.push(About::host(codes::NO_FACTS, &host.name, "facts").blocks(
                format!("nothing is known of the host: {why}"),
                "enrol it and see that its agent is linked (`replank host list`), then take the inventory again",
            ));
            continue;
        };
        if HostState::of(target, host, facts).is_done() {
            findings.push(About::host(codes::ALREADY_DONE, &host.name, "versions").notes(
                "the host is already as the fleet file wants it",
                "nothing; the plan leaves it alone",
            ));
            continue;
        }
        let mut look = Look { target, host, facts, findings: Vec::new() };
        system::check(&mut look);
        libvirt::check(&mut look);
        guests::check(&mut look);
        findings.append(&mut look.findings);
    }
    strangers(fleet, inventory, &mut findings);
    findings
}

fn untouched(host: &FleetHost) -> Finding {
    untouched_by(host, "this release upgrades hosts that run guests")
}

/// `voyage`: what this voyage changes, for people.
pub(in crate::plan) fn untouched_by(host: &FleetHost, voyage: &str) -> Finding {
    let about = About::host(codes::UNTOUCHED, &host.name, "roles");
    if host.reserved {
        return about.notes("it is reserved in the fleet file", "nothing; the plan leaves it untouched");
    }
    let roles: Vec<&str> = host.roles.iter().copied().map(Role::as_str).collect();
    about
        .notes(format!("{voyage}; this one is {}", roles.join(", ")), "nothing; the plan leaves it untouched")
}

/// P2 before the voyage begins.
fn guests_twice(inventory: &Inventory, findings: &mut Vec<Finding>) {
    let mut places: BTreeMap<GuestUuid, Vec<(&HostName, &str)>> = BTreeMap::new();
    for (host, facts) in &inventory.hosts {
        for guest in facts.census.guests.values() {
            places.entry(guest.uuid).or_default().push((host, &guest.name));
        }
    }
    for (uuid, places) in places.into_iter().filter(|(_, places)| places.len() > 1) {
        let (last, name) = places[places.len() - 1];
        let hosts: Vec<&str> = places.iter().map(|(host, _)| host.as_str()).collect();
        findings.push(About::host(codes::GUEST_TWICE, last, format!("guest {name} ({uuid})")).blocks(
            format!("it is active on {} at once", hosts.join(" and ")),
            "find out which of the two its owner uses and end the other; if it is just moving, wait and take the inventory again",
        ));
    }
}

pub(in crate::plan) fn strangers(fleet: &FleetFile, inventory: &Inventory, findings: &mut Vec<Finding>) {
    let known: BTreeSet<&HostName> = fleet.hosts.iter().map(|host| &host.name).collect();
    for host in inventory.hosts.keys() {
        if !known.contains(host) {
            findings.push(About::host(codes::STRANGER, host, "fleet file").notes(
                "the inventory has this host, the fleet file does not",
                "add it to the fleet file if it is to be upgraded",
            ));
        }
    }
}
