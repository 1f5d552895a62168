//! Time as certificates count it: whole seconds, always passed in.

use replank_common::UnixMs;
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Seconds since the Unix epoch, in UTC.
///
/// Its own type, because the rest of replank counts milliseconds ([`UnixMs`]) and a mixed-up unit would make
/// every certificate expired or eternal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The last second that X.509 can express, 9999-12-31T23:59:59Z (RFC 5280 section 4.1.2.5).
    pub const MAX: Self = Self(253_402_300_799);

    /// Drops the milliseconds.
    pub fn from_ms(ms: UnixMs) -> Self {
        Self(ms / 1000)
    }

    /// Later by `span`, at most [`Self::MAX`].
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs())).min(Self::MAX)
    }

    /// Earlier by `span`, at least the epoch.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }
}

impl From<UnixTime> for UnixSeconds {
    fn from(time: UnixTime) -> Self {
        Self(time.as_secs())
    }
}

impl From<UnixSeconds> for UnixTime {
    fn from(time: UnixSeconds) -> Self {
        UnixTime::since_unix_epoch(Duration::from_secs(time.0))
    }
}

/// RFC 3339 in UTC: `2026-11-22T08:30:00Z`.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|second| jiff::Timestamp::from_second(second).ok()) {
            Some(timestamp) => timestamp.fmt(f),
            None => write!(f, "unix second {}", self.0),
        }
    }
}

/// When a certificate holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    pub not_before: UnixSeconds,
    pub not_after: UnixSeconds,
}

impl Validity {
    pub fn contains(&self, now: UnixSeconds) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Reads the two times of a parsed certificate; `None` for one before 1970.
    pub(crate) fn of(validity: &x509_parser::certificate::Validity) -> Option<Self> {
        Some(Self {
            not_before: UnixSeconds(u64::try_from(validity.not_before.timestamp()).ok()?),
            not_after: UnixSeconds(u64::try_from(validity.not_after.timestamp()).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_shown_as_dates() {
        assert_eq!(UnixSeconds(1_795_336_200).to_string(), "2026-11-22T08:30:00Z");
        assert_eq!(UnixSeconds(u64::MAX).to_string(), format!("unix second {}", u64::MAX));
    }

    #[test]
    fn arithmetic_stays_within_what_a_certificate_can_say() {
        assert_eq!(UnixSeconds(10).minus(Duration::from_secs(60)), UnixSeconds(0));
        assert_eq!(UnixSeconds(10).plus(Duration::MAX), UnixSeconds::MAX);
        assert_eq!(UnixSeconds::from_ms(1_999), UnixSeconds(1));
    }
}
