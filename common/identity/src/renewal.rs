//! When a leaf is renewed: after two thirds of its life, spread over the next twelfth of it.
//!
//! A third of the life is left for a coordinator that is away or for somebody to notice. The spread keeps a
//! fleet that was enrolled in one afternoon from renewing in one minute.

use crate::ids::Serial;
use crate::peer::PeerIdentity;
use crate::time::{UnixSeconds, Validity};

/// Where a leaf stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalState {
    /// The clock says the certificate has not begun: the clock here or at the authority is wrong, so nothing
    /// can be said.
    NotYetValid { from: UnixSeconds },
    /// Nothing to do before `renew_at`.
    Fresh { renew_at: UnixSeconds },
    /// To be renewed; until `not_after` the old one still opens the door to do so.
    Due { since: UnixSeconds, not_after: UnixSeconds },
    /// Too late to renew: the host must enrol again with a new join token.
    Expired { since: UnixSeconds },
}

/// When to renew a certificate of this validity. The same serial always gives the same moment.
pub fn renew_at(validity: &Validity, serial: &Serial) -> UnixSeconds {
    let life = validity.not_after.0.saturating_sub(validity.not_before.0);
    let [.., a, b, c, d] = *serial.as_bytes();
    let spread = (u128::from(life / 12) * u128::from(u32::from_be_bytes([a, b, c, d]))) >> 32;
    // Less than a twelfth of a u64, so it fits one.
    let spread = u64::try_from(spread).unwrap_or(0);
    UnixSeconds(validity.not_before.0 + (life - life / 3) + spread)
}

/// Where the leaf of `identity` stands at `now`.
pub fn state(identity: &PeerIdentity, now: UnixSeconds) -> RenewalState {
    let Validity { not_before, not_after } = identity.validity;
    let due = renew_at(&identity.validity, &identity.serial);
    if now < not_before {
        RenewalState::NotYetValid { from: not_before }
    } else if now > not_after {
        RenewalState::Expired { since: not_after }
    } else if now >= due {
        RenewalState::Due { since: due, not_after }
    } else {
        RenewalState::Fresh { renew_at: due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fingerprint;
    use proptest::prelude::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_leaf_goes_through_its_life() {
        let validity = Validity { not_before: UnixSeconds(1_000), not_after: UnixSeconds(1_000 + 90 * DAY) };
        let identity = PeerIdentity {
            role: "replank://host/compute1".parse().unwrap(),
            serial: Serial::from_bytes([0x40; 16]),
            validity,
            fingerprint: Fingerprint::from_bytes([0; 32]),
        };
        let due = renew_at(&validity, &identity.serial);
        assert!((60 * DAY..=67 * DAY + DAY / 2).contains(&(due.0 - 1_000)), "{due}");
        let at = |second| state(&identity, UnixSeconds(second));
        assert_eq!(at(999), RenewalState::NotYetValid { from: validity.not_before });
        assert_eq!(at(1_000), RenewalState::Fresh { renew_at: due });
        assert_eq!(at(due.0 - 1), RenewalState::Fresh { renew_at: due });
        assert_eq!(at(due.0), RenewalState::Due { since: due, not_after: validity.not_after });
        assert_eq!(at(validity.not_after.0), at(due.0));
        assert_eq!(at(validity.not_after.0 + 1), RenewalState::Expired { since: validity.not_after });
    }

    proptest! {
        #[test]
        fn renewal_falls_between_two_thirds_and_three_quarters(
            begin in 0..UnixSeconds::MAX.0, life in 0..UnixSeconds::MAX.0, serial: [u8; 16],
        ) {
            let validity = Validity { not_before: UnixSeconds(begin), not_after: UnixSeconds(begin + life) };
            let after = renew_at(&validity, &Serial::from_bytes(serial)).0 - begin;
            prop_assert!(after >= life / 3 * 2 && after <= life);
            prop_assert!(u128::from(after) * 12 <= u128::from(life) * 9 + 12, "{after} of {life}");
        }
    }

    #[test]
    fn a_fleet_is_spread_out() {
        let validity = Validity { not_before: UnixSeconds(0), not_after: UnixSeconds(90 * DAY) };
        let mut hours: Vec<u64> =
            (0..200).map(|_| renew_at(&validity, &Serial::random().unwrap()).0 / 3_600).collect();
        hours.sort_unstable();
        hours.dedup();
        assert!(hours.len() > 80, "200 renewals fall into {} of 180 hours", hours.len());
    }
}
