//! The facts of every enrolled host, asked for at once; then what a host with an admin's keyring sees of the Ceph cluster.

use crate::drive::Clock;
use crate::links::{self, AskError, LinksError};
use replank_ceph::seen::{ANSWER_MS, Seen};
use replank_common::facts::Facts;
use replank_common::ids::HostName;
use replank_common::reading::{Reading, ReadingRequest, ReadingValue};
use replank_core::inventory::{CephInventory, Inventory};
use std::time::Duration;

/// For everything about a cluster, from one host.
const CLUSTER_TIME: Duration = Duration::from_millis(ANSWER_MS);

/// Asks every host that is enrolled and not revoked, all within one deadline. Hosts without an answer are in it with the reason.
///
/// # Errors
/// The list of hosts cannot be read.
pub(super) async fn collect(
    links: &links::Handle,
    clock: Clock,
    deadline: Duration,
) -> Result<Inventory, LinksError> {
    let enrolled = links.hosts().await?.into_iter().filter(|host| !host.revoked).map(|host| host.name);
    let taken_at_ms = clock.now_ms();
    let answers = links.ask_all(enrolled, ReadingRequest::Facts, deadline).await;
    let mut inventory = Inventory::new(taken_at_ms, []);
    for (host, answer) in answers {
        match facts(&host, answer) {
            Ok(facts) => drop(inventory.hosts.insert(host, facts)),
            Err(why) => drop(inventory.missing.insert(host, why)),
        }
    }
    inventory.ceph = cluster(links, &inventory, clock, deadline).await;
    Ok(inventory)
}

/// The cluster as the first host sees it that may ask and answers; the lists of a large one take their time.
async fn cluster(
    links: &links::Handle,
    inventory: &Inventory,
    clock: Clock,
    deadline: Duration,
) -> Option<CephInventory> {
    let may_ask =
        inventory.hosts.values().filter(|facts| facts.ceph.as_ref().is_some_and(|ceph| ceph.admin_keyring));
    for via in may_ask.map(|facts| &facts.host) {
        let answers =
            links.ask_all([via.clone()], ReadingRequest::CephCluster, deadline.max(CLUSTER_TIME)).await;
        let value = answers.into_values().next().and_then(Result::ok).map(|reading| reading.value);
        if let Some(ReadingValue::Ceph(text)) = value
            && let Ok(Seen::Cluster(cluster)) = Seen::read(&text)
        {
            return Some(CephInventory { via: via.clone(), taken_at_ms: clock.now_ms(), cluster: *cluster });
        }
    }
    None
}

fn facts(host: &HostName, answer: Result<Reading, AskError>) -> Result<Facts, String> {
    match answer.map_err(|error| error.to_string())?.value {
        ReadingValue::Facts(facts) if facts.host == *host => Ok(*facts),
        ReadingValue::Facts(facts) => Err(format!("its agent gave the facts of {}", facts.host)),
        ReadingValue::CannotTell { why } => Err(why),
        ReadingValue::Census(_)
        | ReadingValue::Libvirtd(_)
        | ReadingValue::EmulatorForNewGuests { .. }
        | ReadingValue::LibvirtTcp { .. }
        | ReadingValue::GuestJobs(_)
        | ReadingValue::CephDaemons(_)
        | ReadingValue::Ceph(_) => Err("its agent answered another question than facts".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(value: ReadingValue) -> Result<Reading, AskError> {
        let host = HostName::new("compute1").unwrap();
        Ok(Reading { host, request: ReadingRequest::Facts, taken_at_ms: 1, value })
    }

    #[test]
    fn what_is_no_facts_of_the_host_is_missing_with_the_reason() {
        let host = HostName::new("compute1").unwrap();
        let why = "the bus is gone".to_owned();
        assert_eq!(facts(&host, reading(ReadingValue::CannotTell { why: why.clone() })), Err(why));
        let other = facts(&host, reading(ReadingValue::GuestJobs(Vec::new()))).unwrap_err();
        assert!(other.contains("another question"), "{other}");
        let silent = AskError::NoAnswer { host: host.clone(), deadline_ms: 5 };
        assert!(facts(&host, Err(silent)).unwrap_err().contains("5 ms"));
    }
}
