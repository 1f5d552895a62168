//! Values as written and as found.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value to write, or one that was read and fully understood.
///
/// Serialised bare: `"text"`, `1`, `["a", "b"]`. INI and shell dialects know text only: an integer is written in
/// decimal and read back as text; a list is refused there (see [`crate::Edit::SetAll`] for repeated keys).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A string, without the quotes of the file.
    Text(String),
    /// A whole number; libvirt's `listen_tls = 0`.
    Integer(i64),
    /// libvirt's `[ "a", "b" ]`.
    List(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl Value {
    /// The word for this kind of value in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// What a file says for a key. Only [`Found::Value`] may be acted on; the other two mean "cannot tell".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// A value that is the same for every reader.
    Value(Value),
    /// Bytes that are not UTF-8, after unquoting.
    NotText(Vec<u8>),
    /// A shell value with an expansion (`$X`, `${X}`, `~`), or with a quote inside bare text, or a quoted value in
    /// a yum/dnf file: it depends on the reader. The text as it stands in the file.
    Computed(String),
}

impl Found {
    /// The text, if the value is known and is text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Value(Value::Text(text)) => Some(text),
            Self::Value(Value::Integer(_) | Value::List(_)) | Self::NotText(_) | Self::Computed(_) => None,
        }
    }

    /// The value, if it is known.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::NotText(_) | Self::Computed(_) => None,
        }
    }

    /// Text where the bytes are UTF-8, the bytes themselves otherwise.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Value(Value::Text(text)),
            Err(error) => Self::NotText(error.into_bytes()),
        }
    }
}
