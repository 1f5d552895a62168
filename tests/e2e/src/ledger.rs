//! An agent's ledger, read from outside, and the host's own records of what was done on it.

use anyhow::{Context, Result};
use replank_common::ids::{ActionId, Direction};
use replank_common::outcome::{How, Outcome};
use replank_lab::Host;
use rusqlite::Connection;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One command as the agent wrote it down.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub id: ActionId,
    pub stage: Stage,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Intended {},
    Ended { outcome: Outcome },
}

const FILES: [&str; 2] = ["ledger.sqlite", "ledger.sqlite-wal"];
/// Both at one moment; prints where they are.
const COPY: &str = "cd /var/lib/replank; copy=/root/.ledger; mkdir -p $copy; touch $copy/ledger.sqlite-wal
look() { stat -c '%n %s %y' ledger.sqlite ledger.sqlite-wal 2>&1 || :; }
for _ in $(seq 100); do
    before=$(look); cp ledger.sqlite $copy; cp ledger.sqlite-wal $copy 2>/dev/null || : >$copy/ledger.sqlite-wal
    [ \"$(look)\" = \"$before\" ] && echo $copy && exit 0
done
exit 1";

/// Every entry of a host's ledger, oldest first.
///
/// # Errors
/// It cannot be read.
pub fn entries(host: &Host) -> Result<Vec<Entry>> {
    // A copy, read here: what a host of an old release knows of SQLite is older than what the ledger is written with.
    let there = host.sh(COPY)?;
    let here = tempfile::tempdir()?;
    for file in FILES {
        std::fs::write(here.path().join(file), host.read(&format!("{}/{file}", there.trim()))?)?;
    }
    let ledger = Connection::open(here.path().join(FILES[0]))?;
    let mut bodies = ledger.prepare("SELECT body FROM entry ORDER BY sequence")?;
    let bodies = bodies.query_map([], |row| row.get::<_, String>(0))?;
    bodies
        .map(|body| {
            let body = body?;
            serde_json::from_str(&body).with_context(|| format!("an entry of the ledger: {body}"))
        })
        .collect()
}

/// How often each step was carried out or taken back, by the ledger: more than once is twice too often.
///
/// # Errors
/// The ledger cannot be read.
pub fn carried_out(host: &Host) -> Result<BTreeMap<(String, &'static str), usize>> {
    let mut counts = BTreeMap::new();
    for entry in entries(host)? {
        let Stage::Ended { outcome: Outcome::Done { how, .. } } = &entry.stage else { continue };
        let direction = match (entry.id.direction, how) {
            (Direction::Do, How::Applied | How::Finished) => "do",
            (Direction::Undo, How::Undone) => "undo",
            (Direction::Do | Direction::Undo, _) => continue,
        };
        *counts.entry((entry.id.step.to_string(), direction)).or_default() += 1;
    }
    Ok(counts)
}

/// What a host's own logs say of changes that must happen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostRecord {
    /// Starts of libvirtd, counted by systemd's invocations in the journal.
    pub libvirtd_starts: usize,
    /// `upgrade libvirt-daemon:…` in dpkg's log.
    pub libvirt_upgrades: usize,
    /// Transactions of dnf that changed something.
    pub dnf_transactions: usize,
}

impl HostRecord {
    /// Of one voyage of one host.
    pub const THERE: Self = Self { libvirtd_starts: 1, libvirt_upgrades: 1, dnf_transactions: 1 };
    /// And of its way back, which unpacks the old packages a second time: what the new ones took with them comes back so.
    pub const THERE_AND_BACK: Self = Self { libvirtd_starts: 2, libvirt_upgrades: 3, dnf_transactions: 2 };

    /// Reads the journal, dpkg's log and dnf's history.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn of(host: &Host) -> Result<Self> {
        let count = |script: &str| -> Result<usize> {
            let said = host.sh(script)?;
            said.trim().parse().with_context(|| format!("`{script}` said `{said}`"))
        };
        Ok(Self {
            libvirtd_starts: count(
                "journalctl -b -u libvirtd.service -o json --output-fields=INVOCATION_ID --no-pager |
                 grep -o '\"INVOCATION_ID\":\"[0-9a-f]*\"' | sort -u | wc -l",
            )?,
            libvirt_upgrades: count(
                "cat /var/log/dpkg.log 2>/dev/null | grep -c ' upgrade libvirt-daemon:' || :",
            )?,
            dnf_transactions: count("dnf -q history list 2>/dev/null | grep -c '^ *[0-9]' || :")?,
        })
    }

    /// What happened since an earlier look.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            libvirtd_starts: self.libvirtd_starts - earlier.libvirtd_starts,
            libvirt_upgrades: self.libvirt_upgrades - earlier.libvirt_upgrades,
            dnf_transactions: self.dnf_transactions - earlier.dnf_transactions,
        }
    }
}
