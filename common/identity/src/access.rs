//! What a peer may speak for: a host's certificate for that host alone, an operator's up to its level.

use crate::peer::PeerIdentity;
use crate::role::{Level, OperatorName, Role};
use replank_common::ids::HostName;
use replank_common::planted::{self, Planted};

/// Why a peer, though it is who it says, may not do this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefused {
    #[error("this call needs a certificate and the caller presented none; only enrolment goes without")]
    NoCertificate,
    #[error("this call is for operators, and the caller is {role}; use an operator's certificate")]
    NotAnOperator { role: Role },
    #[error("this call needs level {needed}, and operator {name} has level {has}; ask an admin")]
    LevelTooLow { name: OperatorName, has: Level, needed: Level },
    #[error("this call is for hosts, and the caller is {role}")]
    NotAHost { role: Role },
    #[error(
        "the certificate of host {own} speaks for that host alone, not for {asked}; enrol {asked} by itself"
    )]
    OtherHost { own: HostName, asked: HostName },
}

impl AccessRefused {
    /// The stable name of the refusal, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::NotAnOperator { .. } => "not-an-operator",
            Self::LevelTooLow { .. } => "level-too-low",
            Self::NotAHost { .. } => "not-a-host",
            Self::OtherHost { .. } => "other-host",
        }
    }
}

impl PeerIdentity {
    /// The host that the peer is.
    ///
    /// # Errors
    /// [`AccessRefused::NotAHost`].
    pub fn host(&self) -> Result<&HostName, AccessRefused> {
        match &self.role {
            Role::Host(name) => Ok(name),
            Role::Operator { .. } | Role::Coordinator => {
                Err(AccessRefused::NotAHost { role: self.role.clone() })
            }
        }
    }

    /// Whether the peer is the host it says it is: asked with the name in a message of the link.
    ///
    /// # Errors
    /// [`AccessRefused::OtherHost`] or [`AccessRefused::NotAHost`].
    pub fn speaks_for(&self, asked: &HostName) -> Result<(), AccessRefused> {
        let own = self.host()?;
        if own == asked || planted::is(Planted::AnyHostSpeaks) {
            Ok(())
        } else {
            Err(AccessRefused::OtherHost { own: own.clone(), asked: asked.clone() })
        }
    }

    /// The operator that the peer is, if its level is at least `needed`.
    ///
    /// # Errors
    /// [`AccessRefused::LevelTooLow`] or [`AccessRefused::NotAnOperator`].
    pub fn require(&self, needed: Level) -> Result<&OperatorName, AccessRefused> {
        match &self.role {
            Role::Operator { name, level } if *level >= needed => Ok(name),
            Role::Operator { name, level } => {
                Err(AccessRefused::LevelTooLow { name: name.clone(), has: *level, needed })
            }
            Role::Host(_) | Role::Coordinator => {
                Err(AccessRefused::NotAnOperator { role: self.role.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fingerprint, Serial, UnixSeconds, Validity};

    fn peer(role: &str) -> PeerIdentity {
        PeerIdentity {
            role: role.parse().unwrap(),
            serial: Serial::from_bytes([0x41; 16]),
            validity: Validity { not_before: UnixSeconds(0), not_after: UnixSeconds::MAX },
            fingerprint: Fingerprint::from_bytes([0; 32]),
        }
    }

    #[test]
    fn a_host_speaks_for_itself_alone() {
        let host = peer("replank://host/compute1");
        assert_eq!(host.speaks_for(&HostName::new("compute1").unwrap()), Ok(()));
        let refused = host.speaks_for(&HostName::new("compute2").unwrap()).unwrap_err();
        assert_eq!(refused.code(), "other-host");
        assert!(refused.to_string().contains("compute1") && refused.to_string().contains("compute2"));
        assert_eq!(host.require(Level::Viewer).unwrap_err().code(), "not-an-operator");
    }

    #[test]
    fn levels_include_the_ones_below() {
        let levels = [Level::Viewer, Level::Operator, Level::Admin];
        for has in levels {
            let operator = peer(&format!("replank://operator/alice?role={has}"));
            for needed in levels {
                assert_eq!(operator.require(needed).is_ok(), has >= needed, "{has} {needed}");
            }
            assert_eq!(operator.host().unwrap_err().code(), "not-a-host");
        }
        let coordinator = peer("replank://coordinator");
        assert!(coordinator.host().is_err() && coordinator.require(Level::Viewer).is_err());
    }
}
