//! `FileEdit`: change the named keys of a configuration file and not another byte.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare: old bytes kept | an unused copy in the agent's directory | prepared again |
//! | directories made (`create` only) | empty directories, named in the record | `apply` goes on; undo removes them |
//! | temporary file written | the old file, and a hidden `.NAME.replank-new` | `apply` overwrites it and goes on; undo removes it |
//! | renamed | the new file | `check` says done |
//! | undo: renamed back | the old file | undo finds nothing to do |

use super::answer::{change, file_failure, file_refusal, foreign_record, refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing, given_back};
use crate::codes;
use crate::host::files::{self, Attributes, FileError};
use replank_common::action::{Dialect, FileEdit, Setting, SettingValue};
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use replank_conf::{Edit, Edited, Value};

/// Mode of a file that did not exist.
const NEW_FILE_MODE: u32 = 0o644;

/// The dialect in the words of the library that edits.
pub(super) fn dialect(dialect: Dialect) -> replank_conf::Dialect {
    match dialect {
        Dialect::Ini => replank_conf::Dialect::Oslo,
        Dialect::Systemd => replank_conf::Dialect::Systemd,
        Dialect::Shell => replank_conf::Dialect::Shell,
        Dialect::Libvirt => replank_conf::Dialect::Libvirt,
        Dialect::Ceph => replank_conf::Dialect::Ceph,
    }
}

/// Where a line alone does not tell what it sets.
fn has_sections(of: Dialect) -> bool {
    match of {
        Dialect::Ini | Dialect::Systemd | Dialect::Ceph => true,
        Dialect::Shell | Dialect::Libvirt => false,
    }
}

fn value(value: &SettingValue) -> Value {
    match value {
        SettingValue::Text(text) => Value::Text(text.clone()),
        SettingValue::Number(number) => Value::Integer(*number),
    }
}

fn edit(in_dialect: Dialect, setting: &Setting) -> Edit {
    let (section, key) = (setting.section.clone(), setting.key.clone());
    match setting.values.as_slice() {
        [] => Edit::Unset { section, key },
        [only] => Edit::Set { section, key, value: value(only) },
        several => {
            let values: Vec<Value> = several.iter().map(value).collect();
            if dialect(in_dialect).is_multi_valued() {
                Edit::SetAll { section, key, values }
            } else {
                Edit::Set { section, key, value: Value::List(values) }
            }
        }
    }
}

/// The file as it should be, worked out from what it is now.
fn edited(action: &FileEdit, host: &Host) -> Result<Edited, Refusal> {
    let here = host.at(&action.path);
    let before = match std::fs::read(&here) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && action.create => Vec::new(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(refusal(
                codes::FILE_ABSENT,
                format!("there is no {}", action.path.display()),
                "install what brings the file, or let the plan create it",
            ));
        }
        Err(e) => return Err(file_refusal(&FileError::new("read", &here, e))),
    };
    let edits: Vec<Edit> = action.settings.iter().map(|setting| edit(action.dialect, setting)).collect();
    replank_conf::apply(dialect(action.dialect), &before, &edits).map_err(|e| {
        refusal(
            codes::FILE_SYNTAX,
            format!("{} cannot be edited: {e}", action.path.display()),
            "correct the file by hand, then retry",
        )
    })
}

/// A link would be replaced by a file; its target is what should be named.
fn refuse_link(action: &FileEdit, host: &Host) -> Result<(), Refusal> {
    let here = host.at(&action.path);
    if here.is_symlink() {
        return Err(refusal(
            codes::FILE_FOREIGN,
            format!("{} is a symbolic link", action.path.display()),
            "name the file that it points to in the fleet file",
        ));
    }
    Ok(())
}

impl Perform for FileEdit {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        refuse_link(self, host)?;
        let changes = edited(self, host)?.is_changed();
        Ok(if !changes && host.at(&self.path).exists() { Standing::Done } else { Standing::Ready })
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let after = edited(self, host)?;
        let sha256 = files::digest_of_bytes(&after.bytes);
        let change = files::change_of(host, &self.path, Some(sha256)).map_err(|e| file_refusal(&e))?;
        Ok(UndoRecord::Files(vec![change]))
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let after = edited(self, host).map_err(|r| Failure {
            code: codes::FILE_SYNTAX,
            error: r.reason,
            remedy: r.remedy,
        })?;
        let here = host.at(&self.path);
        let written = || -> Result<(), FileError> {
            let attributes = if here.exists() {
                Attributes::of(&here)?
            } else {
                files::make_directories(&here, &host.boundary)?;
                Attributes::plain(NEW_FILE_MODE)
            };
            files::replace(&here, &after.bytes, &attributes, &host.boundary)
        };
        written().map_err(|e| file_failure(&e))?;
        let name = self.path.display();
        let changes = after
            .changes
            .iter()
            .map(|line| {
                let text = |side: &Option<String>| side.clone().unwrap_or_default();
                let section = after.section_of(line).filter(|_| has_sections(self.dialect));
                let section = section.map(|section| format!(" [{section}]")).unwrap_or_default();
                change(format!("{name}{section}"), text(&line.before), text(&line.after))
            })
            .collect();
        Ok(Report { changes, findings: Vec::new() })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let after = edited(self, host).map_err(|r| Failure {
            code: codes::FILE_SYNTAX,
            error: r.reason,
            remedy: r.remedy,
        })?;
        if after.is_changed() {
            let diff = after.render_diff(&self.path.display().to_string());
            return Err(Failure {
                code: codes::FILE_DIFFERS,
                error: format!("{} does not say what was written:\n{diff}", self.path.display()),
                remedy: "find out who else writes this file, then retry".to_owned(),
            });
        }
        Ok(())
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        match record {
            UndoRecord::Files(changes) => given_back::paths(host, changes),
            _ => Err(foreign_record("file-edit")),
        }
    }
}
