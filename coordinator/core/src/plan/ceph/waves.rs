//! The sets of OSDs that are restarted together, canary first, as hosts with their OSDs.

use super::ground::Ground;
use crate::fleet_file::{Canary, FleetHost};
use replank_common::ids::HostName;
use std::collections::BTreeMap;

/// OSDs that may be down at the same time.
#[derive(Debug, Clone)]
pub(super) struct Wave<'a> {
    pub(super) canary: bool,
    /// Each with its OSDs of this wave.
    pub(super) hosts: Vec<(&'a FleetHost, Vec<u32>)>,
}

impl Wave<'_> {
    pub(super) fn osds(&self) -> Vec<u32> {
        let mut osds: Vec<u32> = self.hosts.iter().flat_map(|(_, osds)| osds).copied().collect();
        osds.sort_unstable();
        osds
    }
}

/// The waves of the ground, in order: those of the canary hosts, each cut out of the wave that it belongs to, then the others, cut to the pace. A
/// part of a set that may stop may stop.
pub(super) fn waves<'a>(ground: &Ground<'a>) -> Vec<Wave<'a>> {
    let places = ground.host_of_osd();
    let whole: Vec<Vec<(&FleetHost, Vec<u32>)>> = ground
        .waves
        .waves
        .iter()
        .map(|wave| {
            let mut hosts: BTreeMap<usize, (&FleetHost, Vec<u32>)> = BTreeMap::new();
            for osd in &wave.osds {
                if let Some(host) = places.get(osd) {
                    hosts
                        .entry(place(ground, &host.name))
                        .or_insert_with(|| (host, Vec::new()))
                        .1
                        .push(osd.0);
                }
            }
            hosts.into_values().collect()
        })
        .collect();
    let canaries = canaries(ground, &whole);
    let is_canary = |host: &FleetHost| canaries.contains(&&host.name);
    let mut waves = Vec::new();
    for canary in [true, false] {
        for wave in &whole {
            let hosts: Vec<_> = wave.iter().filter(|(host, _)| is_canary(host) == canary).cloned().collect();
            let most = ground.voyage.fleet.pace.parallel_hosts.max(1) as usize;
            waves.extend(hosts.chunks(most).map(|hosts| Wave { canary, hosts: hosts.to_vec() }));
        }
    }
    waves
}

/// Where the host stands in the fleet file.
fn place(ground: &Ground<'_>, name: &HostName) -> usize {
    ground.voyage.fleet.hosts.iter().position(|host| host.name == *name).unwrap_or(usize::MAX)
}

/// The canary hosts that have OSDs to restart; where the fleet file names none of them, the first that has.
fn canaries<'a>(ground: &Ground<'a>, waves: &[Vec<(&'a FleetHost, Vec<u32>)>]) -> Vec<&'a HostName> {
    let mut names: Vec<&HostName> = waves.iter().flatten().map(|(host, _)| &host.name).collect();
    names.sort_by_key(|name| place(ground, name));
    names.dedup();
    let count = match &ground.voyage.fleet.pace.canary {
        Canary::Count(count) => *count as usize,
        Canary::Hosts(chosen) if names.iter().any(|name| chosen.contains(name)) => {
            names.retain(|name| chosen.contains(name));
            names.len()
        }
        Canary::Hosts(_) => 1,
    };
    names.truncate(count);
    names
}

/// The hosts with MONs to restart, in order: the canary hosts first.
pub(super) fn mon_order<'a>(ground: &Ground<'a>, hosts: Vec<&'a FleetHost>) -> Vec<&'a FleetHost> {
    let (mut first, rest): (Vec<_>, Vec<_>) = match &ground.voyage.fleet.pace.canary {
        Canary::Count(_) => (Vec::new(), hosts),
        Canary::Hosts(chosen) => hosts.into_iter().partition(|host| chosen.contains(&host.name)),
    };
    first.extend(rest);
    first
}
