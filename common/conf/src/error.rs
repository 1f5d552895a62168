//! What is wrong with a file, what an edit was refused for, and what a person should know after one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Dialect;

/// Where an edit applies: key, section, and the line (1-based) it would change or be inserted at.
///
/// Out of [`crate::apply`] lines are those of the file as given; out of a [`crate::Document`]'s own methods, of the
/// document as it was before the call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    pub section: Option<String>,
    pub key: String,
    /// 1-based; none where the request fails before the file is looked at.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.key)?;
        if let Some(section) = &self.section {
            write!(f, " of section [{section}]")?;
        }
        match self.line {
            Some(line) => write!(f, " at line {line}"),
            None => Ok(()),
        }
    }
}

/// Why an edit was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error(
        "refused to edit a file of {len} bytes: the limit is {limit}; check that this is a configuration file"
    )]
    TooLarge { len: usize, limit: usize },
    #[error(
        "{place}: {dialect} files have sections and the edit names none; name the section (oslo's top one is `DEFAULT`)"
    )]
    SectionNeeded { place: Place, dialect: Dialect },
    #[error("{place}: {dialect} files have no sections; leave the section out of the edit")]
    SectionForbidden { place: Place, dialect: Dialect },
    #[error("{place}: this section name cannot be written in a {dialect} file: {why}; correct the name")]
    BadSection { place: Place, dialect: Dialect, why: &'static str },
    #[error("{place}: this key cannot be written in a {dialect} file: {why}; correct the name")]
    BadKey { place: Place, dialect: Dialect, why: &'static str },
    #[error("{place}: the value cannot be written in a {dialect} file: {why}; {remedy}")]
    BadValue { place: Place, dialect: Dialect, why: &'static str, remedy: &'static str },
    /// libvirtd refuses to start over a string where it wants a number (`virConfGetValueBool`), and a libvirtd that
    /// does not start leaves its guests unmanaged; so the commented default's type is held to.
    #[error(
        "{place}: the file documents {documented} for this key at line {default_line} and the edit gives {given}; \
         give {documented}"
    )]
    WrongType { place: Place, default_line: usize, documented: &'static str, given: &'static str },
    #[error("{place}: {dialect} files take one value for a key, not several; set one value")]
    NotMultiValued { place: Place, dialect: Dialect },
    #[error("{place}: the line holds more than one setting; put each setting on a line of its own first")]
    SharedLine { place: Place },
    #[error(
        "{place}: after this edit the file would not read back as intended, because of the lines around it; \
         correct those lines by hand first (the file's problems are listed with their lines)"
    )]
    Disturbs { place: Place },
}

impl EditError {
    /// The place the error names, if it names one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::TooLarge { .. } => None,
            Self::SectionNeeded { place, .. }
            | Self::SectionForbidden { place, .. }
            | Self::BadSection { place, .. }
            | Self::BadKey { place, .. }
            | Self::BadValue { place, .. }
            | Self::WrongType { place, .. }
            | Self::NotMultiValued { place, .. }
            | Self::SharedLine { place }
            | Self::Disturbs { place } => Some(place),
        }
    }

    /// Puts every line number it names through `map`.
    pub(crate) fn with_lines(mut self, map: impl Fn(usize) -> usize) -> Self {
        if let Self::WrongType { default_line, .. } = &mut self {
            *default_line = map(*default_line);
        }
        match &mut self {
            Self::TooLarge { .. } => {}
            Self::SectionNeeded { place, .. }
            | Self::SectionForbidden { place, .. }
            | Self::BadSection { place, .. }
            | Self::BadKey { place, .. }
            | Self::BadValue { place, .. }
            | Self::WrongType { place, .. }
            | Self::NotMultiValued { place, .. }
            | Self::SharedLine { place }
            | Self::Disturbs { place } => place.line = place.line.map(map),
        }
        self
    }
}

/// A line that the dialect's own readers refuse, or read differently from one another. It is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// 1-based.
    pub line: usize,
    pub reason: Reason,
    /// The line for people: odd bytes escaped, cut at 160 characters.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.reason, self.text)
    }
}

