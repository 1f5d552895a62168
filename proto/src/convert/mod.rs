//! Translation between the wire's messages and the common types, one file a proto file.

mod action;
mod census;
mod ceph;
mod outcome;
mod reading;

use std::fmt::Display;
use std::str::FromStr;

/// A message that cannot be understood: a required part is absent, or a value is of no known kind. A peer that is newer than this
/// program can cause it; the text names the message and field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "field `{field}` of message `{message}` {why}; if the peer is of a newer version, upgrade this side to it"
)]
pub struct BadMessage {
    pub message: &'static str,
    pub field: &'static str,
    pub why: String,
}

fn absent(message: &'static str, field: &'static str) -> BadMessage {
    BadMessage { message, field, why: "is absent or of a kind unknown here".to_owned() }
}

/// A part that the domain needs and protobuf cannot demand.
fn need<T>(message: &'static str, field: &'static str, value: Option<T>) -> Result<T, BadMessage> {
    value.ok_or_else(|| absent(message, field))
}

/// A text that must parse.
fn parse<T>(message: &'static str, field: &'static str, text: &str) -> Result<T, BadMessage>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| BadMessage { message, field, why: format!("is bad: {error}") })
}

/// An enum's number.
fn known<T: TryFrom<i32>>(message: &'static str, field: &'static str, number: i32) -> Result<T, BadMessage> {
    T::try_from(number).map_err(|_| absent(message, field))
}

fn all<A, B>(items: Vec<A>) -> Result<Vec<B>, BadMessage>
where
    B: TryFrom<A, Error = BadMessage>,
{
    items.into_iter().map(B::try_from).collect()
}

fn each<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}

/// Paths travel as text. Paths in actions come from the fleet file and catalog, which are UTF-8; a host's own path that is not is shown
/// with replacement characters, which no file operation uses.
fn path_text(path: std::path::PathBuf) -> String {
    match path.into_os_string().into_string() {
        Ok(text) => text,
        Err(raw) => raw.to_string_lossy().into_owned(),
    }
}
