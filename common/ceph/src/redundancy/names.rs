//! What an operator names, found in the documents.

use super::judge::StopSet;
use super::need::Consents;
use crate::codes;
use crate::documents::{OsdDump, QuorumStatus};
use crate::{NotAName, OsdId};
use std::fmt;
use std::str::FromStr;

/// A daemon as it is typed: `osd.7`, `7` or `mon.a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Daemon {
    Osd(OsdId),
    Mon(String),
}

impl FromStr for Daemon {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        match text.strip_prefix("mon.") {
            Some("") => Err(NotAName { text: text.to_owned(), what: "a MON such as `mon.a`" }),
            Some(name) => Ok(Self::Mon(name.to_owned())),
            None => text.parse().map(Self::Osd),
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Osd(osd) => osd.fmt(f),
            Self::Mon(name) => write!(f, "mon.{name}"),
        }
    }
}

/// A name that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}; {remedy}", codes::CEPH_NAME)]
pub struct NameError {
    pub problem: String,
    pub remedy: String,
}

/// The pools of which thin redundancy is accepted, by name or number.
///
/// # Errors
/// A pool that the map does not have.
pub fn consents(osds: &OsdDump, names: &[String]) -> Result<Consents, NameError> {
    let find = |name: &String| {
        osds.pool(name).map(|pool| pool.id).ok_or_else(|| NameError {
            problem: format!("the OSD map has no pool `{name}`"),
            remedy: match osds.pools.len() {
                0 => "it has no pools at all".to_owned(),
                1..=12 => {
                    let names: Vec<&str> = osds.pools.values().map(|pool| pool.name.as_str()).collect();
                    format!("its pools are {}", names.join(", "))
                }
                many => format!("`ceph osd pool ls` lists its {many} pools"),
            },
        })
    };
    names.iter().map(find).collect()
}

/// The set that `daemons` name.
///
/// # Errors
/// A daemon that the documents do not have.
pub fn stop_set(
    osds: &OsdDump,
    quorum: Option<&QuorumStatus>,
    daemons: &[Daemon],
) -> Result<StopSet, NameError> {
    let mut set = StopSet::default();
    for daemon in daemons {
        match daemon {
            Daemon::Osd(osd) if osds.osds.contains_key(osd) => drop(set.osds.insert(*osd)),
            Daemon::Osd(osd) => {
                let last = osds.osds.keys().next_back().map_or_else(|| "none".to_owned(), OsdId::to_string);
                let remedy = format!("`ceph osd ls` lists them; the last one in the file is {last}");
                return Err(NameError { problem: format!("the OSD map has no {osd}"), remedy });
            }
            Daemon::Mon(name) => match quorum {
                Some(quorum) if quorum.mons.contains_key(name) => drop(set.mons.insert(name.clone())),
                Some(quorum) => {
                    let names: Vec<&str> = quorum.mons.keys().map(String::as_str).collect();
                    let remedy = format!("its MONs are {}", names.join(", "));
                    return Err(NameError { problem: format!("the map of MONs has no mon.{name}"), remedy });
                }
                None => {
                    return Err(NameError {
                        problem: format!("nothing is known of mon.{name}"),
                        remedy: "give the output of `ceph quorum_status --format json` with --quorum"
                            .to_owned(),
                    });
                }
            },
        }
    }
    Ok(set)
}
