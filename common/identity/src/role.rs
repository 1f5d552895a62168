//! Roles, and how a certificate carries one: a single URI in the subject alternative name.

use replank_common::ids::{BadId, HostName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The scheme of every URI that carries a role.
pub(crate) const SCHEME: &str = "replank:";

/// What an operator may do; each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Reads everything, changes nothing.
    Viewer,
    /// Plans, applies, approves, pauses, rolls back.
    Operator,
    /// Also decides who belongs: join tokens, operators, revocation.
    Admin,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Level {
    type Err = BadRole;
    fn from_str(text: &str) -> Result<Self, BadRole> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(BadRole::Level(text.to_owned())),
        }
    }
}

/// A person's (or a robot's) name: 1 to 64 lower-case letters, digits and `.`, `_`, `-`, `@`, beginning with
/// a letter or digit. All of them stand in a URI path without escapes, so one name has one spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorName(String);

impl OperatorName {
    /// # Errors
    /// [`BadRole::OperatorName`] when `text` breaks the rule above.
    pub fn new(text: &str) -> Result<Self, BadRole> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let good = bytes.len() <= 64
            && bytes.first().is_some_and(|b| plain(*b))
            && bytes.iter().all(|b| plain(*b) || matches!(b, b'.' | b'_' | b'-' | b'@'));
        if good { Ok(Self(text.to_owned())) } else { Err(BadRole::OperatorName(text.to_owned())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for OperatorName {
    type Error = BadRole;
    fn try_from(text: String) -> Result<Self, BadRole> {
        Self::new(&text)
    }
}

impl From<OperatorName> for String {
    fn from(name: OperatorName) -> String {
        name.0
    }
}

/// Whom a certificate speaks for. Its text form is the URI that the certificate carries.
///
/// ```
/// use replank_identity::{Level, Role};
/// let role: Role = "replank://operator/alice?role=admin".parse()?;
/// assert!(matches!(role, Role::Operator { level: Level::Admin, .. }));
/// assert_eq!(role.to_string(), "replank://operator/alice?role=admin");
/// # Ok::<(), replank_identity::BadRole>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// `replank://host/<name>`: the agent of this host, and of no other.
    Host(HostName),
    /// `replank://operator/<name>?role=<level>`.
    Operator { name: OperatorName, level: Level },
    /// `replank://coordinator`: the only role that may serve.
    Coordinator,
}

/// Why a text is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRole {
    #[error(
        "`{0}` is not a role; a role reads `replank://host/<name>`, `replank://operator/<name>?role=<level>` or \
         `replank://coordinator`"
    )]
    Shape(String),
    #[error("the role names no host")]
    HostName(#[source] BadId),
    #[error(
        "`{0}` is not an operator's name; use 1 to 64 lower-case letters, digits and `.`, `_`, `-`, `@`, beginning \
         with a letter or digit"
    )]
    OperatorName(String),
    #[error("`{0}` is not an operator's level; use viewer, operator or admin")]
    Level(String),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "replank://host/{name}"),
            Self::Operator { name, level } => write!(f, "replank://operator/{name}?role={level}"),
            Self::Coordinator => f.write_str("replank://coordinator"),
        }
    }
}

impl FromStr for Role {
    type Err = BadRole;

    /// Accepts the one canonical spelling only, so that two URIs that differ are two roles that differ.
    fn from_str(text: &str) -> Result<Self, BadRole> {
        let shape = || BadRole::Shape(text.to_owned());
        let rest = text.strip_prefix("replank://").ok_or_else(shape)?;
        if rest == "coordinator" {
            return Ok(Self::Coordinator);
        }
        match rest.split_once('/').ok_or_else(shape)? {
            ("host", name) => Ok(Self::Host(HostName::new(name).map_err(BadRole::HostName)?)),
            ("operator", rest) => {
                let (name, level) = rest.split_once("?role=").ok_or_else(shape)?;
                Ok(Self::Operator { name: OperatorName::new(name)?, level: level.parse()? })
            }
            _ => Err(shape()),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = BadRole;
    fn try_from(text: String) -> Result<Self, BadRole> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> String {
        role.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_survives_its_uri() {
        for text in [
            "replank://host/compute1",
            "replank://host/rack-7.compute-12.example",
            "replank://operator/alice?role=viewer",
            "replank://operator/ops-robot@example.org?role=operator",
            "replank://coordinator",
        ] {
            assert_eq!(text.parse::<Role>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_but_the_canonical_spelling_is_refused() {
        for text in [
            "",
            "replank:",
            "replank://",
            "replank://host/",
            "replank://host/Compute1",
            "replank://host/compute1/",
            "replank://host/compute1?role=admin",
            "replank://host/compute%31",
            "REPLANK://host/compute1",
            " replank://coordinator",
            "replank://coordinator/",
            "replank://coordinator?",
            "replank://operator/alice",
            "replank://operator/alice?role=root",
            "replank://operator/alice?role=admin&x=1",
            "replank://operator/?role=admin",
            "replank://operator/-alice?role=admin",
            "replank://operator/a/b?role=admin",
            "https://host/compute1",
        ] {
            assert!(text.parse::<Role>().is_err(), "{text}");
        }
    }

    #[test]
    fn levels_are_ordered_by_power() {
        assert!(Level::Viewer < Level::Operator && Level::Operator < Level::Admin);
    }
}
