//! Beats that somebody else counted: a JSON object from guests to the longest gap, which becomes a column of the report.

use super::failure::Failure;
use super::files;
use replank_core::run::{ExtraColumn, Report};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

const TITLE: &str = "longest gap";

/// By UUID or by name, as the file says.
#[derive(Debug)]
pub struct Beats(BTreeMap<String, Gap>);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Gap {
    Ms(u64),
    Text(String),
}

/// # Errors
/// [`Failure::Read`], [`Failure::Beats`].
pub fn read(path: &Path) -> Result<Beats, Failure> {
    let bytes = files::read("file of beats", path)?;
    let gaps = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::Beats { path: path.to_owned(), why: error.to_string() })?;
    Ok(Beats(gaps))
}

impl Beats {
    /// The column for the guests of `report`. A UUID goes before a name, which two guests may share.
    pub fn column(&self, report: &Report) -> ExtraColumn {
        let gap = |guest: &replank_core::run::report::GuestProof| {
            let gap = self.0.get(&guest.uuid.to_string()).or_else(|| self.0.get(&guest.name))?;
            let text = match gap {
                Gap::Ms(ms) => format!("{ms} ms"),
                Gap::Text(text) => text.clone(),
            };
            Some((guest.uuid, text))
        };
        ExtraColumn { title: TITLE.to_owned(), cells: report.guests.iter().filter_map(gap).collect() }
    }
}
