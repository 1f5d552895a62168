//! `CephConfig`: a setting of the cluster's daemons, for a while.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | prepare | nothing new | prepared again |
//! | set | the new value | `check` says done |
//! | undo: set back | the value of before | undo finds nothing to do |
//!
//! With [`ConfigWay::Inject`] a value is in the memory of the daemons that run: what it was is asked of one on this host, and one that starts later reads its
//! configuration file. Ceph says `(unchangeable)` or `not observed` of options that nobody watches; the value is set all the same and counts where it is read
//! at each use (ceph 10.2, src/common/config.cc), so the value is what is looked at, and not that word.

use super::answer::{change, failure, foreign_record, refusal};
use super::ceph_answer::{ceph_failure, ceph_refusal};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use crate::host::ceph::{Ceph, CephError, Daemon, daemons};
use crate::host::command::CommandError;
use replank_common::action::CephConfig;
use replank_common::ceph::{CephDaemon, CephKind, ConfigWay};
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use serde::Deserialize;
use std::collections::BTreeMap;

const SETTING_REMEDY: &str = "leave it out of the catalog for this release, or give it a value that it takes";
const UNSET: &str = "not set";

/// One line of `ceph config dump`.
#[derive(Debug, Deserialize)]
struct Line {
    section: String,
    name: String,
    value: String,
    /// Which daemons of the section only; empty: all.
    #[serde(default)]
    mask: String,
}

/// Two spellings of one value: Ceph gives `true` for `1` and `60.000000` for `60`.
fn same(a: &str, b: &str) -> bool {
    let truth = |text: &str| match text {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    };
    let number = |text: &str| text.parse::<f64>().ok();
    a == b || (truth(a).is_some() && truth(a) == truth(b)) || (number(a).is_some() && number(a) == number(b))
}

/// The setting of an action on this host.
struct Given<'a> {
    of: &'a CephConfig,
    host: &'a Host,
}

impl Given<'_> {
    /// What is set now; `None`: nothing.
    fn now(&self) -> Result<Option<String>, CephError> {
        let ceph = Ceph::new(self.host);
        let unreadable = |command: &str, bytes: &[u8]| CephError::Unreadable {
            command: command.to_owned(),
            said: String::from_utf8_lossy(bytes).trim().chars().take(200).collect(),
        };
        match self.of.way {
            ConfigWay::Central => {
                let answer = ceph.ask(&["config", "dump"])?;
                let lines: Vec<Line> =
                    serde_json::from_slice(&answer).map_err(|_| unreadable("ceph config dump", &answer))?;
                let ours = |line: &Line| {
                    line.section == self.of.section && line.name == self.of.name && line.mask.is_empty()
                };
                Ok(lines.into_iter().find(ours).map(|line| line.value))
            }
            ConfigWay::Inject => {
                let daemon = self.witness().ok_or_else(|| {
                    unreadable("ceph daemon", format!("no {} runs on this host", self.of.section).as_bytes())
                })?;
                let answer = ceph.socket(&daemon, &["config", "get", &self.of.name])?;
                let values: BTreeMap<String, String> = serde_json::from_slice(&answer)
                    .map_err(|_| unreadable(&format!("ceph daemon {daemon} config get"), &answer))?;
                Ok(values.get(&self.of.name).cloned())
            }
        }
    }

    /// A daemon of this host that has the setting.
    fn witness(&self) -> Option<CephDaemon> {
        if let Ok(daemon) = self.of.section.parse::<CephDaemon>() {
            return Some(daemon);
        }
        let kind = CephKind::ALL.into_iter().find(|kind| kind.as_str() == self.of.section)?;
        let mut all = daemons(self.host).into_iter().filter(|daemon| daemon.kind == kind);
        all.find(|daemon| matches!(Daemon::new(self.host, daemon).running(), Ok(Some(_))))
    }

    fn set(&self, value: &str) -> Result<(), CephError> {
        let ceph = Ceph::new(self.host);
        match self.of.way {
            ConfigWay::Central => ceph.tell(&["config", "set", &self.of.section, &self.of.name, value]),
            ConfigWay::Inject => {
                let target = if self.of.section.contains('.') {
                    self.of.section.clone()
                } else {
                    format!("{}.*", self.of.section)
                };
                let told =
                    ceph.tell(&["tell", &target, "injectargs", &format!("--{}={value}", self.of.name)]);
                match told {
                    // One that is down cannot be told, and makes the command fail although all others were; it reads its file when it starts.
                    Err(CephError::Tool(CommandError::Failed { .. }))
                        if self.now()?.is_some_and(|now| same(&now, value)) =>
                    {
                        Ok(())
                    }
                    told => told,
                }
            }
        }
    }

    fn what(&self) -> String {
        format!("{} of {}", self.of.name, self.of.section)
    }
}

