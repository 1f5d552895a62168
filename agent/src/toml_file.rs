//! The agent's own files in TOML: read with their size bounded, and with mistakes that say where they are.

use serde::de::DeserializeOwned;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Far above any file of settings; keeps a wrong path from being read to its end.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What is wrong with a file of settings, in the form that editors jump to: `FILE:LINE:COLUMN: CODE problem; remedy`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadFile {
    /// A documented code.
    pub code: &'static str,
    pub path: PathBuf,
    /// Line and column, from 1; `None` when the file could not be read at all.
    pub place: Option<(usize, usize)>,
    pub problem: String,
    pub remedy: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {} {}; {}", self.code, self.problem, self.remedy)
    }
}

/// One file's text, and how its mistakes are reported.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
    pub(crate) code: &'static str,
}

impl Source<'_> {
    /// A mistake at a byte range of the text.
    pub(crate) fn mistake(
        &self,
        at: Range<usize>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> BadFile {
        BadFile {
            code: self.code,
            path: self.path.to_owned(),
            place: Some(position(self.text, at.start)),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// # Errors
    /// The first thing that the text says wrong.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, BadFile> {
        toml::from_str(self.text).map_err(|error| {
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            let remedy = if message.contains("unknown field") {
                "correct or remove the key"
            } else {
                "correct the line; the rules of the language are at https://toml.io"
            };
            self.mistake(error.span().unwrap_or_default(), message, remedy)
        })
    }
}

/// The file's text; `None` when there is no such file.
///
/// # Errors
/// It cannot be read, or others than its owner may write it: whoever can write it decides what root does.
pub(crate) fn read(path: &Path, code: &'static str) -> Result<Option<String>, BadFile> {
    let bad = |problem: String, remedy: &str| BadFile {
        code,
        path: path.to_owned(),
        place: None,
        problem,
        remedy: remedy.to_owned(),
    };
    let failed = |error: std::io::Error| {
        bad(format!("failed to read it: {error}"), "check its owner, its permissions and the disk")
    };
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(bad(
            format!("it is not a regular file of at most {FILE_BYTES_MAX} bytes"),
            "put a file of settings there, or remove it",
        ));
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(bad(
            format!("others than its owner may write it (mode {mode:04o})"),
            "look at what it says, then run `chmod go-w` on it",
        ));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
