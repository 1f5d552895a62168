//! What is seen of a cluster from outside, at the end of its voyage: by its daemons' processes and by its own documents.

use crate::field::Field;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// One daemon that answers at its admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub host: String,
    /// As its socket is called: `osd.3`, `client.rgw.ceph2`.
    pub daemon: String,
    /// Of the running process.
    pub version: String,
}

/// Every daemon of every host, asked itself and not of what the cluster remembers of its boot.
///
/// # Errors
/// A daemon answers with nonsense, or still runs a program whose file is gone.
pub fn running(field: &Field) -> Result<Vec<Running>> {
    let mut found = Vec::new();
    for host in field.hosts() {
        let said = host.sh(
            "for socket in /run/ceph/ceph-*.asok; do echo \"$socket $(ceph --admin-daemon $socket version | tr -d ' \\n')\"; done
             ls -l /proc/[0-9]*/exe 2>/dev/null | grep -E '(ceph-(mon|mgr|osd|mds)|radosgw) \\(deleted\\)' || :",
        )?;
        ensure!(!said.contains("(deleted)"), "{} still runs an old program:\n{said}", host.name());
        for line in said.lines() {
            let (socket, answer) = line.split_once(' ').with_context(|| format!("no answer in: {line}"))?;
            let answer: serde_json::Value =
                serde_json::from_str(answer).with_context(|| format!("{}: {line}", host.name()))?;
            let name = socket.trim_start_matches("/run/ceph/ceph-").trim_end_matches(".asok");
            // Gateways put their pid and a number behind their name.
            let is_gateway = name.starts_with("client.");
            let daemon = if is_gateway { name.rsplitn(3, '.').nth(2).unwrap_or(name) } else { name };
            found.push(Running {
                host: host.name().to_owned(),
                daemon: daemon.to_owned(),
                version: answer["version"].as_str().unwrap_or("unknown").to_owned(),
            });
        }
    }
    Ok(found)
}

/// The flags of the OSD map, as Ceph prints them.
///
/// # Errors
/// The cluster does not answer.
pub fn flags(field: &Field) -> Result<String> {
    let dump = field.cluster()?.ask(&["osd", "dump"])?;
    Ok(dump["flags"].as_str().context("the map has no flags")?.to_owned())
}

/// What OSDs from Quincy on measure of their devices on their first start and keep in the cluster's settings.
const MEASURED: &str = "osd_mclock_max_capacity_iops";

/// What an operator or a run has set for the cluster's daemons, as `SECTION NAME VALUE`; what managers and OSDs keep for themselves is left out.
///
/// # Errors
/// The cluster does not answer.
pub fn settings(field: &Field) -> Result<BTreeSet<String>> {
    let dump = field.cluster()?.ask(&["config", "dump"])?;
    let lines = dump.as_array().context("the settings are no list")?;
    let word = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let own = |line: &serde_json::Value| {
        let name = word(line, "name");
        name.starts_with("mgr/") || name.starts_with(MEASURED)
    };
    let all = lines.iter().filter(|line| !own(line));
    Ok(all.map(|line| ["section", "name", "value"].map(|key| word(line, key)).join(" ")).collect())
}

/// The release that the cluster requires of its OSDs.
///
/// # Errors
/// The cluster does not answer.
pub fn required(field: &Field) -> Result<String> {
    let dump = field.cluster()?.ask(&["osd", "dump"])?;
    Ok(dump["require_osd_release"].as_str().context("the map requires no release")?.to_owned())
}
