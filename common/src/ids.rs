//! Identifiers. Each is its own type, so that none can stand where another is meant.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {why}")]
pub struct BadId {
    pub kind: &'static str,
    pub text: String,
    pub why: &'static str,
}

/// Kept for the readers of host names: a `BadId` whose kind is "host name".
pub type BadHostName = BadId;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and wraps it.
            ///
            /// # Errors
            /// `BadId` says which rule the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(why) => Err(BadId { kind: $kind, text, why }),
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

text_id!(
    /// A host's name as the fleet file and the host's certificate spell it: an RFC 1123 host name in lower case, at most
    /// 253 bytes.
    HostName, "host name", host_name
);
text_id!(
    /// A step of a plan, unique within it: `<host>.<what>`, for example `compute1.restart-libvirt`.
    StepId, "step id", slug
);
text_id!(
    /// A hold of a plan, unique within it, for example `after-canary`.
    HoldId, "hold id", slug
);
text_id!(
    /// One execution of a plan: `run-` and a UUIDv7 in its 32 digits, so that runs sort by the time they were made.
    RunId, "run id", run_id
);
text_id!(
    /// A plan's content address: `sha256:` and 64 lower-case hexadecimal digits over the plan's canonical bytes.
    PlanId, "plan id", plan_id
);

/// A coordinator's term of office. Grows by one with each start of a coordinator; an agent refuses a lower one (P9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One start of a coordinator. Two that start on copies of one folder may come to the same epoch, and never to the same of these (P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CoordinatorId(pub Uuid);

impl fmt::Display for CoordinatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for CoordinatorId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// A virtual machine, by libvirt's UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GuestUuid(pub Uuid);

impl fmt::Display for GuestUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GuestUuid {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        Uuid::parse_str(text).map(Self).map_err(|_| BadId {
            kind: "guest uuid",
            text: text.to_owned(),
            why: "it must be a UUID such as 6f1e…-…",
        })
    }
}

/// One boot of a host: the content of `/proc/sys/kernel/random/boot_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub Uuid);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether an action is carried out or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    Do,
    Undo,
}

/// The name under which an agent's ledger knows a command, so that asking twice does once (P5).
///
/// Built by the coordinator from what it commands, never drawn at random: a coordinator that lost its memory of having
/// sent a command builds the same id again. Shown as `<run>/<step>/<do|undo>/<attempt>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionId {
    pub run: RunId,
    pub step: StepId,
    pub direction: Direction,
    /// From 1; grows only when an operator asks for a retry of a step that failed or was refused.
    pub attempt: u32,
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Do => "do",
            Direction::Undo => "undo",
        };
        write!(f, "{}/{}/{direction}/{}", self.run, self.step, self.attempt)
    }
}

impl From<ActionId> for String {
    fn from(id: ActionId) -> String {
        id.to_string()
    }
}

impl FromStr for ActionId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = |why| BadId { kind: "action id", text: text.to_owned(), why };
        let mut parts = text.split('/');
        let (Some(run), Some(step), Some(direction), Some(attempt), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad("it must read <run>/<step>/<do|undo>/<attempt>"));
        };
        let direction = match direction {
            "do" => Direction::Do,
            "undo" => Direction::Undo,
            _ => return Err(bad("its third part must be `do` or `undo`")),
        };
        let attempt: u32 = attempt.parse().map_err(|_| bad("its last part must be a number"))?;
        if attempt == 0 {
            return Err(bad("attempts count from 1"));
        }
        Ok(Self { run: RunId::new(run)?, step: StepId::new(step)?, direction, attempt })
    }
}

impl TryFrom<String> for ActionId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

fn host_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 253 {
        return Err("it must have 1 to 253 bytes");
    }
    for label in text.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("each part between dots must have 1 to 63 bytes");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("no part may begin or end with a hyphen");
        }
        if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err("only lower-case letters, digits, hyphens and dots are allowed");
        }
    }
    Ok(())
}

fn slug(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 400 {
        return Err("it must have 1 to 400 bytes");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.')) {
        return Err("only lower-case letters, digits, hyphens and dots are allowed");
    }
    Ok(())
}

fn run_id(text: &str) -> Result<(), &'static str> {
    let rest = text.strip_prefix("run-").ok_or("it must begin with `run-`")?;
    if rest.len() == 32 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err("`run-` must be followed by 32 lower-case hexadecimal digits")
    }
}

fn plan_id(text: &str) -> Result<(), &'static str> {
    let rest = text.strip_prefix("sha256:").ok_or("it must begin with `sha256:`")?;
    if rest.len() == 64 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err("`sha256:` must be followed by 64 lower-case hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_checked() {
        for good in ["compute1", "a", "rack-7.compute-12.example"] {
            assert_eq!(HostName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "Compute1", "a..b", "-a", "a-", "a_b", "ä", &"x".repeat(64)] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_action_id_survives_its_own_text() {
        let text = "run-0192aabbccddeeff0011223344556677/compute1.restart-libvirt/undo/3";
        let id: ActionId = text.parse().unwrap();
        assert_eq!(id.direction, Direction::Undo);
        assert_eq!(id.attempt, 3);
        assert_eq!(id.to_string(), text);
        for bad in ["", "run-1/x/do/1", "a/b/c/d/e", &text.replace("/3", "/0"), &text.replace("undo", "redo")]
        {
            assert!(bad.parse::<ActionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_refuse_foreign_shapes_when_read_from_json() {
        assert!(serde_json::from_str::<PlanId>("\"sha256:12\"").is_err());
        assert!(serde_json::from_str::<RunId>("\"run-xyz\"").is_err());
    }
}
