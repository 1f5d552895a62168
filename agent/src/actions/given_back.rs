//! Giving back recorded paths, with the words that the report and the refusals use.

use super::answer::{change, file_failure, refusal};
use super::{ActError, Report};
use crate::codes;
use crate::host::Host;
use crate::host::files;
use replank_common::undo::FileChange;

/// Puts the paths back. Refuses, and touches nothing, when one of them was changed by somebody else since.
pub(super) fn paths(host: &Host, changes: &[FileChange]) -> Result<Report, ActError> {
    let restored = files::give_back(host, changes).map_err(|e| ActError::Failed(file_failure(&e)))?;
    if let Some((path, found)) = restored.foreign.first() {
        let more = match restored.foreign.len() {
            1 => String::new(),
            count => format!(" (and {} more paths)", count - 1),
        };
        return Err(ActError::Refused(refusal(
            codes::FILE_CHANGED,
            format!("{} was changed by somebody else since replank wrote it: {found}{more}", path.display()),
            "put the file back as replank left it, or as it was before the run, then retry",
        )));
    }
    let changes = restored
        .paths
        .iter()
        .map(|path| change(path.display().to_string(), "as replank left it", "as it was"))
        .collect();
    Ok(Report { changes, findings: Vec::new() })
}
