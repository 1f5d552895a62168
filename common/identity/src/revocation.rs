//! Who is no longer welcome.
//!
//! Asked in each handshake and for each message, so a revocation acts on streams that are already open. The
//! set is swapped as a whole; the coordinator's store keeps it.

use crate::ids::Serial;
use crate::peer::PeerIdentity;
use crate::role::Role;
use arc_swap::ArcSwap;
use replank_common::ids::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is revoked: single certificates by serial number, and hosts with every certificate they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedSet {
    pub serials: BTreeSet<Serial>,
    pub hosts: BTreeSet<HostName>,
}

impl RevokedSet {
    /// Lets a revoked host enrol again without bringing its old certificates back to life: all serials ever
    /// issued to it, which the caller recorded, stay revoked one by one.
    pub fn readmit(&mut self, host: &HostName, issued_before: impl IntoIterator<Item = Serial>) {
        self.serials.extend(issued_before);
        self.hosts.remove(host);
    }
}

/// A peer that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Revoked {
    #[error("host {host} was revoked; readmit it and enrol it with a new join token")]
    Host { host: HostName },
    #[error("certificate {serial} of {role} was revoked; get a new one from an admin")]
    Certificate { serial: Serial, role: Role },
}

/// The revocations in force, shared by TLS and by the services, replaced at once for all of them.
#[derive(Debug, Default)]
pub struct Revocations {
    set: ArcSwap<RevokedSet>,
}

impl Revocations {
    pub fn new(set: RevokedSet) -> Self {
        Self { set: ArcSwap::from_pointee(set) }
    }

    /// From now on `set` holds and nothing else. Make it durable first.
    pub fn replace(&self, set: RevokedSet) {
        self.set.store(Arc::new(set));
    }

    pub fn current(&self) -> Arc<RevokedSet> {
        self.set.load_full()
    }

    /// # Errors
    /// [`Revoked`] when the peer's certificate, or its host as a whole, was revoked.
    pub fn check(&self, peer: &PeerIdentity) -> Result<(), Revoked> {
        let set = self.set.load();
        match &peer.role {
            Role::Host(host) if set.hosts.contains(host) => return Err(Revoked::Host { host: host.clone() }),
            Role::Host(_) | Role::Operator { .. } | Role::Coordinator => {}
        }
        if set.serials.contains(&peer.serial) {
            return Err(Revoked::Certificate { serial: peer.serial, role: peer.role.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fingerprint, UnixSeconds, Validity};

    fn peer(role: &str, serial: u8) -> PeerIdentity {
        PeerIdentity {
            role: role.parse().unwrap(),
            serial: Serial::from_bytes([serial; 16]),
            validity: Validity { not_before: UnixSeconds(0), not_after: UnixSeconds::MAX },
            fingerprint: Fingerprint::from_bytes([0; 32]),
        }
    }

    #[test]
    fn hosts_and_serials_are_revoked_and_readmitted() {
        let revocations = Revocations::default();
        let (old, new) = (peer("replank://host/compute1", 0x41), peer("replank://host/compute1", 0x42));
        let neighbour = peer("replank://host/compute2", 0x43);
        let namesake = peer("replank://operator/compute1?role=admin", 0x44);
        let compute1 = HostName::new("compute1").unwrap();

        revocations.replace(RevokedSet { hosts: [compute1.clone()].into(), ..RevokedSet::default() });
        assert_eq!(revocations.check(&old), Err(Revoked::Host { host: compute1.clone() }));
        assert_eq!(revocations.check(&neighbour), Ok(()));
        assert_eq!(revocations.check(&namesake), Ok(()));

        let mut set = (*revocations.current()).clone();
        set.readmit(&compute1, [old.serial]);
        revocations.replace(set);
        assert!(matches!(revocations.check(&old), Err(Revoked::Certificate { .. })));
        assert_eq!(revocations.check(&new), Ok(()));
    }

    #[test]
    fn the_set_survives_json() {
        let set = RevokedSet {
            serials: [Serial::from_bytes([0x41; 16])].into(),
            hosts: [HostName::new("compute1").unwrap()].into(),
        };
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<RevokedSet>(&text).unwrap(), set);
    }
}
