//! Names of things in a cluster.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// An OSD, written `osd.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OsdId(pub u32);

/// A pool, by its number: names may be given away again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub u32);

/// A placement group, written `3.1f`: the pool in decimal, the seed in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgId {
    pub pool: PoolId,
    pub seed: u32,
}

/// A text that is no name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct NotAName {
    pub text: String,
    pub what: &'static str,
}

impl FromStr for OsdId {
    type Err = NotAName;

    /// `osd.7` or `7`.
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let digits = text.strip_prefix("osd.").unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(number) if plain => Ok(Self(number)),
            Ok(_) | Err(_) => Err(NotAName { text: text.to_owned(), what: "an OSD such as `osd.7`" }),
        }
    }
}

impl FromStr for PgId {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let parsed = || {
            let (pool, seed) = text.split_once('.')?;
            let plain =
                pool.bytes().all(|b| b.is_ascii_digit()) && seed.bytes().all(|b| b.is_ascii_hexdigit());
            let id = Self { pool: PoolId(pool.parse().ok()?), seed: u32::from_str_radix(seed, 16).ok()? };
            plain.then_some(id)
        };
        parsed().ok_or_else(|| NotAName { text: text.to_owned(), what: "a placement group such as `3.1f`" })
    }
}

impl fmt::Display for OsdId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "osd.{}", self.0)
    }
}

impl fmt::Display for PgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.pool.0, self.seed)
    }
}

impl Serialize for OsdId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for PgId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OsdId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for PgId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_ceph_writes_them_and_nothing_else() {
        assert_eq!("osd.12".parse(), Ok(OsdId(12)));
        assert_eq!("12".parse(), Ok(OsdId(12)));
        assert_eq!("3.1f".parse(), Ok(PgId { pool: PoolId(3), seed: 31 }));
        assert_eq!("3.1f".parse::<PgId>().unwrap().to_string(), "3.1f");
        for text in ["", "osd.", "osd.x", "+1", "osd.-1", "osd.99999999999"] {
            assert!(text.parse::<OsdId>().is_err(), "{text}");
        }
        for text in ["", "3", "3.", ".1", "3.1g", "-3.1", "3.+1", "3.1.1"] {
            assert!(text.parse::<PgId>().is_err(), "{text}");
        }
    }
}
