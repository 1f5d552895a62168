//! Edits as data: what an action carries to a host.

use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::diff::{self, LineChange};
use crate::document::Document;
use crate::error::{EditError, Note, Problem};
use crate::value::Value;

/// The largest file that [`apply`] takes, in bytes; libvirt's own limit (`MAX_CONFIG_FILE_SIZE`).
pub const MAX_BYTES: usize = 10 * 1024 * 1024;

/// One change to a setting. The section is needed in INI dialects and refused in the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// See [`Document::set`].
    Set {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        section: Option<String>,
        key: String,
        value: Value,
    },
    /// See [`Document::set_all`].
    SetAll {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        section: Option<String>,
        key: String,
        values: Vec<Value>,
    },
    /// See [`Document::unset`].
    Unset {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        section: Option<String>,
        key: String,
    },
    /// See [`Document::comment_out`].
    CommentOut {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        section: Option<String>,
        key: String,
    },
}

impl Edit {
    /// [`Edit::Set`] from plain values.
    pub fn set(section: Option<&str>, key: &str, value: impl Into<Value>) -> Self {
        Self::Set { section: section.map(str::to_owned), key: key.to_owned(), value: value.into() }
    }

    /// [`Edit::Unset`] from plain values.
    pub fn unset(section: Option<&str>, key: &str) -> Self {
        Self::Unset { section: section.map(str::to_owned), key: key.to_owned() }
    }

    /// [`Edit::CommentOut`] from plain values.
    pub fn comment_out(section: Option<&str>, key: &str) -> Self {
        Self::CommentOut { section: section.map(str::to_owned), key: key.to_owned() }
    }

    fn apply_to(&self, document: &mut Document) -> Result<Vec<Note>, EditError> {
        match self {
            Self::Set { section, key, value } => document.set(section.as_deref(), key, value.clone()),
            Self::SetAll { section, key, values } => document.set_all(section.as_deref(), key, values),
            Self::Unset { section, key } => document.unset(section.as_deref(), key),
            Self::CommentOut { section, key } => document.comment_out(section.as_deref(), key),
        }
    }
}

/// A list of edits with the dialect of the file they are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edits {
    pub dialect: Dialect,
    pub edits: Vec<Edit>,
}

impl Edits {
    /// [`apply`] with these edits.
    pub fn apply(&self, before: &[u8]) -> Result<Edited, EditError> {
        apply(self.dialect, before, &self.edits)
    }
}

/// The outcome of [`apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Edited {
    /// The whole new file.
    pub bytes: Vec<u8>,
    /// Lines whose content differs, in the order of the file; empty when the file was as wanted already.
    pub changes: Vec<LineChange>,
    /// What a person should know: duplicates left, readers that disagree about a changed line.
    pub notes: Vec<Note>,
    /// Lines of the new file that a reader refuses. They were there before.
    pub problems: Vec<Problem>,
    before: Vec<u8>,
}

impl Edited {
    pub fn is_changed(&self) -> bool {
        self.bytes != self.before
    }

    /// The section that a changed line stands in, of a file that has sections: the header before it, or the line itself where it is one.
    pub fn section_of(&self, change: &LineChange) -> Option<String> {
        let source = if change.before.is_some() { &self.before } else { &self.bytes };
        let lines = source.split(|byte| *byte == b'\n').take(change.line);
        let header = |line: &[u8]| {
            let name = line.trim_ascii().strip_prefix(b"[")?;
            let end = name.iter().position(|byte| *byte == b']')?;
            Some(String::from_utf8_lossy(name[..end].trim_ascii()).into_owned())
        };
        lines.filter_map(header).last()
    }

    /// A unified diff for people; see [`crate::render_diff`].
    pub fn render_diff(&self, name: &str) -> String {
        diff::render_diff(name, &self.before, &self.bytes)
    }
}

/// Applies the edits in order; all of them or, on an error, none.
///
/// Applying the same edits to the result changes nothing.
pub fn apply(dialect: Dialect, before: &[u8], edits: &[Edit]) -> Result<Edited, EditError> {
    if before.len() > MAX_BYTES {
        return Err(EditError::TooLarge { len: before.len(), limit: MAX_BYTES });
    }
    let mut document = Document::parse(dialect, before);
    let mut notes = Vec::new();
    for edit in edits {
        // Kept only where an error or note has to name lines of the file as given.
        let current = document.bytes().to_vec();
        let line = |line| diff::line_before(before, &current, line);
        let told = edit.apply_to(&mut document).map_err(|error| error.with_lines(line))?;
        notes.extend(told.into_iter().map(|note| note.with_lines(line)));
    }
    let problems = document.problems().to_vec();
    let bytes = document.into_bytes();
    let changes = diff::changes(before, &bytes);
    Ok(Edited { bytes, changes, notes, problems, before: before.to_vec() })
}