/// What is odd about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Neither a comment nor a section nor an assignment.
    NotAnAssignment,
    /// An assignment whose key is empty or has characters that the dialect does not allow.
    BadKey,
    /// A section header without `]`, without a name, or with text after it.
    BadSection,
    /// An assignment before the first (readable) section header.
    OutsideSection,
    /// An indented line that continues nothing.
    StrayContinuation,
    /// A NUL, or a carriage return that does not end the line: readers disagree about where the line ends.
    StrayControl,
    /// oslo.config and older systemd take the mark as part of the first line.
    ByteOrderMark,
    /// systemd before 254 (environment files), old ones like 219 (units), and Ceph before Octopus read the next line as part of the comment.
    CommentSwallowsNext,
    /// A quote, or a list, that is never closed.
    Unterminated,
    /// The last line has no newline: Ceph before Octopus ignores it, later ones read nothing of the file.
    NoFinalNewline,
    /// Shell text that runs something: a command, a substitution, several statements.
    Command,
    /// sh and systemd read the line differently (blanks around `=`, `;` comments, a quote inside bare text), or yum and
    /// dnf do (quotes around a value), or older and newer releases of Ceph.
    ReadersDisagree,
    /// sh takes the carriage return as part of the value. Reported once for a file.
    CarriageReturns,
    /// A libvirt value that is no string, number or list, or a number that does not fit 64 bits.
    BadValue,
    /// Text after a libvirt value.
    TrailingText,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnAssignment => "not an assignment",
            Self::BadKey => "the key is empty or malformed",
            Self::BadSection => "malformed section header",
            Self::OutsideSection => "assignment outside any section",
            Self::StrayContinuation => "indented line that continues nothing",
            Self::StrayControl => "NUL or stray carriage return",
            Self::ByteOrderMark => "byte order mark, which not every reader accepts",
            Self::CommentSwallowsNext => {
                "comment ending in a backslash: older readers take the next line as part of it"
            }
            Self::Unterminated => "quote or list that is never closed",
            Self::NoFinalNewline => "no newline after the last line, without which Ceph does not read it",
            Self::Command => "shell text that is more than one assignment",
            Self::ReadersDisagree => "readers of this file disagree about this line",
            Self::CarriageReturns => "carriage returns, which sh takes as part of the value",
            Self::BadValue => "malformed value",
            Self::TrailingText => "text after the value",
        })
    }
}

/// Something a person should know about an edit that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The key stands several times; only the occurrence that counts was set. `others` are 1-based lines.
    Duplicate {
        place: Place,
        others: Vec<usize>,
        /// The dialect lets a key repeat: whether the others count too is the setting's own affair.
        may_accumulate: bool,
    },
    /// The line has a trailing comment: sh ends the value before it, systemd's `EnvironmentFile=` does not.
    TrailingComment { place: Place },
    /// The line begins with `export`: sh reads it, systemd's `EnvironmentFile=` ignores it.
    Exported { place: Place },
}

impl Note {
    /// Puts every line number it names through `map`.
    pub(crate) fn with_lines(mut self, map: impl Fn(usize) -> usize) -> Self {
        match &mut self {
            Self::Duplicate { place, others, .. } => {
                place.line = place.line.map(&map);
                others.iter_mut().for_each(|line| *line = map(*line));
            }
            Self::TrailingComment { place } | Self::Exported { place } => place.line = place.line.map(map),
        }
        self
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { place, others, may_accumulate } => {
                let others = others.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                let effect = if *may_accumulate {
                    "has an effect only if the setting takes several values"
                } else {
                    "has no effect"
                };
                write!(f, "{place}: also set at line {others}, which was left as it is and {effect}")
            }
            Self::TrailingComment { place } => {
                write!(f, "{place}: systemd takes the comment after the value as part of the value")
            }
            Self::Exported { place } => {
                write!(f, "{place}: systemd ignores a line that begins with `export`")
            }
        }
    }
}