fn given<'a>(of: &'a CephConfig, host: &'a Host) -> Given<'a> {
    Given { of, host }
}

impl Perform for CephConfig {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let now = given(self, host).now().map_err(|error| ceph_refusal(&error))?;
        let done = now.is_some_and(|now| same(&now, &self.value));
        Ok(if done { Standing::Done } else { Standing::Ready })
    }

    fn prepare(&self, host: &Host) -> Result<UndoRecord, Refusal> {
        let before = given(self, host).now().map_err(|error| ceph_refusal(&error))?;
        if before.is_none() && self.way == ConfigWay::Inject {
            return Err(refusal(
                codes::CEPH_SETTING,
                format!("the daemons have no option {}", self.name),
                SETTING_REMEDY,
            ));
        }
        Ok(UndoRecord::CephConfig { before })
    }

    fn apply(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let UndoRecord::CephConfig { before } = record else { return Err(foreign_record("ceph-config")) };
        let given = given(self, host);
        given.set(&self.value).map_err(|error| match error.answered_no() {
            Some("EINVAL" | "ENOENT") => failure(codes::CEPH_SETTING, error.to_string(), SETTING_REMEDY),
            Some(_) | None => ceph_failure(&error),
        })?;
        host.boundary.reached("ceph-config: set");
        let before = before.as_deref().unwrap_or(UNSET);
        Ok(Report { changes: vec![change(given.what(), before, &self.value)], findings: Vec::new() })
    }

    fn verify(&self, host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        let now = given(self, host).now().map_err(|error| ceph_failure(&error))?;
        match now {
            Some(now) if same(&now, &self.value) => Ok(()),
            now => Err(failure(
                codes::CEPH_DIFFERS,
                format!(
                    "{} is {} and not {}",
                    given(self, host).what(),
                    now.as_deref().unwrap_or(UNSET),
                    self.value
                ),
                "see `ceph config dump`, and who changes it",
            )),
        }
    }

    fn undo(&self, host: &Host, record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        let UndoRecord::CephConfig { before } = record else { return Err(foreign_record("ceph-config")) };
        let now = given(self, host).now().map_err(|error| ceph_refusal(&error))?;
        let back = match (&now, before) {
            (None, None) => true,
            (Some(now), Some(before)) => same(now, before),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if back {
            return Ok(Report::default());
        }
        if !now.as_ref().is_some_and(|now| same(now, &self.value)) {
            return Err(ActError::Refused(refusal(
                codes::CEPH_CHANGED,
                format!(
                    "{} is {} now; replank had set {}",
                    given(self, host).what(),
                    now.as_deref().unwrap_or(UNSET),
                    self.value
                ),
                "somebody else set it since: see that it is as it should be, then skip the step's undo",
            )));
        }
        match before {
            Some(before) => given(self, host).set(before),
            None => Ceph::new(host).tell(&["config", "rm", &self.section, &self.name]),
        }
        .map_err(|error| ceph_failure(&error))?;
        host.boundary.reached("ceph-config: set back");
        let before = before.as_deref().unwrap_or(UNSET);
        Ok(Report {
            changes: vec![change(given(self, host).what(), &self.value, before)],
            findings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_several_spellings() {
        assert!(same("true", "1") && same("60.000000", "60") && same("no", "false") && same("abc", "abc"));
        assert!(
            !same("true", "false") && !same("60", "61") && !same("abc", "abd") && !same("true", "yes please")
        );
    }
}
