//! `FileWrite`: put a whole small file of replank's own in place.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare: what is there kept | an unused copy in the agent's directory | prepared again |
//! | directories made | empty directories, named in the record | `apply` goes on; undo removes them |
//! | temporary file written | the old state, and a hidden `.NAME.replank-new` | `apply` overwrites it and goes on; undo removes it |
//! | renamed | the new file | `check` says done |
//! | undo: renamed back, or removed | the old state | undo finds nothing to do, and removes empty directories of the record |

use super::answer::{change, failure, file_failure, file_refusal, foreign_record, refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, given_back};
use crate::codes;
use crate::host::files::{self, Attributes, FileError};
use replank_common::action::FileWrite;
use replank_common::outcome::Refusal;
use replank_common::undo::{FileBefore, UndoRecord};

/// Whether a regular file with these bytes and this mode is there.
pub(super) fn is_there(host: &Host, action: &FileWrite) -> Result<bool, FileError> {
    match files::look(host, &action.path)? {
        FileBefore::File { sha256, mode, .. } => {
            Ok(sha256 == files::digest_of_bytes(action.contents.as_bytes()) && mode == action.mode)
        }
        FileBefore::Absent | FileBefore::Symlink { .. } => Ok(false),
    }
}

impl Perform for FileWrite {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        if is_there(host, self).map_err(|e| file_refusal(&e))? {
            return Ok(Standing::Done);
        }
        let found = files::look(host, &self.path).map_err(|e| file_refusal(&e))?;
        if found == FileBefore::Absent || self.replace {
            return Ok(Standing::Ready);
        }
        Err(refusal(
            codes::FILE_FOREIGN,
            format!("{} is there already and is not replank's", self.path.display()),
            "move the file away, or let the fleet file say that it may be set aside for the while of the run",
        ))
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let sha256 = files::digest_of_bytes(self.contents.as_bytes());
        let change = files::change_of(host, &self.path, Some(sha256)).map_err(|e| file_refusal(&e))?;
        Ok(UndoRecord::Files(vec![change]))
    }

    fn apply(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let here = host.at(&self.path);
        files::make_directories(&here, &host.boundary)
            .and_then(|_| {
                let mut attributes = Attributes::plain(self.mode);
                // Carried along, so that they are there when the file that was set aside comes back.
                if here.is_file() {
                    attributes.extended = Attributes::of(&here)?.extended;
                }
                files::replace(&here, self.contents.as_bytes(), &attributes, &host.boundary)
            })
            .map_err(|e| file_failure(&e))?;
        let before = match record {
            UndoRecord::Files(changes) if changes.iter().all(|c| c.before == FileBefore::Absent) => "absent",
            _ => "set aside",
        };
        let after = format!("{} bytes", self.contents.len());
        Ok(Report {
            changes: vec![change(self.path.display().to_string(), before, after)],
            findings: Vec::new(),
        })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        match is_there(host, self) {
            Ok(true) => Ok(()),
            Ok(false) => Err(failure(
                codes::FILE_DIFFERS,
                format!("{} is not what was written", self.path.display()),
                "find out who else writes this file, then retry",
            )),
            Err(e) => Err(file_failure(&e)),
        }
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        match record {
            UndoRecord::Files(changes) => given_back::paths(host, changes),
            _ => Err(foreign_record("file-write")),
        }
    }
}
